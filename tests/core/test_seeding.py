"""First centres and samples: as defined, reproducible, and tied to places only."""

from __future__ import annotations

import numpy as np
import pytest

from iikmc.core import cluster, open_series, reading
from iikmc.core.monitor import Monitor
from iikmc.core.sampling import canonical_sample, keyed
from iikmc.core.scene_space import SceneSpace
from iikmc.core.scores import FeatureSpace
from iikmc.core.seeding import kmeans_plus_plus, minmax_midpoints, smallest_spectra


def space_of(store):
    """Return the space of a series as it lies."""
    features = FeatureSpace.of(store.code_grids, store.statistics)
    return SceneSpace.plain(features, store.scene_count)


def test_minmax_midpoints_cut_each_range_into_equal_parts(make_scene):
    values = np.array([[[0, 80, 40]], [[1000, 1000, 1003]]], np.uint16)
    store = open_series([make_scene("s_2020-01-01", values)]).pixels()
    space = space_of(store)
    found = space.features.values(minmax_midpoints(space.spreads(store), 4))
    np.testing.assert_allclose(found[:, 0], [10, 30, 50, 70])
    np.testing.assert_allclose(found[:, 1], [1000.375, 1001.125, 1001.875, 1002.625])


def test_kmeans_plus_plus_finds_separate_groups_and_follows_the_seed(make_scene):
    rng = np.random.default_rng(3)
    middles = np.array([[500, 500], [3000, 600], [800, 6000], [7000, 7000]])
    values = middles[rng.integers(0, 4, (30, 40))].transpose(2, 0, 1)
    values = (values + rng.integers(-20, 21, values.shape)).astype(np.uint16)
    store = open_series([make_scene("s_2020-01-01", values)]).pixels()
    space = space_of(store)
    sample = space.positions(*canonical_sample(store, 0))

    def start(seed: int) -> np.ndarray:
        drawn = kmeans_plus_plus(space.weights, sample, 4, seed, lambda: pytest.fail("enough"))
        return space.features.values(drawn)

    for seed in range(5):
        distances = np.abs(start(seed)[:, None] - middles[None]).max(axis=2)
        assert (distances.min(axis=1) <= 20).all()
        assert len(set(distances.argmin(axis=1))) == 4
    assert np.array_equal(start(1), start(1))
    assert not np.array_equal(start(1), start(2))


def test_kmeans_plus_plus_fills_up_when_the_sample_has_too_few_spectra(make_scene):
    values = np.array([[5, 5, 5, 5, 9, 7]], np.uint16)
    store = open_series([make_scene("s_2020-01-01", values)]).pixels()
    space = space_of(store)
    sample = space.positions(np.full((1, 4), 5), 0)

    def spectra() -> np.ndarray:
        return space.positions(smallest_spectra(store, 6, Monitor()).T, 0).T

    centres = kmeans_plus_plus(space.weights, sample, 3, 0, spectra)
    assert sorted(space.features.values(centres)[:, 0]) == [5.0, 7.0, 9.0]


@pytest.mark.parametrize("block_pixels", [50, 333, 1 << 20])
def test_the_sample_does_not_depend_on_blocks(block_pixels, three_scenes, monkeypatch):
    expected = canonical_sample(open_series(three_scenes).pixels(), 7, 500)
    monkeypatch.setattr(reading, "BLOCK_PIXELS", block_pixels)
    store = open_series(three_scenes).pixels()
    found = canonical_sample(store, 7, 500)
    assert np.array_equal(found[0], expected[0]) and np.array_equal(found[1], expected[1])
    assert not np.array_equal(canonical_sample(store, 8, 500)[0][:, :100], expected[0][:, :100])
    # One place of each run is drawn, and masked ones drop out.
    assert 500 <= found[0].shape[1] <= 1000
    assert found[1].tolist() == sorted(found[1]) and set(found[1]) == {0, 1, 2}


def test_a_small_series_is_its_own_sample(three_scenes):
    store = open_series(three_scenes).pixels()
    whole = []
    for block in store.blocks:
        there = block.spread(np.ones(block.pixels, bool))
        whole.append([block.spread(plane)[there] for plane in block.codes.load()])
    whole = np.concatenate(whole, axis=1)
    assert np.array_equal(canonical_sample(store, 0)[0], whole)


def test_keyed_numbers_are_splitmix_and_spread():
    # The first output of SplitMix64 seeded with 0, a published test value.
    assert int(keyed(0)) == 0xE220A8397B1DCDAF
    bits = keyed(1, 2, np.arange(10_000))
    assert len(np.unique(bits)) == 10_000
    assert abs(float((bits >> np.uint64(63)).mean()) - 0.5) < 0.02
    assert int(keyed(1, 2, 3)) != int(keyed(1, 3, 2))


def test_seeds_show_in_the_model(three_scenes):
    with open_series(three_scenes) as series:
        first = cluster(series, classes=9, init="k-means++", seed=1, max_iter=1)
        same = cluster(series, classes=9, init="k-means++", seed=1, max_iter=1)
        other = cluster(series, classes=9, init="k-means++", seed=2, max_iter=1)
    assert first.signatures.tobytes() == same.signatures.tobytes()
    assert first.signatures.tobytes() != other.signatures.tobytes()


@pytest.mark.parametrize("block_pixels", [1, 7, 1 << 20])
def test_spectra_to_fill_up_with_do_not_depend_on_blocks(block_pixels, make_scene, monkeypatch):
    values = np.random.default_rng(0).permutation(np.arange(1, 201)).astype(np.uint16)
    path = make_scene("s_2020-01-01", values.reshape(10, 20))
    monkeypatch.setattr(reading, "BLOCK_PIXELS", block_pixels)
    found = smallest_spectra(open_series([path]).pixels(), 5, Monitor())
    assert found.tolist() == [[1], [2], [3], [4], [5]]
