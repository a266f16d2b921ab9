"""All scenes of a run get the same bands, by what they see and not by their numbers."""

from __future__ import annotations

import dataclasses

import pytest
from made_products import Log, make_product, plan_of, prepared

from iikmc.core.errors import BandError, SeriesError
from iikmc.core.prepare.bands import wanted_bands
from iikmc.core.prepare.indices import Index
from iikmc.core.prepare.plan import PrepareSettings


@pytest.fixture
def landsats(tmp_path):
    """A Landsat 7 and a Landsat 8: the same bands under other numbers, and one more."""
    etm = make_product(tmp_path, "LE07", ("blue", "green", "red", "nir08"), sensor="Landsat 7")
    oli = make_product(
        tmp_path,
        "LC08",
        ("coastal", "blue", "green", "red", "nir08"),
        sensor="Landsat 8",
        usual=("blue", "green", "red", "nir08"),
    )
    return [etm, oli]


def names(plan):
    return [band.name for band in plan.bands]


def files(plan):
    """The native numbers read for each scene."""
    return {
        scene.product.name: [layer.source.path.rpartition("_")[2][:2] for layer in scene.layers]
        for scene in plan.scenes
    }


def test_bands_of_two_sensors_are_matched_by_common_name(landsats):
    plan = plan_of(landsats)
    assert names(plan) == ["blue", "green", "red", "nir08"]
    assert files(plan) == {"LE07": ["B1", "B2", "B3", "B4"], "LC08": ["B2", "B3", "B4", "B5"]}


def test_bands_come_in_the_order_asked_for_whatever_the_case(landsats):
    plan = plan_of(landsats, bands=("NIR08", "blue", "blue"))
    assert names(plan) == ["nir08", "blue"]
    assert files(plan) == {"LE07": ["B4", "B1"], "LC08": ["B5", "B2"]}


def test_a_products_own_name_will_do_if_it_means_one_band(landsats):
    assert names(plan_of(landsats[1:], bands=("b1", "B5"))) == ["coastal", "nir08"]
    with pytest.raises(BandError, match="'B4' is red in 'LC08' and nir08 in 'LE07': use common"):
        plan_of(landsats, bands=("B4",))


def test_a_number_counts_the_bands_of_one_file(tmp_path):
    product = make_product(tmp_path)
    one_file = [
        dataclasses.replace(band, path=product.bands[0].path, number=n)
        for n, band in enumerate(product.bands, start=1)
    ]
    single = dataclasses.replace(product, bands=tuple(one_file))
    assert wanted_bands([single], ("3", "1"), ()).bands == ("red", "blue")
    with pytest.raises(BandError, match="No scene has a band '3'"):
        wanted_bands([product], ("3",), ())


def test_a_band_that_no_scene_has_is_named_with_those_there_are(landsats):
    with pytest.raises(BandError, match=r"No scene has a band 'swir16'; 'L.*' has .*blue \(B"):
        plan_of(landsats, bands=("blue", "swir16"))


def test_a_scene_that_lacks_a_band_is_left_out(landsats, tmp_path):
    plan = plan_of(landsats, bands=("coastal",))
    assert [scene.product.name for scene in plan.scenes] == ["LC08"]
    (left,) = plan.left_out
    assert left.reason.startswith("Scene 'LE07' cannot be used: it has no band 'coastal'; it has ")
    with pytest.raises(SeriesError, match="Scene 'LE07' cannot be used"):
        plan_of(landsats, bands=("coastal",), strict=True)


def test_usual_bands_that_some_sensor_lacks_are_left_out_and_that_is_said(tmp_path):
    products = [
        make_product(tmp_path, "a", ("blue", "red", "nir"), sensor="A"),
        make_product(tmp_path, "b", ("red", "blue", "swir16"), sensor="B"),
    ]
    plan = plan_of(products)
    assert names(plan) == ["blue", "red"]
    assert "Not all sensors have nir, swir16: left out." in plan.notes
    with pytest.raises(BandError, match="The sensors have no band in common"):
        plan_of([*products, make_product(tmp_path, "c", ("hh",), sensor="C")])


def test_a_scene_that_misses_a_file_does_not_take_the_band_from_all(tmp_path):
    products = [make_product(tmp_path, f"s{n}", ("blue", "red")) for n in range(3)]
    torn = make_product(tmp_path, "a torn one", ("blue",))
    plan = plan_of([torn, *products])
    assert names(plan) == ["blue", "red"]
    assert [item.name for item in plan.left_out] == ["a torn one"]


def test_indices_read_bands_that_are_not_put_out(tmp_path):
    product = make_product(tmp_path, values=("blue", "red", "nir"))
    plan = plan_of([product], bands=("blue",), indices=(Index.NDVI, Index.NDVI))
    assert names(plan) == ["blue", "NDVI"]
    made = prepared([product], tmp_path / "out", bands=("blue",), indices=(Index.NDVI,))
    assert made.scenes[0].shares.valid_share == 1.0


def test_an_index_uses_the_near_infrared_that_all_scenes_have(tmp_path):
    products = [
        make_product(tmp_path, "s2", ("red", "nir", "nir08"), sensor="S2"),
        make_product(tmp_path, "l8", ("red", "nir08"), sensor="L8"),
    ]
    plan = plan_of(products, bands=("red",), indices=(Index.NDVI,))
    assert [scene.layers[1].source.path[-6:-4] for scene in plan.scenes] == ["B2", "B3"]
    assert [scene.product.name for scene in plan.scenes] == ["l8", "s2"]


def test_an_index_without_its_bands_is_refused(landsats):
    with pytest.raises(BandError, match="No scene has the bands that NBR needs"):
        plan_of(landsats, indices=(Index.NBR,))


def test_scenes_without_quality_layer_are_named_where_something_is_to_be_masked(tmp_path):
    product = make_product(tmp_path)
    log = Log()
    prepared([product], tmp_path / "a", monitor=log)
    assert any("1 of 1 scenes without quality layer" in text for text in log.messages)
    log = Log()
    prepared([product], tmp_path / "b", monitor=log, mask=frozenset())
    assert not any("quality" in text for text in log.messages)


def test_nothing_is_asked_for_by_default_but_what_hides_the_ground():
    assert {item.value for item in PrepareSettings().mask} == {
        "cloud",
        "shadow",
        "cirrus",
        "saturated",
    }
