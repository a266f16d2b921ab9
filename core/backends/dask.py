"""The backend on Dask workers: scores go out, sums come back, pixels and labels stay there."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..monitor import Monitor
from ..pixels import Block
from ..scores import Scores
from ..workers import tasks
from ..workers.direct import Direct
from ..workers.link import Link
from ..workers.plain import PlainScores, scores_out, yardstick_out
from ..workers.store import parts_of
from .base import Measures, Partials, Yardstick

_PARTS_PER_THREAD = 4


class DaskBackend:
    """One call of each worker for a step, on the parts it holds.

    A step is told the scores before it, too, so a worker that has lost its labels makes them
    again. Blocks that lie here are lent to threads of this process.
    """

    def __init__(self, threads: int, link: Link | None = None) -> None:
        self._threads, self._link = threads, link
        self._own: Link | None = None
        self._parts: Sequence[Any] = ()
        self._key = uuid.uuid4().hex

    def prepare(self, blocks: Sequence[Block], scenes: int, monitor: Monitor) -> None:
        self._monitor, self._scenes = monitor, scenes
        self._before: PlainScores | None = None
        self._direct: Direct | None = None
        self._edges: list[int] = []
        self._labels: dict[int, tuple[np.ndarray, ...]] = {}
        if blocks and isinstance(blocks[0], Block):
            self._lend(blocks)
        else:
            self._parts = [part.future for part in parts_of(blocks)]

    def step(self, scores: Scores) -> Partials:
        if not self._parts:
            shape = self._scenes, scores.classes
            sums = np.zeros((*shape, scores.q.shape[2]), np.int64)
            return Partials(sums, np.zeros(shape, np.int64), 0)
        assert self._link is not None
        after = scores_out(scores)
        if self._before is not None and self._before[2].shape[1] != scores.classes:
            self._before = None  # other classes: all labels are new
        if self._direct is None:
            self._direct = Direct(self._link, self._parts)
        size = self._scenes * scores.classes * (scores.q.shape[2] + 1) * 8
        shared = self._before, after
        sums, counts, changed = self._direct.total("step", shared, size, self._monitor)
        self._before = after
        self._labels.clear()
        return Partials(sums, counts, int(changed))

    def labels(self, block: int) -> np.ndarray:
        """Return the labels of a block that lies here; those of workers stay with them."""
        part = int(np.searchsorted(self._edges, block, "right")) - 1
        if part not in self._labels:
            assert self._link is not None
            future = self._link.submit("labels", self._parts[part], self._before)
            self._labels[part] = self._link.value(future, self._monitor)
        return self._labels[part][block - self._edges[part]]

    def measure(self, yardstick: Yardstick) -> Measures:
        assert self._link is not None
        assert self._direct is not None
        shared = self._before, yardstick_out(yardstick)
        distances, silhouettes = self._direct.total("measure", shared, 0, self._monitor)
        return Measures(distances, silhouettes)

    def close(self) -> None:
        self._parts, self._labels = (), {}
        tasks.take_back(self._key)
        if self._own is not None:
            self._own.close()
            self._own = self._link = None

    def _lend(self, blocks: Sequence[Block]) -> None:
        """Let threads of this process work on blocks that lie here."""
        if self._link is None:
            self._own = self._link = Link.open(None, self._threads, self._monitor)
        tasks.lend(self._key, blocks)
        count = min(len(blocks), _PARTS_PER_THREAD * self._threads)
        edges = [len(blocks) * part // count for part in range(count + 1)]
        self._edges = edges[:-1]
        parts = [(self._key, first, last) for first, last in zip(edges, edges[1:])]
        self._parts = self._link.spread("borrow", parts, self._scenes)
