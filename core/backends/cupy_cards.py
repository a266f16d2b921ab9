"""All cards together: what of a series stays on them, and what passes through in each step.

Blocks stay on the cards as long as there is room. The others, cut into parts, pass through page-
locked buffers: while one thread fills its buffer, the copies and kernels of others run. Sums are
integers, so it makes no difference which card adds up what.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from ..monitor import Monitor
from ..parallel import beside, share_out
from ..pixels import Block
from ..scores import Scores
from .base import UNLABELLED, Measures, Partials, Yardstick
from .cupy_card import Card
from .cupy_found import CardMemoryError, plainly
from .cupy_kernels import KernelShape, chunks_of
from .cupy_lane import Lane, Part, codes_of, pixels_of

_MOST_LANES = 16
_LANE_BYTES = 16 << 20
_LEAST_LANE_BYTES = 1 << 16
_MOST_CLASSES = 254
_SPARE_BYTES = 1 << 14  # each allocation is rounded up to 512 bytes


class Cards:
    """A backend on cards alone, which raises CardMemoryError where they have no room.

    ``limit`` is the most memory to take of each card, in bytes; None: all but some headroom.
    """

    def __init__(self, cupy: Any, threads: int, limit: int | None) -> None:
        self._cupy = cupy
        self._workers = min(max(threads, 2), _MOST_LANES)
        self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="iikmc-cupy")
        self._lanes: list[Lane] = []
        self._lane_bytes = 0
        self._loaded: set[KernelShape] = set()
        self._blocks: Sequence[Block] = ()
        with plainly(cupy):
            count = cupy.cuda.runtime.getDeviceCount()
            self._cards = [Card(cupy, number, limit) for number in range(count)]

    @property
    def limit(self) -> int:
        """Bytes of memory that may be taken of each card."""
        return min(card.limit for card in self._cards)

    @property
    def resident(self) -> int:
        """Number of blocks that stay on the cards."""
        return sum(place >= 0 for place in self._homes)

    def prepare(self, blocks: Sequence[Block], scenes: int, monitor: Monitor) -> None:
        self._blocks, self._scenes, self._monitor = blocks, scenes, monitor
        self._bands = bands = blocks[0].codes.shape[0] if blocks else 0
        self._dtype = blocks[0].codes.dtype if blocks else np.dtype(np.uint16)
        with plainly(self._cupy):
            for card in self._cards:
                card.forget()
            size = self._open_lanes(bands)
        self._find_homes()
        self._labels = [
            np.empty(block.pixels if home < 0 else 0, np.uint8)
            for block, home in zip(blocks, self._homes)
        ]
        self._parts: list[Part] = []
        for index, block in enumerate(blocks):
            for start in range(0, block.pixels, size):
                stop = min(start + size, block.pixels)
                home, turn = self._homes[index], len(self._parts) % len(self._cards)
                self._parts.append(Part(index, start, stop, home if home >= 0 else turn))
        found = np.empty((len(self._parts), 2, bands), np.int64)

        def look(worker: int, number: int) -> None:
            part = self._parts[number]
            codes = codes_of(self._blocks[part.index], part.start, part.stop)
            found[number] = codes.min(axis=1), codes.max(axis=1)
            if self._homes[part.index] >= 0:
                self._lanes[worker].upload(part.card, part.index, part.start, codes)

        self._share_out(look, len(self._parts))
        self._reaches = np.zeros((scenes, 2, bands), np.int64)
        for scene in range(scenes):
            inside = [blocks[part.index].scene == scene for part in self._parts]
            if any(inside):
                self._reaches[scene] = found[inside, 0].min(axis=0), found[inside, 1].max(axis=0)
        self._passing = [part for part in self._parts if self._homes[part.index] < 0]
        self._longest = max((part.stop - part.start for part in self._passing), default=0)
        self._shape: KernelShape | None = None
        self._reset(0)

    def step(self, scores: Scores) -> Partials:
        if scores.classes != self._classes:
            self._reset(scores.classes)
        if not self._parts:
            return Partials(self._sums.copy(), self._counts.copy(), 0)
        shape = self._shape_for(scores.classes)
        with plainly(self._cupy):
            totals = self._run(
                shape,
                "assign_pixels",
                shape.scores(scores, self._reaches),
                1 + self._scenes * shape.classes * (shape.bands + 1),
            )
        by_class = totals[1:].reshape(self._scenes, shape.classes, shape.bands + 1)
        self._sums += by_class[:, :, :-1]
        self._counts += by_class[:, :, -1]
        return Partials(self._sums.copy(), self._counts.copy(), int(totals[0]))

    def labels(self, block: int) -> np.ndarray:
        home = self._homes[block]
        if home < 0:
            return self._labels[block]
        with plainly(self._cupy):
            return self._cards[home].labels(block)

    def measure(self, yardstick: Yardstick) -> Measures:
        shape = self._shape_for(yardstick.signatures.shape[1])
        with plainly(self._cupy):
            totals = self._run(
                shape, "measure_pixels", shape.yardstick(yardstick), 2 * shape.classes
            )
        distances, silhouettes = totals.reshape(shape.classes, 2).T.copy()
        return Measures(distances, silhouettes)

    def close(self) -> None:
        self._pool.shutdown()
        self._lanes, self._labels, self._blocks = [], [], ()
        with plainly(self._cupy):
            for card in self._cards:
                card.release()
        self._cupy.get_default_pinned_memory_pool().free_all_blocks()

    def _open_lanes(self, bands: int) -> int:
        """Open as many lanes as these blocks need; return the pixels that fit into one."""
        if not self._lane_bytes:  # all lanes together take a quarter of a card at most
            size = min(_LANE_BYTES, self.limit // 4 // self._workers)
            self._workers = self._workers if size >= _LEAST_LANE_BYTES else 2
            self._lane_bytes = max(size, _LEAST_LANE_BYTES)
        pixels = pixels_of(self._lane_bytes, max(bands, 1), self._dtype.itemsize)
        if not pixels:
            raise CardMemoryError(f"{bands} bands do not fit into {self._lane_bytes:,} bytes")
        parts = sum(-(-block.pixels // pixels) for block in self._blocks)
        for number in range(len(self._lanes), min(self._workers, parts)):
            self._lanes.append(Lane(self._cupy, self._cards, number, self._lane_bytes))
        return pixels

    def _find_homes(self) -> None:
        """Make room for the blocks on the cards, in turn, until all cards are full."""
        self._homes = [-1] * len(self._blocks)
        with plainly(self._cupy):
            for card in self._cards:  # what steps need is not given away to blocks
                card.reserve("spare", self._spare_bytes())
        open_cards = list(range(len(self._cards)))
        for index, block in enumerate(self._blocks):
            while open_cards and block.pixels:
                number = open_cards.pop(0)
                try:
                    with plainly(self._cupy):
                        self._cards[number].take(index, block)
                except CardMemoryError:
                    continue  # this card is full
                self._homes[index] = number
                open_cards.append(number)
                break
        for card in self._cards:
            card.drop("spare")

    def _spare_bytes(self) -> int:
        """Return the bytes of a card's tables, records and totals, with as many classes as any."""
        bands = max(self._bands, 1)
        shape = KernelShape.of(bands, _MOST_CLASSES, self._dtype)
        scores = shape.scores_record().itemsize + 8 * _MOST_CLASSES * (bands + 1)
        rows = sum(64 + 8 * (block.pixels // shape.chunk + 1) for block in self._blocks)
        return self._scenes * scores + rows + _SPARE_BYTES

    def _shape_for(self, classes: int) -> KernelShape:
        """Return the kernels' shape, compiled, with all tables made that it needs."""
        if self._shape is not None and self._shape.classes == classes:
            return self._shape
        shape = KernelShape.of(self._bands, classes, self._dtype)
        if shape not in self._loaded:
            self._monitor.message(
                f"Loading the kernels for {shape.bands} bands and {classes} classes; their first "
                "use on this computer compiles them."
            )

        def load() -> None:
            with plainly(self._cupy):
                for card in self._cards:
                    card.load(shape, "assign_pixels")

        beside(load, self._monitor)
        self._loaded.add(shape)
        with plainly(self._cupy):
            for card in self._cards:
                card.list_blocks(shape.chunk)
                if self._longest:
                    card.put("part chunks", chunks_of([self._longest], shape.chunk))
        self._shape = shape
        return shape

    def _run(self, shape: KernelShape, kernel: str, records: np.ndarray, count: int) -> np.ndarray:
        """Run a kernel on all pixels; return its totals over all cards, int64, (count,)."""
        for card in self._cards:  # all memory is taken before anything runs
            card.clear_totals(count)
            card.put("records", records)
        rounds = max(card.rounds(shape) for card in self._cards)
        for number in range(rounds):
            for card in self._cards:
                card.launch_round(shape, kernel, number)
            if number + 1 < rounds:
                for card in self._cards:
                    card.wait()
                self._monitor.check()
        returns_labels = kernel == "assign_pixels"

        def pass_through(worker: int, number: int) -> None:
            part = self._passing[number]
            block = self._blocks[part.index]
            self._lanes[worker].run(
                part,
                block.scene,
                codes_of(block, part.start, part.stop),
                self._labels[part.index][part.start : part.stop],
                shape,
                kernel,
                returns_labels,
            )

        if self._passing:
            self._share_out(pass_through, len(self._passing))
        totals = np.zeros(count, np.int64)
        for card in self._cards:
            totals += card.totals(count)
        return totals

    def _share_out(self, function: Any, count: int) -> None:
        def plain(worker: int, number: int) -> None:
            with plainly(self._cupy):
                function(worker, number)

        share_out(self._pool, len(self._lanes), plain, count, self._monitor)

    def _reset(self, classes: int) -> None:
        """Forget labels and sums: before the first step, or when the number of classes changes."""
        self._classes = classes
        self._sums = np.zeros((self._scenes, classes, self._bands), np.int64)
        self._counts = np.zeros((self._scenes, classes), np.int64)
        if classes:
            for labels in self._labels:
                labels.fill(UNLABELLED)
            with plainly(self._cupy):
                for card in self._cards:
                    card.forget_labels()
