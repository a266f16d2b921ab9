"""How near pixels are to their signature, and how much nearer than to the next one."""

from __future__ import annotations

import numpy as np

from .pixels import Block
from .scores import FeatureSpace

_CHUNK = 1 << 16


def nearness(space: FeatureSpace, centres: np.ndarray, block: Block) -> np.ndarray:
    """Return distance and margin of a block's valid pixels: float32, shape (2, pixels).

    The distance is the Euclidean one to the nearest signature, in the input's units, or in those
    of the scaling. The margin is how much farther the second nearest is; NaN where there is none.
    """
    codes = block.codes.load()
    midpoints = np.array(space.midpoints, np.int64)
    found = np.empty((2, codes.shape[1]), np.float32)
    for start in range(0, codes.shape[1], _CHUNK):
        part = codes[:, start : start + _CHUNK]
        planes = [plane - middle for plane, middle in zip(part, midpoints)]
        best = np.full(part.shape[1], np.inf)
        second = best.copy()
        for centre in centres:
            squares = np.zeros(part.shape[1])
            for plane, place, weight in zip(planes, centre, space.weights):
                step = plane - place
                squares += weight * (step * step)
            np.minimum(second, np.maximum(squares, best), out=second)
            np.minimum(best, squares, out=best)
        distance = np.sqrt(best)
        found[0, start : start + _CHUNK] = distance
        found[1, start : start + _CHUNK] = np.sqrt(second) - distance
    if len(centres) < 2:
        found[1] = np.nan
    return found
