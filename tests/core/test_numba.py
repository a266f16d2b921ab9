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

import iikmc
from iikmc.core import Monitor, cluster, errors, open_series
from iikmc.core.parallel import beside

pytest.importorskip("numba", reason="the engine numba is not installed here")

RUN = """
import importlib, sys
sys.path.insert(0, sys.argv[1])
core = importlib.import_module(sys.argv[2] + ".core")
kernels = importlib.import_module(sys.argv[2] + ".core.backends.numba")
with core.open_series([sys.argv[3]]) as series:
    for classes in map(int, sys.argv[4:]):
        model = core.cluster(series, classes=classes, engine="numba", max_iter=3)
        print(model.signatures.tobytes().hex())
        hits = kernels._kernel(3, classes, "uint16").stats.cache_hits
        print("from disk" if hits else "compiled")
"""


def run(folder: Path, name: str, scene: Path, *classes: int) -> list[tuple[str, str]]:
    """Run in a process of its own; return signatures and where the kernel came from."""
    command = [sys.executable, "-c", RUN, str(folder), name, str(scene), *map(str, classes)]
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
    first, second = (run(tmp_path, "iikmc", scene, classes)[0] for classes in (4, 7))
    both = run(tmp_path, "under_another_name", scene, 4, 7)
    assert [first[1], second[1]] == ["compiled", "compiled"]
    assert both == [(first[0], "from disk"), (second[0], "from disk")]


def test_each_shape_has_symbols_of_its_own():
    from iikmc.core.backends.numba import _kernel

    shapes = [(2, 3, "uint16"), (3, 2, "uint16"), (2, 3, "int32")]
    names = {
        re.split(r"B\d+v\d+", result.fndesc.llvm_func_name)[0]  # without the number
        for shape in shapes
        for result in _kernel(*shape).overloads.values()
    }
    assert len(names) == len(shapes)


def test_the_gap_covers_the_error_of_float32_scores():
    """Float32 scores of random and of hard pixels never err by more than half of the gap."""
    from iikmc.core.backends.numba import doubtful_gap

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
    monkeypatch.setattr(backend, "_kernel", lambda *shape: time.sleep(3))
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
