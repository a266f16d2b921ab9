"""The grid of a series is the one that was asked for, and rasters get their place on it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from ground import NORTH_UP, ORIGIN, centres, grid_of, to_crs
from hypothesis import given
from hypothesis import strategies as st
from rasterio import Affine

from iikmc.core.errors import GridError
from iikmc.core.places import Area, Extent
from iikmc.core.placing import RESAMPLE, GridRule, check_same_grid, place, series_grid

SCENE = grid_of(NORTH_UP, 40, 50)
WHOLE_PIXELS = st.integers(-60, 60)


def moved(columns, rows, height=40, width=50):
    return grid_of(NORTH_UP * Affine.translation(columns, rows), height, width)


def grid_for(rule, grids, extent=None, area=None):
    names = [f"s{number}" for number in range(len(grids))]
    return series_grid(rule, grids, names, extent, area)


def offset(grid, of=SCENE):
    """Columns and rows from a grid's origin to that of a part of it; whole numbers."""
    column, row = ~Affine(*of.transform) * grid.origin
    assert math.isclose(column, round(column), abs_tol=1e-6)
    assert math.isclose(row, round(row), abs_tol=1e-6)
    return round(column), round(row)


@given(WHOLE_PIXELS, WHOLE_PIXELS, st.floats(-9e-4, 9e-4))
def test_whole_pixels_need_no_warping(columns, rows, noise):
    found = place(moved(columns + noise, rows - noise), SCENE)
    assert (found.column, found.row, found.warped) == (-columns, -rows, False)
    assert (found.height, found.width, found.grid) == (40, 50, SCENE)


@pytest.mark.parametrize(
    "transform",
    [
        NORTH_UP * Affine.translation(0.01, 0),
        NORTH_UP * Affine.translation(0, -0.5),
        NORTH_UP * Affine.scale(1.001),
        NORTH_UP * Affine.scale(2),
        NORTH_UP * Affine.rotation(1),
        NORTH_UP * Affine.scale(1, -1),
        NORTH_UP * Affine.translation(0, 40) * Affine.scale(1, -1),
    ],
)
def test_other_pixels_are_warped(transform):
    assert place(grid_of(transform, 40, 50), SCENE).warped


def test_another_crs_is_warped_whatever_the_numbers():
    assert place(grid_of(NORTH_UP, 40, 50, "EPSG:32634"), SCENE).warped


def test_scenes_that_pass_for_one_grid_are_never_warped():
    """Differences in the last digits add up at the far corner, but stay differences in digits."""
    origin = NORTH_UP * Affine.translation(9e-4, 9e-4)
    other = grid_of(origin * Affine.scale(1 + 9e-4 / 50), 40, 50)
    check_same_grid("A", other, "b", SCENE, RESAMPLE)
    corner = Extent(ORIGIN[0] + 470, ORIGIN[1] - 400, ORIGIN[0] + 500, ORIGIN[1] - 370)
    grid = grid_for(GridRule.SAME, [SCENE, other], corner)
    found = [place(item, grid) for item in (SCENE, other)]
    assert [(item.column, item.row, item.warped) for item in found] == [(47, 37, False)] * 2


@pytest.mark.parametrize("shift", [(1, 0), (0, -3), (0.5, 0), (0.01, 0.01)])
def test_a_shifted_origin_is_refused_with_both_origins(shift):
    other = moved(*shift)
    with pytest.raises(GridError) as caught:
        grid_for(GridRule.SAME, [SCENE, other])
    x, y = (f"{number:.12g}" for number in other.origin)
    assert str(caught.value) == (
        f"Scene 's1' has its origin at {x}, {y}, the first scene ('s0') 500000, 4600000: "
        f"{RESAMPLE}."
    )


@given(WHOLE_PIXELS, WHOLE_PIXELS)
def test_the_first_scenes_grid_stays_as_it_is_unless_another_lies_outside(columns, rows):
    other = moved(columns, rows)
    if abs(columns) < 50 and abs(rows) < 40:
        assert grid_for(GridRule.FIRST, [SCENE, other]) == SCENE
        assert grid_for(GridRule.FIRST, [other, SCENE]) == other
    else:
        with pytest.raises(GridError, match=r"^Scene 's1' lies outside the first \('s0'\) \("):
            grid_for(GridRule.FIRST, [SCENE, other])


