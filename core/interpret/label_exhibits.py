"""What the reports on class rasters show alike: keys, legends, maps, plots, and what ran."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ... import __version__
from .. import plots, raster
from ..errors import OutputError
from ..page import Html, element, fixed, join, page, picture, section, share, table
from ..palette import Colour
from ..raster import ClassStyle
from ..report import versions
from .label_series import LabelSeries

_MAP_SIDE = 340
_LEGEND = 24
_NO_PLOT = "Plots need the Python package matplotlib, which is not installed here."
# Few to many: pale yellow over orange to dark violet (interpolated in steps between these).
_RAMP = ((255, 245, 196), (254, 196, 79), (236, 112, 20), (174, 1, 126), (73, 0, 106))


@dataclass(frozen=True)
class MapLegend:
    """Names of what a map shows with their colours; ``more`` are not listed."""

    items: tuple[tuple[str, Colour], ...]
    more: int = 0


def plot(alt: str, draw: Callable[[], bytes]) -> Html:
    """Return a plot, or a sentence where matplotlib is missing."""
    if not plots.available():
        return element("p", _NO_PLOT, class_="soft")
    return element("figure", picture(draw(), alt), class_="plot")


def score(value: float) -> str:
    """Return a score with three decimals, without a sign where they are all 0."""
    return fixed(value + 0.0 if abs(value) >= 0.0005 or value != value else 0.0, 3)


def key(colour: Colour) -> Html:
    """Return a little box of a colour."""
    return Html('<i class=key style="background:#{:02x}{:02x}{:02x}"></i>'.format(*colour))


def named(style: ClassStyle) -> Html:
    """Return a class's name with its colour."""
    return join((key(style.colour), style.name), "")


def legend(items: Iterable[tuple[object, Colour]], more: int = 0) -> Html:
    """Return a legend; ``more`` entries are only counted."""
    rows = [element("li", key(colour), text) for text, colour in items]
    if more:
        rows.append(element("li", f"and {more:,} more"))
    return element("ul", *rows, class_="legend")


def ramp(steps: int) -> list[Colour]:
    """Return so many colours from few to many."""
    places = np.linspace(0.0, len(_RAMP) - 1.0, max(steps, 2))[:steps]
    parts = [
        np.interp(places, range(len(_RAMP)), [item[part] for item in _RAMP]) for part in range(3)
    ]
    return [(int(red), int(green), int(blue)) for red, green, blue in np.rint(parts).T]


def value_map(
    path: Path,
    title: str,
    classify: Callable[[np.ndarray], np.ndarray],
    legend_of: MapLegend,
    colours: Sequence[Colour],
) -> Html:
    """Return a small map of a raster; ``classify`` turns values into places among the colours.

    These are uint8 from 1 on, and 0 where there is no value.
    """  # fmt: skip
    preview = raster.read_preview(path, _MAP_SIDE)
    scale = max(1, round(_MAP_SIDE / max(preview.shape)))
    height, width = (scale * size for size in preview.shape)
    image = picture(
        plots.label_png(classify(preview), colours),
        f"Map: {title}",
        width=f"{width}",
        height=f"{height}",
    )
    return element(
        "figure",
        image,
        element("figcaption", element("b", title)),
        legend(legend_of.items, legend_of.more),
        style=f"width:{max(width, 300)}px",
    )


def style_map(path: Path, title: str, styles: Sequence[ClassStyle]) -> Html:
    """Return a small map of a raster whose values are those of classes, the first 254 of them."""
    shown = sorted(styles, key=lambda item: item.number)[:254]
    numbers = np.array([item.number for item in shown], np.int64)

    def classify(values: np.ndarray) -> np.ndarray:
        places = np.searchsorted(numbers, values)
        places[places == len(numbers)] = 0
        known = numbers[places] == values if len(numbers) else values != values
        return np.where(known, places + 1, 0).astype(np.uint8)

    listed = tuple((item.name, item.colour) for item in styles[:_LEGEND])
    return value_map(
        path,
        title,
        classify,
        MapLegend(listed, max(0, len(styles) - _LEGEND)),
        [item.colour for item in shown],
    )


def amount_map(
    path: Path, title: str, largest: float, nodata: float, label: Callable[[float], str]
) -> Html:
    """Return a small map of amounts from 0 to ``largest`` on a ramp of colours."""
    steps = 200
    colours = ramp(steps)

    def classify(values: np.ndarray) -> np.ndarray:
        known = np.isfinite(values) if np.isnan(nodata) else values != nodata
        part = np.where(known, values, 0) / (largest or 1.0)
        places = 1 + np.clip(np.rint(part * (steps - 1)), 0, steps - 1)
        return np.where(known, places, 0).astype(np.uint8)

    marks = [0.0, 0.25, 0.5, 0.75, 1.0]
    items = [(label(mark * largest), colours[round(mark * (steps - 1))]) for mark in marks]
    unique = tuple(dict(items).items())
    return value_map(path, title, classify, MapLegend(unique), colours)


def facts(boxes: Iterable[tuple[str, object, object]]) -> Html:
    """Return boxes with a name, a value, and what more there is to say."""
    return element(
        "dl",
        *(
            element("div", element("dt", name), element("dd", value, element("small", more)))
            for name, value, more in boxes
        ),
        class_="facts",
    )


def notices(texts: Sequence[str]) -> Html:
    """Return warnings, if there are any."""
    items = (element("li", text) for text in texts)
    return element("ul", *items, class_="notices") if texts else Html("")


def meaning(notes: Iterable[object]) -> Html:
    """Return what the numbers mean."""
    items = (element("li", note) for note in notes)
    return section("What the numbers mean", element("ul", *items))


def what_ran(
    labels: LabelSeries,
    valid: np.ndarray | None,
    settings: Sequence[tuple[str, object]],
    seconds: Sequence[tuple[str, float]],
) -> Html:
    """Return settings, seconds, versions and the class layers; ``valid`` are pixels per date."""
    grid = labels.grid
    rows = [
        ("Grid", f"{grid.width:,} × {grid.height:,} pixels, {raster.crs_label(grid.crs)}"),
        *settings,
    ]
    timing = [(step.capitalize(), f"{taken:,.2f}") for step, taken in seconds]
    whole = grid.width * grid.height
    layers: list[list[object]] = []
    for place, layer in enumerate(labels.layers):
        counts: list[object] = []
        if valid is not None:
            counts = [f"{valid[place]:,}", share(float(valid[place]) / whole)]
        layers.append([layer.date, layer.name, *counts])
    head = ["Valid pixels", "Share of the grid"] if valid is not None else []
    return section(
        "What ran",
        element(
            "div",
            table("Settings", ["", ""], rows, text_columns=[1]),
            element(
                "div",
                table("Seconds", ["", ""], timing) if timing else "",
                table("Versions", ["", ""], versions()),
            ),
            class_="beside",
        ),
        table("Class layers", ["Date", "Layer", *head], layers, text_columns=[1]),
    )


def write_page(path: Path, title: str, parts: Sequence[object]) -> None:
    """Write a report to exactly ``path``, as a staged output; raises OutputError."""
    text = page(title, f"iikmc {__version__}", element("h1", title), *parts)
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise OutputError(f"The report '{path}' cannot be written: {error.strerror}.") from error
