"""Which pixels count, and that every other one is counted under the reason why it does not."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import rasterio
from ground import NORTH_UP, ORIGIN, UTM, centres, metres, to_crs, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio import Affine

from iikmc.core import open_series, valid
from iikmc.core.grid import Window
from iikmc.core.places import Area
from iikmc.core.raster import read_onto
from iikmc.core.valid import AreaMask, LeftOut, SceneReader, StaticBands

HERE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)


def ground_points(*pixels):
    """Points of the common grid's columns and rows, as x and y."""
    return [NORTH_UP * pixel for pixel in pixels]


def polygon(*rings):
    return {"type": "Polygon", "coordinates": [ground_points(*ring) for ring in rings]}


def within(rings, columns, rows):
    """Even-odd rule, for each point; in a hole is outside."""
    inside = np.zeros(columns.shape, bool)
    for ring in rings:
        for (x0, y0), (x1, y1) in zip(ring, [*ring[1:], ring[0]]):
            if y0 != y1:
                crosses = (y0 > rows) != (y1 > rows)
                with np.errstate(over="ignore", invalid="ignore"):  # edges that are all but level
                    inside ^= crosses & (columns < x0 + (rows - y0) * (x1 - x0) / (y1 - y0))
    return inside


def blank(folder, name="s_20200101", height=40, width=50, bands=1, **options):
    return write(folder, name, np.ones((bands, height, width), np.uint16), **options)


def area_of(series):
    return AreaMask(series)(Window(0, 0, series.grid.height, series.grid.width))


CORNERS = st.tuples(st.floats(-10, 60), st.floats(-10, 50))


@HERE
@given(st.lists(st.lists(CORNERS, min_size=3, max_size=6), min_size=1, max_size=1))
def test_pixel_centres_decide(tmp_path, rings):
    closed = [[*ring, ring[0]] for ring in rings]
    rows, columns = np.mgrid[:40, :50] + 0.5
    expected = within(rings, columns, rows)
    if not expected.any():
        return
    with open_series([blank(tmp_path)], area=polygon(*closed)) as series:
        left, top = ~NORTH_UP * series.grid.origin
        found = np.zeros((40, 50), bool)
        part = area_of(series)
        row, column = round(top), round(left)
        found[row : row + part.shape[0], column : column + part.shape[1]] = part
    differs = found != expected
    # Where a line goes through a centre, or crosses itself, either is right.
    near = np.zeros((40, 50), bool)
    for ring in closed:
        for (x0, y0), (x1, y1) in zip(ring, ring[1:]):
            steps = np.clip(
                ((columns - x0) * (x1 - x0) + (rows - y0) * (y1 - y0))
                / max((x1 - x0) ** 2 + (y1 - y0) ** 2, 1e-12),
                0,
                1,
            )
            way = np.hypot(columns - x0 - steps * (x1 - x0), rows - y0 - steps * (y1 - y0))
            near |= way < 1e-2
    assert not (differs & ~near).any()


def test_holes_are_outside_and_polygons_add_up(tmp_path):
    outer, hole = [(5, 5), (25, 5), (25, 25), (5, 25), (5, 5)], [(10, 10), (20, 10), (20, 20)]
    other = [(20, 20), (45, 20), (45, 35), (20, 35), (20, 20)]
    area = [polygon(outer, [*hole, hole[0]]), polygon(other)]
    with open_series([blank(tmp_path)], area=area) as series:
        assert (series.grid.width, series.grid.height) == (40, 30)
        found = area_of(series)
        left_out = series.pixels(threads=1).left_out
    rows, columns = np.mgrid[5:35, 5:45] + 0.5
    in_hole = within([hole], columns, rows) & ~(columns - rows == 0)
    diagonal = (columns == rows) & (columns > 10) & (columns < 20)
    expected = within([outer], columns, rows) & ~in_hole | within([other], columns, rows)
    np.testing.assert_array_equal(found[~diagonal], expected[~diagonal])
    assert left_out[0].tolist() == [np.count_nonzero(~found), 0, 0, 0, 0]


