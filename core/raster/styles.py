"""How classes are shown, as rasters carry it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ClassStyle:
    """Number, name and colour (red, green, blue; 0 to 255) of a class, as rasters carry them."""

    number: int
    name: str
    colour: tuple[int, int, int]
