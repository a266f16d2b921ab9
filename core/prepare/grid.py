"""The one grid that all scenes of a run are prepared on."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import GridError, ParameterError
from ..grid import Grid, Window
from ..places import Area, Extent
from ..raster import bounds_in, crs_label, geometries_in, geometry_bounds, same_crs
from ..raster.resampling import Way, suggested_pixel

Bounds = tuple[float, float, float, float]

# Rasters written by different programs differ in the last digits of their transform.
_TOLERANCE = 1e-3  # of a pixel
# A grid of more pixels is a slip of the resolution or the extent: 131,072 × 131,072.
_MOST_PIXELS = 1 << 34
# From so many times larger pixels on, values are averaged: between four of many pixels,
# interpolation would pass over most.
_AVERAGE_FROM = 2.0


@dataclass(frozen=True)
class Target:
    """The grid, and the polygons in its CRS inside which pixels are kept (none: all)."""

    grid: Grid
    area: tuple[Mapping[str, Any], ...]


def target_grid(
    scenes: Sequence[Sequence[Grid]],
    *,
    crs: str,
    resolution: float | None,
    extent: Extent | None,
    area: Area | None,
) -> Target:
    """Return the grid for scenes, given as the grids of each one's bands.

    ``crs`` empty: that of most scenes. ``resolution`` None: the finest pixels of the bands. The
    lattice is that of most scenes with such pixels, which are then not resampled; else corners
    are multiples of the pixel size. It covers the extent and the area's bounds, else all scenes.
    Raises GridError or ParameterError.
    """
    crs = crs or _commonest([grids[0].crs for grids in scenes], same_crs)
    at_home = [[grid for grid in grids if same_crs(grid.crs, crs)] for grids in scenes]
    at_home = [grids for grids in at_home if grids]
    if resolution is not None:
        if not 0.0 < resolution < math.inf:
            raise ParameterError(f"RESOLUTION is {resolution:g}; expected more than 0.")
        size = (resolution, resolution)
    elif at_home:
        size = min((_finest(grids).pixel_size for grids in at_home), key=math.prod)
    else:
        size = (_rounded(min(suggested_pixel(_finest(grids), crs) for grids in scenes)),) * 2
    lattice = _lattice(at_home, size)
    shapes = geometries_in(area.geometries, area.crs, crs) if area else ()
    box = _work_bounds(extent, shapes, crs) or _around(
        [bounds_in(grid.bounds, grid.crs, crs) for grids in scenes for grid in grids]
    )
    return Target(_snapped(box, crs, size, lattice), shapes)


def resampling_way(source: Grid, target: Grid) -> Way:
    """Return how a band's values get onto the grid: averaged where its pixels are much larger."""
    if same_crs(source.crs, target.crs):
        pixel = math.sqrt(math.prod(source.pixel_size))
    else:
        pixel = suggested_pixel(source, target.crs)
    ratio = math.sqrt(math.prod(target.pixel_size)) / pixel
    return Way.AVERAGE if ratio >= _AVERAGE_FROM * (1 - _TOLERANCE) else Way.BILINEAR


def covered(source: Grid, target: Grid) -> Window | None:
    """Return the part of a grid that a raster may have pixels in; None if there is none."""
    west, south, east, north = bounds_in(source.bounds, source.crs, target.crs)
    (x, y), (wide, high) = target.origin, target.pixel_size
    left = max(0, math.floor((west - x) / wide + _TOLERANCE))
    right = min(target.width, math.ceil((east - x) / wide - _TOLERANCE))
    top = max(0, math.floor((y - north) / high + _TOLERANCE))
    bottom = min(target.height, math.ceil((y - south) / high - _TOLERANCE))
    if left >= right or top >= bottom:
        return None
    return Window(top, left, bottom - top, right - left)


def _finest(grids: Sequence[Grid]) -> Grid:
    return min(grids, key=lambda grid: math.prod(grid.pixel_size))


def _commonest(items: Sequence[Any], alike: Callable[[Any, Any], bool]) -> Any:
    """Return the first of those items of which there are most."""
    return max(items, key=lambda item: sum(alike(item, other) for other in items))


def _rounded(number: float) -> float:
    """Return a number to three digits."""
    return float(f"{number:.3g}")


def _lattice(scenes: Sequence[Sequence[Grid]], size: tuple[float, float]) -> tuple[float, float]:
    """Return a corner of a pixel of the lattice that most scenes with such pixels share."""
    fitting = []
    for grids in scenes:
        such = [grid.origin for grid in grids if _north_up(grid) and _sized(grid, size)]
        fitting += such[:1]

    def alike(first: tuple[float, float], second: tuple[float, float]) -> bool:
        steps = [(a - b) / step for a, b, step in zip(first, second, size)]
        return all(abs(step - round(step)) <= _TOLERANCE for step in steps)

    return _commonest(fitting, alike) if fitting else (0.0, 0.0)


def _north_up(grid: Grid) -> bool:
    a, b, _, d, e, _ = grid.transform
    return a > 0 and e < 0 and not b and not d


def _sized(grid: Grid, size: tuple[float, float]) -> bool:
    return all(math.isclose(a, b, rel_tol=1e-9) for a, b in zip(grid.pixel_size, size))


def _work_bounds(
    extent: Extent | None, shapes: Sequence[Mapping[str, Any]], crs: str
) -> Bounds | None:
    boxes = []
    if extent is not None:
        boxes.append(bounds_in(extent.bounds, extent.crs, crs))
    if shapes:
        boxes.append(geometry_bounds(shapes))
    if not boxes:
        return None
    west, south = (max(box[side] for box in boxes) for side in (0, 1))
    east, north = (min(box[side] for box in boxes) for side in (2, 3))
    if west >= east or south >= north:
        raise GridError("EXTENT and AREA have no ground in common: leave one of them out.")
    return west, south, east, north


def _around(boxes: Sequence[Bounds]) -> Bounds:
    return (
        min(box[0] for box in boxes),
        min(box[1] for box in boxes),
        max(box[2] for box in boxes),
        max(box[3] for box in boxes),
    )


def _snapped(
    box: Bounds, crs: str, size: tuple[float, float], lattice: tuple[float, float]
) -> Grid:
    """Return the grid of all pixels of a lattice that a box touches."""
    (west, south, east, north), (wide, high), (x, y) = box, size, lattice
    left = math.floor((west - x) / wide + _TOLERANCE)
    right = max(left + 1, math.ceil((east - x) / wide - _TOLERANCE))
    bottom = math.floor((south - y) / high + _TOLERANCE)
    top = max(bottom + 1, math.ceil((north - y) / high - _TOLERANCE))
    width, height = right - left, top - bottom
    if width * height > _MOST_PIXELS:
        raise GridError(
            f"The scenes would have {width:,} × {height:,} pixels of {wide:g} × {high:g} in "
            f"{crs_label(crs)}: check RESOLUTION, EXTENT and that the scenes lie together."
        )
    return Grid(crs, (wide, 0.0, x + left * wide, 0.0, -high, y + top * high), width, height)
