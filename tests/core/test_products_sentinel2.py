"""Sentinel-2 products: bands at their own resolution, and the offset of their baseline."""

from __future__ import annotations

import datetime as dt
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from product_checks import only_product, read, reason_left_out
from product_folders import (
    S2_BANDS,
    as_tar,
    as_zip,
    sentinel2_bands,
    sentinel2_safe,
    write_raster,
)

from iikmc.core.products import Condition, ProductKind, find_products

UTC = dt.timezone.utc
USUAL = [
    *("blue", "green", "red", "rededge1", "rededge2", "rededge3"),
    *("nir", "nir08", "swir16", "swir22"),
]
OLD = {"baseline": "02.09", "date": "2019-01-01"}


only = partial(only_product, ProductKind.SENTINEL2)
reason = partial(reason_left_out, ProductKind.SENTINEL2)


def reflectance(product, name):
    """Return what a band's values mean."""
    band = next(band for band in product.bands if band.name == name)
    return read(band) * band.scale + band.offset


def test_a_safe_folder_has_all_bands_at_their_own_resolution(tmp_path):
    safe = sentinel2_safe(tmp_path)
    product = only(safe)
    assert product.name == "S2B_MSIL2A_20220302T095029_N0400_R079_T33TVM_20220302T135001"
    assert (product.sensor, product.notes, list(product.usual)) == ("Sentinel-2B", (), USUAL)
    assert product.time == dt.datetime(2022, 3, 2, 9, 50, 29, 24000, UTC)
    found = {band.name: (band.native, Path(band.path).name) for band in product.bands}
    assert found == {
        name: (native, f"T33TVM_20220302T095029_{native}_{metres}m.jp2")
        for name, (native, metres) in S2_BANDS.items()
    }
    assert all((band.number, band.nodata) == (1, 0.0) for band in product.bands)
    wavelengths = {band.name: band.wavelength for band in product.bands}
    assert (wavelengths["blue"], wavelengths["nir08"], wavelengths["swir22"]) == (0.49, 0.865, 2.19)
    assert [Path(band.path).name for band in product.quality] == [
        "T33TVM_20220302T095029_SCL_20m.jp2"
    ]


def test_the_offset_of_baseline_4_makes_old_and_new_dates_agree(tmp_path):
    rng = np.random.default_rng(3)
    stored = rng.integers(1, 9_000, (120, 120)).astype(np.uint16)
    old = only(sentinel2_safe(tmp_path / "old", **OLD, values={"red": stored}))
    new = only(sentinel2_safe(tmp_path / "new", values={"red": stored + np.uint16(1000)}))
    for product, offset in ((old, 0.0), (new, -0.1)):
        assert {(band.scale, band.offset) for band in product.bands} == {(0.0001, offset)}
    np.testing.assert_allclose(reflectance(old, "red"), stored / 10_000)
    np.testing.assert_allclose(reflectance(new, "red"), stored / 10_000)


def test_offset_and_quantification_come_from_the_metadata_band_by_band(tmp_path):
    safe = sentinel2_safe(tmp_path, quantification=20_000)
    file = safe / "MTD_MSIL2A.xml"
    text = file.read_text()
    # Band 3 is red (B04), band 8 is B8A, band 12 is B12.
    for number, value in ((3, -500), (8, -600), (12, -700)):
        text = text.replace(f'band_id="{number}">-1000', f'band_id="{number}">{value}')
    file.write_text(text)
    offsets = {band.name: (band.scale, band.offset) for band in only(safe).bands}
    assert offsets.pop("red") == (1 / 20_000, -0.025)
    assert offsets.pop("nir08") == (1 / 20_000, -0.03)
    assert offsets.pop("swir22") == (1 / 20_000, -0.035)
    assert set(offsets.values()) == {(1 / 20_000, -0.05)}


def test_the_entries_of_the_first_baselines_are_known(tmp_path):
    safe = sentinel2_safe(tmp_path, baseline="02.06", date="2017-05-01")
    file = safe / "MTD_MSIL2A.xml"
    file.write_text(
        file.read_text().replace("BOA_QUANTIFICATION_VALUE", "L2A_BOA_QUANTIFICATION_VALUE")
    )
    assert {(band.scale, band.offset) for band in only(safe).bands} == {(0.0001, 0.0)}


@pytest.mark.parametrize(("given", "offset"), [({}, -0.1), (OLD, 0.0)], ids=["04.00", "02.09"])
@pytest.mark.parametrize("short", [True, False])
def test_band_files_without_metadata_go_by_the_baseline_in_the_name(tmp_path, given, offset, short):
    folder = sentinel2_bands(tmp_path, short=short, **given)
    product = only(folder)
    assert product.name == folder.name
    assert product.sensor == "Sentinel-2B"
    assert {(band.scale, band.offset) for band in product.bands} == {(0.0001, offset)}
    assert product.time == dt.datetime.strptime(folder.name[11:26], "%Y%m%dT%H%M%S").replace(
        tzinfo=UTC
    )
    assert len(product.bands) == 12 and len(product.quality) == 1 and product.notes == ()


