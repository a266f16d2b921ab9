"""One multiband raster per date: names, numbers and dates as the files say."""

from __future__ import annotations

import datetime as dt
import shutil

import numpy as np
import pytest
import rasterio
from product_folders import (
    as_zip,
    landsat_folder,
    multiband_folder,
    write_raster,
)

from iikmc.core.errors import SeriesError
from iikmc.core.products import ProductKind, find_products

UTC = dt.timezone.utc
NAMES = ("blue", "green", "red", "nir")


def found(folder, **options):
    """Return the multiband products in a folder; nothing may be left out."""
    products, left_out = find_products([folder], ProductKind.MULTIBAND, **options)
    assert left_out == []
    return products


def test_each_file_is_a_date(tmp_path):
    products = found(multiband_folder(tmp_path, ["2020-05-11", "2020-05-01"]))
    assert [product.name for product in products] == ["scene_2020-05-01", "scene_2020-05-11"]
    for product in products:
        assert tuple(band.name for band in product.bands) == product.usual == NAMES
        assert [band.number for band in product.bands] == [1, 2, 3, 4]
        assert {(b.scale, b.offset, b.nodata, b.wavelength) for b in product.bands} == {
            (1.0, 0.0, 0.0, None)
        }
        assert (product.sensor, product.quality, product.notes) == ("", (), ())
    assert products[0].time == dt.datetime(2020, 5, 1, tzinfo=UTC)


def test_scale_and_offset_come_from_the_file(tmp_path):
    multiband_folder(tmp_path, ["2020-05-11"], scale=0.5, offset=-3.0)
    assert {(band.scale, band.offset) for band in found(tmp_path)[0].bands} == {(0.5, -3.0)}


@pytest.mark.parametrize("names", [(), ("red", "", "nir", ""), ("a", "A", "b", "c")])
def test_bands_without_names_of_their_own_are_numbered(tmp_path, names):
    values = np.ones((4, 5, 6), np.uint16)
    write_raster(tmp_path / "x_20200501.tif", values, names=names)
    assert [band.name for band in found(tmp_path)[0].bands] == [
        f"band {number}" for number in (1, 2, 3, 4)
    ]


def test_an_alpha_band_is_no_band(tmp_path):
    path = tmp_path / "x_20200501.tif"
    write_raster(path, np.ones((4, 5, 6), np.uint8))
    with rasterio.open(path, "r+") as dataset:
        dataset.colorinterp = [*dataset.colorinterp[:3], rasterio.enums.ColorInterp.alpha]
    assert [band.number for band in found(tmp_path)[0].bands] == [1, 2, 3]


def test_tags_tell_the_time_before_the_name(tmp_path):
    path = tmp_path / "x_20200501.tif"
    write_raster(path, np.ones((2, 5, 6), np.uint8))
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(TIFFTAG_DATETIME="2024:01:01 00:00:00")
    assert found(tmp_path)[0].time == dt.datetime(2020, 5, 1, tzinfo=UTC)
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(ns="IMAGERY", ACQUISITIONDATETIME="2020-05-02 10:20:30")
    assert found(tmp_path)[0].time == dt.datetime(2020, 5, 2, 10, 20, 30, tzinfo=UTC)


def test_the_tiffs_own_date_is_the_last_resort(tmp_path):
    tags = {"TIFFTAG_DATETIME": "2020:05:03 10:20:30"}
    write_raster(tmp_path / "x.tif", np.ones((2, 5, 6), np.uint8), tags=tags)
    assert found(tmp_path)[0].time == dt.datetime(2020, 5, 3, 10, 20, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    "name",
    ["x_20200501_udm2.tif", "x_20200501_mask.tif", "SCL_20200501.tif", "x_20200501_QA_PIXEL.TIF"],
)
def test_masks_are_passed_over(tmp_path, name):
    multiband_folder(tmp_path, ["2020-05-01"])
    write_raster(tmp_path / name, np.ones((5, 6), np.uint8))
    assert [product.name for product in found(tmp_path)] == ["scene_2020-05-01"]


