"""Codes: the integers that stand for a band's values, and exact statistics of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

_NARROW_LEVELS = 1 << 16
_WIDE_LEVELS = 1 << 26
_HISTOGRAM_BINS = 1 << 16
_WIDE_BIN = _WIDE_LEVELS // _HISTOGRAM_BINS
_WIDE_SHIFT = _WIDE_BIN.bit_length() - 1
# Squares are added up in two parts, so that sums of a block stay within 64 bits.
SQUARE_BITS = 20
# A float band's grid spans this share of its values, in ten-thousandths, widened fourfold.
_TAIL = 1
_WIDENING = 4
_ENOUGH = 1000
# Grids stay within float32, so that squares of steps stay within float64.
_FARTHEST = float(np.finfo(np.float32).max)
_FINEST = 2.0**-149


@dataclass(frozen=True)
class CodeGrid:
    """How one band is coded: value = (code + shift) · step, with step a power of two.

    A narrow grid has codes 0 to 65,535 in uint16. A wide one has codes −2^25 to 2^25 in int32,
    and values beyond it take the nearest code there is.
    """

    shift: int
    step: float
    wide: bool = False

    @property
    def lowest(self) -> int:
        """Smallest code."""
        return -_WIDE_LEVELS // 2 if self.wide else 0

    @property
    def highest(self) -> int:
        """Largest code."""
        return _WIDE_LEVELS // 2 if self.wide else _NARROW_LEVELS - 1

    @property
    def reach(self) -> int:
        """Largest distance between two codes."""
        return self.highest - self.lowest

    def encode(self, values: np.ndarray, dtype: np.dtype) -> tuple[np.ndarray, int]:
        """Return the codes of ``values`` (finite, any real dtype) and how many saturated."""
        if self.holds(values.dtype):
            return self._moved(values).astype(dtype, copy=False), 0
        if values.dtype.kind in "iu" and self.step == 1.0:
            codes = values.astype(np.int64) - self.shift
        else:
            codes = np.rint(values.astype(np.float64) / self.step) - float(self.shift)
        outside = int(np.count_nonzero((codes < self.lowest) | (codes > self.highest)))
        if outside:
            codes = np.clip(codes, self.lowest, self.highest)
        return codes.astype(dtype), outside

    def holds(self, dtype: np.dtype) -> bool:
        """Return whether every value of a dtype has a code of its own in a narrow grid."""
        if self.wide or self.step != 1.0 or dtype.kind not in "iu":
            return False
        ends = np.iinfo(dtype)
        return self.shift <= ends.min and ends.max <= self.shift + self.highest

    def _moved(self, values: np.ndarray) -> np.ndarray:
        """Return the codes, uint16, of values of a dtype that the grid holds."""
        codes = values.astype(np.uint16, copy=False)  # negative ones wrap, and moving wraps back
        return codes - np.uint16(self.shift % _NARROW_LEVELS) if self.shift else codes

    def values(self, codes: np.ndarray) -> np.ndarray:
        """Return the values, float64, that codes stand for; codes may have fractions."""
        return (np.asarray(codes, dtype=np.float64) + float(self.shift)) * self.step


def store_dtype(grids: Iterable[CodeGrid]) -> np.dtype:
    """Return the one dtype that holds the codes of all the bands."""
    return np.dtype(np.int32 if any(grid.wide for grid in grids) else np.uint16)


def grid_for_types(dtypes: Iterable[str]) -> CodeGrid | None:
    """Return the grid that holds every value of these dtypes, or None if data must decide."""
    found = set(dtypes)
    if found <= {"uint8", "uint16"}:
        return CodeGrid(0, 1.0)
    if found <= {"uint8", "int8", "int16"}:
        return CodeGrid(-(1 << 15), 1.0)
    return None


@dataclass(frozen=True)
class ValueRange:
    """What has to be known of a band's values to choose its grid; merges exactly.

    ``histogram`` counts float32 values by their upper 16 bits, put in ascending order.
    """

    minimum: float
    maximum: float
    integers: bool
    histogram: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> ValueRange:
        """Look at the finite values of one band in one block, shape (pixels,)."""
        if not values.size:
            return cls(math.inf, -math.inf, True, np.zeros(_HISTOGRAM_BINS, np.int64))
        bits = np.clip(values, -_FARTHEST, _FARTHEST).astype(np.float32).view(np.uint32)
        # Flipping all bits of negative numbers, and the sign of the others, sorts floats.
        keys = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31)) >> 16
        return cls(
            values.min().item(),
            values.max().item(),
            values.dtype.kind in "iu" or bool(np.all(values == np.rint(values))),
            np.bincount(keys, minlength=_HISTOGRAM_BINS),
        )

    def merge(self, other: ValueRange) -> ValueRange:
        """Return the range of both together."""
        return ValueRange(
            min(self.minimum, other.minimum),
            max(self.maximum, other.maximum),
            self.integers and other.integers,
            self.histogram + other.histogram,
        )

    def code_grid(self) -> CodeGrid:
        """Choose the grid: integers spanning at most 65,536 unchanged, others on a fine step."""
        if self.minimum > self.maximum:
            return CodeGrid(0, 1.0)
        if self.integers and self.maximum - self.minimum < _NARROW_LEVELS:
            for shift in (0, -(1 << 15)):
                if shift <= self.minimum and self.maximum < shift + _NARROW_LEVELS:
                    return CodeGrid(shift, 1.0)
            return CodeGrid(int(self.minimum), 1.0)
        low, high = self._most()
        span = max(high - low, 0.0) or abs(high) or 1.0
        step = 2.0 ** math.ceil(math.log2(max(_WIDENING * span / _WIDE_LEVELS, _FINEST)))
        return CodeGrid(round((low + high) / 2 / step), step, wide=True)

    def _most(self) -> tuple[float, float]:
        """Return bounds of the 0.01 to 99.99 percentile range, to the histogram's resolution."""
        cumulative = np.cumsum(self.histogram)
        total = int(cumulative[-1])
        # One more each side where that leaves enough, for a lone stray value in a small scene.
        tail = total * _TAIL // 10_000 + (total >= _ENOUGH)
        first = int(np.searchsorted(cumulative, tail, "right"))
        last = int(np.searchsorted(cumulative, total - tail))
        edges = np.array([first << 16, (last << 16) | 0xFFFF], np.uint32)
        bits = np.where(edges >> 31, edges & np.uint32(0x7FFFFFFF), ~edges)
        low, high = (float(value) for value in bits.view(np.float32))
        return max(low, self.minimum), min(high, self.maximum)


