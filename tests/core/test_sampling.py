"""Samples are of valid pixels, each with the codes of its own place."""

from __future__ import annotations

import numpy as np
import pytest

from iikmc.core.grid import Window
from iikmc.core.pixels import Block
from iikmc.core.sampling import drawn
from iikmc.core.scratch import Shelf
from iikmc.core.tiling import in_tiles

WIDTH = 1000
"""Columns of the grid."""


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.98, 1.0])
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (3, 5), (8, 16), (41, 53)])
@pytest.mark.parametrize("run", [1, 3, 50])
def test_each_place_drawn_is_valid_and_comes_with_its_codes(shape, share, run):
    rng = np.random.default_rng([*shape, run, int(share * 100)])
    valid = rng.random(shape) < share
    window = Window(20, 30, *shape)
    rows, columns = np.nonzero(valid)
    places = (rows + window.row) * WIDTH + columns + window.column
    planes = np.zeros((2, *shape), np.uint16)
    planes[:, rows, columns] = places // 256, places % 256
    order = in_tiles(valid)
    codes = np.stack([in_tiles(plane)[order] for plane in planes])
    block = Block(0, window, Shelf(1 << 40).put(codes), np.packbits(order))
    found, its_codes = drawn(block, WIDTH, run, 7)
    assert (its_codes[0].astype(int) * 256 + its_codes[1]).tolist() == found.tolist()
    # A run is drawn from as if all of its places were valid.
    nothing = np.zeros((1, valid.size), np.uint16)
    whole = Block(0, window, Shelf(1 << 40).put(nothing), None)
    wanted = np.intersect1d(drawn(whole, WIDTH, run, 7)[0], places)
    assert found.tolist() == wanted.tolist()
