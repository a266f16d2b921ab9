"""The kernels of the parallel backend that measure how compact classes are, and how well apart.

They serve any number of bands and classes, so few are compiled. Their
float64 operations are those of the reference, one by one: nothing is fused or reordered.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numba
import numpy as np

MOST_TERMS = 1 << 31
"""Pixels × classes × bands of one call that take well below a second."""

# A strip of float64 planes stays in the L1 cache for the usual numbers of bands.
_STRIP = 512
# Added to a number below 2^51, it leaves the number rounded to an integer in the lowest bits.
_ROUNDER = 1.5 * 2.0**52
_ROUNDER_BITS = 0x4338000000000000


def _measure(
    codes,
    labels,
    start,
    stop,
    signatures,
    steps,
    midpoints,
    distance_scale,
    silhouette_scale,
    distances,
    silhouettes,
):
    bands, classes = codes.shape[0], signatures.shape[0]
    values = np.empty((bands, _STRIP), np.float64)
    mine = np.empty(_STRIP, np.float64)
    squares = np.empty(_STRIP, np.float64)
    own = np.empty(_STRIP, np.float64)
    other = np.empty(_STRIP, np.float64)
    # Loops run over slices from 0, or the compiler would not vectorise them.
    for first in range(start, stop, _STRIP):
        size = min(_STRIP, stop - first)
        found = labels[first : first + size]
        for b in range(bands):
            plane, middle, step = codes[b, first : first + size], midpoints[b], steps[b]
            for p in range(size):
                values[b, p] = np.float64(np.int32(plane[p]) - middle) * step
        for p in range(size):
            mine[p] = np.float64(found[p])
            other[p] = np.inf
        for j in range(classes):
            number = np.float64(j)
            for p in range(size):
                squares[p] = 0.0
            for b in range(bands):
                row, place = values[b], signatures[j, b]
                for p in range(size):
                    difference = row[p] - place
                    squares[p] += difference * difference
            for p in range(size):
                square, nearest, is_mine = squares[p], other[p], mine[p] == number
                own[p] = square if is_mine else own[p]
                other[p] = nearest if is_mine or nearest <= square else square
        for p in range(size):
            near, far = np.sqrt(own[p]), np.sqrt(other[p])
            larger = near if near > far else far
            silhouette = (far - near) / larger if larger > 0.0 else 0.0
            own[p] = near * distance_scale + _ROUNDER
            other[p] = silhouette * silhouette_scale + _ROUNDER
        whole_distances, whole_silhouettes = own.view(np.int64), other.view(np.int64)
        for p in range(size):
            distances[found[p]] += whole_distances[p] - _ROUNDER_BITS
            silhouettes[found[p]] += whole_silhouettes[p] - _ROUNDER_BITS


# As in numba.py: the disk cache imports the kernel's module again, by a name that must be there.
_measure.__module__ = numba.__name__


@functools.cache
def measuring_kernel(dtype: str) -> Callable[..., None]:
    """Return the kernel for codes of a dtype, compiled or from the disk cache."""
    types = (
        f"void({dtype}[:, ::1], uint8[::1], int64, int64, float64[:, ::1], float64[::1], "
        "int32[::1], float64, float64, int64[::1], int64[::1])"
    )
    compiled: Callable[..., None] = numba.njit(types, nogil=True, cache=True, error_model="numpy")(
        _measure
    )
    return compiled
