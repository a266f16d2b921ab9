"""Compiled kernels are kept on disk, and are never taken for one another."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import land_cover
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import iikmc
from iikmc.core import Monitor, cluster, errors, open_series
from iikmc.core.backends.numpy import NumpyBackend
from iikmc.core.codes import CodeGrid, CodeTally
from iikmc.core.grid import Window
from iikmc.core.parallel import beside
from iikmc.core.pixels import Block
from iikmc.core.scores import NEVER, Scores

pytest.importorskip("numba", reason="the engine numba is not installed here")

RUN = """
import importlib, sys
sys.path.insert(0, sys.argv[1])
core = importlib.import_module(sys.argv[2] + ".core")
kernels = importlib.import_module(sys.argv[2] + ".core.backends.numba_assign")
for bands in map(int, sys.argv[4:]):
    with core.open_series([sys.argv[3]], bands=list(range(1, bands + 1))) as series:
        model = core.cluster(series, classes=4, engine="numba", max_iter=3)
        print(model.signatures.tobytes().hex())
        hits = kernels.assigning_kernel(bands, "uint16").stats.cache_hits
        print("from disk" if hits else "compiled")
"""


def run(folder: Path, name: str, scene: Path, *bands: int) -> list[tuple[str, str]]:
    """Run in a process of its own; return signatures and where the kernel came from."""
    command = [sys.executable, "-c", RUN, str(folder), name, str(scene), *map(str, bands)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    words = done.stdout.split("\n")
    return list(zip(words[::2], words[1::2]))


def test_kernels_of_other_processes_and_package_names_load_and_are_the_right_ones(
    make_scene, tmp_path
):
    scene = make_scene("s_2020-01-01", land_cover(1))
    root, checkout = Path(iikmc.__file__).parent, tmp_path / "checkout"
    shutil.copytree(root / "core", checkout / "core", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(root / "__init__.py", checkout)
    for name in ("iikmc", "under_another_name"):
        (tmp_path / name).symlink_to(checkout, target_is_directory=True)
    # Each is the first kernel of its process, so a number that starts anew would be the same.
    first, second = (run(tmp_path, "iikmc", scene, bands)[0] for bands in (2, 3))
    both = run(tmp_path, "under_another_name", scene, 2, 3)
    assert [first[1], second[1]] == ["compiled", "compiled"]
    assert both == [(first[0], "from disk"), (second[0], "from disk")]


def test_each_shape_has_symbols_of_its_own():
    from iikmc.core.backends.numba_assign import assigning_kernel

    shapes = [(2, "uint16"), (3, "uint16"), (2, "int32")]
    names = {
        re.split(r"B\d+v\d+", result.fndesc.llvm_func_name)[0]  # without the number
        for shape in shapes
        for result in assigning_kernel(*shape).overloads.values()
    }
    assert len(names) == len(shapes)


def test_the_gap_covers_the_error_of_float32_scores():
    """Float32 scores of random and of hard pixels never err by more than half of the gap."""
    from iikmc.core.backends.numba_coefficients import doubtful_gap

    rng = np.random.default_rng(8)
    for bands, reach in [(1, 65_535), (6, 65_535), (12, 1 << 25), (64, 1 << 26)]:
        q = rng.integers(-(2**34), 2**34, (9, bands)) // bands
        n = rng.integers(0, 2**50, 9)
        offsets = rng.integers(-reach, reach + 1, (bands, 2000)) // (1 << 8)
        offsets[:, :bands] = np.eye(bands, dtype=np.int64) * (reach >> 8)
        midpoints = np.zeros(bands, np.int64)
        gap = doubtful_gap(q, n, midpoints, offsets.min(axis=1), offsets.max(axis=1))
        exact = n[:, None] - q @ offsets
        fast = np.repeat(n.astype(np.float32)[:, None], 2000, axis=1)
        for b in range(bands):
            fast -= q[:, b].astype(np.float32)[:, None] * offsets[b].astype(np.float32)
        error = np.abs(fast.astype(np.float64) - exact).max()
        assert 0 < error <= float(gap) / 2


class Held:
    """Codes in memory, as a block holds them."""

    def __init__(self, codes: np.ndarray) -> None:
        self._codes, self.shape, self.dtype = codes, codes.shape, codes.dtype

    def load(self) -> np.ndarray:
        return self._codes


def block(codes: np.ndarray, scene: int = 0) -> Block:
    return Block(scene, Window(0, 0, 1, codes.shape[1]), Held(codes), None)


def smooth(rng: np.random.Generator, bands: int, pixels: int, dtype: str) -> np.ndarray:
    """Codes that wander slowly, so that neighbours are alike; or, of one kind, all the same."""
    steps = rng.normal(0.0, rng.choice([0.0, 20.0, 900.0]), (bands, pixels))
    codes = 20_000 + np.cumsum(steps, axis=1) + rng.normal(0.0, 9.0, (bands, 1))
    limit = 65_535 if dtype == "uint16" else 1 << 25
    return np.clip(codes, 0, limit).astype(dtype)


def some_scores(rng: np.random.Generator, codes: list[np.ndarray], classes: int) -> Scores:
    """Scores of pixels as centres, some twice or a code apart; a class may have been dropped."""
    values = np.concatenate(codes, axis=1).astype(np.int64)
    midpoints = np.median(values, axis=1).astype(np.int64)
    chosen = rng.integers(0, values.shape[1], (len(codes), classes))
    centres = (values[:, chosen] - midpoints[:, None, None]).transpose(1, 2, 0)
    near = rng.random(classes) < 0.4
    centres[:, near] = centres[:, :1] + rng.integers(-1, 2, (len(codes), near.sum(), len(values)))
    q, n = 2 * centres, (centres * centres).sum(axis=2)
    dropped = rng.random(classes) < 0.1
    dropped[0] = False
    q[:, dropped], n[:, dropped] = 0, NEVER
    return Scores(q, n, midpoints, np.ones(len(codes)))


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    seed=st.integers(0, 2**32 - 1),
    bands=st.sampled_from([1, 3, 8]),
    classes=st.sampled_from([2, 3, 15, 16, 17, 63, 64, 65, 70, 129, 254]),
    sizes=st.lists(st.sampled_from([1, 31, 32, 33, 100, 511, 513, 1100]), min_size=1, max_size=3),
    dtype=st.sampled_from(["uint16", "int32"]),
)
def test_whatever_the_pixels_each_step_is_that_of_numpy(
    monkeypatch, seed, bands, classes, sizes, dtype
):
    """Ends of blocks, few pixels, ties, dropped classes; with balls, however few the classes."""
    from iikmc.core.backends import numba_balls
    from iikmc.core.backends.numba import NumbaBackend

    monkeypatch.setattr(numba_balls, "_WORK", 0)
    rng = np.random.default_rng(seed)
    codes = [smooth(rng, bands, size, dtype) for size in sizes]
    blocks = [block(planes, scene) for scene, planes in enumerate(codes)]
    reference, fast = NumpyBackend(1), NumbaBackend(2)
    for backend in (reference, fast):
        backend.prepare(blocks, len(blocks), Monitor())
    known = [some_scores(rng, codes, classes) for _ in range(3)]
    for number in (0, 1, 1, 2, 0, 2):  # again, and back to where they were
        scores = known[number]
        expected, found = reference.step(scores), fast.step(scores)
        for index in range(len(blocks)):
            assert fast.labels(index).tolist() == reference.labels(index).tolist()
        assert found.changed == expected.changed
        assert found.sums.tolist() == expected.sums.tolist()
        assert found.counts.tolist() == expected.counts.tolist()
    fast.close()


@pytest.mark.parametrize("dtype", ["uint16", "int32"])
def test_no_pixel_lies_outside_the_ball_of_its_tile(dtype):
    from iikmc.core.backends.numba_assign import enclosing_kernel

    rng = np.random.default_rng(4)
    codes = smooth(rng, 5, 1000, dtype)
    weights = rng.uniform(0.01, 3.0, 5).astype(np.float32)
    tiles = -(-1000 // 32)
    centres, radii = np.empty((tiles, 5), dtype), np.empty(tiles, np.float32)
    enclosing_kernel(5, dtype)(codes, weights, centres, radii)
    for tile in range(tiles):
        start = min(32 * tile, 1000 - 32)
        differences = codes[:, start : start + 32].astype(float) - centres[tile][:, None]
        farthest = np.sqrt(((differences * weights[:, None]) ** 2).sum(axis=0)).max()
        assert farthest <= radii[tile] <= farthest * (1 + 1e-5)
        assert (
            centres[tile] == codes[:, start : start + 32].astype(np.int64).sum(axis=1) // 32
        ).all()


@pytest.mark.parametrize("alike", [True, False])
def test_balls_are_kept_where_neighbours_are_alike_and_there_only(alike):
    from iikmc.core.backends.numba import NumbaBackend

    rng = np.random.default_rng(5)
    codes = np.repeat(rng.integers(0, 9000, (4, 200)), 64, axis=1).astype(np.uint16)
    if not alike:
        codes = np.ascontiguousarray(codes[:, rng.permutation(codes.shape[1])])
    backend = NumbaBackend(1)
    backend.prepare([block(codes)], 1, Monitor())
    scores = some_scores(rng, [codes], 60)
    for _ in range(2):
        backend.step(scores)
    centres, radii = backend._balls.of(0, codes)
    assert len(radii) == len(centres) == (400 if alike else 0)
    backend.close()


def test_tiles_with_one_class_near_are_labelled_without_being_scored():
    """Wherever the labels were before: all, some or none of a tile's pixels change."""
    from iikmc.core.backends.numba import NumbaBackend
    from iikmc.core.backends.numba_assign import assigning_kernel
    from iikmc.core.backends.numba_coefficients import Coefficients, doubtful_gap

    codes = np.repeat(np.array([[100, 900, 5000]], np.uint16), 64, axis=1)
    q, n = np.array([[[200], [1800], [10_000]]]), np.array([[10_000, 810_000, 25_000_000]])
    scores = Scores(q, n, np.zeros(1, np.int64), np.ones(1))
    moved = Scores(q[:, ::-1].copy(), n[:, ::-1].copy(), scores.midpoints, scores.scales)
    reference, fast = NumpyBackend(1), NumbaBackend(1)
    for backend in (reference, fast):
        backend.prepare([block(codes)], 1, Monitor())
    for each in (scores, scores, moved, scores):
        expected, found = reference.step(each), fast.step(each)
        assert fast.labels(0).tolist() == reference.labels(0).tolist()
        assert found.changed == expected.changed
        assert found.sums.tolist() == expected.sums.tolist()
    fast.close()

    labels = np.repeat(np.array([0, 1, 2], np.uint8), 64)
    labels[:16] = 2  # the middle pixel of the first tile keeps the class that is near
    weights, sums, counts = (
        np.ones(1, np.float32),
        np.zeros((3, 1), np.int64),
        np.zeros(3, np.int64),
    )
    coefficients = Coefficients.of(scores, weights, "uint16").of_scene(0)
    ends = codes.min(axis=1), codes.max(axis=1)
    gap = np.float32(doubtful_gap(q[0], n[0], scores.midpoints, *ends))
    middles, radii = np.zeros((6, 8), np.uint16), np.zeros(6, np.float32)
    middles[:, 0] = codes[0, ::32]
    changed, scored = assigning_kernel(1, "uint16")(
        codes, labels, np.zeros(8, np.int32), gap, middles, radii, 3, *coefficients, sums, counts
    )
    assert (changed, scored) == (16, 6)  # one class looked at for each tile
    assert labels.tolist() == [0] * 64 + [1] * 64 + [2] * 64
    assert counts.tolist() == [16, 0, -16]
    assert sums.tolist() == [[1600], [0], [-1600]]


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 400), st.sampled_from(["uint16", "int32"]))
def test_codes_are_counted_as_numpy_counts_them(seed, pixels, dtype):
    from iikmc.core.backends.numba_tally import counting_kernel

    rng = np.random.default_rng(seed)
    grids = [CodeGrid(0, 1.0), CodeGrid(5, 0.25, wide=dtype == "int32")]
    ends = [(grid.lowest, grid.highest + 1) for grid in grids]
    codes = np.stack([rng.integers(*end, pixels) for end in ends]).astype(dtype)
    codes[:, 0] = [grid.highest for grid in grids]
    codes[:, -1] = [grid.lowest for grid in grids]
    expected = CodeTally(grids).add(codes)
    found = CodeTally(grids, counting_kernel(dtype)).add(codes)
    assert found.statistics() == expected.statistics()
    assert (found.histograms == expected.histograms).all()


def test_a_cancel_while_a_kernel_is_compiled_is_not_kept_waiting(make_scene, monkeypatch):
    from iikmc.core.backends import numba as backend

    asked = []

    class Impatient(Monitor):
        def message(self, text: str) -> None:
            if text.startswith("Loading the kernel"):
                asked.append(time.perf_counter())

        def cancelled(self) -> bool:
            return bool(asked)

    monkeypatch.setattr(backend, "_loaded", set())
    monkeypatch.setattr(backend, "assigning_kernel", lambda *shape: time.sleep(3))
    scene = make_scene("s_2020-01-01", land_cover(1))
    with open_series([scene]) as series, pytest.raises(errors.Cancelled):
        cluster(series, classes=3, engine="numba", monitor=Impatient())
    assert time.perf_counter() - asked[0] < 1.0


def test_an_error_beside_is_raised_here():
    def fail() -> None:
        raise KeyError("lost")

    with pytest.raises(KeyError, match="lost"):
        beside(fail, Monitor())
    assert beside(lambda: 5, Monitor()) == 5
