"""Spectral indices: normalised differences of the reflectance of two bands."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import ParameterError


@dataclass(frozen=True)
class Formula:
    """(first − second) / (first + second), each the first band of these names that there is."""

    first: tuple[str, ...]
    second: tuple[str, ...]


# Sensors with one near infrared band call it nir or nir08, by its centre.
_NIR = ("nir", "nir08")


class Index(enum.Enum):
    """The indices, in the order of the INDICES parameter."""

    NDVI = Formula(_NIR, ("red",))
    """Vegetation (Rouse et al. 1974)."""
    NDWI = Formula(("green",), _NIR)
    """Open water (McFeeters 1996)."""
    MNDWI = Formula(("green",), ("swir16",))
    """Open water beside buildings (Xu 2006)."""
    NDBI = Formula(("swir16",), _NIR)
    """Built-up land (Zha et al. 2003)."""
    NBR = Formula(_NIR, ("swir22",))
    """Burnt land (Key and Benson 2006)."""

    @classmethod
    def of(cls, name: str | Index) -> Index:
        """Return the index with that name, or raise ParameterError."""
        if isinstance(name, cls):
            return name
        try:
            return cls[str(name).strip().upper()]
        except KeyError:
            names = ", ".join(cls.__members__)
            raise ParameterError(f"'{name}' is no index; expected some of {names}.") from None

    def bands(self, known: Sequence[str]) -> tuple[str, str] | None:
        """Return the common names of its two bands among those known; None if one is missing."""
        found = [
            next((name for name in names if name in known), None)
            for names in (self.value.first, self.value.second)
        ]
        first, second = found
        return None if first is None or second is None else (first, second)


def normalised_difference(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return (first − second) / (first + second) of two reflectances, float64, −1 to 1.

    Reflectance below zero, which atmospheric correction leaves over dark ground, counts as zero.
    Where both are zero the index is 0: neither band is brighter.
    """
    first, second = np.maximum(first, 0.0), np.maximum(second, 0.0)
    total = first + second
    return np.asarray(
        np.divide(first - second, total, out=np.zeros(total.shape), where=total > 0.0)
    )
