"""The HTML report of a classified series: one file that says what was done, and how well."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import numpy as np

from .. import __version__
from . import raster, summary
from .classify import ClassifiedScene
from .dates_exhibit import harmonised
from .errors import OutputError
from .exhibits import Results, class_areas, convergence, maps, quality, signatures
from .grid import Grid
from .model import ClassModel
from .monitor import Monitor
from .page import Html, count, element, fine_share, fixed, join, number, page, section, share, table
from .records import FitRecord

_PACKAGES = ("numpy", "numba", "rasterio", "matplotlib")


def write_report(
    path: Path,
    model: ClassModel,
    classified: Sequence[ClassifiedScene],
    grid: Grid,
    *,
    seconds: Sequence[tuple[str, float]] = (),
    title: str = "Classified series",
    monitor: Monitor | None = None,
) -> None:
    """Write the report to exactly ``path``, as a staged output.

    ``classified`` are the rasters made with ``model`` on ``grid``, at least one, where they are
    staged, or what a fit says of its scenes; ``seconds`` says what each step after the fit took.
    Raises RasterError, OutputError, and Cancelled from the monitor.
    """
    monitor = monitor or Monitor()
    results = Results.of(model, classified, grid)
    parts = [_head(results, title)]
    for part in (maps, class_areas, signatures, harmonised, convergence, quality):
        monitor.check()
        parts.append(part(results))
    monitor.check()
    parts += [_meaning(model.fit), _what_ran(results, seconds)]
    text = page(title, f"iikmc {__version__}", *parts)
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise OutputError(f"The report '{path}' cannot be written: {error.strerror}.") from error


def _head(results: Results, title: str) -> Html:
    model, fit = results.model, results.model.fit
    dates = [scene.date for scene in results.scenes]
    ends = [element("span", f"{date}", class_="date") for date in sorted({min(dates), max(dates)})]
    period = join(ends, " to ")
    pixels = results.class_pixels
    used = int((pixels > 0).sum())
    lead = (
        f"{count(len(dates), 'scene')}, ",
        period,
        f", with {count(int(pixels.sum()), 'valid pixel')} in {count(used, 'class')}",
        " that mean the same on every date. " if len(dates) > 1 else ". ",
        summary.ending(fit),
    )
    distance = number(summary.root_mean_square(fit))
    boxes = (
        ("Scenes", f"{len(dates):,}", period),
        (
            "Valid pixels",
            f"{pixels.sum():,}",
            f"{share(float(np.mean(results.valid)))} of the grid",
        ),
        ("Classes found", f"{used:,}", f"of {fit.settings.classes:,} asked for"),
        ("Iterations", f"{fit.n_iter:,}", "converged" if fit.converged else "not converged"),
        ("Last change", fine_share(fit.changed_fraction), "of the pixels"),
        ("Inertia", number(fit.inertia), f"root mean square distance {distance}"),
    )
    warnings = summary.notices(model, ((scene.name, scene.date) for scene in results.scenes))
    if results.unit == "pixels":
        warnings.append("Areas are in pixels: the CRS does not say how large a pixel is.")
    facts = (
        element("div", element("dt", name), element("dd", value, element("small", more)))
        for name, value, more in boxes
    )
    return join(
        (
            element("h1", title),
            element("p", *lead, class_="lead"),
            element("dl", *facts, class_="facts"),
            element("ul", *(element("li", text) for text in warnings), class_="notices")
            if warnings
            else "",
        )
    )


def _meaning(fit: FitRecord) -> Html:
    notes = (
        "All dates were clustered together, so a class is one signature for the whole series. A "
        "pixel that changes class from date to date has come nearer to another signature: the "
        "ground may have changed, or only season, light or haze.",
        "Classes are groups of alike spectra, not kinds of land cover. What they are has to be "
        "found out by comparing them with places that are known.",
        "Converged means that more iterations would hardly change a label. It does not mean that "
        "the classes are right, nor that their number is.",
        "Inertia is the sum of squared distances between pixels and their signatures. It compares "
        "runs on the same scenes and bands only, and more classes make it smaller. The root mean "
        f"square distance is its square root per pixel, in {summary.distance_unit(fit)}.",
        "Areas cover valid pixels only. Where dates differ in their valid area, compare shares, "
        "and mind that clouds do not hide all classes alike.",
        "Hectares are those of the map plane for a projected CRS, of the ellipsoid for a "
        "geographic one. The maps here show the nearest pixel of their rasters, not all of them.",
    )
    return section("What the numbers mean", element("ul", *(element("li", note) for note in notes)))


def _what_ran(results: Results, seconds: Sequence[tuple[str, float]]) -> Html:
    model, run, grid = results.model, results.model.run, results.grid
    settings = [
        ("Bands", ", ".join(model.band_names)),
        ("Grid", f"{grid.width:,} × {grid.height:,} pixels, {raster.crs_label(grid.crs)}"),
        ("Masks", summary.masks(model.fit)),
        *summary.settings_rows(model.fit.settings),
        ("Engine", f"{run.engine}, {count(run.threads, 'thread')}" if run else "not recorded"),
    ]
    laps = [*(run.seconds if run else ()), *seconds]
    timing = [(step.capitalize(), fixed(taken, 2)) for step, taken in laps]
    reasons = {(scene.name, scene.date): summary.left_out(scene) for scene in model.fit.scenes}
    scenes = (
        (
            scene.date,
            scene.name,
            f"{scene.class_pixels.sum():,}",
            share(valid),
            reasons.get((scene.name, scene.date), "–"),
            scene.path.name if scene.path else "–",
        )
        for scene, valid in zip(results.scenes, results.valid)
    )
    whole = ("All", fixed(sum(taken for _, taken in laps), 2))
    return section(
        "What ran",
        element(
            "div",
            table("Settings", ["", ""], settings, text_columns=[1]),
            element(
                "div",
                table("Seconds", ["", ""], timing, whole) if laps else "",
                table("Versions", ["", ""], versions()),
            ),
            class_="beside",
        ),
        table(
            "Scenes",
            ["Date", "Scene", "Valid pixels", "Share of the grid", "The rest", "Raster"],
            scenes,
            text_columns=[1, 4, 5],
        ),
    )


def versions() -> list[tuple[str, str]]:
    """Return the programs at work and their versions, without importing any."""
    found = [("iikmc", __version__), ("Python", platform.python_version())]
    for package in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found.append((package, metadata.version(package)))
    return found
