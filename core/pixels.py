"""The pixel store: the valid pixels of a series as blocks of band planes of codes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .codes import (
    CodeGrid,
    CodeStatistics,
    CodeTally,
    ValueRange,
    grid_for_types,
    store_dtype,
)
from .errors import SeriesError
from .grid import Grid, Window
from .masks import valid_pixels
from .monitor import Monitor
from .parallel import ordered_map, thread_count
from .raster import Reader

if TYPE_CHECKING:
    from .series import Scene, Series

BLOCK_PIXELS = 1 << 20


@dataclass(frozen=True)
class Block:
    """A window of a scene: the codes of its valid pixels in row order, shape (bands, pixels).

    ``packed`` holds the window's valid pixels as bits, None where all are valid.
    """

    scene: int
    window: Window
    codes: np.ndarray
    packed: np.ndarray | None

    @property
    def pixels(self) -> int:
        """Number of valid pixels."""
        return int(self.codes.shape[1])

    def valid(self) -> np.ndarray | None:
        """Return which pixels are valid, shape (height · width,); None if all are."""
        if self.packed is None:
            return None
        count = self.window.height * self.window.width
        return np.unpackbits(self.packed, count=count).view(bool)

    def spread(self, labels: np.ndarray) -> np.ndarray:
        """Put the valid pixels' labels in their places: (height, width), 0 elsewhere."""
        shape = (self.window.height, self.window.width)
        valid = self.valid()
        if valid is None:
            return labels.reshape(shape)
        whole = np.zeros(valid.size, labels.dtype)
        whole[valid] = labels
        return whole.reshape(shape)


class PixelStore:
    """All valid pixels of a series, read once, as codes in memory.

    ``blocks`` are in the order of the scenes. ``own`` says whether the code grids come from
    the series itself rather than from a model.
    """

    def __init__(
        self,
        blocks: Sequence[Block],
        grid: Grid,
        scene_count: int,
        code_grids: Sequence[CodeGrid],
        statistics: Sequence[CodeStatistics],
        saturated: Sequence[int],
        own: bool,
    ) -> None:
        self.blocks = tuple(blocks)
        self.grid = grid
        self.scene_count = scene_count
        self.code_grids = tuple(code_grids)
        self.statistics = tuple(statistics)
        self.saturated = tuple(saturated)
        self._own = own

    @property
    def pixels(self) -> int:
        """Number of valid pixels of all scenes together."""
        return sum(block.pixels for block in self.blocks)

    @property
    def scene_pixels(self) -> np.ndarray:
        """Number of valid pixels of each scene, int64, shape (scenes,)."""
        counts = np.zeros(self.scene_count, np.int64)
        for block in self.blocks:
            counts[block.scene] += block.pixels
        return counts

    def serves(self, code_grids: Sequence[CodeGrid] | None) -> bool:
        """Return whether this store is what reading with these grids would give."""
        return self._own if code_grids is None else self.code_grids == tuple(code_grids)

    def warn_saturated(self, band_names: Sequence[str], monitor: Monitor) -> None:
        """Warn of values outside the range of a band's codes; they took its nearest end."""
        for name, count in zip(band_names, self.saturated):
            if count:
                monitor.warning(
                    f"{count:,} values of band {name} lie far outside the others and were cut "
                    "to the nearest value that can be told apart; check the nodata value."
                )

    @classmethod
    def read(
        cls,
        series: Series,
        code_grids: Sequence[CodeGrid] | None,
        threads: int | None,
        monitor: Monitor,
    ) -> PixelStore:
        """Read, mask and code all scenes on ``threads`` threads.

        Raises RasterError naming the file that broke, SeriesError if no pixel is valid.
        """
        typed = _grids_for_types(series.scenes)
        known = tuple(grid for grid in typed if grid is not None)
        grids = tuple(code_grids) if code_grids is not None else None
        if grids is None and len(known) == len(typed):
            grids = known
        jobs = [
            (rank, window)
            for rank, scene in enumerate(series.scenes)
            for window in windows(series.grid, scene.block_height, scene.block_width, BLOCK_PIXELS)
        ]
        reader = Reader()
        workers = thread_count(threads)
        with ThreadPoolExecutor(workers) as pool:
            try:
                # Integer bands are coded as they are read; others wait until all are seen.
                loading = monitor.part(0.0, 1.0 if grids else 0.7)
                read = _Read(series, reader, grids)
                raw = list(_tracked(pool, read, jobs, loading, workers))
                if grids is None:
                    grids = tuple(
                        grid or item.code_grid() for grid, item in zip(typed, read.ranges)
                    )
                    encode = _Encode(grids)
                    coding = monitor.part(0.7, 1.0)
                    # Each raw block is let go as soon as it is coded.
                    raw.reverse()
                    queue = (raw.pop() for _ in range(len(raw)))
                    blocks = list(_tracked(pool, encode, queue, coding, workers, len(jobs)))
                    tally, saturated = encode.tally, encode.saturated
                else:
                    blocks, tally, saturated = raw, read.encode.tally, read.encode.saturated
            finally:
                reader.close()
        if not tally.pixels:
            raise SeriesError(
                "No scene has a valid pixel: check the masks, MASK_KIND and the nodata values."
            )
        return cls(
            blocks,
            series.grid,
            len(series.scenes),
            grids,
            tally.statistics(),
            saturated,
            own=code_grids is None or grids == known,
        )


