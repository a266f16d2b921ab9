"""A model on scenes: which bands are taken for its own, and that its labels are the fit's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from conftest import land_cover

from iikmc.core import ClassModel, available_backends, cluster, errors, open_series
from iikmc.core.apply import open_for
from iikmc.core.backends.base import open_backend
from iikmc.core.classify import Folders, classify, fitted_scenes
from iikmc.core.files import StagedOutputs
from iikmc.core.monitor import Monitor

NAMES = ("blue", "green", "red")


@pytest.fixture
def scene(make_scene) -> Path:
    """Three named bands."""
    return make_scene("a_2020-01-01", land_cover(1), band_names=NAMES)


@pytest.fixture
def model(scene) -> ClassModel:
    with open_series([scene]) as series:
        return cluster(series, classes=4)


def labels(path: Path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        return dataset.read(1)


def applied(model: ClassModel, folder: Path, paths: list[Path], **reading) -> tuple:
    """Return the labels of the first scene that a model gives, and the notes of the series."""
    with open_for(model, paths, **reading) as series:
        rasters = model.classify(series, folder)
        return labels(rasters[0]), series.notes


@pytest.fixture
def expected(model, scene, tmp_path) -> np.ndarray:
    """The labels that the bands give when they are found."""
    with open_series([scene]) as series:
        return labels(model.classify(series, tmp_path / "expected")[0])


def rearranged(make_scene, name: str, order: list[int], band_names=None) -> Path:
    """Write the scene's bands in another order, with a band of noise where the order says -1."""
    values = land_cover(1)
    noise = np.random.default_rng(9).integers(1, 6000, values.shape[1:]).astype(np.uint16)
    planes = [noise if place < 0 else values[place] for place in order]
    return make_scene(name, np.stack(planes), band_names=band_names)


@pytest.mark.parametrize(
    ("order", "names"),
    [
        ([0, 1, 2], ("blue", "green", "red")),
        ([2, 0, 1], ("red", "blue", "green")),
        ([-1, 2, -1, 1, 0, -1], ("coastal", "red", "nir", "green", "blue", "swir")),
        ([1, 0, 2], ("Green", "BLUE", " red ")),
    ],
)
def test_bands_are_found_by_name(order, names, model, expected, make_scene, tmp_path):
    path = rearranged(make_scene, "b_2020-01-01", order, names)
    found, notes = applied(model, tmp_path / "out", [path])
    np.testing.assert_array_equal(found, expected)
    assert notes == ()


def test_each_scene_may_have_its_own_order(model, expected, make_scene, tmp_path):
    paths = [
        rearranged(make_scene, "b_2020-01-01", [2, 1, 0], ("red", "green", "blue")),
        rearranged(make_scene, "c_2020-02-01", [0, 2, 1], ("blue", "red", "green")),
    ]
    with open_for(model, paths) as series:
        for path in model.classify(series, tmp_path / "out"):
            np.testing.assert_array_equal(labels(path), expected)


@pytest.mark.parametrize("order", [[0, 1, 2], [0, 1, 2, -1]])
def test_without_names_they_are_taken_by_number_which_is_said(
    order, model, expected, make_scene, tmp_path
):
    path = rearranged(make_scene, "b_2020-01-01", order)
    found, notes = applied(model, tmp_path / "out", [path])
    np.testing.assert_array_equal(found, expected)
    (note,) = notes
    assert "blue, green, red" in note and "BANDS" in note and note.endswith(".")


def test_one_scene_without_names_is_said_too(model, expected, scene, make_scene, tmp_path):
    plain = rearranged(make_scene, "b_2020-02-01", [0, 1, 2])
    with open_for(model, [scene, plain]) as series:
        for path in model.classify(series, tmp_path / "out"):
            np.testing.assert_array_equal(labels(path), expected)
        assert len(series.notes) == 1


def test_what_was_taken_by_number_is_a_warning_of_the_run(model, make_scene, tmp_path):
    class Listening(Monitor):
        def __init__(self) -> None:
            self.warnings: list[str] = []

        def warning(self, text: str) -> None:
            self.warnings.append(text)

    monitor = Listening()
    with open_for(model, [rearranged(make_scene, "b_2020-01-01", [0, 1, 2])]) as series:
        model.classify(series, tmp_path, monitor=monitor)
    assert any("in this order" in text for text in monitor.warnings)


def test_names_in_other_places_are_not_overruled_by_numbers(model, make_scene):
    """Taking the bands 1 to 3 as blue, green and red would take red for green."""
    path = rearranged(make_scene, "b_2020-01-01", [-1, 2, 1], ("nir", "red", "green"))
    with pytest.raises(errors.BandError, match=r"'b_2020-01-01' has no band blue.*nir, red, green"):
        open_for(model, [path])


def test_bands_listed_by_the_user_may_have_names_of_their_own(
    model, expected, make_scene, tmp_path
):
    path = rearranged(make_scene, "b_2020-01-01", [-1, 2, 1, 0], ("B08", "B04", "B03", "B02"))
    for number, bands in enumerate(([4, 3, 2], ["B02", "B03", "B04"])):
        found, notes = applied(model, tmp_path / f"{number}", [path], bands=bands)
        np.testing.assert_array_equal(found, expected)
        assert "B02, B03, B04" in notes[0] and "blue, green, red" in notes[0]


