"""The kernels of the parallel backend that label pixels and keep sums, compiled once for each
number of bands."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numba
import numpy as np

from ..scores import NEVER
from .base import UNLABELLED
from .numba_vectors import (
    FLOAT_RULES,
    LANES,
    TILE,
    VERSION,
    count_bits,
    enclose_tile,
    lowest_bit,
    move_pixel,
    near_classes,
    score_tile,
    sum_columns,
    unlike,
)

ROUNDED_UP = 1.0 + 2.0**-20
"""Times this, a bound stays one when it is rounded to float32 and multiplied a few times."""

# Pixels whose new classes are found before the sums are touched: their codes stay in the L1 cache.
_STRIP = 512
_TILES = _STRIP // TILE
# Places of changed pixels are listed so many at a time, without a branch for each.
_AT_ONCE = 4
# Bits of a word that says which classes to look at.
_WORD = 64


@functools.cache
def assigning_kernel(bands: int, dtype: str) -> Callable[..., tuple[int, int]]:
    """Return the kernel for so many bands, compiled or from the disk cache.

    ``assign(codes, labels, q, n, midpoints, q32, n32, across, distances, gap, centres, radii,
    sums, counts)`` labels the pixels of a block and adds to the sums what changes; it returns
    how many changed, and how many classes were looked at for all tiles together.
    """
    columns, all_bands = sum_columns(bands), (0,) * bands
    planes = f"{dtype}[:, ::1]"
    types = (
        f"UniTuple(int64, 2)({planes}, uint8[::1], int64[:, ::1], int64[::1], int32[::1], "
        f"float32[:, ::1], float32[::1], float32[:, ::1], float32[:, ::1], float32, {planes}, "
        "float32[::1], int64[:, ::1], int64[::1])"
    )

    def kernel(
        codes, labels, q, n, midpoints, q32, n32, across, distances, gap, centres, radii, sums,
        counts,
    ):  # fmt: skip
        pixels, classes = labels.shape[0], n.shape[0]
        last = max(pixels - TILE, 0)
        found = np.empty(_STRIP, np.uint8)
        moved = np.empty(_TILES, np.uint64)
        doubtful = np.empty(_TILES, np.uint64)
        places = np.empty(_STRIP + _AT_ONCE, np.int64)
        offsets = np.empty(bands, np.float32)
        # Two tables, taken in turn: neighbours often move alike, and would wait for one another.
        moves = np.zeros((2 * UNLABELLED, columns), np.int64)
        # Classes to look at, as bits: all, or for each tile those that may be near.
        words = (classes + _WORD - 1) // _WORD
        everything = np.empty(words, np.uint64)
        for word in range(words):
            everything[word] = ~np.uint64(0) >> np.uint64(max((word + 1) * _WORD - classes, 0))
        near = np.empty(_TILES * words, np.uint64)
        for i in range(_TILES * words):
            near[i] = everything[i % words]
        # The one class that may be near a tile, none if it is negative.
        single = np.full(_TILES, -1)
        changed, scored = 0, 0
        # No array gets another name in the loops: counting its users would cost as much as a class.
        for first in range(0, pixels, _STRIP):
            tiles = (min(_STRIP, pixels - first) + TILE - 1) // TILE
            # What is listed for all tiles first is known to the processor when it comes to score.
            for tile in range(tiles if radii.shape[0] else 0):
                number = first // TILE + tile
                reference = np.int64(labels[min(number * TILE, last) + TILE // 2])
                if reference >= classes or n[reference] == NEVER:
                    single[tile] = -1
                    for word in range(words):
                        near[tile * words + word] = everything[word]
                    continue
                level = n32[reference]
                for b in range(bands):
                    offsets[b] = np.float32(np.int32(centres[number, b]) - midpoints[b])
                    level -= q32[reference, b] * offsets[b]
                level += np.float32(2.0) * gap
                some = np.int64(0)
                for word in range(words):
                    bits = np.uint64(0)
                    for j in range(word * _WORD, min((word + 1) * _WORD, n32.shape[0]), LANES):
                        bits |= near_classes(
                            all_bands, across, n32, offsets, distances, reference, radii[number],
                            level, j,
                        ) << np.uint64(j % _WORD)  # fmt: skip
                    near[tile * words + word] = bits
                    some += count_bits(bits)
                single[tile] = reference if some == 1 else -1
            any_moved, any_doubtful = np.uint64(0), np.uint64(0)
            for tile in range(tiles):
                # The last tile begins within the one before it, whose pixels are left out.
                place = min(first + tile * TILE, last)
                fresh = ~np.uint64(0) << np.uint64(first + tile * TILE - place)
                if pixels < TILE:
                    moved[tile], doubtful[tile] = np.uint64(0), ~(fresh << np.uint64(pixels))
                    any_doubtful = doubtful[tile]
                    continue
                if single[tile] >= 0:
                    label = np.uint8(single[tile])
                    scored += 1
                    moved[tile], doubtful[tile] = unlike(labels, place, label) & fresh, np.uint64(0)
                    for i in range(TILE if moved[tile] else 0):
                        found[tile * TILE + i] = label
                else:
                    for word in range(words):
                        scored += count_bits(near[tile * words + word])
                    flags = score_tile(
                        all_bands, codes, place, labels, q32, n32, midpoints, gap, near, tile,
                        words, found,
                    )  # fmt: skip
                    moved[tile], doubtful[tile] = flags[0] & fresh, flags[1] & fresh
                any_moved |= moved[tile]
                any_doubtful |= doubtful[tile]
            for tile in range(tiles if any_doubtful else 0):
                place, bits = min(first + tile * TILE, last), doubtful[tile]
                while bits:
                    i = lowest_bit(bits)
                    bits &= bits - np.uint64(1)
                    lowest, label = np.int64(0), np.uint8(0)
                    for j in range(classes):
                        value = n[j]
                        for b in range(bands):
                            value -= q[j, b] * (np.int64(codes[b, place + i]) - midpoints[b])
                        if j == 0 or value < lowest:
                            lowest, label = value, np.uint8(j)
                    found[tile * TILE + i] = label
                    bit = np.uint64(1) << np.uint64(i)
                    is_other = label != labels[place + i]
                    moved[tile] = moved[tile] | bit if is_other else moved[tile] & ~bit
                any_moved |= moved[tile]
            # Which pixels change cannot be foreseen: their places are listed with few branches.
            listed = 0
            for tile in range(tiles if any_moved else 0):
                bits = moved[tile]
                end = listed + count_bits(bits)
                for i in range(listed, listed + _AT_ONCE):
                    places[i] = tile * TILE + lowest_bit(bits)
                    bits &= bits - np.uint64(1)
                listed += _AT_ONCE
                while bits:
                    for i in range(listed, listed + _AT_ONCE):
                        places[i] = tile * TILE + lowest_bit(bits)
                        bits &= bits - np.uint64(1)
                    listed += _AT_ONCE
                listed = end
            for i in range(listed):
                spot = places[i]
                place = min(first + spot // TILE * TILE, last) + spot % TILE
                table = i % 2 * UNLABELLED
                old, new = np.int64(labels[place]), np.int64(found[spot])
                labels[place] = found[spot]
                source = old + table if old != UNLABELLED else np.int64(-1)
                move_pixel(all_bands, codes, place, moves, new + table, source)
            changed += listed
        for j in range(classes):
            for row in (j, j + UNLABELLED):
                counts[j] += moves[row, bands]
                for b in range(bands):
                    sums[j, b] += moves[row, b]
        return changed, scored

    # Numba's disk cache imports the kernel's module again by its name when it loads it. QGIS
    # may have loaded this folder under another name, so the kernel names one that is there.
    kernel.__module__ = numba.__name__
    # Symbols of compiled code are made from this name and a number that starts anew in each
    # process: kernels of one name that two processes have cached would be taken for each other.
    kernel.__qualname__ = kernel.__name__ = f"assign_{dtype}_{bands}_bands_{VERSION}"
    compiled: Callable[..., tuple[int, int]] = numba.njit(
        types, nogil=True, cache=True, fastmath=set(FLOAT_RULES), error_model="numpy"
    )(kernel)
    return compiled


@functools.cache
def enclosing_kernel(bands: int, dtype: str) -> Callable[..., None]:
    """Return the kernel that encloses each tile's pixels in a ball.

    ``enclose(codes, weights, centres, radii)``: with differences of codes multiplied by
    ``weights``, float32, (bands,), no pixel of a tile lies farther from its centre than its
    radius; ``centres`` are codes, (tiles, bands), ``radii`` float32, (tiles,).
    """
    all_bands = (0,) * bands
    types = f"void({dtype}[:, ::1], float32[::1], {dtype}[:, ::1], float32[::1])"
    # A square errs by some six roundings, the sum of them by one more for each band.
    rounded_up = 1.0 + (bands + 16) * 2.0**-24

    def kernel(codes, weights, centres, radii):
        last = codes.shape[1] - TILE
        for tile in range(radii.shape[0]):
            place = min(tile * TILE, last)
            square = enclose_tile(all_bands, codes, place, weights, centres, tile)
            radii[tile] = np.float32(np.sqrt(np.float64(square)) * rounded_up)

    kernel.__module__ = numba.__name__
    kernel.__qualname__ = kernel.__name__ = f"enclose_{dtype}_{bands}_bands_{VERSION}"
    compiled: Callable[..., None] = numba.njit(
        types, nogil=True, cache=True, fastmath=set(FLOAT_RULES), error_model="numpy"
    )(kernel)
    return compiled
