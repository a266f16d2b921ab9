"""What the values of a mask raster mean: which pixels of a scene are valid."""

from __future__ import annotations

import enum
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .dates import date_in_name
from .errors import MaskError, ParameterError

# Landsat Collection 2 QA_PIXEL: fill, dilated cloud, cirrus, cloud, cloud shadow
# (USGS LSDS-1619, table 6-3).
_QA_PIXEL_REFUSED = 0b11111
# Sentinel-2 scene classification: vegetation, bare soil, water, unclassified
# (Sentinel-2 L2A product definition, SCL).
_SCL_VALID = (4, 5, 6, 7)


class MaskKind(enum.Enum):
    """How to read a mask, in the order of the MASK_KIND parameter."""

    VALID = "valid"
    MASKED = "masked"
    QA_PIXEL = "qa_pixel"
    SCL = "scl"
    UDM2 = "udm2"

    @classmethod
    def of(cls, kind: str | MaskKind) -> MaskKind:
        """Return the kind with that name, or raise ParameterError."""
        try:
            return cls(kind)
        except ValueError:
            names = ", ".join(member.value for member in cls)
            raise ParameterError(f"mask_kind is {kind!r}; expected one of {names}.") from None


def kind_hint(path: str) -> MaskKind | None:
    """Return the product's kind that a mask's file name speaks of, if it does."""
    for kind in (MaskKind.QA_PIXEL, MaskKind.SCL, MaskKind.UDM2):
        if re.search(rf"(?<![a-z]){kind.value}(?![a-z])", Path(path).stem.lower()):
            return kind
    return None


def check_mask_order(scenes: Sequence[str], masks: Sequence[str]) -> None:
    """Raise MaskError where masks are named for the scenes' dates, but in another order."""
    wanted, found = ([date_in_name(name) for name in group] for group in (scenes, masks))
    if None in wanted or Counter(wanted) != Counter(found):
        return
    for scene, mask, date, other in zip(scenes, masks, wanted, found):
        if date != other:
            raise MaskError(
                f"Mask '{mask}' is given for scene '{scene}', which has another date: give the "
                "masks in the order of the scenes."
            )


def mask_bands(
    kind: MaskKind, name: str, band_names: Sequence[str], alpha: Sequence[bool]
) -> tuple[int, ...]:
    """Return the numbers, from 1, of the bands of a mask file that decide.

    A pixel is valid where all of them say so. For plain masks these are all bands, for UDM2
    the band called "clear", else the first one, for QA_PIXEL and SCL the band called that, else
    the first one.
    """
    if not band_names:
        raise MaskError(f"Mask '{name}' has no band; give a raster with one.")
    if kind in (MaskKind.VALID, MaskKind.MASKED):
        data = tuple(number for number, is_alpha in enumerate(alpha, start=1) if not is_alpha)
        return data or (1,)
    wanted = "clear" if kind is MaskKind.UDM2 else kind.value
    for number, band_name in enumerate(band_names, start=1):
        if band_name.strip().lower().startswith(wanted):
            return (number,)
    return (1,)


def check_mask_type(kind: MaskKind, name: str, dtype: np.dtype) -> None:
    """Raise MaskError where bits or classes are asked of a raster that is not of integers."""
    if kind in (MaskKind.QA_PIXEL, MaskKind.SCL) and dtype.kind not in "iu":
        raise MaskError(
            f"Mask '{name}' holds {dtype.name} numbers; {kind.value} needs integers: "
            "choose another MASK_KIND or give the quality band itself."
        )


def valid_pixels(kind: MaskKind, values: np.ndarray, nodata: float | None) -> np.ndarray:
    """Return where a scene is valid, as booleans of the shape of ``values``.

    ``values`` are the mask's, ``nodata`` its declared nodata value. Not a number is never
    valid, nor is nodata, except for kind MASKED, where only the rule "masked where not 0"
    holds, because mask writers commonly declare 0 as nodata.
    """
    if kind is MaskKind.MASKED:
        return np.asarray(values == 0)
    if kind is MaskKind.VALID:
        valid = values != 0
    elif kind is MaskKind.QA_PIXEL:
        valid = (values & values.dtype.type(_QA_PIXEL_REFUSED)) == 0
    elif kind is MaskKind.SCL:
        valid = np.isin(values, _SCL_VALID)
    else:
        valid = values == 1
    if values.dtype.kind == "f":
        valid &= ~np.isnan(values)
    if nodata is not None and kind is not MaskKind.QA_PIXEL:
        valid &= values != nodata
    return np.asarray(valid)
