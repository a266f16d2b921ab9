"""What workers do: functions that are called by name, with numbers, arrays, text and parts.

Each takes a monitor first, which says when the client has stopped the run.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import importlib
import os
import sys
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import astuple
from typing import Any, Optional

import numpy as np
from distributed import get_worker

from ..areas import row_counts
from ..backends.base import Yardstick
from ..codes import CodeGrid, CodeTally, ValueRange
from ..coding import Coder, RawWindow
from ..errors import EngineError, IikmcError
from ..grid import Grid, Window
from ..monitor import Monitor
from ..parallel import beside
from ..pixels import Block
from ..raster.labels import label_counters
from ..reading import Survey, Totals, WindowReader, pixel_room
from ..scene_rasters import Tile
from ..scratch import Shelf, memory_limit
from ..series import Series
from . import plain
from .part import Part, part_store

Room = tuple[Optional[int], int, int]
"""MEMORY_MB of a worker, how many parts it has, and how many workers share a machine."""
Smoothing = Optional[tuple[float, np.ndarray]]
"""Mean squared distance and costs of transitions; None: labels stay as they are."""
FAILED = "iikmc failed"
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h

_stopped: set[str] = set()
_busy: Counter[str] = Counter()
_series: OrderedDict[str, Series] = OrderedDict()
_lent: dict[str, Sequence[Block]] = {}
_lock = threading.Lock()


class _Watch(Monitor):
    """Says that a run is cancelled once its client has stopped it."""

    def __init__(self, run: str) -> None:
        self._run = run

    def cancelled(self) -> bool:
        return self._run in _stopped


def perform(name: str, run: str, worker: str, arguments: Sequence[Any]) -> Any:
    """Call a function of this module; the engine's errors come back as text.

    They are RuntimeErrors of FAILED, the name of the error's class, its message, and the worker.
    """
    monitor = _Watch(run)
    with _lock:
        _busy[run] += 1
    try:
        monitor.check()
        return globals()[name](monitor, *arguments)
    except IikmcError as error:
        found = type(error).__name__, str(error)
    finally:
        with _lock:
            _busy[run] -= 1
    # Not while the error is handled: it would travel along as the context, and GDAL's cannot.
    raise RuntimeError(FAILED, *found, worker)


async def at_once(
    worker: Any, name: str, run: str, keys: Sequence[str], threads: int, shared: Sequence[Any]
) -> tuple[tuple[np.ndarray, ...] | None, list[str]]:
    """Call a function on the parts that lie here, on the worker's own threads.

    Returns the sums, and the keys of the parts they are of; others are not here any more.
    """
    # Only what is in memory: the rest would be unpacked here, where messages wait.
    data = getattr(worker.data, "fast", worker.data)
    held = {key: data[key] for key in keys if key in data}
    parts, loop = list(held.values()), asyncio.get_running_loop()

    def work(first: int) -> tuple[np.ndarray, ...]:
        sums: tuple[np.ndarray, ...] | None = None
        for part in parts[first::threads]:
            term = perform(name, run, worker.address, (part, *shared))
            sums = term if sums is None else add(Monitor(), (sums, term))
        assert sums is not None
        return sums

    pool = worker.executors["default"]
    shares = range(min(threads, len(parts)))
    found = await asyncio.gather(*(loop.run_in_executor(pool, work, first) for first in shares))
    return (add(Monitor(), found) if found else None), list(held)


def stop(run: str) -> None:
    """Let the tasks of a run end soon."""
    _stopped.add(run)


def busy(run: str) -> int:
    """Return how many tasks of a run are under way here."""
    return _busy[run]


def forget(run: str) -> None:
    """Free what was kept for a run that is over; what of it has yet to begin ends at once."""
    _stopped.add(run)
    with _lock:
        _busy.pop(run, None)
        for key in [key for key in _series if key.startswith(run)]:
            _series.pop(key).close()


def _keep_freed_memory() -> None:
    """Let glibc keep what was freed, up to some 256 MB.

    Dask's nanny starts workers with MALLOC_TRIM_THRESHOLD_, so that each buffer of a window is
    mapped anew, page by page: reading takes 1.7 times as long.
    """
    if sys.platform == "linux" and os.environ.get("MALLOC_TRIM_THRESHOLD_"):
        with contextlib.suppress(OSError, AttributeError):  # another C library has no mallopt
            mallopt = ctypes.CDLL(None).mallopt
            mallopt(_M_TRIM_THRESHOLD, 256 << 20)
            mallopt(_M_MMAP_THRESHOLD, 32 << 20)


def read(
    monitor: Monitor,
    series: tuple[str, dict[str, Any], tuple[Any, ...]],
    jobs: Sequence[tuple[int, ...]],
    grids: Sequence[tuple[Any, ...]],
    room: Room,
) -> Part:
    """Read and code windows: rows of scene, row, column, height, width."""
    _keep_freed_memory()
    opened = _opened(*series)
    windows = [(rank, Window(*place)) for rank, *place in jobs]
    reader = WindowReader(opened, 2)
    raw = (reader(job) for job in windows)
    return _coded(monitor, opened, reader, raw, windows, grids, room)


class Surveyed:
    """Windows whose values are known but not how to code them.

    It travels as what to read, which the first task that asks for it reads again: what arrives
    at a worker is unpacked outside of any task.
    """

    def __init__(
        self,
        series: tuple[str, dict[str, Any], tuple[Any, ...]],
        jobs: Sequence[tuple[int, ...]],
        room: Room,
    ) -> None:
        self._given = series, jobs, room
        self._lock = threading.Lock()
        self._seen: _Seen | None = None

    def seen(self, monitor: Monitor) -> _Seen:
        """Return the windows once they have been read."""
        with self._lock:
            if self._seen is None:
                self._seen = _Seen(*self._given, monitor)
            return self._seen

    def __sizeof__(self) -> int:
        """Say what is kept, so that a scheduler does not move it, for it would be read again."""
        return 0 if self._seen is None else self._seen.bytes_in_memory

    def __reduce__(self) -> tuple[Any, ...]:
        return Surveyed, self._given


class _Seen:
    """Windows that have been read, and as many of their values as there is room for."""

    def __init__(
        self,
        series: tuple[str, dict[str, Any], tuple[Any, ...]],
        jobs: Sequence[tuple[int, ...]],
        room: Room,
        monitor: Monitor,
    ) -> None:
        self.series = _opened(*series)
        self.windows = [(rank, Window(*place)) for rank, *place in jobs]
        self.reader = WindowReader(self.series, 2)
        self._survey = Survey(self.reader, _room(room, self.series, self.windows, None))
        self._waiting: list[RawWindow] = []
        for job in self.windows:
            monitor.check()
            self._waiting.append(self._survey(job))

    @property
    def bytes_in_memory(self) -> int:
        """How much memory the values take."""
        return sum(plane.nbytes for item in self._waiting for plane in item.planes or ())

    @property
    def ranges(self) -> list[ValueRange]:
        """What was seen of each band."""
        return self._survey.ranges

    def raw(self) -> Iterator[RawWindow]:
        """Yield the windows with their values."""
        return (self._survey.whole(item) for item in self._waiting)


def survey(
    monitor: Monitor,
    series: tuple[str, dict[str, Any], tuple[Any, ...]],
    jobs: Sequence[tuple[int, ...]],
    room: Room,
) -> Surveyed:
    """Read windows to learn the bands' ranges."""
    _keep_freed_memory()
    surveyed = Surveyed(series, jobs, room)
    surveyed.seen(monitor)
    return surveyed


