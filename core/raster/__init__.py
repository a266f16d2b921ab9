"""The only rooms that know rasterio: describe rasters, read windows of them, write labels."""

from .headers import RasterInfo, crs_label, describe, same_crs
from .shapes import bounds_in, burn, geometries_in, geometry_bounds
from .styles import ClassStyle
from .windows import Source, read_onto, read_preview, read_window

__all__ = [
    "ClassStyle",
    "RasterInfo",
    "Source",
    "bounds_in",
    "burn",
    "crs_label",
    "describe",
    "geometries_in",
    "geometry_bounds",
    "read_onto",
    "read_preview",
    "read_window",
    "same_crs",
]
