"""Rasters whose values tell where on the ground they lie, and interpolation done by hand."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import rasterio
from rasterio import Affine
from rasterio.warp import transform as transform_points

from iikmc.core.grid import Grid

UTM = "EPSG:32633"
ORIGIN = (500_000.0, 4_600_000.0)
NORTH_UP = Affine(10, 0, ORIGIN[0], 0, -10, ORIGIN[1])


def wkt(crs: str) -> str:
    """Return a CRS as grids hold it."""
    return rasterio.CRS.from_user_input(crs).to_wkt()


def grid_of(transform: Affine, height: int, width: int, crs: str = UTM) -> Grid:
    """Return a grid of the metre."""
    return Grid(wkt(crs), tuple(transform)[:6], width, height, 1.0)


def write(
    folder: Path,
    name: str,
    values: np.ndarray,
    transform: Affine = NORTH_UP,
    crs: str | None = UTM,
    **options: object,
) -> Path:
    """Write ``values``, (bands, height, width) or (height, width), to ``name``.tif."""
    values = values if values.ndim == 3 else values[None]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.tif"
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        dtype=values.dtype,
        count=values.shape[0],
        height=values.shape[1],
        width=values.shape[2],
        crs=crs,
        transform=transform,
        **options,
    ) as dataset:
        dataset.write(values)
    return path


def centres(transform: Affine, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return x and y of the pixels' centres, each (height, width)."""
    columns, rows = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    return transform * (columns, rows)


def to_crs(x: np.ndarray, y: np.ndarray, crs: str, other: str) -> tuple[np.ndarray, np.ndarray]:
    """Return points in another CRS."""
    found = transform_points(crs, other, x.ravel().tolist(), y.ravel().tolist())
    x, y = (np.array(values).reshape(x.shape) for values in found)
    return x, y


def metres(transform: Affine, height: int, width: int, crs: str = UTM) -> np.ndarray:
    """Return how far the pixels lie east and south of a point near ORIGIN, (2, height, width).

    In metres of UTM zone 33, whatever the CRS of the pixels.
    """
    x, y = centres(transform, height, width)
    if crs != UTM:
        x, y = to_crs(x, y, crs, UTM)
    return np.stack([x - ORIGIN[0], ORIGIN[1] - y]) + 10_000


def bilinear(
    values: np.ndarray, valid: np.ndarray, transform: Affine, crs: str, grid: Grid
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Interpolate one band, (height, width), at the centres of a grid's pixels.

    Means of the valid ones of the four pixels around, weighted by nearness. Returns them, where
    the raster has pixels, and where the pixel that holds the centre is valid.
    """
    x, y = centres(Affine(*grid.transform), grid.height, grid.width)
    if wkt(crs) != grid.crs:
        x, y = to_crs(x, y, grid.crs, crs)
    columns, rows = ~transform * (x, y)
    height, width = values.shape
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)

    def at(array: np.ndarray, row: np.ndarray, column: np.ndarray) -> np.ndarray:
        known = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        found = array[np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)]
        return np.where(known, found, 0)

    nearest = at(valid, np.floor(rows).astype(int), np.floor(columns).astype(int)) > 0
    top, left = np.floor(rows - 0.5).astype(int), np.floor(columns - 0.5).astype(int)
    down, right = rows - 0.5 - top, columns - 0.5 - left
    total, weights = np.zeros(x.shape), np.zeros(x.shape)
    for below, beside in itertools.product((0, 1), repeat=2):
        weight = np.where(below, down, 1 - down) * np.where(beside, right, 1 - right)
        weight = weight * at(valid, top + below, left + beside)
        total += weight * at(np.where(valid, values, 0), top + below, left + beside)
        weights += weight
    with np.errstate(invalid="ignore"):
        return total / weights, inside, inside & nearest
