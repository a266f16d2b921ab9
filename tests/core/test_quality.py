"""Quality is measured right (scikit-learn is the judge) and has one answer, whatever the way."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import rasterio
from conftest import land_cover
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iikmc.core import ClassModel, available_backends, cluster, errors, open_series, reading
from iikmc.core import quality as quality_module
from iikmc.core.backends.base import Yardstick, open_backend
from iikmc.core.codes import CodeGrid, CodeTally
from iikmc.core.grid import Window
from iikmc.core.monitor import Monitor
from iikmc.core.pixels import Block
from iikmc.core.quality import SILHOUETTE_PIXELS, silhouette
from iikmc.core.scores import FeatureSpace
from iikmc.core.scratch import Shelf

SEEDS = st.integers(0, 2**32 - 1)


def small_scenes(make_scene, scenes=3, **shape):
    """Write dates of fewer pixels than the sample has; return their paths."""
    values = [
        land_cover(number, **{"height": 30, "width": 40, **shape}) for number in range(scenes)
    ]
    values[0][:, :7, :9] = 0
    return [make_scene(f"s_2020-01-{n:02d}", v, nodata=0) for n, v in enumerate(values, start=1)]


def fitted(paths, folder, **options):
    """Return a model, and its pixels (pixels, bands) and their labels from 0."""
    with open_series(paths) as series:
        model = cluster(series, tol=0.0, max_iter=300, **options)
        rasters = model.classify(series, folder)
    labels, pixels = [], []
    for path, classes in zip(paths, rasters):
        with rasterio.open(classes) as dataset:
            labels.append(dataset.read(1).ravel())
        with rasterio.open(path) as dataset:
            pixels.append(dataset.read().reshape(dataset.count, -1).T.astype(np.float64))
    valid = np.concatenate(labels) > 0
    return model, np.concatenate(pixels)[valid], np.concatenate(labels)[valid].astype(int) - 1


def simplified_silhouettes(model, pixels, labels):
    used = np.unique(labels)
    rows = np.searchsorted(used, labels)
    far = np.linalg.norm(pixels[:, None] - model.signatures[used], axis=2)
    own = far[np.arange(len(rows)), rows]
    far[np.arange(len(rows)), rows] = np.inf
    return own, (far.min(axis=1) - own) / np.maximum(far.min(axis=1), own)


def assert_right(model, pixels, labels, close):
    """Compare all measures with scikit-learn's, and what it does not have with the definition."""
    metrics = pytest.importorskip("sklearn.metrics")
    found = model.fit.quality
    assert model.fit.changed_fraction == 0.0  # so signatures are means, as in scikit-learn
    assert found.silhouette_pixels == len(labels)
    assert found.silhouette == pytest.approx(metrics.silhouette_score(pixels, labels), rel=close)
    assert found.davies_bouldin == pytest.approx(
        metrics.davies_bouldin_score(pixels, labels), rel=close
    )
    assert found.calinski_harabasz == pytest.approx(
        metrics.calinski_harabasz_score(pixels, labels), rel=close
    )
    own, silhouettes = simplified_silhouettes(model, pixels, labels)
    assert found.simplified_silhouette == pytest.approx(silhouettes.mean(), rel=close)
    for row in range(len(model.names)):
        mine = labels == row
        if mine.any():
            assert found.class_distances[row] == pytest.approx(own[mine].mean(), rel=close)
            assert found.class_silhouettes[row] == pytest.approx(
                silhouettes[mine].mean(), rel=close
            )
        else:
            assert found.class_distances[row] is found.class_silhouettes[row] is None


@pytest.mark.parametrize("engine", available_backends())
@pytest.mark.parametrize("bands", [1, 4])
def test_whole_numbers_are_measured_as_scikit_learn_does(bands, engine, make_scene, tmp_path):
    paths = small_scenes(make_scene, bands=bands)
    result = fitted(paths, tmp_path, classes=4, init="k-means++", engine=engine)
    assert_right(*result, close=1e-9)


def test_distances_are_those_of_the_values_not_of_their_codes(make_scene, tmp_path):
    values = [land_cover(number, height=30, width=40).astype(np.float32) for number in range(3)]
    for scene in values:
        scene[0] *= 1.3e-3  # a fine step for this band, 1 for the others
    paths = [make_scene(f"s_2020-01-0{n}", scene) for n, scene in enumerate(values, start=1)]
    model, pixels, labels = fitted(paths, tmp_path, classes=4, init="k-means++")
    assert len(set(model.space.weights.tolist())) == 2
    assert_right(model, pixels, labels, close=1e-6)


def test_classes_without_pixels_are_left_out(make_scene, tmp_path):
    paths = small_scenes(make_scene)
    start = np.array([[1000.0] * 3, [60_000.0] * 3, [3000.0] * 3, [5000.0] * 3])
    model, pixels, labels = fitted(paths, tmp_path, init=start, order="seeded")
    assert model.fit.class_pixels[1] == 0
    assert_right(model, pixels, labels, close=1e-9)


