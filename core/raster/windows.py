"""Windows of rasters in."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import rasterio
from rasterio.enums import Resampling

from ..grid import Window
from .access import gdal_errors, native


def read_window(path: str, bands: Sequence[int], window: Window) -> np.ndarray:
    """Return a window's values, shape (bands, height, width), as stored.

    The file is opened anew for each window, because GDAL keeps what it has decoded (up to a
    twentieth of the machine's memory) until a file is closed, and windows share no blocks.
    """
    with gdal_errors(path, "read"), rasterio.open(path) as dataset:
        return np.asarray(dataset.read(list(bands), window=native(window)))


def read_mask(path: str, window: Window) -> np.ndarray:
    """Return where the raster's own mask or alpha band is set, shape (height, width)."""
    with gdal_errors(path, "read"), rasterio.open(path) as dataset:
        return np.asarray(dataset.dataset_mask(window=native(window))) > 0


def read_preview(path: str | os.PathLike[str], longest: int) -> np.ndarray:
    """Return the first band scaled down to at most ``longest`` pixels a side, by nearest pixel."""
    path = os.fspath(path)
    with gdal_errors(path, "read"), rasterio.open(path) as dataset:
        shrink = max(1.0, max(dataset.height, dataset.width) / longest)
        shape = (max(1, round(dataset.height / shrink)), max(1, round(dataset.width / shrink)))
        return np.asarray(dataset.read(1, out_shape=shape, resampling=Resampling.nearest))
