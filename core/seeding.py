"""First centres: min-max mid-points (the paper) or k-means++, the same on every machine."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from .errors import ParameterError
from .monitor import Monitor
from .pixels import Block, PixelStore
from .sampling import uniform
from .scene_space import BandSpread

_FIRST_CHUNK, _CHUNK = 1 << 10, 1 << 16


def minmax_midpoints(spreads: Sequence[BandSpread], classes: int) -> np.ndarray:
    """Cut each band's range into ``classes`` equal parts and return their middles.

    Han & Lee (2024), doi 10.3390/rs16010102. float64, shape (classes, bands).
    """
    centres = np.empty((classes, len(spreads)))
    for band, known in enumerate(spreads):
        low, span = known.minimum, known.maximum - known.minimum
        for row in range(classes):  # one division of exact integers
            centres[row, band] = (low * 2 * classes + span * (2 * row + 1)) / (2 * classes)
    return centres


def kmeans_plus_plus(
    weights: np.ndarray,
    offsets: np.ndarray,
    classes: int,
    seed: int,
    spectra: Callable[[], np.ndarray],
) -> np.ndarray:
    """Draw centres by greedy k-means++ from a sample (Arthur & Vassilvitskii 2007).

    Each centre is the best of 2 + ln k candidates drawn in proportion to the squared distance
    to the centres so far. ``offsets`` are a sample's positions, (bands, pixels). Where it has too
    few distinct spectra, ``spectra`` is called for others to fill up with, (spectra, bands).
    Returns float64, (classes, bands).
    """
    first = int(uniform(seed, 0) * offsets.shape[1])
    centres = [offsets[:, first].astype(np.float64)]
    nearest = squared_distances(weights, offsets, centres[0])
    trials = 2 + int(math.log(classes))
    for row in range(1, classes):
        cumulative = np.cumsum(nearest)  # in this order on every machine, unlike np.sum
        total = float(cumulative[-1])
        if total == 0.0:
            break
        best: tuple[float, int, np.ndarray] | None = None
        for trial in range(trials):
            place = int(np.searchsorted(cumulative, uniform(seed, row, trial) * total, "right"))
            place = min(place, len(nearest) - 1)
            candidate = offsets[:, place].astype(np.float64)
            updated = np.minimum(nearest, squared_distances(weights, offsets, candidate))
            potential = float(np.cumsum(updated)[-1])
            if best is None or potential < best[0]:
                best = potential, place, updated
        assert best is not None
        centres.append(offsets[:, best[1]].astype(np.float64))
        nearest = best[2]
    if len(centres) < classes:
        for spectrum in spectra():
            if len(centres) < classes and not any(np.array_equal(spectrum, c) for c in centres):
                centres.append(spectrum.astype(np.float64))
    return np.stack(centres)


def squared_distances(weights: np.ndarray, offsets: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Return the squared distances of positions, (bands, pixels), to a centre (bands,).

    Band by band in order, so that rounding is the same on every machine.
    """
    total = np.zeros(offsets.shape[1])
    for plane, middle, weight in zip(offsets, centre, weights):
        step = plane - middle
        total += weight * (step * step)
    return total


def check_distinct(store: PixelStore, wanted: int, monitor: Monitor) -> None:
    """Raise ParameterError if the series has fewer than ``wanted`` different spectra."""
    found = np.empty((0, len(store.code_grids)), np.int64)
    for _, part in store.each(some_spectra, (wanted,), 1, monitor):
        found = np.unique(np.concatenate([found, part]), axis=0)
        if len(found) >= wanted:
            return
    advice = (
        f"ask for {len(found)} or fewer" if len(found) > 1 else "there is nothing to tell apart"
    )
    raise ParameterError(
        f"The series has {len(found)} distinct spectra, {wanted} classes were asked for: {advice}."
    )


def smallest_spectra(store: PixelStore, count: int, monitor: Monitor) -> np.ndarray:
    """Return the ``count`` different spectra that come first in sorted order, codes (count, bands).

    Looks at every pixel, so that blocks do not matter.
    """
    found = np.empty((0, len(store.code_grids)), np.int64)
    for _, part in store.each(first_spectra, (count,), 1, monitor):
        found = np.unique(np.concatenate([found, part]), axis=0)[:count]
    return found


def some_spectra(block: Block, wanted: int) -> np.ndarray:
    """Return different spectra of a block, int64 (spectra, bands): all, or ``wanted`` or more."""
    codes = block.codes.load()
    found = np.empty((0, len(codes)), np.int64)
    start, size = 0, _FIRST_CHUNK  # mostly the first few tell
    while start < block.pixels and len(found) < wanted:
        part = codes[:, start : start + size].T.astype(np.int64)
        found = np.unique(np.concatenate([found, part]), axis=0)
        start, size = start + size, _CHUNK
    return found


def first_spectra(block: Block, count: int) -> np.ndarray:
    """Return the ``count`` different spectra of a block that come first in sorted order."""
    codes = block.codes.load()
    found = np.empty((0, len(codes)), np.int64)
    for start in range(0, block.pixels, _CHUNK):
        part = codes[:, start : start + _CHUNK].T.astype(np.int64)
        found = np.unique(np.concatenate([found, part]), axis=0)[:count]
    return found
