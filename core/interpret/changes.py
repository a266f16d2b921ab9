"""What changed between class rasters: areas, transitions between dates, and rasters of changes."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..csv_files import write_csv
from ..errors import DateError
from ..files import StagedOutputs
from ..grid import Window
from ..monitor import Monitor
from ..palette import Colour
from ..raster import ClassStyle
from ..raster.values import ValueWriter
from .history import changes_of, majority_of
from .label_series import LabelSeries
from .sweep import sweep
from .transitions import TransitionTally

CHANGE_COUNT, LAST_CHANGE = "change_count.tif", "last_change.tif"
FROM_TO, MAJORITY = "from_to.tif", "majority.tif"
NO_COUNT, NO_DATE, NEVER = 65_535, -1, 0
_NEVER_COLOUR = (224, 226, 229)
_EARLY, _LATE = (254, 217, 142), (122, 1, 119)


@dataclass(frozen=True)
class Transitions:
    """Between two dates, by their places in the series: pixels and hectares from class to class.

    Both have shape (classes, classes), rows are classes of the first date; of pixels that are
    valid on both. ``hectares`` is None where the CRS does not say how large a pixel is.
    """

    first: int
    second: int
    pixels: np.ndarray
    hectares: np.ndarray | None


@dataclass(frozen=True)
class MeasuredChanges:
    """What changed in a series of class rasters.

    ``class_pixels`` and ``class_hectares`` have shape (dates, classes). ``between`` is from the
    date FROM to the date TO, ``steps`` from each date to the next. ``counts`` has the pixels by
    number of changes, int64 (dates,), ``lasts`` by the place of the date of their last change,
    int64 (dates,), of pixels that are valid twice or more. The rasters are where they are staged.
    """

    labels: LabelSeries
    class_pixels: np.ndarray
    class_hectares: np.ndarray | None
    between: Transitions
    steps: tuple[Transitions, ...]
    counts: np.ndarray
    lasts: np.ndarray
    change_count: Path
    last_change: Path
    from_to: Path
    majority: Path

    @property
    def most_changes(self) -> int:
        """The largest number of changes of a pixel."""
        return int(np.flatnonzero(self.counts).max(initial=0))


def choose_dates(
    labels: LabelSeries, since: dt.date | None, until: dt.date | None
) -> tuple[int, int]:
    """Return the places of FROM and TO in the series; None: the first and the last date.

    Raises DateError where one is no date of the series, or FROM is not before TO.
    """
    ends = []
    for key, date, default in (("FROM", since, labels.dates[0]), ("TO", until, labels.dates[-1])):
        date = default if date is None else date
        if date not in labels.dates:
            before = [f"{day}" for day in labels.dates if day < date][-1:]
            after = [f"{day}" for day in labels.dates if day > date][:1]
            near = " and ".join(before + after)
            verb = "are" if before and after else "is"
            raise DateError(
                f"{key} is {date}, which is not a date of the class layers; the nearest {verb} "
                f"{near}."
            )
        ends.append(date)
    if ends[0] >= ends[1]:
        found = f"{ends[0]}, which is TO as well" if ends[0] == ends[1] else f"{ends[0]}"
        rest = "" if ends[0] == ends[1] else f", which comes after TO, {ends[1]}"
        raise DateError(f"FROM is {found}{rest}; expected a date before TO.")
    return labels.dates.index(ends[0]), labels.dates.index(ends[1])


def code_of(first: int, second: int, classes: int) -> int:
    """Return the value in ``from_to.tif`` of a change between classes, by their ranks from 1."""
    return (first - 1) * classes + second


def measure_changes(
    labels: LabelSeries,
    folder: str | os.PathLike[str],
    outputs: StagedOutputs,
    *,
    since: dt.date | None = None,
    until: dt.date | None = None,
    threads: int | None = None,
    monitor: Monitor | None = None,
) -> MeasuredChanges:
    """Count classes and transitions, and write rasters of what changed.

    Staged for ``folder``, the first two over all dates, 65535 and -1 where fewer than two dates
    are valid:

    - ``change_count.tif``, uint16: how often the class changed from a valid date to the next;
    - ``last_change.tif``, int32: the first date with the class that then stayed, as the number
      YYYYMMDD; 0 where the class never changed;
    - ``from_to.tif``, uint16: (from − 1) · k + to, for the places (from 1) of the classes at the
      dates ``since`` and ``until`` among the k classes; 0 where one of them is not valid;
    - ``majority.tif``: the number of the most frequent class, the lowest of equals; 0 for none.

    Raises DateError, RasterError, OutputError, and Cancelled from the monitor.
    """
    monitor = monitor or Monitor()
    ends = choose_dates(labels, since, until)
    labels = labels.known(threads=threads, monitor=monitor.part(0.0, 0.1))
    work = _Work(labels, ends)
    staged = outputs.folder(folder)
    with contextlib.ExitStack() as stack:
        writers = [stack.enter_context(item) for item in _writers(labels, ends, staged)]

        def name_values() -> None:
            writers[1].categorise(date_styles(labels, work.lasts))
            writers[2].categorise(change_styles(labels.styles, work.between()))

        sweep(
            labels.windows(len(labels)),
            work,
            writers,
            threads=threads,
            monitor=monitor.part(0.1, 1.0),
            counted=name_values,
        )
    return work.result(staged)


class _Work:
    """Reads a window on all dates, counts classes and changes, and returns the rasters' planes."""

    def __init__(self, labels: LabelSeries, ends: tuple[int, int]) -> None:
        self._labels, self._ends = labels, ends
        count = len(labels)
        self._steps = list(zip(range(count), range(1, count)))
        pairs = [*((date, date) for date in range(count)), *self._steps, ends]
        self._tally = TransitionTally(len(labels.styles), pairs, labels.grid)
        self._lock = threading.Lock()
        self._numbers = np.array([0, *(item.number for item in labels.styles)])
        self._stamps = np.array(
            [*(int(f"{date:%Y%m%d}") for date in labels.dates), NEVER], np.int32
        )
        self.counts, self.lasts = np.zeros(count, np.int64), np.zeros(count, np.int64)

    def __call__(self, window: Window, stop: threading.Event) -> list[np.ndarray]:
        ranks = self._labels.read(window, stop)
        self._tally.add(window, ranks, None, stop)
        found = changes_of(ranks)
        seen, changed = found.valid >= 2, found.last >= 0
        with self._lock:
            self.counts += np.bincount(found.count[seen], minlength=len(self.counts))
            self.lasts += np.bincount(found.last[changed], minlength=len(self.lasts))
        classes = len(self._labels.styles)
        first, second = (ranks[end].astype(np.uint16) for end in self._ends)
        code = (first - np.uint16(1)) * np.uint16(classes) + second
        majority = majority_of(ranks, classes)
        return [
            np.where(seen, found.count, np.uint16(NO_COUNT)),
            np.where(seen, self._stamps[found.last], np.int32(NO_DATE)),
            np.where((first > 0) & (second > 0), code, np.uint16(0)),
            self._numbers[majority].astype(_majority_type(self._labels)),
        ]

    def between(self) -> np.ndarray:
        """Return the pixels from class to class between the two dates chosen."""
        return self._tally.pixels[-1]

    def result(self, staged: Path) -> MeasuredChanges:
        pixels, hectares = self._tally.pixels, self._tally.hectares()
        count = len(self._labels)

        def transitions(place: int, pair: tuple[int, int]) -> Transitions:
            ground = None if hectares is None else hectares[place]
            return Transitions(*pair, pixels[place], ground)

        return MeasuredChanges(
            labels=self._labels,
            class_pixels=_diagonals(pixels[:count]),
            class_hectares=None if hectares is None else _diagonals(hectares[:count]),
            between=transitions(len(pixels) - 1, self._ends),
            steps=tuple(transitions(count + row, pair) for row, pair in enumerate(self._steps)),
            counts=self.counts,
            lasts=self.lasts,
            change_count=staged / CHANGE_COUNT,
            last_change=staged / LAST_CHANGE,
            from_to=staged / FROM_TO,
            majority=staged / MAJORITY,
        )


