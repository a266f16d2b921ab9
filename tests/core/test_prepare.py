"""Prepared scenes: the product's values, masked as asked, described, ready to be classified."""

from __future__ import annotations

import dataclasses
import datetime as dt

import numpy as np
import pytest
import rasterio
from made_products import TIME, Log, bit, make_product, prepared
from product_folders import made_up, write_raster

from iikmc.core import cluster, open_series
from iikmc.core.errors import OutputError, SeriesError
from iikmc.core.prepare.indices import Index
from iikmc.core.prepare.plan import LeftOutScene
from iikmc.core.prepare.radiometry import Radiometry
from iikmc.core.products.base import Condition
from iikmc.core.raster import describe

USUAL = {Condition.CLOUD, Condition.SHADOW, Condition.CIRRUS, Condition.SATURATED}


def read(scene):
    with rasterio.open(scene.path) as raster:
        return raster.read()


def stripes(shape=(40, 50)):
    """One column of pixels for each condition, from column 1 on, then some of two at once."""
    quality = np.zeros(shape, np.uint8)
    for column, condition in enumerate(Condition, start=1):
        quality[:, column] = bit(condition)
    quality[:5, 20] = bit(Condition.CLOUD) | bit(Condition.SNOW)
    return quality


def cut_short(path, share=0.5):
    with open(path, "r+b") as file:
        file.truncate(int(file.seek(0, 2) * share))


def noise(name, shape=(300, 400)):
    """Values that do not compress, so that a file cut short lacks some."""
    return {band: made_up(f"{name}{band}", shape, 1, 60_000) for band in ("blue", "red")}


@pytest.mark.parametrize(
    "mask", [set(), {Condition.CLOUD}, {Condition.WATER}, USUAL, set(Condition)]
)
def test_pixels_of_the_conditions_asked_for_are_nodata_and_all_others_unchanged(tmp_path, mask):
    quality = stripes()
    product = make_product(tmp_path, quality=quality)
    (scene,) = prepared([product], tmp_path / "out", mask=frozenset(mask)).scenes
    found = read(scene)
    dropped = (quality & sum(bit(item) for item in mask | {Condition.FILL})) != 0
    for band, values in zip(product.bands, found):
        with rasterio.open(band.path) as raster:
            expected = np.where(dropped, 0, raster.read(1))
        np.testing.assert_array_equal(values, expected)
    assert scene.shares.valid == np.count_nonzero(~dropped)


def test_shares_are_those_of_the_quality_bits_and_of_nodata(tmp_path):
    quality = stripes()
    values = noise("s", quality.shape)
    values["red"][30:, 40:] = 0
    product = make_product(tmp_path, values=values, quality=quality)
    (scene,) = prepared([product], tmp_path / "out").scenes
    assert scene.shares.pixels == quality.size
    for condition in set(Condition) - {Condition.FILL}:
        assert scene.shares.share(condition) == ((quality & bit(condition)) != 0).mean()
    assert scene.shares.share(Condition.FILL) == (40 + 100) / quality.size


def test_a_pixel_without_value_in_one_band_is_nodata_in_all(tmp_path):
    values = noise("s", (40, 50))
    values["blue"][3, 4] = 0
    (scene,) = prepared([make_product(tmp_path, values=values)], tmp_path / "out").scenes
    found = read(scene)
    assert not found[:, 3, 4].any()
    assert np.count_nonzero(found == 0) == 2


@pytest.mark.parametrize(
    ("dtype", "nodata", "expected"),
    [("uint16", None, 0), ("uint8", None, 0), ("int16", None, -32768), ("int16", -9999, -9999)],
)
def test_no_valid_pixel_becomes_nodata(tmp_path, dtype, nodata, expected):
    limits = np.iinfo(dtype)
    values = np.linspace(limits.min, limits.max, 2000).round().astype(dtype).reshape(40, 50)
    product = make_product(tmp_path, values={"blue": values}, nodata=nodata)
    (scene,) = prepared([product], tmp_path / "out").scenes
    with rasterio.open(scene.path) as raster:
        assert (raster.nodata, raster.dtypes) == (expected, (dtype,))
        found = raster.read(1)
    valid = np.ones_like(values, bool) if nodata is None else values != nodata
    assert (found[valid] != expected).all()
    np.testing.assert_array_equal(found, np.where(values == expected, found, values))
    assert np.abs(found.astype(int) - values)[valid].max() <= 1


