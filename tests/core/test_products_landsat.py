"""Landsat scenes become products: bands by wavelength, numbers and times by their metadata."""

from __future__ import annotations

import datetime as dt
import shutil
from functools import partial

import numpy as np
import pytest
import rasterio
from product_checks import only_product, read, reason_left_out
from product_folders import as_tar, as_zip, landsat_folder

from iikmc.core.errors import SeriesError
from iikmc.core.products import Condition, ProductKind, find_products

UTC = dt.timezone.utc
COMMON = ["blue", "green", "red", "nir08", "swir16", "swir22"]
OLI = ["SR_B2", "SR_B3", "SR_B4", "SR_B5", "SR_B6", "SR_B7"]
TM = ["SR_B1", "SR_B2", "SR_B3", "SR_B4", "SR_B5", "SR_B7"]


only = partial(only_product, ProductKind.LANDSAT)
reason = partial(reason_left_out, ProductKind.LANDSAT)


@pytest.mark.parametrize(
    ("sensor", "name", "natives"),
    [
        ("LT04", "Landsat 4", TM),
        ("LT05", "Landsat 5", TM),
        ("LE07", "Landsat 7", TM),
        ("LC08", "Landsat 8", ["SR_B1", *OLI]),
        ("LC09", "Landsat 9", ["SR_B1", *OLI]),
    ],
)
def test_each_satellite_has_its_bands_under_common_names(tmp_path, sensor, name, natives):
    product = only(landsat_folder(tmp_path, sensor))
    assert (product.sensor, product.name[:4], product.notes) == (name, sensor, ())
    assert [band.native for band in product.bands] == natives
    assert [band.name for band in product.bands][-6:] == COMMON
    assert list(product.usual) == COMMON
    for band in product.bands:
        assert band.path.endswith(f"{product.name}_{band.native}.TIF")
        assert (band.number, band.scale, band.offset, band.nodata) == (1, 2.75e-05, -0.2, 0.0)


def test_bands_of_one_name_lie_at_one_wavelength_on_all_satellites(tmp_path):
    for sensor in ("LT04", "LT05", "LE07", "LC08", "LC09"):
        landsat_folder(tmp_path, sensor)
    products, _ = find_products([tmp_path], ProductKind.LANDSAT)
    assert len(products) == 5
    for name in COMMON:
        found = [b.wavelength for p in products for b in p.bands if b.name == name]
        assert len(found) == 5
        assert max(found) - min(found) < 0.05, name  # micrometres


def test_a_series_mixes_landsat_7_and_8(tmp_path):
    landsat_folder(tmp_path, "LC08", "2019-07-31")
    landsat_folder(tmp_path, "LE07", "2018-07-04")
    products, left_out = find_products([tmp_path])
    assert left_out == []
    assert [product.sensor for product in products] == ["Landsat 7", "Landsat 8"]
    assert products[0].usual == products[1].usual
    seven, eight = ({band.name: band.native for band in product.bands} for product in products)
    assert [(seven[name], eight[name]) for name in COMMON] == list(zip(TM, OLI))


@pytest.mark.parametrize("kind", ["txt", "json", "xml"])
def test_numbers_and_time_come_from_any_metadata_file(tmp_path, kind):
    folder = landsat_folder(tmp_path, metadata=[kind])
    file = next(folder.glob("*_MTL.*"))
    file.write_text(file.read_text().replace("2.75e-05", "3.5e-05").replace("-0.2", "-0.25"))
    product = only(folder)
    # Level 1 has entries of the same names, 2.0000E-05 and -0.1.
    assert {(band.scale, band.offset) for band in product.bands} == {(3.5e-05, -0.25)}
    assert product.time == dt.datetime(2019, 7, 31, 9, 58, 12, 345678, UTC)


