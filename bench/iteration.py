"""The lines that take place in memory: one iteration, and a fit to convergence.

An iteration's time is that of a fit with MANY iterations less one with FEW, shared out: what
comes once per fit (checks, copies, sums of squares, the final assignment, quality scores) falls
out alike for all. All iterate from the same centres, so iterations FEW + 1 to MANY are the same
work for all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from child import run_engine
from contest import Contestant, Timed, Unavailable
from match import Match
from peers import FEW, LLOYD, MANY, REFERENCE, Task
from series import SeriesShape, make_series
from settings import OUTPUTS, SERIES, Settings
from spectra import first_centres, make_spectra
from table import Row, median

Log = Callable[[str], None]


@dataclass(frozen=True)
class IterationLine:
    """One size of problem; ``at_least`` is how many times faster than scikit-learn Lloyd."""

    key: str
    classes: int
    bands: int
    dtype: str
    at_least: float


ITERATION_LINES = (
    IterationLine("k8", 8, 6, "uint16", 12.0),
    IterationLine("k20", 20, 6, "uint16", 10.0),
    IterationLine("k50", 50, 6, "uint16", 8.0),
    IterationLine("k50-10bands", 50, 10, "uint16", 8.0),
    IterationLine("float32", 8, 6, "float32", 6.0),
)
CONVERGENCE = IterationLine("convergence", 8, 6, "uint16", 15.0)
CONVERGENCE_PEERS = (LLOYD, REFERENCE, "scikit-learn Elkan", "scikit-learn-intelex")


def one_iteration(line: IterationLine, settings: Settings, log: Log) -> list[Row]:
    """Measure one iteration of this engine and the peers."""
    task = _task(line, settings)
    reported: list[float] = []

    def sample(contestant: Contestant) -> float:
        few, many = _fit(contestant, FEW), _fit(contestant, MANY)
        if many.iteration is not None:
            reported.append(many.iteration)
        return (many.seconds - few.seconds) / (MANY - FEW)

    title = f"one iteration, {_problem(line, task)}"
    match = Match(title, task, line.dtype, settings.peers, line.at_least, MANY, sample)
    rows = match.play(settings.repeats, log)
    if reported:
        own = f"{median(reported):.4f} s by its own reports"
        rows[0] = replace(rows[0], note=f"{rows[0].note}; {own}")
    return rows


def to_convergence(settings: Settings, log: Log) -> list[Row]:
    """Measure a whole fit: as many iterations as this engine needs, for all."""
    task = _task(CONVERGENCE, settings)
    OUTPUTS.mkdir(parents=True, exist_ok=True)
    start = OUTPUTS / "start.npy"
    np.save(start, task.start + task.spectra.origin)
    run = run_engine(task.paths, OUTPUTS / "convergence", settings.threads, start=start)
    iterations = int(run["n_iter"])

    def sample(contestant: Contestant) -> float:
        return _fit(contestant, iterations).seconds

    title = f"{iterations} iterations, to a changed share of 1e-4, {_problem(CONVERGENCE, task)}"
    peers = tuple(name for name in CONVERGENCE_PEERS if name in settings.peers)
    match = Match(title, task, CONVERGENCE.dtype, peers, CONVERGENCE.at_least, iterations, sample)
    rows = match.play(settings.repeats, log)
    parts = ", ".join(f"{step} {seconds:.2f} s" for step, seconds in run["steps"].items())
    rows[0] = replace(rows[0], note=f"{rows[0].note}; from files: {parts}")
    return rows


def _task(line: IterationLine, settings: Settings) -> Task:
    shape = SeriesShape(settings.scenes, settings.size, line.bands, line.dtype)
    paths = make_series(shape, SERIES)
    spectra = make_spectra(paths)
    return Task(tuple(paths), spectra, first_centres(spectra, line.classes), settings.threads)


def _problem(line: IterationLine, task: Task) -> str:
    pixels = len(task.spectra.mapped()) / 1e6
    return f"{pixels:.1f} M valid pixels × {line.bands} bands {line.dtype}, k = {line.classes}"


def _fit(contestant: Contestant, iterations: int) -> Timed:
    timed = contestant.fit(iterations)
    if timed.n_iter != iterations:
        raise Unavailable(f"{contestant.name} stopped after {timed.n_iter} iterations")
    return timed
