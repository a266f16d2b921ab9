"""Overviews of label rasters against a count by hand, and files that do not depend on their way."""

from __future__ import annotations

import datetime as dt
import importlib.util
import random
import tracemalloc

import numpy as np
import pytest
import rasterio
from class_rasters import LabelWriter, write_plane
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from test_labels import CLASSES, DATE, grid, patches

from iikmc.core import overviews as module
from iikmc.core.errors import Cancelled, OutputError
from iikmc.core.grid import Window
from iikmc.core.overviews import Counters, add_counts, count_pixels, counters, overviews
from iikmc.core.raster import label_tiles
from iikmc.core.raster.label_tiles import LabelTiles, label_pieces
from iikmc.core.raster.labels import LabelFile, label_counters, write_labels
from iikmc.core.raster.tiffs import overview_factors

WITH_NUMPY = Counters(count_pixels, add_counts)


def nothing():
    """Check nothing."""


def by_hand(labels, factor):
    """The definition, pixel by pixel."""
    height, width = labels.shape
    found = np.zeros((-(-height // factor), -(-width // factor)), np.uint8)
    for row, column in np.ndindex(found.shape):
        part = labels[row * factor : (row + 1) * factor, column * factor : (column + 1) * factor]
        counts = np.bincount(part.reshape(-1), minlength=256)
        counts[0] = 0
        found[row, column] = counts.argmax()  # the first of the largest; 0 where there is none
    return found


def noise(height, width, classes, seed=0):
    return np.random.default_rng(seed).integers(0, classes + 1, (height, width)).astype(np.uint8)


@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from([1, 2, 3, 254]),
    st.integers(0, 4),
    st.sampled_from([1, 100, 1 << 18]),
)
@example(33, 31, 254, 4, 64)
def test_both_ways_give_the_most_frequent_class(height, width, classes, levels, band):
    labels = noise(height, width, classes, height + width)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BAND_PIXELS", band)
        for way in (WITH_NUMPY, counters()):
            found = overviews(labels, levels, way, nothing)
            assert len(found) == levels
            for level, plane in enumerate(found, start=1):
                np.testing.assert_array_equal(plane, by_hand(labels, 2**level))


def test_counts_do_not_overflow_in_very_small_overviews():
    """A pixel of level 8 covers 2^16 pixels, one more than uint16 holds."""
    labels = np.full((512, 512), 2, np.uint8)
    labels[::2, ::2] = 1
    for way in (WITH_NUMPY, counters()):
        for plane in overviews(labels, 9, way, nothing):
            assert (plane == 2).all()
        flat = overviews(np.full_like(labels, 7), 9, way, nothing)
        assert all((plane == 7).all() for plane in flat)


@pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="needs Numba")
def test_the_compiled_way_is_used_where_there_is_numba(monkeypatch):
    assert counters().pixels is not count_pixels
    monkeypatch.setattr(module, "is_usable", lambda name: False)
    assert counters() == WITH_NUMPY


@pytest.mark.parametrize("shape", [(257, 3), (511, 300), (600, 1100), (1025, 1024), (2, 1300)])
def test_readers_find_each_overview(tmp_path, shape):
    labels = noise(*shape, 3)
    labels[: shape[0] // 2, : shape[1] // 2] = 0
    path = tmp_path / "c.tif"
    write_plane(path, grid(*shape), CLASSES, DATE, labels)
    with rasterio.open(path) as raster:
        np.testing.assert_array_equal(raster.read(1), labels)
        # GDAL tells factors by the sizes, which are rounded.
        assert len(raster.overviews(1)) == len(overview_factors(grid(*shape)))
        tile = raster.block_shapes
    for level, factor in enumerate(overview_factors(grid(*shape))):
        with rasterio.open(path, overview_level=level) as raster:
            np.testing.assert_array_equal(raster.read(1), by_hand(labels, factor))
            assert (raster.nodata, raster.dtypes, raster.block_shapes) == (0, ("uint8",), tile)
            assert raster.compression.name == "deflate"
            assert raster.colormap(1)[2] == (40, 50, 60, 255)


def test_gdal_takes_them_for_its_own(tmp_path):
    gdal = pytest.importorskip("osgeo.gdal")
    path, labels = tmp_path / "c.tif", noise(600, 700, 3)
    write_plane(path, grid(600, 700), CLASSES, DATE, labels)
    dataset = gdal.Open(str(path))
    band = dataset.GetRasterBand(1)
    assert band.GetOverviewCount() == 2
    for level, factor in enumerate((2, 4)):
        reduced = band.GetOverview(level)
        np.testing.assert_array_equal(reduced.ReadAsArray(), by_hand(labels, factor))
        assert reduced.GetNoDataValue() == 0
    assert not dataset.GetSubDatasets(), "no page of its own"
    assert [name.endswith(".ovr") for name in dataset.GetFileList()] == [False, False]


@pytest.mark.parametrize("pixels", [1, 1 << 20, 1 << 23])
def test_pieces_cover_a_grid_once_in_whole_tiles(pixels, monkeypatch):
    monkeypatch.setattr(label_tiles, "_PIECE_PIXELS", pixels)
    for height, width in ((1, 1), (256, 256), (600, 40_000), (5000, 3), (1100, 2600)):
        seen = np.zeros((height, width), np.uint8)
        for piece in label_pieces(grid(height, width)):
            seen[piece.row : piece.row + piece.height, piece.column :][:, : piece.width] += 1
            assert piece.row % 256 == piece.column % 256 == 0
        assert (seen == 1).all()


@pytest.mark.parametrize("pixels", [1, 1 << 23])
def test_pieces_in_any_order_make_the_same_tiles(pixels, monkeypatch):
    monkeypatch.setattr(label_tiles, "_PIECE_PIXELS", pixels)
    labels = patches(3000, 1300)
    results = []
    for seed in range(4):
        pieces = label_pieces(grid(*labels.shape))
        random.Random(seed).shuffle(pieces)
        tiles = LabelTiles(grid(*labels.shape), WITH_NUMPY if seed % 2 else counters())
        found = []
        for piece in pieces:
            rows = labels[piece.row : piece.row + piece.height]
            part = rows[:, piece.column : piece.column + piece.width]
            found += tiles.pack(piece, part, nothing)
        assert len({number for number, _ in found}) == len(found)
        results.append(sorted(found))
    assert all(found == results[0] for found in results)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=10, deadline=None
)
@given(st.integers(0, 3), st.sampled_from([1, 1 << 23]))
def test_files_do_not_depend_on_pieces_or_kernels(tmp_path, seed, pixels):
    labels = noise(1100, 600, 3, seed)
    paths = [tmp_path / "a.tif", tmp_path / "b.tif"]
    write_plane(paths[0], grid(1100, 600), CLASSES, DATE, labels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(label_tiles, "_PIECE_PIXELS", pixels)
        patch.setattr(module, "is_usable", lambda name: False)
        with LabelWriter(paths[1], grid(1100, 600), CLASSES, DATE) as raster:
            for row in range(0, 1100, 37):
                part = labels[row : row + 37]
                raster.write(Window(row, 0, len(part), 600), part)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_tiles_of_overviews_may_come_in_any_order(tmp_path):
    labels, contents = noise(2300, 2300, 3), []
    for seed in range(3):
        tiles = LabelTiles(grid(*labels.shape), counters())
        with LabelFile(tmp_path / "c.tif", grid(*labels.shape), CLASSES, DATE, tiles) as file:
            late = []
            for piece in label_pieces(grid(*labels.shape)):
                part = labels[piece.row : piece.row + piece.height]
                found = tiles.pack(piece, part, nothing)
                file.add([item for item in found if item[0] < tiles.first_of_overviews])
                late += [item for item in found if item[0] >= tiles.first_of_overviews]
            random.Random(seed).shuffle(late)
            file.add(late)
        contents.append((tmp_path / "c.tif").read_bytes())
    assert contents[0] == contents[1] == contents[2]


def test_a_stop_is_heard_while_one_piece_is_made(tmp_path):
    calls = []

    def check():
        calls.append(None)
        if len(calls) == 5:
            raise Cancelled

    with pytest.raises(Cancelled):
        path, place, count = tmp_path / "c.tif", grid(300, 300), label_counters(grid(300, 300))
        write_labels(path, place, CLASSES, DATE, patches(300, 300), count, check)
    assert len(calls) == 5
    assert list(tmp_path.iterdir()) == []


def test_a_stop_is_heard_between_levels():
    """Of one class, levels are all there is to stop between."""
    calls = []

    def check():
        calls.append(None)
        if len(calls) == 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        overviews(np.ones((64, 64), np.uint8), 5, WITH_NUMPY, check)


@pytest.mark.parametrize("shape", [(1, 70_001), (70_001, 1), (100_003, 3)])
def test_thin_rasters_take_room_by_their_pixels(shape):
    labels = noise(*shape, 3)
    levels = len(overview_factors(grid(*shape)))
    for way in (WITH_NUMPY, counters()):
        tracemalloc.start()
        try:
            found = overviews(labels, levels, way, nothing)
            assert tracemalloc.get_traced_memory()[1] < 16 * labels.size
        finally:
            tracemalloc.stop()
        for level, plane in enumerate(found, start=1):
            np.testing.assert_array_equal(plane, by_hand(labels, 2**level))


def test_a_piece_of_a_very_long_row_takes_little_room():
    """It is one pixel high, where the smallest overview has pixels of 16384 x 16384."""
    place = grid(1, 3_000_000)
    tiles, piece = LabelTiles(place, counters()), label_pieces(place)[0]
    labels = noise(piece.height, piece.width, 3)
    tracemalloc.start()
    try:
        found = tiles.pack(piece, labels, nothing)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
    assert len(found) >= -(-piece.width // 512)


def test_classes_that_are_not_there_are_not_counted():
    asked = []

    def count(labels, number, most, found):
        asked.append(number)
        return count_pixels(labels, number, most, found)

    labels = np.zeros((8, 8), np.uint8)
    labels[3, 5], labels[6, 1] = 254, 3
    (plane,) = overviews(labels, 1, Counters(count, add_counts), nothing)
    assert asked == [3, 254]
    np.testing.assert_array_equal(plane, by_hand(labels, 2))


def test_overviews_are_kept_only_until_their_tiles_are_made():
    labels = noise(8192, 512, 3)
    tiles, kept = LabelTiles(grid(*labels.shape), counters()), []
    for piece in label_pieces(grid(*labels.shape)):
        tiles.pack(piece, labels[piece.row : piece.row + piece.height], nothing)
        kept.append(sum(strip.size for strip in tiles._strips.values()))
    # A row of tiles of each of the five levels at most.
    assert max(kept) <= 512 * sum(512 >> level for level in range(1, 6))
    assert kept[-1] == 0


def test_a_file_that_is_not_finished_is_not_there(tmp_path):
    tiles = LabelTiles(grid(9, 9), None)
    with (
        pytest.raises(KeyError),
        LabelFile(tmp_path / "c.tif", grid(9, 9), CLASSES, DATE, tiles) as file,
    ):
        file.add([(0, b"x")])
        raise KeyError
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OutputError, match=r"gone.c\.tif' cannot be written: No such file"):
        LabelFile(tmp_path / "gone" / "c.tif", grid(9, 9), CLASSES, dt.date(2020, 1, 1), tiles)


def test_large_files_are_bigtiffs_with_overviews(tmp_path):
    """A few pixels on a grid of 2.6 thousand million, whose other tiles are empty."""
    wide = grid(51_200, 51_200)
    tiles = LabelTiles(wide, counters())
    piece = label_pieces(wide)[-1]
    labels = np.full((piece.height, piece.width), 3, np.uint8)
    path = tmp_path / "c.tif"
    with LabelFile(path, wide, CLASSES, DATE, tiles) as file:
        file.add(tiles.pack(piece, labels, nothing))
    assert path.read_bytes()[:4] == b"II\x2b\x00"
    with rasterio.open(path) as raster:
        assert raster.overviews(1) == overview_factors(wide)
        window = ((piece.row, piece.row + 9), (51_191, 51_200))
        assert (raster.read(1, window=window) == 3).all()
        assert (raster.read(1, window=((0, 9), (0, 9))) == 0).all()