def date_styles(labels: LabelSeries, lasts: np.ndarray) -> list[ClassStyle]:
    """Return what the values of ``last_change.tif`` mean: early dates are light, late ones dark.

    Only dates on which something changed are listed; ``lasts`` as in :class:`MeasuredChanges`.
    """
    dates = sorted({date for date, pixels in zip(labels.dates, lasts) if pixels})
    most = max(1, len(dates) - 1)
    return [
        ClassStyle(NEVER, "never", _NEVER_COLOUR),
        *(
            ClassStyle(int(f"{date:%Y%m%d}"), f"{date}", _mixed(_EARLY, _LATE, place, most))
            for place, date in enumerate(dates)
        ),
    ]


def change_styles(classes: tuple[ClassStyle, ...], pixels: np.ndarray) -> list[ClassStyle]:
    """Return what the values of ``from_to.tif`` mean, of changes that have pixels.

    A change has the colour of the class it ends in, with a quarter of that it began in; pixels
    that kept their class are pale. ``pixels`` has shape (classes, classes).
    """
    found = []
    for row, column in np.argwhere(pixels > 0).tolist():
        first, second = classes[row], classes[column]
        colour = _mixed(second.colour, first.colour, 1, 4)
        if row == column:
            colour = _mixed(second.colour, (240, 241, 243), 17, 20)
        name = f"{first.name} (unchanged)" if row == column else f"{first.name} → {second.name}"
        found.append(ClassStyle(code_of(row + 1, column + 1, len(classes)), name, colour))
    return found


