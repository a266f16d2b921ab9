"""Class rasters of a series: opened, checked to fit together, and read window by window."""

from __future__ import annotations

import datetime as dt
import os
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .. import dates as label_dates
from ..errors import Cancelled, DateError, RasterError, SeriesError
from ..grid import Grid, Window
from ..monitor import Monitor
from ..palette import colours
from ..parallel import ordered_map, thread_count
from ..placing import check_same_grid
from ..raster import ClassStyle, RasterInfo, describe
from ..raster.planes import read_plane
from ..raster.tables import ClassTable, read_table

if TYPE_CHECKING:
    from ..model import ClassModel
    from ..series import Series

MOST_CLASSES = 254
_ADVICE = "bring all to one grid first"
_WINDOW_PIXELS = 1 << 20  # a window is done within a fraction of a second
_WINDOW_BYTES = 32 << 20  # of labels of all dates
_TILE = 512  # of the rasters that are written


@dataclass(frozen=True)
class LabelLayer:
    """One date's class raster. ``label`` is its date, with its name where a date comes twice."""

    name: str
    path: str
    date: dt.date
    label: str


@dataclass(frozen=True)
class LabelSeries:
    """Class rasters on one grid with one set of classes, oldest first (then by name).

    ``classes`` ascend by number; those of a raster need not be 1 to k, so they have ranks, from 1
    on, in that order. None where the rasters carry no table: :meth:`known` finds out.
    ``notes`` are sentences about what may not be meant as it was given.
    """

    layers: tuple[LabelLayer, ...]
    grid: Grid
    classes: tuple[ClassStyle, ...] | None
    notes: tuple[str, ...]
    block: tuple[int, int]

    def __len__(self) -> int:
        return len(self.layers)

    @property
    def dates(self) -> tuple[dt.date, ...]:
        """The date of each layer."""
        return tuple(layer.date for layer in self.layers)

    @property
    def styles(self) -> tuple[ClassStyle, ...]:
        """The classes, once they are known."""
        assert self.classes is not None, "known() has not been asked"
        return self.classes

    def known(self, *, threads: int | None = None, monitor: Monitor | None = None) -> LabelSeries:
        """Return the series with its classes; reads all rasters once if none has a table.

        Raises RasterError, SeriesError if there are too many different values for classes.
        """
        if self.classes is not None:
            return self
        found: set[int] = set()
        tasks = [(layer, window) for layer in self.layers for window in self.windows(1)]
        monitor = monitor or Monitor()
        workers = thread_count(threads)
        with ThreadPoolExecutor(workers) as pool:
            for done, values in enumerate(
                ordered_map(pool, _distinct, tasks, monitor, ahead=2 * workers), start=1
            ):
                found |= values
                if len(found) > MOST_CLASSES:
                    raise _no_classes(self.layers[0].name, len(found))
                monitor.progress(done / len(tasks))
        if not found:
            raise SeriesError("The class layers hold no class: all their pixels are 0 or nodata.")
        return replace(self, classes=_styles(ClassTable(tuple(sorted(found)), {}, {})))

    def windows(self, layers: int) -> list[Window]:
        """Return windows that cover the grid, for so many rasters to be held at a time."""
        pixels = min(_WINDOW_PIXELS, _WINDOW_BYTES // max(1, layers))
        return windows_of(self.grid, self.block, max(1, pixels))

    def read(self, window: Window, stop: threading.Event | None = None) -> np.ndarray:
        """Return the classes' ranks on all dates, uint8 (dates, height, width), 0 for none.

        Raises RasterError for a value that is no class, and Cancelled once ``stop`` is set.
        """
        reader = RankReader(tuple(item.number for item in self.styles))
        ranks = np.empty((len(self), window.height, window.width), np.uint8)
        for layer, plane in zip(self.layers, ranks):
            if stop is not None and stop.is_set():
                raise Cancelled("Reading class rasters was stopped.")
            plane[:] = reader.read(layer.path, layer.name, window)
        return ranks


class RankReader:
    """Reads a class raster as ranks of the classes' numbers, at most 254, ascending."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self._numbers = np.array(numbers, np.int64)
        self._of_byte = np.full(256, 255, np.uint8)
        self._of_byte[0] = 0
        for rank, number in enumerate(numbers, start=1):
            if number < 256:
                self._of_byte[number] = rank

    def read(self, path: str, name: str, window: Window) -> np.ndarray:
        """Return ranks, uint8 (height, width), 0 for none; raises RasterError."""
        values, valid = read_plane(path, window)
        values = np.where(valid, values, 0)
        if values.dtype == np.uint8:
            ranks = self._of_byte[values]
            unknown = ranks == 255
        else:
            places = np.searchsorted(self._numbers, values)
            places[places == len(self._numbers)] = 0
            known = self._numbers[places] == values if len(self._numbers) else values != values
            ranks = np.where(known, places + 1, 0).astype(np.uint8)
            unknown = ~known & (values != 0)
        if unknown.any():
            raise RasterError(
                f"Layer '{name}' holds the value {values[unknown].flat[0]}, which is none of its "
                "classes: repair its class names and colours, or remove them from all layers."
            )
        return ranks


def open_labels(
    paths: Sequence[str | os.PathLike[str]],
    *,
    dates: Sequence[str | dt.date | None] | None = None,
) -> LabelSeries:
    """Describe the class rasters of a series; only headers are read.

    ``dates`` are ISO dates in the order of ``paths``; None, as a whole or for one: from metadata
    or the file name. Classes are integers above 0; 0 and nodata are pixels without one. Raises
    SeriesError or one of its kinds, naming the layer, and RasterError.
    """
    if not paths:
        raise SeriesError("There is no class layer; give at least two.")
    if dates is not None and len(dates) != len(paths):
        raise DateError(
            f"There are {len(dates)} dates for {len(paths)} class layers; give one for each, in "
            "the order of the layers."
        )
    infos = [describe(path) for path in paths]
    names = [Path(info.path).stem for info in infos]
    for info, name in zip(infos, names):
        check_class_raster(info, f"Layer '{name}'")
    first = f"the first layer ('{names[0]}')"
    for info, name in zip(infos[1:], names[1:]):
        check_same_grid(f"Layer '{name}'", info.grid, first, infos[0].grid, _ADVICE)
    tables = [read_table(info.path) for info in infos]
    for table, name in zip(tables, names):
        _check_same_classes(f"Layer '{name}'", table, first, tables[0])
    given = dates if dates is not None else [None] * len(paths)
    days = [_date(day, info, name) for day, info, name in zip(given, infos, names)]
    _check_dates(days)
    often = Counter(days)
    layers = [
        LabelLayer(name, info.path, day, f"{day}" if often[day] == 1 else f"{day} {name}")
        for day, info, name in zip(days, infos, names)
    ]
    return LabelSeries(
        layers=tuple(sorted(layers, key=lambda layer: (layer.date, layer.name, layer.path))),
        grid=infos[0].grid,
        classes=_styles(tables[0]) if tables[0].numbers else None,
        notes=tuple(_notes(infos, names, layers)),
        block=(infos[0].block_height, infos[0].block_width),
    )


def labels_to_come(series: Series, model: ClassModel) -> LabelSeries:
    """Return what is known of the class rasters of scenes before a model has classified them.

    Its layers' paths are those of the scenes. Raises DateError for a single date.
    """
    scenes = [(scene.name, scene.path, scene.date) for scene in series.scenes]
    layers = [LabelLayer(*scene, f"{scene[2]}") for scene in scenes]
    _check_dates([layer.date for layer in layers])
    block = series.scenes[0].block_height, series.scenes[0].block_width
    return LabelSeries(tuple(layers), series.grid, tuple(model.classes), (), block)


def check_class_raster(info: RasterInfo, what: str) -> None:
    """Raise SeriesError unless a raster has one band of integers."""
    if info.count != 1:
        raise SeriesError(f"{what} has {info.count} bands; expected a class raster, which has one.")
    if np.dtype(info.dtypes[0]).kind not in "iu":
        raise SeriesError(
            f"{what} holds values of type {info.dtypes[0]}; expected a class raster, which holds "
            "integers."
        )


def check_on_grid(series: LabelSeries, info: RasterInfo, what: str) -> None:
    """Raise GridError, or SeriesError for more than one band, where a raster does not fit."""
    first = f"the first class layer ('{series.layers[0].name}')"
    check_same_grid(what, info.grid, first, series.grid, "bring it to the grid of the layers first")
    if info.count != 1:
        raise SeriesError(f"{what} has {info.count} bands; expected one.")


def windows_of(grid: Grid, block: tuple[int, int], pixels: int) -> list[Window]:
    """Return windows of about so many pixels that cover a grid, cut along blocks or tiles."""
    block_height, block_width = (min(size, most) for size, most in zip(block, _shape(grid)))
    if block_width == grid.width and block_height < _TILE:  # strips
        height = max(1, pixels // grid.width // block_height) * block_height
        width = grid.width
    else:
        height, width = max(block_height, _TILE), max(block_width, _TILE)
        width *= max(1, pixels // (height * width))
        height *= max(1, pixels // (height * min(width, grid.width)))
    return [
        Window(row, column, min(height, grid.height - row), min(width, grid.width - column))
        for row in range(0, grid.height, height)
        for column in range(0, grid.width, width)
    ]


def distinct_values(path: str, window: Window) -> set[int]:
    """Return the values above or below 0 that a raster of integers holds in a window."""
    values, valid = read_plane(path, window)
    return set(np.unique(values[valid]).tolist()) - {0}


def _distinct(task: tuple[LabelLayer, Window]) -> set[int]:
    layer, window = task
    found = distinct_values(layer.path, window)
    if min(found, default=1) < 0:
        raise RasterError(
            f"Layer '{layer.name}' holds the value {min(found)}; expected classes, which are "
            "integers above 0."
        )
    if len(found) > MOST_CLASSES:
        raise _no_classes(layer.name, len(found))
    return found


def _no_classes(name: str, count: int) -> SeriesError:
    return SeriesError(
        f"Layer '{name}' holds {count} different values or more; expected a class raster, which "
        f"has at most {MOST_CLASSES} classes."
    )


def _styles(table: ClassTable) -> tuple[ClassStyle, ...]:
    """Return the classes of a table, named and coloured as they are elsewhere if it does not."""
    if not table.numbers:
        return ()
    palette = colours(len(table.numbers))
    return tuple(
        ClassStyle(
            number, table.names.get(number) or f"Class {number}", table.colours.get(number, colour)
        )
        for number, colour in zip(table.numbers, palette)
    )


def _check_same_classes(what: str, table: ClassTable, other: str, expected: ClassTable) -> None:
    """Raise SeriesError naming the first thing in which classes differ."""
    advice = "give layers of one series"
    if len(table.numbers) > MOST_CLASSES:
        raise SeriesError(
            f"{what} has {len(table.numbers)} classes; expected at most {MOST_CLASSES}."
        )
    if len(table.numbers) != len(expected.numbers):
        found, wanted = (len(item.numbers) or "no named" for item in (table, expected))
        raise SeriesError(f"{what} has {found} classes, {other} {wanted}: {advice}.")
    for number, wanted_number in zip(table.numbers, expected.numbers):
        if number != wanted_number:
            raise SeriesError(
                f"{what} has a class {number} where {other} has class {wanted_number}: {advice}."
            )
        name, wanted_name = table.names.get(number, ""), expected.names.get(number, "")
        if name != wanted_name:
            raise SeriesError(
                f"{what} calls class {number} '{name}', {other} '{wanted_name}': {advice}."
            )
        colour, wanted_colour = table.colours.get(number), expected.colours.get(number)
        if colour != wanted_colour:
            raise SeriesError(
                f"{what} has the colour {_hex(colour)} for class {number}, {other} "
                f"{_hex(wanted_colour)}: {advice}."
            )


def _check_dates(days: Sequence[dt.date]) -> None:
    if len(set(days)) < 2:
        raise DateError(
            f"All class layers are of one date ({days[0]}); give layers of at least two dates."
        )


def _notes(
    infos: Sequence[RasterInfo], names: Sequence[str], layers: Sequence[LabelLayer]
) -> list[str]:
    notes = []
    for info, name in zip(infos, names):
        if info.nodata[0] not in (None, 0):
            notes.append(
                f"Layer '{name}' has {info.nodata[0]:g} for nodata; pixels with 0 count as nodata, "
                "too."
            )
            break
    paths = [layer.path for layer in layers]
    twice = next((path for path in paths if paths.count(path) > 1), None)
    if twice:
        notes.append(f"'{twice}' is given more than once.")
    return notes


def _date(given: str | dt.date | None, info: RasterInfo, name: str) -> dt.date:
    if isinstance(given, dt.datetime):
        return given.date()
    if isinstance(given, dt.date):
        return given
    if given is None:
        return label_dates.find_date(name, info.date_tags, info.file_date_tag)[0]
    return label_dates.parse_iso(given)


def _hex(colour: tuple[int, int, int] | None) -> str:
    return "none" if colour is None else "#{:02x}{:02x}{:02x}".format(*colour)


def _shape(grid: Grid) -> tuple[int, int]:
    return grid.height, grid.width
