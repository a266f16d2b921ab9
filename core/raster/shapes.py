"""Extents and polygons: from one CRS to another, and onto pixels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import rasterio
from rasterio import features, warp
from rasterio._err import CPLE_BaseError
from rasterio.errors import CRSError, RasterioError

from ..errors import GridError
from .headers import crs_label

Bounds = tuple[float, float, float, float]
# Edges become curves in another CRS: points along each of them that are looked at.
_POINTS = 21


def bounds_in(bounds: Bounds, from_crs: str, to_crs: str) -> Bounds:
    """Return the bounds (west, south, east, north) of a rectangle in another CRS.

    An empty CRS stands for the other one. Raises GridError where there is no way across.
    """
    if not (from_crs and to_crs) or _crs(from_crs) == _crs(to_crs):
        return bounds
    try:
        found = warp.transform_bounds(_crs(from_crs), _crs(to_crs), *bounds, densify_pts=_POINTS)
    except (RasterioError, CRSError, CPLE_BaseError) as error:
        raise _no_way(from_crs, to_crs) from error
    if not np.isfinite(found).all():
        raise _no_way(from_crs, to_crs)
    west, south, east, north = map(float, found)
    return west, south, east, north


def geometries_in(
    geometries: Iterable[Mapping[str, Any]], from_crs: str, to_crs: str
) -> tuple[Mapping[str, Any], ...]:
    """Return GeoJSON geometries in another CRS, as :func:`bounds_in`."""
    if not (from_crs and to_crs) or _crs(from_crs) == _crs(to_crs):
        return tuple(geometries)
    try:
        source, target = _crs(from_crs), _crs(to_crs)
        return tuple(
            warp.transform_geom(source, target, _with_more_points(item)) for item in geometries
        )
    except (RasterioError, CRSError, CPLE_BaseError) as error:
        raise _no_way(from_crs, to_crs) from error


def geometry_bounds(geometries: Iterable[Mapping[str, Any]]) -> Bounds:
    """Return the bounds of GeoJSON polygons together."""
    corners = np.array([features.bounds(dict(item)) for item in geometries])
    west, south = map(float, corners[:, :2].min(axis=0))
    east, north = map(float, corners[:, 2:].max(axis=0))
    return west, south, east, north


def burn(
    geometries: Sequence[Mapping[str, Any]],
    transform: tuple[float, float, float, float, float, float],
    height: int,
    width: int,
) -> np.ndarray:
    """Return which pixels have their centre inside the polygons: booleans (height, width)."""
    shapes = [(dict(item), 1) for item in geometries]
    place = rasterio.Affine(*transform)
    return np.asarray(
        features.rasterize(shapes, (height, width), transform=place, dtype="uint8") > 0
    )


def _with_more_points(geometry: Mapping[str, Any]) -> dict[str, Any]:
    """Return a polygon with points along its edges, which are straight in its own CRS."""

    def divided(item: Any) -> Any:
        if not np.isscalar(item[0][0]):
            return [divided(part) for part in item]
        ring = np.array([point[:2] for point in item], float)
        steps = np.arange(_POINTS)[:, None] / _POINTS
        edges = [start + steps * (end - start) for start, end in zip(ring, ring[1:])]
        return np.concatenate([*edges, ring[-1:]]).tolist()

    return {"type": geometry["type"], "coordinates": divided(geometry["coordinates"])}


def _crs(text: str) -> rasterio.CRS:
    try:
        return rasterio.CRS.from_user_input(text)
    except CRSError as error:
        raise GridError(
            f"The CRS '{text}' is not known: give WKT or an authority's code, such as EPSG:32633."
        ) from error


def _no_way(from_crs: str, to_crs: str) -> GridError:
    return GridError(
        f"There is no way from the CRS {crs_label(from_crs)} to {crs_label(to_crs)} for what was "
        "given: choose an area that both cover."
    )
