"""Small synthetic series on disk, and a feedback that remembers."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from osgeo import gdal, osr
from qgis.core import QgsProcessingFeedback

gdal.UseExceptions()

DATES = (dt.date(2019, 4, 2), dt.date(2019, 5, 12), dt.date(2019, 7, 31))
BANDS = ("blue", "green", "red")
ORIGIN, PIXEL = (500_000.0, 4_649_000.0), 20.0


@dataclass(frozen=True)
class SeriesOnDisk:
    """Paths of a synthetic series, oldest scene first, and of its masks (SCL)."""

    scenes: tuple[str, ...]
    masks: tuple[str, ...]


class RecordingFeedback(QgsProcessingFeedback):
    """Keeps what a run says."""

    def __init__(self) -> None:
        super().__init__()
        self.percents: list[float] = []
        self.errors: list[str] = []
        self.infos: list[str] = []
        self.progressChanged.connect(self.percents.append)

    def pushInfo(self, text: str) -> None:
        self.infos.append(text)

    def reportError(self, error: str, fatalError: bool = False) -> None:
        self.errors.append(error)


def write_raster(
    path: Path,
    planes: np.ndarray,
    *,
    epsg: int = 32633,
    origin: tuple[float, float] = ORIGIN,
    pixel: float = PIXEL,
    names: tuple[str, ...] = (),
    nodata: float | None = None,
) -> str:
    """Write a GeoTIFF of the planes, shape (bands, height, width), and return its path."""
    kinds = {"uint8": gdal.GDT_Byte, "uint16": gdal.GDT_UInt16, "float32": gdal.GDT_Float32}
    bands, height, width = planes.shape
    options = ["TILED=YES", "BLOCKXSIZE=64", "BLOCKYSIZE=64"]
    driver = gdal.GetDriverByName("GTiff")
    dataset = driver.Create(str(path), width, height, bands, kinds[planes.dtype.name], options)
    dataset.SetGeoTransform((origin[0], pixel, 0.0, origin[1], 0.0, -pixel))
    reference = osr.SpatialReference()
    reference.ImportFromEPSG(epsg)
    dataset.SetProjection(reference.ExportToWkt())
    for number, plane in enumerate(planes, start=1):
        band = dataset.GetRasterBand(number)
        band.WriteArray(plane)
        if names:
            band.SetDescription(names[number - 1])
        if nodata is not None:
            band.SetNoDataValue(nodata)
    dataset = None
    return str(path)


def spectra(rank: int, size: int = 96) -> np.ndarray:
    """Return four kinds of ground in four quarters, uint16, (3, size, size); 0 in a corner."""
    random = np.random.default_rng(rank)
    rows, columns = np.mgrid[:size, :size]
    kind = (rows // (size // 2)) * 2 + (columns // (size // 2))
    levels = np.array([[400, 500, 450], [1600, 1800, 1700], [2900, 2800, 3000], [4100, 4200, 4150]])
    planes = levels[kind].transpose(2, 0, 1) + random.integers(-60, 60, (3, size, size))
    planes[:, : 4 + rank, : 4 + rank] = 0
    return planes.astype(np.uint16)
