"""What the numbers of a band mean, and how the scenes of a run are brought to one meaning."""

from __future__ import annotations

import enum
import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from ..errors import SeriesError

REFLECTANCE_SCALE = 0.0001
# A channel beyond this (micrometres) measures heat, not reflected light.
_REFLECTED_UNTIL = 3.0
# Index values are stored as ten-thousandths; unsigned types hold them from 10,000 to 30,000.
_INDEX_SCALE, _INDEX_OFFSET = 0.0001, -2.0


class Radiometry(enum.Enum):
    """What the prepared bands hold, in the order of the RADIOMETRY parameter."""

    NUMBERS = "numbers"
    REFLECTANCE = "reflectance"


@dataclass(frozen=True)
class Numbers:
    """A band's numbers: their type, and what they mean, scale · number + offset."""

    dtype: str
    scale: float
    offset: float
    nodata: float | None
    wavelength: float | None = None

    @property
    def meaning(self) -> tuple[float, float]:
        """Scale and offset."""
        return self.scale, self.offset

    def check_reflectance(self, band: str) -> None:
        """Raise SeriesError where it is not known how numbers become surface reflectance."""
        if self.wavelength is not None and self.wavelength > _REFLECTED_UNTIL:
            raise SeriesError(
                f"band '{band}' measures heat, not reflectance: leave it out with BANDS, or keep "
                "the numbers as they are"
            )
        if self.meaning == (1.0, 0.0) and np.dtype(self.dtype).kind in "iu":
            raise SeriesError(
                f"band '{band}' has no scale, so its reflectance is not known: keep the numbers as "
                "they are"
            )


def can_agree(bands: Sequence[Sequence[Numbers]]) -> bool:
    """Return whether whole numbers, added or not, make all scenes mean the same.

    ``bands`` has the numbers of each scene's band, one sequence for each output band.
    """
    return None not in [_meaning(scenes) for scenes in bands]


def differ(bands: Sequence[Sequence[Numbers]]) -> bool:
    """Return whether scenes mean different things by the numbers of a band."""
    return any(len(_distinct(scenes)) > 1 for scenes in bands)


def common_numbers(
    bands: Sequence[Sequence[Numbers]], radiometry: Radiometry, indices: bool
) -> list[Numbers]:
    """Return what each output band holds, given as for :func:`can_agree`, which must be so.

    All output bands have one type and nodata value, as GeoTIFFs do; indices stored beside them
    need 16 bits. Numbers stay as they are where all scenes mean the same by them. Those of
    scenes that differ (Sentinel-2 before and after processing baseline 04.00) are to be shifted
    to the largest offset, which for Sentinel-2 is none.
    """
    if radiometry is Radiometry.REFLECTANCE:
        return [Numbers("int16", REFLECTANCE_SCALE, 0.0, -32768.0) for _ in bands]
    every = [numbers for scenes in bands for numbers in scenes]
    dtype = _common_type(every, indices)
    nodata = _common_nodata(every, dtype)
    meanings = [_meaning(scenes) for scenes in bands]
    return [Numbers(dtype, *meaning, nodata) for meaning in meanings if meaning is not None]


def index_numbers(beside: Numbers) -> Numbers:
    """Return how an index is stored in a raster whose bands hold ``beside``."""
    dtype = np.dtype(beside.dtype)
    if dtype.kind == "f":
        return replace(beside, scale=1.0, offset=0.0)
    offset = _INDEX_OFFSET if dtype.kind == "u" else 0.0
    return replace(beside, scale=_INDEX_SCALE, offset=offset)


def encode(values: np.ndarray, source: Numbers, target: Numbers) -> np.ndarray:
    """Return a source's numbers as the target's, in its type; halves are rounded up.

    What does not fit takes the nearest number that does, and none becomes the target's nodata.
    """
    same = source.meaning == target.meaning and source.nodata == target.nodata
    if same and np.can_cast(values.dtype, target.dtype):
        return values.astype(target.dtype, copy=False)
    if values.dtype.kind in "iu" and values.dtype.itemsize <= 2:
        return _table(values.dtype.name, source, target)[_index(values)]
    shift = (source.offset - target.offset) / target.scale
    return _fit(values.astype(np.float64) * (source.scale / target.scale) + shift, target)


def reflectance(values: np.ndarray, source: Numbers) -> np.ndarray:
    """Return what numbers mean, float64."""
    return np.asarray(values.astype(np.float64) * source.scale + source.offset)


