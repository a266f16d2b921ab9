"""Mini-batch k-means on a stream of small batches, each drawn from all scenes and places.

Follows scikit-learn's MiniBatchKMeans (Sculley 2010, Web-scale k-means clustering, doi
10.1145/1772690.1772862): a warm start on a sample, centres that are running means of all pixels
they were given, and an end when the smoothed inertia of the batches no longer improves. The
batches are of integers and cut by scene and row only, so the result has the same bits whatever
the blocks of the store are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import Any

import numpy as np

from .backends.base import Backend
from .batches import Batches
from .lloyd import EmptyRule, LloydResult, StopRule, mean_shift, spread_of
from .monitor import Monitor
from .pixels import PixelStore
from .plan import FitPlan
from .scene_space import SceneSpace

_PATIENCE = 10  # batches without improvement, as scikit-learn's max_no_improvement


@dataclass
class _Ending:
    """Tells when the exponentially smoothed inertia has not improved for some batches."""

    series_pixels: int
    batches: int = 0
    worse: int = 0
    smoothed: float = 0.0
    best: float = 0.0

    def after(self, inertia: float, pixels: int) -> bool:
        self.batches += 1
        if self.batches == 1:  # as scikit-learn: the first says more of the warm start
            return False
        if self.batches == 2:
            self.smoothed = self.best = inertia
            return False
        weight = min(1.0, 2.0 * pixels / (self.series_pixels + 1))
        self.smoothed = self.smoothed * (1.0 - weight) + inertia * weight
        self.worse = 0 if self.smoothed < self.best else self.worse + 1
        self.best = min(self.best, self.smoothed)
        return self.worse >= _PATIENCE


@dataclass(frozen=True)
class BatchState:
    """Where the stream is after a batch: all it needs to go on.

    ``batches`` of pass ``number`` have been taken; ``sums`` (scenes, classes, bands) and
    ``counts`` (scenes, classes) are int64, of all pixels that the classes were ever given.
    """

    number: int
    batches: int
    sums: np.ndarray
    counts: np.ndarray
    ending: _Ending
    result: LloydResult

    @classmethod
    def first(
        cls, backend: Backend, space: SceneSpace, warm: LloydResult, pixels: int
    ) -> BatchState:
        """Return the state before the first batch of a series of so many pixels.

        The backend still holds the sample's blocks of the warm start.
        """
        ones = np.ones(len(warm.centres), bool)
        given = backend.step(space.scores(warm.centres, ones))
        result = LloydResult(warm.centres, ones, given.counts.sum(axis=0), (), (), False)
        return cls(0, 0, given.sums, given.counts, _Ending(pixels), result)

    def as_json(self) -> dict[str, Any]:
        """Return plain lists and numbers."""
        return {
            "number": self.number,
            "batches": self.batches,
            "sums": self.sums.tolist(),
            "counts": self.counts.tolist(),
            "ending": asdict(self.ending),
            "result": self.result.as_json(),
        }

    @classmethod
    def of_json(cls, content: dict[str, Any]) -> BatchState:
        """Return what was kept as JSON."""
        return cls(
            content["number"],
            content["batches"],
            np.array(content["sums"], np.int64),
            np.array(content["counts"], np.int64),
            _Ending(**content["ending"]),
            LloydResult.of_json(content["result"]),
        )


def minibatch(
    backend: Backend,
    space: SceneSpace,
    state: BatchState,
    plan: FitPlan,
    store: PixelStore,
    batches: Batches,
    keep: Callable[[BatchState], None],
    monitor: Monitor,
) -> LloydResult:
    """Refine the centres of a warm start, or go on from a later state.

    An iteration is a batch: assign it, then move each centre to the mean of all pixels it was
    ever given. ``max_iter`` bounds the passes. Ends when the centre shift is at most the
    tolerance, where that is the stop rule, or else by the inertia of the batches. ``keep`` is
    called with the state after each batch.
    """
    spread = spread_of(space, store)
    ones, first = state.result.active, state.number
    for number in range(first, plan.rules.max_iter):
        if state.result.converged:
            break
        done = state.batches if number == first else 0
        for taken, strips in islice(enumerate(batches.one_pass(number), 1), done, None):
            monitor.check()
            batch = batches.load(strips, monitor)
            if not batch.blocks:
                continue
            centres, ending = state.result.centres, replace(state.ending)
            backend.prepare(batch.blocks, store.scene_count, monitor)
            partials = backend.step(space.scores(centres, ones))
            inertia = space.inertia(centres, partials, batch.moments)
            sums, counts = state.sums + partials.sums, state.counts + partials.counts
            class_pixels = counts.sum(axis=0)
            filled = (class_pixels > 0)[:, None]
            updated = np.where(filled, space.means(sums, counts), centres)
            again = backend.step(space.scores(updated, ones))
            pixels = int(partials.counts.sum())
            changed = *state.result.changed, again.changed / pixels
            shift = *state.result.shift, mean_shift(space, centres, updated) / spread
            settled = plan.rules.stop_rule is StopRule.SHIFT and shift[-1] <= plan.rules.tol
            converged = ending.after(inertia / pixels, pixels) or settled
            result = LloydResult(updated, ones, class_pixels, changed, shift, converged)
            state = BatchState(number, taken, sums, counts, ending, result)
            keep(state)
            monitor.message(
                f"Batch {len(changed)}: mean squared distance {inertia / pixels:.6g}, the centres "
                f"moved by {shift[-1]:.3g} of the spread."
            )
            if converged:
                break
        monitor.progress((number + 1) / plan.rules.max_iter)
        if state.number < number or not state.batches:  # all pixels are in the strips held out
            break
    result = state.result
    if plan.rules.empty is EmptyRule.DROP:
        return replace(result, active=result.class_pixels > 0)
    return result


def held_out_inertia(
    backend: Backend,
    space: SceneSpace,
    centres: np.ndarray,
    store: PixelStore,
    batches: Batches,
    monitor: Monitor,
) -> tuple[int, float]:
    """Return the number of pixels held out, and the sum of their squared distances to centres."""
    batch = batches.load(batches.held_out, monitor)
    if not batch.blocks:
        return 0, 0.0
    backend.prepare(batch.blocks, store.scene_count, monitor)
    partials = backend.step(space.scores(centres, np.ones(len(centres), bool)))
    inertia = space.inertia(centres, partials, batch.moments)
    return int(partials.counts.sum()), inertia
