"""Windows of rasters in: as they lie, or brought onto another grid."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.io import MemoryFile
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform
from rasterio.windows import Window as RasterioWindow

from ..grid import Grid, Placement, Window
from .access import gdal_errors, native

# Largest error of a warped pixel's place, in pixels: GDAL's default of an eighth depends on what
# is warped at a time, and rasterio cannot ask for none at all. So small a one leaves nothing to
# interpolate: with a millionth, one mean in some thousands was rounded to the other integer.
WARP_ERROR = 1e-10
# Pixels of a grid that are larger than this many of a raster's take the mean of more than four.
_FINER = 1.05
# Integers of so many bytes are exact as the floating-point numbers that nodata values are.
_EXACT_BYTES = 4
_GDAL_TYPES = {
    "uint8": "Byte",
    "int8": "Int16",
    "uint16": "UInt16",
    "int16": "Int16",
    "uint32": "UInt32",
    "int32": "Int32",
    "uint64": "Float64",
    "int64": "Float64",
    "float32": "Float32",
    "float64": "Float64",
}


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
        return read_shifted(dataset, source, window)


def read_shifted(
    dataset: rasterio.DatasetReader, source: Source, window: Window
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what :func:`read_onto` does, of a raster that shares the grid's pixels."""
    place = source.placement
    row, column = window.row + place.row, window.column + place.column
    top, left = max(row, 0), max(column, 0)
    bottom = min(row + window.height, place.height)
    right = min(column + window.width, place.width)
    shape = window.height, window.width
    bands = list(source.bands)
    if (top, left, bottom, right) == (row, column, row + shape[0], column + shape[1]):
        values = _read(dataset, bands, Window(row, column, *shape))
        valid = hold_values(values, source)
        if source.own_mask:
            valid &= dataset.dataset_mask(window=native(Window(row, column, *shape))) > 0
        return values, np.ones(shape, bool), valid
    inside = np.zeros(shape, bool)
    values = np.zeros((len(bands), *shape), np.result_type(*(dataset.dtypes[b - 1] for b in bands)))
    valid = np.zeros(shape, bool)
    if top < bottom and left < right:
        part = Window(top, left, bottom - top, right - left)
        rows, columns = slice(top - row, bottom - row), slice(left - column, right - column)
        found = _read(dataset, bands, part)
        inside[rows, columns] = True
        values[:, rows, columns] = found
        valid[rows, columns] = hold_values(found, source)
        if source.own_mask:
            valid[rows, columns] &= dataset.dataset_mask(window=native(part)) > 0
    return values, inside, valid


def _read(dataset: rasterio.DatasetReader, bands: list[int], window: Window) -> np.ndarray:
    place = native(window)
    if len({dataset.dtypes[band - 1] for band in bands}) == 1:
        return np.asarray(dataset.read(bands, window=place))
    # rasterio refuses bands of differing types at once; a common one holds them all.
    return np.stack([dataset.read(band, window=place) for band in bands])


