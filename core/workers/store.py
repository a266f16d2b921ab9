"""The pixel store of a series whose pixels lie with Dask workers."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backends.base import Backend, Partials
from ..codes import CodeGrid, CodeTally, ValueRange
from ..errors import EngineError
from ..grid import Window
from ..monitor import Monitor
from ..pixels import Block, Labelled, PixelStore
from ..reading import BLOCK_PIXELS, grids_before_reading, no_pixel, windows
from ..scores import Scores
from ..scratch import Shelf
from ..series import Series
from . import plain
from .link import Link

# More parts than threads, so that they end at about the same time, and a lost one costs less.
_PARTS_PER_THREAD = 4
# Codes of a part at most, where files have blocks so small.
_PART_BYTES = 1 << 30
# Scenes whose histograms are merged by one task.
_SCENES_AT_ONCE = 8


@dataclass(frozen=True)
class RemoteBlocks:
    """The blocks of a part, which lie with a worker, and how many valid pixels they have."""

    future: Any
    pixels: int


class RemoteStore(PixelStore):
    """A store that holds no pixel: its parts lie with workers, each a window of the ground."""

    def __init__(
        self,
        link: Link,
        parts: Sequence[RemoteBlocks],
        scene_pixels: np.ndarray,
        room: tuple[int | None, int, int],
        **facts: Any,
    ) -> None:
        super().__init__(parts, Shelf(0), **facts)  # type: ignore[arg-type]
        self.link: Link = link
        self._scene_pixels, self._room = scene_pixels, room

    @property
    def parts(self) -> Sequence[RemoteBlocks]:
        """The parts that have a pixel."""
        return parts_of(self.blocks)

    @property
    def scene_pixels(self) -> np.ndarray:
        return self._scene_pixels

    def each_of(
        self,
        blocks: Sequence[Block],
        function: Callable[..., Any],
        arguments: Sequence[Any],
        threads: int,
        monitor: Monitor,
    ) -> Iterator[tuple[int, Any]]:
        name = _name(function)
        given = [(part.future,) for part in parts_of(blocks)]
        futures = self.link.spread("each", given, name, tuple(arguments))
        for found in self.link.values(futures, monitor):
            yield from found

    def derived(
        self,
        function: Callable[..., np.ndarray],
        arguments: Sequence[Any],
        threads: int,
        monitor: Monitor,
    ) -> Sequence[Block]:
        name = _name(function)
        given = [(part.future,) for part in self.parts]
        futures = self.link.spread("derive", given, name, tuple(arguments), self._room)
        asked = self.link.spread("pixels", [(future,) for future in futures])
        found = zip(futures, self.link.values(asked, monitor))
        return [RemoteBlocks(future, count) for future, count in found if count]  # type: ignore[misc]

    def keep_labels(self, scores: Scores, backend: Backend, partials: Partials) -> Labelled:
        """Remember the scores: the workers have the labels, or make them again."""
        self._labelled = Labelled(scores, (), partials)
        return self._labelled

    def lies_with(self, engine: str, client: object) -> bool:
        return engine == "dask" and self.link.is_for(client)

    def serves(self, code_grids: Sequence[CodeGrid] | None) -> bool:
        return not self.link.stopped and super().serves(code_grids)

    def close(self) -> None:
        super().close()
        self.link.close()


def open_store(
    series: Series,
    code_grids: Sequence[CodeGrid] | None,
    client: object,
    threads: int | None,
    memory_mb: int | None,
    monitor: Monitor,
) -> RemoteStore:
    """Connect to a cluster and let its workers read a series; see :meth:`.link.Link.open`."""
    link = Link.open(client, threads, monitor)
    try:
        monitor.message(f"Dask: {link.workers} workers with {link.threads} threads.")
        return read_remote(series, code_grids, link, memory_mb, monitor)
    except BaseException:
        link.close()
        raise


def read_remote(
    series: Series,
    code_grids: Sequence[CodeGrid] | None,
    link: Link,
    memory_mb: int | None,
    monitor: Monitor,
) -> RemoteStore:
    """Let workers read, mask and code all scenes; see :func:`~.reading.read_pixels`.

    ``memory_mb`` bounds what each worker keeps in memory.
    """
    if series.recipe is None:
        raise EngineError("The engine 'dask' needs a series opened by paths: use open_series.")
    typed, grids, own = grids_before_reading(series, code_grids)
    places = _places(series, link)
    a_worker = math.ceil(len(places) / max(link.workers, 1))
    room = memory_mb, a_worker, link.crowding
    view = _view(series, link)
    jobs = [_jobs(series, part) for part in places]
    if grids is not None:
        coded = plain.grids_out(grids)
        futures = link.spread("read", [(view, part) for part in jobs], coded, room)
    else:
        surveyed = link.spread("survey", [(view, part) for part in jobs], room)
        asked = link.spread("ranges", [(future,) for future in surveyed])
        found = link.values(asked, monitor, monitor.part(0.0, 0.7))
        merged = [_merged(band) for band in zip(*map(plain.ranges_in, found))]
        grids = tuple(grid or item.code_grid() for grid, item in zip(typed, merged))
        coded = plain.grids_out(grids)
        futures = link.spread("code", [(future,) for future in surveyed], coded, room)
        del surveyed, asked
        monitor = monitor.part(0.7, 1.0)
    return _store(series, link, futures, grids, room, own, monitor)


def _store(
    series: Series,
    link: Link,
    futures: Sequence[Any],
    grids: tuple[CodeGrid, ...],
    room: tuple[int | None, int, int],
    own: bool,
    monitor: Monitor,
) -> RemoteStore:
    each = [(future,) for future in futures]
    facts = link.values(link.spread("facts", each), monitor, monitor.part(0.0, 0.95))
    scene_pixels = np.sum([found[0] for found in facts], axis=0)
    if not scene_pixels.any():
        raise no_pixel(series)
    coded, merging = plain.grids_out(grids), []
    for first in range(0, len(series), _SCENES_AT_ONCE):
        stop = min(first + _SCENES_AT_ONCE, len(series))
        groups = link.spread("tallies", each, first, stop)
        merging.append(link.submit("merge_tallies", coded, first, stop, groups))
    whole, by_scene = CodeTally(grids), []
    for scenes, total in link.values(merging, monitor, monitor.part(0.95, 1.0)):
        whole.add_plain(total)
        by_scene += scenes
    link.values(link.spread("settle", each), monitor)
    return RemoteStore(
        link,
        [
            RemoteBlocks(future, int(found[0].sum()))
            for future, found in zip(futures, facts)
            if found[0].any()
        ],
        scene_pixels,
        room,
        grid=series.grid,
        scene_count=len(series),
        code_grids=grids,
        statistics=whole.statistics(),
        scene_statistics=[plain.statistics_in(found) for found, _ in by_scene],
        scene_quantiles=[plain.quantiles_in(found) for _, found in by_scene],
        saturated=[sum(counts) for counts in zip(*(found[1] for found in facts))],
        left_out=np.sum([found[2] for found in facts], axis=0),
        own=own,
    )


def _places(series: Series, link: Link) -> list[list[Window]]:
    """Cut the ground into parts, each a run of windows along the blocks of the first file."""
    grid, scene = series.grid, series.scenes[0]
    pixels = grid.height * grid.width
    codes = pixels * len(series) * len(series.band_names) * 4
    wanted = max(_PARTS_PER_THREAD * max(link.threads, 1), -(-codes // _PART_BYTES))
    size = max(1, min(BLOCK_PIXELS, pixels // wanted))
    place = scene.source.placement
    found = windows(grid, scene.block_height, scene.block_width, size, place.row, place.column)
    count = min(wanted, len(found))
    edges = [len(found) * part // count for part in range(count + 1)]
    return [found[first:last] for first, last in zip(edges, edges[1:])]


def _jobs(series: Series, part: Sequence[Window]) -> list[tuple[int, ...]]:
    """Return the windows of a part's scenes; with static features, these are read once."""
    pairs = itertools.product(range(len(series)), part)
    if series.static:
        pairs = ((rank, window) for window in part for rank in range(len(series)))  # type: ignore[assignment]
    return [(rank, w.row, w.column, w.height, w.width) for rank, w in pairs]


def _view(series: Series, link: Link) -> tuple[str, dict[str, Any] | None, tuple[Any, ...]]:
    """Return how workers open the series, with a key, and what they have to see."""
    digest = hashlib.sha256(repr(series.recipe).encode()).hexdigest()
    return f"{link.run}-{digest}", series.recipe, plain.likeness(series)


def _merged(ranges: Sequence[ValueRange]) -> ValueRange:
    first, *others = ranges
    for other in others:
        first = first.merge(other)
    return first


def parts_of(blocks: Sequence[Any]) -> Sequence[RemoteBlocks]:
    """Return the blocks of a remote store for what they are."""
    return blocks


def _name(function: Callable[..., Any]) -> tuple[str, str]:
    """Return a function's module, from this package's root on, and its name."""
    return "core." + function.__module__.split(".core.", 1)[1], function.__qualname__
