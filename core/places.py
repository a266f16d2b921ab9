"""Where to work: an extent or polygons, in any CRS, that a user gives for a series."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import ParameterError

_POLYGONS = ("Polygon", "MultiPolygon")
# RFC 7946: coordinates of GeoJSON files are longitudes and latitudes of WGS 84.
_GEOJSON_CRS = "EPSG:4326"


@dataclass(frozen=True)
class Extent:
    """A rectangle. ``crs`` is WKT or an authority's code; empty: that of the scenes."""

    west: float
    south: float
    east: float
    north: float
    crs: str = ""

    @classmethod
    def of(cls, extent: Extent | Sequence[float]) -> Extent:
        """Return an extent given as itself or as west, south, east, north; ParameterError."""
        if not isinstance(extent, Extent):
            try:
                numbers = [float(number) for number in extent]
            except (TypeError, ValueError) as error:
                raise ParameterError(
                    f"extent is {extent!r}; expected 4 numbers: west, south, east, north."
                ) from error
            if len(numbers) != 4:
                raise ParameterError(
                    f"extent has {len(numbers)} numbers; expected 4: west, south, east, north."
                )
            west, south, east, north = numbers
            extent = cls(west, south, east, north)
        if not (
            all(map(math.isfinite, extent.bounds))
            and extent.west < extent.east
            and extent.south < extent.north
        ):
            raise ParameterError(
                f"extent is {', '.join(f'{number:.12g}' for number in extent.bounds)}; expected "
                "west, south, east, north, with west below east and south below north."
            )
        return extent

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north."""
        return self.west, self.south, self.east, self.north


@dataclass(frozen=True)
class Area:
    """Polygons as GeoJSON mappings. ``crs`` as in :class:`Extent`."""

    geometries: tuple[Mapping[str, Any], ...]
    crs: str = ""

    @classmethod
    def of(cls, area: Any) -> Area:
        """Return polygons given as themselves, GeoJSON, a GeoJSON file or shapely geometries.

        Also lists of these. Coordinates are the scenes', those of a GeoJSON file WGS 84's.
        Raises ParameterError.
        """
        crs = ""
        if isinstance(area, (str, os.PathLike)):
            area = _geojson(Path(area))
            crs = _declared_crs(area) or _GEOJSON_CRS
        if not isinstance(area, Area):
            area = cls(tuple(_polygons(area)), crs)
        if not area.geometries:
            raise ParameterError("area has no polygon; give at least one.")
        return area


def _geojson(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise ParameterError(f"The area '{path}' cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise ParameterError(
            f"The area '{path}' is not GeoJSON ({error}); give a GeoJSON file or geometries."
        ) from error


def _declared_crs(value: Any) -> str:
    """Return the CRS that a file declares, as before RFC 7946; empty if none."""
    declared = value.get("crs") if isinstance(value, Mapping) else None
    properties = declared.get("properties") if isinstance(declared, Mapping) else None
    return str(properties.get("name", "")) if isinstance(properties, Mapping) else ""


def _polygons(value: Any) -> Iterator[Mapping[str, Any]]:
    value = getattr(value, "__geo_interface__", value)
    if isinstance(value, Mapping):
        kind = value.get("type")
        if kind in _POLYGONS:
            coordinates = value.get("coordinates")
            parts: Any = [coordinates] if kind == "Polygon" else coordinates
            if coordinates and not all(map(_is_polygon, parts)):
                raise ParameterError(
                    f"area holds a {kind} whose rings are not closed lines of four points or more; "
                    "expected polygons as in GeoJSON."
                )
            if coordinates:
                yield value
            return
        inner = {
            "Feature": "geometry",
            "FeatureCollection": "features",
            "GeometryCollection": "geometries",
        }.get(str(kind))
        if inner:
            held = value.get(inner)
            if held is not None:  # a feature may be without a place
                yield from _polygons(held)
            return
        raise ParameterError(f"area holds a {kind or 'mapping'}; expected polygons.")
    if value is None or isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
        raise ParameterError(f"area holds {value!r}; expected polygons, such as GeoJSON.")
    for item in value:
        yield from _polygons(item)


def _is_polygon(rings: Any) -> bool:
    try:
        return bool(rings) and all(
            len(ring) >= 4 and all(math.isfinite(x) and math.isfinite(y) for x, y, *_ in ring)
            for ring in rings
        )
    except (TypeError, ValueError):
        return False
