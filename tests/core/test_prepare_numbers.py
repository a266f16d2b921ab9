"""Numbers keep their meaning: exactly where they stay, to half a step where they are converted."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from iikmc.core.prepare.radiometry import (
    Numbers,
    Radiometry,
    can_agree,
    common_numbers,
    differ,
    encode,
    index_numbers,
    store,
)

LANDSAT = Numbers("uint16", 2.75e-5, -0.2, 0.0)
OLD, NEW = Numbers("uint16", 1e-4, 0.0, 0.0), Numbers("uint16", 1e-4, -0.1, 0.0)
TARGET = Numbers("int16", 1e-4, 0.0, -32768.0)

SMALL = st.sampled_from(["uint8", "int16", "uint16"])
SCALES = st.decimals("0.00001", "0.01", places=7).map(float).filter(bool)
OFFSETS = st.decimals("-0.5", "0.5", places=4).map(float)


def limits(numbers):
    info = np.iinfo(numbers.dtype)
    low, high = int(info.min), int(info.max)
    return low + (low == numbers.nodata), high - (high == numbers.nodata)


@given(st.data(), SMALL, SMALL, SCALES, OFFSETS, SCALES, OFFSETS)
def test_small_integers_are_converted_as_exact_arithmetic_has_it(
    data, dtype, wanted, scale, offset, to_scale, to_offset
):
    info = np.iinfo(dtype)
    values = np.array(data.draw(st.lists(st.integers(info.min, info.max), min_size=1)), dtype)
    ends = np.iinfo(wanted)
    nodata = float(data.draw(st.sampled_from([ends.min, ends.max, 7])))
    target = Numbers(wanted, to_scale, to_offset, nodata)
    found = encode(values, Numbers(dtype, scale, offset, None), target)
    assert found.dtype == wanted
    low, high = limits(target)
    for value, number in zip(values.tolist(), found.tolist()):
        meant = Fraction(str(scale)) * value + Fraction(str(offset))
        step = (meant - Fraction(str(to_offset))) / Fraction(str(to_scale))
        expected = min(max(math.floor(step + Fraction(1, 2)), low), high)
        assert number == expected + (expected == nodata)


@given(
    st.lists(st.floats(-10, 10, width=32), min_size=1),
    st.sampled_from(["uint8", "int16", "uint16", "int32", "float32"]),
    st.sampled_from([0.0, 1.0, 100.0]),
)
def test_whatever_is_stored_no_value_becomes_nodata(values, dtype, nodata):
    target = Numbers(dtype, 1e-2, 0.0, nodata)
    source = Numbers("float32", 1.0, 0.0, None)
    meant = np.array(values, np.float32)
    assert not (encode(meant, source, target) == nodata).any()
    assert not (store(meant.astype(float), target) == nodata).any()


@pytest.mark.parametrize("nodata", [-32768.0, -9999.0, 0.0, 32767.0])
def test_of_all_numbers_none_becomes_nodata_and_the_order_stays(nodata):
    every = np.arange(-32768, 32768).astype(np.int16)
    target = Numbers("int16", 1e-4, 0.0, nodata)
    for source in (Numbers("int16", 1e-4, 0.0, None), Numbers("int16", 2e-4, -0.1, None)):
        found = encode(every, source, target).astype(int)
        assert not (found == nodata).any()
        assert (np.diff(found) >= 0).all()


@given(st.lists(st.integers(0, 65_535), min_size=1))
def test_numbers_that_mean_the_same_are_not_touched(values):
    values = np.array(values, np.uint16)
    assert encode(values, OLD, OLD) is values
    wider = Numbers("int32", 1e-4, 0.0, 0.0)
    np.testing.assert_array_equal(encode(values, OLD, wider), values)


@given(st.lists(st.integers(1001, 65_535), min_size=1))
def test_the_offset_of_baseline_04_is_taken_off_whole(values):
    (target,) = common_numbers([[OLD, NEW]], Radiometry.NUMBERS, False)
    assert target == OLD
    values = np.array(values, np.uint16)
    np.testing.assert_array_equal(encode(values, NEW, target), values - 1000)


@given(st.floats(-1.0, 1.0), st.sampled_from(["uint16", "int16", "int32", "uint32", "float32"]))
def test_an_index_is_told_to_half_a_ten_thousandth(index, dtype):
    nodata = {"u": 0.0, "i": -9999.0, "f": math.nan}[np.dtype(dtype).kind]
    numbers = index_numbers(Numbers(dtype, 2.75e-5, -0.2, nodata))
    (stored,) = store(np.array([index]), numbers)
    assert stored != nodata
    step = 1.0001e-4 if nodata == -9999.0 and index < -0.9 else 0.5001e-4
    assert abs(stored * numbers.scale + numbers.offset - index) <= step


def test_what_scenes_share_is_found():
    assert can_agree([[LANDSAT, LANDSAT]]) and not differ([[LANDSAT, LANDSAT]])
    assert can_agree([[OLD, NEW]]) and differ([[OLD, NEW]])
    assert not can_agree([[OLD, LANDSAT]])
    half = Numbers("uint16", 1e-4, -0.10005, 0.0)
    assert not can_agree([[OLD, half]])
    assert can_agree([[OLD, OLD], [LANDSAT, LANDSAT]]), "bands may differ"
    rounded = Numbers("uint16", 2.75e-5, -0.2 + 1e-17, 0.0)
    assert not differ([[LANDSAT, rounded]])


@pytest.mark.parametrize(
    ("numbers", "indices", "expected"),
    [
        ([("uint16", 0.0), ("uint16", 0.0)], False, ("uint16", 0.0)),
        ([("uint8", 0.0), ("uint16", 0.0)], False, ("uint16", 0.0)),
        ([("uint8", 255.0)], False, ("uint8", 255.0)),
        ([("uint8", 255.0)], True, ("uint16", 255.0)),
        ([("uint16", 0.0), ("uint16", 65535.0)], False, ("uint16", 0.0)),
        ([("uint16", None)], False, ("uint16", 0.0)),
        ([("int16", -9999.0)], False, ("int16", -9999.0)),
        ([("int16", None)], False, ("int16", -32768.0)),
        ([("int8", None)], False, ("int16", -32768.0)),
        ([("uint16", 0.0), ("int16", 0.0)], False, ("int32", 0.0)),
        ([("uint16", -1.0)], False, ("uint16", 0.0)),
        ([("uint16", 0.5)], False, ("uint16", 0.0)),
        ([("float32", -9999.0)], True, ("float32", -9999.0)),
        ([("int64", 0.0)], False, ("float64", 0.0)),
    ],
)
def test_one_type_and_one_nodata_value_hold_all_bands(numbers, indices, expected):
    bands = [[Numbers(dtype, 1.0, 0.0, nodata)] for dtype, nodata in numbers]
    for found in common_numbers(bands, Radiometry.NUMBERS, indices):
        assert (found.dtype, found.nodata) == expected


def test_floats_without_a_shared_nodata_value_get_not_a_number():
    bands = [[Numbers("float32", 1.0, 0.0, None)]]
    (found,) = common_numbers(bands, Radiometry.NUMBERS, False)
    assert math.isnan(found.nodata)


@given(st.floats(-0.25, 3.0, width=32))
def test_floats_of_reflectance_become_ten_thousandths(value):
    assume(abs(value * 10_000 % 1 - 0.5) > 1e-3)
    source = Numbers("float32", 1.0, 0.0, None)
    (found,) = encode(np.array([value], np.float32), source, TARGET)
    assert found == round(np.float32(value).item() * 10_000)
