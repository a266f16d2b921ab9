"""The kernel that counts codes while a series is read: the same numbers as with NumPy, sooner."""

from __future__ import annotations

import functools

import numba
import numpy as np

from ..codes import SQUARE_BITS, CountCodes


def _count(codes, lowest, shifts, histograms):
    bands, pixels = codes.shape
    last = histograms.shape[1] - 1
    moments = np.zeros((bands, 5), np.int64)
    for b in range(bands):
        plane, counts, shift = codes[b], histograms[b], shifts[b]
        if shift == 0:
            for p in range(pixels):
                counts[plane[p]] += 1
            continue
        least, most = np.int64(plane[0]), np.int64(plane[0])
        total, upper, lower = np.int64(0), np.int64(0), np.int64(0)
        for p in range(pixels):
            code = np.int64(plane[p])
            square = code * code
            least, most = min(least, code), max(most, code)
            total += code
            upper += square >> SQUARE_BITS
            lower += square & ((1 << SQUARE_BITS) - 1)
        for p in range(pixels):
            counts[min((np.int64(plane[p]) - lowest[b]) >> shift, last)] += 1
        moments[b] = least, most, total, upper, lower
    return moments


# As in numba_assign.py: the disk cache imports the kernel's module again, by a name that is there.
_count.__module__ = numba.__name__


@functools.cache
def counting_kernel(dtype: str) -> CountCodes:
    """Return :func:`~..codes.count_codes` for codes of a dtype, compiled or from the disk cache."""
    types = f"int64[:, ::1]({dtype}[:, ::1], int64[::1], int64[::1], int64[:, ::1])"
    compiled: CountCodes = numba.njit(types, nogil=True, cache=True, error_model="numpy")(_count)
    return compiled
