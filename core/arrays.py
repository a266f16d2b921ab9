"""Arrays of samples as pixel stores, block by block on threads."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from .codes import CodeGrid, ValueRange, grid_for_types
from .coding import Coder, RawWindow
from .grid import Grid, Window
from .monitor import Monitor
from .parallel import ordered_map
from .pixels import Block, PixelStore
from .reading import Totals
from .scratch import Shelf
from .valid import LeftOut

Result = TypeVar("Result")

_BLOCK_SAMPLES = 1 << 17


def stored(samples: np.ndarray, code_grids: Sequence[CodeGrid] | None, threads: int) -> PixelStore:
    """Code samples, (samples, features), as one scene a pixel wide, on these grids or their own."""
    own = code_grids is None
    typed = grid_for_types([samples.dtype.name])
    if code_grids is None and typed is not None:
        code_grids = (typed,) * samples.shape[1]
    if code_grids is None:

        def look(rows: slice) -> list[ValueRange]:
            return [ValueRange.of(plane) for plane in samples[rows].T]

        ranges = zip(*by_block(look, len(samples), threads))
        code_grids = [functools.reduce(ValueRange.merge, parts).code_grid() for parts in ranges]
    shelf = Shelf(sys.maxsize)
    blocks = -(-len(samples) // _BLOCK_SAMPLES)
    totals = Totals(code_grids, 1)
    code = Coder(code_grids, shelf, {0: blocks}, totals.close)

    def put(rows: slice) -> Block:
        window = Window(rows.start, 0, rows.stop - rows.start, 1)
        return code(RawWindow((0, window), list(samples[rows].T)))

    coded = by_block(put, len(samples), threads)
    code.end(Monitor())
    return PixelStore(
        coded,
        shelf,
        Grid("", (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), 1, len(samples)),
        1,
        code_grids,
        totals.statistics(),
        totals.scene_statistics,
        totals.scene_quantiles,
        code.saturated,
        np.zeros((1, len(LeftOut)), np.int64),
        own,
    )


def by_block(function: Callable[[slice], Result], samples: int, threads: int) -> list[Result]:
    """Return ``function(rows)`` for each block of samples, in order, run on threads."""
    blocks = [
        slice(start, min(start + _BLOCK_SAMPLES, samples))
        for start in range(0, samples, _BLOCK_SAMPLES)
    ]
    if len(blocks) == 1:
        return [function(blocks[0])]
    with ThreadPoolExecutor(threads) as pool:
        return list(ordered_map(pool, function, blocks, Monitor(), ahead=2 * threads))


def real_codes(grid: CodeGrid, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return codes of one band as float64, and which of them are not among the grid's codes."""
    codes = values.astype(np.float64) / grid.step - float(grid.shift)
    nearest = np.rint(codes)
    beyond = (nearest < grid.lowest) | (nearest > grid.highest)
    if grid.wide:  # whose values lie between codes as a rule, and took the nearest at the fit
        return nearest, beyond
    return codes, beyond | (codes != nearest)
