"""Labels out: rasters of class numbers with colours, names and date."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
from collections.abc import Sequence

import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.io import MemoryFile

from ..errors import OutputError
from ..grid import Grid, Window
from .access import gdal_errors, native
from .styles import ClassStyle
from .tables import write_table
from .tiffs import begin, overview_factors, write_date


class LabelWriter:
    """Writes a raster of class numbers: uint8, 0 for nodata, tiled, deflated, with overviews.

    Use as a context manager. The compressed file is made in memory and written when the context
    ends without an error, because GDAL says nothing of tiles that a full disk did not take.
    Errors become OutputError.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        grid: Grid,
        classes: Sequence[ClassStyle],
        date: dt.date,
    ) -> None:
        self._path = os.fspath(path)
        self._classes, self._grid = classes, grid
        with contextlib.ExitStack() as stack, gdal_errors(self._path, "written", OutputError):
            self._memory = stack.enter_context(MemoryFile(ext=".tif"))
            self._dataset = begin(self._memory, grid, dtype="uint8", count=1, nodata=0)
            stack.callback(self._dataset.close)
            colours = {0: (0, 0, 0, 0)} | {item.number: (*item.colour, 255) for item in classes}
            self._dataset.write_colormap(1, colours)
            self._dataset.set_band_description(1, "class")
            write_date(self._dataset, date)
            self._open = stack.pop_all()

    def __enter__(self) -> LabelWriter:
        return self

    def write(self, window: Window, labels: np.ndarray) -> None:
        """Write uint8 labels, shape (height, width) of the window."""
        with gdal_errors(self._path, "written", OutputError):
            self._dataset.write(labels, 1, window=native(window))

    def __exit__(self, kind: type[BaseException] | None, *details: object) -> None:
        with self._open:
            if kind is not None:
                return
            with gdal_errors(self._path, "written", OutputError):
                self._dataset.close()
                with rasterio.open(self._memory.name, "r+") as dataset:
                    dataset.build_overviews(overview_factors(self._grid), Resampling.mode)
                with open(self._path, "wb") as file:
                    file.write(self._memory.getbuffer())
                write_table(self._path, self._classes)
