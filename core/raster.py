"""The only room that knows rasterio: describe rasters, read windows of them, write labels."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

import numpy as np
import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.errors import CRSError, RasterioError
from rasterio.io import MemoryFile
from rasterio.windows import Window as RasterioWindow

from .errors import OutputError, RasterError
from .grid import Grid, Window

# Tags that hold an acquisition date, from the surest down; TIFFTAG_DATETIME comes last of all,
# after the file name, because many programs write the time of processing there.
_DATE_TAGS = (
    ("IMAGERY", "ACQUISITIONDATETIME"),
    (None, "ACQUISITION_DATE"),
    (None, "DATE_ACQUIRED"),
    (None, "ACQUISITIONDATE"),
    (None, "DATE"),
)
_TIFF_DATE_TAG = "TIFFTAG_DATETIME"
_TILE = 512
_OVERVIEW_UNTIL = 256


@dataclass(frozen=True)
class RasterInfo:
    """What the header of a raster says; bands in file order."""

    path: str
    grid: Grid
    dtypes: tuple[str, ...]
    nodata: tuple[float | None, ...]
    band_names: tuple[str, ...]
    alpha: tuple[bool, ...]
    has_mask: bool
    block_height: int
    block_width: int
    date_tags: tuple[str, ...]
    file_date_tag: str

    @property
    def count(self) -> int:
        """Number of bands."""
        return len(self.dtypes)


def describe(path: str | os.PathLike[str]) -> RasterInfo:
    """Read the header of a raster; raise RasterError if it cannot be opened."""
    path = os.fspath(path)
    with _errors(path, "opened"), rasterio.open(path) as dataset:
        tags = dataset.tags()
        domains = {None: tags, "IMAGERY": dataset.tags(ns="IMAGERY")}
        flags = dataset.mask_flag_enums
        block_height, block_width = dataset.block_shapes[0] if dataset.count else (1, 1)
        return RasterInfo(
            path=path,
            grid=_grid_of(dataset),
            dtypes=tuple(dataset.dtypes),
            nodata=tuple(dataset.nodatavals),
            band_names=tuple(name or "" for name in dataset.descriptions),
            alpha=tuple(item == ColorInterp.alpha for item in dataset.colorinterp),
            has_mask=any(MaskFlags.per_dataset in flag for flag in flags),
            block_height=block_height,
            block_width=block_width,
            date_tags=tuple(
                domains[domain][key] for domain, key in _DATE_TAGS if key in domains[domain]
            ),
            file_date_tag=tags.get(_TIFF_DATE_TAG, ""),
        )


def same_crs(first: str, second: str) -> bool:
    """Return whether two WKT texts mean the same CRS."""
    if first == second or not (first and second):
        return first == second
    return bool(rasterio.CRS.from_wkt(first) == rasterio.CRS.from_wkt(second))


def crs_label(wkt: str) -> str:
    """Return a short name for a CRS, such as EPSG:32633."""
    if not wkt:
        return "no CRS"
    crs = rasterio.CRS.from_wkt(wkt)
    return crs.to_string() if crs.to_authority() else wkt.split('"')[1] if '"' in wkt else wkt


def read_window(path: str, bands: Sequence[int], window: Window) -> np.ndarray:
    """Return a window's values, shape (bands, height, width), as stored.

    The file is opened anew for each window, because GDAL keeps what it has decoded (up to a
    twentieth of the machine's memory) until a file is closed, and windows share no blocks.
    """
    with _errors(path, "read"), rasterio.open(path) as dataset:
        return np.asarray(dataset.read(list(bands), window=_native(window)))


def read_mask(path: str, window: Window) -> np.ndarray:
    """Return where the raster's own mask or alpha band is set, shape (height, width)."""
    with _errors(path, "read"), rasterio.open(path) as dataset:
        return np.asarray(dataset.dataset_mask(window=_native(window))) > 0


def read_preview(path: str | os.PathLike[str], longest: int) -> np.ndarray:
    """Return the first band scaled down to at most ``longest`` pixels a side, by nearest pixel."""
    path = os.fspath(path)
    with _errors(path, "read"), rasterio.open(path) as dataset:
        shrink = max(1.0, max(dataset.height, dataset.width) / longest)
        shape = (max(1, round(dataset.height / shrink)), max(1, round(dataset.width / shrink)))
        return np.asarray(dataset.read(1, out_shape=shape, resampling=Resampling.nearest))


@dataclass(frozen=True)
class ClassStyle:
    """Number, name and colour (red, green, blue; 0 to 255) of a class, as rasters carry them."""

    number: int
    name: str
    colour: tuple[int, int, int]


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
        with contextlib.ExitStack() as stack, _errors(self._path, "written", OutputError):
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
                **{_TIFF_DATE_TAG: f"{stamp:%Y:%m:%d %H:%M:%S}"}, ACQUISITION_DATE=f"{date}"
            )
            self._dataset.update_tags(
                ns="IMAGERY", ACQUISITIONDATETIME=f"{stamp:%Y-%m-%d %H:%M:%S}"
            )
            self._open = stack.pop_all()

    def __enter__(self) -> LabelWriter:
        return self

    def write(self, window: Window, labels: np.ndarray) -> None:
        """Write uint8 labels, shape (height, width) of the window."""
        with _errors(self._path, "written", OutputError):
            self._dataset.write(labels, 1, window=_native(window))

    def __exit__(self, kind: type[BaseException] | None, *details: object) -> None:
        with self._open:
            if kind is not None:
                return
            with _errors(self._path, "written", OutputError):
                self._dataset.close()
                with rasterio.open(self._memory.name, "r+") as dataset:
                    dataset.build_overviews(self._overview_factors(), Resampling.mode)
                with open(self._path, "wb") as file:
                    file.write(self._memory.getbuffer())
                _write_side_file(self._path, self._classes)

    def _overview_factors(self) -> list[int]:
        factors, factor = [], 2
        while max(self._grid.height, self._grid.width) / (factor // 2) > _OVERVIEW_UNTIL:
            factors.append(factor)
            factor *= 2
        return factors


def _write_side_file(path: str, classes: Sequence[ClassStyle]) -> None:
    """Write category names and the attribute table, which GDAL keeps beside a GeoTIFF."""
    root = ElementTree.Element("PAMDataset")
    band = ElementTree.SubElement(root, "PAMRasterBand", band="1")
    names = ElementTree.SubElement(band, "CategoryNames")
    by_number = {item.number: item.name for item in classes}
    for number in range(max(by_number, default=0) + 1):
        name = "nodata" if number == 0 else by_number.get(number, "")
        ElementTree.SubElement(names, "Category").text = name
    table = ElementTree.SubElement(band, "GDALRasterAttributeTable", tableType="thematic")
    # GDAL's codes: type 0 integer, 2 text; usage 5 value, 2 name, 6 to 8 red, green, blue.
    columns = (("Value", 0, 5), ("Class", 2, 2), ("Red", 0, 6), ("Green", 0, 7), ("Blue", 0, 8))
    for index, (title, kind, usage) in enumerate(columns):
        column = ElementTree.SubElement(table, "FieldDefn", index=str(index))
        ElementTree.SubElement(column, "Name").text = title
        ElementTree.SubElement(column, "Type").text = str(kind)
        ElementTree.SubElement(column, "Usage").text = str(usage)
    for index, item in enumerate(classes):
        row = ElementTree.SubElement(table, "Row", index=str(index))
        for value in (item.number, item.name, *item.colour):
            ElementTree.SubElement(row, "F").text = str(value)
    ElementTree.ElementTree(root).write(path + ".aux.xml", encoding="utf-8")


def _native(window: Window) -> RasterioWindow:
    return RasterioWindow(window.column, window.row, window.width, window.height)


def _grid_of(dataset: rasterio.DatasetReader) -> Grid:
    crs = dataset.crs
    known = bool(crs)
    return Grid(
        crs=crs.to_wkt() if known else "",
        transform=tuple(dataset.transform)[:6],
        width=dataset.width,
        height=dataset.height,
        unit_metres=float(crs.linear_units_factor[1]) if known and crs.is_projected else None,
        geographic=known and bool(crs.is_geographic),
    )


@contextlib.contextmanager
def _errors(
    path: str, done: str, kind: type[RasterError] | type[OutputError] = RasterError
) -> Iterator[None]:
    try:
        yield
    except (RasterioError, CRSError, CPLE_BaseError, OSError) as error:
        if isinstance(error, (RasterError, OutputError)):
            raise
        raise kind(f"'{path}' cannot be {done}: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    """Return GDAL's own words: rasterio often says no more than "see context"."""
    cause = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    words = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause)
    return words.rstrip(".") + "."
