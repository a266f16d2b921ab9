"""Hectares are those of the ground, whatever the CRS, the pixel shape and the windows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iikmc.core.areas import ClassAreas
from iikmc.core.grid import Grid, Window
from iikmc.core.raster import describe

# WGS 84 by its definition: half axis in metres and flattening.
A, F = 6_378_137.0, 1 / 298.257223563
SURFACE_M2 = 5.10065621724e14


def ground_hectares(south, north, degrees_wide):
    """Area of a latitude band by integrating the ellipsoid's two radii of curvature."""
    nodes, weights = np.polynomial.legendre.leggauss(20)
    low, high = np.radians([south, north])
    latitude = (high + low) / 2 + (high - low) / 2 * nodes
    e2 = F * (2 - F)
    root = np.sqrt(1 - e2 * np.sin(latitude) ** 2)
    strip = A * (1 - e2) / root**3 * A / root * np.cos(latitude)
    return np.sum(weights * strip) * (high - low) / 2 * np.radians(degrees_wide) / 1e4


def geographic(north, pixel, height, width=7):
    return Grid("x", (pixel, 0, 20, 0, -pixel, north), width, height, geographic=True)


@given(st.floats(-80, 90), st.sampled_from([0.0001, 0.00027, 0.01, 0.25, 1.0]))
def test_geographic_pixels_have_the_area_of_the_ellipsoid(north, pixel):
    found = geographic(north, pixel, 6).row_hectares()
    edges = north - pixel * np.arange(7)
    expected = [ground_hectares(low, high, pixel) for high, low in zip(edges, edges[1:])]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


def test_the_whole_earth_is_as_large_as_it_is():
    world = Grid("x", (0.5, 0, -180, 0, -0.5, 90), 720, 360, geographic=True)
    assert world.row_hectares().sum() * 720 * 1e4 == pytest.approx(SURFACE_M2, rel=1e-9)


def test_rows_from_south_to_north_have_the_same_areas_the_other_way_round():
    southward = Grid("x", (0.5, 0, 0, 0, -0.5, 60), 3, 20, geographic=True)
    northward = Grid("x", (0.5, 0, 0, 0, 0.5, 50), 3, 20, geographic=True)
    np.testing.assert_allclose(southward.row_hectares(), northward.row_hectares()[::-1])


def test_nothing_lies_beyond_the_poles():
    rows = geographic(91.0, 1.0, 182).row_hectares()
    assert rows[0] == rows[-1] == 0
    assert (rows[1:-1] > 0).all()


@pytest.mark.parametrize(
    ("transform", "unit", "hectares"),
    [
        ((10, 0, 0, 0, -10, 0), 1.0, 0.01),
        ((30, 0, 0, 0, -15, 0), 1.0, 0.045),
        ((6, 8, 0, 8, -6, 0), 1.0, 0.01),  # turned by 53 degrees
        ((100, 0, 0, 0, -100, 0), 1200 / 3937, 0.0929034116132),  # US survey feet
    ],
)
def test_projected_pixels_have_the_area_of_the_map(transform, unit, hectares):
    rows = Grid("x", transform, 5, 4, unit_metres=unit).row_hectares()
    np.testing.assert_allclose(rows, np.full(4, hectares), rtol=1e-12)


def test_pixel_size_and_origin_of_turned_and_oblong_pixels():
    grid = Grid("", (6, 4, 500, 8, -3, 900), 5, 4)
    assert grid.pixel_size == (10.0, 5.0)
    assert grid.origin == (500, 900)


@pytest.mark.parametrize(
    ("crs", "unit", "is_geographic"),
    [
        ("EPSG:32633", 1.0, False),
        ("EPSG:2225", 1200 / 3937, False),
        ("EPSG:4326", None, True),
        ('LOCAL_CS["field",UNIT["metre",1]]', None, False),
        (None, None, False),
    ],
)
def test_units_come_from_the_file(make_scene, crs, unit, is_geographic):
    values = np.ones((1, 2, 2), np.uint8)
    grid = describe(make_scene("s", values, crs=crs, origin=(20.0, 50.0), pixel=0.5)).grid
    assert grid.unit_metres == (pytest.approx(unit) if unit else None)
    assert grid.geographic == is_geographic
    assert (grid.row_hectares() is None) == (unit is None and not is_geographic)


def test_areas_that_cannot_be_known_are_none():
    turned = Grid("x", (0.1, 0.1, 0, 0.1, -0.1, 0), 3, 2, geographic=True)
    for grid in (turned, Grid("", (1, 0, 0, 0, 1, 0), 3, 2)):
        areas = ClassAreas(grid, 2)
        areas.add(Window(0, 0, 2, 3), np.ones((2, 3), np.uint8))
        assert areas.hectares(np.array([6, 0])) is None


def test_projected_areas_are_counts_times_the_pixel():
    areas = ClassAreas(Grid("x", (20, 0, 0, 0, -20, 0), 3, 2, unit_metres=1.0), 2)
    np.testing.assert_allclose(areas.hectares(np.array([5, 0])), [0.2, 0.0])


@given(st.data(), st.integers(1, 12), st.integers(1, 9))
def test_geographic_areas_add_up_by_row_and_do_not_depend_on_windows(data, height, width):
    grid = geographic(70.0, 1.0, height, width)
    labels = np.random.default_rng(height * width).integers(0, 4, (height, width)).astype(np.uint8)
    rows = sorted(data.draw(st.sets(st.integers(1, height))) | {0, height})
    columns = sorted(data.draw(st.sets(st.integers(1, width))) | {0, width})
    areas = ClassAreas(grid, 3)
    for top, bottom in zip(rows, rows[1:]):
        for left, right in zip(columns, columns[1:]):
            window = Window(top, left, bottom - top, right - left)
            areas.add(window, labels[top:bottom, left:right])
    whole = ClassAreas(grid, 3)
    whole.add(Window(0, 0, height, width), labels)
    counts = np.array([(labels == number).sum() for number in (1, 2, 3)])
    found = areas.hectares(counts)
    assert found.tolist() == whole.hectares(counts).tolist()
    by_row = [((labels == n).sum(axis=1) * grid.row_hectares()).sum() for n in (1, 2, 3)]
    np.testing.assert_allclose(found, by_row, rtol=1e-12)
