"""How much ground the classes of a label raster cover."""

from __future__ import annotations

import math

import numpy as np

from .grid import Grid, Window

_PIXELS_AT_ONCE = 1 << 18  # each takes eight bytes while it is counted


class ClassAreas:
    """Adds up the ground area of each class of one scene, window by window.

    Where all rows have pixels of one area the counts suffice; in a geographic CRS pixels are
    counted by row, so that the result does not depend on the windows.
    """

    def __init__(self, grid: Grid, classes: int) -> None:
        self._row_hectares = grid.row_hectares()
        self._classes = classes
        self._rows: np.ndarray | None = None
        if grid.geographic and self._row_hectares is not None:
            self._rows = np.zeros((grid.height, classes + 1), np.int64)

    @property
    def by_row(self) -> bool:
        """Whether pixels have to be counted by row."""
        return self._rows is not None

    def add(self, window: Window, labels: np.ndarray) -> None:
        """Count labels (height, width), 0 for nodata, of a window."""
        if self.by_row:
            self.add_rows(window.row, row_counts(labels, self._classes))

    def add_rows(self, first: int, counts: np.ndarray) -> None:
        """Add :func:`row_counts` of rows from ``first`` on."""
        assert self._rows is not None
        self._rows[first : first + len(counts)] += counts

    def hectares(self, class_pixels: np.ndarray) -> np.ndarray | None:
        """Return the hectares of each class, float64 (classes,), from its pixels in the scene.

        None where the CRS does not say how large a pixel is.
        """
        if self._row_hectares is None:
            return None
        if self._rows is None:
            return class_pixels * float(self._row_hectares[0])
        areas = self._rows[:, 1:] * self._row_hectares[:, None]
        return np.array([math.fsum(column) for column in areas.T.tolist()])


def row_counts(labels: np.ndarray, classes: int) -> np.ndarray:
    """Count labels (height, width), 0 for nodata, by row: int64 (height, classes + 1)."""
    columns = classes + 1
    counts = np.zeros((len(labels), columns), np.int64)
    step = max(1, _PIXELS_AT_ONCE // max(labels.shape[1], 1))
    for first in range(0, len(labels), step):
        rows = labels[first : first + step]
        keys = rows + columns * np.arange(len(rows))[:, None]
        found = np.bincount(keys.reshape(-1), minlength=columns * len(rows))
        counts[first : first + step] = found.reshape(-1, columns)
    return counts