def write_areas(path: Path, found: MeasuredChanges) -> None:
    """Write a CSV of the area of each class on each date, staged; raises OutputError."""
    head = ["date", "layer", "class", "name", "pixels", "hectares", "share"]
    rows: list[list[object]] = []
    for place, layer in enumerate(found.labels.layers):
        pixels = found.class_pixels[place]
        ground = found.class_hectares[place] if found.class_hectares is not None else None
        total = int(pixels.sum())
        for row, item in enumerate(found.labels.styles):
            rows.append(
                [
                    *(layer.date, layer.name, item.number, item.name, int(pixels[row])),
                    float(ground[row]) if ground is not None else None,
                    int(pixels[row]) / total if total else None,
                ]
            )
    write_csv(path, head, rows)


def write_transitions(path: Path, found: MeasuredChanges) -> None:
    """Write a CSV of changes that have pixels, FROM to TO first; staged, raises OutputError.

    Then come those from each date to the next, without FROM to TO if that is one of them.
    """
    between = (found.between.first, found.between.second)
    steps = [step for step in found.steps if (step.first, step.second) != between]
    head = ["from_date", "to_date", "from_class", "from_name", "to_class", "to_name"]
    rows = (row for item in (found.between, *steps) for row in _transition_rows(found, item))
    write_csv(path, [*head, "pixels", "hectares"], rows)


def _transition_rows(found: MeasuredChanges, item: Transitions) -> Iterator[list[object]]:
    dates, classes = found.labels.dates, found.labels.styles
    for row, column in np.argwhere(item.pixels > 0).tolist():
        first, second = classes[row], classes[column]
        ground = None if item.hectares is None else float(item.hectares[row, column])
        names = [first.number, first.name, second.number, second.name]
        pixels = int(item.pixels[row, column])
        yield [dates[item.first], dates[item.second], *names, pixels, ground]


def _writers(labels: LabelSeries, ends: tuple[int, int], staged: Path) -> Iterator[ValueWriter]:
    period = {"FIRST_DATE": f"{labels.dates[0]}", "LAST_DATE": f"{labels.dates[-1]}"}
    classes = len(labels.styles)
    code = {
        "FROM_DATE": f"{labels.dates[ends[0]]}",
        "TO_DATE": f"{labels.dates[ends[1]]}",
        "CODE": f"(from - 1) * {classes} + to",
    }
    kinds: tuple[tuple[str, str, float, str, dict[str, str]], ...] = (
        (CHANGE_COUNT, "uint16", NO_COUNT, "number of changes of class", period),
        (LAST_CHANGE, "int32", NO_DATE, "date of the last change, YYYYMMDD", period),
        (FROM_TO, "uint16", 0, "class before and after", code),
        (MAJORITY, _majority_type(labels), 0, "most frequent class", period),
    )
    for name, dtype, nodata, band, tags in kinds:
        yield ValueWriter(
            staged / name,
            labels.grid,
            dtype=dtype,
            nodata=nodata,
            bands=[band],
            tags=tags,
            categories=labels.styles if name == MAJORITY else (),
        )


def _majority_type(labels: LabelSeries) -> str:
    return "uint8" if labels.styles[-1].number <= 255 else "int32"


def _diagonals(tables: np.ndarray) -> np.ndarray:
    return np.diagonal(tables, axis1=1, axis2=2).copy()


def _mixed(first: Colour, second: Colour, part: int, whole: int) -> Colour:
    """Return the colour that lies ``part`` of ``whole`` from the first to the second."""
    red, green, blue = (
        (a * (whole - part) + b * part + whole // 2) // whole for a, b in zip(first, second)
    )
    return red, green, blue
