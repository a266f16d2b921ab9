"""The rasters of one scene: its classes, and how sure they are."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .areas import ClassAreas
from .grid import Grid, Window
from .nearness import nearness
from .overviews import Counters
from .pixels import Block
from .raster.label_tiles import LabelTiles
from .raster.labels import LabelFile, write_labels
from .raster.styles import ClassStyle
from .raster.values import ValueWriter
from .scene_space import SceneSpace

MEASURES = ("distance", "margin")
"""What rasters hold beside the classes, in the order of :func:`~.nearness.nearness`."""


@dataclass(frozen=True)
class Tile:
    """A window of a scene: class numbers, uint8 (height, width), 0 for nodata.

    ``measures`` are float32 (height, width), NaN for nodata, one for each that is written.
    """

    window: Window
    labels: np.ndarray
    measures: tuple[np.ndarray, ...] = ()

    @classmethod
    def of(cls, block: Block, labels: np.ndarray, measure: Measure | None) -> Tile:
        """Return the tile of a block's pixels and their labels, from 0."""
        numbers = block.spread(labels + np.uint8(1))
        return cls(block.window, numbers, () if measure is None else measure(block))


@dataclass(frozen=True)
class Measure:
    """Measures blocks against centres, (classes, bands); ``kinds`` are of :data:`MEASURES`."""

    space: SceneSpace
    centres: np.ndarray
    kinds: tuple[str, ...]

    def __call__(self, block: Block) -> tuple[np.ndarray, ...]:
        """Return the planes of a block's window, (height, width), as in :class:`Tile`."""
        found = nearness(self.space, self.centres, block)
        return tuple(block.spread(found[MEASURES.index(kind)], np.nan) for kind in self.kinds)


@dataclass(frozen=True)
class SceneRasters:
    """Where the rasters of a scene go, by what they hold ("classes", "distance", "margin")."""

    paths: Mapping[str, Path]
    grid: Grid
    classes: Sequence[ClassStyle]
    date: dt.date

    @property
    def kinds(self) -> tuple[str, ...]:
        """The measures that are written."""
        return tuple(kind for kind in MEASURES if kind in self.paths)

    def label_file(self, tiles: LabelTiles) -> LabelFile:
        """Return the raster of classes, to which tiles are yet to be added."""
        return LabelFile(self.paths["classes"], self.grid, self.classes, self.date, tiles)

    def write(
        self,
        labels: np.ndarray,
        planes: Iterable[tuple[Window, tuple[np.ndarray, ...]]],
        class_pixels: np.ndarray,
        count: Counters | None,
        check: Callable[[], None],
    ) -> np.ndarray | None:
        """Write all rasters from one thread; return the hectares of the classes.

        ``labels`` are uint8 (height, width) of the grid, ``count`` is what
        :func:`~.raster.labels.label_counters` returns for it, the rest is as in
        :meth:`write_measures`.
        The hectares are as :class:`~.areas.ClassAreas` gives them.
        """
        grid = self.grid
        write_labels(self.paths["classes"], grid, self.classes, self.date, labels, count, check)
        self.write_measures(planes, check)
        areas = ClassAreas(grid, len(self.classes))
        areas.add(Window(0, 0, grid.height, grid.width), labels)
        return areas.hectares(class_pixels)

    def write_measures(
        self,
        planes: Iterable[tuple[Window, tuple[np.ndarray, ...]]],
        check: Callable[[], None],
    ) -> None:
        """Write the measures, window by window: float32 (height, width), one for each kind.

        ``check`` is called before each, and raises where the run has been stopped.
        """
        if not self.kinds:
            return
        with contextlib.ExitStack() as stack:
            writers = [stack.enter_context(self._measure_writer(kind)) for kind in self.kinds]
            for window, measures in planes:
                check()
                for writer, plane in zip(writers, measures):
                    writer.write(window, plane)
            check()

    def _measure_writer(self, kind: str) -> ValueWriter:
        path, grid, date = self.paths[kind], self.grid, self.date
        return ValueWriter(path, grid, dtype="float32", nodata=np.nan, bands=[kind], date=date)
