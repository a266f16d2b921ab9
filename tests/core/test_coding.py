"""Windows are coded to the same blocks and numbers, however that is done."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future

import numpy as np
import pytest
from conftest import land_cover
from hypothesis import given
from hypothesis import strategies as st

from iikmc.core import Monitor, coding, errors, open_series
from iikmc.core.codes import CodeGrid, CodeTally, store_dtype
from iikmc.core.coding import Coder, RawWindow, gather_codes, valid_words
from iikmc.core.grid import Window
from iikmc.core.scratch import Shelf
from iikmc.core.tiling import in_tiles

DTYPES = ["uint8", "int8", "int16", "uint16", "int32", "uint32", "float32", "float64"]
GRIDS = [
    CodeGrid(0, 1.0),
    CodeGrid(-(1 << 15), 1.0),
    CodeGrid(-7, 1.0),
    CodeGrid(300, 1.0),
    CodeGrid(1 << 40, 1.0),
    CodeGrid(5, 0.25),
    CodeGrid(0, 2.0**-12, wide=True),
]


SHAPES = [
    (1, 1), (1, 63), (1, 200), (63, 1), (4200, 1), (4, 8), (4, 16), (5, 8), (4, 9), (3, 7), (8, 17),
    (9, 40), (64, 64), (61, 71), (130, 66),
]  # fmt: skip


def masks(rng, shape):
    """All pixels, none, every other one or so, runs, runs of rows, and all but one."""
    pixels = shape[0] * shape[1]
    runs = np.repeat(rng.random(-(-pixels // 70)) < 0.7, 70)[:pixels].reshape(shape)
    rows = np.repeat(rng.random((shape[0], 1)) < 0.7, shape[1], axis=1)
    gap = (np.arange(pixels) != pixels // 2).reshape(shape)
    return [gap | True, gap & False, rng.random(shape) < 0.5, runs, rows, gap]


@given(st.integers(0, 2**32 - 1), st.sampled_from(SHAPES))
def test_the_kernel_gathers_and_counts_as_numpy_does(seed, shape):
    pytest.importorskip("numba")
    from iikmc.core.backends.numba_tally import gathering_kernel

    rng = np.random.default_rng(seed)
    values = rng.integers(0, 1 << 16, shape).astype(np.uint16)
    values[::3] = 65_535
    for valid in masks(rng, shape):
        order = in_tiles(valid)
        expected = in_tiles(values)[order]
        for gather in (gather_codes, gathering_kernel()):
            # What is kept lies between others' codes.
            codes = np.full(len(expected) + 20, 7, np.uint16)
            counts = np.ones(1 << 16, np.int64)
            gather(values, valid_words(order), codes[10:-10], counts)
            assert np.array_equal(codes[10:-10], expected)
            assert (codes[:10] == 7).all() and (codes[-10:] == 7).all()
            assert np.array_equal(counts, np.bincount(expected, minlength=1 << 16) + 1)


def coded(raws, grids):
    """Code windows of one scene: codes and bits of each, values outside, and the tally."""
    closed = []
    coder = Coder(grids, Shelf(1 << 30), {0: len(raws)}, lambda rank, tally: closed.append(tally))
    coder.end(Monitor())
    blocks = [coder(raw) for raw in raws]
    (tally,) = closed
    return [(block.codes.load(), block.packed) for block in blocks], coder.saturated, tally


@pytest.mark.parametrize("grids", [GRIDS[:1] * 2, GRIDS[-1:] * 2])
@pytest.mark.parametrize("order", ["C", "F"])
def test_values_that_may_not_be_written_to_are_coded_all_the_same(grids, order):
    values = np.arange(1000, dtype=np.uint16).reshape(-1, 2, order=order)
    values.flags.writeable = False
    raw = RawWindow((0, Window(0, 0, 500, 1)), list(values.T))
    [(codes, _)], _, tally = coded([raw], grids)
    expected = np.stack([numbers(grids[0], plane, codes.dtype)[0] for plane in values.T])
    np.testing.assert_array_equal(codes, expected)
    assert tally.statistics() == CodeTally(grids).add(expected).statistics()


def test_compiled_code_with_another_constant_is_not_taken_from_the_disk(monkeypatch):
    numba_tally = pytest.importorskip("iikmc.core.backends.numba_tally")
    count = numba_tally.counting_kernel.__wrapped__  # past what this process has

    def squares(bits):
        monkeypatch.setattr(numba_tally, "SQUARE_BITS", bits)
        codes, lowest = np.full((1, 1), 1 << 13, np.int32), np.zeros(1, np.int64)
        return count("int32")(codes, lowest, lowest + 10, np.zeros((1, 16), np.int64))[0, 3]

    assert [squares(20), squares(19)] == [1 << 6, 1 << 7]
    assert f"_{coding.WORD}_" in numba_tally.gathering_kernel().__name__


def numbers(grid, values, dtype):
    """Code values by what a grid's definition says; how many were cut."""
    codes = np.rint(values.astype(np.float64) / grid.step) - grid.shift
    cut = np.clip(codes, grid.lowest, grid.highest)
    return cut.astype(dtype), int((cut != codes).sum())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kernel", [True, False])
