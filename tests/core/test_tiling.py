"""The order of tiles: every pixel once, neighbours together, and the way back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from iikmc.core.grid import Window
from iikmc.core.pixels import Block
from iikmc.core.scratch import Shelf
from iikmc.core.tiling import COLUMNS, ROWS, from_tiles, in_tiles, places_in_tiles

SHAPES = st.tuples(st.integers(1, 14), st.integers(1, 27))


def one_by_one(plane):
    """The values tile by tile, as the definition says."""
    height, width = plane.shape
    return [
        plane[row, column]
        for top in range(0, height, ROWS)
        for left in range(0, width, COLUMNS)
        for row in range(top, min(top + ROWS, height))
        for column in range(left, min(left + COLUMNS, width))
    ]


@given(SHAPES)
def test_values_go_tile_by_tile_and_back(shape):
    plane = np.arange(shape[0] * shape[1], dtype=np.uint16).reshape(shape)
    values = in_tiles(plane)
    assert values.tolist() == one_by_one(plane)
    assert from_tiles(values, shape).tolist() == plane.tolist()
    rows, columns = np.indices(shape).reshape(2, -1)
    assert values[places_in_tiles(rows, columns, *shape)].tolist() == plane.reshape(-1).tolist()


def test_a_plane_one_pixel_wide_stays_as_it_is():
    plane = np.arange(23).reshape(-1, 1)
    assert in_tiles(plane).tolist() == plane[:, 0].tolist()


@given(SHAPES, st.data())
@pytest.mark.parametrize("room", [0, 1 << 20])
def test_rows_of_a_block_are_those_of_its_window(room, shape, data):
    height, width = shape
    valid = data.draw(hnp.arrays(bool, shape))
    first = data.draw(st.integers(0, height - 1))
    last = data.draw(st.integers(first + 1, height))
    values = np.arange(height * width, dtype=np.uint16).reshape(shape)
    codes = np.stack([in_tiles(values), in_tiles(values + 7)])[:, in_tiles(valid)]
    shelf = Shelf(room)
    packed = None if valid.all() else np.packbits(in_tiles(valid))
    block = Block(0, Window(5, 3, height, width), shelf.put(codes), packed)
    pixels = block.rows(first, last)
    found = pixels.of(block.codes)
    assert found[0].tolist() == values[pixels.rows, pixels.columns].tolist()
    assert (found[1] == found[0] + 7).all()
    assert sorted(found[0].tolist()) == values[first:last][valid[first:last]].tolist()
    labels = np.zeros(block.pixels, np.uint8)
    pixels.put(np.full(found.shape[1], 9, np.uint8), labels)
    expected = np.zeros(shape, np.uint8)
    expected[first:last][valid[first:last]] = 9
    assert block.spread(labels).tolist() == expected.tolist()
    shelf.close()