def test_polygons_come_from_another_crs_with_straight_edges_of_their_own(tmp_path):
    """A parallel is no straight line in UTM: over 90 km it bends by more than 150 m."""
    across = Affine(100, 0, ORIGIN[0] - 50_000, 0, -100, ORIGIN[1])
    path = blank(tmp_path, height=300, width=1000, transform=across)
    west, east, south, north = 14.45, 15.55, 41.35, 41.5
    ring = [(west, south), (east, south), (east, north), (west, north), (west, south)]
    area = Area(({"type": "Polygon", "coordinates": [ring]},), "EPSG:4326")
    with open_series([path], area=area) as series:
        found, grid = area_of(series), series.grid
    longitudes, latitudes = to_crs(
        *centres(Affine(*grid.transform), grid.height, grid.width), UTM, "EPSG:4326"
    )
    expected = (longitudes > west) & (longitudes < east) & (latitudes > south) & (latitudes < north)
    assert expected.sum() > 10_000
    # Edges are cut into pieces: 5 km of a parallel bend by a few decimetres.
    assert (found != expected).sum() < 0.002 * expected.sum()


@pytest.mark.parametrize("rows", [1, 100, 255, 256, 257, 700])
def test_big_areas_are_made_in_strips_that_join(tmp_path, rows):
    height, width = 700, 90
    path = blank(tmp_path, height=height, width=width, compress="deflate")
    ring = [(3.2, 1.3), (88.1, 255.7), (70.4, 256.3), (81.9, 511.8), (12.3, 699.1), (3.2, 1.3)]
    with open_series([path], area=polygon(ring)) as series:
        left, top = (round(number) for number in ~NORTH_UP * series.grid.origin)
        mask, found = AreaMask(series), []
        for row in range(0, series.grid.height, rows):
            window = Window(row, 2, min(rows, series.grid.height - row), series.grid.width - 5)
            found.append(mask(window))
    found = np.concatenate(found)
    row, column = np.mgrid[: found.shape[0], : found.shape[1]]
    expected = within([ring[:-1]], column + left + 2.5, row + top + 0.5)
    np.testing.assert_array_equal(found, expected)


def scene_with_everything(folder, dtype=np.uint16):
    """Two scenes and what leaves pixels out of them: all five reasons."""
    values = metres(NORTH_UP, 40, 50).astype(dtype)
    values[0, 5, 5:15] = 0
    second = values.copy()
    second[1, 20:22] = 0
    first = write(folder, "s_20200101", values, nodata=0, blockysize=6)
    moved = NORTH_UP * Affine.translation(7.5, -4.25)
    second = write(folder, "s_20200102", second, moved, nodata=0)
    clouds = np.ones((2, 40, 50), np.uint8)
    clouds[0, 10:14] = clouds[1, :, 33:36] = 0
    masks = [
        write(folder, "m_20200101", clouds),
        write(folder, "m_20200102", clouds, moved),
    ]
    heights = metres(NORTH_UP * Affine.scale(3), 10, 14).astype(np.float32)[:1]
    heights[0, 2, 3] = -9999
    static = write(folder, "height", heights, NORTH_UP * Affine.scale(3), nodata=-9999)
    area = polygon([(1, 1), (49, 2), (45, 39), (3, 30), (1, 1)])
    return [first, second], {
        "masks": masks,
        "static": [static],
        "area": area,
        "grid": "first",
        "dates": ["2020-01-01", "2020-01-02"],
    }


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize("pixels", [1 << 20, 300, 64])
def test_reasons_and_valid_pixels_add_up_to_the_grid(tmp_path, monkeypatch, dtype, pixels):
    monkeypatch.setattr("iikmc.core.reading.BLOCK_PIXELS", pixels)
    paths, options = scene_with_everything(tmp_path, dtype)
    for room in (None, 0):  # none: float values are read twice
        if room is not None:
            monkeypatch.setattr("iikmc.core.reading.pixel_room", lambda *_: 0)
        with open_series(paths, **options) as series:
            store = series.pixels(threads=2)
            assert store.left_out.shape == (2, len(LeftOut))
            whole = series.grid.width * series.grid.height
            assert (store.scene_pixels + store.left_out.sum(axis=1) == whole).all()
            reasons = dict(zip(LeftOut, store.left_out.T.tolist()))
        assert reasons[LeftOut.OUTSIDE][0] == 0 and reasons[LeftOut.OUTSIDE][1] > 100
        for reason in (LeftOut.AREA, LeftOut.NODATA, LeftOut.MASK, LeftOut.STATIC):
            assert all(reasons[reason]), reason
        assert reasons[LeftOut.AREA][0] == reasons[LeftOut.AREA][1]