@dataclass(frozen=True)
class CodeStatistics:
    """Statistics of one band's codes over the series, exact but for a wide band's quantiles."""

    minimum: int
    maximum: int
    median: int
    low: int
    high: int
    total: int
    total_squares: int


@dataclass(frozen=True)
class CodeMoments:
    """The exact sums of one band's codes and of their squares."""

    total: int
    total_squares: int


class Moments(Protocol):
    """What has these sums."""

    @property
    def total(self) -> int: ...

    @property
    def total_squares(self) -> int: ...


CountCodes = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""A function that does what :func:`count_codes` does."""


def count_codes(
    codes: np.ndarray, lowest: np.ndarray, shifts: np.ndarray, histograms: np.ndarray
) -> np.ndarray:
    """Count a block's codes, (bands, pixels); there must be a pixel.

    A code counts in bin (code − ``lowest``) >> ``shifts`` of its band, the last one if there is
    none such; ``lowest`` and ``shifts`` are int64, (bands,), ``histograms`` int64, (bands,
    bins). Of bands that are shifted it returns more, as int64, (bands, 5): the minimum, the
    maximum and the sum of codes, and the sums of the upper and the lower part of their squares.
    """
    moments = np.zeros((len(codes), 5), np.int64)
    bins = histograms.shape[1]
    for band, (plane, shift) in enumerate(zip(codes, shifts)):
        keys = (plane - lowest[band]) >> shift if shift else plane
        histograms[band] += np.bincount(np.minimum(keys, bins - 1), minlength=bins)
        if shift:
            moments[band, :2] = plane.min(), plane.max()
            moments[band, 2:] = [part.sum() for part in _parts(plane.astype(np.int64))]
    return moments


class CodeTally:
    """Collects what :class:`CodeStatistics` needs, block by block; the order does not matter."""

    def __init__(self, grids: Sequence[CodeGrid], count: CountCodes = count_codes) -> None:
        self._grids, self._count = tuple(grids), count
        self.pixels = 0
        self._lowest = np.array([grid.lowest for grid in grids], np.int64)
        self._shifts = np.array([_WIDE_SHIFT * grid.wide for grid in grids], np.int64)
        self._histograms = np.zeros((len(grids), _HISTOGRAM_BINS), np.int64)
        self._extremes: list[tuple[int, int]] = [(1 << 40, -(1 << 40))] * len(grids)
        self._sums = [(0, 0)] * len(grids)

    def add(self, codes: np.ndarray) -> CodeTally:
        """Count a block's codes, shape (bands, pixels)."""
        if codes.shape[1]:
            self.pixels += codes.shape[1]
            found = self._count(codes, self._lowest, self._shifts, self._histograms)
            for band, (least, most, *sums) in enumerate(found.tolist()):
                if self._grids[band].wide:
                    self._extremes[band] = _wider(self._extremes[band], (least, most))
                    self._sums[band] = _added(self._sums[band], _whole(*sums))
        return self

    def counted(self, pixels: int) -> CodeTally:
        """Take a block whose codes were counted into :attr:`histograms`; no grid is wide."""
        self.pixels += pixels
        return self

    def merge(self, other: CodeTally) -> CodeTally:
        """Add what another tally counted."""
        self.pixels += other.pixels
        self._histograms += other._histograms
        pairs = zip(self._extremes, other._extremes)
        self._extremes = [_wider(mine, theirs) for mine, theirs in pairs]
        self._sums = [_added(mine, theirs) for mine, theirs in zip(self._sums, other._sums)]
        return self

    def as_plain(self) -> tuple[Any, ...]:
        """Return numbers and arrays, which take less room than a tally of few pixels."""
        bins = [np.flatnonzero(row) for row in self._histograms]
        counts = [row[used] for row, used in zip(self._histograms, bins)]
        return self.pixels, bins, counts, self._extremes, self._sums

    def add_plain(self, plain: tuple[Any, ...]) -> CodeTally:
        """Add what another tally counted, from :meth:`as_plain`."""
        other = CodeTally(self._grids)
        other.pixels, bins, counts, other._extremes, other._sums = plain
        for row, used, found in zip(other._histograms, bins, counts):
            row[used] = found
        return self.merge(other)

    @property
    def histograms(self) -> np.ndarray:
        """Counts of the codes of each band, int64 (bands, 65,536); of a wide band in even bins."""
        return self._histograms

    def statistics(self) -> tuple[CodeStatistics, ...]:
        """Return the statistics of each band; there must be a pixel."""
        return tuple(self._band(band) for band in range(len(self._grids)))

    def _band(self, band: int) -> CodeStatistics:
        counts, grid = self._histograms[band], self._grids[band]
        cumulative = np.cumsum(counts)
        quantiles = [
            int(np.searchsorted(cumulative * 100, self.pixels * percent))
            for percent in (16, 50, 84)
        ]
        if grid.wide:
            low, median, high = (grid.lowest + key * _WIDE_BIN for key in quantiles)
            (minimum, maximum), (total, squares) = self._extremes[band], self._sums[band]
        else:
            low, median, high = quantiles
            used = np.flatnonzero(counts)
            minimum, maximum = int(used[0]), int(used[-1])
            total, squares = _sums(used, counts[used])
        return CodeStatistics(minimum, maximum, median, low, high, total, squares)


