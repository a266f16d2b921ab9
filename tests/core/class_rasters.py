"""Class rasters on disk for tests."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
import rasterio

from iikmc.core.grid import Grid, Window
from iikmc.core.palette import colours
from iikmc.core.raster import ClassStyle
from iikmc.core.raster.labels import label_counters, write_labels

UTM = rasterio.CRS.from_epsg(32633).to_wkt()
WGS84 = rasterio.CRS.from_epsg(4326).to_wkt()
DATES = tuple(dt.date(2019, month, 15) for month in range(1, 13))


class LabelWriter:
    """Writes a raster of class numbers window by window; windows that never come are nodata.

    Use as a context manager. The file is written when the context ends without an error.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        grid: Grid,
        classes: Sequence[ClassStyle],
        date: dt.date,
    ) -> None:
        self._given = path, grid, classes, date
        self._labels = np.zeros((grid.height, grid.width), np.uint8)

    def __enter__(self) -> LabelWriter:
        return self

    def write(self, window: Window, labels: np.ndarray) -> None:
        """Write uint8 labels, shape (height, width) of the window."""
        rows = self._labels[window.row : window.row + window.height]
        rows[:, window.column : window.column + window.width] = labels

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            write_plane(*self._given, self._labels)


def write_plane(
    path: str | os.PathLike[str],
    grid: Grid,
    classes: Sequence[ClassStyle],
    date: dt.date,
    labels: np.ndarray,
) -> None:
    """Write a raster of class numbers, uint8 (height, width) of the grid."""
    write_labels(path, grid, classes, date, labels, label_counters(grid), lambda: None)


def styles(count: int, names: Sequence[str] = ()) -> list[ClassStyle]:
    """Return classes 1 to ``count``, named or called by their numbers."""
    named = [*names, *(f"Class {number}" for number in range(len(names) + 1, count + 1))]
    return [ClassStyle(place + 1, named[place], colours(count)[place]) for place in range(count)]


def grid_of(height: int, width: int, geographic: bool = False) -> Grid:
    """Return a grid of 10 m pixels, or of a hundredth of a degree from 60° north on."""
    if geographic:
        return Grid(WGS84, (0.01, 0, 20.0, 0, -0.01, 60.0), width, height, geographic=True)
    return Grid(UTM, (10.0, 0, 500_000.0, 0, -10.0, 4_600_000.0), width, height, 1.0)


def write_series(
    folder: Path,
    stack: Sequence[np.ndarray],
    classes: int,
    *,
    dates: Sequence[dt.date] = DATES,
    geographic: bool = False,
    names: Sequence[str] = (),
) -> list[Path]:
    """Write a class raster for each plane of (dates, height, width), and return the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for plane, date in zip(np.asarray(stack, np.uint8), dates):
        path = folder / f"place_{date}_classes.tif"
        grid = grid_of(*plane.shape, geographic)
        write_plane(path, grid, styles(classes, names), date, plane)
        paths.append(path)
    return paths


def read(path: Path) -> np.ndarray:
    """Return the first band of a raster."""
    with rasterio.open(path) as raster:
        return raster.read(1)
