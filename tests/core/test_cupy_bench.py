"""The benchmark for cards runs from its check to its last table, with a CuPy without a card.

The times it prints here mean nothing; that it needs NumPy and CuPy alone does.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import fake_cupy
import numpy as np
import pytest

import iikmc

pytestmark = pytest.mark.skipif(fake_cupy.COMPILER is None, reason=fake_cupy.NO_COMPILER)

FOREIGN = ("rasterio", "numba", "qgis", "osgeo", "sklearn", "torch")
RUN = """
import sys
sys.path[:0] = sys.argv[1:3]
for name in sys.argv[3].split():
    sys.modules[name] = None  # not to be had
import test_cupy_bench
sys.modules["cupy"] = test_cupy_bench.BenchCupy()
sys.argv = ["gpu.py", *sys.argv[4:]]
import gpu
sys.exit(gpu.main())
"""


class Array(np.ndarray):
    """An array that says where it is as CuPy's arrays do."""

    @property
    def data(self) -> SimpleNamespace:
        """Its place."""
        return SimpleNamespace(ptr=self.ctypes.data)


class Event:
    """A point in a stream, with the time at which it was waited for."""

    def record(self, stream: fake_cupy.Stream) -> None:
        """Stand behind what was asked of the stream."""
        self._stream, self.time = stream, time.perf_counter()

    def synchronize(self) -> None:
        """Wait."""
        self._stream.synchronize()
        self.time = time.perf_counter()


class BenchCupy(fake_cupy.FakeCupy):
    """The part of CuPy that the benchmark uses beside the engine."""

    __version__ = "0"
    float32, uint8 = np.float32, np.uint8

    def __init__(self) -> None:
        super().__init__()
        null = fake_cupy.Stream(self, 0)
        runtime, cuda = self.cuda.runtime, self.cuda
        card = {"name": b"none", "totalGlobalMem": 1 << 30, "major": 6, "minor": 1}
        copies = runtime.memcpyAsync
        runtime.getDeviceProperties = lambda number: card
        runtime.memGetInfo = lambda: (64 << 20, 64 << 20)
        runtime.memcpyAsync = lambda *copy: None if copy[-1] == null.ptr else copies(*copy)
        pinned = cuda.alloc_pinned_memory

        def alloc_pinned_memory(size: int) -> np.ndarray:
            memory = pinned(size).view(Pinned)
            memory.ptr = memory.ctypes.data
            return memory

        cuda.alloc_pinned_memory = alloc_pinned_memory
        cuda.Event, cuda.get_current_stream = Event, lambda: null
        cuda.get_elapsed_time = lambda begin, end: (end.time - begin.time) * 1e3
        self.get_default_memory_pool = self.get_default_pinned_memory_pool
        self.RawKernel = lambda source, name: lambda grid, block, arguments: None

    zeros = staticmethod(lambda *shape: np.zeros(*shape).view(Array))
    empty = staticmethod(lambda *shape: np.empty(*shape).view(Array))
    asarray, arange = staticmethod(np.asarray), staticmethod(np.arange)
    zeros_like, maximum = staticmethod(np.zeros_like), staticmethod(np.maximum)


class Pinned(np.ndarray):
    """Page-locked memory, which knows its address."""

    ptr: int


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run bench/gpu.py where nothing but NumPy and a CuPy without a card can be imported."""
    folders = [str(Path(__file__).parent), str(Path(iikmc.__file__).parent / "bench")]
    command = [sys.executable, "-c", RUN, *folders, " ".join(FOREIGN), *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_small_check_of_the_sanitizers():
    done = run("--check", "--small")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("same bits") == 8 and "every bit is NumPy's" in done.stdout
    assert "0 of 2 blocks stay" in done.stdout and "2 of 2 blocks stay" in done.stdout
    assert "iteration" not in done.stdout


def test_all_that_is_timed(tmp_path):
    rows = tmp_path / "rows.json"
    done = run(
        "--small", "--pixels", "1000", "--streamed-pixels", "120000", "--streamed-limit-mb", "1",
        "--out", str(rows),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    written = json.loads(rows.read_text())
    assert sum(row["who"] == "kernel" for row in written) == 6
    assert {"iikmc", "CuPy one-hot", "streamed"} <= {row["who"] for row in written}
    assert all(row["seconds"] > 0 for row in written)
    for missing in ("torch cdist", "flash-kmeans"):
        assert f"{missing:22} did not run (ModuleNotFoundError" in done.stdout
    assert "numba is not here" in done.stdout
    assert "0 of 1 blocks stay" in done.stdout


def test_without_a_card_it_says_why(monkeypatch):
    code = RUN.replace("= test_cupy_bench.BenchCupy()", "= None")
    monkeypatch.setitem(globals(), "RUN", code)
    done = run()
    assert done.returncode == 1
    assert done.stdout.startswith("There is no card to measure: the Python package cupy cannot")