def test_hidden_files_are_passed_over(tmp_path):
    multiband_folder(tmp_path, ["2020-05-01"])
    (tmp_path / "._scene_2020-05-01.tif").write_bytes(b"what another system leaves")
    assert len(found(tmp_path)) == 1


def test_other_formats_are_read(tmp_path):
    folder = multiband_folder(tmp_path / "tif", ["2020-05-01"])
    with rasterio.open(folder / "scene_2020-05-01.tif") as dataset:
        values, profile = dataset.read(), dataset.profile
    plain = {key: profile[key] for key in ("dtype", "count", "width", "height", "crs", "transform")}
    with rasterio.open(tmp_path / "a_2020-06-01.img", "w", driver="HFA", **plain) as dataset:
        dataset.write(values)
    write_raster(tmp_path / "b_2020-06-11.jp2", values, pixel=10.0)
    source = folder / "scene_2020-05-01.tif"
    (tmp_path / "c_2020-07-01.vrt").write_text(
        '<VRTDataset rasterXSize="50" rasterYSize="40"><GeoTransform>0,9,0,0,0,-9</GeoTransform>'
        '<VRTRasterBand dataType="UInt16" band="1">'
        f"<SimpleSource><SourceFilename>{source}</SourceFilename><SourceBand>2</SourceBand>"
        "</SimpleSource></VRTRasterBand></VRTDataset>"
    )
    assert [product.time.month for product in found(tmp_path)] == [5, 6, 6, 7]


def test_files_without_a_date_are_left_out_and_others_stay(tmp_path):
    multiband_folder(tmp_path, ["2020-05-01"])
    write_raster(tmp_path / "field.tif", np.ones((2, 5, 6), np.uint8))
    products, left_out = find_products([tmp_path], ProductKind.MULTIBAND)
    assert [product.name for product in products] == ["scene_2020-05-01"]
    assert left_out[0].path == (tmp_path / "field.tif").as_posix()
    assert left_out[0].reason == (
        "'field' has no date in its metadata or its name: put one into the file's name, such as "
        "2019-07-31."
    )


def test_files_that_are_no_rasters_are_left_out(tmp_path):
    multiband_folder(tmp_path, ["2020-05-01"])
    (tmp_path / "scene_2020-05-02.tif").write_text("no picture")
    products, left_out = find_products([tmp_path], ProductKind.MULTIBAND)
    assert len(products) == 1
    assert "scene_2020-05-02.tif" in left_out[0].reason


def test_a_cut_off_file_is_left_out(tmp_path):
    multiband_folder(tmp_path)
    file = tmp_path / "scene_2020-05-01.tif"
    file.write_bytes(file.read_bytes()[:-1])
    products, left_out = find_products([tmp_path], ProductKind.MULTIBAND)
    assert [product.name for product in products] == ["scene_2020-05-11"]
    assert "is cut off after" in left_out[0].reason


def test_wanted_bands_must_be_there(tmp_path):
    multiband_folder(tmp_path, ["2020-05-01"])
    multiband_folder(tmp_path, ["2020-06-01"], names=("blue", "swir16"))
    products, left_out = find_products([tmp_path], ProductKind.MULTIBAND, bands=["Blue", "NIR"])
    assert [product.time.month for product in products] == [5]
    assert "lacks NIR; it has blue, swir16" in left_out[0].reason


def test_rasters_of_one_band_count_if_asked_for_by_name(tmp_path):
    write_raster(tmp_path / "vv_20200501.tif", np.ones((5, 6), np.float32))
    assert len(found(tmp_path)) == 1
    with pytest.raises(SeriesError, match="No product was found"):
        find_products([tmp_path])


def test_detecting_takes_them_only_where_nothing_else_is_found(tmp_path):
    multiband_folder(tmp_path)
    products, _ = find_products([tmp_path])
    assert len(products) == 2
    scene = landsat_folder(tmp_path)
    assert [product.name for product in find_products([tmp_path])[0]] == [scene.name]


def test_archives_are_read_in_place(tmp_path):
    folder = multiband_folder(tmp_path / "dates")
    archive = as_zip(folder)
    shutil.rmtree(folder)
    products = found(archive)
    assert len(products) == 2
    with rasterio.open(products[0].bands[0].path) as dataset:
        assert dataset.count == 4
