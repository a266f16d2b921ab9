"""Class colours: the same for a class number always, and as far apart as can be."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from .errors import ParameterError

Colour = tuple[int, int, int]
"""Red, green, blue (sRGB); 0 to 255."""

_MOST = 254  # labels are uint8: 0 is nodata, and 255 stays free for other programs' nodata

# Okabe & Ito (2008), Color Universal Design, with a dark grey for their black, which is easily
# taken for nodata. The order keeps neighbouring numbers far apart for every kind of colour
# vision, and leaves the hues that confuse most and the yellow, pale as a line, to the end.
_FIRST: tuple[Colour, ...] = (
    (0, 114, 178),
    (213, 94, 0),
    (64, 64, 64),
    (86, 180, 233),
    (230, 159, 0),
    (0, 158, 115),
    (240, 228, 66),
    (204, 121, 167),
)
_LATTICE = range(0, 256, 15)
# In tenths of CIE Lab units: nothing near black, white or neon among the further colours.
_LIGHTNESS = (250, 850)
_CHROMA = 750
# Linear sRGB to CIE XYZ (IEC 61966-2-1), for the primaries and white of ITU-R BT.709.
_TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
_WHITE = _TO_XYZ.sum(axis=1)


def colours(count: int) -> tuple[Colour, ...]:
    """Return the colours of classes 1 to ``count``, at most 254; raises ParameterError.

    The first eight are distinct for all kinds of colour vision. Each further one is that of a
    lattice of colours which is farthest, in CIE Lab, from all before it.
    """
    if not 1 <= count <= _MOST:
        raise ParameterError(f"There are colours for 1 to {_MOST} classes, not for {count}.")
    return _FIRST[:count] if count <= len(_FIRST) else _sequence()[:count]


@lru_cache(maxsize=1)
def _sequence() -> tuple[Colour, ...]:
    candidates, places = _candidates()
    chosen = list(_FIRST)
    nearest = np.min([_squares(places, place) for place in _lab_tenths(np.array(_FIRST))], axis=0)
    while len(chosen) < _MOST:
        # Integers, and the first of equals: the same choice on every machine.
        best = int(np.argmax(nearest))
        red, green, blue = candidates[best].tolist()
        chosen.append((red, green, blue))
        nearest = np.minimum(nearest, _squares(places, places[best]))
    return tuple(chosen)


def _candidates() -> tuple[np.ndarray, np.ndarray]:
    """Return the colours to choose from and their Lab tenths, both (candidates, 3)."""
    axes = np.meshgrid(_LATTICE, _LATTICE, _LATTICE, indexing="ij")
    lattice = np.stack(axes, axis=-1).reshape(-1, 3)
    places = _lab_tenths(lattice)
    lightness, chroma_squares = places[:, 0], (places[:, 1:] ** 2).sum(axis=1)
    usable = (lightness >= _LIGHTNESS[0]) & (lightness <= _LIGHTNESS[1])
    usable &= chroma_squares <= _CHROMA**2
    return lattice[usable], places[usable]


def _squares(places: np.ndarray, place: np.ndarray) -> np.ndarray:
    return ((places - place) ** 2).sum(axis=1)


def _lab_tenths(rgb: np.ndarray) -> np.ndarray:
    """Return CIE Lab of sRGB colours, (colours, 3), in tenths as int64."""
    return np.rint(10.0 * _lab(_linear(rgb))).astype(np.int64)


def _linear(rgb: np.ndarray) -> np.ndarray:
    """Return linear light, 0 to 1, of sRGB colours (IEC 61966-2-1)."""
    share = np.asarray(rgb, np.float64) / 255.0
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def _lab(linear: np.ndarray) -> np.ndarray:
    """Return CIE 1976 L*a*b* (CIE 15:2004; the white of sRGB, D65) of linear sRGB."""
    ratio = linear @ _TO_XYZ.T / _WHITE
    root = np.where(ratio > 216 / 24389, np.cbrt(ratio), (24389 / 27 * ratio + 16) / 116)
    x, y, z = root[:, 0], root[:, 1], root[:, 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)
