"""What harmonising and smoothing cost on top of a run: seconds on the benchmark's series."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from series import SeriesShape, make_series
from settings import SERIES

from iikmc.core import cluster, open_series

CLASSES, ROUNDS, ITERATIONS = 8, 5, 30
KINDS: dict[str, dict[str, object]] = {
    "plain": {},
    "standardise": {"harmonise": "standardise"},
    "invariant": {"harmonise": "invariant"},
    "temporal": {"temporal": "markov"},
}


@dataclass(frozen=True)
class Cost:
    """Median seconds of a run, from files to label rasters, and how many plain ones that is.

    ``alike`` is how many where all have as many iterations: harmonised pixels converge in more
    of them, or fewer.
    """

    kind: str
    seconds: float
    times: float
    iterations: int
    alike: float

    def __str__(self) -> str:
        numbers = f"{self.seconds:9.2f}  {self.times:9.2f}  {self.alike:9.2f}"
        return f"{self.kind.ljust(34)}  {numbers}  ({self.iterations} iterations)"


def costs(shape: SeriesShape | None = None) -> list[Cost]:
    """Measure each kind in turn; a first round, which compiles and fills the cache, is left out."""
    paths = make_series(shape or SeriesShape(), SERIES)
    iterations = {kind: _run(paths, options)[1] for kind, options in KINDS.items()}
    usual: dict[str, list[float]] = {kind: [] for kind in KINDS}
    alike: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for _ in range(ROUNDS):
        for kind, options in KINDS.items():
            usual[kind].append(_run(paths, options)[0])
            alike[kind].append(_run(paths, {**options, "tol": 0.0, "max_iter": ITERATIONS})[0])
    plain, plain_alike = (median(found["plain"]) for found in (usual, alike))
    return [
        Cost(
            kind,
            median(usual[kind]),
            median(usual[kind]) / plain,
            iterations[kind],
            median(alike[kind]) / plain_alike,
        )
        for kind in KINDS
    ]


def _run(paths: list[Path], options: dict[str, object]) -> tuple[float, int]:
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        with open_series(paths) as series:
            model = cluster(series, classes=CLASSES, **options)
            model.classify(series, folder)
        return time.perf_counter() - began, model.fit.n_iter
