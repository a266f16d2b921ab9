"""Products as agencies deliver them, from the folder to scenes that can be classified."""

from __future__ import annotations

import shutil
import zipfile

import numpy as np
import product_folders as made
import pytest
import rasterio
from made_products import Log

from iikmc.core import cluster, open_series
from iikmc.core.errors import SeriesError
from iikmc.core.prepare.inputs import prepare_series
from iikmc.core.prepare.plan import PrepareSettings
from iikmc.core.products import Condition

SHAPE = (40, 50)
CLOUD, SHADOW, SNOW = 1 << 3, 1 << 4, 1 << 5  # QA_PIXEL


def read(path):
    with rasterio.open(path) as raster:
        return raster.read()


def meant(path):
    """Return reflectance, with not-a-number for nodata."""
    with rasterio.open(path) as raster:
        stored = raster.read().astype(float)
        stored[stored == raster.nodata] = np.nan
        scales, offsets = (np.reshape(item, (-1, 1, 1)) for item in (raster.scales, raster.offsets))
        return stored * scales + offsets


def names(path):
    with rasterio.open(path) as raster:
        return raster.descriptions


def classified(paths, classes=4):
    with open_series(paths) as series:
        return cluster(series, classes=classes, engine="numpy")


def test_landsat_7_and_8_make_one_series(tmp_path):
    """Red is band 3 of one and band 4 of the other; one comes as the .tar of the download."""
    values = {band: made.made_up(band, SHAPE, 7_300, 30_000) for band in made.TM_BANDS}
    qa = np.full(SHAPE, made.CLEAR_OLI)
    qa[:10, :20] |= CLOUD
    qa[10:15, :20] |= SNOW
    made.landsat_folder(tmp_path / "in", "LC08", "2019-07-31", values=values, qa_pixel=qa)
    old = made.landsat_folder(tmp_path / "in", "LE07", "2002-07-31", values=values)
    made.as_tar(old)
    shutil.rmtree(old)
    first, second = prepare_series([tmp_path / "in"], tmp_path / "out")
    assert first.name == "LE07_L2SP_190031_20020731_20200827_02_T1.tif"
    assert names(first) == names(second) == ("blue", "green", "red", "nir08", "swir16", "swir22")
    expected = np.stack([values[name] for name in names(first)])
    np.testing.assert_array_equal(read(first), expected)
    expected[:, :10, :20] = 0  # snow is not masked unless asked for
    np.testing.assert_array_equal(read(second), expected)
    with rasterio.open(second) as raster:
        assert (raster.scales[0], raster.offsets[0]) == (2.75e-5, -0.2)
    assert classified([first, second]).fit.valid_pixels == 2 * 2000 - 200


