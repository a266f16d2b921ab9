"""How the loop is driven: on all pixels, on a sample first or alone, or on small batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .backends.base import Backend
from .batches import Batches
from .errors import ParameterError
from .lloyd import EmptyRule, LloydResult, Rules, lloyd, spread_of
from .minibatch import held_out_inertia, minibatch
from .model import HeldOut
from .monitor import Monitor
from .pixels import Block, PixelStore
from .plan import FitPlan, Strategy
from .sampling import sampled_blocks
from .scene_space import SceneSpace


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
) -> StrategyResult:
    """Fit from ``start`` (classes, bands); afterwards the backend holds all blocks of the store.

    - full (Han & Lee 2024): every pixel in every iteration.
    - progressive: at most half of the iterations on a sample, then on all pixels, each to the
      stop rule.
    - sample: on the sample alone.
    - mini-batch: on the sample, then on batches as large as it (:mod:`.minibatch`).

    ``sample``, positions (bands, pixels), is for relocating empty classes.
    """
    spread = spread_of(space, store)
    all_active = np.ones(len(start), bool)

    def fit(
        blocks: Sequence[Block],
        centres: np.ndarray,
        active: np.ndarray,
        rules: Rules,
        part: Monitor,
    ) -> LloydResult:
        backend.prepare(blocks, store.scene_count, part)
        pixels = sum(block.pixels for block in blocks)
        return lloyd(
            backend,
            space,
            centres,
            active,
            rules,
            spread,
            sample,
            pixels,
            part,
        )

    if plan.strategy is Strategy.FULL:
        result = fit(store.blocks, start, all_active, plan.rules, monitor)
        return StrategyResult(result, result.changed, result.shift, 0, 0)

    blocks = sampled_blocks(store, plan.seed, plan.sample_fraction, threads, monitor)
    drawn = sum(block.pixels for block in blocks)
    if drawn < len(start):
        raise ParameterError(
            f"The sample has {drawn} pixels for {len(start)} classes: raise SAMPLE_FRACTION "
            f"({plan.sample_fraction:g}) or take the strategy 'full'."
        )
    monitor.message(f"The sample has {drawn:,} of {store.pixels:,} pixels.")
    if plan.strategy is Strategy.SAMPLE:
        result = fit(blocks, start, all_active, plan.rules, monitor)
        backend.prepare(store.blocks, store.scene_count, monitor)
        return StrategyResult(result, result.changed, result.shift, len(result.changed), drawn)

    # A class without a pixel in the sample may have some in the series: none is dropped yet.
    keep = EmptyRule.KEEP if plan.rules.empty is EmptyRule.DROP else plan.rules.empty
    if plan.strategy is Strategy.MINI_BATCH:
        rules = replace(plan.rules, empty=keep)
        warm = fit(blocks, start, all_active, rules, monitor.part(0.0, 0.3))
        batches = Batches(store, plan.sample_fraction, plan.seed, threads)
        last = minibatch(backend, space, warm, plan, store, batches, monitor.part(0.3, 1.0))
        out = held_out_inertia(backend, space, last.centres, store, batches, monitor)
        backend.prepare(store.blocks, store.scene_count, monitor)
        return StrategyResult(
            last,
            warm.changed + last.changed,
            warm.shift + last.shift,
            len(warm.changed),
            drawn,
            HeldOut(*out) if out[0] else None,
        )

    rules = replace(plan.rules, max_iter=plan.rules.max_iter // 2, empty=keep)
    first = fit(blocks, start, all_active, rules, monitor.part(0.0, 0.5))
    used = len(first.changed)
    rules = replace(plan.rules, max_iter=plan.rules.max_iter - used)
    last = fit(store.blocks, first.centres, all_active, rules, monitor.part(0.5, 1.0))
    return StrategyResult(last, first.changed + last.changed, first.shift + last.shift, used, drawn)