def test_without_metadata_the_constants_and_the_names_date_hold(tmp_path):
    product = only(landsat_folder(tmp_path, metadata=[]))
    assert {(band.scale, band.offset) for band in product.bands} == {(2.75e-05, -0.2)}
    assert product.time == dt.datetime(2019, 7, 31, tzinfo=UTC)


def test_values_are_those_of_the_files(tmp_path):
    rng = np.random.default_rng(1)
    values = {name: rng.integers(1, 60_000, (40, 50)).astype(np.uint16) for name in COMMON}
    product = only(landsat_folder(tmp_path, "LE07", values=values))
    for band in product.bands:
        np.testing.assert_array_equal(read(band), values[band.name])


def test_quality_bits_are_read_by_each_layers_own_rules(tmp_path):
    qa = np.full((40, 50), 21824, np.uint16)
    radsat = np.zeros((40, 50), np.uint16)
    qa[0, 0], radsat[1, 1] = 1 << 3, 1 << 4
    product = only(landsat_folder(tmp_path, qa_pixel=qa, radsat=radsat))
    pixel, saturation = product.quality
    assert pixel.path.endswith("_QA_PIXEL.TIF") and saturation.path.endswith("_QA_RADSAT.TIF")
    clouds = pixel.conditions(read(pixel))[Condition.CLOUD]
    assert np.argwhere(clouds).tolist() == [[0, 0]]
    saturated = saturation.conditions(read(saturation))[Condition.SATURATED]
    assert np.argwhere(saturated).tolist() == [[1, 1]]


def test_cirrus_is_known_to_landsat_8_and_not_to_7(tmp_path):
    values = np.array([[1 << 2]], np.uint16)
    eight = only(landsat_folder(tmp_path / "8", "LC08")).quality[0].conditions(values)
    seven = only(landsat_folder(tmp_path / "7", "LE07")).quality[0].conditions(values)
    assert eight[Condition.CIRRUS].all()
    assert Condition.CIRRUS not in seven


def test_the_thermal_band_of_landsat_7_is_none_that_saturates(tmp_path):
    values = np.array([[1 << 5]], np.uint16)
    eight = only(landsat_folder(tmp_path / "8", "LC08")).quality[1].conditions(values)
    seven = only(landsat_folder(tmp_path / "7", "LE07")).quality[1].conditions(values)
    assert eight[Condition.SATURATED].all()
    assert not seven[Condition.SATURATED].any()


@pytest.mark.parametrize("pack", [as_tar, as_zip], ids=["tar", "zip"])
@pytest.mark.parametrize("nested", [False, True])
def test_archives_are_read_in_place(tmp_path, pack, nested):
    folder = landsat_folder(tmp_path)
    archive = pack(folder, nested=nested)
    expected = {band.name: read(band) for band in only(folder).bands}
    shutil.rmtree(folder)
    product = only(archive)
    assert product.time == dt.datetime(2019, 7, 31, 9, 58, 12, 345678, UTC)
    assert {band.path.split("/")[1] for band in product.bands} == {f"vsi{archive.suffix[1:]}"}
    for band in product.bands:
        np.testing.assert_array_equal(read(band), expected[band.name])
    assert product.quality[0].conditions(read(product.quality[0]))[Condition.FILL].sum() == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [archive.name]


def test_a_compressed_tar_is_read_in_place(tmp_path):
    folder = landsat_folder(tmp_path)
    archive = as_tar(folder, compressed=True)
    expected = read(only(folder).bands[0])
    shutil.rmtree(folder)
    np.testing.assert_array_equal(read(only(archive).bands[0]), expected)


def test_loose_files_of_many_scenes_in_one_folder(tmp_path):
    for sensor, date in (("LC08", "2019-07-31"), ("LC09", "2022-07-31"), ("LT05", "1999-07-31")):
        for file in landsat_folder(tmp_path / "made", sensor, date).iterdir():
            file.rename(tmp_path / file.name)
    products, left_out = find_products([tmp_path], ProductKind.LANDSAT)
    assert left_out == []
    assert [product.time.year for product in products] == [1999, 2019, 2022]
    for product in products:
        files = {band.path for band in (*product.bands, *product.quality)}
        assert all(f"/{product.name}_" in path for path in files)


