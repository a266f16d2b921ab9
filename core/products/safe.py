"""The metadata file of a Sentinel-2 product (MTD_MSIL2A.xml)."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..errors import SeriesError
from .files import ProductFile
from .times import moment

METADATA = re.compile(r"MTD_MSI(?:L2A|L1C)\.xml", re.IGNORECASE)
# The bands as BOA_ADD_OFFSET counts them, from 0 (Sentinel-2 products specification).
_BANDS = (
    *("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A"),
    *("B09", "B10", "B11", "B12"),
)


@dataclass(frozen=True)
class SafeMetadata:
    """What the metadata say; without a metadata file: nothing."""

    name: str = ""
    level: str = ""
    satellite: str = ""
    start: dt.datetime | None = None
    quantification: float | None = None
    offsets: Mapping[str, float] = field(default_factory=dict)

    def offset(self, native: str, otherwise: float) -> float:
        """Return what is added to a band's stored values, as the file or else the caller says."""
        return self.offsets.get(native, otherwise)


def read_metadata(file: ProductFile) -> SafeMetadata:
    """Return what a metadata file says; raise SeriesError where it is broken."""
    texts: dict[str, str] = {}
    offsets = {}
    for element in file.xml().iter():
        tag, text = element.tag.rpartition("}")[2], (element.text or "").strip()
        texts.setdefault(tag, text)
        number = element.get("band_id", "")
        if tag == "BOA_ADD_OFFSET" and number.isdecimal() and int(number) < len(_BANDS):
            offsets[_BANDS[int(number)]] = _number(text, tag, file)
    level = "L1C" if "1C" in texts.get("PROCESSING_LEVEL", file.name) else "L2A"
    # Products before baseline 02.08 begin the name of this entry with L2A_.
    divisor = texts.get("BOA_QUANTIFICATION_VALUE") or texts.get("L2A_BOA_QUANTIFICATION_VALUE")
    quantification = _number(divisor, "BOA_QUANTIFICATION_VALUE", file) if divisor else None
    if level == "L2A" and not quantification:
        raise SeriesError(
            f"'{file.name}' in '{file.shown}' has no BOA_QUANTIFICATION_VALUE above 0, by which "
            "values become reflectance: download it again."
        )
    return SafeMetadata(
        name=texts.get("PRODUCT_URI", "").removesuffix(".SAFE"),
        level=level,
        satellite=texts.get("SPACECRAFT_NAME", "").replace("Sentinel-", "S"),
        start=moment(texts.get("PRODUCT_START_TIME")),
        quantification=quantification,
        offsets=offsets,
    )


def _number(text: str, tag: str, file: ProductFile) -> float:
    try:
        return float(text)
    except ValueError:
        raise SeriesError(
            f"'{file.name}' in '{file.shown}' gives '{text}' as {tag}; expected a number."
        ) from None