def test_a_safe_folder_without_metadata_goes_by_its_name(tmp_path):
    product = only(sentinel2_safe(tmp_path, metadata=False))
    assert {(band.scale, band.offset) for band in product.bands} == {(0.0001, -0.1)}
    assert product.time == dt.datetime(2022, 3, 2, 9, 50, 29, tzinfo=UTC)


def test_the_metadata_are_believed_before_the_name(tmp_path):
    safe = sentinel2_safe(tmp_path, **OLD)
    renamed = safe.rename(tmp_path / safe.name.replace("N0209", "N0500"))
    assert {band.offset for band in only(renamed).bands} == {0.0}


def test_products_that_users_made_are_shifted_as_their_metadata_say(tmp_path):
    safe = sentinel2_safe(tmp_path, **OLD)
    own = safe.rename(tmp_path / safe.name.replace("N0209", "N9999"))
    file = own / "MTD_MSIL2A.xml"
    file.write_text(file.read_text().replace(">02.09<", ">99.99<"))
    assert {band.offset for band in only(own).bands} == {0.0}
    file.unlink()
    product = only(own)
    assert {band.offset for band in product.bands} == {0.0}
    assert "by its date" in product.notes[0]


def test_where_nothing_tells_the_baseline_the_date_decides_and_a_note_says_so(tmp_path):
    for date, offset in (("2022-01-24", 0.0), ("2022-01-25", -0.1)):
        folder = sentinel2_bands(tmp_path / date, date=date, short=False)
        bare = folder.rename(folder.with_name("bands"))
        product = only(bare)
        assert {band.offset for band in product.bands} == {offset}
        assert product.time == dt.datetime.fromisoformat(f"{date}T09:50:29+00:00")
        assert len(product.notes) == 1 and "baseline" in product.notes[0]
        assert f"{1e4 * offset:.0f} is taken" in product.notes[0]


def test_bare_band_files_need_a_date(tmp_path):
    folder = sentinel2_bands(tmp_path)
    assert only(folder.rename(tmp_path / "field_2021-05-06")).time == dt.datetime(
        2021, 5, 6, tzinfo=UTC
    )
    (tmp_path / "field_2021-05-06").rename(tmp_path / "field")
    assert "have no date" in reason(tmp_path / "field")


@pytest.mark.parametrize("pack", [as_zip, as_tar], ids=["zip", "tar"])
@pytest.mark.parametrize("nested", [True, False])
def test_archives_are_read_in_place(tmp_path, pack, nested):
    classes = np.full((60, 60), 4, np.uint8)
    classes[3, 4] = 9
    safe = sentinel2_safe(tmp_path, scl=classes)
    expected = {band.name: read(band) for band in only(safe).bands}
    archive = pack(safe, nested=nested)
    shutil.rmtree(safe)
    product = only(archive)
    assert product.name == safe.name[:-5]
    assert {band.offset for band in product.bands} == {-0.1}
    for band in product.bands:
        assert band.path.startswith(f"/vsi{archive.suffix[1:]}/")
        np.testing.assert_array_equal(read(band), expected[band.name])
    clouds = product.quality[0].conditions(read(product.quality[0]))[Condition.CLOUD]
    assert np.argwhere(clouds).tolist() == [[3, 4]]


def test_a_renamed_product_is_found_by_its_metadata_file(tmp_path):
    safe = sentinel2_safe(tmp_path)
    renamed = safe.rename(tmp_path / "winter")
    for given in (tmp_path, renamed, renamed / "MTD_MSIL2A.xml"):
        product = only(given)
        assert product.name == safe.name[:-5]
        assert len(product.bands) == 12
        assert product.time == dt.datetime(2022, 3, 2, 9, 50, 29, 24000, UTC)


def test_one_image_of_a_product_stands_for_the_product(tmp_path):
    safe = sentinel2_safe(tmp_path)
    sentinel2_safe(tmp_path, **OLD)
    image = next(safe.rglob("*_B04_10m.jp2"))
    assert only(image).name == safe.name[:-5]


def test_where_only_coarser_images_are_there_they_are_taken(tmp_path):
    safe = sentinel2_safe(tmp_path)
    shutil.rmtree(next(safe.rglob("R10m")))
    paths = {band.name: band.path[-8:] for band in only(safe, bands=["blue", "red"]).bands}
    assert (paths["blue"], paths["red"], paths["swir16"]) == ("_20m.jp2",) * 3


def test_masks_in_quality_folders_are_no_bands(tmp_path):
    safe = sentinel2_safe(tmp_path, leave_out=["B04"])
    folder = next(safe.rglob("IMG_DATA")).parent / "QI_DATA"
    write_raster(folder / "MSK_DETFOO_B04.jp2", np.ones((120, 120), np.uint8), pixel=10)
    assert "lacks red (B04):" in reason(safe)


@pytest.mark.parametrize("native", ["B02", "B8A", "B12"])
def test_a_missing_band_is_named_with_its_file(tmp_path, native):
    safe = sentinel2_safe(tmp_path, leave_out=[native])
    name = next(key for key, (band, _) in S2_BANDS.items() if band == native)
    assert reason(safe) == (
        f"Sentinel-2 product '{safe.name[:-5]}' lacks {name} ({native}): add the images, or name "
        "the bands to use with BANDS."
    )
    only(safe, bands=["green", "B11"])


