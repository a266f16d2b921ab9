"""The only rooms that know rasterio: describe rasters, read windows of them, write labels."""

from .headers import RasterInfo, crs_label, describe, same_crs
from .labels import ClassStyle, LabelWriter
from .windows import read_mask, read_preview, read_window

__all__ = [
    "ClassStyle",
    "LabelWriter",
    "RasterInfo",
    "crs_label",
    "describe",
    "read_mask",
    "read_preview",
    "read_window",
    "same_crs",
]
