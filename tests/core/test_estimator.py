"""The estimator is one of scikit-learn's, and gives the engine's one answer on arrays."""

from __future__ import annotations

import io
import itertools
import subprocess
import sys
import tracemalloc
import warnings

import numpy as np
import pytest
import rasterio
from conftest import land_cover
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("sklearn")

import joblib
from sklearn.base import clone
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from iikmc.core import InterImageKMeans, arrays, available_backends, cluster, estimator, open_series

ENGINES = available_backends()


def samples(count: int, features: int = 4, covers: int = 9, seed: int = 0) -> np.ndarray:
    """Return uint16 (count, features): overlapping clouds about random centres."""
    rng = np.random.default_rng(seed)
    centres = rng.integers(1000, 9000, (covers, features))
    noise = rng.normal(0.0, 500.0, (count, features))
    return np.clip(centres[rng.integers(0, covers, count)] + noise, 0, 65_535).astype(np.uint16)


def distances(values: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Return squared distances, (samples, clusters)."""
    return ((values[:, None].astype(np.float64) - centres) ** 2).sum(axis=2)


def bits(model: InterImageKMeans) -> tuple[bytes, bytes, float, int]:
    """Return all that a fit gives."""
    fitted = model.cluster_centers_.tobytes(), model.labels_.tobytes()
    return (*fitted, float(model.inertia_), model.n_iter_)


@parametrize_with_checks([InterImageKMeans()])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_scikit_learns_own_checks(estimator, check):
    """KMeans itself is excused from the checks of sample_weight, which is not taken here."""
    check(estimator)


@pytest.mark.parametrize("kind", ["uint16", "float64"])
def test_agrees_with_kmeans_from_the_same_start(kind):
    values = samples(1_000_000)
    if kind == "float64":
        values = (values + np.random.default_rng(1).random(values.shape)) * 1e-4 - 0.2
    start = values[[7, 70, 700, 7000, 70_000, 700_000]].astype(np.float64)
    ours = InterImageKMeans(6, init=start, max_iter=12, tol=0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        ours.fit(values)
    peer = KMeans(6, init=start, n_init=1, max_iter=12, tol=0.0, algorithm="lloyd")
    peer.fit(values.astype(np.float64))
    assert np.count_nonzero(ours.labels_ != peer.labels_) <= 1
    assert ours.inertia_ == pytest.approx(peer.inertia_, rel=1e-9)
    one_sample = 5e-6 * np.ptp(values)  # in another cluster, it moves a centre so far
    np.testing.assert_allclose(ours.cluster_centers_, peer.cluster_centers_, 0.0, one_sample)
    assert ours.n_iter_ == peer.n_iter_
    assert ours.labels_.dtype == peer.labels_.dtype


@pytest.mark.parametrize("init", ["minmax", "k-means++"])
def test_is_cluster_on_a_scene_numbered_as_seeded(init, make_scene, tmp_path):
    values = land_cover(3)
    with open_series([make_scene("s_2020-01-01", values)]) as series:
        model = cluster(series, classes=5, init=init, order="seeded", seed=11)
        with rasterio.open(model.classify(series, tmp_path / "out")[0]) as dataset:
            classes = dataset.read(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        ours = InterImageKMeans(5, init=init, random_state=11).fit(values.reshape(3, -1).T)
    assert np.array_equal(ours.cluster_centers_, model.signatures)
    assert np.array_equal(ours.labels_, classes.reshape(-1).astype(int) - 1)
    assert (ours.inertia_, ours.n_iter_) == (model.fit.inertia, model.fit.n_iter)


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), step=st.sampled_from([1.0, 0.37]))
def test_the_same_bits_from_every_engine_and_number_of_threads(seed, step):
    values = samples(400, features=3, seed=seed) // 100 * step
    found = set()
    for engine, (jobs, block) in itertools.product(ENGINES, [(1, 1 << 17), (3, 150)]):
        with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            patch.setattr(arrays, "_BLOCK_SAMPLES", block)
            model = InterImageKMeans(5, init="k-means++", engine=engine, n_jobs=jobs)
            fit = bits(model.set_params(random_state=seed).fit(values))
            found.add((*fit[:2], fit[3]))
            assert np.array_equal(model.predict(values), model.labels_)
            assert model.inertia_ == pytest.approx(-model.score(values), rel=1e-12)
    assert len(found) == 1


@pytest.mark.parametrize("dtype", ["int16", "int32", "int64", "uint32", "float32", "float64", "O"])
def test_the_same_bits_from_every_dtype_that_holds_the_values(dtype):
    values = samples(3000, features=3)
    expected = bits(InterImageKMeans(5, tol=0.0).fit(values))
    for order in "CF":
        other = np.array(values, dtype=dtype, order=order)
        assert bits(InterImageKMeans(5, tol=0.0).fit(other)) == expected


@pytest.mark.parametrize("strategy", ["progressive", "sample"])
def test_strategies_are_those_of_cluster(strategy):
    values = samples(100_000, features=3)
    full = InterImageKMeans(5, tol=1e-3).fit(values)
    fits = [
        InterImageKMeans(5, tol=1e-3, strategy=strategy, engine=engine, random_state=1).fit(values)
        for engine in ENGINES
    ]
    assert len({bits(model) for model in fits}) == 1
    assert fits[0].inertia_ == pytest.approx(full.inertia_, rel=0.01)
    assert not np.array_equal(fits[0].cluster_centers_, full.cluster_centers_)
    assert np.array_equal(fits[0].predict(values), fits[0].labels_)


def test_labels_belong_to_the_centres_when_the_limit_ended_the_fit():
    values = samples(5000)
    with pytest.warns(ConvergenceWarning, match="Not converged after 2 iterations"):
        model = InterImageKMeans(6, init="k-means++", max_iter=2, random_state=0).fit(values)
    squares = distances(values, model.cluster_centers_)
    assert np.array_equal(model.labels_, squares.argmin(axis=1))
    assert model.inertia_ == pytest.approx(squares.min(axis=1).sum(), rel=1e-12)
    assert model.score(values) == pytest.approx(-model.inertia_, rel=1e-12)
    np.testing.assert_allclose(model.transform(values), np.sqrt(squares), rtol=1e-12)


@pytest.mark.parametrize("engine", ENGINES)
def test_one_cluster_is_the_mean(engine):
    model = InterImageKMeans(1, engine=engine).fit([[1, 2, 3], [3, 2, 9], [5, 8, 0]])
    assert model.cluster_centers_.tolist() == [[3.0, 4.0, 4.0]]
    assert model.labels_.tolist() == [0, 0, 0]


@pytest.mark.parametrize("init", ["minmax", "k-means++"])
def test_fewer_distinct_samples_than_clusters_leave_clusters_empty(init):
    values = np.array([[1.5, 2.0]] * 9 + [[7.0, 3.0]] * 3)
    with pytest.warns(ConvergenceWarning, match=r"clusters \(2\) found smaller .* \(4\)"):
        model = InterImageKMeans(4, init=init, random_state=0).fit(values)
    assert model.cluster_centers_.shape == (4, 2)
    assert model.inertia_ == pytest.approx(0.0, abs=1e-12)
    assert len(set(model.labels_[:9])) == len(set(model.labels_[9:])) == 1


def test_integers_are_used_without_a_copy_as_floats():
    values = samples(1 << 21)
    model = InterImageKMeans(6, init=values[:6], tol=1.0, engine=ENGINES[0], n_jobs=2)
    model.fit(values[: 1 << 17])  # compiles
    tracemalloc.start()
    model.fit(values)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < values.size * 4 + (20 << 20)  # codes, labels and some blocks


def test_samples_between_and_beyond_the_integers_of_the_fit_go_to_the_nearest_centre():
    rng = np.random.default_rng(5)
    model = InterImageKMeans(4, init="k-means++", random_state=0)
    model.fit(rng.integers(0, 4, (200, 2)).astype(float))
    between = np.concatenate([rng.uniform(-1, 5, (500, 2)), rng.uniform(-1e9, 1e9, (500, 2))])
    nearest = distances(between, model.cluster_centers_).argmin(axis=1)
    assert np.array_equal(model.predict(between), nearest)
    below = np.array([[-3, 2], [5, -70_000], [1 << 40, 3]])
    nearest = distances(below, model.cluster_centers_).argmin(axis=1)
    assert np.array_equal(model.predict(below), nearest)


def test_a_lone_value_far_outside_is_told_and_leaves_the_others_alone():
    values = samples(3000, features=3) * 0.01
    expected = InterImageKMeans(5, init=values[:5]).fit(values)
    values = np.concatenate([values, [[-1e12, 1.0, 1.0]]])
    with pytest.warns(UserWarning, match="1 values of feature 0 lie far outside the others"):
        model = InterImageKMeans(5, init=values[:5]).fit(values)
    assert np.mean(model.labels_[:-1] == expected.labels_) > 0.99
    assert np.array_equal(model.predict(values), model.labels_)
    assert np.array_equal(model.predict(values[-1:]), model.labels_[-1:])


@pytest.mark.parametrize("engine", ENGINES)
def test_partial_fit_by_hand(engine):
    """Centres 0 and 10; then means of all that ever came: 1 3 | 9, then 6.5 goes to 2nd."""
    model = InterImageKMeans(2, init=[[0.0], [10.0]], engine=engine)
    model.partial_fit(np.array([[1], [3], [9]], np.uint16))
    assert model.cluster_centers_.tolist() == [[2.0], [9.0]]
    assert model.labels_.tolist() == [0, 0, 1]
    assert model.inertia_ == 2.0
    model.partial_fit([[6.5]])  # between the codes of the first batch
    assert model.cluster_centers_.tolist() == [[2.0], [7.75]]
    model.partial_fit([[5.0], [2.0]])  # the first is nearer to 7.75, and not to (9 + 6.5 + 5) / 3
    assert model.cluster_centers_.tolist() == [[2.0], [20.5 / 3]]
    assert model.labels_.tolist() == [1, 0]
    assert model.inertia_ == pytest.approx((20.5 / 3 - 5) ** 2)


@pytest.mark.parametrize("kind", ["uint16", "float64"])
def test_partial_fit_is_mini_batch_k_means(kind):
    batches = [samples(500, covers=5, seed=7)[i::10].astype(kind) for i in range(10)]
    start = batches[0][:5].astype(np.float64)
    ours = InterImageKMeans(5, init=start)
    peer = MiniBatchKMeans(5, init=start, n_init=1, reassignment_ratio=0.0)
    for batch in batches:
        ours.partial_fit(batch)
        peer.partial_fit(batch.astype(np.float64))
        np.testing.assert_allclose(ours.cluster_centers_, peer.cluster_centers_, rtol=1e-12)
        assert np.array_equal(ours.labels_, peer.labels_)
        assert ours.inertia_ == pytest.approx(peer.inertia_, rel=1e-9)


def test_partial_fit_goes_on_from_a_fit():
    model = InterImageKMeans(2).fit([[0.0], [2.0], [10.0]])
    model.partial_fit([[4.0]])
    assert model.cluster_centers_.tolist() == [[2.0], [10.0]]


def test_works_in_pipelines_and_survives_clone_and_joblib():
    values = samples(2000, features=3)
    line = make_pipeline(StandardScaler(), InterImageKMeans(5, random_state=3))
    line.set_output(transform="default")
    labels = line.fit_predict(values)
    file = io.BytesIO()
    joblib.dump(line, file)
    file.seek(0)
    again = joblib.load(file)
    assert np.array_equal(again.predict(values), labels)
    assert np.array_equal(clone(line).fit(values).predict(values), labels)
    assert line.get_feature_names_out().tolist() == [f"interimagekmeans{i}" for i in range(5)]


def test_a_random_state_gives_the_same_start_again():
    values = samples(5000, features=3)

    def centres(state: object) -> bytes:
        model = InterImageKMeans(5, init="k-means++", tol=1.0, random_state=state)
        return model.fit(values).cluster_centers_.tobytes()

    assert centres(4) == centres(4) != centres(5)
    state = np.random.RandomState(4)
    first = centres(state)
    assert first == centres(np.random.RandomState(4)) != centres(state)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("n_clusters", 0),
        ("n_clusters", 255),
        ("n_clusters", 2.5),
        ("init", "random"),
        ("init", "model"),
        ("init", np.zeros((3, 2))),
        ("max_iter", 0),
        ("tol", -1.0),
        ("stop_rule", "never"),
        ("strategy", "fast"),
        ("engine", "fortran"),
        ("n_jobs", 0),
    ],
)
def test_a_wrong_parameter_is_named(option, value):
    model = InterImageKMeans().set_params(**{option: value})
    for fit in (model.fit, model.partial_fit):
        with pytest.raises(ValueError, match=f"^{option} "):
            fit(samples(300))


def test_fewer_samples_than_clusters_is_scikit_learns_error():
    with pytest.raises(ValueError, match=r"^n_samples=3 should be >= n_clusters=8\.$"):
        InterImageKMeans().fit(samples(3))


def test_negative_n_jobs_counts_cores_from_the_top():
    cores = estimator.thread_count(None)
    assert [estimator._threads(jobs) for jobs in (None, -1, -1000, 3)] == [cores, cores, 1, 3]


def test_without_scikit_learn_the_engine_works_and_the_estimator_says_what_it_needs():
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "from iikmc.core import cluster, __all__ as names\n"
        "assert 'InterImageKMeans' in names\n"
        "from iikmc.core import InterImageKMeans"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ImportError: InterImageKMeans needs the Python package scikit-learn")
    assert last.endswith("install it with pip.")


def test_more_features_than_a_series_has_bands():
    values = np.random.default_rng(3).integers(0, 50, (500, 200)).astype(np.uint16)
    found = {
        bits(InterImageKMeans(3, engine=engine, max_iter=3).fit(values))[0] for engine in ENGINES
    }
    assert len(found) == 1
