"""The line of the first iteration: a new process imports, loads compiled code and iterates once."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable

from child import run_script
from peers import ENGINE
from series import SeriesShape, make_series
from settings import SERIES, Settings
from table import Row, Target, median

SMALL = SeriesShape(scenes=2, size=300)
AT_MOST = 1.5
# Where Numba, and programs on Linux, keep what they make for later.
CACHES = ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "HOME")


def second_start(settings: Settings, log: Callable[[str], None]) -> list[Row]:
    """Measure a process from its start to its end: one that compiles, then others."""
    scenes = make_series(SMALL, SERIES)
    title = f"start of a process, one iteration of 2 scenes of {SMALL.size} × {SMALL.size}"
    log(title)
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, **dict.fromkeys(CACHES, folder)}

        def start() -> tuple[float, dict]:
            began = time.perf_counter()
            found = run_script("first_iteration.py", *scenes, environment=environment)
            return time.perf_counter() - began, found

        first, _ = start()
        later = [start() for _ in range(max(3, settings.repeats))]
    samples = tuple(seconds for seconds, _ in later)
    seconds, found = median(samples), later[-1][1]
    note = f"importing {found['importing']:.2f} s, fitting {found['fitting']:.2f} s"
    return [
        Row(title, f"{ENGINE}, first start", first, (first,), note="compiles"),
        Row(
            title,
            f"{ENGINE}, second start",
            seconds,
            samples,
            targets=(Target.at_most(AT_MOST, seconds, " s"),),
            note=note,
        ),
    ]
