"""The rasters of all scenes, written on all threads of this process."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import cast

import numpy as np

from .areas import ClassAreas, row_counts
from .errors import Cancelled
from .grid import Window
from .monitor import Monitor
from .overviews import Counters
from .parallel import beside, ordered_map
from .pixels import Block, Labelled, PixelStore
from .raster.label_tiles import LabelTiles, label_pieces
from .raster.labels import label_counters
from .scene_rasters import Measure, SceneRasters

# A raster of a measure takes some ten times as long as one of labels.
_MEASURE_WEIGHT = 10


def write_scenes(
    rasters: Sequence[SceneRasters],
    store: PixelStore,
    labelled: Labelled,
    measure: Measure,
    threads: int,
    monitor: Monitor,
) -> list[np.ndarray | None]:
    """Write the rasters of all scenes; return the hectares of each scene's classes.

    These are as :class:`~.areas.ClassAreas` gives them. Raises OutputError, and Cancelled from the
    monitor, when no thread is at work any more.
    """
    blocks: list[list[tuple[Block, np.ndarray]]] = [[] for _ in rasters]
    for block, labels in zip(store.blocks, labelled.labels):
        blocks[block.scene].append((block, labels))
    share = 1 / (1 + _MEASURE_WEIGHT * len(measure.kinds))
    with ThreadPoolExecutor(threads) as pool:
        areas = _write_labels(rasters, blocks, pool, threads, monitor.part(0.0, share))
        if measure.kinds:
            write = _MeasureWriter(rasters, blocks, measure)
            rest = monitor.part(share, 1.0)
            ranks = range(len(rasters))

            def poll() -> None:
                rest.progress(write.share())

            for _ in ordered_map(
                pool, write, ranks, rest, ahead=threads, stop=write.stop, poll=poll
            ):
                pass
    return [area.hectares(counts) for area, counts in zip(areas, labelled.partials.counts)]


def _write_labels(
    rasters: Sequence[SceneRasters],
    blocks: Sequence[Sequence[tuple[Block, np.ndarray]]],
    pool: ThreadPoolExecutor,
    threads: int,
    monitor: Monitor,
) -> list[ClassAreas]:
    """Write the labels of all scenes, piece by piece; return the areas of their classes."""
    grid = rasters[0].grid
    pack = _Packer(rasters, blocks, beside(lambda: label_counters(grid), monitor))
    pieces = label_pieces(grid)
    jobs = ((rank, piece) for rank in range(len(rasters)) for piece in pieces)
    areas = [ClassAreas(grid, len(item.classes)) for item in rasters]
    done = 0
    results = ordered_map(pool, pack, jobs, monitor, ahead=2 * threads, stop=pack.stop)
    with contextlib.closing(cast("Generator[_Packed, None, None]", results)) as found:
        for rank, group in itertools.groupby(found, lambda packed: packed.rank):
            with rasters[rank].label_file(pack.tiles(rank)) as file:
                for packed in group:
                    file.add(packed.tiles)
                    if packed.rows is not None:
                        areas[rank].add_rows(packed.first_row, packed.rows)
                    done += 1
                    monitor.progress(done / (len(rasters) * len(pieces)))
            pack.forget(rank)
    return areas


@dataclass(frozen=True)
class _Packed:
    """A piece of a scene's labels: tiles with their numbers, and, where pixels have to be counted
    by row, how many there are of each class, (rows, classes + 1)."""

    rank: int
    first_row: int
    tiles: list[tuple[int, bytes]]
    rows: np.ndarray | None


class _Packer:
    """Compresses pieces of the scenes' labels, on any thread, until ``stop`` is set."""

    def __init__(
        self,
        rasters: Sequence[SceneRasters],
        blocks: Sequence[Sequence[tuple[Block, np.ndarray]]],
        count: Counters | None,
    ) -> None:
        self._rasters, self._blocks, self._count = rasters, blocks, count
        self._by_row = ClassAreas(rasters[0].grid, 1).by_row
        self._lock = threading.Lock()
        self._tiles: dict[int, LabelTiles] = {}
        self.stop = threading.Event()

    def tiles(self, rank: int) -> LabelTiles:
        """Return what makes the tiles of a scene."""
        with self._lock:
            if rank not in self._tiles:
                self._tiles[rank] = LabelTiles(self._rasters[rank].grid, self._count)
            return self._tiles[rank]

    def forget(self, rank: int) -> None:
        """Free what was kept of a scene that is written."""
        with self._lock:
            del self._tiles[rank]

    def __call__(self, job: tuple[int, Window]) -> _Packed:
        rank, piece = job
        check = _checker(self.stop, self._rasters[rank])
        check()
        labels = _labels_of(piece, self._blocks[rank])
        tiles = self.tiles(rank).pack(piece, labels, check)
        classes = len(self._rasters[rank].classes)
        rows = row_counts(labels, classes) if self._by_row else None
        return _Packed(rank, piece.row, tiles, rows)


def _labels_of(piece: Window, blocks: Sequence[tuple[Block, np.ndarray]]) -> np.ndarray:
    """Return the class numbers of a window, uint8 (height, width), 0 for nodata."""
    found = np.zeros((piece.height, piece.width), np.uint8)
    for block, labels in blocks:
        window = block.window
        top, left = max(piece.row, window.row), max(piece.column, window.column)
        bottom = min(piece.row + piece.height, window.row + window.height)
        right = min(piece.column + piece.width, window.column + window.width)
        if top < bottom and left < right:
            rows = block.spread_rows(labels, top - window.row, bottom - window.row)
            part = rows[:, left - window.column : right - window.column]
            inside = found[top - piece.row : bottom - piece.row]
            inside[:, left - piece.column : right - piece.column] = part
    return found


class _MeasureWriter:
    """Writes the measures of one scene, on any thread, until ``stop`` is set."""

    def __init__(
        self,
        rasters: Sequence[SceneRasters],
        blocks: Sequence[Sequence[tuple[Block, np.ndarray]]],
        measure: Measure,
    ) -> None:
        self._rasters, self._blocks, self._measure = rasters, blocks, measure
        self._written = [0] * len(rasters)
        self.stop = threading.Event()

    def share(self) -> float:
        """Return the share of all blocks that is written."""
        return sum(self._written) / sum(len(blocks) for blocks in self._blocks)

    def __call__(self, rank: int) -> None:
        rasters = self._rasters[rank]
        rasters.write_measures(self._planes(rank), _checker(self.stop, rasters))

    def _planes(self, rank: int) -> Iterator[tuple[Window, tuple[np.ndarray, ...]]]:
        for block, _ in self._blocks[rank]:
            yield block.window, self._measure(block)
            self._written[rank] += 1


def _checker(stop: threading.Event, rasters: SceneRasters) -> Callable[[], None]:
    """Return what raises Cancelled once ``stop`` is set."""

    def check() -> None:
        if stop.is_set():
            raise Cancelled(f"Writing '{rasters.paths['classes'].name}' was stopped.")

    return check