def test_reasons_are_the_first_that_holds(tmp_path):
    values = np.ones((1, 10, 10), np.uint16)
    values[0, 0] = 0
    clouds = np.ones((10, 10), np.uint8)
    clouds[:2] = 0
    heights = np.ones((10, 10), np.float32)
    heights[:3] = np.nan
    paths = [write(tmp_path, name, item) for name, item in (("m", clouds), ("h", heights))]
    path = write(tmp_path, "s_20200101", values, nodata=0)
    with open_series([path], masks=paths[:1], static=paths[1:]) as series:
        store = series.pixels()
        pixels = store.pixels
    assert dict(zip(LeftOut, store.left_out[0].tolist())) == {
        LeftOut.AREA: 0,
        LeftOut.OUTSIDE: 0,
        LeftOut.NODATA: 10,
        LeftOut.MASK: 10,
        LeftOut.STATIC: 10,
    }
    assert pixels == 70


@pytest.mark.parametrize("shift", [(3, -2), (3.4, -2.2)])
@pytest.mark.parametrize("how", ["nodata", "mask", "nan"])
def test_nodata_is_not_taken_for_ground_outside(tmp_path, shift, how):
    values = np.full((1, 20, 20), 5.0, np.float32)
    hidden = np.zeros((20, 20), bool)
    hidden[8:12, 8:12] = True
    nodata = {"nodata": -1, "mask": None, "nan": None}[how]
    values[0, hidden] = {"nodata": -1, "mask": 5, "nan": np.nan}[how]
    second = write(
        tmp_path, "s_20200102", values, NORTH_UP * Affine.translation(*shift), nodata=nodata
    )
    if how == "mask":
        with rasterio.open(second, "r+") as dataset:
            dataset.write_mask(~hidden)
    first = write(tmp_path, "s_20200101", values + 1)
    with open_series([first, second], grid="first") as series:
        left_out = dict(zip(LeftOut, series.pixels().left_out[1].tolist()))
    assert left_out[LeftOut.NODATA] == 16
    assert left_out[LeftOut.OUTSIDE] == 400 - 17 * 18


def counted(monkeypatch, seconds=0.0):
    """Note which rasters are read."""
    read, lock = [], threading.Lock()

    def noted(source, window):
        with lock:
            read.append((source.path, window))
        time.sleep(seconds)
        return read_onto(source, window)

    monkeypatch.setattr(valid, "read_onto", noted)
    return read


@pytest.mark.parametrize("threads", [1, 3])
def test_static_features_are_read_once_for_each_window(tmp_path, monkeypatch, threads):
    monkeypatch.setattr("iikmc.core.reading.BLOCK_PIXELS", 500)
    paths = [blank(tmp_path, f"s_2020010{day}", blockysize=10) for day in range(1, 7)]
    static = blank(tmp_path, "height", height=10, width=13, transform=NORTH_UP * Affine.scale(4))
    read = counted(monkeypatch, 0.002)
    with open_series(paths, static=[static]) as series:
        series.pixels(threads=threads)
    windows = [window for path, window in read if path == str(static)]
    assert len(windows) == 4
    assert len(set(windows)) == 4


def test_dates_that_ask_at_once_wait_for_one_reading(tmp_path, monkeypatch):
    path, static = blank(tmp_path), blank(tmp_path, "height")
    read = counted(monkeypatch, 0.1)
    with open_series([path], static=[static]) as series:
        features, window = StaticBands(series, 4), Window(0, 0, 40, 50)
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda _: features(window), range(4)))
    assert len(read) == 1
    assert all(planes[0].all() and there.all() for planes, there in found)


def test_planes_are_the_scenes_then_the_static_ones(tmp_path):
    path = write(tmp_path, "s_20200101", metres(NORTH_UP, 10, 10).astype(np.uint16))
    rasters = [
        write(tmp_path, name, np.full((bands, 10, 10), value, np.float32))
        for name, bands, value in (("height", 1, 1.5), ("texture", 2, 2.5))
    ]
    with open_series([path], static=rasters) as series:
        planes, there = SceneReader(series, 1)(0, Window(0, 0, 10, 10))
        assert series.band_names[2:] == ("height", "texture 1", "texture 2")
        assert series.static_bands == 3
    assert there.all()
    assert [plane[0, 0] for plane in planes] == [10_005, 10_005, 1.5, 2.5, 2.5]