def test_one_class_alone_is_not_measured(make_scene):
    start = np.array([[1000.0] * 3, [60_000.0] * 3])
    with open_series(small_scenes(make_scene)) as series:
        model = cluster(series, init=start, max_iter=1)
    assert 0 in model.fit.class_pixels
    assert model.fit.quality is None


def test_pixels_at_their_signatures_are_the_best_there_is(make_scene, tmp_path):
    values = np.array([[10, 10, 500, 500], [10, 10, 500, 500]], np.uint16)
    model, _, _ = fitted([make_scene("s_2020-01-01", values)], tmp_path, classes=2)
    found = model.fit.quality
    assert (found.silhouette, found.simplified_silhouette, found.davies_bouldin) == (1.0, 1.0, 0.0)
    assert found.class_distances == (0.0, 0.0)
    assert found.calinski_harabasz is None


def test_a_large_series_is_sampled_evenly_and_reproducibly(make_scene, tmp_path, monkeypatch):
    metrics = pytest.importorskip("sklearn.metrics")
    paths = small_scenes(make_scene, height=60, width=60)
    model, pixels, labels = fitted(paths, tmp_path, classes=4, init="k-means++")
    found = model.fit.quality
    assert SILHOUETTE_PIXELS / 2 < found.silhouette_pixels < 1.05 * SILHOUETTE_PIXELS < len(labels)
    assert found.silhouette == pytest.approx(metrics.silhouette_score(pixels, labels), abs=0.02)
    monkeypatch.setattr(reading, "BLOCK_PIXELS", 500)
    for engine in available_backends():
        options = {"classes": 4, "init": "k-means++", "engine": engine, "threads": 3}
        again, _, _ = fitted(paths[::-1], tmp_path / engine, memory_mb=1, **options)
        assert again.fit.quality == found


@given(seed=SEEDS, pixels=st.integers(2, 60), classes=st.integers(1, 6), few=st.booleans())
def test_the_silhouette_is_rousseeuws_in_any_order(seed, pixels, classes, few):
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(seed)
    positions = (
        rng.integers(0, 3, (2, pixels)).astype(float) if few else rng.normal(size=(2, pixels))
    )
    labels = rng.integers(0, classes, pixels)  # duplicates, and classes of one pixel
    found = silhouette(positions, labels, Monitor())
    order = rng.permutation(pixels)
    assert silhouette(positions[:, order], labels[order], Monitor()) == found
    if len(set(labels.tolist())) == 1:
        assert found is None
    elif len(set(labels.tolist())) < pixels:
        expected = metrics.silhouette_score(positions.T, labels)
        assert found == pytest.approx(expected, abs=1e-9)
    else:
        assert found == 0.0


def cut(scene, codes, size):
    """Return blocks of at most ``size`` pixels that hold codes (bands, pixels)."""
    shelf = Shelf(1 << 40)
    parts = [codes[:, first : first + size] for first in range(0, codes.shape[1], size)]
    return [
        Block(scene, Window(0, 0, 1, part.shape[1]), shelf.put(np.ascontiguousarray(part)), None)
        for part in parts
    ]


def measured(name, threads, blocks, space, centres, yardstick):
    """Return the integers of one backend, and the labels it measured by."""
    backend = open_backend(name, threads)
    try:
        backend.prepare(blocks, 2, Monitor())
        partials = backend.step(space.scores(centres, np.ones(len(centres), bool), 2))
        empty = partials.counts.sum(axis=0) == 0
        if (~empty).sum() < 2:  # then nothing is measured; two signatures must be left here
            empty[:] = False
        yardstick = replace(
            yardstick, signatures=np.where(empty[:, None], np.inf, yardstick.signatures)
        )
        found = backend.measure(yardstick)
        labels = np.concatenate([backend.labels(index) for index in range(len(blocks))])
    finally:
        backend.close()
    assert found.distances.dtype == found.silhouettes.dtype == np.int64
    return found.distances.tolist(), found.silhouettes.tolist(), labels


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(data=st.data(), seed=SEEDS)
def test_any_backend_measures_the_same_integers(data, seed, monkeypatch):
    rng = np.random.default_rng(seed)
    bands, classes = data.draw(st.sampled_from([(1, 2), (6, 8), (13, 3)]))
    sizes = [data.draw(st.integers(0, 1500)), data.draw(st.integers(1, 1500))]
    wide = data.draw(st.booleans())
    grid = CodeGrid(0, 2.0**-20 if wide else 1.0, wide)
    top = data.draw(st.sampled_from([3, 4000, grid.highest]))
    dtype = np.int32 if wide else np.uint16
    scenes = [rng.integers(grid.lowest, top, (bands, size)).astype(dtype) for size in sizes]
    tally = CodeTally((grid,) * bands)
    for codes in scenes:
        tally.add(codes)
    space = FeatureSpace.of((grid,) * bands, tally.statistics())
    centres = rng.normal(0, top / 2, (classes, bands))
    centres[1:] = np.where(rng.random((classes - 1, 1)) < 0.3, np.round(centres[1:]), centres[1:])
    # Steps and signatures of no round numbers, another for each scene: roundings must agree too.
    steps = rng.normal(1.0, 0.1, (2, bands)) * grid.step
    yardstick = Yardstick(
        centres * steps[:, None], steps, np.array(space.midpoints), 2.0**15 / grid.step, 2.0**45
    )
    blocks = [block for scene, codes in enumerate(scenes) for block in cut(scene, codes, 4000)]
    expected = measured("numpy", 1, blocks, space, centres, yardstick)
    monkeypatch.setattr("iikmc.core.backends.numpy._CHUNK_SCORES", 1000)
    for engine in available_backends():
        if engine == "numba":
            monkeypatch.setattr("iikmc.core.backends.numba.MOST_TERMS", 100_000)
        parts = [block for scene, codes in enumerate(scenes) for block in cut(scene, codes, 333)]
        order = rng.permutation(len(parts))
        threads = data.draw(st.sampled_from([1, 2, 3]))
        found = measured(engine, threads, [parts[i] for i in order], space, centres, yardstick)
        assert found[:2] == expected[:2]


