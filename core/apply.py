"""A model on new scenes: their bands are found by the model's names, or else by number."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any

from .errors import BandError
from .model import ClassModel
from .series import Series, open_series

_NUMBERED = re.compile(r"Band (\d+)")


def open_for(
    model: ClassModel,
    paths: Sequence[str | os.PathLike[str]],
    *,
    bands: Sequence[int | str] | None = None,
    **reading: Any,
) -> Series:
    """Describe scenes that a model is to classify; see :func:`~.series.open_series`.

    Without ``bands``, those called like the model's are taken, in the model's order. Where a
    scene has no such names, its bands are taken by number, as many as the model has, which a
    note of the series says. Raises what ``open_series`` does, and ModelError where the bands or
    static features are others than the model's.
    """
    seen = model.band_names[: len(model.band_names) - model.static_bands]
    matches = [_NUMBERED.fullmatch(name) for name in seen]
    wanted = [int(match[1]) if match else name for match, name in zip(matches, seen)]
    if bands:
        series = open_series(paths, bands=bands, **reading)
    else:
        try:
            series = open_series(paths, bands=wanted, **reading)
        except BandError as missing:
            try:
                series = open_series(paths, bands=range(1, len(seen) + 1), **reading)
            except BandError:
                raise missing from None
            series.rename_bands(seen)
            series.notes += (
                f"The scenes do not name their bands like the model ({', '.join(seen)}): bands 1 "
                f"to {len(seen)} were taken as these, in this order. Name them with BANDS if they "
                "are others.",
            )
    model.check_series(series)
    return series
