"""The kernels of the parallel backend that label pixels and keep sums, compiled once for each
number of bands."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numba
import numpy as np

from ..scores import NEVER
from . import numba_ir, numba_middles, numba_pairs, numba_vectors
from .base import UNLABELLED
from .numba_ir import FLOAT_RULES, TILE
from .numba_middles import enclose_tile, fetch_tile, near_classes, score_middle
from .numba_pairs import FARTHEST_PRODUCT, score_pairs
from .numba_vectors import (
    count_bits,
    lowest_bit,
    move_pixel,
    nearest_exactly,
    score_tile,
    sum_columns,
    unlike,
)

# Pixels whose new classes are found before the sums are touched: their codes stay in the L1 cache.
_STRIP = 512
_TILES = _STRIP // TILE
# Places of changed pixels are listed so many at a time, without a branch for each.
_AT_ONCE = 4
# Bits of a word that says which classes to look at.
_WORD = 64
_NEVER = float(NEVER)
_FARTHEST_LIMIT = np.float32(FARTHEST_PRODUCT)
_VERSION = numba_ir.version(numba_ir, numba_vectors, numba_middles, numba_pairs, NEVER, UNLABELLED)


@functools.cache
def assigning_kernel(bands: int, dtype: str) -> Callable[..., tuple[int, int]]:
    """Return the kernel for so many bands, compiled or from the disk cache.

    ``assign(codes, labels, midpoints, gap, middles, radii, classes, exact_q, exact_n, q, n, across,
    distances, pairs, terms, sums, counts)`` labels the pixels of a block and adds to the sums what
    changes; it returns how many changed, and how many classes were looked at for all tiles
    together, where those in pairs of bands count half. ``midpoints`` and ``middles`` have
    :func:`~.numba_middles.middle_columns`; from ``exact_q`` to ``terms`` they are of
    :class:`~.numba_coefficients.Coefficients`.
    """
    columns, all_bands = sum_columns(bands), (0,) * bands
    planes = f"{dtype}[:, ::1]"
    types = (
        f"UniTuple(int64, 2)({planes}, uint8[::1], int32[::1], float32, {planes}, float32[::1], "
        "int64, float64[:, ::1], float64[::1], float32[:, ::1], float32[::1], float32[:, ::1], "
        "float32[:, ::1], int32[:, ::1], float32[::1], int64[:, ::1], int64[::1])"
    )

    def kernel(
        codes, labels, midpoints, gap, middles, radii, classes, exact_q, exact_n, q, n, across,
        distances, pairs, terms, sums, counts,
    ):  # fmt: skip
        pixels = labels.shape[0]
        last = max(pixels - TILE, 0)
        found = np.empty(_STRIP, np.uint8)
        moved = np.empty(_TILES, np.uint64)
        doubtful = np.empty(_TILES, np.uint64)
        places = np.empty(_STRIP + _AT_ONCE, np.int64)
        # Two tables, taken in turn: neighbours often move alike, and would wait for one another.
        moves = np.zeros((2 * UNLABELLED, columns), np.int64)
        # Classes to look at, as bits: all, or for each tile those that may be near.
        words = (n.shape[0] + _WORD - 1) // _WORD
        everything = np.zeros(words, np.uint64)
        for j in range(classes):
            everything[j // _WORD] |= np.uint64(1) << np.uint64(j % _WORD)
        near = np.empty(_TILES * words, np.uint64)
        for i in range(_TILES * words):
            near[i] = everything[i % words]
        # Tiles that one class alone may be near, which it is, and the tiles to look at.
        alone, others = np.arange(_TILES), np.arange(_TILES)
        owner = np.empty(_TILES, np.uint8)
        # Scores of tiles' middles, also as integers, and how far these have to be apart; else −1.
        scores = np.empty((_TILES, n.shape[0]), np.float32)
        starts = np.empty((_TILES, n.shape[0]), np.int32)
        limits = np.full(_TILES, -1, np.int32)
        scale, slack, margin, farthest = terms[0], terms[1], terms[2], terms[3]
        low = 1
        while low < classes:
            low *= 2
        low -= 1
        changed, scored = 0, 0
        # No array gets another name in the loops: counting its users would cost as much as a class.
        for first in range(0, pixels, _STRIP):
            tiles = (min(_STRIP, pixels - first) + TILE - 1) // TILE
            any_moved, any_doubtful = np.uint64(0), np.uint64(0)
            listed, ones, fetched = tiles, 0, min(first, last)
            if pixels < TILE:
                moved[0], doubtful[0] = np.uint64(0), ~(~np.uint64(0) << np.uint64(pixels))
                listed, any_doubtful = 0, doubtful[0]
            elif radii.shape[0]:
                # Tiles are told apart first, without branches that could not be foreseen.
                listed = 0
                for tile in range(tiles):
                    place, number = min(first + tile * TILE, last), first // TILE + tile
                    label = labels[place + TILE // 2]
                    some, limits[tile] = classes, np.int32(-1)
                    is_known = label < classes and exact_n[label] != _NEVER
                    if is_known:
                        lowest = score_middle(
                            all_bands, across, n, middles, number, midpoints, scores, tile
                        )
                        some = near_classes(
                            scores, tile, np.int64(label), distances, radii[number],
                            np.float32(2.0) * gap, lowest, scale, starts, near, words,
                        )  # fmt: skip
                        limit = gap * scale + slack * radii[number] + margin
                        if radii[number] <= farthest and limit < _FARTHEST_LIMIT:
                            limits[tile] = np.int32(limit)
                    else:
                        for word in range(words):
                            near[tile * words + word] = everything[word]
                    scored += some if limits[tile] < 0 else some // 2
                    is_one = is_known and some == 1
                    owner[tile] = label
                    alone[ones], others[listed] = tile, tile
                    ones, listed = ones + is_one, listed + (not is_one)
                    fetched = fetched if is_one else place
                    fetch_tile(all_bands, codes, fetched)
            for i in range(ones):
                tile = alone[i]
                # The last tile begins within the one before it, whose pixels are left out.
                place = min(first + tile * TILE, last)
                fresh = ~np.uint64(0) << np.uint64(first + tile * TILE - place)
                moved[tile] = unlike(labels, place, owner[tile]) & fresh
                doubtful[tile] = np.uint64(0)
                any_moved |= moved[tile]
                for spot in range(tile * TILE, (tile + 1) * TILE if moved[tile] else 0):
                    found[spot] = owner[tile]
            for i in range(listed):
                tile = others[i]
                place = min(first + tile * TILE, last)
                fresh = ~np.uint64(0) << np.uint64(first + tile * TILE - place)
                if limits[tile] >= 0:
                    flags = score_pairs(
                        all_bands, codes, place, labels, middles, first // TILE + tile, pairs,
                        starts, classes, low, limits[tile], near, tile, words, found,
                    )  # fmt: skip
                else:
                    flags = score_tile(
                        all_bands, codes, place, labels, q, n, midpoints, gap, near, tile, words,
                        found,
                    )  # fmt: skip
                moved[tile], doubtful[tile] = flags[0] & fresh, flags[1] & fresh
                any_moved |= moved[tile]
                any_doubtful |= doubtful[tile]
            for tile in range(tiles if any_doubtful else 0):
                place, bits = min(first + tile * TILE, last), doubtful[tile]
                while bits:
                    i = lowest_bit(bits)
                    bits &= bits - np.uint64(1)
                    label = np.uint8(
                        nearest_exactly(all_bands, codes, place + i, exact_q, exact_n, midpoints)
                    )
                    found[tile * TILE + i] = label
                    bit = np.uint64(1) << np.uint64(i)
                    is_other = label != labels[place + i]
                    moved[tile] = moved[tile] | bit if is_other else moved[tile] & ~bit
                any_moved |= moved[tile]
            # Which pixels change cannot be foreseen: their places are listed with few branches.
            count = 0
            for tile in range(tiles if any_moved else 0):
                bits = moved[tile]
                end = count + count_bits(bits)
                for i in range(count, count + _AT_ONCE):
                    places[i] = tile * TILE + lowest_bit(bits)
                    bits &= bits - np.uint64(1)
                count += _AT_ONCE
                while bits:
                    for i in range(count, count + _AT_ONCE):
                        places[i] = tile * TILE + lowest_bit(bits)
                        bits &= bits - np.uint64(1)
                    count += _AT_ONCE
                count = end
            for i in range(count):
                spot = places[i]
                place = min(first + spot // TILE * TILE, last) + spot % TILE
                table = i % 2 * UNLABELLED
                old, new = np.int64(labels[place]), np.int64(found[spot])
                labels[place] = found[spot]
                source = old + table if old != UNLABELLED else np.int64(-1)
                move_pixel(all_bands, codes, place, moves, new + table, source)
            changed += count
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
    kernel.__qualname__ = kernel.__name__ = f"assign_{dtype}_{bands}_bands_{_VERSION}"
    compiled: Callable[..., tuple[int, int]] = numba.njit(
        types, nogil=True, cache=True, fastmath=set(FLOAT_RULES), error_model="numpy"
    )(kernel)
    return compiled


@functools.cache
def enclosing_kernel(bands: int, dtype: str) -> Callable[..., None]:
    """Return the kernel that encloses each tile's pixels in a ball.

    ``enclose(codes, weights, middles, radii)``: with differences of codes multiplied by
    ``weights``, float32, (bands,), no pixel of a tile lies farther from its middle than its
    radius; ``middles`` are codes, (tiles, bands or more), ``radii`` float32, (tiles,).
    """
    all_bands = (0,) * bands
    types = f"void({dtype}[:, ::1], float32[::1], {dtype}[:, ::1], float32[::1])"
    # A square errs by some six roundings, the sum of them by one more for each band.
    rounded_up = 1.0 + (bands + 16) * 2.0**-24

    def kernel(codes, weights, middles, radii):
        last = codes.shape[1] - TILE
        for tile in range(radii.shape[0]):
            place = min(tile * TILE, last)
            square = enclose_tile(all_bands, codes, place, weights, middles, tile)
            radii[tile] = np.float32(np.sqrt(np.float64(square)) * rounded_up)

    kernel.__module__ = numba.__name__
    kernel.__qualname__ = kernel.__name__ = f"enclose_{dtype}_{bands}_bands_{_VERSION}"
    compiled: Callable[..., None] = numba.njit(
        types, nogil=True, cache=True, fastmath=set(FLOAT_RULES), error_model="numpy"
    )(kernel)
    return compiled