@pytest.mark.parametrize("names", [None, ("blue", "green"), ("one", "two")])
def test_too_few_bands_are_refused_in_one_sentence(names, model, make_scene):
    path = rearranged(make_scene, "b_2020-01-01", [0, 1], names)
    with pytest.raises(errors.BandError, match="'b_2020-01-01' has no band") as caught:
        open_for(model, [path])
    assert str(caught.value).count(". ") == 0 and str(caught.value).endswith(".")


@pytest.mark.parametrize("bands", [[1, 2], ["blue", "green"]])
def test_bands_listed_have_to_be_as_many_as_the_models(bands, model, scene):
    with pytest.raises(errors.ModelError, match=r"has 3 bands .*series 2"):
        open_for(model, [scene], bands=bands)


def test_bands_listed_in_another_order_of_the_models_names_are_refused(model, scene):
    with pytest.raises(errors.ModelError, match="in the model's order"):
        open_for(model, [scene], bands=["red", "green", "blue"])


def test_bands_of_a_model_of_unnamed_rasters_keep_their_numbers(make_scene, tmp_path):
    values = land_cover(2, bands=5)
    path = make_scene("a_2020-01-01", values)
    with open_series([path], bands=[1, 2, 4]) as series:
        model = cluster(series, classes=3)
        wanted = labels(model.classify(series, tmp_path / "fit")[0])
    assert model.band_names == ("Band 1", "Band 2", "Band 4")
    found, notes = applied(model, tmp_path / "applied", [path])
    np.testing.assert_array_equal(found, wanted)
    assert notes == ()
    chosen = make_scene("b_2020-01-01", values[[0, 1, 3]])
    found, notes = applied(model, tmp_path / "chosen", [chosen])
    np.testing.assert_array_equal(found, wanted)
    assert len(notes) == 1
    with pytest.raises(errors.BandError, match="no band"):
        open_for(model, [make_scene("c_2020-01-01", values[:2])])


def test_names_that_look_like_numbers_are_names(make_scene, tmp_path):
    """Stacks of Landsat bands 2 to 7 are often called just that."""
    values = land_cover(3, bands=6)
    names = [f"Band {number}" for number in range(2, 8)]
    path = make_scene("a_2020-01-01", values, band_names=names)
    with open_series([path], bands=["Band 2", "Band 3"]) as series:
        model = cluster(series, classes=3)
        wanted = labels(model.classify(series, tmp_path / "fit")[0])
    found, notes = applied(model, tmp_path / "applied", [path])
    np.testing.assert_array_equal(found, wanted)
    assert notes == ()


# Static features.


def static_raster(make_scene, name: str, seed: int, band_names=None) -> Path:
    values = np.random.default_rng(seed).integers(0, 3000, (40, 50)).astype(np.int16)
    return make_scene(name, values, band_names=band_names)


@pytest.fixture
def features(make_scene) -> list[Path]:
    return [static_raster(make_scene, "height", 1), static_raster(make_scene, "slope", 2)]


@pytest.fixture
def with_features(scene, features) -> ClassModel:
    with open_series([scene], static=features) as series:
        return cluster(series, classes=4)


def test_static_features_join_the_named_bands(with_features, features, scene, tmp_path, make_scene):
    assert with_features.band_names == (*NAMES, "height", "slope")
    with open_series([scene], static=features) as series:
        wanted = labels(with_features.classify(series, tmp_path / "fit")[0])
    path = rearranged(make_scene, "b_2020-01-01", [2, 1, 0], ("red", "green", "blue"))
    found, notes = applied(with_features, tmp_path / "out", [path], static=features)
    np.testing.assert_array_equal(found, wanted)
    assert notes == ()


def test_static_features_that_are_missing_are_named(with_features, features, scene):
    for given, count in ((None, 0), (features[:1], 1)):
        with pytest.raises(errors.ModelError, match="height, slope") as caught:
            open_for(with_features, [scene], static=given)
        assert f"the series has {count}" in str(caught.value) and "STATIC" in str(caught.value)


def test_static_features_that_the_model_lacks_are_refused(model, features, scene):
    with pytest.raises(errors.ModelError, match="no static feature") as caught:
        open_for(model, [scene], static=features)
    assert "STATIC" in str(caught.value)
    assert "give the model's" not in str(caught.value)  # there are none to give


def test_static_features_in_another_order_are_refused(with_features, features, scene):
    with pytest.raises(errors.ModelError, match="STATIC"):
        open_for(with_features, [scene], static=features[::-1])


def test_a_static_raster_may_have_another_file_name(
    with_features, scene, make_scene, features, tmp_path
):
    """The heights of another place are in another file."""
    others = [static_raster(make_scene, "dem_zone_33", 1), features[1]]
    found, notes = applied(with_features, tmp_path / "out", [scene], static=others)
    wanted, _ = applied(with_features, tmp_path / "fit", [scene], static=features)
    np.testing.assert_array_equal(found, wanted)
    assert any("dem_zone_33" in note for note in notes)


