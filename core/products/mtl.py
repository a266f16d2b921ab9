"""Landsat's metadata files (MTL), as text, JSON or XML: groups of entries."""

from __future__ import annotations

import json
from collections.abc import Mapping

from ..errors import SeriesError
from .files import ProductFile

Groups = Mapping[str, Mapping[str, str]]


def read_mtl(file: ProductFile) -> Groups:
    """Return the entries of each group; raise SeriesError where the file is broken.

    Groups matter: the surface reflectance of Level 2 and the radiometry of Level 1 have entries
    of the same names and other values.
    """
    ending = file.name.rpartition(".")[2].lower()
    read = {"txt": _from_text, "json": _from_json, "xml": _from_xml}[ending]
    groups = read(file)
    if not groups:
        raise SeriesError(
            f"'{file.name}' in '{file.shown}' is no whole Landsat metadata file: download it again."
        )
    return groups


def _from_text(file: ProductFile) -> Groups:
    groups: dict[str, dict[str, str]] = {}
    current, ended = "", False
    for line in file.text().splitlines():
        key, equals, value = (part.strip() for part in line.partition("="))
        if key == "END":
            ended = True
        elif equals and key == "GROUP":
            current = value
        elif equals and key != "END_GROUP":
            groups.setdefault(current, {})[key] = value.strip('"')
    return groups if ended else {}


def _from_json(file: ProductFile) -> Groups:
    try:
        contents = json.loads(file.text())
    except (ValueError, RecursionError):
        return {}
    root = contents.get("LANDSAT_METADATA_FILE") if isinstance(contents, dict) else None
    if not isinstance(root, dict):
        return {}
    return {
        group: {key: str(value) for key, value in entries.items()}
        for group, entries in root.items()
        if isinstance(entries, dict)
    }


def _from_xml(file: ProductFile) -> Groups:
    return {
        group.tag: {entry.tag: (entry.text or "").strip() for entry in group}
        for group in file.xml()
    }
