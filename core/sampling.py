"""Randomness that depends on the seed and a pixel's place alone, and samples drawn with it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .monitor import Monitor
from .pixels import Block, PixelStore

CANONICAL_PIXELS = 1 << 16
_GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


def keyed(seed: int, *keys: int | np.ndarray) -> np.ndarray:
    """Return 64 random bits for each combination of keys: uint64, broadcast shape.

    SplitMix64 (Steele, Lea & Flood 2014, doi 10.1145/2660193.2660195), chained over the keys.
    """
    state = np.asarray(seed & _MASK, np.uint64)
    for key in keys:
        state = _mix(_mix(state) ^ np.asarray(key).astype(np.uint64))
    return _mix(state)


def uniform(seed: int, *keys: int) -> float:
    """Return a number from 0 up to 1, with 53 random bits, for these keys."""
    return float(int(keyed(seed, *keys)) >> 11) * 2.0**-53


def sample_run(fraction: float) -> int:
    """Return how many places there are for each that an even sample has."""
    return max(1, round(1 / fraction))


def sampled_blocks(
    store: PixelStore, seed: int, fraction: float, threads: int, monitor: Monitor
) -> Sequence[Block]:
    """Return blocks that hold an even sample, about ``fraction`` of each scene's pixels.

    Stratified by scene and place as in :func:`canonical_sample`.
    """
    run = sample_run(fraction)
    if run == 1:
        return store.blocks
    return store.derived(drawn_codes, (store.grid.width, run, seed), threads, monitor)


def canonical_sample(
    store: PixelStore,
    seed: int,
    pixels: int = CANONICAL_PIXELS,
    threads: int = 1,
    monitor: Monitor | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return codes and scenes of an even sample of ``pixels`` pixels or more, if there are so many.

    The places of each scene, row by row, are cut into runs of equal length, and one place is
    drawn from each; masked places drop out. So the sample depends on the seed, the scenes'
    ranks and the places only. int64, shapes (bands, sample) and (sample,), by scene and place; a
    series of fewer pixels comes whole.
    """
    run = max(1, store.pixels // pixels)
    return even_sample(store, seed, run, threads, monitor or Monitor())


def even_sample(
    store: PixelStore, seed: int, run: int, threads: int, monitor: Monitor
) -> tuple[np.ndarray, np.ndarray]:
    """Return a :func:`canonical_sample` of one place of each ``run`` of a scene's places."""
    found = list(store.each(drawn, (store.grid.width, run, seed), threads, monitor))
    scenes = np.concatenate([np.full(len(places), scene) for scene, (places, _) in found])
    places = np.concatenate([places for _, (places, _) in found])
    codes = np.concatenate([codes for _, (_, codes) in found], axis=1)
    order = np.lexsort((places, scenes))
    return codes[:, order].astype(np.int64), scenes[order]


def drawn_codes(block: Block, width: int, run: int, seed: int) -> np.ndarray:
    """Return the codes of :func:`drawn`."""
    return drawn(block, width, run, seed)[1]


def drawn(block: Block, width: int, run: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the places of a block that are drawn, one of each run, and their codes.

    int64 (sample,), and (bands, sample); ``width`` is the grid's.
    """
    window = block.window
    first = window.row * width + window.column
    last = (window.row + window.height - 1) * width + window.column + window.width - 1
    runs = np.arange(first // run, last // run + 1)
    drawn = keyed(seed, block.scene, runs) % np.uint64(run)
    places = runs * run + drawn.astype(np.int64)
    rows, columns = places // width - window.row, places % width - window.column
    inside = (rows >= 0) & (rows < window.height) & (columns >= 0) & (columns < window.width)
    places = places[inside]
    kept, local = block.places(rows[inside], columns[inside])
    return places[kept], block.codes.load()[:, local]


def _mix(state: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        state = state + np.uint64(_GOLDEN)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(state ^ (state >> np.uint64(31)))
