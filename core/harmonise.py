"""Relative radiometric normalisation: a gain and an offset for each date and band, in codes.

Each date's robust centre and spread are mapped onto the series' own, or lines are fitted to
pixels that did not change. All of it runs on whole numbers, or on one host code path in a
fixed order.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

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


@dataclass(frozen=True)
class Harmonised:
    """A series' harmonisation, and what is needed to bring a new date to the same reference.

    ``places`` are those of the grid's places whose codes are in ``paired``; both None unless
    the method is invariant pixels.
    """

    dates: Harmonisation
    paired: PairedReference | None = None
    places: np.ndarray | None = None

    def bring(
        self,
        store: PixelStore,
        *,
        fixed: Collection[int] = (),
        threads: int = 1,
        monitor: Monitor | None = None,
    ) -> Harmonised:
        """Bring the scenes of a store to this one's reference; see :func:`harmonise`."""
        standard = standardise(store.scene_quantiles, self.dates.reference, fixed)
        return Harmonised(standard)

    def as_json(self) -> dict[str, Any]:
        """Return plain lists and text."""
        return {"dates": self.dates.as_json()}

    @classmethod
    def of_json(cls, content: dict[str, Any]) -> Harmonised:
        """Return what was kept as JSON; raises an error of some kind if it is damaged."""
        return cls(Harmonisation.of_json(content["dates"]))


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
    places = common_places(seed, store.grid.height, store.grid.width, count)
    codes = paired_codes(store, places, threads, monitor)
    dates, reference = invariant(
        codes, standard, itself=itself, fixed=fixed, threads=threads, monitor=monitor
    )
    return Harmonised(dates, reference, places)


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
