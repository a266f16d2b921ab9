"""The loop does k-means: by hand, against scikit-learn, and with empty classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from conftest import land_cover

from iikmc.core import ClassModel, available_backends, cluster, errors, open_series

ENGINES = available_backends()


def labels_of(model: ClassModel, series, folder: Path) -> np.ndarray:
    """Classify and return all labels, (scenes, height, width)."""
    arrays = []
    for path in model.classify(series, folder):
        with rasterio.open(path) as dataset:
            arrays.append(dataset.read(1))
    return np.stack(arrays)


def nearest(values: np.ndarray, signatures: np.ndarray) -> np.ndarray:
    """Return class numbers from float64 distances: values (bands, ...) to (classes, bands)."""
    flat = values.reshape(values.shape[0], -1).astype(np.float64)
    distances = ((flat[None] - signatures[:, :, None]) ** 2).sum(axis=1)
    return (np.argmin(distances, axis=0) + 1).reshape(values.shape[1:])


@pytest.mark.parametrize("engine", ENGINES)
def test_hand_computed_example(engine, make_scene, tmp_path):
    """Six pixels on a line over two dates, worked out on paper.

    Values 1 2 3 | 10 11 15. Min-max mid-points of 1 to 15 for two classes: 4.5 and 11.5.
    Nearest: 1 2 3 to the first, the others to the second. Means: 2 and 12. No pixel changes
    class after that. Inertia: 1 + 0 + 1 + 4 + 1 + 9 = 16.
    """
    first = make_scene("a_2020-01-01", np.array([[1, 10, 3]], np.uint16))
    second = make_scene("b_2020-02-01", np.array([[2, 11, 15]], np.uint16))
    with open_series([first, second]) as series:
        model = cluster(series, classes=2, engine=engine, tol=0.0)
        labels = labels_of(model, series, tmp_path / "out")
    assert model.signatures.tolist() == [[2.0], [12.0]]
    assert labels.tolist() == [[[1, 2, 1]], [[1, 2, 2]]]
    assert model.fit.inertia == 16.0
    assert model.fit.changed == (1.0, 0.0)
    assert (model.fit.n_iter, model.fit.converged) == (2, True)
    assert [scene.class_pixels for scene in model.fit.scenes] == [(2, 1), (1, 2)]


@pytest.mark.parametrize("engine", ENGINES)
def test_agrees_with_scikit_learn_from_the_same_start(engine, make_scene, tmp_path):
    KMeans = pytest.importorskip("sklearn.cluster").KMeans
    scenes = [land_cover(seed, bands=4, height=60, width=70) for seed in range(3)]
    paths = [make_scene(f"s_2020-01-0{i + 1}", values) for i, values in enumerate(scenes)]
    samples = np.concatenate([values.reshape(4, -1) for values in scenes], axis=1).T
    start = samples[[5, 900, 4000, 7000, 9000, 12_000]].astype(np.float64)
    peer = KMeans(6, init=start, n_init=1, max_iter=200, tol=0.0, algorithm="lloyd")
    expected = peer.fit(samples.astype(np.float64))
    with open_series(paths) as series:
        model = cluster(series, init=start, engine=engine, max_iter=200, tol=0.0, order="seeded")
        labels = labels_of(model, series, tmp_path / "out").reshape(-1).astype(int) - 1
    np.testing.assert_allclose(model.signatures, expected.cluster_centers_, rtol=1e-9)
    assert model.fit.inertia == pytest.approx(expected.inertia_, rel=1e-9)
    different = labels != expected.labels_
    distances = ((samples[different, None] - expected.cluster_centers_) ** 2).sum(axis=2)
    two = np.sort(distances, axis=1)[:, :2]
    assert np.all(two[:, 1] - two[:, 0] <= 1e-6 * two[:, 0])  # ties, if any


@pytest.mark.parametrize("max_iter", [1, 2, 5, 100])
@pytest.mark.parametrize("engine", ENGINES)
def test_labels_are_those_of_the_returned_signatures(engine, max_iter, three_scenes, tmp_path):
    with open_series(three_scenes) as series:
        model = cluster(series, classes=5, engine=engine, max_iter=max_iter)
        labels = labels_of(model, series, tmp_path / "out")
    for path, found, scene in zip(three_scenes, labels, model.fit.scenes):
        with rasterio.open(path) as dataset:
            values = dataset.read()
        valid = (values != 0).all(axis=0)
        expected = np.where(valid, nearest(values, model.signatures), 0)
        assert np.array_equal(found, expected)
        assert scene.valid_pixels == valid.sum()
        assert scene.class_pixels == tuple(np.bincount(found[valid], minlength=6)[1:])
    assert model.fit.n_iter <= max_iter


def test_iterations_are_updates_and_the_limit_says_not_converged(three_scenes):
    with open_series(three_scenes) as series:
        one = cluster(series, classes=5, max_iter=1)
        two = cluster(series, classes=5, max_iter=2)
    assert (one.fit.n_iter, one.fit.converged, one.fit.changed) == (1, False, (1.0,))
    assert two.fit.changed[:1] == one.fit.changed
    assert two.fit.n_iter == 2


def test_tolerance_stops_at_the_first_iteration_that_meets_it(three_scenes):
    with open_series(three_scenes) as series:
        full = cluster(series, classes=6, tol=0.0)
        short = cluster(series, classes=6, tol=0.01)
        shifted = cluster(series, classes=6, tol=0.01, stop_rule="shift")
    assert full.fit.changed[-1] == 0.0
    assert short.fit.changed == full.fit.changed[: short.fit.n_iter]
    assert short.fit.changed[-1] <= 0.01 < min(short.fit.changed[:-1])
    assert shifted.fit.shift == full.fit.shift[: shifted.fit.n_iter]
    assert shifted.fit.shift[-1] <= 0.01 < min(shifted.fit.shift[:-1])


EMPTY_START = np.array([[100.0], [5000.0], [60_000.0]])  # nothing is near the third
TWO_GROUPS = np.array([[90, 100, 110, 4900, 5000, 5100, 5200, 95]], np.uint16)


@pytest.mark.parametrize("engine", ENGINES)
def test_keep_leaves_an_empty_class_where_it_was(engine, make_scene):
    with open_series([make_scene("s_2020-01-01", TWO_GROUPS)]) as series:
        model = cluster(series, init=EMPTY_START, engine=engine, empty="keep", order="seeded")
    assert model.signatures.tolist() == [[98.75], [5050.0], [60_000.0]]
    assert model.fit.class_pixels == (4, 4, 0)


@pytest.mark.parametrize("engine", ENGINES)
def test_drop_takes_an_empty_class_out_for_good(engine, make_scene, tmp_path):
    with open_series([make_scene("s_2020-01-01", TWO_GROUPS)]) as series:
        model = cluster(series, init=EMPTY_START, engine=engine, empty="drop", order="seeded")
        labels = labels_of(model, series, tmp_path / "out")
    assert model.signatures.tolist() == [[98.75], [5050.0]]
    assert labels.tolist() == [[[1, 1, 1, 2, 2, 2, 2, 1]]]
    assert (len(model.names), len(model.colours)) == (2, 2)


@pytest.mark.parametrize("engine", ENGINES)
def test_relocate_moves_an_empty_class_to_the_farthest_pixel(engine, make_scene):
    with open_series([make_scene("s_2020-01-01", TWO_GROUPS)]) as series:
        model = cluster(
            series, init=EMPTY_START, engine=engine, empty="relocate", order="seeded", tol=0.0
        )
        one = cluster(
            series, init=EMPTY_START, engine=engine, empty="relocate", order="seeded", max_iter=1
        )
    # After one update the centres are 98.75 and 5050; 4900 and 5200 are as far: the first goes.
    assert one.signatures.tolist() == [[98.75], [5050.0], [4900.0]]
    assert model.fit.class_pixels == (4, 3, 1)
    assert model.fit.converged


@pytest.mark.parametrize("engine", ENGINES)
def test_a_tie_goes_to_the_lowest_number(engine, make_scene, tmp_path):
    middle = np.array([[0, 10, 5, 5, 0, 10]], np.uint16)
    start = np.array([[10.0], [0.0]])
    with open_series([make_scene("s_2020-01-01", middle)]) as series:
        seeded = cluster(series, init=start, max_iter=1, engine=engine, order="seeded")
        # The first assignment gives both fives to class 1: means 7.5 and 0.
        assert seeded.signatures.tolist() == [[7.5], [0.0]]


def test_order_numbers_classes_by_brightness_size_or_start(make_scene):
    values = np.array([[900, 901, 902, 500, 501, 100]], np.uint16)
    start = np.array([[500.0], [900.0], [100.0]])
    found = {}
    with open_series([make_scene("s_2020-01-01", values)]) as series:
        for order in ("brightness", "size", "seeded"):
            found[order] = cluster(series, init=start, order=order).signatures[:, 0].tolist()
    assert found["brightness"] == [100.0, 500.5, 901.0]
    assert found["size"] == [901.0, 500.5, 100.0]
    assert found["seeded"] == [500.5, 901.0, 100.0]


def test_a_model_as_start_keeps_numbers_names_and_colours(three_scenes):
    with open_series(three_scenes) as series:
        model = cluster(series, classes=4, order="size", max_iter=2)
        named = model.renamed(["water", "wood", "town", "field"], [(1, 2, 3)] * 4)
        again = cluster(series, init=named, order="brightness", tol=0.0)
        straight = cluster(series, init=model.signatures, order="seeded", tol=0.0)
    assert again.names == named.names
    assert again.colours == named.colours
    np.testing.assert_allclose(again.signatures, straight.signatures, rtol=1e-9)


def test_more_classes_than_distinct_spectra_is_refused(make_scene):
    path = make_scene("s_2020-01-01", np.array([[1, 2, 3, 3, 3, 1]], np.uint16))
    with open_series([path]) as series:
        with pytest.raises(errors.ParameterError, match="3 distinct spectra, 4 classes"):
            cluster(series, classes=4)
        assert cluster(series, classes=3).fit.inertia == 0.0


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("classes", 1),
        ("classes", 255),
        ("init", "random"),
        ("init", "model"),
        ("init", np.zeros((3, 9))),
        ("strategy", "fast"),
        ("sample_fraction", 0.0),
        ("sample_fraction", 1.5),
        ("max_iter", 0),
        ("stop_rule", "never"),
        ("tol", -1.0),
        ("empty", "fill"),
        ("order", "random"),
        ("engine", "fortran"),
        ("threads", -1),
        ("harmonise", "gently"),
        ("harmonise_reference", "soon"),
        ("memory_mb", -1),
    ],
)
def test_a_wrong_parameter_is_named_before_any_pixel_is_read(option, value, three_scenes):
    with open_series(three_scenes) as series:
        for path in three_scenes:
            path.unlink()
        with pytest.raises(errors.ParameterError, match=option.split("_")[0]):
            cluster(series, **{option: value})


def test_a_model_to_start_from_keeps_its_numbers_so_its_classes_cannot_be_dropped(three_scenes):
    with open_series(three_scenes) as series:
        model = cluster(series, classes=3, max_iter=1)
        with pytest.raises(errors.ParameterError, match="class numbers stay"):
            cluster(series, init=model, empty="drop")


def test_the_largest_class_is_number_one_by_the_final_labels(three_scenes):
    with open_series(three_scenes) as series:
        for strategy in ("full", "sample", "mini-batch"):
            model = cluster(
                series, classes=5, order="size", strategy=strategy, sample_fraction=0.1, max_iter=2
            )
            sizes = model.fit.class_pixels
            assert list(sizes) == sorted(sizes, reverse=True)
