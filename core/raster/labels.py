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
from .access import TIFF_DATE_TAG, gdal_errors, native
from .styles import ClassStyle
from .tables import write_table

_TILE = 512
_OVERVIEW_UNTIL = 256


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
        self._classes, self._grid, self._date = classes, grid, date
        tile = _TILE if max(grid.height, grid.width) >= _TILE else _TILE // 2
        with contextlib.ExitStack() as stack, gdal_errors(self._path, "written", OutputError):
            self._memory = stack.enter_context(MemoryFile(ext=".tif"))
            self._dataset = self._memory.open(
                driver="GTiff",
                dtype="uint8",
                count=1,
                nodata=0,
                width=grid.width,
                height=grid.height,
                crs=grid.crs or None,
                transform=rasterio.Affine(*grid.transform),
                compress="deflate",
                tiled=True,
                blockxsize=tile,
                blockysize=tile,
                BIGTIFF="IF_SAFER",
                SPARSE_OK="TRUE",
            )
            stack.callback(self._dataset.close)
            colours = {0: (0, 0, 0, 0)} | {item.number: (*item.colour, 255) for item in classes}
            self._dataset.write_colormap(1, colours)
            self._dataset.set_band_description(1, "class")
            stamp = dt.datetime(date.year, date.month, date.day)
            self._dataset.update_tags(
                **{TIFF_DATE_TAG: f"{stamp:%Y:%m:%d %H:%M:%S}"}, ACQUISITION_DATE=f"{date}"
            )
            self._dataset.update_tags(
                ns="IMAGERY", ACQUISITIONDATETIME=f"{stamp:%Y-%m-%d %H:%M:%S}"
            )
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
                    dataset.build_overviews(self._overview_factors(), Resampling.mode)
                with open(self._path, "wb") as file:
                    file.write(self._memory.getbuffer())
                write_table(self._path, self._classes)

    def _overview_factors(self) -> list[int]:
        factors, factor = [], 2
        while max(self._grid.height, self._grid.width) / (factor // 2) > _OVERVIEW_UNTIL:
            factors.append(factor)
            factor *= 2
        return factors