def test_sentinel_2_across_baseline_04_means_the_same_before_and_after(tmp_path):
    truth = {
        band: made.made_up(band, (1200 // metres, 1200 // metres), 1, 6000)
        for band, (_, metres) in made.S2_BANDS.items()
    }
    raised = {band: (values + 1000).astype(np.uint16) for band, values in truth.items()}
    scl = np.full((60, 60), 4, np.uint8)
    scl[:5, :5], scl[5:10, :5], scl[10:15, :5] = 9, 3, 6
    place = {"height": 120, "width": 120, "scl": scl}
    made.sentinel2_safe(tmp_path / "in", "03.01", "2021-03-02", values=truth, **place)
    new = made.sentinel2_safe(tmp_path / "in", "04.00", "2022-03-02", values=raised, **place)
    made.as_zip(new)
    shutil.rmtree(new)
    log = Log()
    first, second = prepare_series([tmp_path / "in"], tmp_path / "out", monitor=log)
    assert "nir08" in names(first) and "coastal" not in names(first) and len(names(first)) == 10
    np.testing.assert_array_equal(meant(first), meant(second))
    found = read(first)
    assert found.shape[1:] == (120, 120)
    masked = np.zeros((120, 120), bool)
    masked[:20, :10] = True  # cloud and shadow, not water
    np.testing.assert_array_equal(found[0], np.where(masked, 0, truth["blue"]))
    assert not found[:, masked].any() and found[:, ~masked].all()
    assert any("differ by an offset" in text for text in log.messages)
    coarse = prepare_series(
        [tmp_path / "in"],
        tmp_path / "coarse",
        PrepareSettings(bands=("B8A", "B11"), resolution=20.0),
    )
    np.testing.assert_array_equal(
        read(coarse[1])[1], np.where(masked[::2, ::2], 0, truth["swir16"])
    )


def test_planetscope_of_eight_bands_is_masked_by_udm2(tmp_path):
    udm2 = np.zeros((8, *SHAPE), np.uint8)
    udm2[0], udm2[6] = 1, 90
    udm2[0, :, :5], udm2[5, :, :5] = 0, 1  # cloud
    udm2[0, :, 5:8], udm2[2, :, 5:8] = 0, 1  # shadow
    made.planet_scene(tmp_path / "in", bands=8, udm2=udm2)
    (path,) = prepare_series([tmp_path / "in"], tmp_path / "out", product="planetscope")
    assert names(path) == made.PLANET_8
    image = next((tmp_path / "in").glob("*AnalyticMS_SR_8b.tif"))
    expected = read(image)
    expected[:, :, :8] = 0
    np.testing.assert_array_equal(read(path), expected)
    with rasterio.open(path) as raster:
        assert raster.scales[0] == 1e-4
        assert raster.tags(ns="IMAGERY")["ACQUISITIONDATETIME"] == "2019-01-05 08:30:12"


@pytest.mark.parametrize("fields", ["eo:bands", "bands"])
def test_stac_items_with_local_files(tmp_path, fields):
    scl = np.full((60, 60), 4, np.uint8)
    scl[:10] = 8
    items = made.stac_items(tmp_path / "in", fields=fields, quality=scl)
    paths = prepare_series([items], tmp_path / "out")
    assert [path.name for path in paths] == [
        "S2B_33TVM_20200501_0_L2A.tif",
        "S2B_33TVM_20200511_0_L2A.tif",
    ]
    assert names(paths[0]) == ("blue", "green", "red", "nir", "swir16")
    assert not read(paths[0])[:, :10].any() and read(paths[0])[:, 10:].all()
    assert classified(paths).fit.valid_pixels == 2 * 3000


def test_multiband_files_go_through_as_they_are(tmp_path):
    folder = made.multiband_folder(tmp_path / "in", described=False)
    paths = prepare_series([folder], tmp_path / "out", PrepareSettings(bands=("4", "1")))
    for path in paths:
        np.testing.assert_array_equal(read(path), read(folder / path.name)[[3, 0]])
    assert names(paths[0]) == ("band 4", "band 1")


def test_dates_of_ninety_percent_cloud_are_clear_ground_only(tmp_path):
    for day in range(1, 5):
        qa = np.full(SHAPE, made.CLEAR_OLI)
        qa.reshape(-1)[np.random.default_rng(day).permutation(2000)[:1800]] |= CLOUD
        made.landsat_folder(tmp_path / "in", "LC09", f"2022-07-0{day}", qa_pixel=qa)
    paths = prepare_series([tmp_path / "in"], tmp_path / "out")
    assert [int((read(path)[0] > 0).sum()) for path in paths] == [200] * 4
    assert classified(paths).fit.valid_pixels == 800


def test_landsat_without_quality_goes_through_where_nothing_is_to_be_masked(tmp_path):
    made.landsat_folder(tmp_path / "in", leave_out=("QA_PIXEL", "QA_RADSAT"))
    made.landsat_folder(tmp_path / "in", date="2019-08-16")
    log = Log()
    (path,) = prepare_series([tmp_path / "in"], tmp_path / "out", monitor=log)
    assert "20190816" in path.name
    (warning,) = log.warnings
    assert "has no QA_PIXEL file" in warning and "MASK" in warning and warning.endswith(".")
    with pytest.raises(SeriesError, match="has no QA_PIXEL file"):
        prepare_series([tmp_path / "in"], tmp_path / "strict", PrepareSettings(strict=True))
    unmasked = PrepareSettings(mask=frozenset())
    assert len(prepare_series([tmp_path / "in"], tmp_path / "all", unmasked)) == 2


def test_each_kind_of_trouble_leaves_one_scene_out_with_one_sentence(tmp_path):
    folder = tmp_path / "in"
    made.landsat_folder(folder, date="2019-07-31")
    made.landsat_folder(folder, date="2019-08-16", leave_out=("SR_B4",))
    torn = made.landsat_folder(folder, date="2019-09-01")
    image = next(torn.glob("*SR_B5.TIF"))
    image.write_bytes(image.read_bytes()[:2000])
    moved = made.landsat_folder(folder, date="2019-09-17")
    band = next(moved.glob("*SR_B2.TIF"))
    made.write_raster(band, made.made_up("x", SHAPE), origin=(500_300.0, 4_600_000.0), nodata=0)
    with zipfile.ZipFile(folder / "evil.zip", "w") as archive:
        archive.writestr("../../evil_SR_B2.TIF", b"x")
    cloudy = made.landsat_folder(folder, date="2019-10-03", qa_pixel=np.full(SHAPE, CLOUD))
    log = Log()
    paths = prepare_series([folder], tmp_path / "out", monitor=log)
    assert [path.stem for path in paths] == ["LC08_L2SP_190031_20190731_20200827_02_T1"]
    said = {
        "20190816": "red",
        torn.name: "SR_B5.TIF",
        moved.name: "SR_B2.TIF",
        "evil.zip": "'../../evil_SR_B2.TIF'",
        cloudy.name: "has no valid pixel",
    }
    assert len(log.warnings) == len(said)
    for what, why in said.items():
        (warning,) = [text for text in log.warnings if what in text]
        assert why in warning and warning.startswith("Left out: ") and warning.endswith(".")
        assert "\n" not in warning


def test_nothing_that_looks_like_a_product_is_said_at_once(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes.txt").write_text("none")
    with pytest.raises(SeriesError, match=r"No product was found in '.*in'; expected Landsat"):
        prepare_series([tmp_path / "in"], tmp_path / "out")
    with pytest.raises(SeriesError, match=r"'.*gone' does not exist"):
        prepare_series([tmp_path / "gone"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_snow_and_water_are_masked_where_asked(tmp_path):
    scl = np.full((60, 60), 4, np.uint8)
    scl[0], scl[1], scl[2] = 11, 6, 10
    made.sentinel2_safe(tmp_path / "in", scl=scl)
    for mask, rows in (({Condition.SNOW}, {0}), ({Condition.WATER}, {1}), (set(), set())):
        settings = PrepareSettings(mask=frozenset(mask), bands=("B11",))
        (path,) = prepare_series([tmp_path / "in"], tmp_path / "out", settings)
        assert set(np.flatnonzero(~read(path)[0].any(1))) == rows