@given(
    st.lists(
        st.tuples(st.floats(-30, 30), st.floats(-30, 30), st.integers(5, 60), st.integers(5, 60)),
        min_size=1,
        max_size=4,
    )
)
def test_common_ground_is_what_all_scenes_hold_whole(others):
    """Pixels of the first scene's grid, each of which lies in every scene; and all such pixels."""
    grids = [SCENE, *(moved(*item) for item in others)]
    low, high = np.zeros(2), np.array([50, 40])
    for columns, rows, height, width in others:
        low = np.maximum(low, np.ceil(np.array([columns, rows]) - 1e-3))
        high = np.minimum(high, np.floor(np.array([columns + width, rows + height]) + 1e-3))
    if (low < high).all():
        grid = grid_for(GridRule.COMMON, grids)
        assert offset(grid) == tuple(low)
        assert (grid.width, grid.height) == tuple(high - low)
    else:
        with pytest.raises(GridError, match="has no ground in common with those before it"):
            grid_for(GridRule.COMMON, grids)


def test_common_ground_of_two_zones_lies_in_both():
    west = grid_of(Affine(30, 0, 770_000, 0, -30, ORIGIN[1]), 900, 800)
    x, y = to_crs(np.array([780_000.0]), np.array([ORIGIN[1] - 9_000]), "EPSG:32633", "EPSG:32634")
    east = grid_of(Affine(30, 0, x[0], 0, -30, y[0]), 900, 800, "EPSG:32634")
    grid = grid_for(GridRule.COMMON, [west, east])
    column, row = offset(grid, west)
    assert column >= 0 and row >= 0
    assert column + grid.width <= 800 and row + grid.height <= 900
    points = centres(Affine(*grid.transform), grid.height, grid.width)
    x, y = to_crs(*points, "EPSG:32633", "EPSG:32634")
    columns, rows = ~Affine(*east.transform) * (x, y)
    inside = (columns > 0) & (columns < 800) & (rows > 0) & (rows < 900)
    assert inside.mean() > 0.85  # grids are turned against each other: not the outermost ones
    assert grid.width * grid.height > 0.4 * 800 * 900


@given(st.floats(-60, 60), st.floats(-60, 60), st.floats(1e-6, 70), st.floats(1e-6, 70))
def test_an_extent_keeps_the_pixels_that_it_touches(column, row, width, height):
    a, e = 10.0, 10.0
    extent = Extent(
        ORIGIN[0] + a * column,
        ORIGIN[1] - e * (row + height),
        ORIGIN[0] + a * (column + width),
        ORIGIN[1] - e * row,
    )
    try:
        grid = grid_for(GridRule.SAME, [SCENE], extent)
    except GridError as error:
        assert str(error).startswith("The extent ") and " lies outside the scenes (" in str(error)
        # Only what overlaps by less than the grids' tolerance may count as outside.
        over = [
            min(start + size, most) - max(start, 0)
            for start, size, most in ((column, width, 50), (row, height, 40))
        ]
        assert min(over) < 2e-3
        return
    left, top = offset(grid)
    for start, size, first, count, most in (
        (column, width, left, grid.width, 50),
        (row, height, top, grid.height, 40),
    ):
        assert first >= 0 and first + count <= most and count >= 1
        assert first == 0 or first >= start - 1 - 1e-2
        assert first <= max(start, 0) + 2e-3
        assert first + count >= min(start + size, most) - 2e-3
        assert first + count == most or first + count <= start + size + 1 + 1e-2


@pytest.mark.parametrize("size", [1e-5, 0.001, 0.004, 9])
@pytest.mark.parametrize("at", [20.0, 20.0003, 25.0, 29.9999])
def test_an_extent_smaller_than_a_pixel_keeps_one_or_those_it_touches(size, at):
    extent = Extent(ORIGIN[0] + at, ORIGIN[1] - at - size, ORIGIN[0] + at + size, ORIGIN[1] - at)
    grid = grid_for(GridRule.SAME, [SCENE], extent)
    assert offset(grid) in ((2, 2), (3, 3))
    assert 1 <= grid.width <= 2 and grid.width == grid.height


