"""What a product is once it has been understood, whoever made it."""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np


class Condition(enum.Enum):
    """What a pixel can be besides clear ground, as quality layers tell it."""

    FILL = "fill"
    CLOUD = "cloud"
    SHADOW = "shadow"
    CIRRUS = "cirrus"
    SNOW = "snow"
    WATER = "water"
    SATURATED = "saturated"


@dataclass(frozen=True)
class ProductBand:
    """One spectral band of a product.

    ``path`` is what GDAL opens, ``number`` the band in that file, from 1. ``name`` is the common
    name (blue, nir, swir16: as in the STAC electro-optical extension), by which bands of
    different sensors are matched, ``native`` the product's own (SR_B4, B8A). ``wavelength`` is
    the centre in micrometres. Reflectance is ``scale`` · value + ``offset``; ``nodata`` is the
    stored value that means nothing.
    """

    name: str
    native: str
    path: str
    number: int
    wavelength: float | None
    scale: float
    offset: float
    nodata: float | None


@dataclass(frozen=True)
class QualityBand:
    """A layer that tells conditions of pixels.

    ``conditions`` turns its values into booleans of their shape, one array for each condition
    that the layer knows.
    """

    path: str
    number: int
    conditions: Callable[[np.ndarray], dict[Condition, np.ndarray]]


@dataclass(frozen=True)
class Product:
    """One acquisition: its bands, and what is known of its pixels.

    ``time`` is when it was taken (UTC), at midnight where only the day is known. ``notes`` are
    sentences that a user should read: what is missing, and what follows from it.
    """

    name: str
    sensor: str
    time: dt.datetime
    bands: tuple[ProductBand, ...]
    quality: tuple[QualityBand, ...]
    usual: tuple[str, ...]
    """Names of the bands that are taken when nobody says which."""
    notes: tuple[str, ...] = field(default=())
