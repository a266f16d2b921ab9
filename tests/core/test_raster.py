"""Rasters are described and read as they are; one that cannot be read is named."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

from iikmc.core.errors import RasterError
from iikmc.core.grid import Grid, Placement, Window
from iikmc.core.raster import (
    Source,
    crs_label,
    describe,
    read_onto,
    read_preview,
    read_window,
    same_crs,
)
from iikmc.core.raster.windows import hold_values

ESRI_UTM_33 = (
    'PROJCS["WGS_1984_UTM_Zone_33N",GEOGCS["GCS_WGS_1984",DATUM["D_WGS_1984",'
    'SPHEROID["WGS_1984",6378137.0,298.257223563]],PRIMEM["Greenwich",0.0],'
    'UNIT["Degree",0.0174532925199433]],PROJECTION["Transverse_Mercator"],'
    'PARAMETER["False_Easting",500000.0],PARAMETER["False_Northing",0.0],'
    'PARAMETER["Central_Meridian",15.0],PARAMETER["Scale_Factor",0.9996],'
    'PARAMETER["Latitude_Of_Origin",0.0],UNIT["Meter",1.0]]'
)
UTM_33, UTM_34 = (rasterio.CRS.from_epsg(code).to_wkt() for code in (32633, 32634))
WHOLE = Window(0, 0, 60, 70)
GRID = Grid("", (1.0, 0.0, 0.0, 0.0, -1.0, 0.0), 6, 1)


@pytest.fixture
def noise():
    """uint16 (3, 60, 70) that does not compress."""
    return np.random.default_rng(0).integers(1, 60_000, (3, 60, 70)).astype(np.uint16)


def whole(path, own_mask=False):
    """Return the first band of a raster as it lies."""
    grid = describe(path).grid
    place = Placement(grid, grid.height, grid.width, 0, 0, False)
    return Source(str(path), (1,), (None,), own_mask, place)


def test_a_header_is_described_in_full(make_scene):
    info = describe(
        make_scene(
            "s",
            np.zeros((2, 30, 40), np.int16),
            nodata=-9999,
            band_names=["red", "nir"],
            tags={"ACQUISITION_DATE": "2020-05-06", "TIFFTAG_DATETIME": "2021:01:01 00:00:00"},
            tiled=True,
            blockxsize=16,
            blockysize=32,
        )
    )
    assert (info.count, info.dtypes, info.nodata) == (2, ("int16",) * 2, (-9999.0,) * 2)
    assert (info.band_names, info.alpha, info.has_mask) == (("red", "nir"), (False,) * 2, False)
    assert (info.block_height, info.block_width) == (32, 16)
    assert (info.date_tags, info.file_date_tag) == (("2020-05-06",), "2021:01:01 00:00:00")
    grid = info.grid
    assert grid.transform == (10.0, 0.0, 500_000.0, 0.0, -10.0, 4_600_000.0)
    assert (grid.width, grid.height, grid.unit_metres, grid.geographic) == (40, 30, 1.0, False)
    assert same_crs(grid.crs, UTM_33)


def test_acquisition_tags_come_from_the_surest_down(make_scene):
    path = make_scene("s", np.zeros((1, 2, 2), np.uint8), tags={"DATE": "c", "DATE_ACQUIRED": "b"})
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(ns="IMAGERY", ACQUISITIONDATETIME="a")
    assert describe(path).date_tags == ("a", "b", "c")


def test_alpha_bands_and_masks_are_noticed(make_scene):
    four = make_scene("rgba", np.ones((4, 5, 5), np.uint8))
    with rasterio.open(four, "r+") as dataset:
        dataset.colorinterp = [*[ColorInterp.undefined] * 3, ColorInterp.alpha]
    info = describe(four)
    assert (info.alpha, info.has_mask) == ((False, False, False, True), True)

    masked = make_scene("masked", np.ones((1, 5, 5), np.uint8))
    with rasterio.open(masked, "r+") as dataset:
        dataset.write_mask(np.eye(5, dtype=bool))
    assert describe(masked).has_mask
    found = read_onto(whole(masked, own_mask=True), Window(1, 0, 2, 5))[2]
    assert found.tolist() == np.eye(5, dtype=bool)[1:3].tolist()


@pytest.mark.parametrize("content", [None, b"", b"no raster at all", b"II*\0\x08\0\0\0"])
def test_what_cannot_be_opened_is_named(tmp_path, content):
    path = tmp_path / "broken.tif"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RasterError, match=r"broken\.tif' cannot be opened: .*\.$"):
        describe(path)


def test_crs_are_compared_by_meaning_and_named_shortly():
    assert same_crs(UTM_33, ESRI_UTM_33)
    assert not same_crs(UTM_33, UTM_34)
    assert same_crs("", "")
    assert not same_crs("", UTM_33)
    assert crs_label(UTM_33) == crs_label(ESRI_UTM_33) == "EPSG:32633"
    assert crs_label("") == "no CRS"
    assert crs_label('LOCAL_CS["field",UNIT["metre",1]]') == "field"


def test_windows_are_read_as_stored_on_any_thread(make_scene, noise):
    paths = [str(make_scene(f"s{n}", noise + n, tiled=True)) for n in range(5)]
    windows = [Window(row, column, 7, 9) for row in (0, 20, 53) for column in (0, 33, 61)]
    jobs = [(n, window) for n in range(5) for window in windows] * 3

    def read(job):
        n, window = job
        return read_window(paths[n], (3, 1), window)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(read, jobs))
    for (n, window), values in zip(jobs, found):
        rows = slice(window.row, window.row + window.height)
        columns = slice(window.column, window.column + window.width)
        assert values.dtype == np.uint16
        np.testing.assert_array_equal(values, (noise + n)[[2, 0], rows, columns])


def test_no_file_stays_open(make_scene, noise, monkeypatch):
    """An open file cannot be replaced on Windows, and GDAL keeps what it has decoded of it."""
    path, opened, open_raster = str(make_scene("s", noise)), [], rasterio.open
    source = whole(path)

    def noted(*arguments):
        opened.append(open_raster(*arguments))
        return opened[-1]

    monkeypatch.setattr(rasterio, "open", noted)
    read_window(path, (1,), WHOLE)
    read_onto(source, WHOLE)
    assert [dataset.closed for dataset in opened] == [True, True]


@pytest.mark.parametrize("compress", ["none", "deflate", "lzw"])
@pytest.mark.parametrize("tiled", [False, True])
@pytest.mark.parametrize("kept", [0.3, 0.99])
def test_a_file_cut_short_can_be_opened_but_not_read(make_scene, noise, compress, tiled, kept):
    layout = {"tiled": True, "blockxsize": 16, "blockysize": 16} if tiled else {}
    path = make_scene("cut", noise, compress=compress, **layout)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    assert describe(path).count == 3
    with pytest.raises(RasterError, match=r"cut\.tif' cannot be read: "):
        read_window(str(path), (1, 2, 3), WHOLE)


def test_a_preview_is_no_larger_than_asked(make_scene):
    values = np.arange(1, 61, dtype=np.uint8).repeat(90).reshape(60, 90)
    path = make_scene("s", values)
    preview = read_preview(path, 30)
    assert preview.shape == (20, 30)
    assert set(np.unique(preview)) <= set(range(1, 61))
    np.testing.assert_array_equal(read_preview(path, 200), values)
    assert read_preview(make_scene("thin", values[:1]), 30).shape == (1, 30)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32"])
@pytest.mark.parametrize("nodata", [0.0, 7.0, 0.5, -1.0, -9999.0, 65535.0, 65536.0, 1e30])
@pytest.mark.parametrize("other", [float("nan"), float("inf"), None])
def test_nodata_is_what_equals_it_whatever_the_types(dtype, nodata, other):
    """GDAL declares nodata as floating-point numbers, also some that a type does not have."""
    with np.errstate(over="ignore", invalid="ignore"):
        ends = np.array([0, 1, 7, 65535, -1, -9999], np.float64).astype(np.int64).astype(dtype)
    values = np.stack([ends, ends[::-1]])[:, None]
    source = Source("", (1, 2), (nodata, other), False, Placement(GRID, 1, 6, 0, 0, False))
    found = hold_values(values, source)[0]
    assert found.tolist() == [float(value) != nodata for value in ends]
