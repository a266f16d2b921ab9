"""How the loop is driven: on all pixels, on a sample first or alone, or on small batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .backends.base import Backend
from .batches import Batches
from .checkpoint import Checkpoint, FitState, LoopState, SampleFit
from .errors import ParameterError
from .lloyd import EmptyRule, LloydResult, LloydState, Rules, lloyd, spread_of
from .minibatch import BatchState, held_out_inertia, minibatch
from .monitor import Monitor
from .pixels import Block, PixelStore
from .plan import FitPlan, Strategy
from .records import HeldOut
from .sampling import sampled_blocks
from .scene_space import SceneSpace

# How much of the progress the iterations on a sample are.
_SAMPLE_SHARES = {Strategy.SAMPLE: 1.0, Strategy.PROGRESSIVE: 0.5, Strategy.MINI_BATCH: 0.3}


@dataclass(frozen=True)
class StrategyResult:
    """Where the strategy ended, and how many of its iterations were on a sample."""

    last: LloydResult
    changed: tuple[float, ...]
    shift: tuple[float, ...]
    sample_iterations: int
    sample_pixels: int
    held_out: HeldOut | None = None


def run_strategy(
    plan: FitPlan,
    backend: Backend,
    store: PixelStore,
    space: SceneSpace,
    start: np.ndarray,
    sample: np.ndarray,
    threads: int,
    monitor: Monitor,
    checkpoint: Checkpoint | None = None,
) -> StrategyResult:
    """Fit from ``start`` (classes, bands); afterwards the backend holds all blocks of the store.

    - full (Han & Lee 2024): every pixel in every iteration.
    - progressive: at most half of the iterations on a sample, then on all pixels, each to the
      stop rule.
    - sample: on the sample alone.
    - mini-batch: on the sample, then on batches as large as it (:mod:`.minibatch`).

    ``sample``, positions (bands, pixels), is for relocating empty classes. With a ``checkpoint``
    the fit goes on from where that has begun, if it has, and is saved after each iteration.
    """
    spread = spread_of(space, store)
    begun = checkpoint.begun if checkpoint else None
    state: LoopState = begun.loop if begun else LloydState.first(start)
    sampled = begun.sample if begun else None

    def keep(loop: LoopState) -> None:
        if checkpoint is not None:
            checkpoint.save(FitState(loop, sampled))

    def fit(blocks: Sequence[Block], rules: Rules, part: Monitor) -> LloydResult:
        assert isinstance(state, LloydState)
        backend.prepare(blocks, store.scene_count, part)
        pixels = sum(block.pixels for block in blocks)
        return lloyd(backend, space, state, rules, spread, sample, pixels, keep, part)

    if plan.strategy is Strategy.FULL:
        result = fit(store.blocks, plan.rules, monitor)
        return StrategyResult(result, result.changed, result.shift, 0, 0)

    share = _SAMPLE_SHARES[plan.strategy]
    if sampled is None:
        blocks = sampled_blocks(store, plan.seed, plan.sample_fraction, threads, monitor)
        drawn = sum(block.pixels for block in blocks)
        if drawn < len(start):
            raise ParameterError(
                f"The sample has {drawn} pixels for {len(start)} classes: raise SAMPLE_FRACTION "
                f"({plan.sample_fraction:g}) or take the strategy 'full'."
            )
        monitor.message(f"The sample has {drawn:,} of {store.pixels:,} pixels.")
        first = fit(blocks, _sample_rules(plan), monitor.part(0.0, share))
        if plan.strategy is Strategy.SAMPLE:
            backend.prepare(store.blocks, store.scene_count, monitor)
            return StrategyResult(first, first.changed, first.shift, len(first.changed), drawn)
        sampled = SampleFit(drawn, first.changed, first.shift)
        if plan.strategy is Strategy.MINI_BATCH:
            state = BatchState.first(backend, space, first, store.pixels)
        else:
            state = LloydState.first(first.centres)

    used, held_out = len(sampled.changed), None
    if isinstance(state, BatchState):
        batches = Batches(store, plan.sample_fraction, plan.seed, threads)
        part = monitor.part(share, 1.0)
        last = minibatch(backend, space, state, plan, store, batches, keep, part)
        out = held_out_inertia(backend, space, last.centres, store, batches, monitor)
        held_out = HeldOut(*out) if out[0] else None
        backend.prepare(store.blocks, store.scene_count, monitor)
    else:
        rules = replace(plan.rules, max_iter=plan.rules.max_iter - used)
        last = fit(store.blocks, rules, monitor.part(share, 1.0))
    return StrategyResult(
        last,
        sampled.changed + last.changed,
        sampled.shift + last.shift,
        used,
        sampled.pixels,
        held_out,
    )


def _sample_rules(plan: FitPlan) -> Rules:
    """Return the rules on the sample, where it is not all there is."""
    rules = plan.rules
    if plan.strategy is Strategy.SAMPLE:
        return rules
    if plan.strategy is Strategy.PROGRESSIVE:
        rules = replace(rules, max_iter=rules.max_iter // 2)
    # A class without a pixel in the sample may have some in the series: none is dropped yet.
    return replace(rules, empty=EmptyRule.KEEP) if rules.empty is EmptyRule.DROP else rules
