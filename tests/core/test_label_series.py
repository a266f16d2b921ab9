"""Class rasters are opened as one series or refused with a reason; values are written whole."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys

import numpy as np
import pytest
import rasterio
from class_rasters import DATES, grid_of, styles, write_series
from hypothesis import given
from hypothesis import strategies as st

from iikmc.core.errors import DateError, GridError, OutputError, RasterError, SeriesError
from iikmc.core.grid import Grid, Window
from iikmc.core.interpret.label_series import open_labels, windows_of
from iikmc.core.raster import ClassStyle, describe
from iikmc.core.raster.tables import read_table, write_table
from iikmc.core.raster.values import ValueWriter

TWO = np.array([[[1, 2], [3, 0]], [[1, 1], [3, 2]]])


def whole(labels):
    return labels.read(Window(0, 0, labels.grid.height, labels.grid.width))


def test_a_series_is_sorted_by_date_with_its_classes(tmp_path):
    paths = write_series(tmp_path, TWO, 3, names=("Water", "Bäume & <Wiesen>"))
    labels = open_labels(paths[::-1])
    assert labels.dates == DATES[:2]
    assert list(labels.styles) == styles(3, ("Water", "Bäume & <Wiesen>"))
    np.testing.assert_array_equal(whole(labels), TWO)
    assert labels.notes == ()


def test_dates_given_go_with_their_layers(tmp_path):
    paths = write_series(tmp_path, TWO, 3)
    labels = open_labels(paths, dates=["2021-05-01", dt.date(2020, 5, 1)])
    assert [layer.path for layer in labels.layers] == [str(path) for path in paths[::-1]]
    assert labels.dates == (dt.date(2020, 5, 1), dt.date(2021, 5, 1))


def test_two_layers_of_one_date_are_told_apart(tmp_path):
    first = write_series(tmp_path / "a", TWO, 3)
    again = write_series(tmp_path / "b", TWO[:1], 3)
    labels = [layer.label for layer in open_labels([*first, *again]).layers]
    assert labels == ["2019-01-15 place_2019-01-15_classes"] * 2 + ["2019-02-15"]


def other(folder, **options):
    return write_series(folder / "other", TWO[:1], **{"classes": 3, **options})[0]


def shifted(folder):
    path = other(folder)
    with rasterio.open(path, "r+") as raster:
        raster.transform = rasterio.Affine(10, 0, 500_010, 0, -10, 4_600_000)
    return path


def recoloured(folder):
    path = other(folder)
    with rasterio.open(path, "r+") as raster:
        raster.write_colormap(1, {1: (1, 2, 3, 255), **dict(list(raster.colormap(1).items())[2:])})
    return path


@pytest.mark.parametrize(
    ("make", "error", "sentence"),
    [
        (
            shifted,
            GridError,
            r"Layer 'place_2019-01-15_classes' has its origin at 500010, .* first",
        ),
        (lambda f: other(f, classes=4), SeriesError, r"has 4 classes, the first layer .* 3: "),
        (lambda f: other(f, names=("Sea",)), SeriesError, r"calls class 1 'Sea', .* 'Class 1'"),
        (recoloured, SeriesError, r"has the colour #010203 for class 1, .* #0072b2"),
    ],
)
def test_layers_that_do_not_belong_together_are_named(tmp_path, make, error, sentence):
    good = write_series(tmp_path / "good", TWO, 3)
    with pytest.raises(error, match=sentence):
        open_labels([*good, make(tmp_path)])


def test_rasters_that_are_no_class_rasters_are_refused(tmp_path, make_scene):
    good = write_series(tmp_path, TWO, 3)
    floats = make_scene("f_2020-01-01", np.ones((1, 2, 2), np.float32))
    bands = make_scene("b_2020-01-01", np.ones((3, 2, 2), np.uint8))
    with pytest.raises(SeriesError, match=r"'f_2020-01-01' holds values of type float32; expected"):
        open_labels([*good, floats])
    with pytest.raises(SeriesError, match=r"'b_2020-01-01' has 3 bands; expected a class raster"):
        open_labels([bands, *good])


def test_one_date_is_none_to_compare(tmp_path):
    paths = write_series(tmp_path, TWO, 3)
    for given_paths in (paths[:1], [paths[0], paths[0]]):
        with pytest.raises(DateError, match=r"of one date \(2019-01-15\); give layers of at least"):
            open_labels(given_paths)
    with pytest.raises(SeriesError, match="no class layer"):
        open_labels([])
    with pytest.raises(DateError, match="1 dates for 2 class layers"):
        open_labels(paths, dates=["2019-01-01"])


def test_classes_of_rasters_without_a_table_are_found_in_their_values(make_scene):
    planes = np.array([[[111, 523], [0, 300]], [[111, 111], [-1, 300]]], np.int16)
    paths = [
        make_scene(f"corine_{2000 + 6 * place}0101", plane, nodata=-1)
        for place, plane in enumerate(planes)
    ]
    labels = open_labels(paths)
    assert labels.classes is None
    assert "pixels with 0 count as nodata, too" in labels.notes[0]
    labels = labels.known()
    assert [(item.number, item.name) for item in labels.styles] == [
        (number, f"Class {number}") for number in (111, 300, 523)
    ]
    np.testing.assert_array_equal(whole(labels), [[[1, 3], [0, 2]], [[1, 1], [0, 2]]])


def test_values_that_cannot_be_classes_are_named(make_scene):
    ramp = np.arange(1, 301, dtype=np.uint16).reshape(1, 15, 20)
    low = np.full((1, 15, 20), -4, np.int16)
    empty = np.zeros((1, 15, 20), np.uint8)
    for values, sentence in (
        (ramp, "holds 300 different values or more"),
        (low, "holds the value -4; expected classes"),
        (empty, "hold no class"),
    ):
        name = f"{values.dtype}"
        paths = [make_scene(f"{name}_{day}", values) for day in ("20190101", "20200101")]
        with pytest.raises((SeriesError, RasterError), match=sentence):
            open_labels(paths).known()


def test_a_value_beyond_the_table_is_an_error(tmp_path):
    paths = write_series(tmp_path, TWO, 3)
    with rasterio.open(paths[1], "r+") as raster:
        raster.write(np.full((1, 1), 7, np.uint8), 1, window=((0, 1), (0, 1)))
    with pytest.raises(RasterError, match=r"2019-02-15_classes' holds the value 7, which is none"):
        whole(open_labels(paths))


def test_a_mask_of_a_layer_counts(make_scene):
    first = make_scene("m_20190101", np.ones((1, 2, 2), np.uint8))
    second = make_scene("m_20200101", np.full((1, 2, 2), 2, np.uint8))
    with rasterio.open(second, "r+") as raster:
        raster.write_mask(np.array([[True, False], [True, True]]))
    np.testing.assert_array_equal(
        whole(open_labels([first, second]).known()), [[[1, 1], [1, 1]], [[2, 0], [2, 2]]]
    )


def test_colours_alone_say_which_classes_there_are(make_scene):
    path = make_scene("c", np.ones((1, 2, 2), np.uint8))
    with rasterio.open(path, "r+") as raster:
        raster.write_colormap(1, {0: (0, 0, 0, 0), 2: (9, 8, 7, 255), 5: (1, 1, 1, 255)})
    table = read_table(path)
    assert table.numbers == (2, 5)
    assert table.colours == {2: (9, 8, 7), 5: (1, 1, 1)}
    assert read_table(make_scene("none", np.ones((1, 2, 2), np.uint8))).numbers == ()


@given(st.dictionaries(st.integers(1, 300), st.text("aä&<→ \"'", min_size=1, max_size=9)))
def test_tables_are_read_as_they_were_written(tmp_path_factory, names):
    path = tmp_path_factory.mktemp("t") / "t.tif"
    with ValueWriter(path, grid_of(2, 2), dtype="uint16", nodata=0, bands=["b"]) as writer:
        writer.write(Window(0, 0, 2, 2), np.ones((2, 2), np.uint16))
    names = {number: f"x{name}x" for number, name in names.items()}  # XML trims white space
    found = [
        ClassStyle(number, name, (number % 256, 1, 2)) for number, name in sorted(names.items())
    ]
    write_table(path, found)
    table = read_table(path)
    assert table.numbers == tuple(sorted(names))
    assert table.names == names
    assert table.colours == {item.number: item.colour for item in found}


@given(st.data())
def test_windows_cover_the_grid_once(data):
    draw = data.draw
    height, width = draw(st.integers(1, 3000)), draw(st.integers(1, 3000))
    block = draw(st.sampled_from([(1, width), (16, width), (256, 256), (512, 512), (5000, 5000)]))
    grid = Grid("", (1, 0, 0, 0, -1, 0), width, height)
    seen = np.zeros((height, width), np.uint8)
    for window in windows_of(grid, block, draw(st.integers(1, 1 << 24))):
        seen[
            window.row : window.row + window.height, window.column : window.column + window.width
        ] += 1
    assert (seen == 1).all()


@pytest.mark.parametrize(
    ("dtype", "nodata"), [("uint16", 65_535), ("int32", -1), ("float32", np.nan)]
)
def test_values_are_read_back_with_all_that_goes_with_them(tmp_path, dtype, nodata):
    values = np.random.default_rng(0).integers(0, 60_000, (2, 600, 700)).astype(dtype)
    path, grid = tmp_path / "v.tif", grid_of(600, 700)
    options = {"dtype": dtype, "nodata": nodata, "bands": ["one", "two"], "tags": {"A": "b"}}
    with ValueWriter(path, grid, date=DATES[3], **options) as writer:
        for row in range(0, 600, 512):
            part = values[:, row : row + 512]
            writer.write(Window(row, 0, part.shape[1], 700), part)
    info = describe(path)
    assert (info.grid, info.band_names, info.dtypes) == (grid, ("one", "two"), (dtype,) * 2)
    assert info.date_tags[0].startswith("2019-04-15")
    with rasterio.open(path) as raster:
        np.testing.assert_array_equal(raster.read(), values)
        np.testing.assert_equal(raster.nodata, nodata)
        assert raster.tags()["A"] == "b"
        assert raster.overviews(1) == [2, 4]
        assert raster.compression.name == "deflate" and raster.is_tiled
    with rasterio.open(path, overview_level=0) as raster:
        assert set(np.unique(raster.read(1))) <= set(np.unique(values[0]))
    assert sorted(item.name for item in tmp_path.iterdir()) == ["v.tif"]


def test_large_rasters_written_tile_by_tile_are_whole(tmp_path):
    values = np.random.default_rng(0).integers(0, 9, (1700, 1300)).astype(np.int32)
    path = tmp_path / "v.tif"
    with ValueWriter(
        path, grid_of(*values.shape), dtype="int32", nodata=-1, bands=["x"], date=DATES[0]
    ) as writer:
        for row in range(0, 1700, 512):
            for column in range(0, 1300, 1024):
                part = values[row : row + 512, column : column + 1024]
                writer.write(Window(row, column, *part.shape), part)
    with rasterio.open(path) as raster:
        np.testing.assert_array_equal(raster.read(1), values)
        assert (raster.nodata, raster.descriptions) == (-1, ("x",))
        assert raster.tags()["ACQUISITION_DATE"] == "2019-01-15"
    assert path.stat().st_size < 1.5 * 1700 * 1300, "tiles are not written twice"


def test_categories_are_a_palette_and_shape_the_overviews(tmp_path):
    labels = np.repeat(np.repeat([[1, 2], [2, 1]], 300, 0), 300, 1).astype(np.uint8)
    labels[::2, ::3] = 9
    path = tmp_path / "c.tif"
    kinds = styles(2, ("a", "b"))
    with ValueWriter(
        path, grid_of(600, 600), dtype="uint8", nodata=0, bands=["x"], categories=kinds
    ) as writer:
        writer.write(Window(0, 0, 600, 600), labels)
    table = read_table(path)
    assert [table.names[number] for number in table.numbers] == ["a", "b"]
    with rasterio.open(path) as raster:
        assert raster.colormap(1)[2] == (*kinds[1].colour, 255)
    with rasterio.open(path, overview_level=0) as raster:
        assert (raster.read(1) != 9).mean() > 0.9  # the most frequent, not the nearest


def test_an_error_writes_nothing_also_while_finishing(tmp_path):
    options = {"dtype": "uint16", "nodata": 0, "bands": ["x"]}
    with (
        pytest.raises(KeyError),
        ValueWriter(tmp_path / "a.tif", grid_of(5, 5), **options) as writer,
    ):
        raise KeyError
    writer = ValueWriter(tmp_path / "b.tif", grid_of(5, 5), **options)
    writer.__exit__(KeyError, None, None)
    writer = ValueWriter(tmp_path / "c.tif", grid_of(5, 5), **options)
    writer._dropped = True  # as by an error while the overviews are built
    writer.finish()
    assert list(tmp_path.iterdir()) == []
    writer = ValueWriter(tmp_path / "gone" / "d.tif", grid_of(5, 5), **options)
    with pytest.raises(OutputError, match=r"d\.tif' cannot be written: No such file"):
        writer.finish()


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from class_rasters import grid_of, styles
from iikmc.core.errors import OutputError
from iikmc.core.grid import Window
from iikmc.core.raster.values import ValueWriter

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # else the limit ends the process
values = np.random.default_rng(0).integers(0, 9, (300, 300)).astype(np.uint16)
for limit in range(0, 20_000, 1_000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    writer = ValueWriter(sys.argv[1], grid_of(300, 300), dtype="uint16", nodata=0, bands=["x"])
    try:
        with writer:
            writer.write(Window(0, 0, 300, 300), values)
    except OutputError as error:
        assert "File too large" in str(error), error
    else:
        raise AssertionError(f"no error with at most {limit} bytes")
print("told")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
def test_a_full_disk_is_told(tmp_path):
    import class_rasters

    folder = class_rasters.__file__.rpartition("/")[0]
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path / "v.tif")],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": folder},
    )
    assert done.stdout == "told\n", done.stderr
