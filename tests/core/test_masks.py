"""Which mask values leave a pixel valid: bit by bit, class by class, band by band."""

from __future__ import annotations

import numpy as np
import pytest

from iikmc.core import open_series
from iikmc.core.errors import MaskError, ParameterError
from iikmc.core.masks import MaskKind, check_mask_type, mask_bands, valid_pixels

UDM2_BANDS = ("clear", "snow", "shadow", "light_haze", "heavy_haze", "cloud", "confidence", "udm1")


def valid(kind, values, dtype="uint8", nodata=None):
    return valid_pixels(MaskKind(kind), np.array(values, dtype), nodata).tolist()


def test_kinds_are_in_the_order_of_the_parameter():
    assert [kind.value for kind in MaskKind] == ["valid", "masked", "qa_pixel", "scl", "udm2"]


def test_an_unknown_kind_is_refused_with_those_there_are():
    with pytest.raises(
        ParameterError, match="'clouds'; expected one of valid, masked, qa_pixel, scl, udm2"
    ):
        MaskKind.of("clouds")


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "uint16", "int32", "float32"])
def test_valid_and_masked_are_opposites_where_nothing_is_nodata(dtype):
    values = [0, 1, 2, 100]
    assert valid("valid", values, dtype) == [False, True, True, True]
    assert valid("masked", values, dtype) == [True, False, False, False]


@pytest.mark.parametrize("bit", range(16))
def test_qa_pixel_refuses_fill_cloud_and_shadow_bits_only(bit):
    assert valid("qa_pixel", [1 << bit], "uint16") == [bit > 4]
    # Set beside any other bit, a bad bit still refuses.
    assert valid("qa_pixel", [0xFFFF & ~(1 << bit)], "uint16") == [False]


def test_qa_pixel_values_as_landsat_gives_them():
    # USGS LSDS-1619: fill, clear land, clear water, cloud, cloud shadow, snow.
    landsat = [1, 21824, 21952, 22280, 23888, 30048]
    assert valid("qa_pixel", landsat, "uint16") == [False, True, True, False, False, True]


def test_qa_pixel_looks_at_bits_and_not_at_a_declared_nodata():
    assert valid("qa_pixel", [1, 21824], "uint16", nodata=21824.0) == [False, True]
    assert valid("qa_pixel", [-1, 64], "int16") == [False, True]


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32"])
def test_scl_keeps_vegetation_soil_water_and_unclassified(dtype):
    kept = [value for value in range(12) if valid("scl", [value], dtype) == [True]]
    assert kept == [4, 5, 6, 7]


def test_udm2_keeps_what_is_clear():
    assert valid("udm2", [0, 1, 2, 255]) == [False, True, False, False]


@pytest.mark.parametrize(("kind", "value"), [("valid", 9), ("scl", 5), ("udm2", 1), ("masked", 9)])
def test_a_masks_own_nodata_is_never_valid(kind, value):
    assert valid(kind, [value], nodata=float(value)) == [False]


def test_masked_ignores_a_declared_nodata_of_0():
    assert valid("masked", [0, 1], nodata=0.0) == [True, False]


@pytest.mark.parametrize("kind", ["valid", "masked", "udm2"])
@pytest.mark.parametrize("nodata", [None, np.nan, -3.4028234663852886e38])
def test_not_a_number_is_never_valid(kind, nodata):
    good = 0.0 if kind == "masked" else 1.0
    found = valid(kind, [np.nan, good, -3.4028235e38], "float32", nodata)
    assert found[:2] == [False, True]
    if nodata is not None and nodata < 0:
        assert not found[2]


def test_udm2_decides_by_the_band_called_clear():
    eight = (False,) * 8
    assert mask_bands(MaskKind.UDM2, "m", UDM2_BANDS, eight) == (1,)
    assert mask_bands(MaskKind.UDM2, "m", ("cloud", "", " Clear map"), eight[:3]) == (3,)
    assert mask_bands(MaskKind.UDM2, "m", ("",) * 8, eight) == (1,)


def test_qa_and_scl_are_found_by_name_among_other_bands():
    names = ("cloud", "SCL", "qa_pixel")
    assert mask_bands(MaskKind.SCL, "m", names, (False,) * 3) == (2,)
    assert mask_bands(MaskKind.QA_PIXEL, "m", names, (False,) * 3) == (3,)
    assert mask_bands(MaskKind.SCL, "m", ("", ""), (False,) * 2) == (1,)


def test_all_bands_of_a_plain_mask_decide():
    for kind in (MaskKind.VALID, MaskKind.MASKED):
        assert mask_bands(kind, "m", ("a", "b", "c"), (False, False, True)) == (1, 2)


@pytest.mark.parametrize("kind", ["qa_pixel", "scl"])
def test_bits_and_classes_need_integers(kind):
    check_mask_type(MaskKind(kind), "m", np.dtype("uint16"))
    with pytest.raises(MaskError, match=f"Mask 'm' holds float32 numbers; {kind} needs integers"):
        check_mask_type(MaskKind(kind), "m", np.dtype("float32"))


def test_a_mask_file_decides_which_pixels_are_read(make_scene):
    """An 8-band UDM2 whose clear band is not the first, and a mask for one scene only."""
    values = np.arange(1, 25, dtype=np.uint16).reshape(1, 4, 6)
    clear = (np.arange(24) % 3 == 0).astype(np.uint8).reshape(4, 6)
    udm2 = np.stack([1 - clear] * 3 + [clear] + [1 - clear] * 4)
    names = ("snow", "shadow", "cloud", "clear", "a", "b", "c", "d")
    paths = [make_scene(f"s_2020010{n}", values) for n in (1, 2)]
    mask = make_scene("udm2", udm2, band_names=names)
    with open_series(paths, masks=[None, mask], mask_kind="udm2") as series:
        first, second = series.pixels(threads=1).blocks
    assert first.codes.load().tolist() == [list(range(1, 25))]
    assert second.codes.load().tolist() == [list(range(1, 25, 3))]