def test_one_file_of_a_scene_stands_for_the_scene(tmp_path):
    landsat_folder(tmp_path, "LC09", "2022-07-31")
    folder = landsat_folder(tmp_path)
    for ending in ("SR_B4.TIF", "MTL.txt", "QA_PIXEL.TIF"):
        product = only(folder / f"{folder.name}_{ending}")
        assert product.name == folder.name
        assert len(product.quality) == 2


def test_a_missing_qa_pixel_is_an_error_with_a_way_on(tmp_path):
    folder = landsat_folder(tmp_path, leave_out=["QA_PIXEL"])
    assert reason(folder) == (
        f"Landsat scene '{folder.name}' has no QA_PIXEL file, which tells clouds: add it, or "
        "switch all options of MASK off to go on without."
    )
    product = only(folder, need_quality=False)
    assert [band.path[-13:] for band in product.quality] == ["QA_RADSAT.TIF"]
    assert product.notes == (
        f"Landsat scene '{folder.name}' has no QA_PIXEL file, which tells clouds; only nodata is "
        "masked.",
    )


def test_a_missing_qa_radsat_is_noted(tmp_path):
    folder = landsat_folder(tmp_path, leave_out=["QA_RADSAT"])
    product = only(folder)
    assert len(product.quality) == 1
    assert Condition.SATURATED not in product.quality[0].conditions(np.zeros((1, 1), np.uint16))
    assert product.notes == (
        f"Landsat scene '{folder.name}' has no QA_RADSAT file; saturation is not masked.",
    )


def test_quality_of_another_scene_is_refused(tmp_path):
    folder = landsat_folder(tmp_path, leave_out=["QA_PIXEL"])
    other = landsat_folder(tmp_path / "other", "LC08", "2019-08-16")
    stray = other / f"{other.name}_QA_PIXEL.TIF"
    stray.rename(folder / stray.name)
    shutil.rmtree(other)
    text = reason(tmp_path)
    assert folder.name in text and other.name in text and "another scene" in text


def test_quality_that_another_scene_needs_itself_is_not_spoken_of(tmp_path):
    for folder in (
        landsat_folder(tmp_path / "made", leave_out=["QA_PIXEL"]),
        landsat_folder(tmp_path / "made", "LC08", "2019-08-16"),
    ):
        for file in folder.iterdir():
            file.rename(tmp_path / file.name)
    products, left_out = find_products([tmp_path], ProductKind.LANDSAT)
    assert len(products) == 1 and products[0].name[17:25] == "20190816"
    assert "_20190731_" in left_out[0].path
    assert "20190816" not in left_out[0].reason


def test_metadata_of_another_scene_are_refused(tmp_path):
    folder = landsat_folder(tmp_path)
    file = folder / f"{folder.name}_MTL.txt"
    file.write_text(file.read_text().replace("_20190731_", "_20190816_"))
    assert "speaks of 'LC08_L2SP_190031_20190816" in reason(folder)


def test_a_missing_band_is_named_with_its_file(tmp_path):
    folder = landsat_folder(tmp_path, "LE07", leave_out=["SR_B4", "SR_B7"])
    assert reason(folder) == (
        f"Landsat scene '{folder.name}' lacks nir08 (SR_B4), swir22 (SR_B7): add the files, or "
        "name the bands to use with BANDS."
    )
    product = only(folder, bands=["red", "SR_B2"])
    assert [band.name for band in product.bands] == ["blue", "green", "red", "swir16"]
    assert "lacks nir08 (SR_B4):" in reason(folder, bands=["red", "NIR08"])


def test_coastal_is_offered_but_not_needed(tmp_path):
    product = only(landsat_folder(tmp_path, "LC08", leave_out=["SR_B1"]))
    assert [band.name for band in product.bands] == COMMON


