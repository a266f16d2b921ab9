"""Indices are normalised differences of reflectance, whatever the bands hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from iikmc.core.errors import ParameterError
from iikmc.core.prepare.indices import Index, normalised_difference

REFLECTANCE = st.floats(-0.2, 1.6, allow_nan=False)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (0.3, 0.1, 0.5),
        (0.1, 0.3, -0.5),
        (0.2, 0.2, 0.0),
        (0.2, 0.0, 1.0),
        (0.2, -0.1, 1.0),  # below zero counts as zero
        (-0.1, 0.2, -1.0),
        (0.0, 0.0, 0.0),  # neither is brighter
        (-0.1, -0.2, 0.0),
    ],
)
def test_known_values(first, second, expected):
    found = normalised_difference(np.array([first]), np.array([second]))
    assert found[0] == pytest.approx(expected, abs=1e-15)


@given(arrays(float, 20, elements=REFLECTANCE), arrays(float, 20, elements=REFLECTANCE))
def test_whatever_the_bands_hold_an_index_lies_between_minus_one_and_one(first, second):
    with np.errstate(all="raise", under="ignore"):
        found = normalised_difference(first, second)
    assert (np.abs(found) <= 1.0).all()
    np.testing.assert_array_equal(found, -normalised_difference(second, first))


def test_bands_are_those_of_the_formula_and_the_near_infrared_has_two_names():
    assert Index.NDVI.bands(["red", "nir08", "nir"]) == ("nir", "red")
    assert Index.NDVI.bands(["red", "nir08"]) == ("nir08", "red")
    assert Index.NDWI.bands(["green", "nir"]) == ("green", "nir")
    assert Index.MNDWI.bands(["green", "swir16"]) == ("green", "swir16")
    assert Index.NDBI.bands(["swir16", "nir"]) == ("swir16", "nir")
    assert Index.NBR.bands(["swir22", "nir"]) == ("nir", "swir22")
    assert Index.NBR.bands(["nir", "swir16"]) is None


def test_an_index_is_found_by_its_name():
    assert Index.of(" ndvi ") is Index.NDVI
    assert Index.of(Index.NBR) is Index.NBR
    with pytest.raises(ParameterError, match="'EVI' is no index; expected some of NDVI, NDWI"):
        Index.of("EVI")


def test_the_options_keep_their_order():
    assert [item.name for item in Index] == ["NDVI", "NDWI", "MNDWI", "NDBI", "NBR"]
