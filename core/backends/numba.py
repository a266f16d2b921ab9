"""The parallel backend: compiled kernels on a thread pool, fast in float32 and exact by proof.

A kernel scores a pixel in float32, within a proven error of the integer scores. Where the two
best are closer than that, it scores the pixel again in integers. So its labels are those of
the reference. Sums are kept from step to step: a pixel that changes class is taken from one
and added to the other, in integers, which do not drift.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ..monitor import Monitor
from ..parallel import beside, share_out
from ..pixels import Block
from ..scores import Scores
from .base import UNLABELLED, Measures, Partials, Yardstick
from .numba_assign import assigning_kernel
from .numba_balls import Balls
from .numba_coefficients import Coefficients, doubtful_gap
from .numba_middles import middle_columns
from .numba_quality import MEASURE_TILE, MOST_TERMS, measuring_kernel

_loaded: set[tuple[int, str]] = set()


class NumbaBackend:
    """Kernels compiled for the number of bands, one block at a time per thread."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="iikmc")
        self._reset(0)

    def prepare(self, blocks: Sequence[Block], scenes: int, monitor: Monitor) -> None:
        self._blocks, self._scenes, self._monitor = blocks, scenes, monitor
        self._labels = [np.empty(block.pixels, np.uint8) for block in blocks]
        self._reaches = np.zeros(
            (len(blocks), 2, blocks[0].codes.shape[0] if blocks else 0), np.int64
        )
        self._balls = Balls(len(blocks))

        def look(worker: int, index: int) -> None:
            codes = self._blocks[index].codes.load()
            if codes.shape[1]:
                self._reaches[index] = codes.min(axis=1), codes.max(axis=1)

        share_out(self._pool, self._threads, look, len(blocks), monitor)
        self._reset(0)

    def step(self, scores: Scores) -> Partials:
        classes, bands = scores.classes, scores.q.shape[2]
        if classes != self._classes:
            self._reset(classes)
        if not self._blocks:
            return Partials(self._sums.copy(), self._counts.copy(), 0)
        kernel = self._load_kernel(bands)
        self._balls.begin(classes, self._steps, self._blocks, self._monitor)
        dtype = self._blocks[0].codes.dtype.name
        coefficients = Coefficients.of(scores, self._balls.weights, dtype)
        gaps = self._doubtful_gaps(scores)
        midpoints = np.zeros(middle_columns(bands), np.int32)
        midpoints[:bands] = scores.midpoints
        sums = np.zeros((self._threads, *self._sums.shape), np.int64)
        counts = np.zeros((self._threads, *self._counts.shape), np.int64)
        changed = np.zeros(self._threads, np.int64)

        def assign(worker: int, index: int) -> None:
            block, scene = self._blocks[index], self._blocks[index].scene
            if not block.pixels:
                return
            codes = block.codes.load()
            fresh, scored = kernel(
                codes,
                self._labels[index],
                midpoints,
                gaps[index],
                *self._balls.of(index, codes),
                classes,
                *coefficients.of_scene(scene),
                sums[worker, scene],
                counts[worker, scene],
            )
            changed[worker] += fresh
            self._balls.judge(index, scored / classes)

        share_out(self._pool, self._threads, assign, len(self._blocks), self._monitor)
        self._steps += 1
        self._sums += sums.sum(axis=0)
        self._counts += counts.sum(axis=0)
        return Partials(self._sums.copy(), self._counts.copy(), int(changed.sum()))

    def labels(self, block: int) -> np.ndarray:
        return self._labels[block]

    def measure(self, yardstick: Yardstick) -> Measures:
        classes, bands = yardstick.signatures.shape[1:]
        sums = np.zeros((self._threads, classes, 2), np.int64)
        dtype = self._blocks[0].codes.dtype.name
        kernel = beside(lambda: measuring_kernel(bands, dtype), self._monitor)
        midpoints = yardstick.midpoints.astype(np.int32)
        size = max(MEASURE_TILE, MOST_TERMS // (classes * bands))
        parts = [
            (index, start, min(start + size, block.pixels))
            for index, block in enumerate(self._blocks)
            for start in range(0, block.pixels, size)
        ]

        def measure(worker: int, part: int) -> None:
            index, start, stop = parts[part]
            block, labels = self._blocks[index], self._labels[index]
            codes = block.codes.load()
            lacking = max(MEASURE_TILE - block.pixels, 0)
            if lacking:  # for a tile; what is put before the pixels is not measured
                codes = np.pad(codes, ((0, 0), (lacking, 0)))
                labels = np.pad(labels, (lacking, 0))
            kernel(
                codes,
                labels,
                start + lacking,
                stop + lacking,
                yardstick.signatures[block.scene],
                yardstick.steps[block.scene],
                midpoints,
                yardstick.distance_scale,
                yardstick.silhouette_scale,
                sums[worker],
            )

        share_out(self._pool, self._threads, measure, len(parts), self._monitor)
        distances, silhouettes = sums.sum(axis=0).T.copy()
        return Measures(distances, silhouettes)

    def close(self) -> None:
        self._pool.shutdown()
        self._labels = []
        self._blocks = ()
        self._balls = Balls(0)

    def _doubtful_gaps(self, scores: Scores) -> np.ndarray:
        """Return the gap of each block, float32 (blocks,)."""
        gaps = np.zeros(len(self._blocks), np.float32)
        scenes = np.array([block.scene for block in self._blocks])
        for scene in np.unique(scenes):
            here = scenes == scene
            reaches = self._reaches[here]
            gaps[here] = doubtful_gap(
                scores.q[scene], scores.n[scene], scores.midpoints, reaches[:, 0], reaches[:, 1]
            )
        return gaps

    def _load_kernel(self, bands: int) -> Callable[..., tuple[int, int]]:
        key = bands, self._blocks[0].codes.dtype.name
        if key in _loaded:
            return assigning_kernel(*key)
        self._monitor.message(
            f"Loading the kernel for {bands} bands; its first use on this computer compiles it."
        )
        kernel = beside(lambda: assigning_kernel(*key), self._monitor)
        _loaded.add(key)
        return kernel

    def _reset(self, classes: int) -> None:
        """Forget labels and sums: before the first step, or when the number of classes changes."""
        self._classes, self._steps = classes, 0
        bands = self._reaches.shape[2] if classes else 0
        scenes = self._scenes if classes else 0
        self._sums = np.zeros((scenes, classes, bands), np.int64)
        self._counts = np.zeros((scenes, classes), np.int64)
        if classes:
            for labels in self._labels:
                labels.fill(UNLABELLED)
