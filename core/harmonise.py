"""Relative radiometric normalisation: a gain and an offset for each date and band, in codes.

Each date's robust centre and spread are mapped onto the series' own, or lines are fitted to
pixels that did not change. All of it runs on whole numbers, or on one host code path in a
fixed order.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from .grid import Grid
from .harmonisation import (
    LEAST_PIXELS,
    MOST_GAIN,
    Harmonisation,
    Harmonise,
    Reference,
    SceneQuantiles,
)
from .invariant import invariant
from .monitor import Monitor
from .pairing import PairedReference, common_places, paired_codes, place_count
from .pixels import PixelStore
from .placing import same_grid


@dataclass(frozen=True)
class Drawn:
    """Where places were drawn: the seed, about how many, and the grid."""

    seed: int
    count: int
    grid: Grid

    def places(self) -> np.ndarray:
        """Return them, int64, ascending."""
        return common_places(self.seed, self.grid.height, self.grid.width, self.count)


@dataclass(frozen=True)
class Harmonised:
    """A series' harmonisation, and what is needed to bring a new date to the same reference.

    ``paired`` are the reference's codes at the places that were ``drawn``; both None unless the
    method is invariant pixels.
    """

    dates: Harmonisation
    paired: PairedReference | None = None
    drawn: Drawn | None = None

    def bring(
        self,
        store: PixelStore,
        *,
        fixed: Collection[int] = (),
        threads: int = 1,
        monitor: Monitor | None = None,
    ) -> Harmonised:
        """Bring the scenes of a store to this one's reference; see :func:`harmonise`.

        Invariant pixels need the places of the reference: on another grid, or of another part of
        the ground, the scenes are standardised instead, which their reasons say.
        """
        standard = standardise(store.scene_quantiles, self.dates.reference, fixed)
        if self.paired is None or self.drawn is None:
            return Harmonised(standard)
        if not same_grid(store.grid, self.drawn.grid):
            why = "standardised, for the reference's invariant pixels are of another grid"
            reasons = tuple("; ".join(filter(None, (old, why))) for old in standard.reasons)
            return Harmonised(replace(standard, reasons=reasons))
        codes = paired_codes(store, self.drawn.places(), threads, monitor)
        dates, _ = invariant(
            codes, standard, reference=self.paired, fixed=fixed, threads=threads, monitor=monitor
        )
        return Harmonised(dates, self.paired, self.drawn)

    def as_json(self) -> dict[str, Any]:
        """Return plain lists, numbers and text."""
        content: dict[str, Any] = {"dates": self.dates.as_json()}
        if self.paired is not None and self.drawn is not None:
            content["paired"] = self.paired.as_json()
            content["drawn"] = asdict(self.drawn)
        return content

    @classmethod
    def of_json(cls, content: dict[str, Any]) -> Harmonised:
        """Return what was kept as JSON; raises an error of some kind if it is damaged."""
        dates = Harmonisation.of_json(content["dates"])
        if "paired" not in content:
            return cls(dates)
        drawn = dict(content["drawn"])
        grid = dict(drawn["grid"])
        grid["transform"] = tuple(map(float, grid["transform"]))
        known = Drawn(int(drawn["seed"]), int(drawn["count"]), Grid(**grid))
        paired = PairedReference.of_json(content["paired"])
        if known.count < 1 or len(known.places()) != len(paired.valid):
            raise ValueError("bad places")
        return cls(dates, paired, known)


def harmonise(
    method: Harmonise,
    store: PixelStore,
    scenes: Sequence[SceneQuantiles],
    *,
    itself: int | None = None,
    fixed: Collection[int] = (),
    seed: int = 0,
    threads: int = 1,
    monitor: Monitor | None = None,
) -> Harmonised:
    """Harmonise the scenes of a series, whose quantiles were taken while it was read.

    ``itself`` is the rank of the scene that is the reference of the invariant pixels; None: the
    median over the dates. Bands that are ``fixed`` are left alone. ``seed`` draws the places.
    Raises Cancelled from the monitor.
    """
    if method is Harmonise.NONE:
        return Harmonised(Harmonisation.none(scenes))
    chosen = Reference.of([scenes[itself]]) if itself is not None else None
    standard = standardise(scenes, chosen, fixed)
    if method is Harmonise.STANDARDISE:
        return Harmonised(standard)
    count = place_count(store.scene_count, len(store.code_grids))
    drawn = Drawn(seed, count, store.grid)
    codes = paired_codes(store, drawn.places(), threads, monitor)
    dates, reference = invariant(
        codes, standard, itself=itself, fixed=fixed, threads=threads, monitor=monitor
    )
    return Harmonised(dates, reference, drawn)


def tell_fallbacks(names: Sequence[str], found: Harmonised, monitor: Monitor) -> None:
    """Warn of scenes that were not harmonised as asked: how many, and why the first was not."""
    told = [(name, why) for name, why in zip(names, found.dates.reasons) if why]
    if told:
        name, why = told[0]
        monitor.warning(
            f"{len(told)} of {len(names)} scenes could not be harmonised as asked in every band; "
            f"scene '{name}': {why}. The report lists all."
        )


def standardise(
    scenes: Sequence[SceneQuantiles],
    reference: Reference | None = None,
    fixed: Collection[int] = (),
) -> Harmonisation:
    """Map each scene's median and 10th to 90th percentile range onto the reference's.

    ``reference`` is a model's, or one date's; None: the scenes' own, see :meth:`Reference.of`.
    Bands that are ``fixed`` are left alone. A constant band, or one of fewer than 100 pixels,
    is moved only; so is one whose gain would not lie within 0.1 to 10.

    Quantiles are of the pixels that are seen. Where masks hide one part of the ground on one
    date and another on the next, they differ without any drift, and pairing pixels
    (:func:`invariant`) is the way.
    """
    reference = reference or Reference.of(scenes)
    shape = len(scenes), len(reference.centres)
    gains, offsets, residuals = np.ones(shape), np.zeros(shape), np.zeros(shape)
    pixels, reasons = np.zeros(shape, np.int64), []
    for rank, scene in enumerate(scenes):
        moved = []
        for band in range(shape[1]):
            if band in fixed or not scene.pixels:
                continue
            centre, spread = scene.centres[band], scene.spreads[band]
            if scene.pixels >= LEAST_PIXELS and not scene.flat[band] and reference.spreads[band]:
                gain = reference.spreads[band] / spread
                if 1.0 / MOST_GAIN <= gain <= MOST_GAIN:
                    gains[rank, band] = gain
                    misfits = scene.shape(band) - reference.shapes[band]
                    residuals[rank, band] = np.sqrt(np.mean(misfits * misfits))
                else:
                    moved.append(f"band {band + 1} would need a gain of {gain:.3g}")
            offsets[rank, band] = reference.centres[band] - gains[rank, band] * centre
            pixels[rank, band] = scene.pixels
        if 0 < scene.pixels < LEAST_PIXELS:
            moved.append(f"{scene.pixels} valid pixels are too few for a gain")
        reasons.append("; ".join(moved))
    methods = tuple(Harmonise.STANDARDISE if scene.pixels else Harmonise.NONE for scene in scenes)
    return Harmonisation(methods, gains, offsets, pixels, residuals, tuple(reasons), reference)
