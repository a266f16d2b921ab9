"""PlanetScope scenes: bands in Planet's order, and both kinds of its masks."""

from __future__ import annotations

import datetime as dt
import shutil
from functools import partial

import numpy as np
import pytest
import rasterio
from product_checks import only_product, read, reason_left_out
from product_folders import PLANET_4, PLANET_8, UDM2, as_tar, as_zip, planet_scene, write_raster

from iikmc.core.products import Condition, ProductKind, find_products

UTC = dt.timezone.utc
EIGHT = "20211210_151415_26_2416"
SHAPE = (40, 50)
ANY = [
    Condition.CLOUD,
    Condition.SHADOW,
    Condition.CIRRUS,
    Condition.SNOW,
    Condition.SATURATED,
    Condition.FILL,
]


only = partial(only_product, ProductKind.PLANETSCOPE)
reason = partial(reason_left_out, ProductKind.PLANETSCOPE)


def told(product):
    """Return where each condition is told by any of the quality layers."""
    found = {}
    for layer in product.quality:
        for condition, mask in layer.conditions(read(layer)).items():
            found[condition] = found.get(condition, np.zeros(SHAPE, bool)) | mask
    return found


@pytest.mark.parametrize(
    ("scene", "order"), [("20190105_083012_1034", PLANET_4), (EIGHT, PLANET_8)], ids=["4", "8"]
)
@pytest.mark.parametrize("described", [True, False])
def test_bands_come_in_planets_order(tmp_path, scene, order, described):
    values = np.random.default_rng(0).integers(1, 9_000, (len(order), *SHAPE)).astype(np.uint16)
    planet_scene(tmp_path, scene, bands=len(order), values=values, described=described)
    product = only(tmp_path)
    assert (product.name, product.sensor, product.notes) == (scene, "PlanetScope", ())
    assert product.usual == order == tuple(band.name for band in product.bands)
    for band, layer in zip(product.bands, values):
        np.testing.assert_array_equal(read(band), layer)
        assert (band.scale, band.offset, band.nodata) == (0.0001, 0.0, 0.0)
    wavelengths = [band.wavelength for band in product.bands]
    assert wavelengths == sorted(wavelengths) and wavelengths[0] > 0.4 and wavelengths[-1] < 0.9


def test_bands_are_found_by_name_where_they_are_in_another_order(tmp_path):
    image = planet_scene(tmp_path)
    order = ("red", "green", "blue", "nir")
    values = np.stack([np.full(SHAPE, number, np.uint16) for number in (3, 2, 1, 4)])
    write_raster(image, values, pixel=3.0, nodata=0, names=order)
    assert [int(read(band)[0, 0]) for band in only(tmp_path).bands] == [1, 2, 3, 4]


@pytest.mark.parametrize("described", [True, False])
def test_each_band_of_udm2_tells_its_condition(tmp_path, described):
    layers = np.zeros((8, *SHAPE), np.uint8)
    layers[6] = 77
    expected = {
        "snow": Condition.SNOW,
        "shadow": Condition.SHADOW,
        "haze_light": Condition.CIRRUS,
        "haze_heavy": Condition.CLOUD,
        "cloud": Condition.CLOUD,
    }
    layers[0, 30:] = 1
    for row, name in enumerate(expected):
        layers[UDM2.index(name), row] = 1
    for bit in range(8):
        layers[7, 10 + bit] = 1 << bit
    planet_scene(tmp_path, udm2=layers, described=described)
    found = told(only(tmp_path))
    for row, condition in enumerate(expected.values()):
        assert [item for item in ANY if found[item][row].all()] == [condition], f"row {row}"
    for bit in range(8):
        # Bit 1, the old mask's clouds, is what band 6 replaces.
        wanted = {0: [Condition.FILL], 1: []}.get(bit, [Condition.SATURATED])
        assert [item for item in ANY if found[item][10 + bit].any()] == wanted, f"bit {bit}"
    assert not any(mask[30:].any() for mask in found.values())


