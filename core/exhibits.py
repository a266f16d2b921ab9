"""The parts of a report that show results: maps, class areas, signatures, convergence."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from . import plots, raster, summary
from .classify import ClassifiedScene
from .grid import Grid
from .model import ClassModel
from .page import Html, decimals, element, fine_share, fixed, join, picture, section, share, table

_MAP_PIXELS = 2_000_000  # in all maps together, which bounds the size of the file
_MAP_SIDE = (80, 340)  # three in a row at most
_REPEATED_LEGEND = 20
_NO_PLOT = "Plots need the Python package matplotlib, which is not installed here."


@dataclass(frozen=True)
class Results:
    """A model and the scenes classified with it, as the parts of a report need them.

    ``areas``, (scenes, classes), are in ``unit``; ``valid`` is the share of the grid that is
    valid in each scene; ``labels`` are dates, with the scene's name where a date comes twice.
    """

    model: ClassModel
    scenes: tuple[ClassifiedScene, ...]
    labels: tuple[str, ...]
    areas: np.ndarray
    unit: str
    valid: tuple[float, ...]
    grid: Grid

    @classmethod
    def of(cls, model: ClassModel, classified: Sequence[ClassifiedScene], grid: Grid) -> Results:
        """Put together what scenes, at least one, have on a grid."""
        scenes = tuple(classified)
        often = Counter(scene.date for scene in scenes)
        hectares = [scene.hectares for scene in scenes if scene.hectares is not None]
        known = len(hectares) == len(scenes)
        pixels = np.array([scene.class_pixels for scene in scenes], np.float64)
        return cls(
            model=model,
            scenes=scenes,
            labels=tuple(
                f"{scene.date}" if often[scene.date] == 1 else f"{scene.date} {scene.name}"
                for scene in scenes
            ),
            areas=np.array(hectares) if known else pixels,
            unit="hectares" if known else "pixels",
            valid=tuple((pixels.sum(axis=1) / (grid.width * grid.height)).tolist()),
            grid=grid,
        )

    @property
    def class_pixels(self) -> np.ndarray:
        """Number of pixels of each class on all dates, int64."""
        return np.sum([scene.class_pixels for scene in self.scenes], axis=0)


def maps(results: Results) -> Html:
    """Return small maps of all dates side by side, with the legend of the classes."""
    rasters = [scene.staged for scene in results.scenes if scene.staged is not None]
    if not rasters:
        return section("Maps", element("p", "The series was fitted only: there are no rasters."))
    shortest, longest = _MAP_SIDE
    side = math.isqrt(_MAP_PIXELS // len(results.scenes))
    side = min(max(side, shortest), longest)
    figures = []
    for scene, path, label, valid in zip(results.scenes, rasters, results.labels, results.valid):
        preview = raster.read_preview(path, side)
        scale = max(1, round(side / max(preview.shape)))
        height, width = (scale * size for size in preview.shape)
        image = picture(
            plots.label_png(preview, results.model.colours),
            f"Map of the classes, {label}",
            width=f"{width}",
            height=f"{height}",
            title=scene.name,
        )
        caption = element("figcaption", element("b", label), f" {share(valid)} valid")
        style = f"width:{max(width, shortest)}px"
        figures.append(element("figure", image, caption, style=style))
    text = "All dates have one palette. Of large rasters, each map shows only some pixels."
    return section(
        "Maps",
        element("p", text),
        _legend(results, nodata=True),
        element("div", join(figures), class_="maps"),
    )


def _legend(results: Results, *, nodata: bool = False) -> Html:
    """Return a legend of the classes with their share of all valid area.

    That of the maps has "not valid" too; a long one is not given again.
    """
    if not nodata and len(results.model.names) > _REPEATED_LEGEND:
        return element("p", "The colours are those of the maps.", class_="soft")
    total = results.areas.sum() or 1.0  # all of it may be masked
    items = [
        element("li", _key(results, row), f"{name} · {share(area / total)}", title=name)
        for row, (name, area) in enumerate(zip(results.model.names, results.areas.sum(axis=0)))
    ]
    if nodata:
        items.append(element("li", element("span", class_="key"), "not valid"))
    return element("ul", *items, class_="legend")


def _key(results: Results, row: int) -> Html:
    colour = "#{:02x}{:02x}{:02x}".format(*results.model.colours[row])
    return Html(f'<i class=key style="background:{colour}"></i>')


def _named(results: Results, row: int) -> Html:
    return join((_key(results, row), results.model.names[row]), "")


def class_areas(results: Results) -> Html:
    """Return the area of each class on each date as a stacked plot and a table."""
    areas, unit = results.areas, results.unit
    totals = areas.sum(axis=1)
    exact = unit == "pixels"
    places, whole = (0, 0) if exact else (decimals(areas.ravel()), decimals(totals))

    def row(head: object, values: np.ndarray, total: float) -> list[object]:
        cells = [
            Html(f"{fixed(value, places)} <small>{share(value / total)}</small>") if value else "–"
            for value in values.tolist()
        ]
        return [head, fixed(total, whole), *cells]

    mean, dates = areas.mean(axis=0), [f"{scene.date}" for scene in results.scenes]
    names = [_named(results, place) for place in range(len(results.model.names))]
    return section(
        "Class areas",
        _plot(
            "Stacked bars of the area of each class on each date; the table below has the numbers",
            lambda: plots.area_plot(areas, dates, results.model.colours, unit.capitalize()),
        ),
        _legend(results),
        table(
            f"Area in {unit}, and share of the date's valid area",
            ["Date", "Valid area", *names],
            (row(*values) for values in zip(results.labels, areas, totals.tolist())),
            row("Mean", mean, float(mean.sum())) if len(areas) > 1 else None,
        ),
    )


def signatures(results: Results) -> Html:
    """Return the class centres as a plot and a table."""
    model = results.model
    centres, pixels = model.signatures, results.class_pixels
    places = [decimals(values) for values in centres.T.tolist()]
    rows = (
        [
            _named(results, row),
            f"{row + 1}",
            f"{pixels[row]:,}",
            *(fixed(value, digits) for value, digits in zip(values, places)),
        ]
        for row, values in enumerate(centres.tolist())
    )
    scaled = summary.is_scaled(model.fit)
    units = [fixed(unit, decimals([unit])) for unit in model.space.units]
    text = "The centre of each class in the values of the input, for all dates alike."
    if scaled:
        text += (
            f" Distances were taken after scaling each band by its {summary.scale(model.fit)}: the "
            "last line of the table says how much of a band counts as 1."
        )
    return section(
        "Signatures",
        element("p", text),
        _plot(
            "One line for each class over the bands; the table below has the numbers",
            lambda: plots.signature_plot(centres, model.band_names, model.colours),
        ),
        _legend(results),
        table(
            "Class centres, in the input's units",
            ["Class", "Number", "Pixels", *model.band_names],
            rows,
            ["Counts as 1", "", "", *units] if scaled else None,
        ),
    )


def convergence(results: Results) -> Html:
    """Return how the fit went from iteration to iteration, and how near it came to its end."""
    fit = results.model.fit
    # Batches differ in their pixels.
    rest = 0 if fit.settings.strategy == "mini-batch" else fit.valid_pixels
    pixels = [fit.sample_pixels] * fit.sample_iterations
    pixels += [rest] * (fit.n_iter - fit.sample_iterations)
    rows = (
        (
            f"{step}",
            fine_share(changed),
            f"{round(changed * seen):,}" if seen else "–",
            fine_share(shift),
        )
        for step, (changed, shift, seen) in enumerate(zip(fit.changed, fit.shift, pixels), start=1)
    )
    shift = fit.shift if fit.settings.stop_rule == "shift" else None
    steps = table(
        "All iterations",
        ["Iteration", "Changed class", "Pixels", "Shift of the centres, of the spread"],
        rows,
    )
    return section(
        "Convergence",
        element("p", f"{summary.ending(fit)} {summary.trend(fit)}"),
        _plot(
            "The share of pixels that changed class in each iteration, on a logarithmic axis",
            lambda: plots.convergence_plot(fit.changed, shift, fit.settings.tol),
        ),
        element("details", element("summary", "All iterations in numbers"), steps),
    )


def quality(results: Results) -> Html:
    """Return how compact the classes are and how well apart, together and one by one."""
    model = results.model
    found, pixels = model.fit.quality, model.fit.class_pixels
    used = [row for row, count in enumerate(pixels) if count]
    if found is None:
        why = "the model's file does not say" if len(used) > 1 else "there is nothing to compare"
        return section("Quality", element("p", f"Not measured: {why}."))
    places = model.signatures / np.array(model.space.units)
    between = np.linalg.norm(places[:, None] - places[used], axis=2)
    between[used, range(len(used))] = np.inf
    apart, nearest = between.min(axis=1).tolist(), between.argmin(axis=1)
    digits = decimals(apart[row] for row in used)

    def row(place: int) -> list[object]:
        silhouette, distance = found.class_silhouettes[place], found.class_distances[place]
        if silhouette is None or distance is None:
            return [_named(results, place), f"{pixels[place]:,}", "–", "–", "–", "–"]
        return [
            _named(results, place),
            f"{pixels[place]:,}",
            fixed(silhouette, 3),
            fixed(distance, digits),
            fixed(apart[place], digits),
            _named(results, used[nearest[place]]),
        ]

    text = (
        "Whether the classes are compact and well apart. Land cover often changes gradually, so "
        "that even useful classes touch; a class with a low silhouette is one to look at, and "
        "perhaps to merge with its nearest."
    )
    return section(
        "Quality",
        element("p", text),
        table(
            "All classes together, over the scenes of the fit",
            ["Measure", "Value", "Computed on", "Meaning"],
            summary.quality_rows(found, model.fit.valid_pixels),
            text_columns=[2, 3],
        ),
        table(
            f"Class by class, distances in {summary.distance_unit(model.fit)}",
            [
                "Class",
                "Pixels",
                "Simplified silhouette",
                "Mean distance to the signature",
                "To the nearest other signature",
                "Which is that of",
            ],
            (row(place) for place in range(len(model.names))),
            text_columns=[5],
        ),
    )


def _plot(alt: str, draw: Callable[[], bytes]) -> Html:
    if not plots.available():
        return element("p", _NO_PLOT, class_="soft")
    return element("figure", picture(draw(), alt), class_="plot")
