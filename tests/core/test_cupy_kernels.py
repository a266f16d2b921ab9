"""The kernels for cards, compiled for this machine, against the reference: the same bits."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import fake_cupy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iikmc.core.backends import cupy_card, cupy_cards, cupy_kernels
from iikmc.core.backends.base import Measures, Partials, Yardstick
from iikmc.core.backends.cupy import CupyBackend
from iikmc.core.backends.cupy_kernels import KernelShape, chunks_of, doubtful_gaps
from iikmc.core.backends.numpy import NumpyBackend
from iikmc.core.codes import CodeGrid
from iikmc.core.grid import Window
from iikmc.core.monitor import Monitor
from iikmc.core.pixels import Block
from iikmc.core.scores import NEVER, Scores
from iikmc.core.scratch import Shelf

pytestmark = pytest.mark.skipif(fake_cupy.COMPILER is None, reason=fake_cupy.NO_COMPILER)

UINT16, INT32 = CodeGrid(0, 1.0), CodeGrid(0, 2.0**-10, True)
STAYS = {"all stays": 99, "one block stays": 1, "nothing stays": 0}


@dataclass(frozen=True)
class Problem:
    """Blocks of codes, steps to take on them, and what to measure them against."""

    blocks: tuple[Block, ...]
    scenes: int
    steps: tuple[Scores, ...]
    yardstick: Yardstick


@dataclass(frozen=True)
class Answer:
    """What a backend returned: for each step sums and labels, and measures at the end."""

    partials: tuple[Partials, ...]
    labels: tuple[tuple[bytes, ...], ...]
    measures: Measures


@pytest.fixture(autouse=True)
def small_thread_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every kernel several thread blocks, and every thread several turns."""
    monkeypatch.setattr(cupy_kernels, "_THREADS", 8)
    monkeypatch.setattr(cupy_kernels, "_CHUNK", 128)
    monkeypatch.setattr(cupy_cards, "_LANE_BYTES", 1 << 13)
    monkeypatch.setattr(cupy_cards, "_LEAST_LANE_BYTES", 1 << 13)


