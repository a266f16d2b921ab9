"""The pixels of a series along their dates: strips of ground, all scenes at once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from .monitor import Monitor
from .parallel import ordered_map
from .pixels import Block, Labelled, PixelStore
from .smoothing import EvidenceScale, count_transitions, smooth

# Bytes for each thread: what is made of a strip's pixels on all dates at once.
_STRIP_BYTES = 1 << 26


@dataclass(frozen=True)
class Stretch:
    """The valid pixels of one block that lie in a strip.

    They are the block's pixels from ``start`` to ``stop``; ``places`` are where they lie in
    the strip, row by row, int64 (pixels,).
    """

    index: int
    block: Block
    start: int
    stop: int
    places: np.ndarray


class Timelines:
    """Cuts a store into strips of rows and finds each scene's pixels of a strip."""

    def __init__(self, store: PixelStore, bytes_per_pixel: int) -> None:
        """Make strips so low that ``bytes_per_pixel`` for each place and date stay in bounds."""
        self._width, self._height = store.grid.width, store.grid.height
        self._scenes = store.scene_count
        row_bytes = self._width * store.scene_count * bytes_per_pixel
        self._rows = max(1, min(self._height, _STRIP_BYTES // max(1, row_bytes)))
        self._blocks = list(enumerate(store.blocks))

    def strips(self) -> list[tuple[int, int]]:
        """Return the first row of each strip, and the row after its last."""
        return [
            (top, min(top + self._rows, self._height)) for top in range(0, self._height, self._rows)
        ]

    def places(self, strip: tuple[int, int]) -> int:
        """Return the number of places in a strip."""
        return (strip[1] - strip[0]) * self._width

    def stretches(self, strip: tuple[int, int]) -> Iterator[Stretch]:
        """Yield what lies in a strip, scene by scene."""
        top, bottom = strip
        for index, block in self._blocks:
            window = block.window
            first, last = max(top - window.row, 0), min(bottom - window.row, window.height)
            if first >= last:
                continue
            valid = block.valid()
            if valid is None:
                start, stop = first * window.width, last * window.width
                local = np.arange(start, stop)
            else:
                start = int(np.count_nonzero(valid[: first * window.width]))
                inside = valid[first * window.width : last * window.width]
                local = first * window.width + np.flatnonzero(inside)
                stop = start + len(local)
            rows, columns = np.divmod(local, window.width)
            rows += window.row - top
            places = rows * self._width + columns + window.column
            yield Stretch(index, block, start, stop, places)


def transitions(
    store: PixelStore,
    labels: tuple[np.ndarray, ...],
    classes: int,
    threads: int,
    monitor: Monitor,
) -> np.ndarray:
    """Count how pixels go from class to class along their dates: int64 (from, to).

    ``labels``, from 0, are those of each block's pixels. Raises Cancelled from the monitor.
    """
    timelines = Timelines(store, 8)

    def count(strip: tuple[int, int]) -> np.ndarray:
        known = np.zeros((store.scene_count, timelines.places(strip)), np.uint8)
        for part in timelines.stretches(strip):
            of_block = labels[part.index][part.start : part.stop]
            known[part.block.scene, part.places] = of_block + np.uint8(1)
        return count_transitions(known, classes)

    total = np.zeros((classes, classes), np.int64)
    with ThreadPoolExecutor(threads) as pool:
        for counts in ordered_map(pool, count, timelines.strips(), monitor, ahead=threads):
            total += counts
    return total


def smoothed(
    store: PixelStore,
    labelled: Labelled,
    inertia_per_pixel: float,
    costs: np.ndarray,
    threads: int,
    monitor: Monitor,
) -> Labelled:
    """Return labels smoothed along the dates; see :mod:`.smoothing`.

    ``inertia_per_pixel`` is the mean squared distance of the fit, ``costs`` those of
    transitions, int32 (from, to). The sums of the result are of its counts only: code sums stay
    those of the nearest signatures. Raises Cancelled from the monitor.
    """
    scores, classes = labelled.scores, labelled.scores.classes
    bands = scores.q.shape[2]
    scales = [
        EvidenceScale.of(float(scale), inertia_per_pixel, 1, bands) for scale in scores.scales
    ]
    labels = tuple(of_block.copy() for of_block in labelled.labels)
    timelines = Timelines(store, 4 * classes + 8)

    def smooth_strip(strip: tuple[int, int]) -> np.ndarray:
        shape = store.scene_count, classes, timelines.places(strip)
        evidence, valid = np.zeros(shape, np.int32), np.zeros((shape[0], shape[2]), bool)
        parts = list(timelines.stretches(strip))
        for part in parts:
            scene = part.block.scene
            codes = part.block.codes.part(part.start, part.stop)
            # Whole numbers below 2^53: exact in float64, whatever BLAS does.
            offsets: np.ndarray = codes - scores.midpoints[:, None].astype(np.float64)
            found = scores.n[scene][:, None] - scores.q[scene].astype(np.float64) @ offsets
            evidence[scene][:, part.places] = scales[scene].costs(found.astype(np.int64))
            valid[scene, part.places] = True
        steady = smooth(evidence, valid, costs)
        counts = np.zeros((store.scene_count, classes), np.int64)
        for part in parts:
            chosen = steady[part.block.scene, part.places] - np.uint8(1)
            labels[part.index][part.start : part.stop] = chosen
            counts[part.block.scene] += np.bincount(chosen, minlength=classes)
        return counts

    total = np.zeros((store.scene_count, classes), np.int64)
    strips = timelines.strips()
    with ThreadPoolExecutor(threads) as pool:
        results = ordered_map(pool, smooth_strip, strips, monitor, ahead=threads)
        for done, counts in enumerate(results, start=1):
            total += counts
            monitor.progress(done / len(strips))
    partials = replace(labelled.partials, counts=total)
    return Labelled(scores, labels, partials)
