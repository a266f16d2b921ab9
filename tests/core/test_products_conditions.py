"""Quality layers tell conditions bit by bit and class by class, for any integer type."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iikmc.core.products import Condition, conditions

FILL, CLOUD, SHADOW, CIRRUS, SNOW, WATER, SATURATED = Condition

# The tables of the products' own guides, written out once more: bit or value -> condition.
QA_PIXEL_TM = {0: FILL, 1: CLOUD, 3: CLOUD, 4: SHADOW, 5: SNOW, 7: WATER}
QA_PIXEL_OLI = {0: FILL, 1: CLOUD, 2: CIRRUS, 3: CLOUD, 4: SHADOW, 5: SNOW, 7: WATER}
QA_RADSAT_TM = {**dict.fromkeys((0, 1, 2, 3, 4, 6), SATURATED), 9: FILL}
QA_RADSAT_OLI = dict.fromkeys(range(7), SATURATED)
UDM = {0: FILL, 1: CLOUD, **dict.fromkeys(range(2, 8), SATURATED)}
UDM_IN_UDM2 = {0: FILL, **dict.fromkeys(range(2, 8), SATURATED)}
SCL = {
    0: FILL,
    1: SATURATED,
    3: SHADOW,
    6: WATER,
    8: CLOUD,
    9: CLOUD,
    10: CIRRUS,
    11: SNOW,
}
BITS = [
    (conditions.QA_PIXEL_TM, QA_PIXEL_TM, 16),
    (conditions.QA_PIXEL_OLI, QA_PIXEL_OLI, 16),
    (conditions.QA_RADSAT_TM, QA_RADSAT_TM, 16),
    (conditions.QA_RADSAT_OLI, QA_RADSAT_OLI, 16),
    (conditions.UDM, UDM, 8),
    (conditions.UDM2["udm1"], UDM_IN_UDM2, 8),
]
NAMES = ["QA_PIXEL TM", "QA_PIXEL OLI", "QA_RADSAT TM", "QA_RADSAT OLI", "UDM", "UDM2 band 8"]


def told(reader, value, dtype):
    """Return the set of conditions that a reader tells for one value."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # older NumPy only warns of numbers that do not fit
        found = reader(np.full((2, 3), value, dtype))
    for mask in found.values():
        assert mask.shape == (2, 3)
        assert mask.dtype == bool
        assert mask.all() == mask.any()
    return {condition for condition, mask in found.items() if mask.all()}


@pytest.mark.parametrize(("reader", "table", "bits"), BITS, ids=NAMES)
def test_each_bit_alone_tells_its_condition_and_no_other(reader, table, bits):
    for bit in range(bits):
        expected = {table[bit]} if bit in table else set()
        assert told(reader, 1 << bit, np.uint16) == expected, f"bit {bit}"
    assert told(reader, 0, np.uint16) == set()


@pytest.mark.parametrize(("reader", "table", "bits"), BITS, ids=NAMES)
@given(data=st.data())
def test_whatever_bits_are_set_all_their_conditions_are_told(reader, table, bits, data):
    value = data.draw(st.integers(0, 2**bits - 1))
    dtype = data.draw(st.sampled_from([np.uint16, np.int32, np.uint32, np.int64, np.uint64]))
    expected = {condition for bit, condition in table.items() if value >> bit & 1}
    assert told(reader, value, dtype) == expected


@pytest.mark.parametrize(("reader", "table", "bits"), BITS, ids=NAMES)
@given(data=st.data())
def test_a_narrow_type_has_the_bits_that_fit(reader, table, bits, data):
    value = data.draw(st.integers(0, 255))
    expected = {condition for bit, condition in table.items() if value >> bit & 1}
    assert told(reader, value, np.uint8) == expected


def test_bit_15_of_a_signed_type_is_a_bit_like_any_other():
    assert told(conditions.QA_PIXEL_OLI, -32768 | 1 << 3, np.int16) == {CLOUD}


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32])
def test_scene_classes_tell_their_conditions(dtype):
    for value in range(13):
        expected = {SCL[value]} if value in SCL else set()
        assert told(conditions.SCL, value, dtype) == expected, f"class {value}"


def test_real_values_of_qa_pixel():
    # Values that USGS gives as examples: clear land, water, cloud, shadow, snow, cirrus, fill.
    reader = conditions.QA_PIXEL_OLI
    assert told(reader, 21824, np.uint16) == set()
    assert told(reader, 21952, np.uint16) == {WATER}
    assert told(reader, 22280, np.uint16) == {CLOUD}
    assert told(reader, 23888, np.uint16) == {SHADOW}
    assert told(reader, 30048, np.uint16) == {SNOW}
    assert told(reader, 54596, np.uint16) == {CIRRUS}
    assert told(reader, 1, np.uint16) == {FILL}


def test_layers_of_udm2_tell_one_condition_each():
    expected = {
        "snow": SNOW,
        "shadow": SHADOW,
        "haze_light": CIRRUS,
        "haze_heavy": CLOUD,
        "cloud": CLOUD,
    }
    assert set(conditions.UDM2) == {*expected, "udm1"}
    for name, condition in expected.items():
        assert told(conditions.UDM2[name], 1, np.uint8) == {condition}
        assert told(conditions.UDM2[name], 0, np.uint8) == set()


def test_readers_know_their_conditions_whatever_the_values():
    assert set(conditions.QA_PIXEL_OLI(np.zeros((0, 4), np.uint16))) == set(QA_PIXEL_OLI.values())
    assert set(conditions.SCL(np.zeros((0, 4), np.uint8))) == set(SCL.values())
