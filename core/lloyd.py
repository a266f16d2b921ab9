"""The one k-means loop: assign, update, empty classes, stop. Backends only add up."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .backends.base import Backend, Partials
from .monitor import Monitor
from .pixels import PixelStore
from .scene_space import SceneSpace
from .seeding import squared_distances


class StopRule(enum.Enum):
    """What has to fall to the tolerance, in the order of the STOP_RULE parameter."""

    CHANGED = "changed"
    SHIFT = "shift"


class EmptyRule(enum.Enum):
    """What becomes of a class without a pixel, in the order of the EMPTY parameter."""

    KEEP = "keep"
    RELOCATE = "relocate"
    DROP = "drop"


@dataclass(frozen=True)
class Rules:
    """When to stop, and what to do with empty classes."""

    max_iter: int
    stop_rule: StopRule
    tol: float
    empty: EmptyRule


@dataclass(frozen=True)
class LloydResult:
    """Where the loop ended.

    ``centres`` (classes, bands) and ``active`` (classes,) after the last update;
    ``class_pixels`` (classes,) as assigned before it; ``changed`` and ``shift`` by iteration.
    """

    centres: np.ndarray
    active: np.ndarray
    class_pixels: np.ndarray
    changed: tuple[float, ...]
    shift: tuple[float, ...]
    converged: bool

    def as_json(self) -> dict[str, Any]:
        """Return plain lists and numbers."""
        return {
            "centres": self.centres.tolist(),
            "active": self.active.tolist(),
            "class_pixels": self.class_pixels.tolist(),
            "changed": self.changed,
            "shift": self.shift,
            "converged": self.converged,
        }

    @classmethod
    def of_json(cls, content: dict[str, Any]) -> LloydResult:
        """Return what was kept as JSON."""
        return cls(
            centres=np.array(content["centres"], np.float64),
            active=np.array(content["active"], bool),
            class_pixels=np.array(content["class_pixels"], np.int64),
            changed=tuple(content["changed"]),
            shift=tuple(content["shift"]),
            converged=content["converged"],
        )


@dataclass(frozen=True)
class LloydState:
    """Where the loop is after an iteration: all it needs to go on.

    ``before`` (classes, bands) and ``was_active`` (classes,) are what the pixels' labels were
    assigned by, ``result`` is where the loop would end now.
    """

    before: np.ndarray
    was_active: np.ndarray
    result: LloydResult

    @classmethod
    def first(cls, centres: np.ndarray) -> LloydState:
        """Return the state before the first iteration, from centres (classes, bands)."""
        active = np.ones(len(centres), bool)
        counts = np.zeros(len(centres), np.int64)
        return cls(centres, active, LloydResult(centres, active, counts, (), (), False))

    def as_json(self) -> dict[str, Any]:
        """Return plain lists and numbers."""
        return {
            "before": self.before.tolist(),
            "was_active": self.was_active.tolist(),
            "result": self.result.as_json(),
        }

    @classmethod
    def of_json(cls, content: dict[str, Any]) -> LloydState:
        """Return what was kept as JSON."""
        return cls(
            np.array(content["before"], np.float64),
            np.array(content["was_active"], bool),
            LloydResult.of_json(content["result"]),
        )


def lloyd(
    backend: Backend,
    space: SceneSpace,
    state: LloydState,
    rules: Rules,
    spread: float,
    sample: np.ndarray,
    pixels: int,
    keep: Callable[[LloydState], None],
    monitor: Monitor,
) -> LloydResult:
    """Run k-means from a state on, on the blocks a backend has prepared.

    An iteration is assign, then update; the loop stops after the update of the first iteration
    that meets the stop rule. ``keep`` is called with the state after each. ``sample``, positions
    (bands, pixels), is where empty classes are relocated to; centre shifts are told in shares of
    ``spread``. Raises Cancelled from the monitor.
    """
    result = state.result
    centres, active = result.centres, result.active
    changed, shift = list(result.changed), list(result.shift)
    reached = 0.0
    if changed and len(changed) < rules.max_iter and not result.converged:
        monitor.check()
        backend.step(space.scores(state.before, state.was_active))  # changes are told from these
    while len(changed) < rules.max_iter and not result.converged:
        monitor.check()
        partials = backend.step(space.scores(centres, active))
        before, was_active = centres, active
        counts = partials.counts.sum(axis=0)
        centres, relocated = _update(space, before, active, partials, rules, sample)
        if rules.empty is EmptyRule.DROP:
            active = active & (counts > 0)
        changed.append(partials.changed / pixels)
        shift.append(mean_shift(space, before[active], centres[active]) / spread)
        measure = changed[-1] if rules.stop_rule is StopRule.CHANGED else shift[-1]
        converged = measure <= rules.tol and not relocated
        result = LloydResult(centres, active, counts, tuple(changed), tuple(shift), converged)
        keep(LloydState(before, was_active, result))
        reached = max(reached, _progress(measure, len(changed), rules))
        monitor.progress(reached)
        monitor.message(
            f"Iteration {len(changed)}: {changed[-1]:.4%} of the pixels took another class, "
            f"the centres moved by {shift[-1]:.3g} of the spread."
        )
    return result


def _update(
    space: SceneSpace,
    centres: np.ndarray,
    active: np.ndarray,
    partials: Partials,
    rules: Rules,
    sample: np.ndarray,
) -> tuple[np.ndarray, bool]:
    """Return the means of the classes, and whether an empty one was relocated."""
    counts = partials.counts.sum(axis=0)
    means = space.means(partials.sums, partials.counts)
    empty = (counts == 0) & active
    updated = np.where((counts > 0)[:, None], means, centres)
    if rules.empty is not EmptyRule.RELOCATE or not empty.any():
        return updated, False
    return _relocate(space.weights, updated, empty, sample)


def _relocate(
    weights: np.ndarray, centres: np.ndarray, empty: np.ndarray, sample: np.ndarray
) -> tuple[np.ndarray, bool]:
    """Move each empty class onto the sample's pixel that is farthest from all other centres."""
    nearest = np.full(sample.shape[1], np.inf)
    for centre in centres[~empty]:
        np.minimum(nearest, squared_distances(weights, sample, centre), out=nearest)
    moved = False
    for row in np.flatnonzero(empty):
        place = int(np.argmax(nearest))  # of equal ones the first, by scene and place
        if nearest[place] == 0.0:
            break
        centres[row] = sample[:, place]
        np.minimum(nearest, squared_distances(weights, sample, centres[row]), out=nearest)
        moved = True
    return centres, moved


def spread_of(space: SceneSpace, store: PixelStore) -> float:
    """Return the length of the vector of the bands' spreads: half of percentiles 16 to 84."""
    weights, bands = space.weights.tolist(), space.spreads(store)
    spreads = [weight * ((s.high - s.low) / 2) ** 2 for weight, s in zip(weights, bands)]
    return math.sqrt(math.fsum(spreads)) or math.sqrt(math.fsum(weights))


def mean_shift(space: SceneSpace, before: np.ndarray, after: np.ndarray) -> float:
    """Return the mean distance that centres, (classes, bands), have moved."""
    squares = space.weights * (after - before) ** 2
    return math.fsum(math.sqrt(math.fsum(row)) for row in squares.tolist()) / len(squares)


def _progress(measure: float, iterations: int, rules: Rules) -> float:
    """Guess how far along the loop is: shares fall about geometrically."""
    share = iterations / rules.max_iter
    if 0.0 < measure < 1.0 and 0.0 < rules.tol < 1.0:
        share = max(share, min(1.0, math.log(measure) / math.log(rules.tol)))
    return share