# The labels of a fit are not found twice, and are right all the same.


class Counting:
    """Counts how often a backend goes over the pixels."""

    def __init__(self, monkeypatch) -> None:
        self.steps = 0
        for engine in available_backends():
            monkeypatch.setattr(kind := type(open_backend(engine, 1)), "step", self._of(kind.step))

    def _of(self, step):
        def counted(backend, scores):
            self.steps += 1
            return step(backend, scores)

        return counted


def classified(model, series, folder, engine):
    """Return the bytes of each raster."""
    return [path.read_bytes() for path in model.classify(series, folder, engine=engine)]


@pytest.mark.parametrize("engine", available_backends())
@pytest.mark.parametrize("options", [{}, {"scaling": "minmax"}, {"harmonise": "standardise"}])
def test_labels_kept_of_a_fit_are_those_of_a_fresh_start(
    options, engine, three_scenes, tmp_path, monkeypatch
):
    counting = Counting(monkeypatch)
    with open_series(three_scenes) as series:
        model = cluster(series, classes=4, engine=engine, max_iter=3, **options)
        fitted_by = counting.steps
        kept = classified(model, series, tmp_path / "kept", engine)
        assert counting.steps == fitted_by  # none of them in classify
        again = classified(model, series, tmp_path / "again", engine)
        series.close()
        closed = classified(model, series, tmp_path / "closed", engine)
        assert counting.steps > fitted_by
    model.save(tmp_path / "model.json")
    with open_series(three_scenes) as series:
        loaded = ClassModel.load(tmp_path / "model.json")
        fresh = [path.read_bytes() for path in loaded.classify(series, tmp_path / "fresh")]
    assert kept == again == closed == fresh


@pytest.mark.parametrize("engine", available_backends())
def test_labels_of_one_model_are_not_taken_for_anothers(engine, three_scenes, tmp_path):
    with open_series(three_scenes) as series:
        first = cluster(series, classes=4, engine=engine)
        second = cluster(series, classes=3, engine=engine)
        third = cluster(series, classes=4, engine=engine, scaling="zscore")
        mixed = {
            name: [path.read_bytes() for path in model.classify(series, tmp_path / name)]
            for name, model in (("1", first), ("2", second), ("3", third), ("1 again", first))
        }
    for name, model in (("1", first), ("2", second), ("3", third), ("1 again", first)):
        with open_series(three_scenes) as series:
            alone = [path.read_bytes() for path in model.classify(series, tmp_path / "alone")]
        assert mixed[name] == alone, name


def test_labels_kept_stay_as_they_are_while_others_are_found(three_scenes):
    with open_series(three_scenes) as series:
        model = cluster(series, classes=4)
        store = series.pixels(code_grids=model.space.code_grids)
        kept = store._labelled
        assert kept is not None
        before = [block.copy() for block in kept.labels]
        cluster(series, classes=4, init="k-means++", seed=5)
        for block, copy in zip(kept.labels, before):
            np.testing.assert_array_equal(block, copy)


@pytest.mark.parametrize("engine", available_backends())
def test_labels_kept_are_let_go_before_others_are_made(engine, three_scenes, tmp_path, monkeypatch):
    """Memory is reckoned with one label for each pixel, not with two."""
    kind = type(open_backend(engine, 1))
    inner, kept = kind.prepare, []

    def prepare(backend, blocks, scenes, monitor):
        if blocks is store.blocks:  # and not those of a sample
            kept.append(store._labelled)
        return inner(backend, blocks, scenes, monitor)

    monkeypatch.setattr(kind, "prepare", prepare)
    with open_series(three_scenes) as series:
        store = series.pixels(engine=engine)
        first = cluster(series, classes=4, engine=engine)
        second = cluster(series, classes=3, engine=engine)
        for model in (first, second):
            model.classify(series, tmp_path, engine=engine)
    assert len(kept) >= 4
    assert not any(kept)


def test_fitted_scenes_count_what_the_rasters_hold(make_scene, tmp_path):
    """In degrees, where the rows' pixels differ in area."""
    paths = [
        make_scene(
            f"s_2020-01-0{number}", land_cover(number), crs="EPSG:4326", pixel=0.5, origin=(10, 60)
        )
        for number in (1, 2)
    ]
    with open_series(paths) as series:
        model = cluster(series, classes=4)
        fitted = fitted_scenes(model, series, engine="numpy", threads=1, monitor=Monitor())
        with StagedOutputs() as outputs:
            written = classify(model, series, Folders(tmp_path / "out"), outputs)
    for one, other in zip(fitted, written):
        counts = np.bincount(labels(other.path).ravel(), minlength=5)[1:]
        np.testing.assert_array_equal(one.class_pixels, counts)
        np.testing.assert_array_equal(one.hectares, other.hectares)
        assert len(np.unique(one.hectares / counts)) == 4  # the classes lie in other rows
        assert one.path is one.staged is None
    record = [scene.class_pixels for scene in model.fit.scenes]
    np.testing.assert_array_equal(record, [scene.class_pixels for scene in fitted])