@pytest.mark.parametrize(
    ("extent", "expected"),
    [
        ((20, 30, 40, 70), (2, 3, 2, 4)),  # on pixel edges
        ((20.004, 30.004, 39.996, 69.996), (2, 3, 2, 4)),
        ((19.996, 29.996, 40.004, 70.004), (2, 3, 2, 4)),  # by digits beyond them
        ((19.9, 29.9, 40.1, 70.1), (1, 2, 4, 6)),
        ((-500, -500, 5000, 5000), (0, 0, 50, 40)),
        ((470, 370, 900, 900), (47, 37, 3, 3)),
    ],
)
def test_extents_are_cut_outwards_to_the_pixels(extent, expected):
    west, north, east, south = extent
    box = Extent(ORIGIN[0] + west, ORIGIN[1] - south, ORIGIN[0] + east, ORIGIN[1] - north)
    for rule in GridRule:
        grid = grid_for(rule, [SCENE, SCENE], box)
        assert (*offset(grid), grid.width, grid.height) == expected


def test_an_extent_of_another_crs_keeps_all_that_lies_in_it():
    x, y = centres(NORTH_UP, 40, 50)
    longitudes, latitudes = to_crs(x, y, "EPSG:32633", "EPSG:4326")
    extent = Extent(
        longitudes[10, 20], latitudes[29, 20], longitudes[10, 39], latitudes[10, 20], "EPSG:4326"
    )
    grid = grid_for(GridRule.SAME, [SCENE], extent)
    column, row = offset(grid)
    assert abs(column - 20) <= 1 and abs(row - 10) <= 1
    assert abs(grid.width - 20) <= 2 and abs(grid.height - 20) <= 2
    inside = (
        (longitudes > extent.west)
        & (longitudes < extent.east)
        & (latitudes > extent.south)
        & (latitudes < extent.north)
    )
    kept = np.zeros_like(inside)
    kept[row : row + grid.height, column : column + grid.width] = True
    assert not (inside & ~kept).any()


def test_an_extent_on_a_turned_or_south_up_grid_keeps_all_that_lies_in_it():
    for transform in (
        NORTH_UP * Affine.rotation(33),
        Affine(10, 0, ORIGIN[0], 0, 10, ORIGIN[1] - 400),
    ):
        whole = grid_of(transform, 40, 50)
        x, y = centres(transform, 40, 50)
        extent = Extent(x[20, 20] - 55, y[20, 20] - 31, x[20, 20] + 55, y[20, 20] + 31)
        grid = grid_for(GridRule.SAME, [whole], extent)
        column, row = offset(grid, whole)
        inside = (np.abs(x - x[20, 20]) < 55) & (np.abs(y - y[20, 20]) < 31)
        kept = np.zeros((40, 50), bool)
        kept[row : row + grid.height, column : column + grid.width] = True
        assert inside.sum() > 20 and not (inside & ~kept).any()
        assert kept.sum() <= 14 * 14


def test_polygons_cut_the_grid_to_their_bounds():
    ring = [(20, 30), (40, 30), (40, 70), (20, 30)]
    points = [(ORIGIN[0] + x, ORIGIN[1] - y) for x, y in ring]
    area = Area(({"type": "Polygon", "coordinates": [points]},))
    grid = grid_for(GridRule.SAME, [SCENE], None, area)
    assert (*offset(grid), grid.width, grid.height) == (2, 3, 2, 4)
    far = Area(({"type": "Polygon", "coordinates": [[(x, y) for x, y in ring]]},))
    with pytest.raises(GridError, match=r"^The area lies outside the scenes \(500000, 4599600 to"):
        grid_for(GridRule.SAME, [SCENE], None, far)


def test_places_that_no_way_leads_to_and_unknown_crs_are_named():
    with pytest.raises(GridError, match=r"^The CRS 'nonsense' is not known: "):
        grid_for(GridRule.SAME, [SCENE], Extent(0, 0, 1, 1, "nonsense"))
    pole = Extent(-179, 89.99, 179, 90.5, "EPSG:4326")
    with pytest.raises(GridError, match=r"There is no way from the CRS EPSG:4326|lies outside"):
        grid_for(GridRule.SAME, [SCENE], pole)
    with pytest.raises(GridError, match=r"^Scene 's1' lies outside the first"):
        grid_for(GridRule.FIRST, [SCENE, grid_of(NORTH_UP, 40, 50, "EPSG:32601")])