def ranges(monitor: Monitor, surveyed: Surveyed) -> list[tuple[Any, ...]]:
    """Return the ranges of the bands."""
    return plain.ranges_out(surveyed.seen(monitor).ranges)


def code(
    monitor: Monitor, surveyed: Surveyed, grids: Sequence[tuple[Any, ...]], room: Room
) -> Part:
    """Code windows that were surveyed."""
    seen = surveyed.seen(monitor)
    return _coded(monitor, seen.series, seen.reader, seen.raw(), seen.windows, grids, room)


def _coded(
    monitor: Monitor,
    series: Series,
    reader: WindowReader,
    raw: Any,
    windows: Sequence[tuple[int, Window]],
    grids: Sequence[tuple[Any, ...]],
    room: Room,
) -> Part:
    known = plain.grids_in(grids)
    shelf = Shelf(_room(room, series, windows, known))
    tallies: dict[int, tuple[Any, ...]] = {}

    def close(rank: int, tally: CodeTally) -> None:
        tallies[rank] = tally.as_plain()

    coder = Coder(known, shelf, Counter(rank for rank, _ in windows), close)
    blocks: list[Block] = []
    for item in raw:
        monitor.check()
        blocks.append(coder(item))
    coder.end(monitor)
    blocks.sort(key=lambda block: (block.scene, block.window.row, block.window.column))
    store = part_store(
        blocks, shelf, series.grid, len(series), known, coder.saturated, reader.left_out()
    )
    return Part(store, tallies)


