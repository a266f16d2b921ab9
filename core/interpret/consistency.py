"""How far two labellings of the same pixels agree, and which dates of a series to compare.

All measures come from a contingency table: integers, rows are classes of the first labelling,
columns of the second. They are computed in exact integers and rounded once.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from .assignment import best_matching
from .transitions import tally

_SEASON_DAYS = 30

Pair = tuple[int, int]
"""The places of two dates in a series, the earlier first."""


def contingency(first: np.ndarray, second: np.ndarray, classes: int) -> np.ndarray:
    """Return how many pixels have each pair of classes, int64 (classes, classes).

    Labels are integers, 1 to ``classes``, of any and equal shape; pixels that are 0 in either
    are left out.
    """
    first, second = np.asarray(first), np.asarray(second)
    if first.shape != second.shape:
        raise ValueError(f"labels have the shapes {first.shape} and {second.shape}.")
    for labels in (first, second):
        if labels.size and not 0 <= int(labels.min()) <= int(labels.max()) <= classes:
            raise ValueError(f"labels reach {labels.min()} to {labels.max()}, not 0 to {classes}.")
    return tally(first.reshape(-1), second.reshape(-1), classes).astype(np.int64)


def pair_tables(labels: Sequence[np.ndarray], pairs: Iterable[Pair], classes: int) -> np.ndarray:
    """Return the contingency table of each pair of dates, int64 (pairs, classes, classes)."""
    tables = [contingency(labels[first], labels[second], classes) for first, second in pairs]
    return np.array(tables, np.int64).reshape(-1, classes, classes)


def agreement(table: np.ndarray) -> float:
    """Return the share of pixels with the same class in both, 0 to 1; NaN without pixels."""
    return _ratio(int(np.trace(table)), int(table.sum()))


def kappa(table: np.ndarray) -> float:
    """Return Cohen's kappa: agreement beyond chance (Cohen 1960, doi 10.1177/001316446002000104).

    (p_o − p_e) / (1 − p_e), with p_e the agreement of independent labellings that have the
    classes as often. NaN without pixels, or where both give all pixels one and the same class.
    """
    total = int(table.sum())
    chance = _chance(table)
    return _ratio(total * int(np.trace(table)) - chance, total * total - chance)


def matched(table: np.ndarray) -> np.ndarray:
    """Return the table with columns moved so that the diagonal holds as many pixels as it can.

    That is after the best one-to-one matching of classes (Hungarian method). A table that is not
    square is filled up with empty classes first.
    """
    size = max(table.shape)
    square = np.zeros((size, size), np.int64)
    square[: table.shape[0], : table.shape[1]] = table
    used_rows = np.flatnonzero(square.any(axis=1))
    used_columns = np.flatnonzero(square.any(axis=0))
    inner = max(len(used_rows), len(used_columns))
    small = np.zeros((inner, inner), np.int64)
    small[: len(used_rows), : len(used_columns)] = square[np.ix_(used_rows, used_columns)]
    order = best_matching(small)
    # Empty classes take the rows and columns that are left over, in their order.
    rows = [*used_rows, *np.setdiff1d(np.arange(size), used_rows)]
    columns = [*used_columns, *np.setdiff1d(np.arange(size), used_columns)]
    of_row = np.empty(size, np.int64)
    of_row[rows[:inner]] = np.array(columns, np.int64)[order]
    of_row[rows[inner:]] = columns[inner:]
    return square[:, of_row]


def matched_agreement(table: np.ndarray) -> float:
    """Return the agreement after the best one-to-one matching of classes, 0 to 1.

    What it has over :func:`agreement`, the drift, is what relabelling one of the two could win:
    classes that are there, but have wandered to other numbers.
    """
    return agreement(matched(table))


def adjusted_rand(table: np.ndarray) -> float:
    """Return the adjusted Rand index (Hubert & Arabie 1985, doi 10.1007/BF01908075).

    How far pairs of pixels are together, or apart, in both labellings, beyond chance; what the
    classes are called does not matter. 1 for equal partitions, NaN without pixels.
    """
    total = int(table.sum())
    if total == 0:
        return math.nan
    both = sum(map(_pairs_in, table.reshape(-1).tolist()))
    first = sum(map(_pairs_in, table.sum(axis=1).tolist()))
    second = sum(map(_pairs_in, table.sum(axis=0).tolist()))
    pairs = _pairs_in(total)
    rest = (first + second) * pairs - 2 * first * second
    # Both put all pixels into one class, or each into its own: the partitions are equal.
    return 2 * (both * pairs - first * second) / rest if rest else 1.0


def class_agreement(table: np.ndarray) -> np.ndarray:
    """Return each class's specific agreement, float64 (classes,); NaN for a class without pixels.

    2 n_cc / (n_c. + n_.c): of the pixels that have the class in one labelling, the share that
    have it in the other, over both (Dice 1945, doi 10.2307/1932409).
    """
    margins = table.sum(axis=0) + table.sum(axis=1)
    with np.errstate(invalid="ignore"):
        return 2.0 * np.diagonal(table) / margins


def class_kappa(table: np.ndarray) -> np.ndarray:
    """Return Cohen's kappa of each class against all others together, float64 (classes,)."""
    total, found = int(table.sum()), []
    for both, first, second in zip(
        np.diagonal(table).tolist(), table.sum(axis=1).tolist(), table.sum(axis=0).tolist()
    ):
        rest = total - first - second + both
        found.append(kappa(np.array([[both, first - both], [second - both, rest]], object)))
    return np.array(found, np.float64)