def test_any_values_come_out_as_the_grids_define_them(dtype, kernel, monkeypatch):
    if not kernel:
        monkeypatch.setattr(coding, "_kernel", lambda dtype: None)
    rng = np.random.default_rng(3)
    ends = np.iinfo(dtype) if dtype[0] in "iu" else np.iinfo(np.int16)
    shape = 26, 37
    planes = [rng.integers(ends.min, ends.max, shape, dtype=ends.dtype) for _ in GRIDS]
    planes = [plane.astype(dtype) for plane in planes]
    for plane in planes:
        plane[0, :2] = ends.min, ends.max
    for grids in (GRIDS[:-1], GRIDS):
        store, mine = store_dtype(grids), planes[: len(grids)]
        for valid in masks(rng, shape):
            order = in_tiles(valid)
            raw = RawWindow((0, Window(0, 0, *shape)), mine, None if valid.all() else valid)
            blocks, saturated, tally = coded([raw, raw.compact()], grids)
            expected = [numbers(g, in_tiles(p)[order], store) for g, p in zip(grids, mine)]
            codes = np.stack([band for band, _ in expected])
            for found, packed in blocks:
                assert found.dtype == store
                np.testing.assert_array_equal(found, codes)
                assert (packed is None) == valid.all()
                assert packed is None or np.array_equal(packed, np.packbits(order))
            assert saturated == [2 * cut for _, cut in expected]
            wanted = CodeTally(grids).add(codes).add(codes)
            assert tally.pixels == wanted.pixels == 2 * valid.sum()
            assert (tally.histograms == wanted.histograms).all()
            if tally.pixels:
                assert tally.statistics() == wanted.statistics()


def test_values_that_are_left_out_are_not_said_to_lie_outside():
    values = np.array([[-9999, 5], [70_000, -9999]], np.int32)
    valid = values != -9999
    _, saturated, _ = coded([RawWindow((0, Window(0, 0, 2, 2)), [values], valid)], GRIDS[:1])
    assert saturated == [1]


def test_windows_are_coded_before_the_kernel_is_there_and_after(make_scene, monkeypatch):
    """The first half without it, the second half with it: the same store."""
    values = land_cover(1)
    layout = {"tiled": True, "blockxsize": 16, "blockysize": 16}
    path = make_scene("s_2020-01-01", values, nodata=int(values.min()), **layout)
    monkeypatch.setattr("iikmc.core.reading.BLOCK_PIXELS", 300)
    asked, loading = [], Coder._loaded

    def late(coder):
        asked.append(coder)
        coder.end(Monitor())
        return loading(coder) if len(asked) > 3 else None

    def read():
        with open_series([path]) as series:
            store = series.pixels(threads=1)
            codes = [block.codes.load() for block in store.blocks]
            return store.statistics, codes, [block.packed for block in store.blocks]

    expected = read()
    monkeypatch.setattr(Coder, "_loaded", late)
    found = read()
    assert len(asked) > 4
    assert found[0] == expected[0]
    for some, others in zip(found[1:], expected[1:]):
        assert len(some) == len(others)
        assert all(np.array_equal(one, other) for one, other in zip(some, others))


def test_a_cancel_while_the_kernel_is_compiled_is_not_kept_waiting(make_scene, monkeypatch):
    class Impatient(Monitor):
        def cancelled(self) -> bool:
            return time.perf_counter() - began > 0.2

    monkeypatch.setattr(coding, "_kernel", lambda dtype: time.sleep(3))
    with open_series([make_scene("s_2020-01-01", land_cover(1))]) as series:
        began = time.perf_counter()
        with pytest.raises(errors.Cancelled):
            series.pixels(threads=2, monitor=Impatient())
    assert time.perf_counter() - began < 1.0


@pytest.mark.parametrize("threads", [1, 2])
def test_only_the_thread_that_started_the_run_asks_its_monitor(threads, make_scene, monkeypatch):
    asking = set()

    class Asked(Monitor):
        def cancelled(self) -> bool:
            asking.add(threading.get_ident())
            return False

    monkeypatch.setattr(coding, "_kernel", lambda dtype: time.sleep(0.3))
    with open_series([make_scene("s_2020-01-01", land_cover(1))]) as series:
        series.pixels(threads=threads, monitor=Asked())
    assert asking == {threading.get_ident()}


def test_an_error_while_the_kernel_is_compiled_is_not_kept_waiting(make_scene, monkeypatch):
    def fail(self, job):
        raise errors.RasterError("broken")

    monkeypatch.setattr(coding, "_kernel", lambda dtype: time.sleep(3))
    monkeypatch.setattr("iikmc.core.reading.WindowReader.__call__", fail)
    with open_series([make_scene("s_2020-01-01", land_cover(1))]) as series:
        began = time.perf_counter()
        with pytest.raises(errors.RasterError, match="broken"):
            series.pixels(threads=2)
    assert time.perf_counter() - began < 1.0


def test_a_kernel_that_cannot_be_loaded_is_an_error(make_scene, monkeypatch):
    def fail(dtype):
        raise MemoryError("no room")

    monkeypatch.setattr(coding, "_kernel", fail)
    with (
        open_series([make_scene("s_2020-01-01", land_cover(1))]) as series,
        pytest.raises(MemoryError, match="no room"),
    ):
        series.pixels(threads=2)


def test_what_is_loaded_is_never_waited_for_by_a_window(monkeypatch):
    monkeypatch.setattr(coding, "begun", lambda function: Future())  # for ever
    coder = Coder(GRIDS[:1], Shelf(1 << 20), {0: 1}, lambda rank, tally: None)
    block = coder(RawWindow((0, Window(0, 0, 1, 3)), [np.array([3, 1, 2], np.uint16)]))
    assert block.codes.load().tolist() == [[3, 1, 2]]
