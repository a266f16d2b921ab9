"""Pixels that did not change between two dates: iteratively reweighted alteration detection.

Nielsen (2007), doi 10.1109/TIP.2006.888195; for normalisation Canty & Nielsen (2008),
doi 10.1016/j.rse.2007.07.013. Everything that is added up over pixels is a whole number small
enough for float64 to be exact, so no order of adding, and no library, changes a result.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

LARGEST = 1 << 14
"""Largest value, either way, of a pixel given to this module."""
MOST_PLACES = 1 << 16
INVARIANT = 0.95
"""No-change probability above which a pixel is held to be invariant."""

_WEIGHT = 1 << 7
_ITERATIONS = 50
_FEW = 1 << 12
_SETTLED = 1e-3
# Variances are of rounded numbers: so much is added to each, and no correlation is taken for
# closer to 1 than this.
_ROUNDING = 1.0
_LEAST_VARIANCE = 2.0**-20


def chi_square_survival(values: np.ndarray, freedom: int) -> np.ndarray:
    """Return the probability that chi-square with ``freedom`` degrees exceeds each value ≥ 0.

    The finite sums of Abramowitz & Stegun (1964), 26.4.4 and 26.4.5. float64, as ``values``.
    """
    half = np.minimum(np.asarray(values, np.float64), 1400.0) / 2.0
    decay = np.exp(-half)
    if freedom % 2:
        flat = np.sqrt(half).ravel().tolist()
        total = np.array([math.erfc(value) for value in flat]).reshape(half.shape)
        term, order = decay * np.sqrt(half) / math.gamma(1.5), 1.5
    else:
        total, term, order = np.zeros_like(half), decay, 1.0
    for _ in range(freedom // 2):
        total = total + term
        term = term * (half / order)
        order += 1.0
    return np.minimum(total, 1.0)


def no_change(first: np.ndarray, second: np.ndarray, start: np.ndarray | None = None) -> np.ndarray:
    """Return the probability that each pixel did not change between two dates.

    Both are whole numbers from −LARGEST to LARGEST, shape (bands, pixels), of at most
    MOST_PLACES pixels. Gains, offsets and mixtures of bands do not matter. The differences of
    canonical variates (MAD) are measured by their variances among the pixels that did not
    change; iterated until the canonical correlations move by at most 0.001.

    A pixel's weight is its no-change probability, as with Nielsen. Weighting so makes variances
    smaller, even where nothing changed; here that is made good by the factor it has for normal
    differences. Without it the weights of one or two bands shrink onto a few pixels.
    ``start`` are probabilities to begin with, (pixels,); None: all are 1.
    """
    data = np.concatenate([first, second]).astype(np.float64)
    bands, pixels = first.shape
    if not (pixels <= MOST_PLACES and np.abs(data).max(initial=0.0) <= LARGEST):
        raise ValueError(f"{pixels} pixels of up to {np.abs(data).max(initial=0.0)}: too many.")
    if not bands or not pixels:
        return np.ones(pixels)
    if start is None:
        start = np.ones(pixels)
        step = pixels // _FEW
        if step > 1:  # begin with an even part of the pixels
            part = _settled(np.ascontiguousarray(data[:, ::step]), start[::step])
            start = part.no_change(data)
    return _settled(data, start).no_change(data)


@dataclass(frozen=True)
class _Measure:
    """Means of both dates' bands, coefficients of their canonical variates, and variances."""

    means: np.ndarray
    left: np.ndarray
    right: np.ndarray
    variances: np.ndarray

    def no_change(self, data: np.ndarray) -> np.ndarray:
        """Return the no-change probabilities of pixels: both dates' bands, (2 · bands, pixels)."""
        bands = len(self.variances)
        differences = _mixed(self.left, data[:bands] - self.means[:bands, None])
        differences -= _mixed(self.right, data[bands:] - self.means[bands:, None])
        squares = np.zeros(data.shape[1])
        for difference, variance in zip(differences, self.variances.tolist()):
            squares += difference * difference / variance
        return chi_square_survival(squares, bands)


