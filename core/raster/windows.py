"""Windows of rasters in: as they lie, or brought onto another grid."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import rasterio
from rasterio.enums import ColorInterp, Resampling
from rasterio.vrt import WarpedVRT

from ..grid import Placement, Window
from .access import gdal_errors, native

# Largest error of a warped pixel's place, in pixels: GDAL's default of an eighth depends on what
# is warped at a time, and rasterio cannot ask for none at all.
_WARP_ERROR = 1e-6


@dataclass(frozen=True)
class Source:
    """Bands of a raster, (numbers from 1), and where they lie on a grid.

    ``nodata`` has a value, or None, for each band; ``own_mask`` says whether the raster has a
    mask or an alpha band that counts. ``smooth``: where the raster is warped, values are
    interpolated bilinearly rather than taken from the nearest pixel.
    """

    path: str
    bands: tuple[int, ...]
    nodata: tuple[float | None, ...]
    own_mask: bool
    placement: Placement
    smooth: bool = True


def read_window(path: str, bands: Sequence[int], window: Window) -> np.ndarray:
    """Return a window's values, shape (bands, height, width), as stored.

    The file is opened anew for each window, because GDAL keeps what it has decoded (up to a
    twentieth of the machine's memory) until a file is closed, and windows share no blocks.
    """
    with gdal_errors(path, "read"), rasterio.open(path) as dataset:
        return np.asarray(dataset.read(list(bands), window=native(window)))


def read_onto(source: Source, window: Window) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a window of the grid that a raster was placed on.

    Values, shape (bands, height, width), where the raster has pixels, and where these hold
    values in all bands: not nodata, finite, not masked by the raster itself; booleans, shape
    (height, width). Warped pixels hold values where the nearest pixel of the raster does.
    """
    with gdal_errors(source.path, "read"), rasterio.open(source.path) as dataset:
        if source.placement.warped:
            return _warped(dataset, source, window)
        return _shifted(dataset, source, window)


def _shifted(
    dataset: rasterio.DatasetReader, source: Source, window: Window
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    place = source.placement
    row, column = window.row + place.row, window.column + place.column
    top, left = max(row, 0), max(column, 0)
    bottom = min(row + window.height, place.height)
    right = min(column + window.width, place.width)
    shape = window.height, window.width
    bands = list(source.bands)
    if (top, left, bottom, right) == (row, column, row + shape[0], column + shape[1]):
        values = np.asarray(dataset.read(bands, window=native(Window(row, column, *shape))))
        valid = _hold_values(values, source)
        if source.own_mask:
            valid &= dataset.dataset_mask(window=native(Window(row, column, *shape))) > 0
        return values, np.ones(shape, bool), valid
    inside = np.zeros(shape, bool)
    values = np.zeros((len(bands), *shape), np.result_type(*(dataset.dtypes[b - 1] for b in bands)))
    valid = np.zeros(shape, bool)
    if top < bottom and left < right:
        part = Window(top, left, bottom - top, right - left)
        rows, columns = slice(top - row, bottom - row), slice(left - column, right - column)
        found = np.asarray(dataset.read(bands, window=native(part)))
        inside[rows, columns] = True
        values[:, rows, columns] = found
        valid[rows, columns] = _hold_values(found, source)
        if source.own_mask:
            valid[rows, columns] &= dataset.dataset_mask(window=native(part)) > 0
    return values, inside, valid


def _warped(
    dataset: rasterio.DatasetReader, source: Source, window: Window
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    bands, place = list(source.bands), native(window)
    alpha = {"add_alpha": ColorInterp.alpha not in dataset.colorinterp}
    with _warp(dataset, source, Resampling.nearest, **alpha) as nearest:
        values = np.asarray(nearest.read(bands, window=place))
        inside = np.asarray(nearest.dataset_mask(window=place)) > 0
    valid = inside & _hold_values(values, source)
    if source.smooth:
        for nodata in dict.fromkeys(source.nodata):
            rows = [row for row, value in enumerate(source.nodata) if _alike(value, nodata)]
            # Each band leaves its own nodata pixels out of the means, whatever the others hold.
            options = (
                alpha
                if nodata is None
                else {"src_nodata": nodata, "nodata": nodata, "UNIFIED_SRC_NODATA": "NO"}
            )
            with _warp(dataset, source, Resampling.bilinear, **options) as smooth:
                values[rows] = smooth.read([bands[row] for row in rows], window=place)
    return values, inside, valid


@contextlib.contextmanager
def _warp(
    dataset: rasterio.DatasetReader, source: Source, resampling: Resampling, **options: object
) -> Iterator[WarpedVRT]:
    grid = source.placement.grid
    with WarpedVRT(
        dataset,
        crs=grid.crs or None,
        transform=rasterio.Affine(*grid.transform),
        width=grid.width,
        height=grid.height,
        resampling=resampling,
        tolerance=_WARP_ERROR,
        **options,
    ) as warped:
        yield warped


def _hold_values(values: np.ndarray, source: Source) -> np.ndarray:
    """Return where no band holds nodata, a NaN or an infinity, shape (height, width)."""
    valid = np.ones(values.shape[1:], bool)
    for plane, nodata in zip(values, source.nodata):
        if nodata is not None:
            valid &= plane != nodata
        if plane.dtype.kind == "f":
            valid &= np.isfinite(plane)
    return valid


def _alike(first: float | None, second: float | None) -> bool:
    if first is None or second is None:
        return first is second
    return first == second or (first != first and second != second)


def read_preview(path: str | os.PathLike[str], longest: int) -> np.ndarray:
    """Return the first band scaled down to at most ``longest`` pixels a side, by nearest pixel."""
    path = os.fspath(path)
    with gdal_errors(path, "read"), rasterio.open(path) as dataset:
        shrink = max(1.0, max(dataset.height, dataset.width) / longest)
        shape = (max(1, round(dataset.height / shrink)), max(1, round(dataset.width / shrink)))
        return np.asarray(dataset.read(1, out_shape=shape, resampling=Resampling.nearest))
