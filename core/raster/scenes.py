"""Scenes out: rasters of several bands with names, wavelengths, scale and date; VRTs of them."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from xml.etree import ElementTree

import numpy as np
import rasterio
from rasterio.io import MemoryFile

from ..errors import OutputError
from ..grid import Grid, Placement, Window
from .access import TIFF_DATE_TAG, gdal_errors
from .tiles import TiledFile, tiles_of

TILE = 256
# Compression may add a little to what does not compress, and a plain TIFF ends at 4 GB.
_BIG = 2_000_000_000
_GDAL_TYPES = {
    "uint8": "Byte",
    "uint16": "UInt16",
    "int16": "Int16",
    "uint32": "UInt32",
    "int32": "Int32",
    "float32": "Float32",
    "float64": "Float64",
}


@dataclass(frozen=True)
class SceneBand:
    """What a band carries: ``wavelength`` in micrometres, meaning = scale · number + offset."""

    name: str
    wavelength: float | None
    scale: float
    offset: float


@dataclass(frozen=True)
class SceneHeader:
    """What a scene's raster says of itself: bands of one type and nodata value; ``time`` in UTC."""

    grid: Grid
    dtype: str
    nodata: float
    bands: tuple[SceneBand, ...]
    sensor: str
    time: dt.datetime