def pixels(monitor: Monitor, part: Part) -> int:
    """Return how many valid pixels a part has."""
    return part.store.pixels


def facts(monitor: Monitor, part: Part) -> tuple[np.ndarray, list[int], np.ndarray]:
    """Return a part's pixels by scene, saturated values by band, and pixels left out."""
    store = part.store
    return store.scene_pixels, list(store.saturated), store.left_out


def tallies(monitor: Monitor, part: Part, first: int, stop: int) -> dict[int, tuple[Any, ...]]:
    """Return the tallies of scenes ``first`` to ``stop`` (not included)."""
    return {rank: part.tallies[rank] for rank in range(first, stop) if rank in part.tallies}


def merge_tallies(
    monitor: Monitor,
    grids: Sequence[tuple[Any, ...]],
    first: int,
    stop: int,
    groups: Sequence[dict[int, tuple[Any, ...]]],
) -> tuple[list[tuple[Any, Any]], tuple[Any, ...]]:
    """Return each scene's statistics and quantiles from the tallies of all parts, and a total."""
    known = plain.grids_in(grids)
    totals = Totals(known, stop - first)
    for rank in range(first, stop):
        monitor.check()
        tally = CodeTally(known)
        for group in groups:
            if rank in group:
                tally.add_plain(group[rank])
        totals.close(rank - first, tally)
    scenes = [
        (plain.statistics_out(found), plain.quantiles_out(quantiles))
        for found, quantiles in zip(totals.scene_statistics, totals.scene_quantiles)
    ]
    return scenes, totals.as_plain()


def lend(key: str, blocks: Sequence[Block]) -> None:
    """Let :func:`borrow` find blocks of this process."""
    _lent[key] = blocks


def take_back(key: str) -> None:
    """End a loan."""
    _lent.pop(key, None)


def borrow(monitor: Monitor, key: str, first: int, stop: int, scenes: int) -> Part:
    """Return a part of blocks that this process has lent."""
    nothing = np.zeros((scenes, 0), np.int64)
    grid = Grid("", (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), 1, 1)
    store = part_store(_lent[key][first:stop], Shelf(0), grid, scenes, (), (), nothing)
    return Part(store, {})


def labels(monitor: Monitor, part: Part, scores: plain.PlainScores) -> tuple[np.ndarray, ...]:
    """Return the labels that scores gave each block."""
    return part.labels(scores, monitor)


def settle(monitor: Monitor, part: Part) -> None:
    """Free the tallies, once they have been merged."""
    part.tallies.clear()


def each(
    monitor: Monitor, part: Part, function: tuple[str, str], arguments: Sequence[Any]
) -> list[tuple[int, Any]]:
    """Return each block's scene and what a function of the engine makes of it."""
    found, results = _function(function), []
    for block in part.store.blocks:
        monitor.check()
        results.append((block.scene, found(block, *arguments)))
    return results