def test_the_raster_says_what_it_holds(tmp_path):
    product = make_product(tmp_path, "LC08_x", ("blue", "nir"), sensor="Landsat 8")
    (scene,) = prepared([product], tmp_path / "out").scenes
    assert scene.path == tmp_path / "out" / "LC08_x.tif"
    with rasterio.open(scene.path) as raster:
        assert raster.descriptions == ("blue", "nir")
        assert (raster.scales, raster.offsets) == ((2.75e-5,) * 2, (-0.2,) * 2)
        assert (raster.nodata, raster.dtypes) == (0.0, ("uint16",) * 2)
        assert (raster.compression.name, raster.block_shapes) == ("deflate", [(256, 256)] * 2)
        assert raster.tags(ns="IMAGE_STRUCTURE")["PREDICTOR"] == "2"
        assert raster.tags()["ACQUISITION_DATE"] == "2020-05-01"
        assert raster.tags()["TIFFTAG_DATETIME"] == "2020:05:01 09:50:31"
        imagery = raster.tags(ns="IMAGERY")
        assert imagery["ACQUISITIONDATETIME"] == "2020-05-01 09:50:31"
        assert imagery["SATELLITEID"] == "Landsat 8"
        assert [raster.tags(n, ns="IMAGERY")["CENTRAL_WAVELENGTH_UM"] for n in (1, 2)] == [
            "0.48",
            "0.86",
        ]
        assert raster.tags(2)["wavelength"] == "0.86"
    assert describe(scene.path).date_tags == ("2020-05-01 09:50:31", "2020-05-01")


def test_times_of_other_zones_are_written_in_utc(tmp_path):
    east = dt.timezone(dt.timedelta(hours=9))
    product = make_product(tmp_path, time=dt.datetime(2020, 5, 2, 3, 0, tzinfo=east))
    (scene,) = prepared([product], tmp_path / "out").scenes
    assert describe(scene.path).date_tags[0] == "2020-05-01 18:00:00"


def test_acquisitions_of_one_day_and_names_that_differ_in_case_stay_apart(tmp_path):
    later = TIME + dt.timedelta(seconds=8)
    products = [
        make_product(tmp_path / "a", "S2_x"),
        make_product(tmp_path / "b", "s2_X", time=later),
        make_product(tmp_path / "c", "s2_X", time=later),
        dataclasses.replace(make_product(tmp_path / "d"), name="other: 1/2"),
    ]
    made = prepared(products, tmp_path / "out")
    names = {scene.product.bands[0].path.split("/")[-2]: scene.path.name for scene in made.scenes}
    assert names == {
        "a": "S2_x_20200501T095031.tif",
        "b": "s2_X_20200501T095039.tif",
        "c": "s2_X_20200501T095039_2.tif",
        "d": "other_ 1_2.tif",
    }
    assert len(list((tmp_path / "out").iterdir())) == 4


def test_prepared_scenes_are_a_series_without_more_ado(tmp_path):
    products = [
        make_product(
            tmp_path, f"s{n}", quality=stripes(), time=TIME + dt.timedelta(days=n), pixel=30.0
        )
        for n in range(3)
    ]
    made = prepared(products, tmp_path / "out")
    with open_series([scene.path for scene in made.scenes]) as series:
        assert series.band_names == ("blue", "green", "red")
        assert [scene.date.day for scene in series.scenes] == [1, 2, 3]
        model = cluster(series, classes=3, engine="numpy")
    assert sum(model.fit.class_pixels) == sum(scene.shares.valid for scene in made.scenes)


def test_neither_threads_nor_the_order_of_products_change_a_byte(tmp_path):
    products = [
        make_product(
            tmp_path,
            f"s{n}",
            noise(f"s{n}"),
            quality=made_up(f"q{n}", (300, 400), 0, 3),
            time=TIME + dt.timedelta(days=n),
            origin=(500_000.0 + 7 * n, 4_600_000.0),
        )
        for n in range(3)
    ]
    prepared(products, tmp_path / "one", threads=1, indices=(Index.NDVI,) * 0)
    prepared(products[::-1], tmp_path / "two", threads=3)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_a_scene_without_valid_pixel_is_left_out_with_its_shares(tmp_path):
    clouds = np.full((40, 50), bit(Condition.CLOUD), np.uint8)
    clouds[:, :5] = bit(Condition.FILL)
    log = Log()
    products = [
        make_product(tmp_path, "clear", quality=stripes()),
        make_product(tmp_path, "cloudy", quality=clouds),
    ]
    made = prepared(products, tmp_path / "out", monitor=log)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["clear.tif"]
    ((left, shares),) = made.left_out
    assert (left.name, shares.share(Condition.CLOUD)) == ("cloudy", 0.9)
    sentence = "Scene 'cloudy' has no valid pixel: 0.0% valid, 10.0% fill, 90.0% cloud."
    assert log.warnings == [f"Left out: {sentence}"]
    with pytest.raises(SeriesError, match="'cloudy' has no valid pixel"):
        prepared(products, tmp_path / "strict", strict=True)
    with pytest.raises(SeriesError, match=r"^No scene is left\. Scene 'cloudy' has no valid pixel"):
        prepared(products[1:], tmp_path / "none")
    assert not (tmp_path / "strict").exists() and not (tmp_path / "none").exists()


