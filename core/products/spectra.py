"""Which band of which sensor looks at which part of the spectrum, by common names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class BandKind:
    """A band as its sensor defines it: common name, the product's name, centre in micrometres."""

    name: str
    native: str
    wavelength: float


def _kinds(*rows: tuple[str, str, float]) -> tuple[BandKind, ...]:
    return tuple(BandKind(*row) for row in rows)


def described(names: Iterable[str], kinds: Sequence[BandKind]) -> str:
    """Return names of bands as a list for users, with the product's own names: red (SR_B4)."""
    known = {key.lower(): kind for kind in kinds for key in (kind.native, kind.name)}
    found = ((name, known.get(name.lower())) for name in names)
    return ", ".join(f"{kind.name} ({kind.native})" if kind else name for name, kind in found)


# Landsat surface reflectance: centres of the ranges that USGS gives for each instrument.
_TM = _kinds(
    ("blue", "SR_B1", 0.485),
    ("green", "SR_B2", 0.56),
    ("red", "SR_B3", 0.66),
    ("nir08", "SR_B4", 0.83),
    ("swir16", "SR_B5", 1.65),
    ("swir22", "SR_B7", 2.215),
)
_ETM = _kinds(
    ("blue", "SR_B1", 0.485),
    ("green", "SR_B2", 0.56),
    ("red", "SR_B3", 0.66),
    ("nir08", "SR_B4", 0.835),
    ("swir16", "SR_B5", 1.65),
    ("swir22", "SR_B7", 2.22),
)
_OLI = _kinds(
    ("coastal", "SR_B1", 0.44),
    ("blue", "SR_B2", 0.48),
    ("green", "SR_B3", 0.56),
    ("red", "SR_B4", 0.655),
    ("nir08", "SR_B5", 0.865),
    ("swir16", "SR_B6", 1.61),
    ("swir22", "SR_B7", 2.2),
)
LANDSAT = {4: _TM, 5: _TM, 7: _ETM, 8: _OLI, 9: _OLI}
LANDSAT_USUAL = ("blue", "green", "red", "nir08", "swir16", "swir22")

# Sentinel-2 MSI: centres as rounded by the STAC catalogues (the satellites differ by some
# nanometres).
SENTINEL2 = _kinds(
    ("coastal", "B01", 0.443),
    ("blue", "B02", 0.49),
    ("green", "B03", 0.56),
    ("red", "B04", 0.665),
    ("rededge1", "B05", 0.704),
    ("rededge2", "B06", 0.74),
    ("rededge3", "B07", 0.783),
    ("nir", "B08", 0.842),
    ("nir08", "B8A", 0.865),
    ("nir09", "B09", 0.945),
    ("swir16", "B11", 1.61),
    ("swir22", "B12", 2.19),
)
SENTINEL2_USUAL = tuple(kind.name for kind in SENTINEL2 if kind.name not in {"coastal", "nir09"})

# PlanetScope in Planet's order; the four bands of the first sensors (Dove Classic) and the eight
# of SuperDove.
PLANET = {
    4: _kinds(
        ("blue", "blue", 0.485),
        ("green", "green", 0.545),
        ("red", "red", 0.63),
        ("nir", "nir", 0.82),
    ),
    8: _kinds(
        ("coastal_blue", "coastal_blue", 0.443),
        ("blue", "blue", 0.49),
        ("green_i", "green_i", 0.531),
        ("green", "green", 0.565),
        ("yellow", "yellow", 0.61),
        ("red", "red", 0.665),
        ("rededge", "rededge", 0.705),
        ("nir", "nir", 0.865),
    ),
}
