"""A model on new scenes: their bands are found by the model's names, or else by number."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from .errors import BandError
from .model import ClassModel
from .opening import open_series
from .raster import describe
from .series import Series


def open_for(
    model: ClassModel,
    paths: Sequence[str | os.PathLike[str]],
    *,
    bands: Sequence[int | str] | None = None,
    **reading: Any,
) -> Series:
    """Describe scenes that a model is to classify; see :func:`~.opening.open_series`.

    Without ``bands``, those called like the model's are taken, in the model's order. Where a
    scene has no such names, its bands are taken by number, as many as the model has, unless
    it has some of the names in other places. ``bands`` and static features may be called
    otherwise than the model's. A note of the series says what was not found by its name. Raises
    what ``open_series`` does, and ModelError where there are more or fewer bands or static
    features than the model has, or the same ones in another order.
    """
    seen = model.band_names[: len(model.band_names) - model.static_bands]
    unnamed = False
    try:
        series = open_series(paths, bands=bands or seen, **reading)
    except BandError as missing:
        if bands or any(_elsewhere(path, seen) for path in paths):
            raise
        try:
            series = open_series(paths, bands=range(1, len(seen) + 1), **reading)
        except BandError:
            raise missing from None
        unnamed = True
    found, wanted = (list(map(_plain, item.band_names)) for item in (series, model))
    alike = len(found) == len(wanted) and series.static_bands == model.static_bands
    if alike and (unnamed or (found != wanted and sorted(found) != sorted(wanted))):
        series.notes += (
            f"Not all bands are called what the model calls them: {', '.join(series.band_names)} "
            f"were taken as its {', '.join(model.band_names)}, in this order. List others with "
            "BANDS, or STATIC, if these are not the same.",
        )
        series.rename_bands(model.band_names)
    model.check_series(series)
    return series


def _elsewhere(path: str | os.PathLike[str], seen: Sequence[str]) -> bool:
    """Return whether a raster has bands called like the model's, but at other places."""
    names = list(map(_plain, describe(path).band_names))
    return any(
        _plain(name) in names and names.index(_plain(name)) != place
        for place, name in enumerate(seen)
    )


def _plain(name: str) -> str:
    return name.strip().lower()
