"""Overviews of class numbers: each pixel has the most frequent class of those that it covers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .backends.base import is_usable

Count = Callable[[np.ndarray, int, np.ndarray, np.ndarray], np.ndarray]
"""``sums = count(values, number, most, found)``: values (2·height, 2·width), the rest (height,
width). Sums are of two by two values; where they are more than ``most``, they take its place, and
``number`` that of ``found``."""

# A class has at most factor² pixels in a pixel of an overview: so many levels fit into uint16.
_LEVELS_OF_UINT16 = 7
# Pixels that are looked at together, once for each class: they stay in the L2 cache.
_BAND_PIXELS = 1 << 18


@dataclass(frozen=True)
class Counters:
    """How classes are counted: the pixels of one among labels, uint8, then sums of such counts."""

    pixels: Count
    sums: Count


def count_pixels(
    labels: np.ndarray, number: int, most: np.ndarray, found: np.ndarray
) -> np.ndarray:
    """Count the pixels of class ``number``, see :data:`Count`."""
    return add_counts((labels == number).view(np.uint8), number, most, found)


def add_counts(counts: np.ndarray, number: int, most: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Add up counts of class ``number``, see :data:`Count`."""
    rows = np.add(counts[0::2], counts[1::2], dtype=most.dtype)
    sums = rows[:, 0::2] + rows[:, 1::2]
    more = sums > most
    np.copyto(most, sums, where=more)
    np.copyto(found, np.uint8(number), where=more)
    return sums


def counters() -> Counters:
    """Return the fastest way there is to count classes; all give the same numbers."""
    if not is_usable("numba"):
        return Counters(count_pixels, add_counts)
    from .backends.numba_overviews import adding_kernel, counting_kernel

    return Counters(counting_kernel(), adding_kernel())


def overviews(
    labels: np.ndarray, levels: int, count: Counters, check: Callable[[], None]
) -> list[np.ndarray]:
    """Return ``levels`` overviews of labels: uint8, (height, width), classes from 1, 0 for nodata.

    A pixel of level n, from 1, covers 2ⁿ x 2ⁿ pixels, fewer at the right and lower edges; sizes are
    rounded up. It has the most frequent class among them, the lowest number where several are as
    frequent, and is nodata only where there is no class. ``check`` is called now and then.
    """
    shapes = [_reduced(labels.shape, level) for level in _range(levels)]
    planes = [np.zeros(shape, np.uint8) for shape in shapes]
    side = 1 << levels
    step = max(1, _BAND_PIXELS // (side * labels.shape[1])) * side
    for top in range(0, len(labels), step):
        band = np.ascontiguousarray(labels[top : top + step])
        # The last band may end within a pixel of an overview: the slice ends with the plane.
        parts = [plane[top >> n : (top + step) >> n] for n, plane in zip(_range(levels), planes)]
        _fill(band, parts, count, check)
    return planes


def _fill(
    labels: np.ndarray, planes: list[np.ndarray], count: Counters, check: Callable[[], None]
) -> None:
    """Fill the overviews of labels."""
    dtypes = [np.uint16] * _LEVELS_OF_UINT16 + [np.uint32] * len(planes)
    most = [np.zeros(plane.shape, dtype) for plane, dtype in zip(planes, dtypes)]
    whole = _even(labels)
    for number in _numbers(labels):
        counts = whole
        for level, plane in enumerate(planes):
            check()
            add = add_counts if level >= _LEVELS_OF_UINT16 else count.sums
            counts = (add if level else count.pixels)(_even(counts), number, most[level], plane)


def _numbers(labels: np.ndarray) -> list[int]:
    """Return the numbers of the classes that are there, in order."""
    # Looking for a byte ends at the first one: much sooner than counting them all.
    found = labels.tobytes()
    return [number for number in range(1, int(labels.max(initial=0)) + 1) if number in found]


def _even(values: np.ndarray) -> np.ndarray:
    """Return values with a row or a column of zeros more where their number is odd.

    Going from level to level, never more than that is added: a raster of one row does not become
    a square.
    """
    height, width = values.shape
    if not (height % 2 or width % 2):
        return values
    found = np.zeros((height + height % 2, width + width % 2), values.dtype)
    found[:height, :width] = values
    return found


def _reduced(shape: tuple[int, ...], level: int) -> tuple[int, ...]:
    """Return the size of an overview."""
    return tuple(-(-length >> level) for length in shape)


def _range(levels: int) -> range:
    return range(1, levels + 1)
