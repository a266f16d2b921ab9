"""Places and sums beyond 2^31 and 2^32, which small blocks never reach."""

from __future__ import annotations

import ctypes
import mmap
import sys

import fake_cupy
import numpy as np
import pytest

from iikmc.core.backends.cupy_kernels import BLOCK, CHUNK, SOURCE, KernelShape
from iikmc.core.scores import Scores

pytestmark = [
    pytest.mark.skipif(fake_cupy.COMPILER is None, reason=fake_cupy.NO_COMPILER),
    pytest.mark.skipif(sys.platform != "linux", reason="needs memory that is only promised"),
]

BANDS, CLASSES, STRIDE, PIXELS = 3, 8, 1 << 31, (1 << 31) - 1
MAP_NORESERVE = 0x4000


def test_a_block_of_two_thousand_million_pixels_and_sums_that_were_already_large():
    """15 GB of address space, of which two chunks are touched: the first and the last."""
    shape = KernelShape.of(BANDS, CLASSES, np.dtype(np.uint16)).but(threads=8, chunk=128)
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE
    memory = mmap.mmap(-1, STRIDE * (2 * BANDS + 1), flags=flags)
    whole = np.frombuffer(memory, np.uint8)
    codes = whole[: 2 * BANDS * STRIDE].view(np.uint16).reshape(BANDS, STRIDE)
    labels = whole[2 * BANDS * STRIDE :]
    rng = np.random.default_rng(1)
    places = [slice(0, 128), slice(PIXELS // 128 * 128, PIXELS)]
    assert places[1].stop - places[1].start == 127
    for place in places:
        codes[:, place] = rng.integers(0, 65_536, codes[:, place].shape)
        labels[place] = 255
    block = np.array([(0, 2 * BANDS * STRIDE, STRIDE, PIXELS, 0)], BLOCK)
    chunks = np.array([(0, place.start) for place in places], CHUNK)
    middles = np.full(BANDS, 30_000)
    centres = rng.integers(-20_000, 20_000, (CLASSES, BANDS))
    scores = Scores((2 * centres)[None], (centres**2).sum(axis=1)[None], middles, np.ones(1))
    records = shape.scores(scores, np.array([[[0] * BANDS, [65_535] * BANDS]]))
    before = np.full(1 + CLASSES * (BANDS + 1), (1 << 32) - 1, np.int64)
    totals = before.copy()
    addresses = [whole.ctypes.data, *(x.ctypes.data for x in (block, chunks, records, totals))]
    library = fake_cupy.shim(SOURCE.read_text("utf-8"), shape.options())
    pointers = (ctypes.c_void_p * 5)(*addresses)
    assert library.run_assign_pixels(len(chunks), shape.threads, pointers) == 0

    taken = np.concatenate([codes[:, place] for place in places], axis=1).astype(np.int64)
    found = np.concatenate([labels[place] for place in places])
    offsets = taken - middles[:, None]
    expected = (scores.n[0][:, None] - scores.q[0] @ offsets).argmin(axis=0)
    np.testing.assert_array_equal(found, expected)
    by_class = (totals - before)[1:].reshape(CLASSES, BANDS + 1)
    assert (totals - before)[0] == found.size == 255
    for label in range(CLASSES):
        np.testing.assert_array_equal(by_class[label, :-1], taken[:, found == label].sum(axis=1))
        assert by_class[label, -1] == (found == label).sum()
