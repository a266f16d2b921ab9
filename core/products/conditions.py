"""What the values of products' quality layers say of pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .base import Condition


@dataclass(frozen=True)
class BitConditions:
    """Reads integers bit by bit: a condition holds where any bit of its mask is set."""

    masks: tuple[tuple[Condition, int], ...]

    def __call__(self, values: np.ndarray) -> dict[Condition, np.ndarray]:
        """Return booleans of the shape of ``values`` (any integer type) for each condition."""
        if any(mask > np.iinfo(values.dtype).max for _, mask in self.masks):
            values = values.astype(np.int64)
        kind = values.dtype.type
        return {condition: (values & kind(mask)) != 0 for condition, mask in self.masks}


@dataclass(frozen=True)
class ClassConditions:
    """Reads class numbers: a condition holds where the number is one of its own."""

    classes: tuple[tuple[Condition, tuple[int, ...]], ...]

    def __call__(self, values: np.ndarray) -> dict[Condition, np.ndarray]:
        """Return booleans of the shape of ``values`` for each condition."""
        return {condition: np.isin(values, numbers) for condition, numbers in self.classes}


# Landsat Collection 2 QA_PIXEL (USGS LSDS-1618 and LSDS-1619, Level 2 science product guides):
# bit 0 fill, 1 dilated cloud, 2 cirrus (Landsat 8 and 9 only; unused before), 3 cloud,
# 4 cloud shadow, 5 snow, 7 water. Bit 6, clear, says no more than bits 1 and 3; the bits above
# are confidences.
QA_PIXEL_TM = BitConditions(
    (
        (Condition.FILL, 1 << 0),
        (Condition.CLOUD, 1 << 1 | 1 << 3),
        (Condition.SHADOW, 1 << 4),
        (Condition.SNOW, 1 << 5),
        (Condition.WATER, 1 << 7),
    )
)
QA_PIXEL_OLI = BitConditions((*QA_PIXEL_TM.masks, (Condition.CIRRUS, 1 << 2)))

# Landsat Collection 2 QA_RADSAT (same guides): bits 0 to 6 for bands 1 to 7. On TM and ETM+
# band 6 is thermal (bits 5 and 8) and no part of surface reflectance; bit 9 is a dropped pixel,
# for which the detector has no value. On OLI bit 8 is the cirrus band; bit 11, terrain that hides
# the ground, is not about brightness, and the pixel shows other ground: neither is a condition.
QA_RADSAT_TM = BitConditions(((Condition.SATURATED, 0b101_1111), (Condition.FILL, 1 << 9)))
QA_RADSAT_OLI = BitConditions(((Condition.SATURATED, 0b111_1111),))

# Sentinel-2 scene classification (Sentinel-2 products specification, Level 2A SCL): 0 no data,
# 1 saturated or defective, 3 cloud shadow, 6 water, 8 and 9 cloud of medium and high
# probability, 10 thin cirrus, 11 snow or ice. 2 (dark area; from baseline 04.00 on cast shadow of
# terrain) is ground seen in poor light and no shadow of a cloud; 4, 5 and 7 are vegetation, bare
# ground and unclassified: no condition.
SCL = ClassConditions(
    (
        (Condition.FILL, (0,)),
        (Condition.SATURATED, (1,)),
        (Condition.SHADOW, (3,)),
        (Condition.WATER, (6,)),
        (Condition.CLOUD, (8, 9)),
        (Condition.CIRRUS, (10,)),
        (Condition.SNOW, (11,)),
    )
)

# Planet's older unusable data mask (Planet imagery product specifications): bit 0 not imaged,
# bit 1 cloud, the others bands with missing or suspect values, which are taken as the defective
# pixels of Sentinel-2 are.
UDM = BitConditions(
    ((Condition.FILL, 1 << 0), (Condition.CLOUD, 1 << 1), (Condition.SATURATED, 0b1111_1100))
)

# UDM2: bands of 0 and 1, in this order. Heavy haze does not let the surface's reflectance be
# trusted, and counts as cloud; light haze (in UDM2.1 all haze) does, and counts with thin cirrus.
# Band 8 repeats the older mask, whose coarse clouds band 6 replaces.
UDM2_BANDS = ("clear", "snow", "shadow", "haze_light", "haze_heavy", "cloud", "confidence", "udm1")
UDM2: Mapping[str, BitConditions | ClassConditions] = {
    "snow": ClassConditions(((Condition.SNOW, (1,)),)),
    "shadow": ClassConditions(((Condition.SHADOW, (1,)),)),
    "haze_light": ClassConditions(((Condition.CIRRUS, (1,)),)),
    "haze_heavy": ClassConditions(((Condition.CLOUD, (1,)),)),
    "cloud": ClassConditions(((Condition.CLOUD, (1,)),)),
    "udm1": BitConditions(((Condition.FILL, 1 << 0), (Condition.SATURATED, 0b1111_1100))),
}