def _settled(data: np.ndarray, start: np.ndarray) -> _Measure:
    """Iterate from no-change probabilities ``start`` until the correlations settle."""
    bands = len(data) // 2
    probability, settled, shrinkage = start, np.zeros(bands), _shrinkage(bands)
    if (start == 1.0).all():
        shrinkage = 1.0
    for _ in range(_ITERATIONS):
        weights = np.rint(probability * _WEIGHT)
        if not weights.any():  # all changed: measured by all
            weights, shrinkage = np.ones(len(start)), 1.0
        means, covariances = _moments(data, weights)
        left, right, correlations = _canonical(covariances, bands)
        variances = np.maximum(2.0 * (1.0 - correlations), _LEAST_VARIANCE) / shrinkage
        measure = _Measure(means, left, right, variances)
        if np.abs(correlations - settled).max() <= _SETTLED:
            break
        probability, settled = measure.no_change(data), correlations
        shrinkage = _shrinkage(bands)
    return measure


@dataclass(frozen=True)
class Line:
    """second = gain · first + offset, and how well it fits.

    ``correlation`` is that of the pixels, ``residual`` the root mean square of their distances
    from the line.
    """

    gain: float
    offset: float
    correlation: float
    residual: float


def orthogonal_line(first: np.ndarray, second: np.ndarray) -> Line | None:
    """Return the line with the least squared distances from pixels; None if there is none.

    Whole numbers as in :func:`no_change`, shape (pixels,). There is no line if one of both is
    constant, or if they are not correlated positively.
    """
    x, y, count = first.astype(np.int64), second.astype(np.int64), len(first)
    sum_x, sum_y = int(x.sum()), int(y.sum())
    # Times the squared number of pixels, so that they are whole numbers.
    xx = count * int((x * x).sum()) - sum_x * sum_x
    yy = count * int((y * y).sum()) - sum_y * sum_y
    xy = count * int((x * y).sum()) - sum_x * sum_y
    if not (xx and yy and xy > 0):
        return None
    root = math.hypot(float(yy - xx), 2.0 * xy)
    # Of two equal expressions, the one without cancellation.
    gain = (yy - xx + root) / (2.0 * xy) if yy >= xx else 2.0 * xy / (xx - yy + root)
    # Nothing may be lost of a difference of sums: gain 1 of equal sums has offset 0.
    offset = ((sum_y - sum_x) - (gain - 1.0) * sum_x) / count
    smallest = max(0.0, (xx + yy - root) / 2.0)
    correlation = xy / math.sqrt(xx) / math.sqrt(yy)
    return Line(gain, offset, min(correlation, 1.0), math.sqrt(smallest) / count)


def _moments(data: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return weighted means and covariances of rows of whole numbers.

    The sums are exact: |weight · value · value| · pixels ≤ 2^(7 + 14 + 14 + 16).
    """
    weighted = data * weights
    total = float(weights.sum())
    means = weighted.sum(axis=1) / total
    return means, (weighted @ data.T) / total - np.outer(means, means)


def _canonical(covariances: np.ndarray, bands: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the canonical variates of both dates as rows of coefficients, and correlations."""
    padded = covariances + _ROUNDING * np.eye(2 * bands)
    inverses = [
        np.linalg.inv(np.linalg.cholesky(padded[rows, rows]))
        for rows in (slice(0, bands), slice(bands, None))
    ]
    left, correlations, right = np.linalg.svd(
        inverses[0] @ covariances[:bands, bands:] @ inverses[1].T
    )
    return left.T @ inverses[0], right @ inverses[1], np.clip(correlations, 0.0, 1.0)


def _mixed(coefficients: np.ndarray, planes: np.ndarray) -> np.ndarray:
    """Return a matrix product, added up from the first plane to the last on every machine."""
    mixed = np.zeros_like(planes)
    for row, result in zip(coefficients.tolist(), mixed):
        for coefficient, plane in zip(row, planes):
            result += coefficient * plane
    return mixed


def _shrinkage(bands: int) -> float:
    """Return what weighting by the no-change probability leaves of the differences' variances.

    For normal differences, 2 E[Q S(Q)] / bands with Q chi-square and S its survival function:
    the mean of min(Q, Q') of two, less what independence of both sides takes, in closed form.
    """
    # E[Q S(Q)] = E[Q; Q' > Q] = bands · P(Q'_bands > Q_(bands + 2)), a beta probability at 1/2.
    # I_1/2(a + 1, a) = 1/2 − 1 / (2^(2a) · a · B(a, a)), a = bands / 2.
    a = bands / 2.0
    log_beta = 2.0 * math.lgamma(a) - math.lgamma(2.0 * a)
    return 1.0 - 2.0 * math.exp(-2.0 * a * math.log(2.0) - math.log(a) - log_beta)
