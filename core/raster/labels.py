"""Labels out: rasters of class numbers with colours, names and date."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
from rasterio.io import MemoryFile

from ..errors import OutputError
from ..grid import Grid
from ..overviews import Counters, counters
from .access import gdal_errors
from .label_tiles import LabelTiles, label_pieces
from .styles import ClassStyle
from .tables import write_table
from .tiffs import begin, overview_factors, write_date
from .tiles import TiledFile


class LabelFile:
    """A raster of class numbers: uint8, 0 for nodata, tiled, deflated, with overviews.

    Its tiles are made by ``tiles``, a :class:`~.label_tiles.LabelTiles`. Use as a context manager;
    an error within it leaves no file. Errors become OutputError.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        grid: Grid,
        classes: Sequence[ClassStyle],
        date: dt.date,
        tiles: LabelTiles,
    ) -> None:
        self._path, self._classes, self._tiles = os.fspath(path), classes, tiles
        self._waiting: list[tuple[int, bytes]] = []
        with gdal_errors(self._path, "written", OutputError), MemoryFile(ext=".tif") as memory:
            with begin(memory, grid, dtype="uint8", count=1, nodata=0) as dataset:
                colours = {0: (0, 0, 0, 0)} | {item.number: (*item.colour, 255) for item in classes}
                dataset.write_colormap(1, colours)
                dataset.set_band_description(1, "class")
                write_date(dataset, date)
            self._file = TiledFile(self._path, memory.getbuffer(), tiles.overview_shapes)

    def __enter__(self) -> LabelFile:
        return self

    def add(self, tiles: Iterable[tuple[int, bytes]]) -> None:
        """Write the tiles of a piece; pieces come in order, tiles of overviews in any."""
        first = self._tiles.first_of_overviews
        with gdal_errors(self._path, "written", OutputError):
            for number, tile in tiles:
                if number < first:
                    self._file.add([(number, tile)])
                else:  # the file's bytes do not depend on when threads are done with them
                    self._waiting.append((number, tile))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.ExitStack() as undo, gdal_errors(self._path, "written", OutputError):
            undo.callback(Path(self._path).unlink, missing_ok=True)
            if kind is not None:
                self._file.__exit__(kind, error, trace)
                return
            with self._file:
                self._file.add(sorted(self._waiting))
            write_table(self._path, self._classes)
            undo.pop_all()


def label_counters(grid: Grid) -> Counters | None:
    """Return what :class:`~.label_tiles.LabelTiles` on a grid need; may take a while to compile."""
    return counters() if overview_factors(grid) else None


def write_labels(
    path: str | os.PathLike[str],
    grid: Grid,
    classes: Sequence[ClassStyle],
    date: dt.date,
    labels: np.ndarray,
    count: Counters | None,
    check: Callable[[], None],
) -> None:
    """Write labels, uint8 (height, width) of the grid, from one thread; see :class:`LabelFile`.

    ``count`` is what :func:`label_counters` returns for the grid.
    ``check`` is called now and then, and raises where the run has been stopped.
    """
    tiles = LabelTiles(grid, count)
    with LabelFile(path, grid, classes, date, tiles) as file:
        for piece in label_pieces(grid):
            rows = labels[piece.row : piece.row + piece.height]
            part = rows[:, piece.column : piece.column + piece.width]
            file.add(tiles.pack(piece, part, check))