@dataclass(frozen=True)
class Scores:
    """How far two or more labellings agree. NaN where a measure is not defined."""

    pixels: int
    agreement: float
    kappa: float
    matched: float
    drift: float
    ari: float


def score(table: np.ndarray) -> Scores:
    """Return all measures of one table."""
    pixels, same = int(table.sum()), int(np.trace(table))
    best = int(np.trace(matched(table)))
    return Scores(
        pixels=pixels,
        agreement=_ratio(same, pixels),
        kappa=kappa(table),
        matched=_ratio(best, pixels),
        drift=_ratio(best - same, pixels),
        ari=adjusted_rand(table),
    )


def pool(tables: Sequence[np.ndarray], scores: Sequence[Scores] | None = None) -> Scores:
    """Return the measures of many pairs of dates together, each pixel of each pair counting once.

    Agreement and kappa are those of the sum of the tables. Classes are matched for each pair by
    itself, so ``matched`` is the sum of the pairs' matched pixels over all pixels, and ``drift``
    what that has over ``agreement``. ``ari`` is the mean of the pairs', weighted by pixels.
    """
    scores = [score(table) for table in tables] if scores is None else scores
    if not len(tables):
        return Scores(0, math.nan, math.nan, math.nan, math.nan, math.nan)
    whole = np.sum(tables, axis=0, dtype=np.int64)
    pixels, same = int(whole.sum()), int(np.trace(whole))
    best = sum(round(item.matched * item.pixels) for item in scores if item.pixels)
    indices = math.fsum(item.ari * item.pixels for item in scores if item.pixels)
    return Scores(
        pixels=pixels,
        agreement=_ratio(same, pixels),
        kappa=kappa(whole),
        matched=_ratio(best, pixels),
        drift=_ratio(best - same, pixels),
        ari=indices / pixels if pixels else math.nan,
    )


def near_pairs(dates: int, max_gap: int) -> list[Pair]:
    """Return all pairs of dates at most ``max_gap`` acquisitions apart; 1 is the next one."""
    return [
        (first, second)
        for first in range(dates)
        for second in range(first + 1, min(first + max_gap + 1, dates))
    ]


def season_pairs(dates: Sequence[dt.date]) -> list[Pair]:
    """Return each date with the one nearest to a year later, if there is one within 30 days.

    Dates ascend; of two that are equally near, it is the earlier.
    """
    found = []
    for first, date in enumerate(dates):
        later = range(first + 1, len(dates))
        apart = {second: abs((dates[second] - _anniversary(date)).days) for second in later}
        second = min(later, key=apart.__getitem__, default=first)
        if second != first and apart[second] <= _SEASON_DAYS:
            found.append((first, second))
    return found


def _anniversary(date: dt.date) -> dt.date:
    try:
        return date.replace(year=date.year + 1)
    except ValueError:  # the 29th of February
        return date.replace(year=date.year + 1, day=28)


def _chance(table: np.ndarray) -> int:
    """Return the square of the pixels times the agreement expected by chance, exactly."""
    rows, columns = table.sum(axis=1).tolist(), table.sum(axis=0).tolist()
    return sum(first * second for first, second in zip(rows, columns))


def _pairs_in(count: int) -> int:
    return count * (count - 1) // 2


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else math.nan  # integers: rounded once