def exact_moments(codes: np.ndarray) -> list[tuple[int, int]]:
    """Return the sums of the codes of each band, (bands, pixels), and of their squares.

    Of at most 2^30 pixels.
    """
    planes = (plane.astype(np.int64) for plane in codes)
    return [_whole(*(int(part.sum()) for part in _parts(plane))) for plane in planes]


def _wider(first: tuple[int, int], second: tuple[int, int]) -> tuple[int, int]:
    return min(first[0], second[0]), max(first[1], second[1])


def _added(first: tuple[int, int], second: tuple[int, int]) -> tuple[int, int]:
    return first[0] + second[0], first[1] + second[1]


def _sums(codes: np.ndarray, weights: np.ndarray) -> tuple[int, int]:
    """Return the exact sums of weighted codes and of their squares, of any size."""
    return _whole(*(int((part * weights).sum()) for part in _parts(codes)))


def _parts(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return codes, int64, and the upper and lower parts of their squares."""
    squares = codes * codes
    return codes, squares >> SQUARE_BITS, squares & ((1 << SQUARE_BITS) - 1)


def _whole(total: int, upper: int, lower: int) -> tuple[int, int]:
    """Return the sums of codes and of squares from those of the parts."""
    return total, (upper << SQUARE_BITS) + lower