def test_bands_of_udm2_are_found_by_name_where_they_are_in_another_order(tmp_path):
    image = planet_scene(tmp_path)
    layers = np.zeros((3, *SHAPE), np.uint8)
    layers[0, 5], layers[1, 6] = 1, 1
    mask = image.with_name(image.name.replace("_AnalyticMS_SR", "_udm2"))
    write_raster(mask, layers, pixel=3.0, names=("cloud", "shadow", "clear"))
    found = told(only(tmp_path))
    assert np.argwhere(found[Condition.CLOUD].all(1)).tolist() == [[5]]
    assert np.argwhere(found[Condition.SHADOW].all(1)).tolist() == [[6]]
    assert set(found) == {Condition.CLOUD, Condition.SHADOW}


def test_the_older_mask_is_read_bit_by_bit(tmp_path):
    bits = np.zeros(SHAPE, np.uint8)
    for bit in range(8):
        bits[bit] = 1 << bit
    planet_scene(tmp_path, mask="udm", udm=bits)
    product = only(tmp_path)
    found = told(product)
    for bit in range(8):
        wanted = {0: Condition.FILL, 1: Condition.CLOUD}.get(bit, Condition.SATURATED)
        assert [item for item in found if found[item][bit].all()] == [wanted], f"bit {bit}"
    assert not any(mask[8:].any() for mask in found.values())
    assert "no shadows, haze or snow" in product.notes[0]


def test_udm2_is_taken_before_the_older_mask(tmp_path):
    planet_scene(tmp_path, mask="udm")
    planet_scene(tmp_path)
    assert {band.path[-8:] for band in only(tmp_path).quality} == {"udm2.tif"}


def test_a_scene_without_mask_is_an_error_with_a_way_on(tmp_path):
    planet_scene(tmp_path, mask="none")
    assert "has no mask (_udm2.tif), which tells clouds: add it" in reason(tmp_path)
    product = only(tmp_path, need_quality=False)
    assert product.quality == () and "only nodata is masked" in product.notes[0]


def test_the_mask_of_another_scene_is_not_taken(tmp_path):
    image = planet_scene(tmp_path)
    mask = image.with_name(image.name.replace("_AnalyticMS_SR", "_udm2"))
    mask.rename(mask.with_name(mask.name.replace("_1034_", "_1035_")))
    assert "has no mask" in reason(tmp_path)


def test_the_time_comes_from_metadata_then_tag_then_id(tmp_path):
    image = planet_scene(tmp_path, acquired="2019-01-05T08:30:12.504117Z")
    assert only(tmp_path).time == dt.datetime(2019, 1, 5, 8, 30, 12, 504117, UTC)
    (tmp_path / "20190105_083012_1034_metadata.json").unlink()
    assert only(tmp_path).time == dt.datetime(2019, 1, 5, 8, 30, 12, tzinfo=UTC)
    with rasterio.open(image, "r+") as dataset:
        dataset.update_tags(ns="IMAGERY", ACQUISITIONDATETIME="2019-01-05 08:31:00")
    assert only(tmp_path).time == dt.datetime(2019, 1, 5, 8, 31, tzinfo=UTC)


def test_a_time_in_another_zone_becomes_utc(tmp_path):
    planet_scene(tmp_path, acquired="2019-01-05T01:30:12+02:00")
    assert only(tmp_path).time == dt.datetime(2019, 1, 4, 23, 30, 12, tzinfo=UTC)


@pytest.mark.parametrize("infix", ["", "_3B"])
@pytest.mark.parametrize("clipped", [True, False])
@pytest.mark.parametrize("bands", [4, 8])
def test_names_of_all_kinds_of_orders_are_known(tmp_path, infix, clipped, bands):
    planet_scene(tmp_path, EIGHT, bands=bands, infix=infix, clipped=clipped)
    assert len(only(tmp_path).bands) == bands


def test_harmonised_images_are_known(tmp_path):
    image = planet_scene(tmp_path)
    image.rename(image.with_name(image.stem + "_harmonized_clip.tif"))
    assert len(only(tmp_path).bands) == 4