@pytest.mark.parametrize("kind", ["txt", "json", "xml"])
def test_truncated_metadata_are_named(tmp_path, kind):
    folder = landsat_folder(tmp_path, metadata=[kind])
    file = next(folder.glob("*_MTL.*"))
    file.write_bytes(file.read_bytes()[:-20])
    text = reason(folder)
    assert file.name in text and "no whole" in text and "download it again" in text


def test_a_truncated_band_is_named(tmp_path):
    folder = landsat_folder(tmp_path)
    file = folder / f"{folder.name}_SR_B5.TIF"
    whole = file.read_bytes()
    for length in (len(whole) // 2, 100, 0):
        file.write_bytes(whole[:length])
        assert "SR_B5.TIF" in reason(folder)
    file.write_bytes(whole)
    only(folder)


def test_a_band_on_another_grid_is_named(tmp_path):
    folder = landsat_folder(tmp_path, leave_out=["SR_B5", "QA_PIXEL"])
    shifted = landsat_folder(tmp_path / "other", origin=(500_030.0, 4_600_000.0))
    for part in ("SR_B5", "QA_PIXEL"):
        (shifted / f"{shifted.name}_{part}.TIF").rename(folder / f"{folder.name}_{part}.TIF")
    shutil.rmtree(shifted)
    text = reason(folder)
    assert "SR_B5.TIF" in text and "another grid" in text


def test_a_band_of_another_zone_is_named(tmp_path):
    folder = landsat_folder(tmp_path)
    other = landsat_folder(tmp_path / "other", epsg=32634)
    (other / f"{other.name}_SR_B6.TIF").replace(folder / f"{folder.name}_SR_B6.TIF")
    assert "SR_B6.TIF" in reason(folder) and "another grid" in reason(folder)


def test_quality_of_floating_point_is_refused(tmp_path):
    folder = landsat_folder(tmp_path)
    file = folder / f"{folder.name}_QA_PIXEL.TIF"
    with rasterio.open(file) as dataset:
        profile, values = dataset.profile, dataset.read()
    with rasterio.open(file, "w", **{**profile, "dtype": "float32"}) as dataset:
        dataset.write(values.astype(np.float32))
    assert "float32" in reason(folder)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("LC08_L1TP_190031_20190731_20200827_02_T1", "L1TP of Collection 2, Landsat 8"),
        ("LC08_L2SP_190031_20190731_20200827_01_T1", "L2SP of Collection 1, Landsat 8"),
        ("LM03_L2SP_190031_19790731_20200827_02_T1", "L2SP of Collection 2, Landsat 3"),
    ],
)
def test_other_products_of_landsat_are_named(tmp_path, name, found):
    (tmp_path / f"{name}_SR_B4.TIF").touch()
    text = reason(tmp_path)
    assert found in text and "expected Level 2" in text


def test_the_newest_processing_of_an_acquisition_is_taken(tmp_path):
    old = landsat_folder(tmp_path, processed="20190805")
    new = landsat_folder(tmp_path, processed="20200827")
    as_tar(new)
    product = only(tmp_path)
    assert product.name == new.name
    assert not product.bands[0].path.startswith("/vsi"), "a folder is read faster than an archive"
    assert len(product.notes) == 2
    assert old.name in "".join(product.notes)


def test_neighbouring_rows_of_one_day_stay_two(tmp_path):
    landsat_folder(tmp_path, path_row="190031")
    landsat_folder(tmp_path, path_row="190032")
    products, _ = find_products([tmp_path], ProductKind.LANDSAT)
    assert len(products) == 2


def test_nothing_of_landsat_is_an_error_that_says_what_was_looked_for(tmp_path):
    (tmp_path / "readme.txt").touch()
    with pytest.raises(SeriesError, match=r"No product was found in '.*'; expected Landsat"):
        find_products([tmp_path], ProductKind.LANDSAT)