def _warped(
    dataset: rasterio.DatasetReader, source: Source, window: Window
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    place, count = native(window), len(source.bands)
    scale = _scale(dataset, source.placement.grid)
    with (
        plain_bands(dataset, source) as plain,
        warp(plain, source, Resampling.nearest, scale, src_nodata=None, add_alpha=True) as nearest,
    ):
        values = np.asarray(nearest.read(list(range(1, count + 1)), window=place))
        inside = np.asarray(nearest.read(nearest.count, window=place)) > 0
        valid = inside & hold_values(values, source)
        if source.own_mask:
            valid &= np.asarray(nearest.read(count + 1, window=place)) > 0
    if source.smooth:
        left_out = [
            np.nan if nodata is None and plane.dtype.kind == "f" else nodata
            for plane, nodata in zip(values, source.nodata)
        ]
        done = np.zeros(count, bool)
        for nodata in left_out:
            # Each band leaves its own nodata pixels out of the means, whatever the others hold.
            rows = [row for row in range(count) if not done[row] and _alike(left_out[row], nodata)]
            done[rows] = True
            if rows:
                _smooth(dataset, source, values, rows, nodata, scale, place)
    return values, inside, valid


def _smooth(
    dataset: rasterio.DatasetReader,
    source: Source,
    values: np.ndarray,
    rows: list[int],
    nodata: float | None,
    scale: tuple[float, float],
    place: RasterioWindow,
) -> None:
    """Interpolate some of the bands; beside an infinity the nearest value stays."""
    options: dict[str, object] = (
        {"src_nodata": None, "add_alpha": True}
        if nodata is None
        else {"src_nodata": nodata, "nodata": nodata, "UNIFIED_SRC_NODATA": "NO"}
    )
    with (
        plain_bands(dataset, source, means=True) as plain,
        warp(plain, source, Resampling.bilinear, scale, **options) as warped,
    ):
        smooth = np.asarray(warped.read([row + 1 for row in rows], window=place))
    if smooth.dtype.kind == "f":
        smooth = np.where(np.isfinite(smooth), smooth, values[rows])
    values[rows] = smooth


@contextlib.contextmanager
def plain_bands(
    dataset: rasterio.DatasetReader, source: Source, means: bool = False
) -> Iterator[rasterio.DatasetReader]:
    """Open the source's bands as data alone, in its order: no nodata, alpha or mask.

    The raster's own mask, where it counts, is one more band, or (``means``) the mask of what
    is to be interpolated.
    """
    root = ElementTree.Element(
        "VRTDataset", rasterXSize=str(dataset.width), rasterYSize=str(dataset.height)
    )
    ElementTree.SubElement(root, "SRS").text = dataset.crs.to_wkt() if dataset.crs else ""
    numbers = ", ".join(f"{number:.17g}" for number in dataset.transform.to_gdal())
    ElementTree.SubElement(root, "GeoTransform").text = numbers

    def add(parent: ElementTree.Element, dtype: str, source_band: str, **place: str) -> None:
        node = ElementTree.SubElement(parent, "VRTRasterBand", {"dataType": dtype, **place})
        simple = ElementTree.SubElement(node, "SimpleSource")
        name = ElementTree.SubElement(simple, "SourceFilename", relativeToVRT="0")
        name.text = dataset.name
        ElementTree.SubElement(simple, "SourceBand").text = source_band

    dtype = _GDAL_TYPES[np.result_type(*(dataset.dtypes[n - 1] for n in source.bands)).name]
    for number, band in enumerate(source.bands, start=1):
        add(root, dtype, str(band), band=str(number))
    if source.own_mask and means:
        add(ElementTree.SubElement(root, "MaskBand"), "Byte", f"mask,{source.bands[0]}")
    elif source.own_mask:
        add(root, dtype, f"mask,{source.bands[0]}", band=str(len(source.bands) + 1))
    with MemoryFile(ElementTree.tostring(root), ext=".vrt") as memory, memory.open() as plain:
        yield plain


def _scale(dataset: rasterio.DatasetReader, grid: Grid) -> tuple[float, float]:
    """Return how far rows and columns of a raster are apart on a grid, in its pixels; at most 1.

    Below 1, a mean takes more than the four pixels around: as many as lie in a pixel of the grid.
    GDAL would look at each part of a raster that it warps by itself.
    """
    across = rasterio.Affine(*grid.transform)
    middle = np.array([grid.width, grid.width, grid.width + 2]) / 2
    x, y = across * (middle, np.array([grid.height, grid.height + 2, grid.height]) / 2)
    if dataset.crs and grid.crs:
        x, y = map(np.array, transform(grid.crs, dataset.crs, x.tolist(), y.tolist()))
    ways = np.array(~dataset.transform * (x, y))
    apart = np.hypot(*(ways[:, 1:] - ways[:, :1]).T)
    found = [1 / step if step > _FINER and math.isfinite(step) else 1.0 for step in apart]
    return found[0], found[1]


@contextlib.contextmanager
def warp(
    dataset: rasterio.DatasetReader,
    source: Source,
    resampling: Resampling,
    scale: tuple[float, float],
    **options: object,
) -> Iterator[WarpedVRT]:
    """Open a raster on the source's grid, with GDAL's scales, which say how wide its kernel is."""
    grid = source.placement.grid
    # By blocks of the grid, not by what is read at a time.
    with (
        rasterio.Env(GDAL_VRT_WARP_USE_DATASET_RASTERIO="NO"),
        WarpedVRT(
            dataset,
            crs=grid.crs or None,
            transform=rasterio.Affine(*grid.transform),
            width=grid.width,
            height=grid.height,
            resampling=resampling,
            tolerance=WARP_ERROR,
            XSCALE=scale[0],
            YSCALE=scale[1],
            **options,
        ) as warped,
    ):
        yield warped


def hold_values(values: np.ndarray, source: Source) -> np.ndarray:
    """Return where no band holds nodata, a NaN or an infinity, shape (height, width)."""
    valid = np.ones(values.shape[1:], bool)
    for plane, nodata in zip(values, source.nodata):
        refused = _as_stored(plane.dtype, nodata)
        if refused is not None:
            valid &= plane != refused
        if plane.dtype.kind == "f":
            valid &= np.isfinite(plane)
    return valid


def _as_stored(dtype: np.dtype, nodata: float | None) -> Any:
    """Return nodata in the type of the values, lest all of them be converted to compare.

    None if no value can be nodata: there is none, or it is 0.5, -1 or NaN among uint16.
    """
    if nodata is None or dtype.kind not in "iu" or dtype.itemsize > _EXACT_BYTES:
        return nodata
    ends = np.iinfo(dtype)
    is_there = ends.min <= nodata <= ends.max and nodata == int(nodata)
    return dtype.type(nodata) if is_there else None


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
