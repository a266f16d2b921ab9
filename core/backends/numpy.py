"""The reference backend: float64 matrix products, which are exact on integer scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..monitor import Monitor
from ..pixels import Block
from ..scores import Scores
from .base import UNLABELLED, Partials

_CHUNK_SCORES = 1 << 21


class NumpyBackend:
    """Plain NumPy; threads are those of its matrix product."""

    def __init__(self, threads: int) -> None:
        del threads  # the BLAS has its own

    def prepare(self, blocks: Sequence[Block], scenes: int, monitor: Monitor) -> None:
        self._blocks, self._scenes, self._monitor = blocks, scenes, monitor
        self._labels = [np.full(block.pixels, UNLABELLED, np.uint8) for block in blocks]

    def step(self, scores: Scores) -> Partials:
        bands, classes = scores.q.shape[2], scores.classes
        sums = np.zeros((self._scenes, classes, bands), np.int64)
        counts = np.zeros((self._scenes, classes), np.int64)
        changed = 0
        size = max(1, _CHUNK_SCORES // classes)
        for block, labels in zip(self._blocks, self._labels):
            q = scores.q[block.scene].astype(np.float64)
            n = scores.n[block.scene].astype(np.float64)[:, None]
            for start in range(0, block.pixels, size):
                self._monitor.check()
                codes = block.codes[:, start : start + size].astype(np.float64)
                found = assign(q, n, codes - scores.midpoints[:, None])
                part = labels[start : start + size]
                changed += int(np.count_nonzero(part != found))
                part[:] = found
                counts[block.scene] += np.bincount(found, minlength=classes)
                for band in range(bands):  # float64 sums of integers below 2^53: exact
                    added = np.bincount(found, codes[band], classes)
                    sums[block.scene, :, band] += added.astype(np.int64)
        return Partials(sums, counts, changed)

    def labels(self, block: int) -> np.ndarray:
        return self._labels[block]

    def close(self) -> None:
        self._labels = []
        self._blocks = ()


def assign(q: np.ndarray, n: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Return the class, uint8, of each pixel: the lowest with the smallest score.

    All float64: ``q`` (classes, bands), ``n`` (classes, 1), ``offsets`` of codes from the
    mid-points (bands, pixels).
    """
    return np.argmin(n - q @ offsets, axis=0).astype(np.uint8)