@pytest.mark.parametrize("part", ["band", "quality"])
def test_a_scene_whose_file_breaks_is_left_out_and_the_others_are_not_lost(tmp_path, part):
    log = Log()
    quality = made_up("q", (300, 400), 0, 2)
    products = [make_product(tmp_path, f"s{n}", noise(f"s{n}"), quality=quality) for n in range(3)]
    broken = products[1].bands[1] if part == "band" else products[1].quality[0]
    cut_short(broken.path)
    made = prepared(products, tmp_path / "out", monitor=log)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["s0.tif", "s2.tif"]
    assert [item.name for item, _ in made.left_out] == ["s1"]
    (warning,) = log.warnings
    assert warning.startswith(
        f"Left out: Scene 's1' cannot be used: '{broken.path}' cannot be read:"
    )
    assert warning.endswith(".") and "\n" not in warning
    with pytest.raises(SeriesError, match="Scene 's1' cannot be used"):
        prepared(products, tmp_path / "strict", strict=True)
    assert not (tmp_path / "strict").exists()


def test_what_readers_left_out_is_said_and_counts(tmp_path):
    log = Log()
    left = [LeftOutScene("x", "Product 'x' is torn.")]
    products = [make_product(tmp_path, notes=["No QA_RADSAT: saturation is not masked."])]
    made = prepared(products, tmp_path / "out", left_out=left, monitor=log)
    assert log.warnings == [
        "No QA_RADSAT: saturation is not masked.",
        "Left out: Product 'x' is torn.",
    ]
    assert made.left_out == ((left[0], None),)
    with pytest.raises(SeriesError, match=r"^Product 'x' is torn\.$"):
        prepared(products, tmp_path / "strict", left_out=left, strict=True)
    with pytest.raises(SeriesError, match=r"^No scene is left\. Product 'x' is torn\.$"):
        prepared([], tmp_path / "none", left_out=left)


def test_no_input_is_overwritten(tmp_path):
    path = write_raster(tmp_path / "in" / "scene.tif", made_up("x", (2, 40, 50)), nodata=0)
    before = path.read_bytes()
    product = make_product(tmp_path)
    bands = [dataclasses.replace(product.bands[n], path=str(path), number=n + 1) for n in (0, 1)]
    product = dataclasses.replace(product, bands=tuple(bands), usual=("blue", "green"))
    with pytest.raises(OutputError, match=r"scene\.tif' is an input, .* choose another folder"):
        prepared([product], tmp_path / "in")
    assert path.read_bytes() == before
    (scene,) = prepared([product], tmp_path / "out").scenes
    np.testing.assert_array_equal(read(scene), rasterio.open(path).read())


def test_sentinel_2_before_and_after_baseline_04_agree(tmp_path):
    """The offset is taken from the newer numbers; what would be nodata or less becomes 1."""
    old = made_up("old", (40, 50), 1, 10_000)
    new = (old + 1000).astype(np.uint16)
    new[0, :5] = (1, 900, 1000, 1001, 65535)
    log = Log()
    products = [
        make_product(tmp_path, "old", {"blue": old}, scale=1e-4, offset=0.0),
        make_product(tmp_path, "new", {"blue": new}, scale=1e-4, offset=-0.1),
    ]
    made = {s.path.stem: s for s in prepared(products, tmp_path / "out", monitor=log).scenes}
    np.testing.assert_array_equal(read(made["old"])[0], old)
    assert read(made["new"])[0, 0, :5].tolist() == [1, 1, 1, 1, 64535]
    np.testing.assert_array_equal(read(made["new"])[0, 1:], old[1:])
    for scene in made.values():
        with rasterio.open(scene.path) as raster:
            assert (raster.dtypes, raster.scales, raster.offsets) == (("uint16",), (1e-4,), (0.0,))
    assert any("differ by an offset" in message for message in log.messages)


def test_a_series_of_one_baseline_keeps_its_numbers(tmp_path):
    product = make_product(tmp_path, scale=1e-4, offset=-0.1)
    (scene,) = prepared([product], tmp_path / "out").scenes
    with rasterio.open(scene.path) as raster:
        assert raster.offsets == (-0.1,) * 3
        np.testing.assert_array_equal(raster.read(1), rasterio.open(product.bands[0].path).read(1))


