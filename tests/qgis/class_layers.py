"""Class layers on disk for tests: three dates of one place, with names and colours."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from osgeo import osr
from synthetic import DATES, ORIGIN, PIXEL

from iikmc.core.grid import Grid
from iikmc.core.palette import colours
from iikmc.core.raster import ClassStyle
from iikmc.core.raster.labels import label_counters, write_labels

NAMES = ("Water", "Forest", "Field", "Bare")


def planes(count: int = len(DATES), size: int = 96) -> np.ndarray:
    """Return classes 1 to 4 in quarters, of which a fifth of the pixels differs on each date."""
    random = np.random.default_rng(3)
    rows, columns = np.mgrid[:size, :size]
    base = 1 + (rows // (size // 2)) * 2 + columns // (size // 2)
    stack = np.repeat(base[None], count, 0)
    changed = random.random(stack.shape) < 0.2
    stack[changed] = random.integers(1, 5, int(changed.sum()))
    stack[:, :6, :6] = 0
    return stack.astype(np.uint8)


def write_layers(
    folder: Path,
    stack: np.ndarray,
    *,
    dates: Sequence[dt.date] = DATES,
    names: Sequence[str] = NAMES,
    epsg: int = 32633,
    origin: tuple[float, float] = ORIGIN,
    pixel: float = PIXEL,
) -> list[str]:
    """Write a class raster for each plane, (dates, height, width), and return the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    reference = osr.SpatialReference()
    reference.ImportFromEPSG(epsg)
    palette = colours(len(names))
    classes = [ClassStyle(n, name, palette[n - 1]) for n, name in enumerate(names, start=1)]
    transform = (pixel, 0.0, origin[0], 0.0, -pixel, origin[1])
    paths = []
    for plane, date in zip(stack, dates):
        path = folder / f"place_{date}_classes.tif"
        grid = Grid(reference.ExportToWkt(), transform, plane.shape[1], plane.shape[0])
        write_labels(path, grid, classes, date, plane, label_counters(grid), lambda: None)
        paths.append(str(path))
    return paths
