"""The lines of the engine on a Dask cluster: worker processes on this machine, one thread each.

Whole runs are compared with the engine without Dask on as many threads: each run is a process of
its own, and each cluster is new, with the engine imported by its workers, as it is by the others.
The cluster is in processes of its own, too, so that the client's memory is the client's.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from agreement import digest
from child import run_engine, run_script
from peers import ENGINE
from series import SeriesShape, make_series
from settings import OUTPUTS, ROOT, SERIES, Settings
from spectra import first_centres, make_spectra
from table import Row, Target, median

AT_MOST, AT_LEAST, LATENCY, CLIENT_MIB = 1.3, 10.0, 0.15, 50.0
CLASSES, BLOCKS = 8, 500
APART = 1e-3  # dask-ml's sums are of float32

Log = Callable[[str], None]


@dataclass(frozen=True)
class Cluster:
    """Where its scheduler listens, and the seconds until its workers had imported the engine."""

    address: str
    seconds: float


@contextlib.contextmanager
def running(workers: int) -> Iterator[Cluster]:
    """Start a LocalCluster in a process of its own; end it afterwards."""
    began = time.perf_counter()
    command = [sys.executable, str(ROOT / "cluster_host.py"), str(workers)]
    with subprocess.Popen(  # noqa: S603 - this interpreter, a script of this folder
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as host:
        assert host.stdin is not None and host.stdout is not None
        line = host.stdout.readline()
        if not line:
            raise RuntimeError("cluster_host.py failed: run it by itself to see why.")
        try:
            yield Cluster(json.loads(line)["address"], time.perf_counter() - began)
        finally:
            host.stdin.close()


def cluster_run(settings: Settings, log: Log) -> list[Row]:
    """Measure whole runs of both series on a cluster, and what the client's memory is."""
    rows, clients = [], []
    for size in (settings.size, settings.large_size):
        found = _whole(SeriesShape(settings.scenes, size), settings, log)
        rows += found
        clients += [row.peak_mib for row in found if row.contender == "new cluster"]
    more = clients[1] - clients[0]
    target = Target(f"{more:+.0f} MiB, ≤ {CLIENT_MIB:g} MiB more than above", more <= CLIENT_MIB)
    last = max(place for place, row in enumerate(rows) if row.contender == "new cluster")
    rows[last] = replace(rows[last], targets=(*rows[last].targets, target))
    return rows


def cluster_iteration(settings: Settings, log: Log) -> list[Row]:
    """Measure an iteration on a cluster: beside dask-ml on the same, and with tiny blocks."""
    shape = SeriesShape(settings.scenes, settings.size)
    scenes = make_series(shape, SERIES)
    spectra = make_spectra(scenes)
    OUTPUTS.mkdir(parents=True, exist_ok=True)
    start = OUTPUTS / "cluster-start.npy"
    np.save(start, first_centres(spectra, CLASSES))
    title = f"one iteration on {settings.threads} workers, {shape.pixels / 1e6:.1f} M pixels, k = 8"
    log(title)
    with running(settings.threads) as cluster:
        given = [cluster.address, settings.repeats, start, spectra.matrix, *scenes]
        found = run_script("cluster_iteration.py", "peer", *given)
        own, peer = found["seconds"][ENGINE], found["seconds"].get("dask-ml")
        rows = [Row(title, ENGINE, median(own), tuple(own), note=_travelled(found))]
        if peer:
            ratio = median(peer) / median(own)
            limit = Target.at_least(AT_LEAST, ratio, "×")
            row = Row(title, "dask-ml", median(peer), tuple(peer), ratio, (limit,))
            row = replace(row, note=f"centres differ by {found['apart']:.1e} of their range")
            if found["apart"] > APART:
                row = replace(row, ratio=None, targets=(), note="another answer, so no ratio")
            rows.append(row)
        else:
            rows.append(Row.absent(title, "dask-ml", found["missing"]))
    title = f"one iteration with {BLOCKS} parts of 64 pixels, on {settings.threads} workers"
    log(title)
    with running(settings.threads) as cluster, tempfile.TemporaryDirectory() as folder:
        given = [cluster.address, settings.repeats, settings.threads, BLOCKS, folder]
        found = run_script("cluster_iteration.py", "latency", *given)
    seconds = found["seconds"]
    limit = Target.at_most(LATENCY, median(seconds), " s")
    note = f"{found['parts']} parts; {_travelled(found)}"
    return [*rows, Row(title, ENGINE, median(seconds), tuple(seconds), targets=(limit,), note=note)]


def _whole(shape: SeriesShape, settings: Settings, log: Log) -> list[Row]:
    scenes = make_series(shape, SERIES)
    title = f"whole run on {settings.threads} workers, {shape.pixels / 1e6:.1f} M pixels, k = 8"
    log(title)
    plain, new, again, starts = [], [], [], []
    threads = settings.threads
    run_engine(scenes, OUTPUTS / "full", threads, engine="numba")  # compiles; files get cached
    for number in range(settings.repeats):
        plain.append(run_engine(scenes, OUTPUTS / "full", threads, engine="numba"))
        with running(threads) as cluster:
            starts.append(cluster.seconds)
            for runs in (new, again):
                output = OUTPUTS / "cluster"
                runs.append(run_engine(scenes, output, threads, client=cluster.address))
        log(f"  repeat {number + 1} of {settings.repeats}")
    same = all(run["signatures"] == plain[0]["signatures"] for run in (*new, *again))
    same = same and digest(_rasters(again[-1])) == digest(_rasters(plain[-1]))
    base = median([run["seconds"] for run in plain])
    rows = [_row(title, f"{ENGINE}, numba, {threads} threads", plain)]
    for name, runs in (("new cluster", new), ("the same cluster, second run", again)):
        row = _row(title, name, runs)
        ratio = row.seconds / base if row.seconds is not None else 0.0
        limit = Target.at_most(AT_MOST, ratio, "×")
        rows.append(replace(row, ratio=ratio, targets=(limit, Target("same bits", same))))
    waited = f"{median(starts):.2f} s until the workers had imported the engine"
    return [*rows, Row(title, "start of the cluster", median(starts), tuple(starts), note=waited)]


def _row(title: str, name: str, runs: list[dict[str, Any]]) -> Row:
    samples = tuple(run["seconds"] for run in runs)
    best = min(runs, key=lambda run: run["seconds"])
    steps = ", ".join(f"{step} {seconds:.2f} s" for step, seconds in best["steps"].items())
    note = f"{best['n_iter']} iterations; best of them: {steps}"
    peak = max(run["peak_mib"] for run in runs)
    return Row(title, name, median(samples), samples, peak_mib=peak, note=note)


def _rasters(run: dict[str, Any]) -> list[Path]:
    return [Path(path) for path in run["rasters"]]


def _travelled(found: dict[str, Any]) -> str:
    if found["bytes"] is None:
        return "bytes that travel: not known on this system"
    return f"{found['bytes'] / 1000:,.1f} kB travel per iteration"
