"""How near pixels are to their signature, and how much nearer than to the next one."""

from __future__ import annotations

import numpy as np

from .pixels import Block
from .scene_space import SceneSpace
from .seeding import squared_distances

_CHUNK = 1 << 16


def nearness(space: SceneSpace, centres: np.ndarray, block: Block) -> np.ndarray:
    """Return distance and margin of a block's valid pixels: float32, shape (2, pixels).

    The distance is the Euclidean one to the nearest signature, in the input's units, or in those
    of the scaling. The margin is how much farther the second nearest is; NaN where there is none.
    """
    codes = block.codes.load()
    found = np.empty((2, codes.shape[1]), np.float32)
    for start in range(0, codes.shape[1], _CHUNK):
        part = codes[:, start : start + _CHUNK]
        positions = space.positions(part, block.scene)
        best = np.full(part.shape[1], np.inf)
        second = best.copy()
        for centre in centres:
            squares = squared_distances(space.weights, positions, centre)
            np.minimum(second, np.maximum(squares, best), out=second)
            np.minimum(best, squares, out=best)
        distance = np.sqrt(best)
        found[0, start : start + _CHUNK] = distance
        found[1, start : start + _CHUNK] = np.sqrt(second) - distance
    if len(centres) < 2:
        found[1] = np.nan
    return found