def windows(grid: Grid, block_height: int, block_width: int, pixels: int) -> list[Window]:
    """Cut a grid into windows of about ``pixels`` pixels along a file's own blocks."""
    width = grid.width
    if block_width < grid.width and block_height * grid.width > pixels:
        width = max(1, pixels // (block_height * block_width)) * block_width
    height = max(1, pixels // (width * block_height)) * block_height
    return [
        Window(row, column, min(height, grid.height - row), min(width, grid.width - column))
        for row in range(0, grid.height, height)
        for column in range(0, grid.width, width)
    ]


class _Encode:
    """Codes blocks on any thread, and keeps the exact statistics of all of them."""

    def __init__(self, grids: Sequence[CodeGrid]) -> None:
        self._grids, self._dtype = grids, store_dtype(grids)
        self._lock = threading.Lock()
        self.tally = CodeTally(grids)
        self.saturated = [0] * len(grids)

    def __call__(self, block: Block) -> Block:
        coded = [grid.encode(plane, self._dtype) for grid, plane in zip(self._grids, block.codes)]
        codes = np.stack([plane for plane, _ in coded])
        tally = CodeTally(self._grids).add(codes)
        with self._lock:
            self.tally.merge(tally)
            self.saturated = [old + new for old, (_, new) in zip(self.saturated, coded)]
        return Block(block.scene, block.window, codes, block.packed)


class _Read:
    """Reads and masks a window of a scene, and codes it where the grids are known."""

    def __init__(self, series: Series, reader: Reader, grids: Sequence[CodeGrid] | None) -> None:
        self._series, self._reader = series, reader
        self._lock = threading.Lock()
        self.encode = _Encode(grids or ())
        self.ranges: list[ValueRange] = []
        self._known = grids is not None

    def __call__(self, job: tuple[int, Window]) -> Block:
        rank, window = job
        scene = self._series.scenes[rank]
        values = self._reader.read(scene.path, scene.bands, window)
        valid = self._valid(scene, window, values)
        flat = values.reshape(values.shape[0], -1)
        packed = None
        if not valid.all():
            flat = flat[:, valid.reshape(-1)]
            packed = np.packbits(valid)
        block = Block(rank, window, flat, packed)
        if self._known:
            return self.encode(block)
        ranges = [ValueRange.of(plane) for plane in flat]
        with self._lock:
            if self.ranges:
                ranges = [mine.merge(new) for mine, new in zip(self.ranges, ranges)]
            self.ranges = ranges
        return block

    def _valid(self, scene: Scene, window: Window, values: np.ndarray) -> np.ndarray:
        valid = np.ones(values.shape[1:], bool)
        for plane, nodata in zip(values, scene.nodata):
            if nodata is not None:
                valid &= plane != _nodata_as(nodata, plane.dtype)
            if plane.dtype.kind == "f":
                valid &= np.isfinite(plane)
        if scene.has_mask:
            valid &= self._reader.read_mask(scene.path, window)
        if scene.mask is not None:
            mask = self._reader.read(scene.mask.path, (scene.mask.band,), window)[0]
            valid &= valid_pixels(self._series.mask_kind, mask, scene.mask.nodata)
        return valid


def _nodata_as(nodata: float, dtype: np.dtype) -> np.generic | float:
    """Return nodata as the raster's dtype stores it: −3.4e38 is only equal as float32."""
    return dtype.type(nodata) if dtype.kind == "f" else nodata


def _grids_for_types(scenes: Sequence[Scene]) -> tuple[CodeGrid | None, ...]:
    return tuple(
        grid_for_types(scene.dtypes[band] for scene in scenes)
        for band in range(len(scenes[0].bands))
    )


def _tracked(
    pool: ThreadPoolExecutor,
    function: Callable,
    items: Sequence | Iterator,
    monitor: Monitor,
    workers: int,
    count: int | None = None,
) -> Iterator[Block]:
    total = count if count is not None else len(items)  # type: ignore[arg-type]
    for done, block in enumerate(ordered_map(pool, function, items, monitor, ahead=2 * workers)):
        monitor.progress((done + 1) / total)
        yield block
