"""Mini-batch k-means on a stream of small batches, each drawn from all scenes and places.

Follows scikit-learn's MiniBatchKMeans (Sculley 2010, Web-scale k-means clustering, doi
10.1145/1772690.1772862): a warm start on a sample, centres that are running means of all pixels
they were given, and an end when the smoothed inertia of the batches no longer improves. The
batches are of integers and cut by scene and row only, so the result has the same bits whatever
the blocks of the store are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .backends.base import Backend
from .codes import CodeStatistics, CodeTally
from .grid import Window
from .lloyd import EmptyRule, LloydResult, StopRule, mean_shift, spread_of
from .monitor import Monitor
from .pixels import Block, PixelStore
from .plan import FitPlan
from .sampling import keyed
from .scene_space import SceneSpace

# Pixels of a strip, the unit that batches are drawn of: enough to read at a time, few enough
# that a batch has strips of many places.
_STRIP_PIXELS = 4096
_STRIPS_PER_BATCH = 16
_PATIENCE = 10  # batches without improvement, as scikit-learn's max_no_improvement
_HELD_OUT = 1 << 40  # keys the draw of the strips held out, beyond any number of passes


@dataclass(frozen=True)
class Strip:
    """Rows ``top`` to ``bottom`` (not included) of a scene."""

    scene: int
    top: int
    bottom: int


class Batches:
    """Cuts the pixels of a store into batches of strips, in an order drawn for each pass.

    About ``fraction`` of the strips is held out of all passes, if there are ten batches or more.
    """

    def __init__(self, store: PixelStore, fraction: float, seed: int) -> None:
        self._store, self._seed = store, seed
        wanted = fraction * store.grid.height * store.grid.width * store.scene_count
        rows = max(1, int(min(_STRIP_PIXELS, wanted / _STRIPS_PER_BATCH)) // store.grid.width)
        strips = [
            Strip(scene, top, min(top + rows, store.grid.height))
            for scene in range(store.scene_count)
            for top in range(0, store.grid.height, rows)
        ]
        self.per_batch = max(1, round(fraction * len(strips)))
        drawn = self._shuffled(strips, _HELD_OUT)
        held = self.per_batch if len(strips) >= 10 * self.per_batch else 0
        self.held_out, self._strips = drawn[:held], sorted(drawn[held:], key=_place)
        self._blocks: list[list[Block]] = [[] for _ in range(store.scene_count)]
        for block in store.blocks:
            self._blocks[block.scene].append(block)
        self._row_starts: dict[int, np.ndarray] = {}

    def one_pass(self, number: int) -> Iterator[Sequence[Strip]]:
        """Yield the batches of a pass: every strip but those held out, once."""
        order = self._shuffled(self._strips, number)
        for start in range(0, len(order), self.per_batch):
            yield order[start : start + self.per_batch]

    def load(self, strips: Sequence[Strip]) -> list[Block]:
        """Return the valid pixels of strips, as a block for each scene; for use, not to write."""
        shelf, blocks = self._store.spare_shelf(), []
        for scene in range(self._store.scene_count):
            parts = [
                part for strip in strips if strip.scene == scene for part in self._codes(strip)
            ]
            if parts:
                codes = np.concatenate(parts, axis=1)
                window = Window(0, 0, 1, codes.shape[1])
                blocks.append(Block(scene, window, shelf.put(codes), None))
        return [block for block in blocks if block.pixels]

    def _codes(self, strip: Strip) -> Iterator[np.ndarray]:
        for block in self._blocks[strip.scene]:
            first = max(strip.top - block.window.row, 0)
            last = min(strip.bottom - block.window.row, block.window.height)
            if first < last:
                starts = self._starts(block)
                yield block.codes.part(int(starts[first]), int(starts[last]))

    def _starts(self, block: Block) -> np.ndarray:
        """Return where each row of a block's window starts among its valid pixels."""
        key = id(block)
        if key not in self._row_starts:
            shape = block.window.height, block.window.width
            valid = block.valid()
            counts = np.full(shape[0], shape[1]) if valid is None else valid.reshape(shape).sum(1)
            self._row_starts[key] = np.concatenate([[0], np.cumsum(counts)])
        return self._row_starts[key]

    def _shuffled(self, strips: Sequence[Strip], key: int) -> list[Strip]:
        scenes = np.array([strip.scene for strip in strips], np.int64)
        tops = np.array([strip.top for strip in strips], np.int64)
        order = np.lexsort((tops, scenes, keyed(self._seed, key, scenes, tops)))
        return [strips[place] for place in order]


