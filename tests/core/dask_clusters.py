"""Dask clusters of real processes, workers that die on purpose, and series to run on them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import SceneMaker, land_cover

from iikmc.core import Monitor, available_backends, cluster, open_series
from iikmc.core.workers import store  # noqa: F401 (with the sizes it takes over from reading)

distributed = pytest.importorskip("distributed")
dask = pytest.importorskip("dask")  # comes with it

# Against what Dask is held: the fastest engine there is without it.
PLAIN = "numba" if "numba" in available_backends() else "numpy"
PROGRAM = "import sys; from distributed.cli import {0}; sys.argv[0] = '{0}'; {0}.main()"


class Quiet(Monitor):
    """Keeps what is said, and says nothing."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.warned: list[str] = []

    def message(self, text: str) -> None:
        self.said.append(text)

    def warning(self, text: str) -> None:
        self.warned.append(text)


@dataclass(frozen=True)
class Case:
    """A run that is to give the same bits everywhere: how to open, to fit and to classify."""

    scenes: Sequence[Path]
    opening: dict[str, Any] = field(default_factory=dict)
    fitting: dict[str, Any] = field(default_factory=dict)
    measures: bool = False

    def run(
        self, folder: Path, *, classifying: dict[str, Any] | None = None, **ways: Any
    ) -> dict[str, bytes]:
        """Return the bytes of each file that a run leaves in a folder of its own.

        ``classifying`` are the ways of classify where they are others than those of cluster.
        """
        extra = {"distance": folder / "far", "margin": folder / "sure"} if self.measures else {}
        ways.setdefault("monitor", Quiet())
        with open_series(self.scenes, **self.opening) as series:
            model = cluster(series, **{"classes": 4, **self.fitting}, **ways)
            model.save(folder / "model.json")
            model.classify(series, folder / "out", **extra, **(classifying or ways))
        return files(folder)


def files(folder: Path) -> dict[str, bytes]:
    """Return the bytes of all files below a folder, hidden ones too; folders as empty ones."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
        for path in folder.rglob("*")
    }


@contextlib.contextmanager
def workers(count: int, **options: Any) -> Iterator[Any]:
    """Yield a client of a cluster of single-threaded worker processes of this machine."""
    options = {"threads_per_worker": 1, "dashboard_address": "127.0.0.1:0", **options}
    with (
        # Else a worker that is dead for the second time some seconds after the first is given up.
        dask.config.set({"distributed.deploy.lost-worker-timeout": "1h"}),
        distributed.LocalCluster(n_workers=count, **options) as local,
        distributed.Client(local, set_as_default=False) as client,
    ):
        client.wait_for_workers(count)
        yield client


@contextlib.contextmanager
def by_hand(folder: Path, *environments: dict[str, str]) -> Iterator[Started]:
    """Yield a scheduler and workers started as programs, a worker for each environment."""
    started = Started(folder / "scheduler.json")
    try:
        started.program(
            "dask_scheduler", "--host=127.0.0.1", "--port=0", "--dashboard-address=127.0.0.1:0"
        )
        while not started.file.is_file():
            time.sleep(0.05)
        for environment in environments:
            started.program(
                "dask_worker", "--nthreads=1", "--no-nanny", "--no-dashboard", **environment
            )
        yield started
    finally:
        for process in reversed(started.processes):
            process.kill()
            process.wait()


class Started:
    """A scheduler, its file, and workers: processes, the scheduler first."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.processes: list[subprocess.Popen] = []

    @property
    def address(self) -> str:
        """The scheduler's address."""
        import json

        return json.loads(self.file.read_text())["address"]

    def wait(self) -> None:
        """Wait until all workers are there."""
        with distributed.Client(self.address, set_as_default=False) as client:
            client.wait_for_workers(len(self.processes) - 1, timeout=30)

    def program(self, name: str, *arguments: str, **environment: str) -> None:
        """Start a program of distributed's."""
        command = [sys.executable, "-c", PROGRAM.format(name)]
        self.processes.append(
            subprocess.Popen(
                [*command, "--scheduler-file", str(self.file), *arguments],
                env={**os.environ, **environment},
                cwd=self.file.parent,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )


def die_at(
    client: Any, place: str, call: int, deaths: Path, *, apart: int = 3, most: int = 2
) -> None:
    """Let each worker kill itself within a function of the engine, until ``most`` have died.

    ``place`` is module:function or module:Class.method; the worker dies at its ``call``-th call
    from now on, the next one ``apart`` calls later. Each death leaves a file in ``deaths``.
    """
    deaths.mkdir(exist_ok=True)
    for number, worker in enumerate(sorted(client.scheduler_info()["workers"])):
        client.run(_arm, place, call + apart * number, str(deaths), most, workers=[worker])


def _arm(place: str, call: int, deaths: str, most: int) -> None:
    import importlib
    import signal

    module, _, path = place.partition(":")
    owner = importlib.import_module(module)
    *outer, name = path.split(".")
    for part in outer:
        owner = getattr(owner, part)
    function, calls = getattr(owner, name), iter(range(1, 1_000_000))

    def deadly(*arguments: Any, **options: Any) -> Any:
        if next(calls) == call and len(os.listdir(deaths)) < most:
            Path(deaths, str(os.getpid())).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)

    setattr(owner, name, deadly)


def within(seconds: float, holds: Callable[[], bool]) -> bool:
    """Return whether something comes to hold within some seconds."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def under_way(client: Any) -> dict[str, int]:
    """Return how many tasks workers are at, or have in hand, by worker."""

    def busy(dask_worker: Any) -> int:
        from iikmc.core.workers import tasks

        state = dask_worker.state
        waiting = len(state.executing) + len(state.ready) + len(state.long_running)
        return waiting + sum(tasks._busy.values())

    return client.run(busy)


def scenes(
    make_scene: SceneMaker,
    dtype: str = "uint16",
    *,
    count: int = 3,
    height: int = 46,
    width: int = 61,
    nodata: float | None = 0,
    prefix: str = "",
    **options: Any,
) -> list[Path]:
    """Write dates of one place, each with blocks of other sizes; a tenth of it is nodata."""
    layouts: Sequence[dict[str, Any]] = (
        {"tiled": True, "blockxsize": 16, "blockysize": 32, "compress": "deflate"},
        {"blockysize": 7},
        {"tiled": True, "blockxsize": 128, "blockysize": 128},  # one tile, larger than the grid
        {"blockysize": 1, "interleave": "pixel"},
    )
    paths = []
    for number in range(count):
        values = land_cover(number, height=height, width=width).astype(np.float64)
        if dtype.startswith("float"):
            values = values / 10_000 + number * 0.01
        elif dtype == "int16":
            values = values - 3000
        hidden = np.random.default_rng(99 + number).random((height, width)) < 0.1
        if nodata is not None:
            values[:, hidden] = nodata
        layout = layouts[number % len(layouts)]
        name = f"{prefix}s_2020-{number + 1:02d}-15"
        paths.append(make_scene(name, values.astype(dtype), nodata=nodata, **layout, **options))
    return paths
