"""Small batches of pixels, each drawn from all scenes and places."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .codes import CodeMoments, exact_moments
from .monitor import Monitor
from .pixels import Block, PixelStore
from .sampling import keyed
from .tiling import ROWS

# Pixels of a strip, the unit that batches are drawn of: enough to read at a time, few enough
# that a batch has strips of many places.
_STRIP_PIXELS = 4096
_STRIPS_PER_BATCH = 16
_HELD_OUT = 1 << 40  # keys the draw of the strips held out, beyond any number of passes


@dataclass(frozen=True)
class Strip:
    """Rows ``top`` to ``bottom`` (not included) of a scene."""

    scene: int
    top: int
    bottom: int


@dataclass(frozen=True)
class Batch:
    """Blocks of a batch, and by scene the moments of each band; None for a scene without any."""

    blocks: Sequence[Block]
    moments: Sequence[tuple[CodeMoments, ...] | None]


class Batches:
    """Cuts the pixels of a store into batches of strips, in an order drawn for each pass.

    About ``fraction`` of the strips is held out of all passes, if there are ten batches or more.
    """

    def __init__(self, store: PixelStore, fraction: float, seed: int, threads: int) -> None:
        self._store, self._seed, self._threads = store, seed, threads
        wanted = fraction * store.grid.height * store.grid.width * store.scene_count
        rows = int(min(_STRIP_PIXELS, wanted / _STRIPS_PER_BATCH)) // store.grid.width
        rows = max(1, rows // ROWS) * ROWS  # what lies together is read together
        strips = [
            Strip(scene, top, min(top + rows, store.grid.height))
            for scene in range(store.scene_count)
            for top in range(0, store.grid.height, rows)
        ]
        self.per_batch = max(1, round(fraction * len(strips)))
        drawn = self._shuffled(strips, _HELD_OUT)
        held = self.per_batch if len(strips) >= 10 * self.per_batch else 0
        self.held_out, self._strips = drawn[:held], sorted(drawn[held:], key=_place)

    def one_pass(self, number: int) -> Iterator[Sequence[Strip]]:
        """Yield the batches of a pass: every strip but those held out, once."""
        order = self._shuffled(self._strips, number)
        for start in range(0, len(order), self.per_batch):
            yield order[start : start + self.per_batch]

    def load(self, strips: Sequence[Strip], monitor: Monitor) -> Batch:
        """Return the valid pixels of strips as blocks for a backend, and their moments."""
        rows = np.array([(s.scene, s.top, s.bottom) for s in strips], np.int64).reshape(-1, 3)
        blocks = self._store.derived(strip_codes, (rows,), self._threads, monitor)
        found: list[list[tuple[int, int]] | None] = [None] * self._store.scene_count
        for scene, pairs in self._store.each_of(blocks, code_moments, (), self._threads, monitor):
            known = found[scene] or [(0, 0)] * len(pairs)
            found[scene] = [(a + c, b + d) for (a, b), (c, d) in zip(known, pairs)]
        moments = [
            None if pairs is None else tuple(CodeMoments(*pair) for pair in pairs)
            for pairs in found
        ]
        return Batch(blocks, moments)

    def _shuffled(self, strips: Sequence[Strip], key: int) -> list[Strip]:
        scenes = np.array([strip.scene for strip in strips], np.int64)
        tops = np.array([strip.top for strip in strips], np.int64)
        order = np.lexsort((tops, scenes, keyed(self._seed, key, scenes, tops)))
        return [strips[place] for place in order]


def strip_codes(block: Block, strips: np.ndarray) -> np.ndarray:
    """Return a block's codes (bands, pixels) in ``strips``, rows of scene, top and bottom."""
    window, parts = block.window, [np.empty((block.codes.shape[0], 0), block.codes.dtype)]
    for scene, top, bottom in strips.tolist():
        first = max(top - window.row, 0)
        last = min(bottom - window.row, window.height)
        if scene == block.scene and first < last:
            parts.append(block.rows(first, last).of(block.codes))
    return np.concatenate(parts, axis=1)


def code_moments(block: Block) -> list[tuple[int, int]]:
    """Return the sums of each band's codes and of their squares."""
    return exact_moments(block.codes.load())


def _place(strip: Strip) -> tuple[int, int]:
    return strip.scene, strip.top
