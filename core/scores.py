"""Centres to integer scores: the one definition of which class is nearest.

score_j(x) = n_j − Σ_b q_jb · (x_b − m_b), with integer q, n and mid-points m, is the squared
distance of a pixel's codes x to centre j, less what all classes share, on a scale that keeps
every partial sum below 2^53 for every code there is. So float64 and int64 evaluate it exactly,
in any order, on any machine. A pixel's class is the lowest j with the smallest score.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from .codes import CodeGrid, CodeStatistics

EXACT = 2.0**53
"""Above every partial sum of scores: whole numbers below it are exact in float64."""
NEVER = 1 << 53
"""Score of a dropped class: above every score of a class in use."""
FINEST = 2.0**500  # for centres that all but lie at the mid-points


class Scaling(enum.Enum):
    """What makes bands alike before distances are taken, in the order of the SCALING parameter."""

    NONE = "none"
    MINMAX = "minmax"
    ZSCORE = "zscore"


@dataclass(frozen=True)
class Scores:
    """Integer coefficients for each scene.

    ``q`` has shape (scenes, classes, bands), ``n`` (scenes, classes), ``midpoints`` (bands,);
    all int64. ``scales``, float64 (scenes,), are the powers of two that squared distances were
    multiplied by.
    """

    q: np.ndarray
    n: np.ndarray
    midpoints: np.ndarray
    scales: np.ndarray

    @property
    def classes(self) -> int:
        """Number of classes."""
        return int(self.q.shape[1])

    def same_as(self, other: Scores) -> bool:
        """Return whether others give every pixel the same label, for they are the same."""
        return all(
            np.array_equal(mine, theirs)
            for mine, theirs in (
                (self.q, other.q),
                (self.n, other.n),
                (self.midpoints, other.midpoints),
            )
        )


@dataclass(frozen=True)
class FeatureSpace:
    """Where distances are measured: codes of each band about a mid-point, weighted.

    Centres are float64, shape (classes, bands), in codes from the mid-points. ``units`` say how
    much of each band, in the input's units, counts as a distance of 1.
    """

    code_grids: tuple[CodeGrid, ...]
    midpoints: tuple[int, ...]
    units: tuple[float, ...]

    @classmethod
    def of(
        cls, code_grids: Sequence[CodeGrid], statistics: Sequence[CodeStatistics]
    ) -> FeatureSpace:
        """Return the space of a series: mid-points are the medians, and nothing is scaled."""
        middles = tuple(item.median for item in statistics)
        return cls(tuple(code_grids), middles, (1.0,) * len(middles))

    def scaled(self, codes: Sequence[float]) -> FeatureSpace:
        """Return the space where so many codes of each band count as 1; 0 leaves it as it is."""
        lengths = zip(self.code_grids, codes)
        units = tuple(length * grid.step if length else 1.0 for grid, length in lengths)
        return replace(self, units=units)

    @property
    def steps(self) -> np.ndarray:
        """Distance between two codes of each band, float64."""
        return np.array([grid.step / unit for grid, unit in zip(self.code_grids, self.units)])

    @property
    def weights(self) -> np.ndarray:
        """Weight of each band in squared distances, float64."""
        return self.steps * self.steps

    def scale(self, centres: np.ndarray) -> float:
        """Return the largest power of two that keeps every partial sum below 2^53.

        The centres have a say, not the codes' reach alone: a scaled band of few values, such as 0
        and 1, weighs much, and its reach squared would leave the other bands no digits.
        """
        reach = np.array([grid.reach for grid in self.code_grids], np.float64)
        largest = np.abs(centres).max(axis=0, initial=0.0)
        # c² + 2|c x| with |x| ≤ reach; rounding q adds up to half of |x|, n half of 1.
        most = math.fsum((self.weights * largest * (largest + 2.0 * reach)).tolist())
        room = EXACT - math.fsum((0.5 * reach).tolist()) - 1.0
        scale = 2.0 ** math.floor(math.log2(min(room / most, FINEST))) if most else 1.0
        return scale if scale * most < room else scale / 2.0

    def scores(self, centres: np.ndarray, active: np.ndarray, scenes: int) -> Scores:
        """Return the scores of centres; classes that are not active are never chosen."""
        reach = np.array([grid.reach for grid in self.code_grids], np.float64)
        bounded = np.where(active[:, None], np.clip(centres, -reach, reach), 0.0)
        scale, weights = self.scale(bounded), self.weights
        q = np.rint(2.0 * scale * weights * bounded).astype(np.int64)
        squares = weights * bounded * bounded
        n = np.array([round(scale * math.fsum(row)) for row in squares.tolist()], np.int64)
        q[~active], n[~active] = 0, NEVER
        return Scores(
            np.repeat(q[None], scenes, axis=0),
            np.repeat(n[None], scenes, axis=0),
            np.array(self.midpoints, np.int64),
            np.full(scenes, scale),
        )

    def values(self, centres: np.ndarray) -> np.ndarray:
        """Return centres in the input's units."""
        planes = [
            (centres[:, band] + (self.midpoints[band] + grid.shift)) * grid.step
            for band, grid in enumerate(self.code_grids)
        ]
        return np.stack(planes, axis=1)

    def centres(self, values: np.ndarray) -> np.ndarray:
        """Return values in the input's units, shape (classes, bands), as centres."""
        planes = [
            np.asarray(values[:, band], np.float64) / grid.step
            - (self.midpoints[band] + grid.shift)
            for band, grid in enumerate(self.code_grids)
        ]
        return np.stack(planes, axis=1)

    def means(self, sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Return the centres of classes from code sums (classes, bands) and counts; NaN if empty.

        Each is one division of exact integers, so it does not depend on how codes are shifted.
        """
        midpoints = np.array(self.midpoints, np.int64)
        moved = sums - counts[:, None] * midpoints
        with np.errstate(invalid="ignore", divide="ignore"):
            return moved / counts[:, None].astype(np.float64)

    def inertia(
        self,
        centres: np.ndarray,
        sums: np.ndarray,
        counts: np.ndarray,
        totals: Sequence[tuple[int, int]],
    ) -> float:
        """Return the sum of squared distances to the classes' centres.

        ``totals`` are the sums of each band's codes and of their squares. Exact up to one
        rounding: Σ w (Σ x² − 2 Σ_j c_j S_j + Σ_j N_j c_j²) in rationals.
        """
        total = Fraction(0)
        pixels = int(counts.sum())
        for band, (middle, weight) in enumerate(zip(self.midpoints, self.weights.tolist())):
            total_codes, total_squares = totals[band]
            squares = total_squares - 2 * middle * total_codes + pixels * middle**2
            part = Fraction(squares)
            for row in np.flatnonzero(counts):
                centre, count = Fraction(float(centres[row, band])), int(counts[row])
                part += centre * (count * centre - 2 * (int(sums[row, band]) - middle * count))
            total += Fraction(weight) * part
        return float(total)
