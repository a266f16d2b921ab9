"""How the scenes of one series lie in a feature space: as they are, or each with gain and offset.

A harmonised pixel lies at y = g · x + h, with the gain and offset of its scene and band, x and y
in codes from the mid-points. No pixel is ever touched for that: the scores of each scene take
the gain and offset in, and sums of codes are turned into sums of y.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from .backends.base import Partials
from .codes import CodeStatistics, Moments
from .harmonise import Harmonised
from .pixels import PixelStore
from .scores import EXACT, FINEST, NEVER, FeatureSpace, Scaling, Scores


@dataclass(frozen=True)
class BandSpread:
    """Extremes of a band's pixels and their percentiles 16 and 84, in codes from the mid-point."""

    minimum: float
    maximum: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class SceneSpace:
    """A feature space, and the gains and offsets of scenes in it: float64, (scenes, bands)."""

    features: FeatureSpace
    gains: np.ndarray
    offsets: np.ndarray

    @classmethod
    def plain(cls, features: FeatureSpace, scenes: int) -> SceneSpace:
        """Return the space where the scenes lie as they are."""
        shape = scenes, len(features.midpoints)
        return cls(features, np.ones(shape), np.zeros(shape))

    @classmethod
    def of(cls, features: FeatureSpace, scenes: int, found: Harmonised | None) -> SceneSpace:
        """Return the space of scenes that were harmonised, or of so many that were not."""
        if found is None:
            return cls.plain(features, scenes)
        dates, middles = found.dates, np.array(features.midpoints, np.float64)
        return cls(features, dates.gains, dates.offsets + (dates.gains - 1.0) * middles)

    def scaled(self, store: PixelStore, scaling: Scaling, found: Harmonised | None) -> SceneSpace:
        """Return the space where each band's range, or standard deviation, counts as 1.

        Without a scaling it is the spread of the reference, where dates were harmonised: they
        are alike in it in every band, and no band decides alone.
        """
        if scaling is Scaling.NONE and found is None:
            return self
        if scaling is Scaling.NONE and found is not None:
            codes = found.dates.reference.spreads.tolist()
        elif scaling is Scaling.MINMAX:
            codes = [float(known.maximum - known.minimum) for known in self.spreads(store)]
        else:
            codes = [self._deviation(store, band) for band in range(len(store.statistics))]
        return replace(self, features=self.features.scaled(codes))

    def _deviation(self, store: PixelStore, band: int) -> float:
        """Return the standard deviation of a band, in codes."""
        pixels = store.pixels
        if self.is_plain:
            whole = store.statistics[band]
            return math.sqrt(
                Fraction(pixels * whole.total_squares - whole.total * whole.total, pixels * pixels)
            )
        middle = self.features.midpoints[band]
        firsts: list[float] = []
        seconds: list[float] = []
        for scene, statistics in enumerate(store.scene_statistics):
            if statistics is None:
                continue
            known, count = statistics[band], int(store.scene_pixels[scene])
            gain, offset = float(self.gains[scene, band]), float(self.offsets[scene, band])
            moved = float(known.total - count * middle)
            squares = known.total_squares - 2 * middle * known.total + count * middle**2
            firsts += [gain * moved, offset * count]
            seconds += [gain * gain * float(squares), 2.0 * gain * offset * moved]
            seconds.append(offset * offset * count)
        mean = math.fsum(firsts) / pixels
        return math.sqrt(max(0.0, math.fsum(seconds) / pixels - mean * mean))

    @property
    def is_plain(self) -> bool:
        """Whether all scenes lie as they are."""
        return bool((self.gains == 1.0).all() and (self.offsets == 0.0).all())

    @property
    def weights(self) -> np.ndarray:
        """Weight of each band in squared distances, float64."""
        return self.features.weights

    def positions(self, codes: np.ndarray, scenes: np.ndarray | int) -> np.ndarray:
        """Return where pixels lie, float64 (bands, pixels), from their codes and scenes' ranks."""
        offsets = codes - np.array(self.features.midpoints, np.int64)[:, None]
        if self.is_plain:
            return offsets.astype(np.float64)
        ranks = np.broadcast_to(np.asarray(scenes), codes.shape[1:])
        return np.asarray(self.gains[ranks].T * offsets + self.offsets[ranks].T)

    def scores(self, centres: np.ndarray, active: np.ndarray) -> Scores:
        """Return the scores of centres, (classes, bands), in each scene.

        The squared distance is Σ w (g u + h − c)², with a code's offset u from the mid-point; what
        is left without w g² u² is n − q u. Each scene has a scale of its own, which depends on its
        gain and offset and the centres alone. Classes that are not active are never chosen.
        """
        if self.is_plain:
            return self.features.scores(centres, active, len(self.gains))
        reach = np.array([grid.reach for grid in self.features.code_grids], np.float64)
        shape = len(self.gains), *centres.shape
        q, n = np.zeros(shape, np.int64), np.full(shape[:2], NEVER, np.int64)
        scales, used = np.ones(shape[0]), np.flatnonzero(active)
        for scene, (gain, offset) in enumerate(zip(self.gains, self.offsets)):
            apart = centres[used] - offset
            largest = np.abs(apart).max(axis=0)
            most = math.fsum((self.weights * largest * (largest + 2.0 * gain * reach)).tolist())
            room = EXACT - math.fsum((0.5 * reach).tolist()) - 1.0
            scale = 2.0 ** math.floor(math.log2(min(room / most, FINEST))) if most else 1.0
            scale = scale / 2.0 if scale * most >= room else scale
            q[scene, used] = np.rint(2.0 * scale * self.weights * gain * apart)
            squares = (self.weights * apart * apart).tolist()
            scales[scene] = scale
            n[scene, used] = [round(scale * math.fsum(row)) for row in squares]
        return Scores(q, n, np.array(self.features.midpoints, np.int64), scales)

    def means(self, sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Return the centres of classes from code sums (scenes, classes, bands) and counts.

        NaN where a class is empty. The order of the scenes does not matter: plain sums are of
        integers, the others are added up without rounding in between.
        """
        if self.is_plain:
            return self.features.means(sums.sum(axis=0), counts.sum(axis=0))
        midpoints = np.array(self.features.midpoints, np.int64)
        moved = (sums - counts[:, :, None] * midpoints).astype(np.float64)
        terms = np.concatenate(
            [self.gains[:, None] * moved, self.offsets[:, None] * counts[:, :, None]]
        )
        totals = counts.sum(axis=0)
        centres = np.full(sums.shape[1:], np.nan)
        for row in np.flatnonzero(totals):
            for band in range(sums.shape[2]):
                centres[row, band] = math.fsum(terms[:, row, band].tolist()) / int(totals[row])
        return centres

    def inertia(
        self,
        centres: np.ndarray,
        partials: Partials,
        statistics: Sequence[Sequence[Moments] | None],
    ) -> float:
        """Return the sum of squared distances to the classes' centres.

        ``partials`` are of a step over the pixels that ``statistics`` describe, for each scene
        and band; None for a scene without any. In squared units of the features.
        """
        if self.is_plain:
            pooled = [
                (sum(known.total for known in band), sum(known.total_squares for known in band))
                for band in zip(*(scene for scene in statistics if scene is not None))
            ]
            totals = partials.sums.sum(axis=0), partials.counts.sum(axis=0)
            return self.features.inertia(centres, *totals, pooled)
        terms: list[float] = []
        for scene, known in enumerate(statistics):
            if known is None:
                continue
            sums, counts = partials.sums[scene], partials.counts[scene]
            for band, weight in enumerate(self.weights.tolist()):
                middle = self.features.midpoints[band]
                gain, offset = self.gains[scene, band], self.offsets[scene, band]
                squares = known[band].total_squares - 2 * middle * known[band].total
                squares += int(counts.sum()) * middle**2
                apart = offset - centres[:, band]
                moved = (sums[:, band] - middle * counts).astype(np.float64)
                terms.append(weight * gain * gain * float(squares))
                terms += (2.0 * weight * gain * apart * moved)[counts > 0].tolist()
                terms += (weight * apart * apart * counts)[counts > 0].tolist()
        return max(0.0, math.fsum(terms))

    def between_and_within(
        self, partials: Partials, statistics: Sequence[Sequence[CodeStatistics] | None]
    ) -> tuple[float, float]:
        """Return the sums of squares between the means of the classes and of all, and within.

        Exact up to one rounding where the scenes lie as they are.
        """
        counts = partials.counts.sum(axis=0)
        used, pixels = np.flatnonzero(counts), int(counts.sum())
        if self.is_plain:
            weights = [Fraction(weight) for weight in self.weights.tolist()]
            sums = partials.sums.sum(axis=0)
            known = [scene for scene in statistics if scene is not None]
            totals = [sum(item.total for item in band) for band in zip(*known)]
            squares = [sum(item.total_squares for item in band) for band in zip(*known)]

            def square(values: Sequence[int]) -> Fraction:
                return sum((w * value * value for w, value in zip(weights, values)), Fraction(0))

            rows = ((sums[row].tolist(), int(counts[row])) for row in used)
            parts = sum((square(values) / count for values, count in rows), Fraction(0))
            whole = square(totals) / pixels
            within = sum((w * value for w, value in zip(weights, squares)), Fraction(0)) - parts
            return float(parts - whole), float(within)
        means = self.means(partials.sums, partials.counts)[used]
        middle = [
            math.fsum((means[:, band] * counts[used]).tolist()) / pixels
            for band in range(means.shape[1])
        ]
        apart = self.weights * (means - np.array(middle)) ** 2 * counts[used][:, None]
        filled = np.zeros((len(counts), means.shape[1]))
        filled[used] = means
        return math.fsum(apart.ravel().tolist()), self.inertia(filled, partials, statistics)

    def spreads(self, store: PixelStore) -> list[BandSpread]:
        """Return the spread of each band over a series.

        Where scenes have gains and offsets, percentiles are means of the scenes' own, by pixels.
        """
        if self.is_plain:
            return [
                BandSpread(*(value - middle for value in values))
                for middle, values in zip(
                    self.features.midpoints,
                    ((s.minimum, s.maximum, s.low, s.high) for s in store.statistics),
                )
            ]
        pixels = store.scene_pixels.tolist()
        return [self._spread(store, band, pixels) for band in range(len(self.features.midpoints))]

    def _spread(self, store: PixelStore, band: int, pixels: Sequence[int]) -> BandSpread:
        middle = self.features.midpoints[band]
        ends, percentiles = [], []
        for scene, known in enumerate(store.scene_statistics):
            if known is None:
                continue
            gain, offset = float(self.gains[scene, band]), float(self.offsets[scene, band])
            item = known[band]
            minimum, maximum, low, high = (
                gain * (value - middle) + offset
                for value in (item.minimum, item.maximum, item.low, item.high)
            )
            ends.append((minimum, maximum))
            percentiles.append((pixels[scene] * low, pixels[scene] * high))
        lows, highs = zip(*percentiles)
        return BandSpread(
            min(end[0] for end in ends),
            max(end[1] for end in ends),
            math.fsum(lows) / sum(pixels),
            math.fsum(highs) / sum(pixels),
        )
