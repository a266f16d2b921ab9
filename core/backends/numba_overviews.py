"""The kernels that count classes for overviews: the same numbers as with NumPy, sooner."""

from __future__ import annotations

import functools

import numba
import numpy as np

from ..overviews import Count


def _count_pixels_of_class(labels, number, most, found):
    height, width = most.shape
    sums = np.empty((height, width), np.uint16)
    wanted = np.uint8(number)
    for y in range(height):
        for x in range(width):
            here = np.uint16(labels[2 * y, 2 * x] == wanted)
            here += np.uint16(labels[2 * y, 2 * x + 1] == wanted)
            here += np.uint16(labels[2 * y + 1, 2 * x] == wanted)
            here += np.uint16(labels[2 * y + 1, 2 * x + 1] == wanted)
            sums[y, x] = here
        for x in range(width):
            found[y, x] = wanted if sums[y, x] > most[y, x] else found[y, x]
            most[y, x] = max(sums[y, x], most[y, x])
    return sums


def _add_counts_of_class(counts, number, most, found):
    height, width = most.shape
    sums = np.empty((height, width), np.uint16)
    wanted = np.uint8(number)
    for y in range(height):
        for x in range(width):
            here = counts[2 * y, 2 * x] + counts[2 * y, 2 * x + 1]
            here += counts[2 * y + 1, 2 * x] + counts[2 * y + 1, 2 * x + 1]
            sums[y, x] = here
        for x in range(width):
            found[y, x] = wanted if sums[y, x] > most[y, x] else found[y, x]
            most[y, x] = max(sums[y, x], most[y, x])
    return sums


# As in numba_assign.py: the disk cache imports the kernels' module again, by a name that is there.
_count_pixels_of_class.__module__ = _add_counts_of_class.__module__ = numba.__name__


@functools.cache
def counting_kernel() -> Count:
    """Return :func:`~..overviews.count_pixels`, compiled or from the disk cache."""
    return _compiled(_count_pixels_of_class, "uint8")


@functools.cache
def adding_kernel() -> Count:
    """Return :func:`~..overviews.add_counts` for uint16, compiled or from the disk cache."""
    return _compiled(_add_counts_of_class, "uint16")


def _compiled(kernel: Count, dtype: str) -> Count:
    types = f"uint16[:, ::1]({dtype}[:, ::1], int64, uint16[:, ::1], uint8[:, ::1])"
    compiled: Count = numba.njit(types, nogil=True, cache=True, error_model="numpy")(kernel)
    return compiled
