"""Small rasters with made-up values, and the bands of the sensors."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import rasterio

ORIGIN = (500_000.0, 4_600_000.0)
EPSG = 32633

# Native numbers of the surface reflectance bands.
TM_BANDS = {"blue": 1, "green": 2, "red": 3, "nir08": 4, "swir16": 5, "swir22": 7}
OLI_BANDS = {
    "coastal": 1,
    "blue": 2,
    "green": 3,
    "red": 4,
    "nir08": 5,
    "swir16": 6,
    "swir22": 7,
}
# Native name and metres.
S2_BANDS = {
    "coastal": ("B01", 60),
    "blue": ("B02", 10),
    "green": ("B03", 10),
    "red": ("B04", 10),
    "rededge1": ("B05", 20),
    "rededge2": ("B06", 20),
    "rededge3": ("B07", 20),
    "nir": ("B08", 10),
    "nir08": ("B8A", 20),
    "nir09": ("B09", 60),
    "swir16": ("B11", 20),
    "swir22": ("B12", 20),
}
PLANET_4 = ("blue", "green", "red", "nir")
PLANET_8 = ("coastal_blue", "blue", "green_i", "green", "yellow", "red", "rededge", "nir")
UDM2 = ("clear", "snow", "shadow", "haze_light", "haze_heavy", "cloud", "confidence", "udm1")

# QA_PIXEL of clear land: bit 6, and low confidences (bits 8, 10, 12; OLI also cirrus, 14).
CLEAR_TM, CLEAR_OLI = 5440, 21824


def write_raster(
    path: Path,
    values: np.ndarray,
    *,
    pixel: float = 30.0,
    origin: tuple[float, float] = ORIGIN,
    epsg: int | None = EPSG,
    nodata: float | None = None,
    names: Sequence[str] = (),
    tags: Mapping[str, str] | None = None,
    scale: float | None = None,
    offset: float | None = None,
) -> Path:
    """Write (bands, height, width) or (height, width) as GeoTIFF or lossless JPEG 2000."""
    values = values if values.ndim == 3 else values[None]
    path.parent.mkdir(parents=True, exist_ok=True)
    jpeg = path.suffix.lower() == ".jp2"
    options = {"QUALITY": "100", "REVERSIBLE": "YES"} if jpeg else {}
    with rasterio.open(
        path,
        "w",
        driver="JP2OpenJPEG" if jpeg else "GTiff",
        dtype=values.dtype,
        count=values.shape[0],
        height=values.shape[1],
        width=values.shape[2],
        crs=f"EPSG:{epsg}" if epsg else None,
        transform=rasterio.transform.from_origin(*origin, pixel, pixel),
        nodata=nodata,
        **options,
    ) as dataset:
        for number, name in enumerate(names, start=1):
            dataset.set_band_description(number, name)
        dataset.update_tags(**(tags or {}))
        if scale is not None:
            dataset.scales = [scale] * dataset.count
        if offset is not None:
            dataset.offsets = [offset] * dataset.count
        dataset.write(values)
    return path


def made_up(key: str, shape: tuple[int, ...], low: int = 1, high: int = 10_000) -> np.ndarray:
    """Return uint16 values that depend on ``key`` alone."""
    return (
        np.random.default_rng(zlib.crc32(key.encode())).integers(low, high, shape).astype(np.uint16)
    )
