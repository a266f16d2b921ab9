"""The kernel sweep: nanoseconds per pixel, band and class over many shapes of problem.

An iteration is timed from within, by the engine's reports, for some take a millisecond. Before
that, each shape's answer on a small scene is compared with the NumPy backend's, which must be the
same to the bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from peers import ENGINE, FEW, MANY
from series import SeriesShape, make_series
from settings import SERIES, Settings
from spectra import first_centres, make_spectra
from table import Row, Target, median

if TYPE_CHECKING:
    from iikmc.core import ClassModel, Series

BANDS = (1, 3, 4, 6, 10, 12)
CLASSES = (4, 8, 20, 50, 160)
DTYPES = {"uint16": "uint16", "int32": "float32"}  # of the codes: of the rasters
SMALL = 256
FACTOR = 2.0


@dataclass(frozen=True)
class _Case:
    """A series, the bands used of it, and first centres in the input's units."""

    paths: tuple[Path, ...]
    bands: int
    start: np.ndarray

    def open(self) -> Series:
        """Open the series, with as many bands."""
        from iikmc.core import open_series

        return open_series(self.paths, bands=list(range(1, self.bands + 1)))


def sweep(settings: Settings, log: Callable[[str], None]) -> list[Row]:
    """Measure every shape: rows of nanoseconds, and for each dtype the largest over the least."""
    rows: list[Row] = []
    for codes, dtype in DTYPES.items():
        title = (
            f"kernel sweep, {codes} codes, one iteration of {settings.size:,} × {settings.size:,}"
        )
        log(title)
        large = SeriesShape(1, settings.size, max(BANDS), dtype)
        small = SeriesShape(1, SMALL, max(BANDS), dtype)
        costs = []
        for bands, classes in product(BANDS, CLASSES):
            name = f"B = {bands}, k = {classes}"
            if not _same_bits(_case(small, bands, classes)):
                rows.append(Row.absent(title, name, "WRONG ANSWER: not what NumPy gives"))
                continue
            pixels, samples = _sample(_case(large, bands, classes), settings)
            each = median(samples) / pixels * 1e9
            costs.append(each / (bands * classes))
            note = f"{costs[-1]:.4f} ns per pixel·band·class, {each:.2f} ns per pixel"
            rows.append(Row(title, name, median(samples), tuple(samples), note=note))
            log(f"  {name}: {note}")
        ratio = max(costs) / min(costs)
        limit = (Target.at_most(FACTOR, ratio, "×"),)
        rows.append(Row(title, f"{ENGINE}, largest over least", ratio=ratio, targets=limit))
    return rows


def _case(shape: SeriesShape, bands: int, classes: int) -> _Case:
    paths = make_series(shape, SERIES)
    spectra = make_spectra(paths)
    start = first_centres(spectra, classes) + spectra.origin
    return _Case(tuple(paths), bands, start[:, :bands])


def _same_bits(case: _Case) -> bool:
    found, expected = (_fit(case, 3, engine, 1) for engine in ("auto", "numpy"))
    return (
        np.array_equal(found.centres, expected.centres)
        and found.fit.class_pixels == expected.fit.class_pixels
    )


def _fit(case: _Case, iterations: int, engine: str, threads: int) -> ClassModel:
    from clock import IterationClock

    from iikmc.core import cluster

    with case.open() as series:
        return cluster(
            series,
            init=case.start,
            max_iter=iterations,
            tol=0.0,
            engine=engine,
            threads=threads,
            monitor=IterationClock(),
        )


def _sample(case: _Case, settings: Settings) -> tuple[int, list[float]]:
    """Return the valid pixels, and the seconds of one iteration, repeated."""
    from clock import IterationClock

    from iikmc.core import cluster

    samples = []
    with case.open() as series:
        for _ in range(1 + max(3, settings.repeats)):
            clock = IterationClock()
            model = cluster(
                series,
                init=case.start,
                max_iter=MANY,
                tol=0.0,
                threads=settings.threads,
                monitor=clock,
            )
            samples.append(clock.iteration(FEW))
    return model.fit.valid_pixels, samples[1:]
