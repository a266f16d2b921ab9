"""Scaled bands: scikit-learn on scaled data is the judge, and units, files and bits stay sound."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from conftest import land_cover
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iikmc.core import ClassModel, available_backends, cluster, errors, open_series, reading
from iikmc.core.page import decimals, fixed

SCALINGS = ("minmax", "zscore")
SEEDS = st.integers(0, 2**32 - 1)
NODATA = 65_535  # 0 is a value of some of the features


@dataclass(frozen=True)
class Fitted:
    """A model, the pixels it was fitted on (pixels, bands), their labels from 0, and the start."""

    model: ClassModel
    pixels: np.ndarray
    labels: np.ndarray
    start: np.ndarray


def units_of(pixels: np.ndarray, scaling: str) -> np.ndarray:
    """Return what each band is divided by, computed from the values; 1 for a constant band."""
    if scaling == "none":
        return np.ones(pixels.shape[1])
    found = np.ptp(pixels, axis=0) if scaling == "minmax" else pixels.std(axis=0)
    return np.where(found == 0.0, 1.0, found)


def with_feature(kind: str, seed: int = 0, shape: tuple[int, int] = (60, 70)) -> np.ndarray:
    """Return three bands of reflectance and one of another kind, uint16, (4, height, width)."""
    bands = land_cover(seed, height=shape[0], width=shape[1])
    rng = np.random.default_rng(seed + 1000)
    feature = {
        "day numbers": rng.integers(43_500, 43_900, shape),
        "heights": np.linspace(0, 60_000, shape[0] * shape[1]).reshape(shape),
        "a constant": np.full(shape, 700),
        "zero and one": rng.random(shape) < 0.4,
        "a rare one": rng.random(shape) < 0.003,
    }[kind]
    return np.concatenate([bands, feature[None].astype(np.uint16)])


def fitted(paths: list[Path], folder: Path, *, scaling: str, seed: int = 3, **options) -> Fitted:
    """Fit to the end from some pixels of the series, and classify it."""
    pixels = []
    for path in paths:
        with rasterio.open(path) as dataset:
            pixels.append(dataset.read().reshape(dataset.count, -1).T.astype(np.float64))
    values = np.concatenate(pixels)
    values = values[(values != NODATA).all(axis=1)]
    distinct = np.unique(values, axis=0)
    start = distinct[np.random.default_rng(seed).choice(len(distinct), 5, replace=False)]
    with open_series(paths) as series:
        model = cluster(
            series, init=start, order="seeded", tol=0.0, max_iter=500, scaling=scaling, **options
        )
        rasters = model.classify(series, folder)
    labels = []
    for path in rasters:
        with rasterio.open(path) as dataset:
            labels.append(dataset.read(1).ravel())
    found = np.concatenate(labels)
    return Fitted(model, values, found[found > 0].astype(int) - 1, start)


def distances_to(model: ClassModel, pixels: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Return the scaled distances of pixels to all signatures, (pixels, classes)."""
    apart = (pixels[:, None, :] - model.signatures[None]) / units
    return np.sqrt((apart**2).sum(axis=2))


@pytest.mark.parametrize(
    "kind", ["day numbers", "heights", "a constant", "zero and one", "a rare one"]
)
@pytest.mark.parametrize("scaling", SCALINGS)
def test_scikit_learn_finds_the_same_on_scaled_data(scaling, kind, make_scene, tmp_path):
    sklearn = pytest.importorskip("sklearn.cluster")
    paths = [make_scene(f"s_2020-01-0{n}", with_feature(kind, n), nodata=NODATA) for n in (1, 2)]
    found = fitted(paths, tmp_path, scaling=scaling)
    units = units_of(found.pixels, scaling)
    peer = sklearn.KMeans(5, init=found.start / units, n_init=1, tol=0, max_iter=500)
    peer.fit(found.pixels / units)
    assert len(set(peer.labels_)) == 5
    np.testing.assert_array_equal(found.labels, peer.labels_)
    assert found.model.fit.inertia == pytest.approx(peer.inertia_, rel=1e-9)
    # Signatures are in the input's units all the same.
    expected = [found.pixels[found.labels == row].mean(axis=0) for row in range(5)]
    np.testing.assert_allclose(found.model.signatures, expected, rtol=1e-12, atol=1e-9)
    if kind != "a constant":
        np.testing.assert_allclose(found.model.space.units, units, rtol=1e-12)