def test_the_integers_are_the_rounded_measures():
    codes = np.array([[0, 3, 7, 8]], np.uint16)
    space = FeatureSpace((CodeGrid(0, 1.0),), (4,), (1.0,))
    centres = np.array([[-3.5], [3.5], [900.0]])
    yardstick = Yardstick(
        centres[None].repeat(2, 0), np.ones((2, 1)), np.array([4]), 2.0**20, 2.0**30
    )
    for engine in available_backends():
        distances, silhouettes, labels = measured(
            engine, 2, cut(0, codes, 3), space, centres, yardstick
        )
        assert labels.tolist() == [0, 0, 1, 1]
        assert distances == [(0.5 + 2.5) * 2**20, (0.5 + 0.5) * 2**20, 0]
        # 0 lies 0.5 from its signature, 7.5 from the other, and so on.
        expected = [[(7.5 - 0.5) / 7.5, (4.5 - 2.5) / 4.5], [(6.5 - 0.5) / 6.5, (7.5 - 0.5) / 7.5]]
        assert silhouettes[:2] == [sum(round(s * 2**30) for s in row) for row in expected]


@given(
    largest=st.floats(2.0**-160, 2.0**160),
    pixels=st.integers(1, 2 * 10**10),
)
def test_sums_of_twenty_billion_pixels_stay_below_the_limit_of_int64(largest, pixels):
    scale = quality_module._scale(largest, pixels, 50, 62)
    assert Fraction(largest) * Fraction(scale) < 2**51  # where rounding by addition ends
    assert pixels * (Fraction(largest) * Fraction(scale) + 1) < 2**63
    assert Fraction(largest) * Fraction(scale) * 2**35 > 2**61 // pixels  # and not too coarse


@pytest.mark.parametrize("engine", available_backends())
@pytest.mark.parametrize("step", ["measure", "even_sample", "_distance_sums"])
def test_a_cancel_while_measuring_ends_the_run(engine, step, make_scene, monkeypatch):
    class Cancelling(Monitor):
        asked = False

        def cancelled(self):
            return self.asked

    monitor = Cancelling()
    place = quality_module
    if step == "measure":
        place = type(open_backend(engine, 1))
    inner = getattr(place, step)

    def begin(*arguments):
        monitor.asked = True
        return inner(*arguments)

    monkeypatch.setattr(place, step, begin)
    with open_series(small_scenes(make_scene)) as series, pytest.raises(errors.Cancelled):
        cluster(series, classes=3, engine=engine, monitor=monitor)
    assert monitor.asked


@pytest.fixture
def model(make_scene):
    with open_series(small_scenes(make_scene)) as series:
        return cluster(series, classes=3)


def test_a_model_keeps_its_quality(model, tmp_path):
    model.save(tmp_path / "model.json")
    assert model.fit.quality is not None
    assert ClassModel.load(tmp_path / "model.json").fit == model.fit


def test_a_model_of_an_older_file_has_no_quality(model, tmp_path):
    model.save(tmp_path / "model.json")
    content = json.loads((tmp_path / "model.json").read_text())
    del content["fit"]["quality"]
    (tmp_path / "model.json").write_text(json.dumps(content))
    loaded = ClassModel.load(tmp_path / "model.json")
    assert loaded.fit == replace(model.fit, quality=None)
    loaded.save(tmp_path / "again.json")
    assert ClassModel.load(tmp_path / "again.json").fit == loaded.fit


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("silhouette", "high"),
        ("silhouette", float("inf")),
        ("simplified_silhouette", None),
        ("silhouette_pixels", None),
        ("davies_bouldin", []),
        ("class_distances", [1.0]),
        ("class_silhouettes", [1.0, 0.5, "x"]),
        ("class_silhouettes", 3),
        ("another", 1),
    ],
)
def test_a_damaged_quality_is_refused(model, tmp_path, name, value):
    model.save(tmp_path / "model.json")
    content = json.loads((tmp_path / "model.json").read_text())
    content["fit"]["quality"][name] = value
    (tmp_path / "model.json").write_text(json.dumps(content))
    with pytest.raises(errors.ModelError, match="is damaged"):
        ClassModel.load(tmp_path / "model.json")
