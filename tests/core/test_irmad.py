"""Alteration detection: its probabilities, its invariances, and the lines fitted to what stayed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2

from iikmc.core import irmad
from iikmc.core.irmad import INVARIANT, LARGEST, chi_square_survival, no_change, orthogonal_line


def two_dates(
    seed: int, bands: int, changed: float, pixels: int = 12_000
) -> tuple[np.ndarray, ...]:
    """Return whole numbers of two dates, both with noise, and which pixels changed."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(bands, bands)) + 2.0 * np.eye(bands)
    ground = 500.0 * mixing @ rng.normal(size=(bands, pixels))
    first, second = (ground + rng.normal(0.0, 60.0, ground.shape) for _ in range(2))
    moved = rng.random(pixels) < changed
    second[:, moved] += rng.normal(0.0, 3000.0, (bands, np.count_nonzero(moved)))
    first, second = (np.rint(np.clip(date, -LARGEST, LARGEST)) for date in (first, second))
    return first.astype(np.int64), second.astype(np.int64), moved


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 12, 33, 64])
def test_chi_square_is_scipys(freedom):
    values = np.concatenate([[0.0, 1e-12], np.linspace(0.01, 200.0, 3001), [1400.0, 1e9]])
    np.testing.assert_allclose(
        chi_square_survival(values, freedom), chi2.sf(values, freedom), rtol=1e-11, atol=1e-200
    )


@pytest.mark.parametrize("bands", [1, 2, 3, 5, 8])
def test_weighting_shrinks_normal_variances_by_the_factor_that_is_made_good(bands):
    normal = np.random.default_rng(bands).normal(size=(bands, 400_000))
    weights = chi2.sf((normal**2).sum(axis=0), bands)
    found = (weights * normal[0] ** 2).sum() / weights.sum()
    assert irmad._shrinkage(bands) == pytest.approx(found, rel=0.01)


@pytest.mark.parametrize("bands", [1, 2, 4, 6])
@pytest.mark.parametrize("changed", [0.0, 0.2, 0.4])
def test_probabilities_are_even_where_nothing_changed_and_low_where_it_did(bands, changed):
    first, second, moved = two_dates(bands, bands, changed)
    found = no_change(first, second)
    assert np.mean(found[~moved] > INVARIANT) == pytest.approx(0.05, abs=0.02)
    assert np.mean(found[~moved]) == pytest.approx(0.5, abs=0.08)
    taken = np.count_nonzero(found[moved] > INVARIANT)
    assert taken <= (0.02 if bands == 1 else 0.005) * np.count_nonzero(moved)


def test_gains_offsets_and_mixtures_of_bands_do_not_matter():
    first, second, _ = two_dates(0, 3, 0.2)
    mixed = np.rint(np.array([[0.5, 0.1, 0], [0, 0.7, -0.2], [0.1, 0, 0.6]]) @ second) + 300
    np.testing.assert_allclose(
        no_change(first, mixed.astype(np.int64)), no_change(first, second), atol=0.02
    )


def test_bands_that_repeat_each_other_and_equal_dates_do_no_harm():
    first, second, moved = two_dates(1, 2, 0.2)
    twice = no_change(np.concatenate([first, first]), np.concatenate([second, second]))
    assert np.isfinite(twice).all()
    assert np.median(twice[moved]) < 1e-6 < 0.1 < np.median(twice[~moved])
    assert (no_change(first, first) == 1.0).all()


def test_order_of_the_pixels_does_not_matter_to_the_bit():
    first, second, _ = two_dates(2, 4, 0.1, 8000)
    order = np.random.default_rng(0).permutation(first.shape[1])
    found = no_change(first[:, order], second[:, order])
    assert found.tobytes() == no_change(first, second)[order].tobytes()


def test_numbers_that_would_not_add_up_exactly_are_refused():
    with pytest.raises(ValueError, match="too many"):
        no_change(np.full((1, 3), LARGEST + 1), np.zeros((1, 3)))
    with pytest.raises(ValueError, match="too many"):
        no_change(np.zeros((1, irmad.MOST_PLACES + 1)), np.zeros((1, irmad.MOST_PLACES + 1)))
    assert no_change(np.zeros((0, 5)), np.zeros((0, 5))).tolist() == [1.0] * 5
    assert no_change(np.zeros((2, 0)), np.zeros((2, 0))).tolist() == []


@given(st.integers(0, 1000), st.floats(0.1, 10.0), st.integers(-3000, 3000))
def test_the_line_has_the_least_squared_distances(seed, gain, offset):
    rng = np.random.default_rng(seed)
    x = rng.integers(-1500, 1500, 200)
    y = np.rint(gain * x + offset + rng.normal(0.0, 20.0, 200)).astype(np.int64)
    line = orthogonal_line(np.clip(x, -LARGEST, LARGEST), np.clip(y, -LARGEST, LARGEST))
    if np.abs(y).max() > LARGEST:
        return
    points = np.stack([x - x.mean(), y - y.mean()])
    values, axes = np.linalg.eigh(points @ points.T / 200)  # the direction of most variance
    assert line.gain == pytest.approx(axes[1, 1] / axes[0, 1], rel=1e-8)
    assert line.offset == pytest.approx(y.mean() - line.gain * x.mean(), abs=1e-6)
    assert line.residual == pytest.approx(np.sqrt(values[0]), rel=1e-4, abs=1e-3)
    assert line.correlation == pytest.approx(np.corrcoef(x, y)[0, 1], rel=1e-9)


def test_equal_pixels_have_exactly_the_line_of_gain_one():
    x = np.random.default_rng(0).integers(-LARGEST, LARGEST, 997)
    line = orthogonal_line(x, x)
    assert (line.gain, line.offset, line.residual) == (1.0, 0.0, 0.0)
    moved = orthogonal_line(x // 2, x // 2 + 100)
    assert (moved.gain, moved.offset) == (1.0, 100.0)


def test_there_is_no_line_through_constant_or_opposed_pixels():
    x = np.arange(10)
    assert orthogonal_line(x, np.full(10, 3)) is None
    assert orthogonal_line(np.full(10, 3), x) is None
    assert orthogonal_line(x, -x) is None
    assert orthogonal_line(x[:0], x[:0]) is None