def minibatch(
    backend: Backend,
    space: SceneSpace,
    warm: LloydResult,
    plan: FitPlan,
    store: PixelStore,
    batches: Batches,
    monitor: Monitor,
) -> LloydResult:
    """Refine the centres of a warm start, whose sample's blocks the backend still holds.

    An iteration is a batch: assign it, then move each centre to the mean of all pixels it was
    ever given. ``max_iter`` bounds the passes. Ends when the centre shift is at most the
    tolerance, where that is the stop rule, or else by the inertia of the batches.
    """
    ones = np.ones(len(warm.centres), bool)
    first = backend.step(space.scores(warm.centres, ones))
    sums, counts = first.sums, first.counts
    centres = warm.centres
    spread = spread_of(space, store)
    changed: list[float] = []
    shift: list[float] = []
    ending = _Ending(store.pixels)
    converged = False
    for number in range(plan.rules.max_iter):
        before = len(changed)
        for strips in batches.one_pass(number):
            monitor.check()
            blocks = batches.load(strips)
            if not blocks:
                continue
            backend.prepare(blocks, store.scene_count, monitor)
            partials = backend.step(space.scores(centres, ones))
            inertia = space.inertia(centres, partials, _statistics(store, blocks))
            sums, counts = sums + partials.sums, counts + partials.counts
            filled = (counts.sum(axis=0) > 0)[:, None]
            updated = np.where(filled, space.means(sums, counts), centres)
            again = backend.step(space.scores(updated, ones))
            pixels = int(partials.counts.sum())
            changed.append(again.changed / pixels)
            shift.append(mean_shift(space, centres, updated) / spread)
            centres = updated
            settled = plan.rules.stop_rule is StopRule.SHIFT and shift[-1] <= plan.rules.tol
            converged = ending.after(inertia / pixels, pixels) or settled
            monitor.message(
                f"Batch {len(changed)}: mean squared distance {inertia / pixels:.6g}, the centres "
                f"moved by {shift[-1]:.3g} of the spread."
            )
            if converged:
                break
        monitor.progress((number + 1) / plan.rules.max_iter)
        if converged or len(changed) == before:  # or all pixels are in the strips held out
            break
    class_pixels = counts.sum(axis=0)
    active = class_pixels > 0 if plan.rules.empty is EmptyRule.DROP else ones
    return LloydResult(centres, active, class_pixels, tuple(changed), tuple(shift), converged)


def held_out_inertia(
    backend: Backend,
    space: SceneSpace,
    centres: np.ndarray,
    store: PixelStore,
    batches: Batches,
    monitor: Monitor,
) -> tuple[int, float]:
    """Return the number of pixels held out, and the sum of their squared distances to centres."""
    blocks = batches.load(batches.held_out)
    if not blocks:
        return 0, 0.0
    backend.prepare(blocks, store.scene_count, monitor)
    partials = backend.step(space.scores(centres, np.ones(len(centres), bool)))
    inertia = space.inertia(centres, partials, _statistics(store, blocks))
    return int(partials.counts.sum()), inertia


class _Ending:
    """Tells when the exponentially smoothed inertia has not improved for some batches."""

    def __init__(self, pixels: int) -> None:
        self._pixels, self._batches, self._worse = pixels, 0, 0
        self._smoothed = self._best = 0.0

    def after(self, inertia: float, pixels: int) -> bool:
        self._batches += 1
        if self._batches == 1:  # as scikit-learn: the first says more of the warm start
            return False
        if self._batches == 2:
            self._smoothed = self._best = inertia
            return False
        weight = min(1.0, 2.0 * pixels / (self._pixels + 1))
        self._smoothed = self._smoothed * (1.0 - weight) + inertia * weight
        self._worse = 0 if self._smoothed < self._best else self._worse + 1
        self._best = min(self._best, self._smoothed)
        return self._worse >= _PATIENCE


def _statistics(
    store: PixelStore, blocks: Sequence[Block]
) -> list[tuple[CodeStatistics, ...] | None]:
    """Return the statistics of blocks, of which each scene has one at most."""
    found: list[tuple[CodeStatistics, ...] | None] = [None] * store.scene_count
    for block in blocks:
        found[block.scene] = CodeTally(store.code_grids).add(block.codes.load()).statistics()
    return found


def _place(strip: Strip) -> tuple[int, int]:
    return strip.scene, strip.top