def store(meant: np.ndarray, target: Numbers) -> np.ndarray:
    """Return numbers that mean the float64 values given, in the target's type."""
    return _fit((meant - target.offset) / target.scale, target)


def _distinct(scenes: Sequence[Numbers]) -> list[tuple[float, float]]:
    """Return the meanings that differ by more than the rounding of their digits."""
    found: list[tuple[float, float]] = []
    for numbers in scenes:
        if not any(_same(numbers.meaning, other) for other in found):
            found.append(numbers.meaning)
    return found


def _same(first: tuple[float, float], second: tuple[float, float]) -> bool:
    return all(math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12) for a, b in zip(first, second))


def _meaning(scenes: Sequence[Numbers]) -> tuple[float, float] | None:
    """Return the scale and offset that a band's scenes can share in whole numbers, if any."""
    scale, offset = max(_distinct(scenes), key=lambda meaning: meaning[1])
    for other_scale, other in _distinct(scenes):
        steps = (offset - other) / scale
        if not math.isclose(other_scale, scale, rel_tol=1e-9) or abs(steps - round(steps)) > 1e-6:
            return None
    return scale, offset


def _common_type(numbers: Sequence[Numbers], indices: bool) -> str:
    dtype = np.result_type(*(np.dtype(item.dtype) for item in numbers))
    if dtype.itemsize == 1 and (indices or dtype.kind == "i"):
        dtype = np.result_type(dtype, np.uint16 if dtype.kind == "u" else np.int16)
    if dtype.kind in "iu" and dtype.itemsize > 4:  # older GDAL has no such rasters
        dtype = np.dtype(np.float64)
    return str(dtype.name)


def _common_nodata(numbers: Sequence[Numbers], dtype: str) -> float:
    """Return the nodata value that all bands share; else a value at the end of the type."""
    known = {item.nodata for item in numbers}
    (first, *others) = known
    shared = None if others else first
    if np.dtype(dtype).kind == "f":
        return math.nan if shared is None else shared
    limits = np.iinfo(dtype)
    fits = shared is not None and shared.is_integer() and limits.min <= shared <= limits.max
    return shared if shared is not None and fits else float(limits.min)


def _fit(numbers: np.ndarray, target: Numbers) -> np.ndarray:
    """Round to the target's type; keep off its nodata."""
    dtype = np.dtype(target.dtype)
    if dtype.kind == "f":
        fitted = numbers.astype(dtype)
        if target.nodata is not None:
            taken = fitted == dtype.type(target.nodata)
            fitted[taken] = np.nextafter(dtype.type(target.nodata), dtype.type(np.inf))
        return fitted
    low, high = _limits(target)
    fitted = np.clip(np.floor(numbers + 0.5), low, high).astype(dtype)
    fitted[fitted == target.nodata] += 1
    return np.asarray(fitted)


def _limits(target: Numbers) -> tuple[int, int]:
    """Return the lowest and highest number that is valid."""
    limits = np.iinfo(target.dtype)
    low, high = int(limits.min), int(limits.max)
    return low + (low == target.nodata), high - (high == target.nodata)


def _index(values: np.ndarray) -> np.ndarray:
    """Return values of 8 or 16 bits as places in a table of all of them."""
    return values.view(f"u{values.dtype.itemsize}")


@functools.lru_cache(maxsize=64)
def _table(dtype: str, source: Numbers, target: Numbers) -> np.ndarray:
    """Return what each number of 8 or 16 bits becomes, by exact arithmetic on their decimals."""
    unsigned = np.arange(1 << 8 * np.dtype(dtype).itemsize, dtype=f"u{np.dtype(dtype).itemsize}")
    numbers = unsigned.view(dtype).tolist()
    if np.dtype(target.dtype).kind == "f":
        meant = reflectance(np.array(numbers), source)
        table = _fit((meant - target.offset) / target.scale, target)
    else:
        scale = Fraction(repr(target.scale))
        gain = Fraction(repr(source.scale)) / scale
        shift = (Fraction(repr(source.offset)) - Fraction(repr(target.offset))) / scale
        low, high = _limits(target)
        # Half up, in integers: floor((2 · numerator + denominator) / (2 · denominator)).
        whole = gain.denominator * shift.denominator
        per, plus = gain.numerator * shift.denominator, shift.numerator * gain.denominator
        rounded = ((2 * (number * per + plus) + whole) // (2 * whole) for number in numbers)
        table = np.array([min(max(item, low), high) for item in rounded]).astype(target.dtype)
        table[table == target.nodata] += 1
    table.setflags(write=False)
    return table
