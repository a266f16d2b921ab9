"""Strategies: a sample is even and reproducible, and all pixels are classified in any case."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from conftest import land_cover

from iikmc.core import cluster, errors, open_series
from iikmc.core.minibatch import Batches
from iikmc.core.monitor import Monitor
from iikmc.core.sampling import sampled_blocks


def test_a_sample_is_even_over_scenes_and_places(make_scene):
    # Each pixel holds its own place, so the sample shows where it was drawn.
    places = np.arange(60 * 80, dtype=np.uint16).reshape(60, 80) + 1
    paths = [make_scene(f"s_2020-01-0{day}", places) for day in (1, 2)]
    store = open_series(paths).pixels()
    blocks = sampled_blocks(store, 3, 0.1, 2, Monitor())
    for scene in (0, 1):
        drawn = np.concatenate([b.codes.load()[0] for b in blocks if b.scene == scene]) - 1
        assert sorted(drawn // 10) == list(range(480))  # one of each run of ten
    first, second = (np.sort(b.codes.load()[0]) for b in blocks[:2])
    assert not np.array_equal(first, second)  # other places on the other date


def test_a_sample_alone_trains_but_every_pixel_is_classified(three_scenes, tmp_path):
    with open_series(three_scenes) as series:
        model = cluster(series, classes=5, strategy="sample", sample_fraction=0.1)
        full = cluster(series, classes=5)
        paths = model.classify(series, tmp_path / "out")
    fit = model.fit
    assert fit.sample_iterations == fit.n_iter == len(fit.changed)
    assert 0.07 * fit.valid_pixels < fit.sample_pixels < 0.13 * fit.valid_pixels
    assert fit.valid_pixels == full.fit.valid_pixels == sum(fit.class_pixels)
    for path, source in zip(paths, three_scenes):
        with rasterio.open(path) as labels, rasterio.open(source) as values:
            assert np.array_equal(labels.read(1) > 0, (values.read() != 0).all(axis=0))
    np.testing.assert_allclose(model.signatures, full.signatures, rtol=0.05)
    assert model.fit.inertia >= full.fit.inertia


def test_progressive_ends_at_a_fixed_point_of_all_pixels(three_scenes):
    with open_series(three_scenes) as series:
        model = cluster(series, classes=5, strategy="progressive", sample_fraction=0.1, tol=0.0)
        again = cluster(series, init=model, tol=0.0, max_iter=2)
    fit = model.fit
    assert fit.converged
    assert 0 < fit.sample_iterations < fit.n_iter == len(fit.changed)
    assert fit.changed[-1] == 0.0
    assert again.signatures.tobytes() == model.signatures.tobytes()


def test_the_iteration_limit_holds_for_sample_and_all_together(three_scenes):
    with open_series(three_scenes) as series:
        for limit in (1, 2, 5):
            model = cluster(
                series,
                classes=6,
                strategy="progressive",
                sample_fraction=0.2,
                max_iter=limit,
                tol=0.0,
            )
            assert model.fit.n_iter <= limit
            assert model.fit.sample_iterations <= limit // 2


def test_a_class_that_only_the_sample_misses_is_not_dropped(make_scene):
    values = np.full((50, 50), 100, np.uint16)
    values[:, 25:] = 200
    values[49, 49] = 60_000  # one pixel of a class of its own, unlikely to be drawn
    start = np.array([[100.0], [200.0], [60_000.0]])
    with open_series([make_scene("s_2020-01-01", values)]) as series:
        model = cluster(series, init=start, strategy="progressive", empty="drop", seed=2)
    assert model.fit.class_pixels == (1250, 1249, 1)


def test_a_sample_smaller_than_the_number_of_classes_is_refused(make_scene):
    values = np.arange(100, dtype=np.uint16).reshape(10, 10)
    with (
        open_series([make_scene("s_2020-01-01", values)]) as series,
        pytest.raises(errors.ParameterError, match="sample has 2 pixels for 8 classes"),
    ):
        cluster(series, strategy="sample", sample_fraction=0.02)


def test_every_pass_reads_every_pixel_once_but_those_held_out(make_scene):
    places = np.arange(1, 60 * 80 + 1, dtype=np.uint16).reshape(60, 80)
    places[:, :7] = 0
    paths = [make_scene(f"s_2020-01-0{day}", places, nodata=0) for day in (1, 2)]
    store = open_series(paths).pixels()
    batches = Batches(store, 0.05, seed=1, threads=2)

    def pixels(strips):
        batch = batches.load(strips, Monitor())
        return [(b.scene, v) for b in batch.blocks for v in b.codes.load()[0].tolist()]

    held = pixels(batches.held_out)
    passes = [[pixels(strips) for strips in batches.one_pass(number)] for number in (0, 1)]
    for batched in passes:
        seen = [pixel for batch in batched for pixel in batch]
        assert sorted(seen + held) == sorted(
            (scene, int(v)) for scene in (0, 1) for v in places[places > 0]
        )
    assert passes[0] != passes[1]
    assert 0 < len(held) < 0.11 * store.pixels


def test_mini_batch_centres_are_the_means_of_all_they_were_given(make_scene):
    """One batch holds all: after the warm start on the same pixels nothing can move."""
    rng = np.random.default_rng(4)
    values = np.concatenate([rng.integers(90, 110, 60), rng.integers(490, 510, 40)])
    path = make_scene("s_2020-01-01", values.astype(np.uint16).reshape(10, 10))
    with open_series([path]) as series:
        options = {"classes": 2, "tol": 0.0}
        full = cluster(series, **options)
        mini = cluster(series, strategy="mini-batch", sample_fraction=1.0, max_iter=3, **options)
    assert mini.signatures.tobytes() == full.signatures.tobytes()
    assert mini.fit.changed[mini.fit.sample_iterations :] == (0.0, 0.0, 0.0)
    assert mini.fit.held_out is None


def test_mini_batches_come_close_to_all_pixels_and_tell_the_held_out_inertia(make_scene):
    paths = [
        make_scene(f"s_2020-01-0{day}", land_cover(day, height=200, width=200)) for day in (1, 2, 3)
    ]
    with open_series(paths) as series:
        full = cluster(series, classes=5)
        mini = cluster(series, classes=5, strategy="mini-batch", sample_fraction=0.05)
    fit = mini.fit
    assert fit.converged
    assert fit.inertia < 1.01 * full.fit.inertia
    assert fit.held_out is not None
    trained = (fit.inertia - fit.held_out.inertia) / (fit.valid_pixels - fit.held_out.pixels)
    assert fit.held_out.inertia / fit.held_out.pixels == pytest.approx(trained, rel=0.2)


def test_mini_batch_ends_as_scikit_learn_does_when_inertia_stops_falling():
    from iikmc.core.minibatch import _Ending

    ending = _Ending(1000)
    falling = [ending.after(100.0 - step, 100) for step in range(20)]
    assert not any(falling)
    flat = [ending.after(100.0, 100) for _ in range(30)]
    assert flat.index(True) == 9  # ten batches in a row without improvement