def pack(header: SceneHeader, band: int, window: Window, values: np.ndarray) -> list:
    """Return the compressed tiles of a band (from 0) in a window, each with its number.

    ``values`` (height, width) have the header's type. The window begins where a tile does, and
    ends where one does or the grid does. Tiles without a value are empty. Runs on any thread.
    """
    with gdal_errors("scene", "compressed", OutputError), MemoryFile(ext=".tif") as memory:
        profile = _profile(header, window.height, window.width, 1)
        with memory.open(**{**profile, "crs": None}) as dataset:
            dataset.write(values, 1)
        tiles = tiles_of(memory.getbuffer())
    across, down = _tiles(header.grid.width), _tiles(header.grid.height)
    wide = _tiles(window.width)
    first = (band * down + window.row // TILE) * across + window.column // TILE
    return [
        (first + number // wide * across + number % wide, tile) for number, tile in enumerate(tiles)
    ]


class SceneFile:
    """A GeoTIFF of a scene: tiled, deflated with a predictor, empty tiles where nothing is valid.

    Use as a context manager. Raises OutputError as soon as the disk does not take what is written.
    """

    def __init__(self, path: str | os.PathLike[str], header: SceneHeader) -> None:
        self._path = os.fspath(path)
        with gdal_errors(self._path, "written", OutputError), MemoryFile(ext=".tif") as memory:
            grid = header.grid
            with memory.open(**_profile(header, grid.height, grid.width, len(header.bands))) as to:
                _describe(to, header)
            self._file = TiledFile(self._path, memory.getbuffer())

    def __enter__(self) -> SceneFile:
        return self

    def add(self, tiles: Iterable[tuple[int, bytes]]) -> None:
        """Write tiles from :func:`pack`, in any order."""
        with gdal_errors(self._path, "written", OutputError):
            self._file.add(tiles)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with gdal_errors(self._path, "written", OutputError):
            self._file.__exit__(kind, error, trace)


def _profile(header: SceneHeader, height: int, width: int, count: int) -> dict:
    dtype = np.dtype(header.dtype)
    size = height * width * count * dtype.itemsize
    return {
        "driver": "GTiff",
        "dtype": header.dtype,
        "count": count,
        "height": height,
        "width": width,
        "nodata": header.nodata,
        "crs": header.grid.crs or None,
        "transform": rasterio.Affine(*header.grid.transform),
        "compress": "deflate",
        "predictor": 3 if dtype.kind == "f" else 2,
        "interleave": "band",
        "tiled": True,
        "blockxsize": TILE,
        "blockysize": TILE,
        "BIGTIFF": "YES" if size > _BIG else "NO",
        "ENDIANNESS": "LITTLE",
        "SPARSE_OK": "TRUE",
    }


def _tiles(pixels: int) -> int:
    return -(-pixels // TILE)


def _describe(dataset: rasterio.io.DatasetWriter, header: SceneHeader) -> None:
    for domain, tags in _tags(header).items():
        dataset.update_tags(ns=domain or None, **tags)
    for number, band in enumerate(header.bands, start=1):
        dataset.set_band_description(number, band.name)
        for domain, tags in _band_tags(band).items():
            dataset.update_tags(number, ns=domain or None, **tags)
    if any((band.scale, band.offset) != (1.0, 0.0) for band in header.bands):
        dataset.scales = tuple(band.scale for band in header.bands)
        dataset.offsets = tuple(band.offset for band in header.bands)


def _tags(header: SceneHeader) -> dict[str, dict[str, str]]:
    """Return a scene's metadata by domain, as :mod:`.headers` and GDAL's readers look for them."""
    time = header.time
    if time.tzinfo is not None:
        time = time.astimezone(dt.timezone.utc).replace(tzinfo=None)
    return {
        "": {
            TIFF_DATE_TAG: f"{time:%Y:%m:%d %H:%M:%S}",
            "ACQUISITION_DATE": f"{time:%Y-%m-%d}",
        },
        "IMAGERY": {
            "ACQUISITIONDATETIME": f"{time:%Y-%m-%d %H:%M:%S}",
            **({"SATELLITEID": header.sensor} if header.sensor else {}),
        },
    }


def _band_tags(band: SceneBand) -> dict[str, dict[str, str]]:
    """Return a band's wavelength as GDAL has it (from 3.10), and as ENVI's readers look for it."""
    if band.wavelength is None:
        return {}
    number = f"{band.wavelength:.6g}"
    return {
        "IMAGERY": {"CENTRAL_WAVELENGTH_UM": number},
        "": {"wavelength": number, "wavelength_units": "Micrometers"},
    }


@dataclass(frozen=True)
class VrtSource:
    """A band of a file that a VRT shows as it is; ``placement`` is not warped."""

    path: str
    number: int
    dtype: str
    placement: Placement


def write_vrt(
    path: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    header: SceneHeader,
    sources: Sequence[VrtSource],
) -> None:
    """Write a VRT that shows one source for each band, for use in ``folder``.

    Files are named relative to that folder where they can be. Raises OutputError.
    """
    grid = header.grid
    root = ElementTree.Element(
        "VRTDataset", rasterXSize=str(grid.width), rasterYSize=str(grid.height)
    )
    if grid.crs:
        ElementTree.SubElement(root, "SRS").text = grid.crs
    a, b, c, d, e, f = grid.transform
    place = ElementTree.SubElement(root, "GeoTransform")
    place.text = ", ".join(f"{number:.17g}" for number in (c, a, b, f, d, e))
    _add_tags(root, _tags(header))
    for number, (band, source) in enumerate(zip(header.bands, sources), start=1):
        element = ElementTree.SubElement(
            root, "VRTRasterBand", dataType=_GDAL_TYPES[header.dtype], band=str(number)
        )
        _add_tags(element, _band_tags(band))
        ElementTree.SubElement(element, "Description").text = band.name
        ElementTree.SubElement(element, "NoDataValue").text = f"{header.nodata:.17g}"
        if (band.scale, band.offset) != (1.0, 0.0):
            ElementTree.SubElement(element, "Offset").text = f"{band.offset:.17g}"
            ElementTree.SubElement(element, "Scale").text = f"{band.scale:.17g}"
        _add_source(element, source, grid, os.fspath(folder))
    with gdal_errors(os.fspath(path), "written", OutputError), open(path, "wb") as file:
        ElementTree.ElementTree(root).write(file, encoding="utf-8")


def _add_tags(element: ElementTree.Element, domains: dict[str, dict[str, str]]) -> None:
    for domain, tags in domains.items():
        attributes = {"domain": domain} if domain else {}
        metadata = ElementTree.SubElement(element, "Metadata", attributes)
        for key, text in tags.items():
            ElementTree.SubElement(metadata, "MDI", key=key).text = text


def _add_source(element: ElementTree.Element, source: VrtSource, grid: Grid, folder: str) -> None:
    place = source.placement
    row, column = max(place.row, 0), max(place.column, 0)
    height = min(place.row + grid.height, place.height) - row
    width = min(place.column + grid.width, place.width) - column
    name, relative = _relative(source.path, folder)
    simple = ElementTree.SubElement(element, "SimpleSource")
    file = ElementTree.SubElement(simple, "SourceFilename", relativeToVRT=str(int(relative)))
    file.text = name
    ElementTree.SubElement(simple, "SourceBand").text = str(source.number)
    ElementTree.SubElement(
        simple,
        "SourceProperties",
        RasterXSize=str(place.width),
        RasterYSize=str(place.height),
        DataType=_GDAL_TYPES[source.dtype],
    )
    for name, x, y in (
        ("SrcRect", column, row),
        ("DstRect", column - place.column, row - place.row),
    ):
        numbers = {"xOff": x, "yOff": y, "xSize": width, "ySize": height}
        attributes = {key: str(number) for key, number in numbers.items()}
        ElementTree.SubElement(simple, name, attributes)


def _relative(path: str, folder: str) -> tuple[str, bool]:
    """Return how a VRT in ``folder`` names a file, and whether that is relative to it."""
    if not os.path.isfile(path):  # part of an archive, or remote
        return path, False
    try:
        return os.path.relpath(path, folder).replace(os.sep, "/"), True
    except ValueError:  # Windows: another drive
        return os.path.abspath(path), False
