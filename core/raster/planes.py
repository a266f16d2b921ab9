"""One band of a raster, and where it holds values."""

from __future__ import annotations

import numpy as np
import rasterio

from ..grid import Window
from .access import gdal_errors, native


def read_plane(path: str, window: Window) -> tuple[np.ndarray, np.ndarray]:
    """Return the first band of a window as stored, and where it is valid; (height, width) each.

    Not valid is what GDAL masks: nodata, the raster's own mask, an alpha band. Raises RasterError.
    The file is opened anew for each window, as in :func:`.windows.read_window`.
    """
    with gdal_errors(path, "read"), rasterio.open(path) as dataset:
        place = native(window)
        values = np.asarray(dataset.read(1, window=place))
        return values, np.asarray(dataset.read_masks(1, window=place)) > 0
