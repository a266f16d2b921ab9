"""Which share of a scene is valid, and what the rest is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..products.base import Condition


@dataclass(frozen=True)
class Shares:
    """How many pixels of a scene lie in the working area, are valid, and meet a condition.

    A condition is there if a quality layer tells it. FILL counts nodata in the bands, too.
    """

    pixels: int = 0
    valid: int = 0
    conditions: Mapping[Condition, int] | None = None

    def plus(self, other: Shares) -> Shares:
        """Return both together."""
        conditions = dict(self.conditions or {})
        for condition, count in (other.conditions or {}).items():
            conditions[condition] = conditions.get(condition, 0) + count
        return Shares(self.pixels + other.pixels, self.valid + other.valid, conditions)

    @property
    def valid_share(self) -> float:
        """Share of the pixels that is valid."""
        return self.valid / self.pixels if self.pixels else 0.0

    def share(self, condition: Condition) -> float | None:
        """Return the share of the pixels that meets a condition; None where no layer tells it."""
        count = (self.conditions or {}).get(condition)
        return None if count is None else count / max(self.pixels, 1)

    def told(self) -> str:
        """Return the shares that are not zero, for people."""
        parts = [f"{self.valid_share:.1%} valid"]
        for condition in Condition:
            share = self.share(condition)
            if share:
                parts.append(f"{share:.1%} {condition.value}")
        return ", ".join(parts)
