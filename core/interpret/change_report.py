"""The HTML report on what changed between class rasters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .. import plots
from ..monitor import Monitor
from ..page import Html, count, decimals, element, fixed, join, section, share, table
from ..raster import ClassStyle
from . import change_plots
from .changes import NO_COUNT, MeasuredChanges, Transitions, change_styles, date_styles
from .label_exhibits import (
    amount_map,
    facts,
    legend,
    meaning,
    named,
    notices,
    plot,
    style_map,
    what_ran,
    write_page,
)

_LARGEST = 12
_TABLE_CLASSES = 40  # a matrix of more cannot be read


def write_change_report(
    path: Path,
    found: MeasuredChanges,
    *,
    seconds: Sequence[tuple[str, float]] = (),
    monitor: Monitor | None = None,
) -> None:
    """Write the report to exactly ``path``, as a staged output.

    Raises RasterError, OutputError, and Cancelled from the monitor.
    """
    monitor = monitor or Monitor()
    parts: list[Html] = []
    for part in (_head, _maps, _between, _areas, _steps):
        monitor.check()
        parts.append(part(found))
    monitor.check()
    first, second = _ends(found)
    settings = [("From", first), ("To", second)]
    valid = found.class_pixels.sum(axis=1)
    parts += [_meaning(), what_ran(found.labels, valid, settings, seconds)]
    dates = found.labels.dates
    write_page(path, f"Class changes, {dates[0]} to {dates[-1]}", parts)


def _ends(found: MeasuredChanges) -> tuple[str, str]:
    labels = [layer.label for layer in found.labels.layers]
    return labels[found.between.first], labels[found.between.second]


def _unit(found: MeasuredChanges) -> str:
    return "pixels" if found.class_hectares is None else "hectares"


def _ground(item: Transitions) -> np.ndarray:
    return item.pixels if item.hectares is None else item.hectares


def _head(found: MeasuredChanges) -> Html:
    first, second = _ends(found)
    pixels, ground, unit = found.between.pixels, _ground(found.between), _unit(found)
    total, same = float(ground.sum()), float(np.trace(ground))
    seen = int(found.counts.sum())
    numbers = np.arange(len(found.counts))
    mean = float(found.counts @ numbers) / seen if seen else float("nan")
    if total:
        lead = (
            f"From {first} to {second}, {share((total - same) / total)} of the area that is valid "
            f"on both dates changed class: {_amount(total - same, found)} of "
            f"{_amount(total, found)}."
        )
    else:
        lead = f"No pixel is valid on {first} and on {second}."
    away = ground.copy()
    np.fill_diagonal(away, 0)
    largest = np.unravel_index(int(away.argmax()), away.shape)
    names = [item.name for item in found.labels.styles]
    boxes = [
        (
            "Class layers",
            f"{len(found.labels):,}",
            f"{found.labels.dates[0]} to {found.labels.dates[-1]}",
        ),
        (
            "Changed class",
            share((total - same) / total) if total else "–",
            f"{first} to {second}",
        ),
        ("Compared", f"{int(pixels.sum()):,}", "pixels valid on both"),
        (
            "Largest change",
            f"{names[largest[0]]} → {names[largest[1]]}" if away.any() else "–",
            _amount(float(away.max(initial=0.0)), found),
        ),
        ("Changes of a pixel", fixed(mean, 1), "on average, over all dates"),
        ("Never changed", share(int(found.counts[0]) / seen) if seen else "–", "of the pixels"),
    ]
    texts = [*found.labels.notes]
    if unit == "pixels":
        texts.append("Areas are in pixels: the CRS does not say how large a pixel is.")
    return join((element("p", lead, class_="lead"), facts(boxes), notices(texts)))


def _amount(value: float, found: MeasuredChanges) -> str:
    if _unit(found) == "pixels":
        return count(int(value), "pixel")
    return f"{fixed(value, min(2, decimals([value])))} hectares"


def _maps(found: MeasuredChanges) -> Html:
    most = found.most_changes
    first, second = _ends(found)
    changes = change_styles(found.labels.styles, found.between.pixels)
    maps = (
        style_map(found.from_to, f"{first} to {second}", _largest_first(changes, found)),
        style_map(found.last_change, "Last change", date_styles(found.labels, found.lasts)),
        amount_map(
            found.change_count, "Number of changes", most, NO_COUNT, lambda value: fixed(value, 0)
        ),
        style_map(found.majority, "Most frequent class", found.labels.styles),
    )
    text = (
        "A change has the colour of the class it ends in, with some of that it began in; what "
        "kept its class is pale. Of large rasters, each map shows only some pixels."
    )
    return section("Maps", element("p", text), element("div", join(maps), class_="maps"))


def _largest_first(styles: Sequence[ClassStyle], found: MeasuredChanges) -> list[ClassStyle]:
    pixels = found.between.pixels
    classes = len(pixels)
    amount = {item.number: int(pixels[divmod(item.number - 1, classes)]) for item in styles}
    return sorted(styles, key=lambda item: (-amount[item.number], item.number))


def _between(found: MeasuredChanges) -> Html:
    first, second = _ends(found)
    classes, ground, unit = found.labels.styles, _ground(found.between), _unit(found)
    before, after, kept = ground.sum(axis=1), ground.sum(axis=0), np.diagonal(ground)
    total = float(ground.sum())
    places = 0 if unit == "pixels" else decimals(ground.ravel())

    def cell(value: float) -> object:
        if not value:
            return "–"
        return Html(f"{fixed(value, places)} <small>{share(value / total)}</small>")

    balance = [
        [
            named(item),
            *(cell(float(value)) for value in (before[row], after[row])),
            *(
                fixed(float(value), places)
                for value in (
                    kept[row],
                    before[row] - kept[row],
                    after[row] - kept[row],
                    after[row] - before[row],
                )
            ),
        ]
        for row, item in enumerate(classes)
    ]
    matrix: object = ""
    if len(classes) <= _TABLE_CLASSES:
        rows = [
            [named(item), *(cell(float(value)) for value in ground[row]), cell(float(before[row]))]
            for row, item in enumerate(classes)
        ]
        matrix = table(
            f"From the class on {first} (rows) to that on {second}, in {unit}, and share of all",
            ["From \\ to", *(named(item) for item in classes), "All"],
            rows,
            ["All", *(cell(float(value)) for value in after), cell(total)],
        )
    return section(
        f"From {first} to {second}",
        plot(
            "Heat map of the class each class went to; the table below has the areas",
            lambda: change_plots.transition_plot(
                found.between.pixels, [item.name for item in classes], first, second
            ),
        ),
        element("p", f"Shares of the pixels that each class had on {first}.", class_="soft"),
        matrix,
        table(
            f"What each class kept, lost and gained, in {unit}",
            ["Class", first, second, "Kept", "Lost", "Gained", "Balance"],
            balance,
        ),
        _largest(found, ground, total, places),
    )


def _largest(found: MeasuredChanges, ground: np.ndarray, total: float, places: int) -> Html:
    away = ground.copy()
    np.fill_diagonal(away, 0)
    order = np.argsort(-away, axis=None, kind="stable")[:_LARGEST]
    classes, rows = found.labels.styles, []
    for place in order.tolist():
        row, column = divmod(place, len(classes))
        if away[row, column]:
            value = float(away[row, column])
            change = join((named(classes[row]), named(classes[column])), " → ")
            rows.append([change, fixed(value, places), share(value / total)])
    if not rows:
        return element("p", "No pixel changed class between the two dates.")
    return table("The largest changes", ["Change", _unit(found).capitalize(), "Of all"], rows)


def _areas(found: MeasuredChanges) -> Html:
    unit, classes = _unit(found), found.labels.styles
    pixels = found.class_pixels.astype(np.float64)
    areas = pixels if found.class_hectares is None else found.class_hectares
    totals = areas.sum(axis=1)
    places = 0 if unit == "pixels" else decimals(areas.ravel())

    def row(place: int) -> list[object]:
        cells = [
            Html(f"{fixed(value, places)} <small>{share(value / totals[place])}</small>")
            if value
            else "–"
            for value in areas[place].tolist()
        ]
        return [found.labels.layers[place].label, fixed(float(totals[place]), places), *cells]

    dates = [f"{date}" for date in found.labels.dates]
    colours = [item.colour for item in classes]
    return section(
        "Class areas",
        plot(
            "Stacked bars of the area of each class on each date; the table below has the numbers",
            lambda: plots.area_plot(areas, dates, colours, unit.capitalize()),
        ),
        legend([(item.name, item.colour) for item in classes]),
        table(
            f"Area in {unit}, and share of the date's valid area",
            ["Date", "Valid area", *(named(item) for item in classes)],
            (row(place) for place in range(len(areas))),
        ),
    )


def _steps(found: MeasuredChanges) -> Html:
    labels = [layer.label for layer in found.labels.layers]
    totals = [float(_ground(step).sum()) for step in found.steps]
    moved = [total - float(np.trace(_ground(step))) for step, total in zip(found.steps, totals)]
    shares = [part / total if total else float("nan") for part, total in zip(moved, totals)]
    unit = _unit(found)
    places = 0 if unit == "pixels" else decimals(totals)
    whole = np.sum([step.pixels for step in found.steps], axis=0)
    rows = [
        [
            f"{labels[step.first]} – {labels[step.second]}",
            f"{(found.labels.dates[step.second] - found.labels.dates[step.first]).days:,}",
            fixed(total, places),
            fixed(part, places),
            share(value) if total else "–",
        ]
        for step, total, part, value in zip(found.steps, totals, moved, shares)
    ]
    dates = [found.labels.dates[step.second] for step in found.steps]
    names = [item.name for item in found.labels.styles]
    return section(
        "From each date to the next",
        plot(
            "A line of the share that changed class since the date before",
            lambda: change_plots.dates_plot(
                dates, [("changed", shares)], "Changed class since the date before"
            ),
        ),
        plot(
            "Heat map of the class each class went to from a date to the next, all together",
            lambda: change_plots.transition_plot(whole, names, "A date", "The next date"),
        ),
        element("p", "Shares of the pixels of each class, over all steps.", class_="soft"),
        table(
            f"Steps from a date to the next, areas in {unit}",
            ["Dates", "Days", "Valid on both", "Changed class", "Share"],
            rows,
        ),
    )


def _meaning() -> Html:
    return meaning(
        (
            "A change is a change of class: of the ground, of the season, or only of light, haze "
            "or an undetected cloud. A class that swings with the season changes twice a year; "
            "compare dates of one season where lasting change is asked for.",
            "From a date to another, only pixels count that are valid on both. The number of "
            "changes goes from each valid date of a pixel to its next, over all dates.",
            "Last change: the first date with the class that then stayed to the end. Where a pixel "
            "is not valid for some time before, the change may be older.",
            "Kept, lost and gained: pixels with the class on both dates, on the first only, on the "
            "second only. Balance is gained less lost; it can be 0 where much has moved about.",
            "Hectares are those of the map plane for a projected CRS, of the ellipsoid for a "
            "geographic one.",
        )
    )
