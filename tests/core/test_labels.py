"""Class rasters on disk: read back with rasterio and GDAL, and whole or not there at all."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys

import numpy as np
import pytest
import rasterio
from class_rasters import LabelWriter
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iikmc.core import cluster, open_series
from iikmc.core.dates import find_date
from iikmc.core.errors import Cancelled, OutputError, RasterError
from iikmc.core.grid import Grid, Window
from iikmc.core.raster import ClassStyle, describe

UTM = rasterio.CRS.from_epsg(32633).to_wkt()
DATE = dt.date(2020, 2, 29)
CLASSES = (
    ClassStyle(1, "Water", (10, 20, 30)),
    ClassStyle(2, "Bäume & <Wiesen>", (40, 50, 60)),
    ClassStyle(3, "", (255, 0, 255)),
)


def grid(height, width, crs=UTM):
    return Grid(crs, (10.0, 0.0, 500_000.0, 0.0, -10.0, 4_600_000.0), width, height)


def patches(height, width, size=16):
    """Labels 0 to 3 in squares of ``size`` pixels."""
    shape = (-(-height // size), -(-width // size))
    labels = np.random.default_rng(1).integers(0, 4, shape).astype(np.uint8)
    return labels.repeat(size, 0).repeat(size, 1)[:height, :width]


def write(path, labels, classes=CLASSES, step=37, crs=UTM):
    height, width = labels.shape
    with LabelWriter(path, grid(height, width, crs), classes, DATE) as raster:
        for row in range(0, height, step):
            part = labels[row : row + step]
            raster.write(Window(row, 0, len(part), width), part)
    return path


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 300), (1300, 1), (40, 50), (256, 256), (257, 255), (600, 513)]
)
def test_labels_and_georeference_are_read_back(tmp_path, shape):
    labels = patches(*shape)
    path = write(tmp_path / "c.tif", labels)
    with rasterio.open(path) as raster:
        np.testing.assert_array_equal(raster.read(1), labels)
        assert (raster.driver, raster.dtypes, raster.nodata) == ("GTiff", ("uint8",), 0)
        assert raster.crs == rasterio.CRS.from_epsg(32633)
        assert tuple(raster.transform)[:6] == grid(*shape).transform
        assert raster.block_shapes in ([(256, 256)], [(512, 512)])  # tiles, not strips
        assert raster.compression.name == "deflate"
        smallest = max(shape) / 2 ** len(raster.overviews(1))
        assert smallest <= 256 and (max(shape) <= 256) == (not raster.overviews(1))
    assert sorted(item.name for item in tmp_path.iterdir()) == ["c.tif", "c.tif.aux.xml"]


def test_overviews_hold_the_most_frequent_class(tmp_path):
    labels = patches(600, 800)
    stray = labels[::5, ::5]  # never the most frequent of four; nodata does not count
    stray[stray > 0] = 3
    with rasterio.open(write(tmp_path / "c.tif", labels), overview_level=0) as raster:
        np.testing.assert_array_equal(raster.read(1), patches(300, 400, 8))


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None
)
@given(st.data(), st.integers(1, 70), st.integers(1, 70))
def test_windows_may_come_in_any_shape_and_order(tmp_path, data, height, width):
    labels = np.random.default_rng(height * width).integers(0, 4, (height, width)).astype(np.uint8)
    rows = sorted(data.draw(st.sets(st.integers(1, height), max_size=4)) | {0, height})
    columns = sorted(data.draw(st.sets(st.integers(1, width), max_size=4)) | {0, width})
    cuts = [
        (top, left, bottom, right)
        for top, bottom in zip(rows, rows[1:])
        for left, right in zip(columns, columns[1:])
    ]
    with LabelWriter(tmp_path / "c.tif", grid(height, width), CLASSES, DATE) as raster:
        for top, left, bottom, right in data.draw(st.permutations(cuts)):
            window = Window(top, left, bottom - top, right - left)
            raster.write(window, labels[top:bottom, left:right])
    with rasterio.open(tmp_path / "c.tif") as raster:
        np.testing.assert_array_equal(raster.read(1), labels)


def test_windows_never_written_are_nodata(tmp_path):
    with LabelWriter(tmp_path / "c.tif", grid(600, 600), CLASSES, DATE) as raster:
        raster.write(Window(0, 0, 1, 1), np.ones((1, 1), np.uint8))
    with rasterio.open(tmp_path / "c.tif") as raster:
        assert raster.read(1).sum() == 1


def test_gdal_sees_colours_names_table_and_date(tmp_path):
    gdal = pytest.importorskip("osgeo.gdal")
    dataset = gdal.Open(str(write(tmp_path / "c.tif", patches(40, 50))))
    band = dataset.GetRasterBand(1)
    assert (band.DataType, band.GetNoDataValue(), band.GetDescription()) == (
        gdal.GDT_Byte,
        0,
        "class",
    )
    assert band.GetCategoryNames() == ["nodata", *(item.name for item in CLASSES)]
    colours = band.GetColorTable()
    assert colours.GetColorEntry(0)[3] == 0, "nodata is transparent"
    table = band.GetDefaultRAT()
    assert table.GetRowCount() == len(CLASSES)
    usages = (gdal.GFU_MinMax, gdal.GFU_Name, gdal.GFU_Red, gdal.GFU_Green, gdal.GFU_Blue)
    value, name, *rgb = (table.GetColOfUsage(usage) for usage in usages)
    for row, item in enumerate(CLASSES):
        assert colours.GetColorEntry(item.number) == (*item.colour, 255)
        assert table.GetValueAsInt(row, value) == item.number
        assert table.GetValueAsString(row, name) == item.name
        assert tuple(table.GetValueAsInt(row, column) for column in rgb) == item.colour
    assert dataset.GetMetadataItem("ACQUISITION_DATE") == "2020-02-29"
    assert dataset.GetMetadataItem("TIFFTAG_DATETIME") == "2020:02:29 00:00:00"
    assert dataset.GetMetadataItem("ACQUISITIONDATETIME", "IMAGERY") == "2020-02-29 00:00:00"
    assert gdal.Info(dataset), "GDAL makes sense of all of it"


def test_254_classes_fit(tmp_path):
    classes = [ClassStyle(n, f"Class {n}", (n, 255 - n, 7)) for n in range(1, 255)]
    labels = np.arange(255, dtype=np.uint8).reshape(15, 17)
    with rasterio.open(write(tmp_path / "c.tif", labels, classes)) as raster:
        np.testing.assert_array_equal(raster.read(1), labels)
        assert raster.colormap(1)[254] == (254, 1, 7, 255)


def test_a_class_raster_is_a_dated_raster_itself(tmp_path):
    info = describe(write(tmp_path / "no_date_in_this_name.tif", patches(5, 5)))
    assert find_date("x", info.date_tags, "")[0] == DATE
    assert find_date("x", (), info.file_date_tag)[0] == DATE


def test_a_raster_without_crs_is_written(tmp_path):
    path = write(tmp_path / "c.tif", patches(5, 6), crs="")
    assert describe(path).grid == grid(5, 6, "")


def test_the_same_labels_give_the_same_bytes(tmp_path):
    one = write(tmp_path / "one.tif", patches(300, 300), step=37)
    two = write(tmp_path / "two.tif", patches(300, 300), step=300)
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize("name", ["a#b", "a!b.zip", "50%", "späß", "q?x", "two words"])
def test_odd_folder_names_do_no_harm(tmp_path, name):
    (tmp_path / name).mkdir()
    path = write(tmp_path / name / "c.tif", patches(5, 5))
    assert path.is_file() and describe(path).count == 1


def test_an_error_while_writing_writes_no_raster(tmp_path):
    with pytest.raises(Cancelled), LabelWriter(tmp_path / "c.tif", grid(9, 9), CLASSES, DATE):
        raise Cancelled
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(OutputError, match=r"c\.tif' cannot be written: No such file"):
        write(tmp_path / "gone" / "c.tif", patches(5, 5))


@pytest.mark.parametrize("compress", ["none", "deflate"])
@pytest.mark.parametrize("what", ["scene", "mask"])
def test_a_file_that_breaks_in_the_middle_is_named_and_writes_nothing(
    three_scenes, make_scene, tmp_path, compress, what
):
    out = tmp_path / "out"
    with open_series(three_scenes) as series:
        model = cluster(series, classes=3, engine="numpy")
        model.classify(series, out, engine="numpy")
    before = {path: path.read_bytes() for path in out.iterdir()}
    noise = np.random.default_rng(0).integers(1, 200, (3, 40, 50)).astype(np.uint16)
    bands = noise if what == "scene" else noise[:1]
    broken = make_scene("broken_20200501", bands, compress=compress)
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size * 2 // 3])
    paths, masks = (three_scenes, [None, broken, None])
    if what == "scene":
        paths, masks = [*three_scenes[:2], broken], None
    with open_series(paths, masks=masks) as series:
        for attempt in (
            lambda: cluster(series, classes=3, engine="numpy"),
            lambda: model.classify(series, out, engine="numpy", threads=2),
            lambda: model.classify(series, tmp_path / "new", engine="numpy"),
        ):
            with pytest.raises(RasterError, match=r"broken_20200501\.tif' cannot be read: "):
                attempt()
    assert {path: path.read_bytes() for path in out.iterdir()} == before
    assert not (tmp_path / "new").exists()


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from iikmc.core import ClassModel, errors, open_series

def tree(folder):
    return {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")}

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # else the limit ends the process
model, out, largest = ClassModel.load(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
series, before = open_series(sys.argv[4:]), tree(out)
attempts = (
    lambda: model.classify(series, out, engine="numpy", threads=2),
    lambda: model.classify(series, out / "new", engine="numpy", threads=2),
    lambda: model.save(out / "model.json"),
)
for limit in range(0, largest, largest // 40):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    for attempt in attempts[: 3 if limit < 1000 else 2]:
        try:
            attempt()
        except errors.OutputError as error:
            assert "File too large" in str(error), error
        else:
            raise AssertionError(f"no error with at most {limit} bytes")
        assert tree(out) == before, limit
print("whole")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
def test_a_full_disk_is_an_error_and_leaves_all_as_it_was(three_scenes, tmp_path):
    """Wherever it strikes: in the header, a tile, the side file or the model."""
    out = tmp_path / "out"
    with open_series(three_scenes) as series:
        model = cluster(series, classes=4, engine="numpy")
        paths = model.classify(series, out, engine="numpy")
    model.save(tmp_path / "model.json")
    largest = max(path.stat().st_size for path in paths)
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / "model.json"), str(out)]
    done = subprocess.run(
        [*command, str(largest), *map(str, three_scenes)], capture_output=True, text=True
    )
    assert done.stdout == "whole\n", done.stderr