@settings(
    max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(data=st.data())
def test_every_pixel_is_in_the_class_that_is_nearest_in_scaled_units(data, make_scene, tmp_path):
    """Whatever the bands: of one value but for a few pixels, of few values, of floats."""
    rng = np.random.default_rng(data.draw(SEEDS))
    scaling = data.draw(st.sampled_from(SCALINGS))
    bands = [rng.integers(300, 4000, (40, 40)).astype(np.float64)]
    for _ in range(data.draw(st.integers(1, 3))):
        kind = data.draw(st.sampled_from(["few", "rare", "constant", "spread", "fractions"]))
        bands.append(
            {
                "few": rng.integers(1, 4, (40, 40)).astype(np.float64),
                "rare": 1.0 + (rng.random((40, 40)) < 0.01),
                "constant": np.full((40, 40), 7.0),
                "spread": rng.integers(1, 60_000, (40, 40)).astype(np.float64),
                "fractions": rng.normal(0.3, 0.1, (40, 40)),
            }[kind]
        )
    dtype = data.draw(st.sampled_from(["float32", "float64"]))
    path = make_scene("s_2020-01-01", np.stack(bands).astype(dtype))
    found = fitted([path], tmp_path, scaling=scaling, seed=data.draw(SEEDS))
    distances = distances_to(found.model, found.pixels, np.array(found.model.space.units))
    own = distances[np.arange(len(found.labels)), found.labels]
    # Codes of fractions have a step, and scores a rounding: both far below what can be told apart.
    assert (own - distances.min(axis=1)).max() < 1e-3


@pytest.mark.parametrize("scaling", SCALINGS)
def test_a_band_of_day_numbers_no_longer_dominates(scaling, make_scene, tmp_path):
    """Two kinds of ground that differ clearly, and days that differ much more in their numbers."""
    rng = np.random.default_rng(1)
    ground = rng.integers(0, 2, (50, 50))
    bands = 1000 + 800 * ground + rng.integers(-20, 20, (3, 50, 50))
    days = rng.integers(0, 50_000, (1, 50, 50))
    path = make_scene("s_2020-01-01", np.concatenate([bands, days]).astype(np.uint16))

    def share_of_ground(name: str) -> float:
        with open_series([path]) as series:
            model = cluster(series, classes=2, scaling=name)
            with rasterio.open(model.classify(series, tmp_path / name)[0]) as dataset:
                agree = np.mean((dataset.read(1) == 2) == (ground == 1))
        return max(agree, 1 - agree)

    assert share_of_ground("none") < 0.6
    assert share_of_ground(scaling) > 0.99


def test_scores_of_quality_are_those_of_the_scaled_data(make_scene, tmp_path):
    metrics = pytest.importorskip("sklearn.metrics")
    for scaling in SCALINGS:
        path = make_scene("s_2020-01-01", with_feature("heights", 4, (50, 60)))
        found = fitted([path], tmp_path / scaling, scaling=scaling)
        units = units_of(found.pixels, scaling)
        scaled, quality = found.pixels / units, found.model.fit.quality
        assert quality is not None and quality.silhouette_pixels == len(scaled)
        expected = metrics.silhouette_score(scaled, found.labels)
        assert quality.silhouette == pytest.approx(expected, abs=1e-9)
        expected = metrics.davies_bouldin_score(scaled, found.labels)
        assert quality.davies_bouldin == pytest.approx(expected, rel=1e-9)
        expected = metrics.calinski_harabasz_score(scaled, found.labels)
        assert quality.calinski_harabasz == pytest.approx(expected, rel=1e-9)
        distances = distances_to(found.model, found.pixels, units)
        own = distances[np.arange(len(found.labels)), found.labels]
        for row, mean in enumerate(quality.class_distances):
            assert mean == pytest.approx(own[found.labels == row].mean(), rel=1e-9)


@settings(
    max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(data=st.data())
def test_any_way_of_running_gives_the_same_bits(data, make_scene, tmp_path_factory, monkeypatch):
    kind = data.draw(st.sampled_from(["day numbers", "a constant", "zero and one", "a rare one"]))
    dtype = data.draw(st.sampled_from(["uint16", "float32"]))
    paths = []
    for number in (1, 2, 3):
        values = with_feature(kind, number + data.draw(st.integers(0, 50)), (23, 31)).astype(dtype)
        if dtype == "float32":
            values[0] *= np.float32(0.0001)
        values[:, : 3 * number, :4] = NODATA
        paths.append(make_scene(f"s_2020-01-0{number}", values, nodata=NODATA))
    options = {
        "scaling": data.draw(st.sampled_from(SCALINGS)),
        "init": data.draw(st.sampled_from(["minmax", "k-means++"])),
        "strategy": data.draw(st.sampled_from(["full", "progressive", "sample", "mini-batch"])),
        "empty": data.draw(st.sampled_from(["keep", "relocate", "drop"])),
        "stop_rule": data.draw(st.sampled_from(["changed", "shift"])),
        "sample_fraction": 0.5,
        "classes": 4,
    }

    def answer(engine, threads, order, block, memory) -> tuple[str, list[bytes]]:
        folder = tmp_path_factory.mktemp("way")
        monkeypatch.setattr(reading, "BLOCK_PIXELS", block)
        ways = {"engine": engine, "threads": threads, "memory_mb": memory}
        with open_series([paths[index] for index in order]) as series:
            model = cluster(series, **options, **ways)
            rasters = model.classify(series, folder, **ways)
        model.save(folder / "model.json")
        return (folder / "model.json").read_text(), [path.read_bytes() for path in rasters]

    expected = answer("numpy", 1, (0, 1, 2), 1 << 20, None)
    found = answer(
        data.draw(st.sampled_from(available_backends())),
        data.draw(st.sampled_from([1, 2, 5])),
        data.draw(st.permutations(range(3))),
        data.draw(st.sampled_from([37, 256, 1 << 20])),
        data.draw(st.sampled_from([None, 1])),
    )
    assert found == expected


@pytest.fixture
def scaled(make_scene) -> tuple[ClassModel, Path]:
    """A model with z-scored bands and its scene."""
    path = make_scene("s_2020-01-01", with_feature("heights", 2))
    with open_series([path]) as series:
        return cluster(series, classes=4, scaling="zscore"), path


def test_a_saved_model_keeps_its_scaling_and_its_labels(scaled, tmp_path):
    model, path = scaled
    model.save(tmp_path / "model.json")
    loaded = ClassModel.load(tmp_path / "model.json")
    assert loaded.space == model.space
    assert loaded.fit == model.fit and loaded.fit.settings.scaling == "zscore"
    loaded.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "model.json").read_bytes()
    with open_series([path]) as series:
        first = model.classify(series, tmp_path / "a")[0].read_bytes()
    with open_series([path]) as series:
        assert loaded.classify(series, tmp_path / "b")[0].read_bytes() == first


def test_a_model_of_an_older_file_is_not_scaled(scaled, tmp_path):
    model, _ = scaled
    model.save(tmp_path / "model.json")
    content = json.loads((tmp_path / "model.json").read_text())
    for band in content["bands"]:
        del band["unit"]
    del content["fit"]["settings"]["scaling"]
    (tmp_path / "model.json").write_text(json.dumps(content))
    loaded = ClassModel.load(tmp_path / "model.json")
    assert set(loaded.space.units) == {1.0}
    assert loaded.fit.settings.scaling == "none"


@pytest.mark.parametrize("unit", [0.0, -1.0, float("nan"), float("inf"), "wide", None])
def test_a_damaged_unit_is_refused(scaled, unit, tmp_path):
    model, _ = scaled
    model.save(tmp_path / "model.json")
    content = json.loads((tmp_path / "model.json").read_text())
    content["bands"][1]["unit"] = unit
    (tmp_path / "model.json").write_text(json.dumps(content))
    with pytest.raises(errors.ModelError, match="is damaged"):
        ClassModel.load(tmp_path / "model.json")


def test_a_fit_from_a_model_keeps_the_models_scaling(scaled, make_scene):
    model, _ = scaled
    other = make_scene("t_2020-02-01", with_feature("heights", 9))
    with open_series([other]) as series:
        again = cluster(series, init=model)
        same = cluster(series, init=model, scaling="zscore")
        with pytest.raises(errors.ParameterError, match=r"'minmax'.*zscore") as caught:
            cluster(series, init=model, scaling="minmax")
    assert "\n" not in str(caught.value)
    assert again.space == model.space
    assert again.fit.settings.scaling == "zscore"
    assert replace(same.fit, settings=again.fit.settings) == again.fit


def test_an_unknown_scaling_is_refused(make_scene):
    path = make_scene("s_2020-01-01", land_cover(1))
    with (
        open_series([path]) as series,
        pytest.raises(errors.ParameterError, match="none, minmax, zscore"),
    ):
        cluster(series, classes=3, scaling="robust")


@pytest.mark.parametrize("scaling", ["none", *SCALINGS])
def test_brightness_does_not_look_at_static_features(scaling, make_scene):
    """Bright ground lies low and dark ground high, so heights would turn the order round."""
    rng = np.random.default_rng(1)
    ground = rng.integers(0, 3, (40, 40))
    bands = 1000 + 900 * ground + rng.integers(-50, 50, (2, 40, 40))
    heights = 9000 - 4000 * ground + rng.integers(-50, 50, (40, 40))
    scene = make_scene("s_2020-01-01", bands.astype(np.uint16), band_names=["red", "nir"])
    static = make_scene("height", heights.astype(np.int16))
    with open_series([scene], static=[static]) as series:
        assert series.static_bands == 1
        model = cluster(series, classes=3, init="k-means++", scaling=scaling)
    red, nir, height = model.signatures.T
    assert (np.diff(red) > 0).all() and (np.diff(nir) > 0).all() and (np.diff(height) < 0).all()
    assert model.band_names == ("red", "nir", "height") and model.static_bands == 1


def test_the_report_says_what_was_scaled_and_by_how_much(scaled, make_scene, tmp_path):
    pytest.importorskip("matplotlib")
    from iikmc.core.classify import fitted_scenes
    from iikmc.core.monitor import Monitor
    from iikmc.core.report import write_report

    model, path = scaled
    with open_series([path]) as series:
        scenes = fitted_scenes(model, series, engine="numpy", threads=1, monitor=Monitor())
        write_report(tmp_path / "report.html", model, scenes, series.grid)
    text = (tmp_path / "report.html").read_text("utf-8")
    assert "standard deviation of each band to 1" in text
    assert "Counts as 1" in text
    for unit in model.space.units:
        assert fixed(unit, decimals([unit])) in text
    assert "distances in standard deviations of the bands" in text


def test_the_report_calls_no_scaled_distance_one_in_the_inputs_units(scaled, tmp_path):
    from iikmc.core.classify import fitted_scenes
    from iikmc.core.monitor import Monitor
    from iikmc.core.report import write_report

    model, path = scaled
    with open_series([path]) as series:
        scenes = fitted_scenes(model, series, engine="numpy", threads=1, monitor=Monitor())
        write_report(tmp_path / "report.html", model, scenes, series.grid)
    text = (tmp_path / "report.html").read_text("utf-8")
    assert "square root per pixel, in the input" not in text.replace("&#x27;", "'")