def test_sensors_with_other_scales_all_become_reflectance(tmp_path):
    log = Log()
    products = [
        make_product(tmp_path, "landsat", ["blue"]),
        make_product(tmp_path, "sentinel", ["blue"], scale=1e-4, offset=0.0),
    ]
    made = prepared(products, tmp_path / "out", monitor=log)
    for scene in made.scenes:
        band = scene.product.bands[0]
        with rasterio.open(scene.path) as raster, rasterio.open(band.path) as source:
            assert (raster.dtypes, raster.nodata) == (("int16",), -32768)
            meant = source.read(1) * band.scale + band.offset
            stored = raster.read(1) * raster.scales[0] + raster.offsets[0]
        assert np.abs(stored - np.minimum(meant, 3.2767)).max() < 0.5001e-4
    assert any("all become surface reflectance" in message for message in log.messages)


def test_reflectance_is_rounded_half_up_and_clipped(tmp_path):
    values = np.array([[7273, 7280, 20000, 43636, 65535, 1, 20020, 0]], np.uint16)
    product = make_product(tmp_path, values={"blue": values})
    made = prepared([product], tmp_path / "out", radiometry=Radiometry.REFLECTANCE)
    # 0.275 · number − 2000, which for 20020 is 3505.5.
    expected = [0, 2, 3500, 10000, 16022, -2000, 3506, -32768]
    assert read(made.scenes[0])[0, 0].tolist() == expected


def test_reflectance_needs_a_scale_and_light(tmp_path):
    bare = make_product(tmp_path, "bare", scale=1.0, offset=0.0)
    with pytest.raises(
        SeriesError, match=r"band 'blue' has no scale, .*keep the numbers as they are"
    ):
        prepared([bare], tmp_path / "out", radiometry=Radiometry.REFLECTANCE)
    hot = make_product(tmp_path, "hot")
    band = dataclasses.replace(hot.bands[0], name="lwir11", wavelength=10.9)
    hot = dataclasses.replace(hot, bands=(band, *hot.bands[1:]), usual=("lwir11", "green"))
    with pytest.raises(SeriesError, match="'lwir11' measures heat"):
        prepared([hot], tmp_path / "out", radiometry=Radiometry.REFLECTANCE)


@pytest.mark.parametrize(
    ("radiometry", "dtype"), [(Radiometry.NUMBERS, "uint16"), (Radiometry.REFLECTANCE, "int16")]
)
def test_indices_come_from_reflectance(tmp_path, radiometry, dtype):
    names = ("red", "green", "nir", "swir16", "swir22")
    product = make_product(tmp_path, values=names, quality=stripes())
    settings = {"radiometry": radiometry, "indices": tuple(Index), "bands": ("green",)}
    (scene,) = prepared([product], tmp_path / "out", **settings).scenes
    with rasterio.open(scene.path) as raster:
        assert raster.descriptions == ("green", *(item.name for item in Index))
        assert set(raster.dtypes) == {dtype}
        stored = raster.read()
        found = stored * np.reshape(raster.scales, (-1, 1, 1)) + np.reshape(
            raster.offsets, (-1, 1, 1)
        )
        valid = stored != raster.nodata
    meant = {
        band.name: np.maximum(rasterio.open(band.path).read(1) * 2.75e-5 - 0.2, 0)
        for band in product.bands
    }
    pairs = [
        ("nir", "red"),
        ("green", "nir"),
        ("green", "swir16"),
        ("swir16", "nir"),
        ("nir", "swir22"),
    ]
    for plane, holds, (first, second) in zip(found[1:], valid[1:], pairs):
        a, b = meant[first], meant[second]
        expected = np.divide(a - b, a + b, out=np.zeros_like(a), where=a + b > 0)
        np.testing.assert_array_equal(holds, valid[0])
        assert np.abs(plane - expected)[holds].max() < 0.51e-4


def test_an_index_beside_8_bit_bands_and_beside_floats(tmp_path):
    nir, red = np.full((2, 2), 30, np.uint8), np.full((2, 2), 10, np.uint8)
    eight = make_product(
        tmp_path, "eight", {"nir": nir, "red": red}, scale=1.0, offset=0.0, nodata=255
    )
    (scene,) = prepared([eight], tmp_path / "a", indices=(Index.NDVI,)).scenes
    with rasterio.open(scene.path) as raster:
        assert (raster.dtypes[0], raster.nodata, raster.read(3)[0, 0]) == ("uint16", 255, 25_000)
    floats = {"nir": nir / np.float32(64), "red": red / np.float32(64)}  # exact
    real = make_product(tmp_path, "real", floats, scale=1.0, offset=0.0, nodata=None)
    (scene,) = prepared([real], tmp_path / "b", indices=(Index.NDVI,)).scenes
    with rasterio.open(scene.path) as raster:
        assert (raster.dtypes[0], raster.read(3)[0, 0]) == ("float32", 0.5)
        assert np.isnan(raster.nodata)