def let_stay(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Let no more than so many blocks stay on each card; the others pass through it in parts."""
    take = cupy_card.Card.take

    def take_few(card: cupy_card.Card, index: int, block: Block) -> None:
        if len(card._rows) >= most:
            raise fake_cupy.OutOfMemoryError("The card is full.")
        take(card, index, block)

    monkeypatch.setattr(cupy_card.Card, "take", take_few)


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> Iterator[fake_cupy.FakeCupy]:
    """Install a CuPy without a card; in the end all memory must be given back, whole."""
    fake = fake_cupy.FakeCupy()
    monkeypatch.setitem(sys.modules, "cupy", fake)
    yield fake
    fake.check()


def scores_of(
    centres: np.ndarray, active: np.ndarray, middles: Sequence[int], reach: int
) -> Scores:
    """Return scores of centres, (classes, bands), from the mid-points, the same for two scenes."""
    scale = 2.0 ** np.floor(np.log2(2.0**52 / (3.0 * centres.shape[1] * float(reach) ** 2)))
    q = np.rint(2.0 * scale * centres).astype(np.int64)
    n = np.rint(scale * (centres**2).sum(axis=1)).astype(np.int64)
    q[~active], n[~active] = 0, NEVER
    return Scores(np.stack([q, q]), np.stack([n, n]), np.array(middles, np.int64), np.ones(2))


def problem(
    seed: int,
    bands: int,
    classes: int,
    grid: CodeGrid = UINT16,
    pixels: Sequence[int] = (500, 1, 0, 1203),
    spread: int = 0,
    shelf_bytes: int = 1 << 30,
) -> Problem:
    """Return a problem of two scenes whose centres have ties, near ties and dropped classes."""
    rng = np.random.default_rng(seed)
    dtype = np.int32 if grid.wide else np.uint16
    low, high = (grid.lowest, grid.highest) if not spread else (20_000, 20_000 + spread)
    shelf = Shelf(shelf_bytes)
    blocks = []
    for number, count in enumerate(pixels):
        codes = rng.integers(low, high + 1, (bands, count))
        codes[:, : count // 2] = codes[:, :1] + rng.integers(0, 3, (bands, count // 2))
        codes = np.clip(codes, grid.lowest, grid.highest).astype(dtype)
        blocks.append(Block(number % 2, Window(0, 0, 1, max(count, 1)), shelf.put(codes), None))
    middles = tuple(int(middle) for middle in rng.integers(low, high + 1, bands))
    steps = []
    for number in range(4):
        centres = rng.integers(low, high + 1, (classes, bands)) - np.array(middles, np.float64)
        some = next(block for block in blocks if block.pixels)
        first = some.codes.load()[:, 0].astype(np.float64) - middles
        centres[: classes // 2] = first + rng.integers(0, 4, (classes // 2, bands))
        centres[classes // 2 :: 3] = centres[0]  # equal to the first: a tie for every pixel
        active = np.ones(classes, bool)
        active[1:-1] = rng.random(classes - 2) < 0.9
        scores = scores_of(centres, active, middles, grid.reach)
        if number == 2:  # one unit apart, which float32 cannot see
            n = np.where(
                scores.n == NEVER, NEVER, scores.n[:, :1] - rng.integers(0, 2, (2, classes))
            )
            q = np.where((n == NEVER)[:, :, None], 0, scores.q[:, :1])
            scores = Scores(q, n, scores.midpoints, scores.scales)
        if number == 3:  # scenes of their own, as harmonising makes them
            shifts = rng.integers(0, 50, (2, 1))
            scores = Scores(
                scores.q,
                np.where(scores.n == NEVER, NEVER, scores.n + shifts),
                scores.midpoints,
                scores.scales,
            )
        steps.append(scores)
    signatures = rng.random((2, classes, bands))
    reference = NumpyBackend(1)
    reference.prepare(blocks, 2, Monitor())
    used = reference.step(steps[-1]).counts.sum(axis=0) > 0
    used[:2] = True
    signatures[:, ~used] = np.inf
    yardstick = Yardstick(
        signatures, rng.random((2, bands)) / high, np.array(middles), 2.0**40, 2.0**45
    )
    return Problem(tuple(blocks), 2, tuple(steps), yardstick)


def answer(backend, task: Problem) -> Answer:
    """Return what a backend makes of a problem."""
    backend.prepare(task.blocks, task.scenes, Monitor())
    partials, labels = [], []
    for scores in task.steps:
        partials.append(backend.step(scores))
        labels.append(tuple(backend.labels(i).tobytes() for i in range(len(task.blocks))))
    measures = backend.measure(task.yardstick)
    backend.close()
    return Answer(tuple(partials), tuple(labels), measures)


def assert_same(found: Answer, expected: Answer) -> None:
    """Compare to the bit."""
    assert found.labels == expected.labels
    for mine, other in zip(found.partials, expected.partials):
        assert mine.changed == other.changed
        np.testing.assert_array_equal(mine.counts, other.counts)
        np.testing.assert_array_equal(mine.sums, other.sums)
        assert mine.sums.dtype == mine.counts.dtype == np.int64
    np.testing.assert_array_equal(found.measures.distances, expected.measures.distances)
    np.testing.assert_array_equal(found.measures.silhouettes, expected.measures.silhouettes)


@pytest.mark.parametrize("stays", STAYS.values(), ids=STAYS)
@pytest.mark.parametrize("grid", [UINT16, INT32], ids=["uint16", "int32"])
@pytest.mark.parametrize(
    ("bands", "classes"), [(1, 2), (1, 254), (3, 8), (6, 8), (10, 50), (13, 20), (64, 9)]
)
def test_every_shape_agrees_with_numpy(bands, classes, grid, stays, cupy, monkeypatch):
    let_stay(monkeypatch, stays)
    task = problem(bands * 1000 + classes, bands, classes, grid)
    assert_same(answer(CupyBackend(3), task), answer(NumpyBackend(1), task))


@pytest.mark.parametrize("grid", [UINT16, INT32], ids=["uint16", "int32"])
def test_sums_and_coefficients_too_many_for_shared_memory_agree_with_numpy(grid, cupy):
    shape = KernelShape.of(64, 254, np.dtype(np.int32 if grid.wide else np.uint16))
    assert not shape.staged and not shape.copies
    task = problem(5, 64, 254, grid, (300, 77))
    assert_same(answer(CupyBackend(2), task), answer(NumpyBackend(1), task))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_blocks_agree_with_numpy(data):
    bands, classes = data.draw(st.sampled_from([(1, 2), (3, 8), (6, 8)]))
    task = problem(
        data.draw(st.integers(0, 2**32 - 1)),
        bands,
        classes,
        data.draw(st.sampled_from([UINT16, INT32])),
        data.draw(st.lists(st.integers(0, 700), min_size=1, max_size=6).filter(any)),
        data.draw(st.sampled_from([0, 1, 5, 40_000])),
        data.draw(st.sampled_from([0, 3000, 1 << 30])),
    )
    fake = fake_cupy.FakeCupy(cards=data.draw(st.integers(1, 3)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "cupy", fake)
        let_stay(patch, data.draw(st.sampled_from([0, 1, 2, 99])))
        patch.setattr(cupy_card, "_MOST_TERMS", data.draw(st.sampled_from([1, 20_000, 1 << 36])))
        found = answer(CupyBackend(data.draw(st.integers(1, 4))), task)
    fake.check()
    assert fake.launches
    assert_same(found, answer(NumpyBackend(1), task))


def test_when_the_number_of_classes_changes_labels_and_sums_begin_anew(cupy, monkeypatch):
    let_stay(monkeypatch, 1)
    many, few = problem(11, 6, 8), problem(11, 6, 3)
    task = replace(few, steps=many.steps[:2] + few.steps)
    found, expected = answer(CupyBackend(2), task), answer(NumpyBackend(1), few)
    assert_same(replace(found, partials=found.partials[2:], labels=found.labels[2:]), expected)


@pytest.mark.parametrize(
    ("pixels", "grid"),
    [(1, UINT16), (2, UINT16), (4, UINT16), (8, UINT16), (1, INT32), (2, INT32), (4, INT32)],
)
def test_however_many_pixels_a_thread_scores_at_a_time(pixels, grid, cupy, monkeypatch):
    task = problem(pixels, 6, 8, grid)
    of = KernelShape.of
    monkeypatch.setattr(
        KernelShape, "of", lambda *shape: of(*shape).but(pixels=pixels, staged=pixels != 4)
    )
    assert_same(answer(CupyBackend(1), task), answer(NumpyBackend(1), task))


def test_without_the_exact_evaluation_labels_would_differ(cupy, monkeypatch):
    """The problems are hard enough: float32 alone does not solve them."""
    task = problem(6008, 6, 8)
    monkeypatch.setattr(cupy_kernels, "doubtful_gaps", lambda scores, reaches: -1.0)
    assert answer(CupyBackend(1), task).labels != answer(NumpyBackend(1), task).labels


def test_a_block_of_pixels_at_the_ends_of_the_codes_does_not_overflow(cupy, monkeypatch):
    """Sums of a thread block with as many pixels as there may be, all of the largest code."""
    monkeypatch.setattr(cupy_kernels, "_CHUNK", 1 << 14)
    for grid, code in ((UINT16, 65_535), (INT32, 1 << 25), (INT32, -(1 << 25))):
        task = problem(1, 1, 2, grid, (1 << 14,))
        codes = np.full((1, 1 << 14), code, np.int32 if grid.wide else np.uint16)
        block = Block(0, Window(0, 0, 1, 1 << 14), Shelf(1 << 30).put(codes), None)
        task = Problem((block,), 2, task.steps, task.yardstick)
        assert_same(answer(CupyBackend(1), task), answer(NumpyBackend(1), task))


def test_records_are_laid_out_as_the_kernels_read_them():
    for bands, classes, dtype in [(1, 2, "u2"), (6, 8, "u2"), (7, 253, "i4"), (64, 254, "i4")]:
        shape = KernelShape.of(bands, classes, np.dtype(dtype))
        library = fake_cupy.shim(cupy_kernels.SOURCE.read_text(), shape.options())
        assert library.size_of_block() == cupy_kernels.BLOCK.itemsize
        assert library.size_of_scores() == shape.scores_record().itemsize
        assert library.size_of_yardstick() == shape.yardstick_record().itemsize


@given(st.lists(st.integers(0, 100), min_size=1), st.integers(1, 30))
def test_chunks_cover_each_pixel_once(pixels, size):
    covered = [np.zeros(count, int) for count in pixels]
    for block, first in chunks_of(pixels, size):
        assert first < pixels[block]
        covered[block][first : first + size] += 1
    assert all((block == 1).all() for block in covered)


def test_the_gap_covers_the_error_of_float32_scores():
    """Float32 scores of random and of hard pixels never err by more than half of the gap."""
    rng = np.random.default_rng(8)
    for bands, reach in [(1, 65_535), (6, 65_535), (12, 1 << 25), (64, 1 << 26)]:
        q = rng.integers(-(2**34), 2**34, (1, 9, bands)) // bands
        n = rng.integers(0, 2**50, (1, 9))
        offsets = rng.integers(-reach, reach + 1, (bands, 2000)) // (1 << 8)
        offsets[:, :bands] = np.eye(bands, dtype=np.int64) * (reach >> 8)
        reaches = np.stack([offsets.min(axis=1), offsets.max(axis=1)])[None]
        gap = doubtful_gaps(Scores(q, n, np.zeros(bands, np.int64), np.ones(len(q))), reaches)
        exact = n[0][:, None] - q[0] @ offsets
        fast = np.repeat(n[0].astype(np.float32)[:, None], 2000, axis=1)
        for b in range(bands):
            fast -= q[0, :, b].astype(np.float32)[:, None] * offsets[b].astype(np.float32)
        error = np.abs(fast.astype(np.float64) - exact).max()
        assert 0 < error <= float(gap[0]) / 2


def test_each_scene_has_the_gap_of_its_own_codes_as_in_the_numba_backend():
    numba = pytest.importorskip("iikmc.core.backends.numba", reason="numba is not installed here")
    task = problem(3, 6, 8)
    reaches = np.array([[[100] * 6, [90 * b + 200 for b in range(6)]], [[0] * 6, [65_535] * 6]])
    shape = KernelShape.of(6, 8, np.dtype(np.uint16))
    for scores in task.steps:
        gaps = shape.scores(scores, reaches)["gap"]
        for scene in range(2):
            q, n = scores.q[scene], scores.n[scene]
            assert gaps[scene] == numba.doubtful_gap(q, n, scores.midpoints, *reaches[scene])
