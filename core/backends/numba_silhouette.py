"""The kernel that adds up the distances of a sample: the same numbers as with NumPy, sooner."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numba
import numpy as np

# What a strip has gathered stays in the L1 cache.
_STRIP = 512


def _sum(positions, ends, scale, start, stop, sums):
    bands = positions.shape[0]
    squares = np.empty(_STRIP, np.float64)
    total = np.empty(_STRIP, np.float64)
    # Loops run over slices from 0, or the compiler would not vectorise them.
    for first in range(start, stop, _STRIP):
        size = min(_STRIP, stop - first)
        begin = 0
        for row in range(ends.shape[0]):
            for p in range(size):
                total[p] = 0.0
            for other in range(begin, ends[row]):
                for p in range(size):
                    squares[p] = 0.0
                for b in range(bands):
                    plane, place = positions[b, first : first + size], positions[b, other]
                    for p in range(size):
                        difference = plane[p] - place
                        squares[p] += difference * difference
                for p in range(size):
                    total[p] += np.rint(np.sqrt(squares[p]) * scale)
            for p in range(size):
                sums[first + p, row] = total[p]
            begin = ends[row]


# As in numba_assign.py: the disk cache imports the kernel's module again, by a name that is there.
_sum.__module__ = numba.__name__


@functools.cache
def summing_kernel() -> Callable[..., None]:
    """Return the kernel, compiled or from the disk cache.

    ``add_up(positions, ends, scale, start, stop, sums)`` puts into rows ``start`` to before
    ``stop`` of ``sums``, float64, (pixels, classes), the sums of the distances to the pixels of
    each class, times ``scale`` and rounded to integers. ``positions`` are float64, (bands,
    pixels), class by class; the classes' pixels end before ``ends``, int64, (classes,).
    """
    types = "void(float64[:, ::1], int64[::1], float64, int64, int64, float64[:, ::1])"
    compiled: Callable[..., None] = numba.njit(types, nogil=True, cache=True, error_model="numpy")(
        _sum
    )
    return compiled
