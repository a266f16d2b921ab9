"""Clients of a cluster: one that is killed goes on from its checkpoint, one is named otherwise."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from dask_clusters import PLAIN, Case, Quiet, distributed, files, scenes, under_way, within, workers

import iikmc
from iikmc.core import cluster, errors, open_series

FITTING = {"classes": 12, "init": "k-means++", "max_iter": 12, "tol": 0.0, "seed": 2}

# argv: folder of scenes, scheduler, checkpoint, iterations until it dies, strategy.
DIES = """
import json, os, signal, sys
from pathlib import Path
from iikmc.core import Monitor, checkpoint, cluster, open_series

saved = checkpoint.Checkpoint.save
left = iter(range(int(sys.argv[4]), -1, -1))

def save(self, state):
    saved(self, state)
    if next(left) == 1:
        os.kill(os.getpid(), signal.SIGKILL)

checkpoint.Checkpoint.save = save
with open_series(sorted(Path(sys.argv[1]).glob("*.tif"))) as series:
    cluster(series, client=sys.argv[2], checkpoint=sys.argv[3], **json.loads(sys.argv[5]))
"""

# argv: name of the package, folder of scenes, where to write, scheduler ("": threads here).
NAMED = """
import importlib, sys
from pathlib import Path
sys.modules["iikmc"] = None  # as where only the folder's name can be imported
core = importlib.import_module(sys.argv[1] + ".core")
to = Path(sys.argv[3])
with core.open_series(sorted(Path(sys.argv[2]).glob("*.tif"))) as series:
    ways = {"engine": "dask", "client": sys.argv[4] or None}
    model = core.cluster(series, classes=4, harmonise="standardise", temporal="markov", **ways)
    model.save(to / "model.json")
    model.classify(series, to / "out", distance=to / "far", margin=to / "sure", **ways)
"""


@pytest.fixture(scope="module")
def two():
    """Two worker processes."""
    with workers(2) as client:
        yield client


@pytest.fixture
def noise(make_scene) -> list[Path]:
    """Dates without any structure, so that k-means has long to do."""
    rng = np.random.default_rng(3)
    values = rng.random((3, 3, 70, 80), np.float32)
    return [make_scene(f"s_2020-01-0{day}", item) for day, item in enumerate(values, start=1)]


def program(text: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", text, *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
@pytest.mark.parametrize(
    "strategy",
    [{}, {"strategy": "mini-batch", "sample_fraction": 0.2}],
    ids=["full", "mini-batch"],
)
def test_a_client_killed_twice_goes_on_with_the_same_bytes(strategy, two, noise, tmp_path):
    options, paths = {**FITTING, "sample_fraction": 0.5, **strategy}, noise
    expected = Case(paths, {}, options).run(tmp_path / "plain", engine=PLAIN)
    file = tmp_path / "fit.checkpoint"
    for iterations in (2, 3):
        died = program(
            DIES, paths[0].parent, two.scheduler.address, file, iterations, json.dumps(options)
        )
        assert died.returncode == -signal.SIGKILL, died.stderr
        assert file.is_file()
    said = Quiet()
    ways = {"client": two, "monitor": said}
    case = Case(paths, {}, options)
    found = case.run(tmp_path / "dask", classifying=ways, **ways, checkpoint=file)
    assert any("Going on after 5 iterations" in text for text in said.said)
    assert found == expected


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
def test_a_killed_client_leaves_the_workers_nothing_to_do(two, noise, tmp_path):
    paths = noise
    died = program(
        DIES, paths[0].parent, two.scheduler.address, tmp_path / "c", 2, json.dumps(FITTING)
    )
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert within(10, lambda: not any(under_way(two).values()))
    assert within(10, lambda: not any(two.run(_results).values()))


def _results(dask_worker) -> int:
    return len(dask_worker.data)


def test_a_checkpoint_goes_from_cluster_to_machine_and_back(two, noise, tmp_path):
    case = Case(noise, {}, FITTING)
    expected = case.run(tmp_path / "plain", engine=PLAIN)
    file = tmp_path / "fit.checkpoint"
    ways = [{"engine": PLAIN}, {"client": two}]
    for stops, way in ((3, ways[1]), (3, ways[0])):
        with open_series(case.scenes) as series, pytest.raises(errors.Cancelled):
            cluster(series, **FITTING, **way, checkpoint=file, monitor=StopsAfter(stops, file))
    found = case.run(tmp_path / "dask", classifying=ways[1], **ways[1], checkpoint=file)
    assert found == expected


class StopsAfter(Quiet):
    """Cancels when a file has been replaced so many times."""

    def __init__(self, times: int, file: Path) -> None:
        super().__init__()
        self.file, self.left = file, times
        self.seen = self._state()

    def _state(self) -> tuple[int, int] | None:
        if not self.file.exists():
            return None
        known = self.file.stat()
        return known.st_ino, known.st_mtime_ns

    def cancelled(self) -> bool:
        if self._state() != self.seen:
            self.seen, self.left = self._state(), self.left - 1
        return self.left <= 0


@pytest.mark.parametrize("where", ["workers", "threads"])
def test_a_package_of_another_name_gives_the_same_bytes(where, two, make_scene, tmp_path):
    """As QGIS loads it: named after its folder, while workers have iikmc."""
    root = Path(iikmc.__file__).parent
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "series_plugin_main").symlink_to(root, target_is_directory=True)
    paths = scenes(make_scene, "float32", count=4)
    fitting = {"harmonise": "standardise", "temporal": "markov"}
    expected = Case(paths, {}, fitting, measures=True).run(tmp_path / "plain", engine=PLAIN)
    first = os.pathsep.join(
        [str(tmp_path / "plugins"), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    done = program(
        NAMED,
        "series_plugin_main",
        paths[0].parent,
        tmp_path / "dask",
        two.scheduler.address if where == "workers" else "",
        PYTHONPATH=first,
    )
    assert done.returncode == 0, done.stderr
    assert files(tmp_path / "dask") == expected


def test_two_clients_at_once_do_not_disturb_each_other(two, make_scene, tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    cases = [
        Case(scenes(make_scene), {}, {"classes": 3}),
        Case(scenes(make_scene, "float32", prefix="float_"), {}, {"classes": 5}, True),
    ]
    expected = [
        case.run(tmp_path / f"plain {number}", engine=PLAIN) for number, case in enumerate(cases)
    ]

    def run(number: int) -> dict[str, bytes]:
        with distributed.Client(two.scheduler.address, set_as_default=False) as client:
            return cases[number].run(tmp_path / f"dask {number}", client=client)

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(run, range(2))) == expected


def test_threads_of_this_process_start_no_other_and_listen_to_nobody(make_scene, tmp_path):
    psutil = pytest.importorskip("psutil")
    here, seen = psutil.Process(), []
    before = {item.laddr for item in listening(here)}

    class Watcher(Quiet):
        def message(self, text: str) -> None:
            heard = {item.laddr.ip for item in listening(here) if item.laddr not in before}
            seen.append((len(here.children(recursive=True)), heard - {"127.0.0.1", "::1"}))

    children = len(here.children(recursive=True))
    case = Case(scenes(make_scene), {}, {"max_iter": 3})
    case.run(tmp_path / "dask", engine="dask", monitor=Watcher())
    assert len(seen) > 3 and all(item == (children, set()) for item in seen)
    assert {item.laddr for item in listening(here)} == before


def listening(process) -> list:
    return [item for item in process.net_connections() if item.status == "LISTEN"]
