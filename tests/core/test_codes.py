"""Codes stand for values without loss where the values are integers, and finely where not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from iikmc.core.codes import CodeGrid, CodeTally, ValueRange, grid_for_types, store_dtype

NARROW = CodeGrid(0, 1.0)
WIDE = CodeGrid(0, 2.0**-20, wide=True)
FLOAT32_MAX = float(np.finfo(np.float32).max)


def finite(dtype, **limits):
    elements = hnp.from_dtype(np.dtype(dtype), allow_nan=False, allow_infinity=False, **limits)
    return hnp.arrays(dtype, st.integers(1, 40), elements=elements)


def grid_of(values):
    return ValueRange.of(values).code_grid()


def coded(grid, values):
    return grid.encode(values, store_dtype([grid]))


@pytest.mark.parametrize(
    ("dtypes", "expected"),
    [
        (["uint8"], NARROW),
        (["uint16", "uint8"], NARROW),
        (["int8"], CodeGrid(-32768, 1.0)),
        (["int16", "uint8"], CodeGrid(-32768, 1.0)),
        (["int16", "uint16"], None),
        (["int32"], None),
        (["uint16", "float32"], None),
    ],
)
def test_small_integer_types_are_coded_without_looking_at_the_data(dtypes, expected):
    assert grid_for_types(dtypes) == expected


@given(st.sampled_from(["uint8", "int8", "uint16", "int16"]).flatmap(finite))
def test_small_integers_are_unchanged_up_to_a_shift(values):
    grid = grid_for_types([values.dtype.name])
    codes, saturated = coded(grid, values)
    assert (codes.dtype, saturated) == (np.uint16, 0)
    assert (codes.astype(int) + grid.shift).tolist() == values.tolist()
    assert grid.values(codes).tolist() == values.tolist()


def test_uint16_is_not_even_copied():
    values = np.array([0, 7, 65_535], np.uint16)
    codes, _ = coded(NARROW, values)
    assert np.shares_memory(codes, values)


@given(
    st.integers(-(1 << 24), 1 << 24),
    st.lists(st.integers(0, 65_535), min_size=1),
    st.sampled_from(["int32", "float32", "float64"]),
)
def test_integers_spanning_at_most_65536_are_unchanged_in_any_type(low, offsets, dtype):
    values = (low + np.array(offsets)).clip(-(1 << 24), 1 << 24).astype(dtype)
    grid = grid_of(values)
    codes, saturated = coded(grid, values)
    assert (grid.step, grid.wide, saturated) == (1.0, False, 0)
    assert grid.values(codes).tolist() == values.tolist()


def test_a_span_of_65536_levels_is_narrow_and_one_more_is_wide():
    assert not grid_of(np.array([5, 5 + 65_535], np.int32)).wide
    assert grid_of(np.array([5, 5 + 65_536], np.int32)).wide


def test_integers_beyond_float64_stay_exact():
    values = np.array([1, 2, 3]) + (1 << 60)
    codes, saturated = coded(grid_of(values), values)
    assert (codes.tolist(), saturated) == ([0, 1, 2], 0)


@given(st.sampled_from(["float32", "float64", "int32", "uint32"]).flatmap(finite))
def test_whatever_the_values_codes_are_within_half_a_step(values):
    grid = grid_of(values)
    codes, saturated = coded(grid, values)
    mantissa, _ = math.frexp(grid.step)
    assert mantissa == 0.5, "the step is a power of two"
    assert codes.min() >= grid.lowest and codes.max() <= grid.highest
    assert saturated == 0 or np.abs(values).max() > FLOAT32_MAX
    if not saturated:
        rounding = np.abs(values.astype(float)) * 2.0**-52
        error = np.abs(grid.values(codes) - values.astype(float))
        assert (error <= grid.step / 2 + rounding).all()


@pytest.mark.parametrize("stray", [-9999.0, 1e20, -FLOAT32_MAX])
@pytest.mark.parametrize("pixels", [5_000, 50_000])
def test_a_stray_value_does_not_coarsen_the_grid(stray, pixels):
    values = np.random.default_rng(3).random(pixels).astype(np.float32)
    clean = grid_of(values)
    values[pixels // 2] = stray
    grid = grid_of(values)
    codes, saturated = coded(grid, values)
    assert (grid.step, saturated) == (clean.step, 1)
    assert codes[pixels // 2] == (grid.lowest if stray < 0 else grid.highest)
    assert grid.step <= 4 / 2**25


def test_a_wide_grid_spans_four_times_the_middle_of_the_values():
    """0.01 to 99.99 percentiles, fourfold, on at most 2^26 levels of a power of two."""
    values = np.random.default_rng(0).normal(0.2, 0.05, 200_000)
    grid = grid_of(values)
    low, high = np.percentile(values, [0.01, 99.99])
    levels = 4 * (high - low) / grid.step
    assert 2**25 * 0.97 < levels <= 2**26
    centre = (grid.shift * grid.step - (low + high) / 2) / (high - low)
    assert abs(centre) < 0.02


@pytest.mark.parametrize("value", [0.5, -3e-30, 1e30, 5e-324, -1.7e308])
def test_a_band_of_one_value_or_of_extremes_has_a_grid(value):
    values = np.full(20, value)
    grid = grid_of(values)
    codes, _ = coded(grid, values)
    assert len(set(codes.tolist())) == 1
    assert 0 < grid.step * grid.step < math.inf
    if value in (0.5, -3e-30):
        assert coded(grid, values * 1.5)[1] == 0, "other scenes have other values"


def test_saturated_values_are_counted():
    values = np.array([-1.0, 0.0, 65_535.0, 65_536.0, 1e9])
    codes, saturated = coded(NARROW, values)
    assert (codes.tolist(), saturated) == ([0, 0, 65_535, 65_535, 65_535], 3)


def test_a_models_narrow_grid_rounds_what_is_between():
    assert coded(NARROW, np.array([1.4, 2.6], np.float32))[0].tolist() == [1, 3]


@given(finite("float32"), st.data())
def test_ranges_merge_to_that_of_all_values(values, data):
    cut = data.draw(st.integers(0, values.size))
    merged = ValueRange.of(values[:cut]).merge(ValueRange.of(values[cut:]))
    whole = ValueRange.of(values)
    assert merged.code_grid() == whole.code_grid()
    assert (merged.minimum, merged.maximum) == (values.min(), values.max())


def test_a_band_without_values_has_a_grid_that_changes_nothing():
    nothing = ValueRange.of(np.empty(0, np.float32))
    values = np.array([1.5, 2.25], np.float32)
    assert nothing.code_grid() == NARROW
    assert nothing.merge(ValueRange.of(values)).code_grid() == grid_of(values)


def lower_quantile(values, percent):
    return np.sort(values)[max(math.ceil(values.size * percent / 100) - 1, 0)]


@given(
    hnp.arrays(np.uint16, st.tuples(st.just(2), st.integers(1, 200))),
    st.lists(st.integers(0, 200), max_size=4),
)
def test_narrow_statistics_are_exact_however_blocks_are_cut(codes, cuts):
    parts = np.split(codes, sorted(min(cut, codes.shape[1]) for cut in cuts), axis=1)
    tally = CodeTally([NARROW, NARROW])
    for part in reversed(parts):
        tally.merge(CodeTally([NARROW, NARROW]).add(part))
    assert tally.pixels == codes.shape[1]
    for found, plane in zip(tally.statistics(), codes.astype(object)):
        assert (found.minimum, found.maximum) == (plane.min(), plane.max())
        assert (found.total, found.total_squares) == (plane.sum(), (plane * plane).sum())
        quantiles = [lower_quantile(plane, percent) for percent in (16, 50, 84)]
        assert [found.low, found.median, found.high] == quantiles


@given(
    hnp.arrays(np.int32, st.integers(1, 200), elements=st.integers(WIDE.lowest, WIDE.highest)),
    st.integers(0, 200),
)
def test_wide_statistics_are_exact_but_for_the_bin_of_quantiles(codes, cut):
    tally = CodeTally([WIDE]).add(codes[None, cut:])
    (found,) = tally.merge(CodeTally([WIDE]).add(codes[None, :cut])).statistics()
    plane = codes.astype(object)
    assert (found.minimum, found.maximum) == (plane.min(), plane.max())
    assert (found.total, found.total_squares) == (plane.sum(), (plane * plane).sum())
    for percent, quantile in ((16, found.low), (50, found.median), (84, found.high)):
        assert 0 <= lower_quantile(plane, percent) - quantile <= 1024


def test_sums_beyond_64_bits_are_exact():
    codes = np.full((1, 1 << 16), WIDE.lowest, np.int32)
    tally = CodeTally([WIDE]).add(codes).add(codes)
    (found,) = tally.statistics()
    assert found.total_squares == 2 * codes.size * WIDE.lowest**2 > 2**63
