"""Scores' coefficients in the forms that the kernels of the parallel backend take them in."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..scores import NEVER, Scores
from .numba_middles import LANES
from .numba_pairs import FARTHEST_PRODUCT, are_paired
from .numba_vectors import FARTHEST

_UNIT_ROUNDOFF = 2.0**-24
# Times this, a bound stays one when it is rounded to float32 and multiplied a few times.
_ROUNDED_UP = 1.0 + 2.0**-20
_LARGEST_SHORT = 32767
# Pairs have to serve balls of this radius; within tiles a band's differences are some 1 long.
_USUAL_RADIUS = 32.0


@dataclass(frozen=True)
class Coefficients:
    """Coefficients of all scenes, with rows of a score above all others after the classes.

    ``exact_q`` (scenes, bands, rows) and ``exact_n`` (scenes, rows), integers as float64; in
    float32 ``q`` (scenes, rows, bands), ``n`` (scenes, rows) and ``across`` (scenes, bands, rows).
    ``distances`` (scenes, classes, rows), float32, are those of classes' q, for balls, rounded up.
    ``pairs``, int32 (scenes, rows, bands / 2), and ``terms`` (scenes, 4): see :func:`_in_pairs`.
    """

    exact_q: np.ndarray
    exact_n: np.ndarray
    q: np.ndarray
    n: np.ndarray
    across: np.ndarray
    distances: np.ndarray
    pairs: np.ndarray
    terms: np.ndarray

    @classmethod
    def of(cls, scores: Scores, weights: np.ndarray | None, dtype: str) -> Coefficients:
        """Return those for codes of a dtype; ``weights``, (bands,), are the balls', or None."""
        scenes, classes, bands = scores.q.shape
        rows = -(-(classes + 1) // LANES) * LANES
        exact_q = np.zeros((scenes, bands, rows))
        exact_n = np.full((scenes, rows), FARTHEST)
        exact_q[:, :, :classes], exact_n[:, :classes] = scores.q.transpose(0, 2, 1), scores.n
        across = exact_q.astype(np.float32)
        return cls(
            exact_q,
            exact_n,
            np.ascontiguousarray(across.transpose(0, 2, 1)),
            np.where(exact_n == NEVER, FARTHEST, exact_n).astype(np.float32),
            across,
            *_for_balls(scores, weights, rows, dtype),
        )

    def of_scene(self, scene: int) -> tuple[np.ndarray, ...]:
        """Return a scene's, in the order of the fields."""
        return (
            self.exact_q[scene],
            self.exact_n[scene],
            self.q[scene],
            self.n[scene],
            self.across[scene],
            self.distances[scene],
            self.pairs[scene],
            self.terms[scene],
        )


def _for_balls(
    scores: Scores, weights: np.ndarray | None, rows: int, dtype: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return distances, pairs and terms, see :class:`Coefficients`."""
    scenes, classes, bands = scores.q.shape
    pairs = np.zeros((scenes, rows, -(-bands // 2)), np.int32)
    terms = np.tile(np.array([0.0, 0.0, 0.0, -1.0], np.float32), (scenes, 1))
    if weights is None:
        return np.zeros((scenes, 0, rows), np.float32), pairs, terms
    distances = np.zeros((scenes, classes, rows), np.float32)
    used = scores.n != NEVER
    for scene, each in enumerate(scores.q):
        before = max(scene - 1, 0)
        if scene and all(np.array_equal(x[scene], x[before]) for x in (scores.q, used)):
            for known in (distances, pairs, terms):
                known[scene] = known[before]
            continue
        distances[scene, :, :classes] = _distances(each / weights.astype(np.float64))
        if are_paired(bands, dtype):
            pairs[scene, :classes], terms[scene] = _in_pairs(each, used[scene], weights)
    return distances, pairs, terms


def _distances(points: np.ndarray) -> np.ndarray:
    """Return bounds of the distances between points, (points, bands), all of them at once.

    The squares are those of the points less twice their products, which err together by less than
    the largest square times twice as many roundings as there are bands and a few.
    """
    points = points - points.mean(axis=0)
    squares = (points * points).sum(axis=1)
    errors = squares.max() * (4 * points.shape[1] + 32) * 2.0**-53
    apart = squares[:, None] + squares - 2.0 * (points @ points.T)
    return np.asarray(np.sqrt(np.maximum(apart, 0.0) + errors) * _ROUNDED_UP)


def doubtful_gap(
    q: np.ndarray, n: np.ndarray, midpoints: np.ndarray, lowest: np.ndarray, highest: np.ndarray
) -> np.ndarray:
    """Return the gap between two float32 scores up to which their order is not certain: float32.

    Rounding q, x and n to float32 and adding up B products errs by at most γ(|n| + Σ|q||x|)
    with γ = (B + 3)u / (1 − (B + 3)u), u = 2^-24 (Higham 2002, Accuracy and Stability of
    Numerical Algorithms, section 3.1); ``lowest`` and ``highest`` codes, (bands,) or (blocks,
    bands), bound |x| in a block.
    """
    steps = (q.shape[1] + 3) * _UNIT_ROUNDOFF
    reach = np.maximum(np.abs(lowest - midpoints), np.abs(highest - midpoints))
    used = n != NEVER  # a dropped class's score is exact
    sizes = reach.astype(np.float64) @ np.abs(q[used].T).astype(np.float64) + np.abs(n[used])
    error = steps / (1.0 - steps) * sizes.max(axis=-1, initial=0.0)
    # Twice the error of one score; a little more covers rounding here and of the gap itself.
    rounded = (2.0 * error * (1.0 + 2.0**-18)).astype(np.float32)
    return np.asarray(np.nextafter(rounded, np.float32(np.inf)))


def _in_pairs(
    q: np.ndarray, used: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return −q rounded to 16 bits, two bands in an int32, and what scores with them are worth.

    Scores are multiplied by s, a power of two, to fit. In a tile of radius r around c, the
    integer score of a class is s (s_j(c) − least s(c)) + Σ p_jb (x_b − c_b), p being what is
    returned. Two of them err by no more than s · gap of float32, for s_j(c), plus 2 |s q − p| r
    (Cauchy-Schwarz, in the weighted bands of the balls), plus rounding to integers, plus the low
    bits, which the class's number takes. The terms, float32, are s, what is multiplied by r, what
    is added, and the largest r for which 16 bits hold the differences and 32 the sums.
    """
    classes, bands = q.shape
    if used.any():
        # Only differences matter: what all have in common is left out, so that steps are finer.
        q = q - (q[used].max(axis=0) + q[used].min(axis=0)) // 2
    q = np.where(used[:, None], q, 0)
    lengths = np.sqrt(((q / weights) ** 2).sum(axis=1)).max(initial=0.0)
    unit = max(np.abs(q).max() / _LARGEST_SHORT, lengths * _USUAL_RADIUS / FARTHEST_PRODUCT, 1.0)
    scale = 2.0 ** -math.ceil(math.log2(unit))
    narrow = np.zeros((classes, bands + bands % 2), np.int64)
    narrow[:, :bands] = -np.rint(q * scale)
    lost = (q * scale + narrow[:, :bands]) / weights
    lost_length = np.sqrt((lost**2).sum(axis=1)).max()
    longest = lengths * scale + lost_length
    by_radius = (2.0 * lost_length + 2.0**-21 * longest) * _ROUNDED_UP
    added = 8.0 + 2.0 * 2.0 ** math.ceil(math.log2(classes))
    farthest = min(FARTHEST_PRODUCT / max(longest, 1.0), _LARGEST_SHORT * float(weights.min()))
    terms = np.array([scale, by_radius, added, farthest / _ROUNDED_UP], np.float32)
    halves = narrow & 0xFFFF
    return (halves[:, ::2] | halves[:, 1::2] << 16).astype(np.uint32).view(np.int32), terms
