"""The lines from GeoTIFF to GeoTIFF: whole runs against reading and writing the same files.

Each run is a process of its own. Its time goes from opening the scenes to the last label raster
in place; importing is not in it, loading compiled code is. Files are in the page cache: a run
that is not counted comes first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from agreement import digest, equal_share, nearest_share
from child import run_engine, run_script
from peers import ENGINE
from series import SeriesShape, make_series
from settings import OUTPUTS, SERIES, Settings
from table import Row, Target, median

FULL, PROGRESSIVE = f"{ENGINE}, full", f"{ENGINE}, progressive"
FLOOR = "rasterio, read and write alone"
AT_MOST = {FULL: 6.0, PROGRESSIVE: 2.0}
# Limits of the large series at its own size: seconds, and MiB.
LARGE_SECONDS = {FULL: 60.0, PROGRESSIVE: 25.0}
LARGE_MIB, LIMIT_MB, LIMITED_MIB = 4096.0, 512, 1024.0
LEAST_NEAREST = 0.999999

Log = Callable[[str], None]


@dataclass(frozen=True)
class _Runs:
    """Runs of one kind, in the order they were made; ``refused`` if the engine has no such."""

    found: list[dict[str, Any]]
    refused: str = ""

    @property
    def seconds(self) -> tuple[float, ...]:
        return tuple(run["seconds"] for run in self.found)

    @property
    def rasters(self) -> list[Path]:
        return [Path(path) for path in self.found[-1]["rasters"]]


def whole_run(settings: Settings, log: Log) -> list[Row]:
    """Measure full and progressive runs of the default series against the floor."""
    shape = SeriesShape(settings.scenes, settings.size)
    scenes = make_series(shape, SERIES)
    title = f"whole run, {_size(shape)}"
    log(title)
    floor, runs = _measure(scenes, settings, log)
    return _rows(title, scenes, floor, runs)


def large_run(settings: Settings, log: Log) -> list[Row]:
    """Measure the large series: time and memory, and the same under a memory limit."""
    shape = SeriesShape(settings.scenes, settings.large_size)
    scenes = make_series(shape, SERIES)
    title = f"whole run, {_size(shape)}"
    log(title)
    floor, runs = _measure(scenes, settings, log)
    rows = [_against_limits(row) for row in _rows(title, scenes, floor, runs)]
    log(f"  under a limit of {LIMIT_MB} MiB")
    return [*rows, _limited(title, scenes, runs[FULL], settings)]


def _measure(scenes: list[Path], settings: Settings, log: Log) -> tuple[_Runs, dict[str, _Runs]]:
    """Take turns: the floor, full, progressive; the first round of this engine does not count."""
    kinds = {FULL: "full", PROGRESSIVE: "progressive"}
    runs: dict[str, _Runs] = {}
    for name, strategy in kinds.items():
        first = run_engine(scenes, OUTPUTS / strategy, settings.threads, strategy=strategy)
        runs[name] = _Runs([], first.get("refused", ""))
        if name == FULL:
            labels = first["rasters"]
    floor = _Runs([])
    for number in range(settings.repeats):
        arguments = [f"--output={OUTPUTS / 'floor'}", f"--threads={settings.threads}"]
        floor.found.append(run_script("floor_run.py", *arguments, *scenes, "--labels", *labels))
        for name, strategy in kinds.items():
            if not runs[name].refused:
                output = OUTPUTS / strategy
                run = run_engine(scenes, output, settings.threads, strategy=strategy)
                runs[name].found.append(run)
        log(f"  repeat {number + 1} of {settings.repeats}")
    return floor, runs


def _rows(title: str, scenes: list[Path], floor: _Runs, runs: dict[str, _Runs]) -> list[Row]:
    base = median(floor.seconds)
    rows = [
        Row(
            title,
            FLOOR,
            seconds=base,
            samples=floor.seconds,
            peak_mib=median([run["peak_mib"] for run in floor.found]),
            note=_steps(floor.found[-1]),
        )
    ]
    full = runs[FULL]
    for name, kind in runs.items():
        if kind.refused:
            rows.append(Row.absent(title, name, f"not in this version: {kind.refused}"))
            continue
        row = _engine_row(title, name, kind, scenes)
        if name != FULL and kind.found and not row.note.startswith("WRONG"):
            row = replace(
                row,
                labels=equal_share(full.rasters, kind.rasters),
                inertia=kind.found[-1]["inertia"] / full.found[-1]["inertia"] - 1.0,
            )
        if not row.note.startswith("WRONG"):
            ratio = median(kind.seconds) / base
            limit = Target.at_most(AT_MOST[name], ratio, "×")
            row = replace(row, ratio=ratio, targets=(limit,))
        rows.append(row)
    return rows


def _engine_row(title: str, name: str, kind: _Runs, scenes: list[Path]) -> Row:
    last = kind.found[-1]
    nearest = nearest_share(scenes, kind.rasters, np.array(last["signatures"]))
    note = f"{last['n_iter']} iterations; {_steps(last)}"
    if nearest < LEAST_NEAREST:
        note = f"WRONG ANSWER: {1.0 - nearest:.2e} of the labels are not the nearest class"
    return Row(
        title,
        name,
        seconds=median(kind.seconds),
        samples=kind.seconds,
        peak_mib=max(run["peak_mib"] for run in kind.found),
        note=note,
    )


def _against_limits(row: Row) -> Row:
    """Return a row of the large series with its limits instead of the ratio's."""
    if row.contender not in LARGE_SECONDS or row.ratio is None:
        return row
    seconds = Target.at_most(LARGE_SECONDS[row.contender], row.seconds, " s")
    memory = Target.at_most(LARGE_MIB, row.peak_mib, " MiB")
    return replace(row, targets=(seconds, memory) if row.contender == FULL else (seconds,))


def _limited(title: str, scenes: list[Path], full: _Runs, settings: Settings) -> Row:
    """Return the row of one full run under the memory limit, whose bits must be the same."""
    name = f"{FULL}, {LIMIT_MB} MiB"
    run = run_engine(scenes, OUTPUTS / "limited", settings.threads, memory_mb=LIMIT_MB)
    if "refused" in run:
        return Row.absent(title, name, f"not in this version: {run['refused']}")
    limited = _Runs([run])
    row = _engine_row(title, name, limited, scenes)
    same = run["signatures"] == full.found[-1]["signatures"]
    same = same and digest(limited.rasters) == digest(full.rasters)
    memory = Target.at_most(LIMITED_MIB, run["peak_mib"], " MiB")
    return replace(row, targets=(Target("same bits", same), memory))


def _steps(run: dict[str, Any]) -> str:
    return ", ".join(f"{step} {seconds:.2f} s" for step, seconds in run["steps"].items())


def _size(shape: SeriesShape) -> str:
    return (
        f"{shape.scenes} scenes of {shape.size:,} × {shape.size:,} × {shape.bands} bands "
        f"{shape.dtype} ({shape.pixels / 1e6:.1f} M pixels), k = 8"
    )
