"""What rasters that are made in memory have in common: how they begin, their date, overviews."""

from __future__ import annotations

import datetime as dt

import rasterio
from rasterio.io import DatasetWriter, MemoryFile

from ..grid import Grid
from .access import TIFF_DATE_TAG

_TILE = 512
_OVERVIEW_UNTIL = 256


def tile_size(grid: Grid) -> int:
    """Return the side of the tiles of a raster on a grid."""
    return _TILE if max(grid.height, grid.width) >= _TILE else _TILE // 2


def begin(memory: MemoryFile, grid: Grid, **options: object) -> DatasetWriter:
    """Open a GeoTIFF on a grid in memory: tiled, deflated, only what is written takes room."""
    return memory.open(
        driver="GTiff",
        width=grid.width,
        height=grid.height,
        crs=grid.crs or None,
        transform=rasterio.Affine(*grid.transform),
        compress="deflate",
        tiled=True,
        blockxsize=tile_size(grid),
        blockysize=tile_size(grid),
        BIGTIFF="IF_SAFER",
        SPARSE_OK="TRUE",
        **options,
    )


def write_date(dataset: DatasetWriter, date: dt.date) -> None:
    """Write an acquisition date in the tags that are looked for."""
    stamp = dt.datetime(date.year, date.month, date.day)
    dataset.update_tags(**{TIFF_DATE_TAG: f"{stamp:%Y:%m:%d %H:%M:%S}"}, ACQUISITION_DATE=f"{date}")
    dataset.update_tags(ns="IMAGERY", ACQUISITIONDATETIME=f"{stamp:%Y-%m-%d %H:%M:%S}")


def overview_factors(grid: Grid) -> list[int]:
    """Return how many times smaller each overview is, until one fits into 256 pixels."""
    factors, factor = [], 2
    while max(grid.height, grid.width) / (factor // 2) > _OVERVIEW_UNTIL:
        factors.append(factor)
        factor *= 2
    return factors
