"""Runs the benchmark and prints its table; bench/README.md says how to read it.

make bench [BENCH=full|sweep|cluster] [ARGS="--scenes 2 --size 600 --lines k8,whole"]
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial

import machine
from cluster import cluster_iteration, cluster_run
from iteration import ITERATION_LINES, one_iteration, to_convergence
from peers import PEERS
from settings import RESULTS, Settings
from start import second_start
from sweep import sweep
from table import Row, as_plain, as_text
from whole import large_run, whole_run

Line = Callable[[Settings, Callable[[str], None]], list[Row]]

LINES: dict[str, Line] = {
    **{line.key: partial(one_iteration, line) for line in ITERATION_LINES},
    "convergence": to_convergence,
    "whole": whole_run,
    "start": second_start,
    "large": large_run,
    "sweep": sweep,
    "cluster": cluster_run,
    "cluster-iteration": cluster_iteration,
}
CLUSTER = ("cluster", "cluster-iteration")
DEFAULT = tuple(key for key in LINES if key not in ("large", "sweep", *CLUSTER))
CHOICES = {
    "default": DEFAULT,
    "full": (*DEFAULT, "large"),
    "sweep": ("sweep",),
    "cluster": CLUSTER,
}


def main() -> None:
    """Measure the lines asked for, print them and keep them."""
    given = _arguments()
    _use_cores(given.threads)
    settings = Settings(
        given.scenes, given.size, given.large_size, given.threads, given.repeats, given.peers
    )
    load = machine.load()
    began, rows = time.perf_counter(), []
    for key in given.lines:
        rows += LINES[key](settings, _log)
    facts = {**machine.describe(), "load before": load}
    setting = (
        f"{settings.threads} threads, {settings.repeats} repeats, medians; "
        f"{(time.perf_counter() - began) / 60:.0f} minutes"
    )
    head = "\n".join(f"{name}: {value}" for name, value in facts.items())
    text = f"{as_text(rows)}\n{setting}\n{head}\n"
    print(f"\n{text}", end="")
    RESULTS.mkdir(parents=True, exist_ok=True)
    name = given.output or f"{dt.datetime.now():%Y-%m-%d-%H%M%S}"
    content = {"machine": facts, "settings": vars(settings), "rows": as_plain(rows)}
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    (RESULTS / f"{name}.txt").write_text(text)
    _log(f"kept as bench/results/{name}.json and .txt")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lines", type=_among(LINES), help=f"any of {', '.join(LINES)}")
    parser.add_argument(
        "--peers", type=_among(PEERS), default=tuple(PEERS), help=f"any of {', '.join(PEERS)}"
    )
    parser.add_argument("--scenes", type=int, default=5)
    parser.add_argument("--size", type=int, default=2000, help="rows and columns of a scene")
    parser.add_argument(
        "--large-size", type=int, default=6400, help="those of the lines large and cluster"
    )
    parser.add_argument("--threads", type=int, default=_cores())
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", help="name of the result; the time of day if left out")
    given = parser.parse_args()
    choice = os.environ.get("BENCH") or "default"
    if choice not in CHOICES:
        parser.error(f"BENCH is {choice!r}; expected one of {', '.join(CHOICES)}.")
    given.lines = given.lines or CHOICES[choice]
    return given


def _among(known: dict) -> Callable[[str], tuple[str, ...]]:
    def parse(text: str) -> tuple[str, ...]:
        names = tuple(name.strip() for name in text.split(",") if name.strip())
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(known)}.")
        return names

    return parse


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def _use_cores(threads: int) -> None:
    """Give this process, and all it starts, as many cores and threads, whatever a peer asks."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    for name in ("OMP", "OPENBLAS", "MKL", "NUMBA"):
        os.environ[f"{name}_NUM_THREADS"] = str(threads)


def _log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
