"""Strategies against what defines them: each other, scikit-learn, and sums made by hand."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import land_cover
from hypothesis import given
from hypothesis import strategies as st

from iikmc.core import cluster, open_series, reading
from iikmc.core.batches import Batches
from iikmc.core.minibatch import _PATIENCE, _Ending
from iikmc.core.monitor import Monitor
from iikmc.core.sampling import sampled_blocks
from iikmc.core.scratch import Shelf
from iikmc.core.tiling import ROWS

FRACTION = 0.05


@pytest.fixture
def paths(make_scene):
    """Return three dates of covers that overlap, a tenth of their pixels nodata."""
    found = []
    for day in (1, 2, 3):
        values = land_cover(day, height=90, width=70)
        values[:, np.random.default_rng(day).random(values.shape[1:]) < 0.1] = 0
        path = make_scene(f"s_2020-01-0{day}", values, nodata=0, blockysize=5 * ROWS)
        found.append(path)
    return found


@pytest.mark.parametrize("limit", [6, 80])
@pytest.mark.parametrize(("rule", "tol"), [("changed", 2e-3), ("shift", 1e-3)])
def test_progressive_is_full_from_where_the_sample_ended(rule, tol, limit, paths):
    """Half of the iterations at most on the sample, then all pixels to the same stop rule."""
    options = {"stop_rule": rule, "tol": tol}
    sampled = {"classes": 9, "order": "seeded", "sample_fraction": FRACTION, **options}
    with open_series(paths) as series:
        whole = cluster(series, strategy="progressive", max_iter=limit, **sampled)
        sample = cluster(series, strategy="sample", max_iter=limit // 2, **sampled)
        full = cluster(series, init=sample, max_iter=limit - sample.fit.n_iter, **options)
    assert whole.signatures.tobytes() == full.signatures.tobytes()
    assert whole.fit.class_pixels == full.fit.class_pixels
    assert whole.fit.changed == sample.fit.changed + full.fit.changed
    assert whole.fit.shift == sample.fit.shift + full.fit.shift
    assert whole.fit.sample_iterations == sample.fit.n_iter < whole.fit.n_iter
    measures = full.fit.changed if rule == "changed" else full.fit.shift
    assert whole.fit.converged == (measures[-1] <= tol)
    assert whole.fit.converged or limit == 6
    assert tol < min(measures[:-1])
    counted = np.array(full.fit.changed) * whole.fit.valid_pixels
    assert counted == pytest.approx(np.rint(counted), abs=1e-6)  # shares of all pixels


def values_of(blocks) -> np.ndarray:
    """Return the pixels of blocks as samples, float64 (pixels, bands)."""
    return np.concatenate([block.codes.load() for block in blocks], axis=1).T.astype(np.float64)


def test_mini_batches_move_centres_as_scikit_learn_does(paths, monkeypatch):
    """Its partial_fit is given the sample and then the same batches."""
    peers = pytest.importorskip("sklearn.cluster")
    batches, load = [], Batches.load

    def spy(self, strips, monitor):
        batch = load(self, strips, monitor)
        if strips is not self.held_out:
            batches.append(values_of(batch.blocks))
        return batch

    monkeypatch.setattr(Batches, "load", spy)
    options = {"classes": 5, "order": "seeded", "tol": 0.0, "sample_fraction": FRACTION}
    with open_series(paths) as series:
        warm = cluster(series, strategy="sample", **options)
        mini = cluster(series, strategy="mini-batch", **options)
        sample = values_of(sampled_blocks(series.pixels(), 0, FRACTION, 1, Monitor()))
    assert warm.fit.changed[-1] == 0.0  # so the centres are the means of the sample
    assert len(batches) == mini.fit.n_iter - mini.fit.sample_iterations >= _PATIENCE
    peer = peers.MiniBatchKMeans(5, init=warm.signatures, n_init=1, reassignment_ratio=0.0)
    for values in [sample, *batches]:
        peer.partial_fit(values)
    np.testing.assert_allclose(mini.signatures, peer.cluster_centers_, rtol=1e-10)
    assert np.abs(mini.signatures - warm.signatures).max() > 1.0


@given(
    runs=st.lists(
        st.tuples(st.sampled_from([1.0, 2.0, 2.5, 3.0, 7.0]), st.integers(1, 15)),
        min_size=1,
        max_size=9,
    ),
    pixels=st.sampled_from([1, 10, 90, 5000]),
)
def test_the_stream_ends_at_the_batch_at_which_scikit_learns_would(runs, pixels):
    peers = pytest.importorskip("sklearn.cluster")
    peer = peers.MiniBatchKMeans(2, max_no_improvement=_PATIENCE)
    if not hasattr(peer, "_mini_batch_convergence"):
        pytest.skip("this scikit-learn keeps its stopping rule elsewhere")
    peer._batch_size, peer._tol, peer._no_improvement = pixels, 0.0, 0
    peer._ewa_inertia = peer._ewa_inertia_min = None
    ending = _Ending(1000)
    for step, inertia in enumerate(value for value, times in runs for _ in range(times)):
        expected = peer._mini_batch_convergence(step, 100, 1000, 1.0, inertia * pixels)
        assert ending.after(inertia, pixels) == expected
        if step:
            assert ending.smoothed == pytest.approx(peer._ewa_inertia, rel=1e-12)
        if expected:
            break


def test_inertias_are_those_of_the_pixels_held_out_and_of_all(paths):
    with open_series(paths) as series:
        model = cluster(series, classes=5, strategy="mini-batch", sample_fraction=FRACTION)
        store = series.pixels()
        batches = Batches(store, FRACTION, 0, 1)
        held = values_of(batches.load(batches.held_out, Monitor()).blocks)
        every = values_of(store.blocks)

    def inertia(values: np.ndarray) -> float:
        squares = ((values[:, None] - model.signatures) ** 2).sum(axis=2)
        return float(squares.min(axis=1).sum())

    assert model.fit.held_out is not None
    assert model.fit.held_out.pixels == len(held) > 0
    assert model.fit.held_out.inertia == pytest.approx(inertia(held), rel=1e-12)
    assert model.fit.inertia == pytest.approx(inertia(every), rel=1e-12)


def test_a_pass_reads_each_byte_of_the_scratch_file_once(paths, monkeypatch):
    monkeypatch.setattr(reading, "pixel_room", lambda *_: 0)
    monkeypatch.setattr(reading, "BLOCK_PIXELS", 70 * 5 * ROWS)  # whole strips of tiles
    read, taken = Shelf.read, []
    with open_series(paths) as series:
        store = series.pixels()
        assert len(store.blocks) > 6
        pixels = store.pixels

        def spy(self, shape, dtype, offset):
            if self is store._shelf:
                taken.extend(range(offset, offset + int(np.prod(shape)) * dtype.itemsize))
            return read(self, shape, dtype, offset)

        monkeypatch.setattr(Shelf, "read", spy)
        batches = Batches(store, FRACTION, 0, 2)
        for strips in batches.one_pass(0):
            batches.load(strips, Monitor())
        in_a_pass = len(taken)
        batches.load(batches.held_out, Monitor())
    assert len(taken) == len(set(taken)) == 6 * pixels  # three bands of two bytes
    assert 0 < len(taken) - in_a_pass < 0.1 * len(taken)


@pytest.mark.parametrize("fraction", [0.02, 0.3])
def test_a_sample_takes_its_share_of_every_scene_and_place_under_masks(fraction, make_scene):
    """Each run of places gives one pixel, or none where that one is masked."""
    paths, places = [], np.arange(1, 90 * 70 + 1, dtype=np.uint16).reshape(90, 70)
    for day in (1, 2, 3):
        values = places.copy()
        values[np.random.default_rng(day).random(values.shape) < 0.4] = 0
        paths.append(make_scene(f"s_2020-01-0{day}", values, nodata=0))
    run = round(1 / fraction)
    with open_series(paths) as series:
        blocks = sampled_blocks(series.pixels(), 5, fraction, 1, Monitor())
        valid = series.pixels().scene_pixels
    for scene in range(3):
        drawn = np.concatenate([b.codes.load()[0] for b in blocks if b.scene == scene]) - 1.0
        assert len(np.unique(drawn // run)) == len(drawn)
        assert len(drawn) == pytest.approx(valid[scene] / run, rel=0.15)
        thirds = np.histogram(drawn, bins=3, range=(0, places.size))[0]
        assert thirds == pytest.approx(len(drawn) / 3, rel=0.35)
