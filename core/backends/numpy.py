"""The reference backend: float64 matrix products, which are exact on integer scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..monitor import Monitor
from ..pixels import Block
from ..scores import Scores
from .base import UNLABELLED, Measures, Partials, Yardstick

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
            stored = block.codes.load()
            q = scores.q[block.scene].astype(np.float64)
            n = scores.n[block.scene].astype(np.float64)[:, None]
            for start in range(0, block.pixels, size):
                self._monitor.check()
                codes = stored[:, start : start + size].astype(np.float64)
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

    def measure(self, yardstick: Yardstick) -> Measures:
        classes = yardstick.signatures.shape[1]
        distances, silhouettes = np.zeros((2, classes), np.int64)
        size = max(1, _CHUNK_SCORES // classes)
        for block, labels in zip(self._blocks, self._labels):
            stored, scene = block.codes.load(), block.scene
            for start in range(0, block.pixels, size):
                self._monitor.check()
                found = labels[start : start + size]
                own, other = separations(
                    stored[:, start : start + size] - yardstick.midpoints[:, None],
                    found,
                    yardstick.signatures[scene],
                    yardstick.steps[scene],
                )
                larger = np.maximum(own, other)
                larger[larger == 0.0] = 1.0
                silhouette = (other - own) / larger
                distances += _class_sums(found, own * yardstick.distance_scale, classes)
                silhouettes += _class_sums(found, silhouette * yardstick.silhouette_scale, classes)
        return Measures(distances, silhouettes)

    def close(self) -> None:
        self._labels = []
        self._blocks = ()


def assign(q: np.ndarray, n: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Return the class, uint8, of each pixel: the lowest with the smallest score.

    All float64: ``q`` (classes, bands), ``n`` (classes, 1), ``offsets`` of codes from the
    mid-points (bands, pixels).
    """
    return np.argmin(n - q @ offsets, axis=0).astype(np.uint8)


def separations(
    offsets: np.ndarray, labels: np.ndarray, signatures: np.ndarray, steps: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the distances of pixels to their own and to the nearest other signature.

    ``offsets`` of codes from the mid-points (bands, pixels), ``signatures`` (classes, bands) and
    ``steps`` (bands,) as in a :class:`~.base.Yardstick`.
    """
    squares = np.zeros((len(signatures), len(labels)))
    for plane, places, step in zip(offsets, signatures.T, steps):
        difference = plane * step - places[:, None]
        difference *= difference
        squares += difference
    pixels = np.arange(len(labels))
    own = squares[labels, pixels]
    squares[labels, pixels] = np.inf
    return np.sqrt(own), np.sqrt(squares.min(axis=0))


def _class_sums(labels: np.ndarray, values: np.ndarray, classes: int) -> np.ndarray:
    """Return the sums of rounded ``values``, below 2^51, over the pixels of each class: int64.

    In halves, whose float64 sums are exact.
    """
    whole = np.rint(values).astype(np.int64)
    upper = np.bincount(labels, whole >> 26, classes).astype(np.int64)
    lower = np.bincount(labels, whole & ((1 << 26) - 1), classes).astype(np.int64)
    return (upper << 26) + lower
