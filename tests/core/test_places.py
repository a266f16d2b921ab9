"""Extents and polygons are taken in every shape in which users have them."""

from __future__ import annotations

import json
import math

import pytest

from iikmc.core.errors import ParameterError
from iikmc.core.places import Area, Extent

RING = [(0.0, 0.0), (4.0, 0.0), (4.0, 3.0), (0.0, 0.0)]
SQUARE = {"type": "Polygon", "coordinates": [RING]}
TWO = {"type": "MultiPolygon", "coordinates": [[RING], [RING]]}


def feature(geometry):
    return {"type": "Feature", "properties": {}, "geometry": geometry}


def collection(*geometries):
    return {"type": "FeatureCollection", "features": [feature(item) for item in geometries]}


class Shape:
    """What shapely's geometries and other libraries' shapes have in common."""

    def __init__(self, mapping):
        self.__geo_interface__ = mapping


@pytest.mark.parametrize("given", [(1, 2, 3, 4), [1.0, 2, 3, 4], ("1", "2", "3", "4"), range(1, 5)])
def test_an_extent_is_four_numbers(given):
    extent = Extent.of(given)
    assert extent.bounds == (1.0, 2.0, 3.0, 4.0)
    assert Extent.of(extent) is extent


@pytest.mark.parametrize(
    "given",
    [
        (1, 2, 3),
        (1, 2, 3, 4, 5),
        (3, 2, 1, 4),
        (1, 4, 3, 2),
        (1, 2, 1, 4),
        (1, 2, math.inf, 4),
        (math.nan, 2, 3, 4),
        ("a", 2, 3, 4),
        (None, 2, 3, 4),
        "1,2,3,4",
        5,
        Extent(3, 2, 1, 4),
    ],
)
def test_other_extents_are_refused_with_what_was_given(given):
    with pytest.raises(ParameterError, match=r"^extent (is|has) .*; expected .*west, south, east"):
        Extent.of(given)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (SQUARE, [SQUARE]),
        (TWO, [TWO]),
        (feature(SQUARE), [SQUARE]),
        (collection(SQUARE, TWO), [SQUARE, TWO]),
        ({"type": "GeometryCollection", "geometries": [SQUARE, TWO]}, [SQUARE, TWO]),
        (Shape(SQUARE), [SQUARE]),
        (Shape(collection(TWO)), [TWO]),
        ([SQUARE, Shape(TWO), feature(SQUARE)], [SQUARE, TWO, SQUARE]),
        ((item for item in (SQUARE, TWO)), [SQUARE, TWO]),
        (collection(SQUARE, None, {"type": "Polygon", "coordinates": []}), [SQUARE]),
    ],
)
def test_an_area_is_polygons_in_whatever_holds_them(given, expected):
    area = Area.of(given)
    assert list(area.geometries) == expected
    assert area.crs == ""
    assert Area.of(area) is area


def test_heights_of_points_do_not_matter():
    high = {"type": "Polygon", "coordinates": [[(*point, 100.0) for point in RING]]}
    assert Area.of(high).geometries == (high,)


def test_a_geojson_file_is_of_wgs_84_or_of_the_crs_it_declares(tmp_path):
    path = tmp_path / "area.geojson"
    content = collection(SQUARE)
    path.write_text(json.dumps(content))
    for given in (path, str(path)):
        assert Area.of(given).crs == "EPSG:4326"
        assert len(Area.of(given).geometries) == 1
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(content).encode())
    assert len(Area.of(path).geometries) == 1
    for name in ("urn:ogc:def:crs:EPSG::32633", "EPSG:32633"):
        declared = {"type": "name", "properties": {"name": name}}
        path.write_text(json.dumps({**content, "crs": declared}))
        assert Area.of(path).crs == name
    path.write_text(json.dumps({**content, "crs": None}))
    assert Area.of(path).crs == "EPSG:4326"


@pytest.mark.parametrize("content", [b"", b"[1", b"\xff\xfe\x00"])
def test_a_file_that_is_not_geojson_is_named(tmp_path, content):
    path = tmp_path / "area.geojson"
    path.write_bytes(content)
    with pytest.raises(ParameterError, match=r"^The area '.*area\.geojson' is not GeoJSON \("):
        Area.of(path)
    with pytest.raises(ParameterError, match=r"^The area '.*gone\.json' cannot be read: "):
        Area.of(tmp_path / "gone.json")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ([], "area has no polygon; give at least one."),
        (collection(), "area has no polygon; give at least one."),
        (collection(None), "area has no polygon; give at least one."),
        ({"type": "Point", "coordinates": (0, 0)}, "area holds a Point; expected polygons."),
        (collection({"type": "LineString"}), "area holds a LineString; expected polygons."),
        ({"kind": "Polygon"}, "area holds a mapping; expected polygons."),
        (None, "area holds None; expected polygons, such as GeoJSON."),
        (7, "area holds 7; expected polygons, such as GeoJSON."),
        ([SQUARE, "text"], "area holds 'text'; expected polygons, such as GeoJSON."),
    ],
)
def test_what_holds_no_polygon_is_named(given, sentence):
    with pytest.raises(ParameterError) as caught:
        Area.of(given)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    "coordinates",
    [
        [[]],
        [RING[:2]],
        [RING, []],
        [[(0, math.nan), *RING[1:]]],
        [[0, 1, 2, 3]],
        RING,
        [[(0,), (1,), (2,), (0,)]],
        5,
    ],
)
def test_broken_polygons_are_refused_before_the_work(coordinates):
    with pytest.raises(ParameterError, match=r"^area holds a Polygon whose rings"):
        Area.of({"type": "Polygon", "coordinates": coordinates})


def test_a_polygon_without_coordinates_is_none():
    for kind in ("Polygon", "MultiPolygon"):
        with pytest.raises(ParameterError, match="no polygon"):
            Area.of({"type": kind})
