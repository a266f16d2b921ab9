"""Scores in 16-bit integers: what they may err by is what they are held to."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba")

from test_kernel_boundaries import Held, exact_scores

from iikmc.core import Monitor
from iikmc.core.backends.numba import NumbaBackend
from iikmc.core.backends.numba_coefficients import Coefficients
from iikmc.core.backends.numba_pairs import FARTHEST_PRODUCT, PAIRED_BANDS, are_paired
from iikmc.core.codes import CodeGrid
from iikmc.core.grid import Window
from iikmc.core.pixels import Block
from iikmc.core.scene_space import SceneSpace
from iikmc.core.scores import FeatureSpace, Scores

TILES = 400


def scores_of(rng: np.random.Generator, bands: int, classes: int) -> Scores:
    """Return scores of centres a few hundred codes from one another."""
    middles = tuple(rng.integers(9000, 12_000, bands).tolist())
    space = FeatureSpace((CodeGrid(0, 1.0),) * bands, middles, (1.0,) * bands)
    centres = rng.normal(0.0, 700.0, (classes, bands))
    return SceneSpace.plain(space, 1).scores(centres, np.ones(classes, bool))


def uneven_tiles(rng: np.random.Generator, scores: Scores) -> np.ndarray:
    """Return codes, (bands, 32 · TILES), alike in a tile but for noise, at classes' boundaries.

    Of half of the pixels one band is put where the two nearest classes are as near, or beside.
    """
    bands = len(scores.midpoints)
    bases = scores.midpoints[:, None] + rng.normal(0.0, 600.0, (bands, TILES))
    codes = np.repeat(bases, 32, axis=1) + rng.normal(0.0, 150.0, (bands, 32 * TILES))
    codes = np.rint(codes).astype(np.int64)
    for _ in range(2):
        each = np.arange(codes.shape[1])
        found = exact_scores(scores, 0, codes)
        best, other = np.argsort(found, axis=0, kind="stable")[:2]
        slopes = scores.q[0][best] - scores.q[0][other]
        band = np.abs(slopes).argmax(axis=1)
        step = (found[best, each] - found[other, each]) // slopes[each, band]
        near = (np.abs(step) < 300) & (each % 2 == 0)
        codes[band[near], each[near]] += step[near] + rng.integers(-1, 2, near.sum())
    return codes.astype(np.uint16)


@pytest.mark.parametrize("classes", [12, 33, 130])
@pytest.mark.parametrize("bands", [PAIRED_BANDS, 6, 11])
def test_pixels_of_uneven_tiles_are_labelled_as_integers_say(bands, classes):
    rng = np.random.default_rng([bands, classes])
    scores = scores_of(rng, bands, classes)
    codes = uneven_tiles(rng, scores)
    block = Block(0, Window(0, 0, 1, codes.shape[1]), Held(codes), None)
    backend = NumbaBackend(1)
    backend.prepare([block], 1, Monitor())
    expected = exact_scores(scores, 0, codes).argmin(axis=0)
    for _ in range(3):  # at first without balls
        backend.step(scores)
        assert backend.labels(0).tolist() == expected.tolist()
    # All this was about pairs: few tiles are too large for them.
    terms = Coefficients.of(scores, backend._balls.weights, "uint16").terms[0]
    _, radii = backend._balls.of(0, codes)
    assert (radii <= terms[3]).mean() > 0.9
    backend.close()


def test_pairs_lose_no_more_than_they_say():
    rng = np.random.default_rng(3)
    scores = scores_of(rng, 7, 40)
    weights = rng.uniform(0.001, 0.02, 7)
    found = Coefficients.of(scores, weights.astype(np.float32), "uint16")
    scale, by_radius, _, farthest = found.terms[0].astype(np.float64)
    halves = found.pairs[0, :40].view(np.uint32)
    pairs = np.stack([halves & 0xFFFF, halves >> 16], axis=2).astype(np.uint16).view(np.int16)
    pairs = pairs.reshape(40, 8)
    assert (pairs[:, 7] == 0).all()
    offsets = rng.normal(size=(7, 1000))
    offsets *= farthest / np.sqrt(((offsets * weights[:, None]) ** 2).sum(axis=0))
    exact = -scale * scores.q[0] @ offsets
    given = pairs[:, :7] @ offsets
    apart = (given - given[0]) - (exact - exact[0])
    assert 0.1 * by_radius * farthest < np.abs(apart).max() <= by_radius * farthest
    assert np.abs(given).max() <= FARTHEST_PRODUCT
    assert np.abs(offsets).max() <= 32767


@pytest.mark.parametrize("far", [0.0, 1e6])
def test_no_distance_of_classes_is_told_too_short(far):
    rng = np.random.default_rng(8)
    q = np.rint(rng.normal(far, 1.0, (40, 9)) * 2.0**30).astype(np.int64)
    q[7] = q[3]
    q[8] = q[3] + 1
    weights = rng.uniform(0.001, 0.02, 9).astype(np.float32)
    scores = Scores(q[None], np.zeros((1, 40), np.int64), np.zeros(9, np.int64), np.ones(1))
    found = Coefficients.of(scores, weights, "uint16").distances[0, :, :40].astype(float)
    exact = np.sqrt((((q[:, None] - q) / weights.astype(float)) ** 2).sum(axis=2))
    assert (found >= exact).all()
    assert (found <= exact * (1 + 1e-5) + 1e-6 * exact.max()).all()


def test_few_bands_and_wide_codes_are_not_paired():
    assert are_paired(PAIRED_BANDS, "uint16")
    assert not are_paired(PAIRED_BANDS - 1, "uint16")
    assert not are_paired(12, "int32")
