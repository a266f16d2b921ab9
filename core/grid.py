"""Where pixels lie: the grid of a raster, windows of it, and the ground area of its pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

# GRS 80 / WGS 84: half axis in metres and eccentricity, the same to 0.1 mm.
_SEMI_MAJOR = 6378137.0
_ECCENTRICITY = 0.0818191908426
_SQUARE_METRES_PER_HECTARE = 10_000.0


@dataclass(frozen=True)
class Window:
    """A rectangle of pixels."""

    row: int
    column: int
    height: int
    width: int


@dataclass(frozen=True)
class Grid:
    """CRS, affine transform and size of a raster.

    ``transform`` is (a, b, c, d, e, f): x = a·column + b·row + c, y = d·column + e·row + f,
    for the upper left corner of a pixel. ``crs`` is WKT, empty where there is none.
    ``unit_metres`` is the length of the CRS's unit; None for a geographic or unknown CRS.
    """

    crs: str
    transform: tuple[float, float, float, float, float, float]
    width: int
    height: int
    unit_metres: float | None = None
    geographic: bool = False

    @property
    def origin(self) -> tuple[float, float]:
        """Coordinates of the upper left corner."""
        return self.transform[2], self.transform[5]

    @property
    def pixel_size(self) -> tuple[float, float]:
        """Width and height of a pixel in CRS units."""
        a, b, _, d, e, _ = self.transform
        return math.hypot(a, d), math.hypot(b, e)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east and north edges of the grid (of its bounding box, if rotated)."""
        a, b, c, d, e, f = self.transform
        x = [c + a * column + b * row for column in (0, self.width) for row in (0, self.height)]
        y = [f + d * column + e * row for column in (0, self.width) for row in (0, self.height)]
        return min(x), min(y), max(x), max(y)

    def row_hectares(self) -> np.ndarray | None:
        """Return the ground area of one pixel of each row in hectares, shape (height,).

        Projected CRS: the area on the map plane. Geographic CRS: the area on the ellipsoid
        between the row's parallels (Snyder 1987, Map Projections, eq. 3-12). None where the
        CRS is unknown, or geographic and rotated.
        """
        a, b, _, d, e, f = self.transform
        if self.unit_metres is not None:
            area = abs(a * e - b * d) * self.unit_metres**2 / _SQUARE_METRES_PER_HECTARE
            return np.full(self.height, area)
        if not self.geographic or b or d:
            return None
        edges = np.radians(np.clip(f + e * np.arange(self.height + 1), -90.0, 90.0))
        zone = _SEMI_MAJOR**2 / 2 * np.abs(np.diff(_authalic_q(edges)))
        return zone * math.radians(abs(a)) / _SQUARE_METRES_PER_HECTARE


@dataclass(frozen=True)
class Placement:
    """How a raster of ``height`` × ``width`` pixels lies on a grid.

    Its pixels are those of the grid from ``row`` and ``column`` on (which may be negative), or
    else it has to be ``warped``.
    """

    grid: Grid
    height: int
    width: int
    row: int
    column: int
    warped: bool


def _authalic_q(latitude: np.ndarray) -> np.ndarray:
    sine, e = np.sin(latitude), _ECCENTRICITY
    return (1 - e * e) * (
        sine / (1 - (e * sine) ** 2) - np.log((1 - e * sine) / (1 + e * sine)) / (2 * e)
    )
