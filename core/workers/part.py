"""A part of a series that lies with one worker: a window of the ground on all dates."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..backends.base import Backend, Measures, Partials, Yardstick, open_backend, resolve_engine
from ..codes import CodeGrid
from ..grid import Grid, Window
from ..monitor import Monitor
from ..pixels import Block, Labelled, PixelStore
from ..scratch import Shelf
from ..timelines import Evidence, smoothed
from .plain import PlainScores, grids_in, grids_out, scores_in


class Part:
    """Blocks of codes, and what was last done with them.

    Nothing but the codes is truth: labels and sums are kept as long as the part stays where it
    is, and made again from the scores that gave them when it has gone to another worker.
    """

    def __init__(self, store: PixelStore, tallies: dict[int, tuple[Any, ...]]) -> None:
        self.store, self.tallies = store, tallies
        self.lock, self._smoothing = threading.Lock(), threading.Lock()
        self._backend: Backend | None = None
        self._held = ""
        self._smoothed: tuple[str, tuple[np.ndarray, ...]] | None = None

    def step(self, before: PlainScores | None, after: PlainScores, monitor: Monitor) -> Partials:
        """Label by ``after``; what has changed is told against the labels by ``before``."""
        if not self.store.blocks:
            scores = scores_in(after)
            classes, bands = scores.q.shape[1:]
            shape = self.store.scene_count, classes
            return Partials(np.zeros((*shape, bands), np.int64), np.zeros(shape, np.int64), 0)
        with self.lock:
            backend = self._at(before, monitor)
            self._held = ""
            partials = backend.step(scores_in(after))
            self._held = after[0]
        return partials

    def labels(self, scores: PlainScores, monitor: Monitor) -> tuple[np.ndarray, ...]:
        """Return the labels by ``scores`` of each block's pixels."""
        if not self.store.blocks:
            return ()
        with self.lock:
            backend = self._at(scores, monitor)
            return tuple(backend.labels(index) for index in range(len(self.store.blocks)))

    def labels_after(
        self, scores: PlainScores, smoothing: tuple[float, np.ndarray] | None, monitor: Monitor
    ) -> tuple[np.ndarray, ...]:
        """Return the labels by ``scores``, smoothed along the dates unless that is None."""
        if smoothing is None or not self.store.blocks:
            return self.labels(scores, monitor)
        inertia, costs = smoothing
        key = f"{scores[0]} {inertia!r} {costs.tobytes().hex()}"
        with self._smoothing:
            if self._smoothed is None or self._smoothed[0] != key:
                nothing = np.zeros((self.store.scene_count, 0), np.int64)
                known, partials = scores_in(scores), Partials(nothing, nothing, 0)
                labelled = Labelled(known, self.labels(scores, monitor), partials)
                evidence = Evidence(known, inertia)
                found = smoothed(self.store, labelled, evidence, costs, 1, monitor)
                self._smoothed = key, found.labels
            return self._smoothed[1]

    def measure(self, scores: PlainScores, yardstick: Yardstick, monitor: Monitor) -> Measures:
        """Measure the pixels by the labels that ``scores`` gave."""
        classes = yardstick.signatures.shape[1]
        if not self.store.blocks:
            return Measures(np.zeros(classes, np.int64), np.zeros(classes, np.int64))
        with self.lock:
            return self._at(scores, monitor).measure(yardstick)

    def _at(self, scores: PlainScores | None, monitor: Monitor) -> Backend:
        """Return the backend, holding the labels by ``scores``; None: no labels."""
        wanted = "" if scores is None else scores[0]
        if self._backend is None:
            self._backend = open_backend(resolve_engine("auto", self.store.pixels), 1)
            self._held = "new"
        if self._held != wanted or not wanted:
            self._backend.prepare(self.store.blocks, self.store.scene_count, monitor)
            self._held = ""
            if scores is not None:
                self._backend.step(scores_in(scores))
                self._held = wanted
        return self._backend

    def __sizeof__(self) -> int:
        """Say what codes and labels take, so that a scheduler does not move them for nothing."""
        return sum(block.codes.bytes_in_memory + block.pixels for block in self.store.blocks)

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as plain arrays, without what was last done."""
        store = self.store
        grid = store.grid
        blocks = [
            (
                block.scene,
                (block.window.row, block.window.column, block.window.height, block.window.width),
                np.array(block.codes.load()),
                block.packed,
            )
            for block in store.blocks
        ]
        place = (grid.crs, grid.transform, grid.width, grid.height, grid.unit_metres)
        facts = (store.scene_count, grids_out(store.code_grids), store.saturated, store.left_out)
        room = sum(block.codes.bytes_in_memory for block in store.blocks)
        return _rebuilt, (blocks, room, (*place, grid.geographic), facts, self.tallies)


def part_store(
    blocks: Sequence[Block],
    shelf: Shelf,
    grid: Grid,
    scenes: int,
    grids: Sequence[CodeGrid],
    saturated: Sequence[int],
    left_out: np.ndarray,
) -> PixelStore:
    """Return a store of a part, whose statistics are nobody's business."""
    return PixelStore(
        blocks, shelf, grid, scenes, grids, (), (), (), saturated, left_out, own=False
    )


def _rebuilt(
    blocks: Sequence[tuple[Any, ...]],
    room: int,
    grid: tuple[Any, ...],
    facts: tuple[Any, ...],
    tallies: dict[int, tuple[Any, ...]],
) -> Part:
    scenes, grids, saturated, left_out = facts
    shelf = Shelf(room)  # what lay in a scratch file does so again
    known = [
        Block(scene, Window(*window), shelf.put(codes), packed)
        for scene, window, codes, packed in blocks
    ]
    store = part_store(known, shelf, Grid(*grid), scenes, grids_in(grids), saturated, left_out)
    return Part(store, tallies)
