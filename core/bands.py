"""Which bands of each scene are used, and that they are the same ones everywhere."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .errors import BandError
from .raster import RasterInfo

MOST_BANDS = 64
_NUMBERED = re.compile(r"(?:Band )?([0-9]+)")


def choose_bands(
    infos: Sequence[RasterInfo], names: Sequence[str], bands: Sequence[int | str] | None
) -> list[tuple[int, ...]]:
    """Return, for each scene, the numbers (from 1) of the bands to use; None means all.

    Raises BandError naming the scene where a band is missing or the scenes differ.
    """
    if bands is not None and not len(bands):
        bands = None
    if bands is None:
        chosen = [
            tuple(n for n, alpha in enumerate(info.alpha, start=1) if not alpha) for info in infos
        ]
        _check_band_order(infos, names, chosen)
    else:
        chosen = [
            tuple(_band_number(info, name, band) for band in bands)
            for info, name in zip(infos, names)
        ]
    for info, name, numbers in zip(infos, names, chosen):
        if len(numbers) != len(chosen[0]):
            raise BandError(
                f"Scene '{name}' has {len(numbers)} bands, the first scene ('{names[0]}') has "
                f"{len(chosen[0])}: pick the common ones with BANDS."
            )
        if not numbers:
            raise BandError(f"Scene '{name}' has no band; expected at least one.")
        if len(numbers) > MOST_BANDS:
            raise BandError(
                f"Scene '{name}' gives {len(numbers)} bands, the most is {MOST_BANDS}: "
                "pick some with BANDS."
            )
        if len(set(numbers)) != len(numbers):
            raise BandError(f"BANDS names a band of scene '{name}' twice; name each once.")
        for number in numbers:
            if info.dtypes[number - 1].startswith("complex"):
                raise BandError(
                    f"Band {number} of scene '{name}' is complex; expected real numbers."
                )
    return chosen


def check_band_count(bands: int) -> None:
    """Raise BandError where bands and static features together are too many."""
    if bands > MOST_BANDS:
        raise BandError(
            f"Bands and static features are {bands} together, the most is {MOST_BANDS}: pick "
            "some with BANDS, or leave features out."
        )


def _check_band_order(
    infos: Sequence[RasterInfo], names: Sequence[str], chosen: Sequence[tuple[int, ...]]
) -> None:
    def described(index: int) -> list[str]:
        return [infos[index].band_names[number - 1].strip().lower() for number in chosen[index]]

    first = described(0)
    for index in range(1, len(infos)):
        found = described(index)
        if found != first and all(first) and sorted(found) == sorted(first):
            raise BandError(
                f"Scene '{names[index]}' has the bands {', '.join(found)}, the first scene "
                f"('{names[0]}') has them as {', '.join(first)}: name them with BANDS."
            )


def _band_number(info: RasterInfo, scene: str, band: int | str) -> int:
    known = [name.strip().lower() for name in info.band_names]
    text = str(band).strip()
    if isinstance(band, str) and text and text.lower() in known:
        return known.index(text.lower()) + 1
    numbered = _NUMBERED.fullmatch(text)  # what an unnamed band is called
    number = int(numbered[1]) if numbered else 0
    if 1 <= number <= info.count:
        return number
    described = ", ".join(name for name in info.band_names if name)
    raise BandError(
        f"Scene '{scene}' has no band {text}; it has {info.count}"
        + (f" ({described})" if described else "")
        + ": correct BANDS."
    )
