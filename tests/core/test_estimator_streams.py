"""Streams and strategies of the estimator: the same bits whatever the engine and the threads."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn")

from hypothesis import given, settings
from hypothesis import strategies as st
from test_estimator import bits, distances, samples

from iikmc.core import InterImageKMeans, arrays, available_backends

ENGINES = [name for name in available_backends() if name in ("numpy", "numba")]


@settings(max_examples=8)
@given(
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(["uint16", "int32", "float32", "float64"]),
    step=st.sampled_from([1, 0.25, 0.37]),
)
def test_a_stream_has_one_answer_and_serves_all_that_a_fit_does(seed, kind, step):
    step = step if kind.startswith("float") else 1
    whole = (samples(900, features=3, seed=seed) // 100 * step).astype(kind)
    batches = np.array_split(whole, [300, 301, 640])  # one of a single sample
    found, models = set(), []
    for engine in ENGINES:
        for jobs, block in ((1, 1 << 17), (3, 70), (7, 199)):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(arrays, "_BLOCK_SAMPLES", block)
                model = InterImageKMeans(5, engine=engine, n_jobs=jobs)
                for batch in batches:
                    model.partial_fit(batch)
                centres, labels = model.cluster_centers_.tobytes(), model.labels_.tobytes()
                found.add((centres, labels, model.predict(whole).tobytes()))
                models.append(model)
    assert len(found) == 1
    squares = distances(whole, models[0].cluster_centers_)
    nearest = squares.min(axis=1)
    for model in models[:: len(models) - 1]:
        chosen = squares[np.arange(len(whole)), model.predict(whole)]
        np.testing.assert_allclose(chosen, nearest, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(model.transform(whole) ** 2, squares, rtol=1e-9, atol=1e-9)
        assert model.score(whole) == pytest.approx(-nearest.sum(), rel=1e-9)


@pytest.mark.parametrize("strategy", ["full", "progressive", "sample", "mini-batch"])
def test_a_strategy_has_one_answer_whatever_the_threads_and_blocks(strategy, monkeypatch):
    values = samples(20_000, features=3)
    found = set()
    for engine in ENGINES:
        for jobs, block in ((1, 1 << 17), (2, 999), (7, 4096)):
            monkeypatch.setattr(arrays, "_BLOCK_SAMPLES", block)
            model = InterImageKMeans(
                5, strategy=strategy, engine=engine, n_jobs=jobs, random_state=4, tol=1e-3
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found.add(bits(model.fit(values)))
            assert np.array_equal(model.predict(values), model.labels_)
    assert len(found) == 1


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", ["uint16", "float64"])
def test_as_many_clusters_as_distinct_samples_leave_nothing_over(kind, engine):
    values = np.random.default_rng(6).permutation(np.repeat(np.arange(40) ** 2 * 7, 30))
    values = values.reshape(-1, 1).astype(kind) * (1 if kind == "uint16" else 0.1)
    model = InterImageKMeans(40, init="k-means++", engine=engine, random_state=0).fit(values)
    assert np.bincount(model.labels_).tolist() == [30] * 40
    assert model.inertia_ <= 1e-12 * np.ptp(values) ** 2 * len(values)  # codes of floats are fine


@pytest.mark.parametrize("engine", ENGINES)
def test_one_sample_is_a_cluster(engine):
    model = InterImageKMeans(1, engine=engine).fit([[3.5, -2.0]])
    assert model.cluster_centers_.tolist() == [[3.5, -2.0]]
    assert (model.labels_.tolist(), float(model.inertia_)) == ([0], 0.0)
