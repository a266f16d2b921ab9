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
    the pixels of a tile row by row.
    """
    height, width = plane.shape
    values = np.empty(plane.size, plane.dtype)
    for there, tiles in _tiled(values, (height, width)):
        strips, number, tall, wide = tiles.shape
        tiles[...] = plane[there].reshape(strips, tall, number, wide).swapaxes(1, 2)
    return values


def from_tiles(values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return the plane, (height, width), whose values :func:`in_tiles` would return."""
    plane = np.empty(shape, values.dtype)
    for there, tiles in _tiled(values, shape):
        strips, number, tall, wide = tiles.shape
        plane[there].reshape(strips, tall, number, wide)[...] = tiles.swapaxes(1, 2)
    return plane


def places_in_tiles(rows: np.ndarray, columns: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return where pixels of a window come in the order of tiles, counted from 0, int64."""
    strip, tile = rows // ROWS, columns // COLUMNS
    tall = np.minimum(ROWS, height - strip * ROWS)
    wide = np.minimum(COLUMNS, width - tile * COLUMNS)
    first = strip * (ROWS * width) + tile * COLUMNS * tall
    return np.asarray(first + rows % ROWS * wide + columns % COLUMNS, np.int64)


def _tiled(
    values: np.ndarray, shape: tuple[int, int]
) -> Iterator[tuple[tuple[slice, slice], np.ndarray]]:
    """Yield parts of a plane that are made of tiles of one size.

    Where the part lies, and a view of its values: (strips, tiles of a strip, rows, columns).
    """
    height, width = shape
    for top, bottom, tall in _parts(height, ROWS):
        strips = (bottom - top) // tall
        those = values[top * width : bottom * width].reshape(strips, tall * width)
        for left, right, wide in _parts(width, COLUMNS):
            part = those[:, left * tall : right * tall]
            tiles = part.reshape(strips, (right - left) // wide, tall, wide)
            yield (slice(top, bottom), slice(left, right)), tiles


def _parts(size: int, step: int) -> Iterator[tuple[int, int, int]]:
    """Yield the whole steps of a side together, and what is left: start, stop and step."""
    whole = size // step * step
    if whole:
        yield 0, whole, step
    if whole < size:
        yield whole, size, size - whole
