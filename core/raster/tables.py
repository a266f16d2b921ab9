"""Names and colours of classes that rasters carry: category names, attribute and colour tables."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import rasterio
import rasterio.shutil
from rasterio.io import MemoryFile

from ..errors import OutputError
from .access import gdal_errors
from .styles import ClassStyle

_MOST_COLOURS = 254  # a table of more is a ramp, not classes
_MOST_NAMES = 65_535  # category names are a list from 0 on, without gaps
# GDAL's codes. Types: 0 integer, 2 text. Usages: 2 name, 3 minimum, 5 value, 6 to 8 colour.
_NAME, _MINIMUM, _VALUE, _RGB = 2, 3, 5, (6, 7, 8)
_COLUMNS = (
    ("Value", 0, _VALUE),
    ("Class", 2, _NAME),
    ("Red", 0, _RGB[0]),
    ("Green", 0, _RGB[1]),
    ("Blue", 0, _RGB[2]),
)


@dataclass(frozen=True)
class ClassTable:
    """What a raster says of its classes: their numbers, and names and colours where it has any.

    ``numbers`` ascend and are at least 1; 0 is taken for nodata. Empty: it says nothing.
    """

    numbers: tuple[int, ...]
    names: Mapping[int, str]
    colours: Mapping[int, tuple[int, int, int]]


def read_table(path: str | os.PathLike[str]) -> ClassTable:
    """Return the classes of a raster's first band by its tables; raises RasterError.

    The attribute table says which classes there are, else the category names, else the colour
    table. GDAL reads them, wherever the format keeps them, and hands them over as a VRT.
    """
    path = os.fspath(path)
    opened = gdal_errors(path, "opened")
    with opened, rasterio.open(path) as dataset, MemoryFile(ext=".vrt") as memory:
        rasterio.shutil.copy(dataset, memory.name, driver="VRT")
        text = bytes(memory.getbuffer())
    root = ElementTree.fromstring(text)  # noqa: S314 - written by GDAL just now
    band = root.find("VRTRasterBand")
    if band is None:
        return ClassTable((), {}, {})
    names, colours = _attributes(band)
    categories = [item.text or "" for item in band.findall("CategoryNames/Category")]
    named = {number: name for number, name in enumerate(categories) if number and name}
    table = {
        number: (int(item.get("c1", 0)), int(item.get("c2", 0)), int(item.get("c3", 0)))
        for number, item in enumerate(band.findall("ColorTable/Entry"))
        if number and _is_set(item)
    }
    numbers: Iterable[int] = names or named or range(1, len(categories))
    numbers = tuple(numbers) or (tuple(table) if len(table) <= _MOST_COLOURS else ())
    return ClassTable(
        tuple(sorted(numbers)),
        {number: names.get(number) or named.get(number, "") for number in numbers},
        {number: colour for number, colour in (colours | table).items() if number in numbers},
    )


def write_table(path: str | os.PathLike[str], classes: Sequence[ClassStyle]) -> None:
    """Write category names and the attribute table beside a raster, as GDAL keeps them.

    Names are left out where numbers go beyond 65,535. Raises OutputError.
    """
    root = ElementTree.Element("PAMDataset")
    band = ElementTree.SubElement(root, "PAMRasterBand", band="1")
    by_number = {item.number: item.name for item in classes}
    if max(by_number, default=0) <= _MOST_NAMES:
        names = ElementTree.SubElement(band, "CategoryNames")
        for number in range(max(by_number, default=0) + 1):
            name = by_number.get(number, "nodata" if number == 0 else "")
            ElementTree.SubElement(names, "Category").text = name
    table = ElementTree.SubElement(band, "GDALRasterAttributeTable", tableType="thematic")
    for index, (title, kind, usage) in enumerate(_COLUMNS):
        column = ElementTree.SubElement(table, "FieldDefn", index=str(index))
        ElementTree.SubElement(column, "Name").text = title
        ElementTree.SubElement(column, "Type").text = str(kind)
        ElementTree.SubElement(column, "Usage").text = str(usage)
    for index, item in enumerate(classes):
        row = ElementTree.SubElement(table, "Row", index=str(index))
        for value in (item.number, item.name, *item.colour):
            ElementTree.SubElement(row, "F").text = str(value)
    side = Path(os.fspath(path) + ".aux.xml")
    with gdal_errors(os.fspath(side), "written", OutputError):
        ElementTree.ElementTree(root).write(side, encoding="utf-8")


def _is_set(entry: ElementTree.Element) -> bool:
    """Return whether an entry of a colour table is more than GDAL's filling, which is black."""
    parts = tuple(entry.get(key, "") for key in ("c1", "c2", "c3", "c4"))
    return parts != ("0", "0", "0", "255") and parts[3] != "0"


def _attributes(
    band: ElementTree.Element,
) -> tuple[dict[int, str], dict[int, tuple[int, int, int]]]:
    """Return names and colours of an attribute table, by the classes' numbers."""
    table = band.find("GDALRasterAttributeTable")
    if table is None or table.get("tableType", "thematic") != "thematic":
        return {}, {}
    usages = [int(item.findtext("Usage", "0")) for item in table.findall("FieldDefn")]
    column = {usage: place for place, usage in reversed(list(enumerate(usages)))}
    value = column.get(_VALUE, column.get(_MINIMUM))
    if value is None:
        return {}, {}
    names: dict[int, str] = {}
    colours: dict[int, tuple[int, int, int]] = {}
    for row in table.findall("Row"):
        cells = [item.text or "" for item in row.findall("F")]
        with contextlib.suppress(ValueError, IndexError):  # a row that is no class
            number = int(float(cells[value]))
            if number < 1:
                continue
            names[number] = cells[column[_NAME]] if _NAME in column else ""
            if all(usage in column for usage in _RGB):
                red, green, blue = (int(float(cells[column[usage]])) for usage in _RGB)
                colours[number] = red, green, blue
    return names, colours
