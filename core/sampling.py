"""Randomness that depends on the seed and a pixel's place alone, and samples drawn with it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from .monitor import Monitor
from .parallel import ordered_map
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


def sampled_blocks(
    store: PixelStore, seed: int, fraction: float, threads: int, monitor: Monitor
) -> list[Block]:
    """Return blocks that hold an even sample, about ``fraction`` of each scene's pixels.

    Stratified by scene and place as in :func:`canonical_sample`. Not for writing: a block's
    window and mask are those of all its pixels.
    """
    run = max(1, round(1 / fraction))
    if run == 1:
        return list(store.blocks)
    shelf = store.spare_shelf()

    def draw(block: Block) -> Block:
        _, codes = _from_block(block, store.grid.width, run, seed)
        return Block(block.scene, block.window, shelf.put(np.ascontiguousarray(codes)), None)

    with ThreadPoolExecutor(threads) as pool:
        return list(ordered_map(pool, draw, store.blocks, monitor, ahead=2 * threads))


def canonical_sample(
    store: PixelStore, seed: int, pixels: int = CANONICAL_PIXELS
) -> tuple[np.ndarray, np.ndarray]:
    """Return codes and scenes of an even sample of ``pixels`` pixels or more, if there are so many.

    The places of each scene, row by row, are cut into runs of equal length, and one place is
    drawn from each; masked places drop out. So the sample depends on the seed, the scenes'
    ranks and the places only. int64, shapes (bands, sample) and (sample,), by scene and place; a
    series of fewer pixels comes whole.
    """
    run = max(1, store.pixels // pixels)
    found = [_from_block(block, store.grid.width, run, seed) for block in store.blocks]
    scenes = np.concatenate(
        [np.full(len(places), b.scene) for b, (places, _) in zip(store.blocks, found)]
    )
    places = np.concatenate([places for places, _ in found])
    codes = np.concatenate([codes for _, codes in found], axis=1)
    order = np.lexsort((places, scenes))
    return codes[:, order].astype(np.int64), scenes[order]


def _from_block(block: Block, width: int, run: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the sampled places and their codes (bands, sample) of one block."""
    window = block.window
    first = window.row * width + window.column
    last = (window.row + window.height - 1) * width + window.column + window.width - 1
    runs = np.arange(first // run, last // run + 1)
    drawn = keyed(seed, block.scene, runs) % np.uint64(run)
    places = runs * run + drawn.astype(np.int64)
    rows, columns = places // width - window.row, places % width - window.column
    inside = (rows >= 0) & (rows < window.height) & (columns >= 0) & (columns < window.width)
    places, local = places[inside], (rows * window.width + columns)[inside]
    valid = block.valid()
    if valid is not None:
        kept = valid[local]
        places, local = places[kept], (np.cumsum(valid) - 1)[local[kept]]
    return places, block.codes.load()[:, local]


def _mix(state: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        state = state + np.uint64(_GOLDEN)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(state ^ (state >> np.uint64(31)))