def derive(
    monitor: Monitor, part: Part, function: tuple[str, str], arguments: Sequence[Any], room: Room
) -> Part:
    """Return a part of the codes that a function takes from each block."""
    found, blocks, store = _function(function), [], part.store
    shelf = Shelf(_allowance(room) // room[1] // 4)  # beside the codes themselves
    for block in store.blocks:
        monitor.check()
        codes = np.ascontiguousarray(found(block, *arguments))
        if codes.shape[1]:
            blocks.append(Block(block.scene, block.window, shelf.put(codes), None))
    scenes, grids = store.scene_count, store.code_grids
    none = np.zeros_like(store.left_out)
    return Part(part_store(blocks, shelf, store.grid, scenes, grids, store.saturated, none), {})


def step(
    monitor: Monitor, part: Part, before: plain.PlainScores | None, after: plain.PlainScores
) -> tuple[np.ndarray, ...]:
    """Label a part by scores; return sums, counts, and how many labels are new."""
    partials = part.step(before, after, monitor)
    return partials.sums, partials.counts, np.array(partials.changed, np.int64)


def measure(
    monitor: Monitor, part: Part, scores: plain.PlainScores, yardstick: tuple[Any, ...]
) -> tuple[np.ndarray, ...]:
    """Return the sums of what is measured of each class."""
    found = part.measure(scores, Yardstick(*yardstick), monitor)
    return found.distances, found.silhouettes


def class_counts(
    monitor: Monitor, part: Part, scores: plain.PlainScores, smoothing: Smoothing
) -> tuple[np.ndarray]:
    """Return how many pixels each scene has of each class, int64 (scenes, classes)."""
    counts = np.zeros((part.store.scene_count, scores[2].shape[1]), np.int64)
    labels = part.labels_after(scores, smoothing, monitor)
    for block, found in zip(part.store.blocks, labels):
        counts[block.scene] += np.bincount(found, minlength=counts.shape[1])
    return (counts,)


def class_rows(
    monitor: Monitor, part: Part, scores: plain.PlainScores, smoothing: Smoothing
) -> list[tuple[int, int, np.ndarray]]:
    """Return scene, first row and counts of the classes by row, for each block."""
    classes = scores[2].shape[1]
    labels = part.labels_after(scores, smoothing, monitor)
    return [
        (block.scene, block.window.row, row_counts(block.spread(found + np.uint8(1)), classes))
        for block, found in zip(part.store.blocks, labels)
    ]


def tiles(
    monitor: Monitor,
    part: Part,
    scores: plain.PlainScores,
    smoothing: Smoothing,
    rank: int,
    measuring: tuple[Any, ...] | None,
) -> list[tuple[Any, ...]]:
    """Return windows of a scene with its class numbers and measures."""
    measure = None if measuring is None else plain.measure_in(measuring)
    found = []
    labels = part.labels_after(scores, smoothing, monitor)
    for block, of_block in zip(part.store.blocks, labels):
        if block.scene == rank:
            monitor.check()
            tile = Tile.of(block, of_block, measure)
            found.append((astuple(tile.window), tile.labels, tile.measures))
    return found


def write(
    monitor: Monitor,
    rasters: tuple[Any, ...],
    places: Sequence[tuple[int, ...]],
    class_pixels: np.ndarray,
    parts: Sequence[list[tuple[Any, ...]]],
) -> np.ndarray | None:
    """Put the tiles of a scene together and write its rasters; return its classes' hectares.

    They are written window by window as without workers, so that the files have the same bytes.
    """
    known = plain.rasters_in(rasters)
    count = beside(lambda: label_counters(known.grid), monitor)
    shape = known.grid.height, known.grid.width
    labels = np.zeros(shape, np.uint8)
    measures = [np.full(shape, np.nan, np.float32) for _ in known.kinds]
    for row, column, height, width, numbers, planes in (
        (*place, numbers, planes) for part in parts for place, numbers, planes in part
    ):
        inside = slice(row, row + height), slice(column, column + width)
        labels[inside] = numbers
        for measure, plane in zip(measures, planes):
            measure[inside] = plane

    def planes_of_windows() -> Iterator[tuple[Window, tuple[np.ndarray, ...]]]:
        for row, column, height, width in places:
            inside = slice(row, row + height), slice(column, column + width)
            yield Window(row, column, height, width), tuple(plane[inside] for plane in measures)

    return known.write(labels, planes_of_windows(), class_pixels, count, monitor.check)


def add(monitor: Monitor, terms: Sequence[tuple[np.ndarray, ...]]) -> tuple[np.ndarray, ...]:
    """Return the sums of integer arrays, place by place."""
    return tuple(sum(arrays[1:], arrays[0]) for arrays in zip(*terms))


def _allowance(room: Room) -> int:
    """Return the bytes of memory for all parts of this worker, of what client and Dask allow."""
    memory_mb, _, crowding = room
    limit = get_worker().memory_manager.memory_limit
    allowed = memory_limit(memory_mb) // (1 if memory_mb else crowding)
    # Dask writes to disk and stops workers from 0.6 of its limit on.
    return min(allowed, limit // 2) if limit else allowed


def _room(
    room: Room,
    series: Series,
    windows: Sequence[tuple[int, Window]],
    grids: Sequence[CodeGrid] | None,
) -> int:
    """Return the bytes of memory for the codes of a part: its share of what the worker has."""
    _, parts, _ = room
    sizes = [window.height * window.width for _, window in windows]
    under_way = get_worker().state.nthreads * max(sizes)
    bands = len(series.band_names)
    return pixel_room(parts * sum(sizes), bands, grids, under_way, _allowance(room)) // parts


def _function(name: tuple[str, str]) -> Any:
    module, function = name
    root = __name__.rsplit(".core.", 1)[0]
    return getattr(importlib.import_module(f"{root}.{module}"), function)


def _opened(key: str, recipe: dict[str, Any], likeness: tuple[Any, ...]) -> Series:
    """Return the series of a run, opened once on each worker."""
    with _lock:
        known = _series.get(key)
    if known is None:
        known = plain.opened(recipe)
        if plain.likeness(known) != likeness:
            raise EngineError(
                "A worker sees other scenes under the same paths than the client does: give paths "
                "that mean the same files everywhere."
            )
        with _lock:
            known = _series.setdefault(key, known)
    return known