def test_of_four_and_eight_bands_of_one_scene_the_eight_are_taken(tmp_path):
    planet_scene(tmp_path, EIGHT, bands=4)
    planet_scene(tmp_path, EIGHT, bands=8)
    product = only(tmp_path)
    assert len(product.bands) == 8 and "same acquisition" in product.notes[0]


def test_two_frames_of_one_pass_stay_two(tmp_path):
    planet_scene(tmp_path, "20190105_083012_1034")
    planet_scene(tmp_path, "20190105_083013_1034")
    products, _ = find_products([tmp_path], ProductKind.PLANETSCOPE)
    assert [product.name[9:15] for product in products] == ["083012", "083013"]


@pytest.mark.parametrize("pack", [as_zip, as_tar], ids=["zip", "tar"])
def test_bundles_in_archives_are_read_in_place(tmp_path, pack):
    folder = tmp_path / "bundle" / "PSScene"
    planet_scene(folder, EIGHT, bands=8, acquired="2021-12-10T15:14:15.26Z")
    expected = read(only(folder).bands[6])
    archive = pack(tmp_path / "bundle", nested=True)
    shutil.rmtree(tmp_path / "bundle")
    product = only(archive)
    np.testing.assert_array_equal(read(product.bands[6]), expected)
    assert product.time.microsecond == 260_000
    assert len(product.quality) == 6
    assert all(band.path.startswith("/vsi") for band in (*product.bands, *product.quality))


def test_masks_and_metadata_are_found_in_neighbouring_folders(tmp_path):
    planet_scene(tmp_path / "analytic_sr", mask="none")
    planet_scene(tmp_path / "made", acquired="2019-01-05T08:30:12.5Z")
    (tmp_path / "udm2").mkdir()
    for file in (tmp_path / "made").iterdir():
        if file.suffix == ".json":
            file.rename(tmp_path / file.name)
        elif "udm2" in file.name:
            file.rename(tmp_path / "udm2" / file.name)
    shutil.rmtree(tmp_path / "made")
    product = only(tmp_path)
    assert len(product.quality) == 6 and product.time.microsecond == 500_000


def test_a_clipped_image_takes_the_clipped_mask(tmp_path):
    planet_scene(tmp_path / "a", mask="none", clipped=True)
    planet_scene(tmp_path / "b", clipped=True)
    planet_scene(tmp_path / "c", height=60)
    for folder, ending, place in (
        ("b", "_udm2_clip.tif", tmp_path),
        ("c", "_udm2.tif", tmp_path / "a"),
    ):
        (mask,) = (tmp_path / folder).glob(f"*{ending}")
        mask.rename(place / mask.name)
        shutil.rmtree(tmp_path / folder)
    assert {band.path[-9:] for band in only(tmp_path).quality} == {"_clip.tif"}


def test_another_number_of_bands_is_named(tmp_path):
    image = planet_scene(tmp_path)
    write_raster(image, np.ones((3, *SHAPE), np.uint16), pixel=3.0)
    assert f"'{image.name}' has 3 bands; expected the 4 or 8" in reason(tmp_path)


def test_bands_that_are_not_there_are_named(tmp_path):
    planet_scene(tmp_path)
    assert "lacks yellow; it has blue, green, red, nir:" in reason(tmp_path, bands=["yellow"])


def test_a_mask_on_another_grid_is_named(tmp_path):
    planet_scene(tmp_path)
    made = planet_scene(tmp_path / "other", origin=(500_300.0, 4_600_000.0))
    mask = made.with_name(made.name.replace("_AnalyticMS_SR", "_udm2"))
    mask.rename(tmp_path / mask.name)
    shutil.rmtree(made.parent)
    assert mask.name in reason(tmp_path) and "another grid" in reason(tmp_path)


def test_truncated_files_are_named(tmp_path):
    image = planet_scene(tmp_path, acquired="2019-01-05T08:30:12Z")
    metadata = next(tmp_path.glob("*.json"))
    whole = metadata.read_text()
    metadata.write_text(whole[:-9])
    assert metadata.name in reason(tmp_path)
    metadata.write_text(whole)
    image.write_bytes(image.read_bytes()[:2_000])
    assert image.name in reason(tmp_path)
