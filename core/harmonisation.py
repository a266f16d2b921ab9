"""What is known of the dates' radiometry, and the gains and offsets that bring it together."""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .codes import CodeGrid

PERCENTS = (5, 10, 25, 50, 75, 90, 95)
_LOW, _MIDDLE, _HIGH = PERCENTS.index(10), PERCENTS.index(50), PERCENTS.index(90)
LEAST_PIXELS = 100
"""Fewer valid pixels of a scene say nothing of its spread."""
MOST_GAIN = 10.0
"""A gain beyond this, or below its inverse, is not believed."""


class Harmonise(enum.Enum):
    """How dates are brought to one radiometry, in the order of the HARMONISE parameter."""

    NONE = "none"
    STANDARDISE = "standardise"
    INVARIANT = "invariant"


@dataclass(frozen=True)
class SceneQuantiles:
    """Quantiles of one scene's codes: float64 (bands, percents), interpolated within codes.

    ``resolutions`` (bands,) are the widths of the bins they were taken from, ``pixels`` the
    number of valid pixels.
    """

    pixels: int
    codes: np.ndarray
    resolutions: np.ndarray

    @classmethod
    def of(cls, histograms: np.ndarray, grids: Sequence[CodeGrid]) -> SceneQuantiles:
        """Return those of exact histograms, int64 (bands, bins), all of the same pixels.

        A narrow grid has a bin for each code, a wide one bins of equal width from its lowest
        code on. A code stands for the values half a code around it, so that the quantiles of
        integers are not integers.
        """
        widths = np.array(
            [-(-grid.reach // len(row)) if grid.wide else 1 for grid, row in zip(grids, histograms)]
        )
        codes = np.zeros((len(grids), len(PERCENTS)))
        pixels = int(histograms[0].sum())
        if pixels:
            for band, (grid, counts) in enumerate(zip(grids, histograms)):
                codes[band] = grid.lowest - 0.5 + widths[band] * _quantiles(counts, pixels)
        return cls(pixels, codes, widths.astype(np.float64))

    @property
    def centres(self) -> np.ndarray:
        """Medians, (bands,)."""
        return self.codes[:, _MIDDLE]

    @property
    def spreads(self) -> np.ndarray:
        """Ranges from the 10th to the 90th percentile, (bands,)."""
        spread: np.ndarray = self.codes[:, _HIGH] - self.codes[:, _LOW]
        return spread

    @property
    def flat(self) -> np.ndarray:
        """Which bands are constant, or as good as, (bands,)."""
        return self.spreads < self.resolutions

    def shape(self, band: int) -> np.ndarray:
        """Return where a band's percentiles lie, in spreads from the centre, (percents,)."""
        shape: np.ndarray = (self.codes[band] - self.centres[band]) / self.spreads[band]
        return shape


@dataclass(frozen=True)
class Reference:
    """The radiometry that dates are brought to: centres and spreads in codes, (bands,).

    ``shapes`` (bands, percents) are where the percentiles lie, in spreads from the centre.
    A band that is constant on all dates has spread 0.
    """

    centres: np.ndarray
    spreads: np.ndarray
    shapes: np.ndarray

    @classmethod
    def of(cls, scenes: Sequence[SceneQuantiles]) -> Reference:
        """Return what is usual among the scenes' centres, spreads and shapes; see :func:`usual`.

        Scenes of too few pixels do not count, unless all are.
        """
        known = [scene for scene in scenes if scene.pixels >= LEAST_PIXELS]
        known = known or [scene for scene in scenes if scene.pixels] or list(scenes)
        bands = len(known[0].codes)
        centres, spreads = np.zeros(bands), np.zeros(bands)
        shapes = np.zeros((bands, len(PERCENTS)))
        for band in range(bands):
            centres[band] = usual([float(scene.centres[band]) for scene in known])
            uneven = [scene for scene in known if not scene.flat[band]]
            if uneven:
                spreads[band] = usual([float(scene.spreads[band]) for scene in uneven])
                columns = np.stack([scene.shape(band) for scene in uneven], axis=1).tolist()
                shapes[band] = [usual(column) for column in columns]
        return cls(centres, spreads, shapes)

    def as_json(self) -> dict[str, Any]:
        """Return plain lists."""
        return {name: getattr(self, name).tolist() for name in ("centres", "spreads", "shapes")}

    @classmethod
    def of_json(cls, content: dict[str, Any]) -> Reference:
        """Return what was kept as JSON; raises an error of some kind if it is damaged."""
        arrays = [np.array(content[name], np.float64) for name in ("centres", "spreads", "shapes")]
        bands = len(arrays[0])
        shapes = [array.shape for array in arrays]
        if shapes != [(bands,), (bands,), (bands, len(PERCENTS))] or (arrays[1] < 0.0).any():
            raise ValueError("bad reference")
        if not all(np.isfinite(array).all() for array in arrays):
            raise ValueError("bad reference")
        return cls(*arrays)


@dataclass(frozen=True)
class Harmonisation:
    """How each scene's codes were harmonised: gain · code + offset, float64 (scenes, bands).

    ``methods`` (scenes,) are those that were used in the end, ``reasons`` (scenes,) why it was
    another than asked for, or "". ``pixels`` int64 (scenes, bands) is how many each gain was
    taken from: invariant ones, or all valid ones; 0 where a band was left alone. ``residuals``
    (scenes, bands), in the reference's spreads, are root mean squares: of the distances of
    invariant pixels from their line, or of the scene's percentiles from the reference's.
    """

    methods: tuple[Harmonise, ...]
    gains: np.ndarray
    offsets: np.ndarray
    pixels: np.ndarray
    residuals: np.ndarray
    reasons: tuple[str, ...]
    reference: Reference

    @classmethod
    def none(cls, scenes: Sequence[SceneQuantiles]) -> Harmonisation:
        """Return that of scenes that are left as they are."""
        reference = Reference.of(scenes)
        shape = len(scenes), len(reference.centres)
        return cls(
            (Harmonise.NONE,) * shape[0],
            np.ones(shape),
            np.zeros(shape),
            np.zeros(shape, np.int64),
            np.zeros(shape),
            ("",) * shape[0],
            reference,
        )

    def codes(self, scene: int, codes: np.ndarray) -> np.ndarray:
        """Return a scene's harmonised codes, float64, from codes (bands, pixels)."""
        return codes * self.gains[scene][:, None] + self.offsets[scene][:, None]

    def as_json(self) -> dict[str, Any]:
        """Return plain lists; Python's JSON keeps every bit of them."""
        arrays = ("gains", "offsets", "pixels", "residuals")
        return {
            "methods": [method.value for method in self.methods],
            **{name: getattr(self, name).tolist() for name in arrays},
            "reasons": list(self.reasons),
            "reference": self.reference.as_json(),
        }

    @classmethod
    def of_json(cls, content: dict[str, Any]) -> Harmonisation:
        """Return what was kept as JSON; raises an error of some kind if it is damaged."""
        reference = Reference.of_json(content["reference"])
        methods = tuple(Harmonise(name) for name in content["methods"])
        reasons = tuple(str(reason) for reason in content["reasons"])
        shape = len(methods), len(reference.centres)
        floats = {
            name: np.array(content[name], np.float64).reshape(shape)
            for name in ("gains", "offsets", "residuals")
        }
        finite = all(np.isfinite(array).all() for array in floats.values())
        if not finite or (floats["gains"] <= 0.0).any() or len(reasons) != len(methods):
            raise ValueError("bad harmonisation")
        pixels = np.array(content["pixels"], np.int64).reshape(shape)
        return cls(methods=methods, reasons=reasons, pixels=pixels, reference=reference, **floats)


def usual(values: Sequence[float]) -> float:
    """Return the mean of the middle half of some values, of up to six values their median.

    A few odd ones do not matter, as with the median; but one more or one less moves it by far
    less than the gap between two of them, so that a model without a date is nearly the same.
    Neither the order of the values nor equal ones change a bit.
    """
    count = len(values)
    cut = min(-(-count // 4), (count - 1) // 2)
    middle = sorted(values)[cut : count - cut]
    return middle[0] + math.fsum(value - middle[0] for value in middle) / len(middle)


def _quantiles(counts: np.ndarray, pixels: int) -> np.ndarray:
    """Return where the percentiles lie, in bins from the lower edge of the first."""
    cumulative = np.cumsum(counts)
    found = []
    for percent in PERCENTS:
        place = int(np.searchsorted(cumulative * 100, percent * pixels))
        inside, below = int(counts[place]), int(cumulative[place]) - int(counts[place])
        found.append(place + (percent * pixels - 100 * below) / (100 * inside))
    return np.array(found)
