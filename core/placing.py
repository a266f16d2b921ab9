"""On which grid a series lies, and how each raster gets there."""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from dataclasses import replace

from .errors import GridError
from .grid import Grid, Placement
from .places import Area, Extent
from .raster import bounds_in, crs_label, geometry_bounds, same_crs

# Rasters written by different programs differ in the last digits of their transform.
_TOLERANCE = 1e-3  # of a pixel
# So much may grids that count as the same differ at the far corner: in origin and both axes.
_PLACED = 3 * _TOLERANCE
_LINEAR = (0, 1, 3, 4)

Bounds = tuple[float, float, float, float]
RESAMPLE = "resample with GRID, or bring all to one grid first"


class GridRule(enum.Enum):
    """Which grid the scenes are brought to, in the order of the GRID parameter."""

    SAME = "same"
    FIRST = "first"
    COMMON = "common"


def check_same_grid(what: str, grid: Grid, other: str, expected: Grid, advice: str) -> None:
    """Raise GridError naming the first thing that differs; it ends with the advice."""
    differs = None
    if not same_crs(grid.crs, expected.crs):
        differs = ("the CRS", crs_label(grid.crs), crs_label(expected.crs))
    elif not _same_pixels(grid, expected):
        differs = ("pixels of", _pair(grid.pixel_size), _pair(expected.pixel_size))
        if differs[1] == differs[2]:
            differs = ("rows and columns along", _axes(grid), _axes(expected))
    elif any(
        abs(grid.transform[i] - expected.transform[i]) > _TOLERANCE * min(expected.pixel_size)
        for i in (2, 5)
    ):
        differs = ("its origin at", _pair(grid.origin), _pair(expected.origin))
    elif (grid.width, grid.height) != (expected.width, expected.height):
        size = f"{expected.width} × {expected.height}"
        differs = ("a size of", f"{grid.width} × {grid.height} pixels", size)
    if differs:
        kind, found, wanted = differs
        raise GridError(f"{what} has {kind} {found}, {other} {wanted}: {advice}.")


def series_grid(
    rule: GridRule,
    grids: Sequence[Grid],
    names: Sequence[str],
    extent: Extent | None,
    area: Area | None,
) -> Grid:
    """Return the grid of a series: that of the first scene, cut as the rule and places ask.

    Raises GridError where scenes differ and the rule is SAME, or where nothing is left.
    """
    grid = grids[0]
    if rule is GridRule.SAME:
        for other, name in zip(grids[1:], names[1:]):
            check_same_grid(
                f"Scene '{name}'",
                other,
                f"the first scene ('{names[0]}')",
                grid,
                RESAMPLE,
            )
    for other, name in zip(grids[1:], names[1:]):
        if bool(other.crs) != bool(grid.crs):
            raise GridError(
                f"Scene '{name}' has the CRS {crs_label(other.crs)}, the first scene "
                f"('{names[0]}') {crs_label(grid.crs)}: give all of them one, or none."
            )
    if rule is GridRule.COMMON:
        for other, name in zip(grids[1:], names[1:]):
            box = bounds_in(other.bounds, other.crs, grids[0].crs)
            nothing = f"Scene '{name}' has no ground in common with those before it"
            grid = _cut(grid, box, -1, nothing)
    if rule is GridRule.FIRST:
        for other, name in zip(grids[1:], names[1:]):
            box = bounds_in(other.bounds, other.crs, grids[0].crs)
            _cut(grid, box, 1, f"Scene '{name}' lies outside the first ('{names[0]}')")
    if extent is not None:
        box = bounds_in(extent.bounds, extent.crs, grid.crs)
        grid = _cut(grid, box, 1, f"The extent {_box(extent.bounds)} lies outside the scenes")
    if area is not None:
        box = bounds_in(geometry_bounds(area.geometries), area.crs, grid.crs)
        grid = _cut(grid, box, 1, "The area lies outside the scenes")
    return grid


def place(source: Grid, target: Grid) -> Placement:
    """Return how a raster lies on another grid: shifted by whole pixels, or to be warped."""
    if same_crs(source.crs, target.crs) and _same_pixels(source, target):
        column, row = _pixel(source, *target.origin)
        if max(abs(column - round(column)), abs(row - round(row))) <= _PLACED:
            return Placement(target, source.height, source.width, round(row), round(column), False)
    return Placement(target, source.height, source.width, 0, 0, True)


def same_grid(grid: Grid, other: Grid) -> bool:
    """Return whether two grids have the same pixels, but for the last digits."""
    found = place(other, grid)
    sizes = (grid.width, grid.height) == (other.width, other.height)
    return sizes and not found.warped and (found.row, found.column) == (0, 0)


def check_overlap(what: str, source: Grid, target: Grid, other: str) -> None:
    """Raise GridError where a raster has no ground in common with a grid."""
    box = bounds_in(source.bounds, source.crs, target.crs)
    _cut(target, box, 1, f"{what} lies outside {other}")


def _same_pixels(grid: Grid, expected: Grid) -> bool:
    # A pixel size is off when it moves the far edge by a share of a pixel.
    tolerance = _TOLERANCE * min(expected.pixel_size) / max(expected.width, expected.height)
    return all(abs(grid.transform[i] - expected.transform[i]) <= tolerance for i in _LINEAR)


def _cut(grid: Grid, box: Bounds, outward: int, nothing: str) -> Grid:
    """Return the part of a grid that a box in its CRS touches (outward 1) or holds (-1)."""
    west, south, east, north = box
    corners = [_pixel(grid, x, y) for x in (west, east) for y in (south, north)]
    edges = []
    for axis, size in ((0, grid.width), (1, grid.height)):
        first, last = (pick(corner[axis] for corner in corners) for pick in (min, max))
        slack = _TOLERANCE * outward
        start, stop = first + slack, last - slack
        if outward > 0:  # what is smaller than the slack still lies in a pixel
            start = math.floor(start)
            stop = max(math.ceil(stop), start + (last > 0))
        else:
            start, stop = math.ceil(start), math.floor(stop)
        start, stop = max(0, start), min(size, stop)
        if start >= stop:
            raise GridError(
                f"{nothing} ({_box(grid.bounds)} in {crs_label(grid.crs)}): choose others, or "
                "check the CRS."
            )
        edges.append((start, stop))
    (left, right), (top, bottom) = edges
    a, b, c, d, e, f = grid.transform
    origin = c + a * left + b * top, f + d * left + e * top
    return replace(
        grid,
        transform=(a, b, origin[0], d, e, origin[1]),
        width=right - left,
        height=bottom - top,
    )


def _pixel(grid: Grid, x: float, y: float) -> tuple[float, float]:
    """Return the column and row, with fractions, of a point."""
    a, b, c, d, e, f = grid.transform
    determinant = a * e - b * d
    x, y = x - c, y - f
    return (e * x - b * y) / determinant, (a * y - d * x) / determinant


def _pair(values: tuple[float, float]) -> str:
    return f"{values[0]:.12g}, {values[1]:.12g}"


def _box(bounds: Bounds) -> str:
    return "{:.10g}, {:.10g} to {:.10g}, {:.10g}".format(*bounds)


def _axes(grid: Grid) -> str:
    a, b, _, d, e, _ = grid.transform
    return f"{a:.12g}, {d:.12g} and {b:.12g}, {e:.12g}"
