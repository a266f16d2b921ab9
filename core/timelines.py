"""The pixels of a series along their dates: strips of ground, all scenes at once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from .monitor import Monitor
from .parallel import ordered_map
from .pixels import Block, PixelStore

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


NO_LABEL = 255


def count_transitions(
    store: PixelStore,
    labels: tuple[np.ndarray, ...],
    classes: int,
    threads: int,
    monitor: Monitor,
) -> np.ndarray:
    """Count how pixels went from class to class between successive valid dates.

    ``labels``, from 0, are those of each block's pixels. Returns int64 (classes, classes), from
    rows to columns. Raises Cancelled from the monitor.
    """
    timelines = Timelines(store, 1)

    def count(strip: tuple[int, int]) -> np.ndarray:
        known = np.full((store.scene_count, timelines.places(strip)), NO_LABEL, np.uint8)
        for part in timelines.stretches(strip):
            known[part.block.scene, part.places] = labels[part.index][part.start : part.stop]
        counts = np.zeros(classes * classes, np.int64)
        last = known[0].copy()
        for now in known[1:]:
            seen = now != NO_LABEL
            both = seen & (last != NO_LABEL)
            pairs = last[both].astype(np.int64) * classes + now[both]
            counts += np.bincount(pairs, minlength=classes * classes)
            last[seen] = now[seen]
        return counts

    total = np.zeros(classes * classes, np.int64)
    with ThreadPoolExecutor(threads) as pool:
        for counts in ordered_map(pool, count, timelines.strips(), monitor, ahead=threads):
            total += counts
    return total.reshape(classes, classes)
