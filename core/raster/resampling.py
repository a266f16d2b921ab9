"""Windows of rasters brought onto another grid, in the way that suits their pixels' sizes."""

from __future__ import annotations

import contextlib
import enum

import numpy as np
import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.enums import ColorInterp, Resampling
from rasterio.errors import CRSError, RasterioError
from rasterio.vrt import WarpedVRT
from rasterio.warp import calculate_default_transform

from ..errors import GridError
from ..grid import Grid, Window
from .access import gdal_errors, native
from .headers import crs_label
from .opened import OpenRasters
from .windows import Source, hold_values, plain_bands, read_shifted, warp


class Way(enum.Enum):
    """How pixels of another grid get their values."""

    NEAREST = Resampling.nearest
    BILINEAR = Resampling.bilinear
    AVERAGE = Resampling.average


def read_resampled(
    rasters: OpenRasters, source: Source, way: Way, window: Window
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a window of the grid that a raster was placed on.

    Values, shape (bands, height, width), where the raster has pixels, and where these hold
    values in all bands: not nodata, finite, not masked by the raster itself; booleans, shape
    (height, width). Warped pixels hold values where the nearest pixel of the raster does, and
    pixels that hold none have no part in others. What a pixel gets depends neither on the window
    nor on the grid's extent. Raises RasterError.
    """
    with gdal_errors(source.path, "read"), rasters.open(source.path) as dataset:
        if source.placement.warped:
            return _warped(dataset, source, way, window)
        return read_shifted(dataset, source, window)


def _warped(
    dataset: rasterio.DatasetReader, source: Source, way: Way, window: Window
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    place, bands = native(window), list(source.bands)
    with contextlib.ExitStack() as stack:
        if ColorInterp.alpha in dataset.colorinterp and not source.own_mask:
            # GDAL would weigh the other bands by one that is declared as transparency.
            dataset = stack.enter_context(plain_bands(dataset, source))
            bands = list(range(1, len(bands) + 1))
        with _warp(dataset, source, Way.NEAREST, None) as warped:
            alpha = 1 + warped.colorinterp.index(ColorInterp.alpha)
            *planes, seen = np.asarray(warped.read([*bands, alpha], window=place))
        values, inside = np.stack(planes), seen > 0
        valid = inside & hold_values(values, source)
        if way is not Way.NEAREST and valid.any():
            for nodata in dict.fromkeys(source.nodata):
                rows = [row for row, value in enumerate(source.nodata) if value == nodata]
                unknown = np.nan if nodata is None and values.dtype.kind == "f" else nodata
                with _warp(dataset, source, way, unknown) as warped:
                    values[rows] = warped.read([bands[row] for row in rows], window=place)
    return values, inside, valid


def _warp(
    dataset: rasterio.DatasetReader, source: Source, way: Way, nodata: float | None
) -> contextlib.AbstractContextManager[WarpedVRT]:
    """Open a raster on the source's grid, with an alpha band of where it has pixels."""
    return warp(
        dataset,
        source,
        way.value,
        (
            1.0,
            1.0,
        ),  # GDAL would take them from the part that it warps at a time, and so its weights
        src_nodata=nodata,
        nodata=nodata,
        add_alpha=ColorInterp.alpha not in dataset.colorinterp,
        UNIFIED_SRC_NODATA="NO",
    )


def suggested_pixel(grid: Grid, crs: str) -> float:
    """Return the side of square pixels, in units of another CRS, that keep a raster's detail.

    Raises GridError where there is no way from its CRS to the other.
    """
    if not grid.crs or not crs:
        return min(grid.pixel_size)
    try:
        transform, _, _ = calculate_default_transform(
            rasterio.CRS.from_user_input(grid.crs),
            rasterio.CRS.from_user_input(crs),
            grid.width,
            grid.height,
            *grid.bounds,
        )
    except (RasterioError, CRSError, CPLE_BaseError) as error:
        raise GridError(
            f"There is no way from the CRS {crs_label(grid.crs)} to {crs_label(crs)} for what was "
            "given: choose another CRS."
        ) from error
    return float(transform.a)
