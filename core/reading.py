"""From scenes to the pixel store: windows are read, masked and coded on all threads, once."""

from __future__ import annotations

import contextlib
import math
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from .codes import (
    CodeGrid,
    CodeStatistics,
    CodeTally,
    ValueRange,
    grid_for_types,
    store_dtype,
)
from .coding import Coder, RawWindow
from .errors import ParameterError, SeriesError
from .grid import Grid, Window
from .harmonisation import SceneQuantiles
from .monitor import Monitor
from .parallel import ordered_map, thread_count
from .pixels import PixelStore
from .scratch import Shelf, check_disk, memory_limit
from .valid import SceneReader

if TYPE_CHECKING:
    from .series import Series

BLOCK_PIXELS = 1 << 20
# Values, codes and temporaries of a window, for each of the windows under way on a thread.
_COPIES = 3
# Pixels of a tile and multiples of columns of the Numba kernels' balls, numba_ir.TILE and
# numba_middles.middle_columns, which cannot be imported where there is no Numba.
_TILE, _LANES = 32, 8


def read_pixels(
    series: Series,
    code_grids: Sequence[CodeGrid] | None,
    threads: int | None,
    memory_mb: int | None,
    spare: float,
    monitor: Monitor,
) -> PixelStore:
    """Read, mask and code all scenes on ``threads`` threads, within ``memory_mb`` of memory.

    ``code_grids``, one per band, are a model's; None: they come from the series. Raises
    RasterError naming the file that broke, SeriesError if no pixel is valid, OutputError if
    the pixels, or a share of them ``spare`` kept a second time, go to disk and there is no room.
    """
    typed, grids, own = grids_before_reading(series, code_grids)
    workers = thread_count(threads)
    pixels, scene = series.most_pixels, series.grid.height * series.grid.width
    under_way = workers * min(BLOCK_PIXELS, scene)
    limit = memory_limit(memory_mb)
    room = pixel_room(pixels, len(series.band_names), grids, under_way, limit, spare)
    jobs = _jobs(series)
    with contextlib.ExitStack() as stack:
        read = WindowReader(series, 2 * workers // len(series) + 2)
        shelf = Shelf(room)
        on_error = stack.enter_context(contextlib.ExitStack())
        on_error.callback(shelf.close)
        pool = stack.enter_context(ThreadPoolExecutor(workers))
        stop = threading.Event()
        stack.callback(stop.set)  # before the pool waits for its threads

        def coder(grids: Sequence[CodeGrid], totals: Totals) -> Coder:
            code = Coder(grids, shelf, Counter(rank for rank, _ in jobs), totals.close)
            # What is loaded beside takes one thread's place, lest all wait for the interpreter.
            pool.submit(code.occupy, stop)
            return code

        def run(function: Callable, items: Iterator, part: Monitor) -> Iterator:
            results = ordered_map(pool, function, items, part, ahead=2 * workers)
            for done, result in enumerate(results, start=1):
                part.progress(done / len(jobs))
                yield result

        if grids is not None:
            totals = Totals(grids, len(series))
            code = coder(grids, totals)
            blocks = list(run(lambda job: code(read(job)), iter(jobs), monitor))
        else:
            # Bands of other types show how to code them only when all have been seen. Their
            # values wait in memory as long as there is room, else they are read once more.
            survey = Survey(read, room)
            waiting = list(run(survey, iter(jobs), monitor.part(0.0, 0.7)))[::-1]
            grids = tuple(grid or item.code_grid() for grid, item in zip(typed, survey.ranges))
            totals = Totals(grids, len(series))
            code = coder(grids, totals)
            queue = (waiting.pop() for _ in range(len(waiting)))
            blocks = list(run(lambda raw: code(survey.whole(raw)), queue, monitor.part(0.7, 1.0)))
        code.end(monitor)
        totals.check_pixels(series)
        blocks.sort(key=lambda block: (block.scene, block.window.row, block.window.column))
        on_error.pop_all()
        return PixelStore(
            blocks,
            shelf,
            series.grid,
            len(series.scenes),
            grids,
            totals.statistics(),
            totals.scene_statistics,
            totals.scene_quantiles,
            code.saturated,
            read.left_out(),
            own,
        )


def grids_before_reading(
    series: Series, code_grids: Sequence[CodeGrid] | None
) -> tuple[list[CodeGrid | None], tuple[CodeGrid, ...] | None, bool]:
    """Return the grids that the bands' types call for, those to code with, and whose they are.

    None for a band whose values must decide, and for all grids where there is such a band;
    ``code_grids`` are a model's, or None. The last says whether the series' own would be the same.
    """
    typed = [
        *(grid_for_types(dtypes) for dtypes in zip(*(scene.dtypes for scene in series.scenes))),
        *(grid_for_types([dtype]) for dtype in series.static_dtypes),
    ]
    known = tuple(grid for grid in typed if grid is not None)
    if code_grids is not None:
        return typed, tuple(code_grids), tuple(code_grids) == known
    return typed, known if len(known) == len(typed) else None, True


def windows(
    grid: Grid, block_height: int, block_width: int, pixels: int, row: int = 0, column: int = 0
) -> list[Window]:
    """Cut a grid into windows of about ``pixels`` pixels along a file's own blocks.

    ``row`` and ``column`` are the grid's origin in the file.
    """
    width = grid.width
    if block_width < grid.width and block_height * grid.width > pixels:
        width = max(1, pixels // (block_height * block_width)) * block_width
    height = max(1, pixels // (width * block_height)) * block_height
    rows = _edges(grid.height, height, row)
    columns = _edges(grid.width, width, column) if width < grid.width else [0, grid.width]
    return [
        Window(top, left, bottom - top, right - left)
        for top, bottom in zip(rows, rows[1:])
        for left, right in zip(columns, columns[1:])
    ]


def _edges(size: int, step: int, origin: int) -> list[int]:
    return [0, *range(step - origin % step, size, step), size]


def _jobs(series: Series) -> list[tuple[int, Window]]:
    """Return the windows of all scenes in the order in which they are read.

    Where there are static features, the dates follow each other in each window, so that these
    are read once.
    """
    if not series.static:
        return [
            (rank, window) for rank in range(len(series)) for window in scene_windows(series, rank)
        ]
    shared = scene_windows(series, 0)
    return [(rank, window) for window in shared for rank in range(len(series))]


def scene_windows(series: Series, rank: int) -> list[Window]:
    """Return the windows in which a scene is read and written."""
    scene = series.scenes[rank]
    place = scene.source.placement
    height, width = scene.block_height, scene.block_width
    return windows(series.grid, height, width, BLOCK_PIXELS, place.row, place.column)


def pixel_room(
    pixels: int,
    bands: int,
    grids: Sequence[CodeGrid] | None,
    windows: int,
    limit: int,
    spare: float = 0.0,
) -> int:
    """Return the bytes of memory for codes: what labels and windows under way leave of a limit.

    ``pixels``, valid or not, of all scenes; ``windows`` are the pixels of those under way at a
    time. Raises ParameterError if nothing is left, OutputError if the rest, and ``spare``, a share
    of the codes that is kept a second time for a while, do not fit on disk.
    """
    size = store_dtype(grids).itemsize if grids is not None else 4
    needed = pixels * 9 // 8 + _COPIES * windows * bands * size
    if needed > limit:
        raise ParameterError(
            f"{pixels:,} pixels need {needed / 2**20:,.0f} MB for labels and the windows being "
            f"read, memory_mb allows {limit / 2**20:,.0f}: allow more, or use fewer threads."
        )
    # The Numba kernels keep a ball around each tile of pixels where there are many classes.
    ball = -(-bands // _LANES) * _LANES * size + 4
    room = max(0, limit - needed - -(-pixels // _TILE) * ball)
    check_disk(math.ceil(pixels * bands * size * (1 + spare)) - room)
    return room


class WindowReader:
    """Reads a window of a scene and leaves out what does not count, on any thread."""

    def __init__(self, series: Series, windows: int) -> None:
        self._read = SceneReader(series, windows)
        self.left_out = self._read.left_out

    def __call__(self, job: tuple[int, Window]) -> RawWindow:
        planes, valid = self._read(*job)
        return RawWindow(job, planes, None if valid.all() else valid)


class Survey:
    """Reads windows to learn the bands' ranges, and keeps the values while there is room."""

    def __init__(self, read: WindowReader, room: int) -> None:
        self._read, self._room = read, room
        self._lock = threading.Lock()
        self.ranges: list[ValueRange] = []

    def __call__(self, job: tuple[int, Window]) -> RawWindow:
        raw = self._read(job).compact()
        assert raw.planes is not None
        ranges = [ValueRange.of(plane) for plane in raw.planes]
        with self._lock:
            if self.ranges:
                ranges = [mine.merge(new) for mine, new in zip(self.ranges, ranges)]
            self.ranges = ranges
            self._room -= sum(plane.nbytes for plane in raw.planes)
            return raw if self._room >= 0 else RawWindow(job, None)

    def whole(self, raw: RawWindow) -> RawWindow:
        """Return a window with its values."""
        return raw if raw.planes is not None else self._read(raw.job)


def no_pixel(series: Series) -> SeriesError:
    """Return the error of a series without a valid pixel."""
    return SeriesError(
        "No scene has a valid pixel: check the masks, MASK_KIND and the nodata values"
        f"{', EXTENT and AREA' if series.area else ''}."
    )


class Totals:
    """The exact statistics of each scene and of all, from the scenes' tallies."""

    def __init__(self, grids: Sequence[CodeGrid], scenes: int) -> None:
        self._grids, self._all = grids, CodeTally(grids)
        nothing = SceneQuantiles.of(self._all.histograms, grids)
        self.scene_statistics: list[tuple[CodeStatistics, ...] | None] = [None] * scenes
        self.scene_quantiles: list[SceneQuantiles] = [nothing] * scenes

    def close(self, rank: int, tally: CodeTally) -> None:
        """Take the tally of a whole scene."""
        self._all.merge(tally)
        self.scene_quantiles[rank] = SceneQuantiles.of(tally.histograms, self._grids)
        self.scene_statistics[rank] = tally.statistics() if tally.pixels else None

    def check_pixels(self, series: Series) -> None:
        """Raise SeriesError if no scene has a pixel."""
        if not self._all.pixels:
            raise no_pixel(series)

    def statistics(self) -> tuple[CodeStatistics, ...]:
        """Return the statistics of each band over all scenes; there must be a pixel."""
        return self._all.statistics()

    def as_plain(self) -> tuple[Any, ...]:
        """Return the tally of all scenes, see :meth:`~.codes.CodeTally.as_plain`."""
        return self._all.as_plain()
