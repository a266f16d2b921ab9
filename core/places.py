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
            numbers = [float(number) for number in extent]
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
            area, crs = _geojson(Path(area)), _GEOJSON_CRS
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


def _polygons(value: Any) -> Iterator[Mapping[str, Any]]:
    value = getattr(value, "__geo_interface__", value)
    if isinstance(value, Mapping):
        kind = value.get("type")
        if kind in _POLYGONS:
            if value["coordinates"]:
                yield value
            return
        parts = {"Feature": "geometry", "FeatureCollection": "features"}.get(str(kind))
        if parts or kind == "GeometryCollection":
            yield from _polygons(value[parts or "geometries"])
            return
        raise ParameterError(f"area holds a {kind or 'mapping'}; expected polygons.")
    if value is None or isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
        raise ParameterError(f"area holds {value!r}; expected polygons, such as GeoJSON.")
    for item in value:
        yield from _polygons(item)
