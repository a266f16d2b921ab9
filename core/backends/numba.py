"""The parallel backend: compiled kernels on a thread pool, fast in float32 and exact by proof.

A kernel scores a pixel in float32, within a proven error of the integer scores. Where the two
best are closer than that, it scores the pixel again in integers. So its labels are those of
the reference. Sums are kept from step to step: a pixel that changes class is taken from one
and added to the other, in integers, which do not drift.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np

from ..monitor import Monitor
from ..parallel import beside, share_out
from ..pixels import Block
from ..scores import NEVER, Scores
from .base import UNLABELLED, Measures, Partials, Yardstick
from .numba_quality import MOST_TERMS, measuring_kernel

# A kernel works on so many pixels at a time that their float32 planes stay in the L1 cache.
_STRIP_BYTES = 24 * 1024
_LONGEST_STRIP = 1024
_SEGMENT = 8
_GROUP = 32
_UNIT_ROUNDOFF = 2.0**-24
# Fused multiply-add may be used, nothing else is reordered; there are no NaNs and infinities.
_FLOAT_RULES = {"contract", "nnan", "ninf", "nsz"}


_loaded: set[tuple[int, int, str]] = set()


class NumbaBackend:
    """Kernels compiled for the number of bands and classes, one block at a time per thread."""

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
        kernel = self._load_kernel(bands, classes)
        floats = scores.q.astype(np.float32), scores.n.astype(np.float32)
        midpoints = scores.midpoints.astype(np.int32)
        sums = np.zeros((self._threads, *self._sums.shape), np.int64)
        counts = np.zeros((self._threads, *self._counts.shape), np.int64)
        changed = np.zeros(self._threads, np.int64)

        def assign(worker: int, index: int) -> None:
            block, scene = self._blocks[index], self._blocks[index].scene
            if not block.pixels:
                return
            q, n = scores.q[scene], scores.n[scene]
            changed[worker] += kernel(
                block.codes.load(),
                self._labels[index],
                q,
                n,
                floats[0][scene],
                floats[1][scene],
                midpoints,
                doubtful_gap(q, n, scores.midpoints, *self._reaches[index]),
                sums[worker, scene],
                counts[worker, scene],
            )

        share_out(self._pool, self._threads, assign, len(self._blocks), self._monitor)
        self._sums += sums.sum(axis=0)
        self._counts += counts.sum(axis=0)
        return Partials(self._sums.copy(), self._counts.copy(), int(changed.sum()))

    def labels(self, block: int) -> np.ndarray:
        return self._labels[block]

    def measure(self, yardstick: Yardstick) -> Measures:
        classes, bands = yardstick.signatures.shape[1:]
        sums = np.zeros((self._threads, 2, classes), np.int64)
        dtype = self._blocks[0].codes.dtype.name
        kernel = beside(lambda: measuring_kernel(dtype), self._monitor)
        midpoints = yardstick.midpoints.astype(np.int32)
        size = MOST_TERMS // (classes * bands)
        parts = [
            (index, start, min(start + size, block.pixels))
            for index, block in enumerate(self._blocks)
            for start in range(0, block.pixels, size)
        ]

        def measure(worker: int, part: int) -> None:
            index, start, stop = parts[part]
            block = self._blocks[index]
            kernel(
                block.codes.load(),
                self._labels[index],
                start,
                stop,
                yardstick.signatures[block.scene],
                yardstick.steps[block.scene],
                midpoints,
                yardstick.distance_scale,
                yardstick.silhouette_scale,
                *sums[worker],
            )

        share_out(self._pool, self._threads, measure, len(parts), self._monitor)
        distances, silhouettes = sums.sum(axis=0)
        return Measures(distances, silhouettes)

    def close(self) -> None:
        self._pool.shutdown()
        self._labels = []
        self._blocks = ()

    def _load_kernel(self, bands: int, classes: int) -> Callable[..., int]:
        key = bands, classes, self._blocks[0].codes.dtype.name
        if key in _loaded:
            return _kernel(*key)
        self._monitor.message(
            f"Loading the kernel for {bands} bands and {classes} classes; its first use on "
            "this computer compiles it."
        )
        kernel = beside(lambda: _kernel(*key), self._monitor)
        _loaded.add(key)
        return kernel

    def _reset(self, classes: int) -> None:
        """Forget labels and sums: before the first step, or when the number of classes changes."""
        self._classes = classes
        bands = self._reaches.shape[2] if classes else 0
        scenes = self._scenes if classes else 0
        self._sums = np.zeros((scenes, classes, bands), np.int64)
        self._counts = np.zeros((scenes, classes), np.int64)
        if classes:
            for labels in self._labels:
                labels.fill(UNLABELLED)


def doubtful_gap(
    q: np.ndarray, n: np.ndarray, midpoints: np.ndarray, lowest: np.ndarray, highest: np.ndarray
) -> np.float32:
    """Return the gap between two float32 scores up to which their order is not certain.

    Rounding q, x and n to float32 and adding up B products errs by at most γ(|n| + Σ|q||x|)
    with γ = (B + 3)u / (1 − (B + 3)u), u = 2^-24 (Higham 2002, Accuracy and Stability of
    Numerical Algorithms, section 3.1); ``lowest`` and ``highest`` codes bound |x| in a block.
    """
    steps = (q.shape[1] + 3) * _UNIT_ROUNDOFF
    reach = np.maximum(np.abs(lowest - midpoints), np.abs(highest - midpoints))
    sizes = np.abs(n.astype(np.float64)) + np.abs(q).astype(np.float64) @ reach.astype(np.float64)
    largest = float(sizes[n != NEVER].max(initial=0.0))  # a dropped class's score is exact
    error = steps / (1.0 - steps) * largest
    # Twice the error of one score; a little more covers rounding here and of the gap itself.
    return np.nextafter(np.float32(2.0 * error * (1.0 + 2.0**-18)), np.float32(np.inf))


@functools.cache
def _kernel(bands: int, classes: int, dtype: str) -> Callable[..., int]:
    """Return the kernel for so many bands and classes, compiled or from the disk cache."""
    strip = max(_GROUP, min(_LONGEST_STRIP, _STRIP_BYTES // (4 * bands) // _GROUP * _GROUP))
    # Classes scored in one loop body; with more the compiler stops unrolling (measured).
    group = min(classes, 4)
    whole = classes // group * group
    segments = bands // _SEGMENT if bands > 12 else 0
    segmented = segments * _SEGMENT
    largest = np.float32(3e38)
    planes = f"{dtype}[:, ::1]"
    types = (
        f"int64({planes}, uint8[::1], int64[:, ::1], int64[::1], float32[:, ::1], float32[::1], "
        "int32[::1], float32, int64[:, ::1], int64[::1])"
    )

    # Loops run over slices from 0: with an offset in the index Numba allows for negative
    # numbers, and the compiler no longer vectorises (three times slower).
    def kernel(codes, labels, q, n, q32, n32, midpoints, gap, sums, counts):
        offsets = np.empty((bands, strip), np.float32)
        scores = np.empty((group if segments else 1, strip), np.float32)
        best = np.empty(strip, np.float32)
        second = np.empty(strip, np.float32)
        nearest = np.empty(strip, np.int32)
        found = np.empty(strip, np.uint8)
        flags = np.zeros(strip, np.uint8)  # 1: another class than before; 2: not certain
        words = flags.view(np.uint64)
        places = np.empty(strip + 1, np.int64)
        changed = 0
        for start in range(0, codes.shape[1], strip):
            size = min(strip, codes.shape[1] - start)
            before = labels[start : start + size]
            for b in range(bands):
                middle = midpoints[b]
                plane = codes[b, start : start + size]
                for p in range(size):
                    offsets[b, p] = np.float32(np.int32(plane[p]) - middle)
            for p in range(size):
                best[p] = largest
                second[p] = largest
                nearest[p] = 0
            for first in range(0, whole, group):
                if segments:
                    for j in range(group):
                        for p in range(size):
                            scores[j, p] = n32[first + j]
                    for segment in range(segments):
                        for p in range(size):
                            for j in range(group):
                                score = scores[j, p]
                                for b in range(_SEGMENT):
                                    band = segment * _SEGMENT + b
                                    score -= q32[first + j, band] * offsets[band, p]
                                scores[j, p] = score
                for p in range(size):
                    lowest, next_lowest, row = best[p], second[p], nearest[p]
                    for j in range(group):
                        score = scores[j, p] if segments else n32[first + j]
                        for b in range(bands - segmented):
                            score -= q32[first + j, segmented + b] * offsets[segmented + b, p]
                        row = np.int32(first + j) if score < lowest else row
                        next_lowest = min(next_lowest, max(score, lowest))
                        lowest = min(score, lowest)
                    best[p], second[p], nearest[p] = lowest, next_lowest, row
            for j in range(whole, classes):
                for p in range(size):
                    score = n32[j]
                    for b in range(bands):
                        score -= q32[j, b] * offsets[b, p]
                    nearest[p] = np.int32(j) if score < best[p] else nearest[p]
                    second[p] = min(second[p], max(score, best[p]))
                    best[p] = min(score, best[p])
            for p in range(size):
                found[p] = np.uint8(nearest[p])
                flags[p] = np.uint8(second[p] - best[p] <= gap) << np.uint8(1)
            for p in range(size):
                flags[p] |= np.uint8(found[p] != before[p])
            for p in range(size, strip):
                flags[p] = 0
            # Few pixels change class, and which ones cannot be foreseen: their places are listed
            # without a branch for each, which would cost more than the sums.
            listed = 0
            for first in range(0, size, _GROUP):
                word = first // 8
                if words[word] | words[word + 1] | words[word + 2] | words[word + 3] == 0:
                    continue
                for p in range(first, first + _GROUP):
                    places[listed] = p
                    listed += int(flags[p] != 0)
            for i in range(listed):
                p = places[i]
                if flags[p] >= 2:
                    exact = np.int64(0)
                    for j in range(classes):
                        value = n[j]
                        for b in range(bands):
                            value -= q[j, b] * (np.int64(codes[b, start + p]) - midpoints[b])
                        if j == 0 or value < exact:
                            exact = value
                            found[p] = np.uint8(j)
                old, new = before[p], found[p]
                if old == new:
                    continue
                before[p] = new
                changed += 1
                counts[new] += 1
                for b in range(bands):
                    sums[new, b] += np.int64(codes[b, start + p])
                if old != UNLABELLED:
                    counts[old] -= 1
                    for b in range(bands):
                        sums[old, b] -= np.int64(codes[b, start + p])
        return changed

    # Numba's disk cache imports the kernel's module again by its name when it loads it. QGIS
    # may have loaded this folder under another name, so the kernel names one that is there.
    kernel.__module__ = numba.__name__
    # Symbols of compiled code are made from this name and a number that starts anew in each
    # process: kernels of one name that two processes have cached would be taken for each other.
    kernel.__qualname__ = kernel.__name__ = f"assign_{dtype}_{bands}_bands_{classes}_classes"
    compiled: Callable[..., int] = numba.njit(
        types, nogil=True, cache=True, fastmath=_FLOAT_RULES, error_model="numpy"
    )(kernel)
    return compiled
