"""How many pixels, and how much ground, went from each class to each other between two dates."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence

import numpy as np

from ..errors import Cancelled
from ..grid import Grid, Window

_CHUNK = 1 << 20  # pixels counted at a time: sums of their weights stay exact in float64
_WEIGHT_BITS = 32


class TransitionTally:
    """Adds up, window by window and on any thread, the classes of pairs of dates.

    ``pixels`` is int64 (pairs, classes, classes): rows are classes of the pair's first date,
    columns of its second. A pair of a date with itself counts its classes, on the diagonal.
    All sums are of integers, so they do not depend on windows or threads: in a geographic CRS,
    the ground area of a row's pixels is weighed in steps of at most 2^-31 of the largest. Without
    a grid no areas are kept.
    """

    def __init__(
        self, classes: int, pairs: Sequence[tuple[int, int]], grid: Grid | None = None
    ) -> None:
        self.pairs = tuple(pairs)
        self.pixels = np.zeros((len(self.pairs), classes, classes), np.int64)
        self._lock = threading.Lock()
        self._classes = classes
        self._row_hectares = grid.row_hectares() if grid is not None else None
        self._weights: np.ndarray | None = None
        if grid is not None and grid.geographic and self._row_hectares is not None:
            size = math.frexp(float(self._row_hectares.max()))[1]
            room = 62 - (grid.width * grid.height).bit_length()
            self._shift = min(_WEIGHT_BITS, room) - size
            self._weights = np.rint(np.ldexp(self._row_hectares, self._shift))
            self._ground = np.zeros_like(self.pixels)

    def add(
        self,
        window: Window,
        ranks: np.ndarray,
        where: np.ndarray | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        """Count a window's classes, uint8 (dates, height, width), 0 for none.

        ``where``, boolean (height, width), leaves pixels out. Raises Cancelled once ``stop`` is
        set.
        """
        rows = max(1, _CHUNK // window.width)
        for top in range(0, window.height, rows):
            part = ranks[:, top : top + rows]
            if where is not None:
                part = np.where(where[top : top + rows], part, np.uint8(0))
            weights = None
            if self._weights is not None:
                begin = window.row + top
                weights = self._weights[begin : begin + part.shape[1]].repeat(window.width)
            for index, (first, second) in enumerate(self.pairs):
                if stop is not None and stop.is_set():
                    raise Cancelled("Counting classes was stopped.")
                self._add(index, part[first].reshape(-1), part[second].reshape(-1), weights)

    def _add(
        self, index: int, first: np.ndarray, second: np.ndarray, weights: np.ndarray | None
    ) -> None:
        pixels = tally(first, second, self._classes)
        ground = None
        if weights is not None:
            ground = tally(first, second, self._classes, weights).astype(np.int64)
        with self._lock:
            self.pixels[index] += pixels
            if ground is not None:
                self._ground[index] += ground

    def hectares(self) -> np.ndarray | None:
        """Return hectares, like ``pixels``, float64; None where the CRS does not say."""
        if self._row_hectares is None:
            return None
        if self._weights is None:
            return self.pixels * float(self._row_hectares[0])
        return np.ldexp(self._ground.astype(np.float64), -self._shift)


def tally(
    first: np.ndarray, second: np.ndarray, classes: int, weights: np.ndarray | None = None
) -> np.ndarray:
    """Return pixels (or the sum of their weights) by class in two labellings, (classes, classes).

    Labels are 1 to ``classes``, shape (pixels,); pixels that are 0 in either are left out.
    """
    size = classes + 1
    keys = first.astype(np.intp)
    keys *= size
    keys += second
    counts = np.bincount(keys, weights, minlength=size * size)
    return counts.reshape(size, size)[1:, 1:]
