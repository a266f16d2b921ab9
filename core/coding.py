"""From windows of values to blocks of codes, counted while they are at hand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import Any

import numpy as np

from .backends.base import is_usable
from .codes import CodeGrid, CodeTally, count_codes, store_dtype
from .grid import Window
from .monitor import Monitor
from .parallel import POLL_SECONDS, awaited, begun
from .pixels import Block
from .scratch import Shelf
from .tiling import in_tiles

WORD = 64
"""Bits of a word that says which pixels are valid."""

GatherCodes = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], None]
"""A function that does what :func:`gather_codes` does."""


@dataclass(frozen=True)
class RawWindow:
    """The values of a window by band; None while they wait on disk.

    They are (height, width), as is ``valid``, which says which pixels count (None: all); or they
    are in the order of :mod:`.tiling`, (pixels,), without those of pixels that do not count:
    ``packed`` holds the window's valid pixels as bits, in that order, if not all are.
    """

    job: tuple[int, Window]
    planes: Sequence[np.ndarray] | None
    valid: np.ndarray | None = None
    packed: np.ndarray | None = None

    def compact(self) -> RawWindow:
        """Return the window with values in order, without those that do not count."""
        if self.planes is None or self.planes[0].ndim == 1:
            return self
        planes = [in_tiles(plane) for plane in self.planes]
        if self.valid is None:
            return RawWindow(self.job, planes)
        order = in_tiles(self.valid)
        return RawWindow(self.job, [plane[order] for plane in planes], packed=np.packbits(order))


class Coder:
    """Codes windows on any thread, and tallies each scene's codes.

    ``windows`` says how many windows each scene has: with the last one, ``close`` is given its
    rank and tally, by one thread at a time. What does it fastest is loaded, or compiled, while
    the first windows are read and coded without it, to the same numbers; :meth:`end` is to be
    called when all are done.
    """

    def __init__(
        self,
        grids: Sequence[CodeGrid],
        shelf: Shelf,
        windows: Mapping[int, int],
        close: Callable[[int, CodeTally], None],
    ) -> None:
        self._grids, self._dtype, self._shelf = grids, store_dtype(grids), shelf
        self._wide = any(grid.wide for grid in grids)
        self._kernel: Future[Any] = begun(lambda: _kernel(self._dtype))
        self._lock = threading.Lock()
        self._left = dict(windows)
        self._open: dict[int, CodeTally] = {}
        self._close = close
        self.saturated = [0] * len(grids)

    def __call__(self, raw: RawWindow) -> Block:
        valid = None
        if self._wide:
            raw = raw.compact()
            codes, outside, tally = self._counted(raw)
        else:
            valid = None if raw.valid is None else in_tiles(raw.valid)
            codes, outside, tally = self._gathered(raw, valid)
        rank, window = raw.job
        with self._lock:
            self.saturated = [old + new for old, new in zip(self.saturated, outside)]
            scene = self._open.setdefault(rank, tally)
            if scene is not tally:
                scene.merge(tally)
            self._left[rank] -= 1
            if not self._left[rank]:
                del self._open[rank]
                self._close(rank, scene)
        packed = raw.packed if valid is None else np.packbits(valid)
        return Block(rank, window, self._shelf.put(codes), packed)

    def occupy(self, stop: threading.Event) -> None:
        """Take a thread's place while something is compiled, until ``stop`` is set."""
        while not (stop.is_set() or self._kernel.done()):
            wait([self._kernel], timeout=POLL_SECONDS)

    def end(self, monitor: Monitor) -> None:
        """Wait for what is still being compiled, so that it does not outlive the process."""
        awaited(self._kernel, monitor)

    def _gathered(
        self, raw: RawWindow, valid: np.ndarray | None
    ) -> tuple[np.ndarray, list[int], CodeTally]:
        """Return a window's codes, values outside by band, and the tally, of narrow grids.

        ``valid`` are its valid pixels in order, (pixels,), if there are planes and not all are.
        """
        assert raw.planes is not None
        gather: GatherCodes = self._loaded() or gather_codes
        size = raw.planes[0].size
        some = None if valid is None else valid_words(valid)
        pixels = size if valid is None else int(np.count_nonzero(valid))
        every = valid_words(np.ones(pixels, bool))
        codes, outside = np.empty((len(self._grids), pixels), self._dtype), []
        tally = CodeTally(self._grids)
        for grid, plane, found, counts in zip(self._grids, raw.planes, codes, tally.histograms):
            if valid is None or grid.holds(plane.dtype):
                words = every if some is None else some
            else:  # what is left out must not count as outside
                plane, words = in_tiles(plane)[valid], every
            values, saturated = grid.encode(plane, self._dtype)
            # What is in order already is a plane one pixel high.
            values = np.ascontiguousarray(np.atleast_2d(values))
            gather(values, words, found, counts)
            outside.append(saturated)
        return codes, outside, tally.counted(pixels)

    def _counted(self, raw: RawWindow) -> tuple[np.ndarray, list[int], CodeTally]:
        """Return what :meth:`_gathered` does, of any grids; the window is compact."""
        assert raw.planes is not None
        codes, outside = np.empty((len(self._grids), raw.planes[0].size), self._dtype), []
        for found, grid, plane in zip(codes, self._grids, raw.planes):
            found[:], saturated = grid.encode(plane, self._dtype)
            outside.append(saturated)
        return codes, outside, CodeTally(self._grids, self._loaded() or count_codes).add(codes)

    def _loaded(self) -> Any:
        return self._kernel.result() if self._kernel.done() else None


def valid_words(valid: np.ndarray) -> np.ndarray:
    """Return booleans, (pixels,), as bits of uint64, the first pixel's lowest; the rest is 0.

    There is one word more than it takes, so that bits may be looked at beyond the last.
    """
    packed = np.zeros((-(-valid.size // WORD) + 1) * (WORD // 8), np.uint8)
    packed[: -(-valid.size // 8)] = np.packbits(valid, bitorder="little")
    return packed.view("<u8").astype(np.uint64, copy=False)


def gather_codes(
    values: np.ndarray, words: np.ndarray, codes: np.ndarray, counts: np.ndarray
) -> None:
    """Put the valid ones of a band's codes together in the order of tiles, and count them.

    ``values``, uint16 (height, width); ``words`` from :func:`valid_words`, in that order, too;
    ``codes``, uint16 (pixels,), takes them, and ``counts``, int64 (65,536,), how often each is
    there.
    """
    ordered = in_tiles(values)
    if codes.size == ordered.size:
        codes[:] = ordered
    else:
        bits = np.unpackbits(
            words.astype("<u8", copy=False).view(np.uint8), count=ordered.size, bitorder="little"
        )
        codes[:] = ordered[bits.view(bool)]
    counts += np.bincount(codes, minlength=counts.size)


def _kernel(dtype: np.dtype) -> Any:
    """Return the fastest way there is to count codes of a dtype, None if that is NumPy's."""
    if not is_usable("numba"):
        return None
    from .backends import numba_tally

    if dtype == np.uint16:
        return numba_tally.gathering_kernel()
    return numba_tally.counting_kernel(dtype.name)