def test_the_60_metre_bands_are_offered_but_not_needed(tmp_path):
    product = only(sentinel2_safe(tmp_path, leave_out=["B01", "B09"]))
    assert [band.name for band in product.bands] == USUAL


def test_a_missing_scene_classification_is_an_error_with_a_way_on(tmp_path):
    safe = sentinel2_safe(tmp_path, leave_out=["SCL"])
    assert "has no SCL image, which tells clouds: add it, or switch all" in reason(safe)
    product = only(safe, need_quality=False)
    assert product.quality == ()
    assert "only nodata is masked" in product.notes[0]


def test_truncated_metadata_are_named(tmp_path):
    safe = sentinel2_safe(tmp_path)
    file = safe / "MTD_MSIL2A.xml"
    whole = file.read_text()
    file.write_text(whole[: len(whole) // 2])
    assert "'MTD_MSIL2A.xml'" in reason(safe) and "no whole XML" in reason(safe)
    file.write_text(whole.replace("BOA_QUANTIFICATION_VALUE", "OTHER_VALUE"))
    assert "has no BOA_QUANTIFICATION_VALUE" in reason(safe)
    file.write_text(whole.replace('"3">-1000', '"3">none'))
    assert "gives 'none' as BOA_ADD_OFFSET" in reason(safe)


def test_metadata_that_define_entities_are_not_read(tmp_path):
    safe = sentinel2_safe(tmp_path)
    file = safe / "MTD_MSIL2A.xml"
    head, _, rest = file.read_text().partition("?>")
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
    file.write_text(f"{head}?>{bomb}{rest}")
    assert "defines entities" in reason(safe)


def test_a_product_without_images_is_named(tmp_path):
    safe = sentinel2_safe(tmp_path)
    shutil.rmtree(safe / "GRANULE")
    assert "lacks blue (B02), green (B03)" in reason(safe)


def test_level_1c_is_named(tmp_path):
    safe = sentinel2_safe(tmp_path)
    level_1 = safe.rename(tmp_path / safe.name.replace("MSIL2A", "MSIL1C"))
    (level_1 / "MTD_MSIL2A.xml").unlink()
    assert "is Level 1C; expected surface reflectance, Level 2A" in reason(level_1)


def test_loose_bands_of_level_1c_are_named(tmp_path):
    folder = sentinel2_bands(tmp_path, short=False).rename(tmp_path / "bands")
    write_raster(folder / "T33TVM_20220302T095029_B10.tif", np.ones((20, 20), np.uint16), pixel=60)
    assert "is Level 1C" in reason(folder)


def test_the_names_of_files_are_believed_before_their_folders(tmp_path):
    folder = sentinel2_bands(tmp_path, short=False, **OLD)
    wrong = folder.rename(tmp_path / folder.name.replace("20190101", "20190111"))
    product = only(wrong)
    assert product.time == dt.datetime(2019, 1, 1, 9, 50, 29, tzinfo=UTC)
    assert product.name == "T33TVM_20190101T095029"


def test_an_image_of_another_tile_is_named(tmp_path):
    safe = sentinel2_safe(tmp_path)
    other = sentinel2_safe(tmp_path / "other", origin=(600_000.0, 4_600_000.0))
    image = next(safe.rglob("*_B11_20m.jp2"))
    shutil.copy(next(other.rglob("*_B11_20m.jp2")), image)
    assert image.name in reason(safe) and "another grid" in reason(safe)


def test_a_newer_processing_replaces_the_older(tmp_path):
    sentinel2_safe(tmp_path, **OLD)
    newer = sentinel2_safe(tmp_path, baseline="05.00", date="2019-01-01")
    product = only(tmp_path)
    assert product.name == newer.name[:-5]
    assert len(product.notes) == 1 and "N0209" in product.notes[0]


def test_two_pieces_of_a_tile_stay_two(tmp_path):
    sentinel2_safe(tmp_path)
    piece = sentinel2_safe(tmp_path / "second")
    granule = next((piece / "GRANULE").iterdir())
    granule.rename(granule.with_name(granule.name[:-6] + "095033"))
    piece.rename(piece.with_name(piece.name.replace("T135001", "T150000")))
    products, _ = find_products([tmp_path], ProductKind.SENTINEL2)
    assert len(products) == 2


def test_tiles_and_satellites_of_one_day_stay_apart(tmp_path):
    sentinel2_safe(tmp_path)
    sentinel2_safe(tmp_path, tile="T33TWM")
    sentinel2_safe(tmp_path, satellite="S2A", time="101031")
    products, _ = find_products([tmp_path], ProductKind.SENTINEL2)
    assert [product.sensor[-2:] for product in products] == ["2B", "2B", "2A"]


def test_landsat_bands_are_not_taken_for_sentinel_2(tmp_path):
    (tmp_path / "LC08_L1TP_190031_20190731_20200827_02_T1_B02.TIF").touch()
    folder = sentinel2_bands(tmp_path)
    assert only(tmp_path).name == folder.name
