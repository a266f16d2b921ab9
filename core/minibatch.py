"""Mini-batch k-means on a stream of small batches, each drawn from all scenes and places.

Follows scikit-learn's MiniBatchKMeans (Sculley 2010, Web-scale k-means clustering, doi
10.1145/1772690.1772862): a warm start on a sample, centres that are running means of all pixels
they were given, and an end when the smoothed inertia of the batches no longer improves. The
batches are of integers and cut by scene and row only, so the result has the same bits whatever
the blocks of the store are.
"""

from __future__ import annotations

import numpy as np

from .backends.base import Backend
from .batches import Batches
from .lloyd import EmptyRule, LloydResult, StopRule, mean_shift, spread_of
from .monitor import Monitor
from .pixels import PixelStore
from .plan import FitPlan
from .scene_space import SceneSpace

_PATIENCE = 10  # batches without improvement, as scikit-learn's max_no_improvement


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
            batch = batches.load(strips, monitor)
            if not batch.blocks:
                continue
            backend.prepare(batch.blocks, store.scene_count, monitor)
            partials = backend.step(space.scores(centres, ones))
            inertia = space.inertia(centres, partials, batch.moments)
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
    batch = batches.load(batches.held_out, monitor)
    if not batch.blocks:
        return 0, 0.0
    backend.prepare(batch.blocks, store.scene_count, monitor)
    partials = backend.step(space.scores(centres, np.ones(len(centres), bool)))
    inertia = space.inertia(centres, partials, batch.moments)
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
