"""A fit in plain sentences: how it ended, how converged it is, and what to beware of."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable

from .model import ClassModel
from .page import count, fine_share, fixed, listing, number, share
from .quality import Quality
from .records import FitRecord, FitSettings, SceneRecord
from .valid import LeftOut

_TREND = 10

_INIT = {
    "minmax": "evenly from the minimum to the maximum of each band (Han & Lee 2024)",
    "k-means++": "k-means++",
    "model": "given, by a model or a table",
}
_STRATEGY = {
    "full": "every pixel in every iteration",
    "progressive": "a sample first ({share}), then every pixel",
    "sample": "a sample ({share}); every pixel is classified",
    "mini-batch": "a sample, then mini-batches ({share} each); every pixel is classified",
}
_MASKS = {
    "none": "none",
    "valid": "valid where not 0",
    "masked": "masked where not 0",
    "qa_pixel": "Landsat QA_PIXEL",
    "scl": "Sentinel-2 SCL",
    "udm2": "PlanetScope UDM2",
}
_EMPTY = {
    "keep": "keep their centre",
    "relocate": "get the pixel farthest from all centres",
    "drop": "are dropped",
}
_HARMONISE = {
    "none": "no",
    "standardise": "standardised to {}",
    "invariant": "by invariant pixels, to {}",
}
_SCALING = {
    "none": "none",
    "minmax": "range of each band to 1",
    "zscore": "standard deviation of each band to 1",
}
_SCALE = {"minmax": "range", "zscore": "standard deviation"}
_SPREAD = "spread from the 10th to the 90th percentile"
_ORDER = {
    "brightness": "by brightness, darkest first",
    "size": "by size, largest first",
    "seeded": "as their first centres came",
}


def settings_rows(settings: FitSettings) -> list[tuple[str, str]]:
    """Return the settings as names and values in words."""
    shift = settings.stop_rule == "shift"
    measure = "the centres move by" if shift else "the pixels that change class are"
    whole = "of the spread" if shift else "of all"
    strategy = _STRATEGY.get(settings.strategy, settings.strategy)
    stop = f"{measure} at most {fine_share(settings.tol)} {whole}"
    if settings.strategy == "mini-batch":
        stop = f"the smoothed inertia of the batches no longer falls; on the sample, when {stop}"
    to = settings.harmonise_reference or "the median of the dates"
    smoothing = (
        f"hidden Markov, strength {settings.temporal_strength:g}"
        if settings.temporal == "markov"
        else "no"
    )
    scaling = _SCALING.get(settings.scaling, settings.scaling)
    if settings.scaling == "none" and settings.harmonise != "none":
        scaling = "spread of each band, over the harmonised dates, to 1"
    rows = [
        ("Harmonised dates", _HARMONISE.get(settings.harmonise, settings.harmonise).format(to)),
        ("Smoothing along the dates", smoothing),
        ("Scaling of the bands", scaling),
        ("Classes asked for", f"{settings.classes:,}"),
        ("First centres", _INIT.get(settings.init, settings.init)),
        ("Pixels used", strategy.format(share=fine_share(settings.sample_fraction))),
        ("Stop when", stop),
        ("Iterations at most", f"{settings.max_iter:,}"),
        ("Classes without a pixel", _EMPTY.get(settings.empty, settings.empty)),
        ("Class numbers", _ORDER.get(settings.order, settings.order)),
        ("Seed", f"{settings.seed}"),
    ]
    return rows if settings.init != "model" else [row for row in rows if row[0] != "Class numbers"]


def scale(fit: FitRecord) -> str:
    """Return what each band was divided by, in words."""
    return _SCALE.get(fit.settings.scaling, _SPREAD if is_scaled(fit) else "1")


def is_scaled(fit: FitRecord) -> bool:
    """Return whether bands were divided by something: harmonised ones are, by their spread."""
    return fit.settings.scaling != "none" or fit.settings.harmonise != "none"


def distance_unit(fit: FitRecord) -> str:
    """Return what distances are measured in."""
    if not is_scaled(fit):
        return "the input's units"
    unit = _SCALE.get(fit.settings.scaling, "spread")
    return f"{unit}s of the bands"


def left_out(scene: SceneRecord) -> str:
    """Return what shares of a scene's grid do not count, and why."""
    total = scene.valid_pixels + sum(scene.left_out)
    shares = (
        f"{share(pixels / total)} {reason.words}"
        for reason, pixels in zip(LeftOut, scene.left_out)
        if pixels
    )
    return ", ".join(shares) or "–"


def masks(fit: FitRecord) -> str:
    """Return which masks the scenes of the fit had, in words."""
    return _MASKS.get(fit.masks, fit.masks)


def ending(fit: FitRecord) -> str:
    """Return how the fit ended: after how many iterations, and whether converged."""
    settings = fit.settings
    if fit.converged:
        start = f"The fit converged after {count(fit.n_iter, 'iteration')}"
    else:
        start = (
            f"The fit did not converge in {count(fit.n_iter, 'iteration')}, the most it was allowed"
        )
    if 0 < fit.sample_iterations < fit.n_iter:
        start += f" ({fit.sample_iterations:,} of them on a sample)"
    whose = "sampled pixels" if fit.sample_iterations == fit.n_iter else "pixels"
    if settings.strategy == "mini-batch":
        whose = "batch's pixels"
    moved = f"{fine_share(fit.changed_fraction)} of the {whose} changed class"
    if settings.stop_rule == "shift":
        shift = f"the centres moved by {fine_share(fit.shift[-1])} of the spread"
        return f"{start}: in the last, {shift} (tolerance {fine_share(settings.tol)}) and {moved}."
    return f"{start}: in the last, {moved} (tolerance {fine_share(settings.tol)})."


