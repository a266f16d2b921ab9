"""The kernels that count codes while a series is read: the same numbers as with NumPy, sooner."""

from __future__ import annotations

import functools

import numba
import numpy as np
from llvmlite import ir
from numba import types

from ..codes import SQUARE_BITS, CountCodes
from ..coding import WORD, GatherCodes
from ..tiling import COLUMNS, ROWS
from . import numba_ir, numba_vectors
from .numba_ir import SHORT, element, instruction, load, read_only, store
from .numba_vectors import lowest_bit

_VERSION = numba_ir.version(numba_ir, numba_vectors)
_WORD_SHIFT, _COLUMN_SHIFT = WORD.bit_length() - 1, COLUMNS.bit_length() - 1


@instruction
def copy_row(context, values, row, column, codes, place):
    """Copy COLUMNS values of a plane, uint16, from a place in it to one in ``codes``."""

    def generate(context, builder, signature, arguments):
        values, codes = (
            context.make_array(signature.args[i])(context, builder, arguments[i]) for i in (0, 3)
        )
        start = element(builder, values, SHORT, arguments[1], arguments[2])
        some = load(builder, start, ir.VectorType(SHORT, COLUMNS))
        store(builder, some, builder.gep(codes.data, [arguments[4]]))
        return context.get_dummy_value()

    return types.none(values, row, column, codes, place), generate


@functools.cache
def counting_kernel(dtype: str) -> CountCodes:
    """Return :func:`~..codes.count_codes` for codes of a dtype, compiled or from the disk cache."""

    def kernel(codes, lowest, shifts, histograms):
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

    # As in numba_assign.py; constants of other modules are compiled in, so the name tells them.
    kernel.__module__ = numba.__name__
    kernel.__qualname__ = kernel.__name__ = f"count_{dtype}_{SQUARE_BITS}"
    numbers = read_only("int64", 1)
    signature = types.int64[:, ::1](read_only(dtype, 2), numbers, numbers, types.int64[:, ::1])
    compiled: CountCodes = numba.njit(signature, nogil=True, cache=True, error_model="numpy")(
        kernel
    )
    return compiled


@functools.cache
def gathering_kernel() -> GatherCodes:
    """Return :func:`~..coding.gather_codes`, compiled or from the disk cache."""

    def kernel(values, words, codes, counts):
        height, width = values.shape
        flat, narrow = values.reshape(-1), width // COLUMNS * COLUMNS
        found, place = 0, 0
        for top in range(0, height, ROWS):
            bottom = min(top + ROWS, height)
            size = (bottom - top) * COLUMNS
            everything = (np.uint64(1) << np.uint64(size)) - np.uint64(1)
            for left in range(0, narrow, COLUMNS):
                # The tile's bits, which may begin in one word and end in the next one.
                word, shift = place >> _WORD_SHIFT, np.uint64(place & (WORD - 1))
                beyond = words[word + 1] << np.uint64(1) << (np.uint64(WORD - 1) - shift)
                bits = (words[word] >> shift | beyond) & everything
                place += size
                if bits == everything:
                    for row in range(top, bottom):
                        copy_row(values, row, left, codes, found)
                        found += COLUMNS
                    for i in range(found - size, found):
                        counts[codes[np.uint64(i)]] += 1
                    continue
                start = top * width + left
                while bits:
                    pixel = lowest_bit(bits)
                    bits &= bits - np.uint64(1)
                    offset = (pixel >> _COLUMN_SHIFT) * width + (pixel & (COLUMNS - 1))
                    code = flat[np.uint64(start + offset)]
                    codes[np.uint64(found)] = code
                    counts[code] += 1
                    found += 1
            for row in range(top, bottom):
                for column in range(narrow, width):
                    bit = words[place >> _WORD_SHIFT] >> np.uint64(place & (WORD - 1))
                    place += 1
                    if bit & np.uint64(1):
                        code = values[row, column]
                        codes[found] = code
                        counts[code] += 1
                        found += 1

    # As above.
    kernel.__module__ = numba.__name__
    kernel.__qualname__ = kernel.__name__ = f"gather_{ROWS}x{COLUMNS}_{WORD}_{_VERSION}"
    signature = types.void(
        read_only("uint16", 2), read_only("uint64", 1), types.uint16[::1], types.int64[::1]
    )
    compiled: GatherCodes = numba.njit(signature, nogil=True, cache=True, error_model="numpy")(
        kernel
    )
    return compiled
