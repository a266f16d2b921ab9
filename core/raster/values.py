"""Values out: rasters of numbers other than class labels, such as counts, dates and measures."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import threading
from collections.abc import Mapping, Sequence

import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.io import MemoryFile

from ..errors import OutputError
from ..grid import Grid, Window
from .access import gdal_errors, native
from .styles import ClassStyle
from .tables import write_table
from .tiffs import begin, overview_factors, tile_size, write_date

_FLUSH_PIXELS = 1 << 20


class ValueWriter:
    """Writes a raster of numbers: tiled, deflated, with overviews of the nearest pixels.

    Use as a context manager, from one thread at a time. ``categories`` say what single values
    mean: a colour table (uint8), category names and an attribute table; overviews then hold the
    most frequent value. ``date`` is written as label rasters have it. The compressed file is made
    in memory and written when the context ends without an error, because GDAL says nothing of
    tiles that a full disk did not take. Errors become OutputError.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        grid: Grid,
        *,
        dtype: str,
        nodata: float,
        bands: Sequence[str],
        tags: Mapping[str, str] | None = None,
        date: dt.date | None = None,
        categories: Sequence[ClassStyle] = (),
    ) -> None:
        self._path, self._grid, self._categories = os.fspath(path), grid, tuple(categories)
        self._finished = self._dropped = False
        self._waiting = 0
        self._lock = threading.Lock()
        self._tile = tile_size(grid)
        with contextlib.ExitStack() as stack, gdal_errors(self._path, "written", OutputError):
            self._memory = stack.enter_context(MemoryFile(ext=".tif"))
            self._dataset = begin(
                self._memory,
                grid,
                dtype=dtype,
                count=len(bands),
                nodata=nodata,
                interleave="band",
            )
            stack.callback(lambda: self._dataset.close())
            if self._categories and dtype == "uint8":
                colours = {0: (0, 0, 0, 0)}
                colours |= {item.number: (*item.colour, 255) for item in self._categories}
                self._dataset.write_colormap(1, colours)
            for number, name in enumerate(bands, start=1):
                self._dataset.set_band_description(number, name)
            self._dataset.update_tags(**dict(tags or {}))
            if date is not None:
                write_date(self._dataset, date)
            self._open = stack.pop_all()

    def __enter__(self) -> ValueWriter:
        return self

    def write(self, window: Window, values: np.ndarray) -> None:
        """Write values, shape (height, width) of the window, or (bands, height, width)."""
        planes = values if values.ndim == 3 else values[None]
        with gdal_errors(self._path, "written", OutputError):
            self._dataset.write(planes, window=native(window))
            self._waiting += planes.size
            if self._waiting >= _FLUSH_PIXELS and self._ends_with_tiles(window):
                # GDAL compresses when it closes a file, and holds up all of Python meanwhile.
                self._dataset.close()
                self._dataset = rasterio.open(self._memory.name, "r+")
                self._waiting = 0

    def _ends_with_tiles(self, window: Window) -> bool:
        """Return whether no tile is left half full, if windows come in order."""
        bottom, right = window.row + window.height, window.column + window.width
        below = bottom % self._tile == 0 or bottom == self._grid.height
        return below and (right % self._tile == 0 or right == self._grid.width)

    def categorise(self, categories: Sequence[ClassStyle]) -> None:
        """Say what single values mean, where that is known only once all are written."""
        self._categories = tuple(categories)

    def finish(self) -> None:
        """Build the overviews and write the file, on any thread; the context's end does it, too.

        A context that ends by an error meanwhile does not wait for the overviews: it keeps the
        file from being written.
        """
        with self._open, gdal_errors(self._path, "written", OutputError):
            self._finished = True
            self._dataset.close()
            kind = Resampling.mode if self._categories else Resampling.nearest
            for factor in overview_factors(self._grid):
                if self._dropped:
                    return
                with rasterio.open(self._memory.name, "r+") as dataset:
                    dataset.build_overviews([factor], kind)
            with self._lock:
                if self._dropped:
                    return
                with open(self._path, "wb") as file:
                    file.write(self._memory.getbuffer())
                if self._categories:
                    write_table(self._path, self._categories)

    def __exit__(self, kind: type[BaseException] | None, *details: object) -> None:
        if kind is None:
            if not self._finished:
                self.finish()
            return
        with self._lock:
            self._dropped = True
        if not self._finished:
            self._open.close()