def trend(fit: FitRecord) -> str:
    """Return how far the labels still are from where they would settle.

    If the changed fraction c goes on falling by the factor r of the last iterations, the sum
    of all that is still to come is c·r / (1 − r). Pixels that change twice count twice.
    """
    if fit.settings.strategy == "mini-batch":
        return _training(fit)
    sampled = fit.sample_iterations if fit.sample_iterations < fit.n_iter else 0
    changed = fit.changed[sampled:]
    # In the first iteration every pixel takes its first class: that is no trend.
    last, steps = changed[-1], min(_TREND, len(changed) - 2)
    if last == 0.0:
        return "No pixel changed class in the last iteration: the labels have settled for good."
    if steps < 2:
        return "There are too few iterations to tell how far the labels are from settling."
    first = changed[-1 - steps]
    factor = (last / first) ** (1 / steps) if first > last else 1.0
    rest = last * factor / (1 - factor) if factor < 1.0 else 1.0
    if rest >= 0.5:
        return (
            f"The changes were hardly falling over the last {steps} iterations: the labels are "
            "still far from settling. Allow more iterations or a smaller tolerance."
        )
    return (
        f"Over the last {steps} iterations the changes fell by {fine_share(1 - factor)} each. "
        f"Going on like this, about {fine_share(rest)} of the pixels would still change class "
        "before the labels settle; more, should the changes rise again on the way."
    )


def structure(silhouette: float) -> str:
    """Return what a mean silhouette says, by Kaufman & Rousseeuw (1990, Finding Groups in Data)."""
    for least, words in ((0.7, "strong"), (0.5, "reasonable"), (0.25, "weak")):
        if silhouette > least:
            return f"{words} structure"
    return "no substantial structure"


def quality_rows(quality: Quality, pixels: int) -> list[tuple[str, str, str, str]]:
    """Return the measures of all classes together: name, value, from which pixels, meaning."""
    every = f"all {pixels:,} pixels"
    sample = quality.silhouette_pixels
    some = every if sample == pixels else f"a sample of {sample:,}, even over scenes and places"
    simplified, exact = quality.simplified_silhouette, quality.silhouette
    ratio = quality.calinski_harabasz
    return [
        (
            "Simplified silhouette",
            fixed(simplified, 3),
            every,
            f"{structure(simplified).capitalize()}. How much nearer pixels are to their own "
            "signature than to the nearest other: 1 is far nearer, 0 no nearer.",
        ),
        (
            "Silhouette",
            "–" if exact is None else fixed(exact, 3),
            some,
            ("" if exact is None else f"{structure(exact).capitalize()}. ")
            + "The same with mean distances to the pixels of the classes (Rousseeuw 1987), as most "
            "other programs compute it.",
        ),
        (
            "Davies-Bouldin",
            fixed(quality.davies_bouldin, 3),
            every,
            "How wide classes are for their distance, in the worst pairs: lower is better.",
        ),
        (
            "Calinski-Harabasz",
            "–" if ratio is None else number(ratio),
            every,
            "Variance between classes over that within them: higher is better, among runs on the "
            "same scenes and bands.",
        ),
    ]


def _training(fit: FitRecord) -> str:
    """Return how well signatures of mini-batches fit pixels they have seen, and others."""
    if fit.held_out is None:
        return "The series is too small to hold out pixels that the mini-batches do not see."
    out = fit.held_out
    seen = (fit.inertia - out.inertia) / (fit.valid_pixels - out.pixels)
    return (
        f"The mean squared distance to the signatures is {seen:.5g} for the pixels trained on, and "
        f"{out.inertia / out.pixels:.5g} for the {count(out.pixels, 'pixel')} held out: the closer "
        "the two, the better the signatures hold for what they have not seen."
    )


def root_mean_square(fit: FitRecord) -> float:
    """Return the root mean square distance of pixels to their signature; unit: distance_unit."""
    return math.sqrt(fit.inertia / fit.valid_pixels) if fit.valid_pixels else math.nan


def notices(model: ClassModel, scenes: Iterable[tuple[str, dt.date]]) -> list[str]:
    """Return what a reader should know before using the result; ``scenes`` are those classified."""
    fit, found = model.fit, []
    if not fit.converged:
        found.append(
            "Not converged: pixels would go on changing class if MAX_ITERATIONS were higher."
        )
    dropped = fit.settings.classes - len(model.names)
    if dropped > 0:
        found.append(f"{count(dropped, 'class')} of those asked for lost all pixels and went.")
    empty = [name for name, pixels in zip(model.names, fit.class_pixels) if not pixels]
    if empty:
        found.append(
            f"No pixel of the fit belongs to {listing(empty)}: fewer classes would do, or EMPTY "
            "set to relocate."
        )
    beyond = [
        f"{count(values, 'value')} in {band}"
        for band, values in zip(model.band_names, fit.saturated)
        if values
    ]
    if beyond:
        found.append(f"Values far outside the usual range were cut to its ends: {listing(beyond)}.")
    fitted = {(scene.name, scene.date) for scene in fit.scenes}
    if fitted != set(scenes):
        found.append(
            f"The model was fitted on other scenes ({len(fitted):,}, {fit.valid_pixels:,} pixels); "
            "iterations and inertia are theirs."
        )
    return found
