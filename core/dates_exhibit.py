"""The part of a report that shows how the dates were brought together."""

from __future__ import annotations

from .exhibits import Results
from .harmonisation import Harmonise
from .page import Html, decimals, element, fixed, join, section, table

_METHODS = {
    Harmonise.NONE: "as it is",
    Harmonise.STANDARDISE: "standardised",
    Harmonise.INVARIANT: "invariant pixels",
}


def harmonised(results: Results) -> Html:
    """Return gain, offset, fit and pixels of each date and band; nothing if none was changed."""
    model = results.model
    if model.harmonised is None:
        return join(())
    dates, bands = model.harmonised.dates, len(model.band_names) - model.static_bands
    rows = []
    offsets = _offsets(results)
    digits = decimals(abs(value) for row in offsets for value in row[:bands])
    for rank, scene in enumerate(model.fit.scenes):
        cells: list[object] = [f"{scene.date}", scene.name, _METHODS[dates.methods[rank]]]
        for band in range(bands):
            cells.append(fixed(float(dates.gains[rank, band]), 3))
            cells.append(fixed(offsets[rank][band], digits))
            cells.append(fixed(float(dates.residuals[rank, band]), 3))
            cells.append(f"{int(dates.pixels[rank, band]):,}")
        cells.append(dates.reasons[rank] or "–")
        rows.append(cells)
    heads = ["Date", "Scene", "How"]
    for name in model.band_names[:bands]:
        heads += [f"{name}: gain", "offset", "misfit", "pixels"]
    text = (
        "Each date's values were taken as gain · value + offset, offsets in the input's units, "
        "before distances to the signatures were measured; the rasters stay as they are. The "
        "misfit is the root mean square distance from the line, or of the date's percentiles from "
        "the series' own, in shares of the series' spread from the 10th to the 90th percentile. "
        "Pixels are the invariant ones, or all valid ones. Signatures are those of the harmonised "
        "values."
    )
    return section(
        "Harmonised dates",
        element("p", text),
        table(
            "Gain and offset of each date and band",
            [*heads, "Remarks"],
            rows,
            text_columns=[1, 2, len(heads)],
        ),
    )


def _offsets(results: Results) -> list[list[float]]:
    """Return the offsets in the input's units: y = g·x + a for codes, value = (x + shift)·step."""
    model = results.model
    assert model.harmonised is not None
    dates = model.harmonised.dates
    found = []
    for gains, offsets in zip(dates.gains.tolist(), dates.offsets.tolist()):
        found.append(
            [
                (offset + grid.shift * (1.0 - gain)) * grid.step
                for gain, offset, grid in zip(gains, offsets, model.space.code_grids)
            ]
        )
    return found
