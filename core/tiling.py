"""The order in which a window's pixels are stored: small tiles of ground one after the other.

Neighbours are alike, so the pixels of a tile are, far more than as many pixels of one row. What is
known of a tile as a whole saves looking at its pixels one by one.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

ROWS, COLUMNS = 4, 8
"""A tile; those at the lower and the right edge of a window have fewer."""


def in_tiles(plane: np.ndarray) -> np.ndarray:
    """Return the values of a plane, (height, width), tile after tile: (height · width,).

    Strips of :data:`ROWS` rows follow one another; within them tiles go from left to right, and
    the pixels of a tile row by row. Planes one pixel wide or high stay as they are.
    """
    plane = np.ascontiguousarray(plane)
    values = np.empty(plane.size, plane.dtype)
    for rows, of_tiles in _tiled(plane, values):
        of_tiles[...] = rows
    return values


def from_tiles(values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return the plane, (height, width), whose values :func:`in_tiles` would return."""
    plane = np.empty(shape, values.dtype)
    for rows, of_tiles in _tiled(plane, np.ascontiguousarray(values)):
        rows[...] = of_tiles
    return plane


def places_in_tiles(rows: np.ndarray, columns: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return where pixels of a window come in the order of tiles, counted from 0, int64."""
    strip, tile = rows // ROWS, columns // COLUMNS
    tall = np.minimum(ROWS, height - strip * ROWS)
    wide = np.minimum(COLUMNS, width - tile * COLUMNS)
    first = strip * (ROWS * width) + tile * COLUMNS * tall
    return np.asarray(first + rows % ROWS * wide + columns % COLUMNS, np.int64)


def _tiled(plane: np.ndarray, values: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield views of a plane and of its values in order, for tiles of one size at a time.

    Both are (strips, rows of a tile, tiles of a strip). An item is a row of a tile, whatever its
    type: NumPy moves it as a whole, ten times as fast as value by value.
    """
    (height, width), size = plane.shape, plane.itemsize
    line = width * size
    for top, bottom, tall in _parts(height, ROWS):
        for left, right, wide in _parts(width, COLUMNS):
            item, shape = wide * size, ((bottom - top) // tall, tall, (right - left) // wide)
            starts = top * line + left * size, top * line + left * tall * size
            steps = (tall * line, line, item), (tall * line, item, tall * item)
            in_plane: np.ndarray = np.ndarray(shape, f"V{item}", plane, starts[0], steps[0])
            in_values: np.ndarray = np.ndarray(shape, f"V{item}", values, starts[1], steps[1])
            yield in_plane, in_values


def _parts(size: int, step: int) -> Iterator[tuple[int, int, int]]:
    """Yield the whole steps of a side together, and what is left: start, stop and step."""
    whole = size // step * step
    if whole:
        yield 0, whole, step
    if whole < size:
        yield whole, size, size - whole
