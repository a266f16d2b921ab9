"""The compiled ways to measure quality give the integers of the reference, whatever the shape."""

from __future__ import annotations

import re

import numpy as np
import pytest
from conftest import land_cover
from hypothesis import given
from hypothesis import strategies as st

from iikmc.core import Monitor, cluster, open_series
from iikmc.core import quality as quality_module
from iikmc.core.backends.base import Yardstick, open_backend
from iikmc.core.grid import Window
from iikmc.core.pixels import Block
from iikmc.core.quality import _scale, _sums, _sums_compiled
from iikmc.core.scratch import Shelf

pytest.importorskip("numba", reason="the engine numba is not installed here")

SIZES = (0, 700, 1, 15, 16, 17, 33)
"""Pixels of the blocks: none, fewer than a tile has, whole tiles, and tiles that are not full."""


def drawn_blocks(rng, bands, dtype, top):
    """Return blocks of random codes below ``top``, in turn of two scenes."""
    shelf = Shelf(1 << 40)
    lowest = -top if dtype == "int32" else 0
    return [
        Block(
            number % 2,
            Window(0, 0, 1, size),
            shelf.put(rng.integers(lowest, top, (bands, size)).astype(dtype)),
            None,
        )
        for number, size in enumerate(SIZES)
    ]


def drawn_yardstick(rng, blocks, classes, bands, used):
    """Return signatures of which two coincide, and one lies at a pixel where steps are 1."""
    middle = int(blocks[1].codes.load().mean())
    steps = np.stack([np.ones(bands), rng.normal(1.0, 0.1, bands)])
    signatures = rng.normal(0.0, 1000.0, (2, classes, bands))
    if len(used) > 2:
        signatures[:, used[0]] = signatures[:, used[1]]
    signatures[0, used[-1]] = blocks[2].codes.load()[:, 0].astype(np.int64) - middle
    empty = np.setdiff1d(np.arange(classes), used)
    signatures[:, empty] = np.inf
    return Yardstick(signatures, steps, np.full(bands, middle), 2.0**33, 2.0**50)


def measured(name, threads, blocks, labels, yardstick):
    """Return the integers of one backend for these labels, be they those of a step or not."""
    backend = open_backend(name, threads)
    try:
        backend.prepare(blocks, 2, Monitor())
        for index, some in enumerate(labels):
            backend.labels(index)[:] = some
        found = backend.measure(yardstick)
    finally:
        backend.close()
    return found.distances.tolist(), found.silhouettes.tolist()


@pytest.mark.parametrize("classes", [2, 8, 50, 254])
@pytest.mark.parametrize("dtype", ["uint16", "int32"])
@pytest.mark.parametrize("bands", [1, 6, 10, 33, 64])
def test_any_shape_is_measured_as_numpy_does(bands, dtype, classes, monkeypatch):
    rng = np.random.default_rng([bands, classes])
    blocks = drawn_blocks(rng, bands, dtype, 5000)
    used = np.sort(rng.permutation(classes)[: max(2, classes * 3 // 4)])
    yardstick = drawn_yardstick(rng, blocks, classes, bands, used)
    labels = [rng.choice(used, block.pixels).astype(np.uint8) for block in blocks]
    labels[2][:] = used[-1]  # the pixel at its signature
    expected = measured("numpy", 1, blocks, labels, yardstick)
    assert np.count_nonzero(expected[0]) > min(classes, 100) // 2
    for threads, terms in ((1, 1 << 31), (2, 1)):  # the other in calls of one tile
        monkeypatch.setattr("iikmc.core.backends.numba.MOST_TERMS", terms)
        assert measured("numba", threads, blocks, labels, yardstick) == expected


def test_a_pixel_at_two_signatures_is_between_them():
    shelf = Shelf(1 << 40)
    codes = np.array([[9, 9, 5]], np.uint16)
    blocks = [Block(0, Window(0, 0, 1, 3), shelf.put(codes), None)]
    yardstick = Yardstick(
        np.array([[[2.0], [2.0], [np.inf]]]), np.ones((1, 1)), np.array([7]), 2.0**20, 2.0**30
    )
    labels = [np.array([0, 1, 1], np.uint8)]
    for engine in ("numpy", "numba"):
        found = measured(engine, 1, blocks, labels, yardstick)
        assert found == ([0, 4 << 20, 0], [0, 0, 0])


def test_kernels_that_measure_have_symbols_of_their_own():
    from iikmc.core.backends.numba_quality import measuring_kernel

    shapes = [(6, "uint16"), (10, "uint16"), (6, "int32")]
    names = {
        re.split(r"B\d+v\d+", result.fndesc.llvm_func_name)[0]  # without the number
        for shape in shapes
        for result in measuring_kernel(*shape).overloads.values()
    }
    assert len(names) == len(shapes)


@given(
    seed=st.integers(0, 2**32 - 1),
    sizes=st.lists(st.integers(1, 700), min_size=2, max_size=5),
    bands=st.sampled_from([1, 3, 13]),
    threads=st.integers(1, 3),
)
def test_distances_are_added_up_as_numpy_does(seed, sizes, bands, threads):
    rng = np.random.default_rng(seed)
    positions = rng.normal(0.0, 1000.0, (bands, sum(sizes)))
    positions[:, -1] = positions[:, 0]
    scale, sizes = _scale(10_000.0 * bands, sum(sizes), 52, 52), np.array(sizes)
    expected = _sums(positions, sizes, scale, Monitor())
    found = _sums_compiled(positions, sizes, scale, threads, Monitor())
    np.testing.assert_array_equal(found, expected)


def test_without_numba_the_quality_is_the_same(make_scene, monkeypatch):
    paths = [make_scene(f"s_2020-01-0{n}", land_cover(n)) for n in (1, 2)]
    found = []
    for usable in (True, False):
        monkeypatch.setattr(quality_module, "is_usable", lambda name, usable=usable: usable)
        with open_series(paths) as series:
            found.append(cluster(series, classes=4, max_iter=4, engine="numpy").fit.quality)
    assert found[0] is not None
    assert found[0] == found[1]
