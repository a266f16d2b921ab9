"""Balls around tiles of pixels: with many classes, most are too far from a tile to be looked at.

A ball has a centre c and a radius r; a class j is further from all of its pixels x than a class
i if s_j(c) − s_i(c) > |q_j − q_i| r, for s_j(x) − s_i(x) = s_j(c) − s_i(c) − (q_j − q_i)·(x − c)
and the last product is at most |q_j − q_i| |x − c| (Cauchy-Schwarz). Where only one class is left,
it is that of all the pixels, and their codes are not read. It pays where neighbours are alike,
which is found out block by block.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..monitor import Monitor
from ..parallel import beside
from ..pixels import Block
from .numba_assign import enclosing_kernel
from .numba_ir import TILE
from .numba_middles import middle_columns

# Balls are tried from so much work on, for each pixel: its products, and as much as this many more
# for each class; a block keeps them while no more than this share of the classes has to be looked
# at (all measured).
_WORK, _OF_CLASS = 90, 4
_SHARE = 0.7
_SAMPLE_TILES = 1024


class Balls:
    """The balls of a backend's blocks, made when they are first of use."""

    def __init__(self, blocks: int) -> None:
        self._known: list[tuple[np.ndarray, np.ndarray] | None] = [None] * blocks
        self._pays = [True] * blocks
        self._in_use = False
        self.weights: np.ndarray | None = None

    def begin(self, classes: int, steps: int, blocks: Sequence[Block], monitor: Monitor) -> None:
        """Decide whether balls are of use in a step: pixels need labels from one before.

        There must be a block.
        """
        work = classes * (blocks[0].codes.shape[0] + _OF_CLASS)
        self._in_use = work >= _WORK and steps > 0
        if not self._in_use or self.weights is not None:
            return
        largest = max(blocks, key=lambda block: block.pixels)
        if largest.pixels < TILE:
            self._in_use = False
            return
        shape = largest.codes.shape[0], largest.codes.dtype.name
        self._enclose = beside(lambda: enclosing_kernel(*shape), monitor)
        self.weights = _weights(largest.codes.load())

    def of(self, index: int, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return middles, codes, with their columns, and radii, float32 (tiles,); or no tiles."""
        bands, pixels = codes.shape
        known = self._known[index]
        if not self._in_use or not self._pays[index] or pixels < TILE:
            return np.empty((0, middle_columns(bands)), codes.dtype), np.empty(0, np.float32)
        if known is None:
            tiles = -(-pixels // TILE)
            middles = np.zeros((tiles, middle_columns(bands)), codes.dtype)
            known = middles, np.empty(tiles, np.float32)
            self._enclose(codes, self.weights, *known)
            self._known[index] = known
        return known

    def judge(self, index: int, tiles: float) -> None:
        """Learn that as much was looked at as all classes for so many tiles."""
        known = self._known[index]
        if self._in_use and known is not None and tiles > _SHARE * len(known[1]):
            self._pays[index], self._known[index] = False, None


def _weights(codes: np.ndarray) -> np.ndarray:
    """Return what makes the bands' differences within tiles alike, float32; any would be right."""
    tiles = codes.shape[1] // TILE
    chosen = np.linspace(0, tiles - 1, min(tiles, _SAMPLE_TILES)).astype(np.int64)
    places = chosen[:, None] * TILE + np.arange(TILE)
    spreads = codes[:, places].std(axis=2).mean(axis=1)
    return (1.0 / np.where(spreads > 0.0, spreads, 1.0)).astype(np.float32)
