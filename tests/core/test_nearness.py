"""Distance and margin rasters against all distances computed at once, whatever the way to run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from conftest import land_cover
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iikmc.core import ClassModel, available_backends, cluster, errors, open_series, reading
from iikmc.core.monitor import Monitor

KINDS = {
    "uint16": (np.uint16, 1.0, 0.0),
    "int16": (np.int16, 1.0, -3000.0),
    "bytes": (np.uint8, 0.04, 0.0),
    "reflectance": (np.float32, 0.000_1, -0.05),
    "temperatures": (np.float64, 0.01, 250.0),
}


def scene_of(kind: str, seed: int, **shape: int) -> tuple[np.ndarray, float]:
    """Return a scene of some data type, (bands, height, width), and a nodata value it lacks."""
    dtype, factor, first = KINDS[kind]
    values = (land_cover(seed, **shape) * factor + first).astype(dtype)
    return values, float(np.iinfo(dtype).max if np.dtype(dtype).kind in "iu" else -9999.0)


def write(make_scene, kind: str, count: int = 2) -> list[Path]:
    """Write scenes of which some pixels are nodata, others on each date."""
    paths = []
    for number in range(1, count + 1):
        values, nodata = scene_of(kind, number)
        values[:, number : number + 7, 3:9] = nodata
        paths.append(make_scene(f"s_2020-01-0{number}", values, nodata=nodata))
    return paths


def measured(model: ClassModel, paths: list[Path], folder: Path, **ways: object) -> dict:
    """Classify into one folder; return each scene's label, distance and margin arrays."""
    with open_series(paths) as series:
        rasters = model.classify(series, folder, distance=folder, margin=folder, **ways)
    found = {}
    for path in rasters:
        name = path.name[: -len("_classes.tif")]
        kinds = ("classes", "distance", "margin")
        found[name] = [read(folder / f"{name}_{kind}.tif") for kind in kinds]
    return found


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        return dataset.read(1)


def brute_force(model: ClassModel, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the distances to all signatures, sorted, (classes, height, width), and what counts."""
    with rasterio.open(path) as dataset:
        values, valid = dataset.read().astype(np.float64), dataset.dataset_mask() > 0
    units = np.array(model.space.units)[:, None, None]
    apart = [((values - signature[:, None, None]) / units) for signature in model.signatures]
    return np.sort([np.sqrt((item**2).sum(axis=0)) for item in apart], axis=0), valid


@pytest.mark.parametrize("scaling", ["none", "minmax", "zscore"])
@pytest.mark.parametrize("kind", KINDS)
def test_they_are_the_distances_to_the_nearest_two_signatures(kind, scaling, make_scene, tmp_path):
    paths = write(make_scene, kind)
    with open_series(paths) as series:
        model = cluster(series, classes=5, init="k-means++", scaling=scaling)
    found = measured(model, paths, tmp_path)
    for path in paths:
        labels, distance, margin = found[path.stem]
        expected, valid = brute_force(model, path)
        # Values that are no codes are rounded to some, by far less than they vary.
        close = {"rtol": 1e-4, "atol": 1e-4 * float(np.ptp(expected[0]))}
        np.testing.assert_allclose(distance[valid], expected[0][valid], **close)
        np.testing.assert_allclose(margin[valid], (expected[1] - expected[0])[valid], **close)
        np.testing.assert_array_equal(np.isnan(distance), ~valid)
        np.testing.assert_array_equal(np.isnan(margin), ~valid)
        np.testing.assert_array_equal(labels > 0, valid)
        assert (distance[valid] >= 0).all() and (margin[valid] >= 0).all()


def test_whole_numbers_are_measured_to_the_last_digit(make_scene, tmp_path):
    paths = write(make_scene, "uint16")
    with open_series(paths) as series:
        model = cluster(series, classes=4)
    found = measured(model, paths, tmp_path)
    expected, valid = brute_force(model, paths[0])
    _, distance, margin = found[paths[0].stem]
    np.testing.assert_allclose(distance[valid], expected[0][valid], rtol=2e-7)
    np.testing.assert_allclose(margin[valid], (expected[1] - expected[0])[valid], rtol=2e-7)


def test_a_pixel_at_its_signature_has_no_distance_and_one_between_two_no_margin(
    make_scene, tmp_path
):
    values = np.array([[100, 100, 300, 300, 200]], np.uint16)
    start = np.array([[100.0], [300.0]])
    path = make_scene("s_2020-01-01", values)
    with open_series([path]) as series:
        model = cluster(series, init=start, max_iter=1, tol=1.0, order="seeded")
    exact = ClassModel(
        model.band_names,
        model.space,
        model.space.centres(start),
        model.names,
        model.colours,
        model.fit,
    )
    _, distance, margin = measured(exact, [path], tmp_path)["s_2020-01-01"]
    np.testing.assert_array_equal(distance, [[0, 0, 0, 0, 100]])
    np.testing.assert_array_equal(margin, [[200, 200, 200, 200, 0]])


def test_the_rasters_lie_on_the_grid_and_say_what_they_are(make_scene, tmp_path):
    paths = write(make_scene, "uint16", 1)
    with open_series(paths) as series:
        model = cluster(series, classes=3)
        places = tmp_path / "a" / "distances", tmp_path / "b" / "margins"
        model.classify(series, tmp_path / "c", distance=places[0], margin=places[1])
    for folder, kind in zip(places, ("distance", "margin")):
        assert [item.name for item in folder.iterdir()] == [f"s_2020-01-01_{kind}.tif"]
        with (
            rasterio.open(folder / f"s_2020-01-01_{kind}.tif") as found,
            rasterio.open(paths[0]) as scene,
        ):
            assert (found.crs, found.transform, found.shape) == (
                scene.crs,
                scene.transform,
                scene.shape,
            )
            assert (found.dtypes, found.descriptions) == (("float32",), (kind,))
            assert np.isnan(found.nodata)
            assert found.profile["tiled"] and found.compression.value == "DEFLATE"
            assert found.tags()["ACQUISITION_DATE"] == "2020-01-01"
    assert {item.suffix for item in (tmp_path / "c").iterdir()} <= {".tif", ".xml"}


@pytest.mark.parametrize("asked", ["distance", "margin"])
def test_one_may_be_asked_for_without_the_other(asked, make_scene, tmp_path):
    paths = write(make_scene, "uint16")
    with open_series(paths) as series:
        model = cluster(series, classes=3)
        both = measured(model, paths, tmp_path / "both")
        model.classify(series, tmp_path / "one", **{asked: tmp_path / "one"})
    names = {item.name.split("_")[-1] for item in (tmp_path / "one").glob("*.tif")}
    assert names == {"classes.tif", f"{asked}.tif"}
    row = {"distance": 1, "margin": 2}[asked]
    for path in paths:
        alone = read(tmp_path / "one" / f"{path.stem}_{asked}.tif")
        np.testing.assert_array_equal(alone, both[path.stem][row])


@settings(
    max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(data=st.data())
def test_any_way_of_running_gives_the_same_bytes(data, make_scene, tmp_path_factory, monkeypatch):
    paths = write(make_scene, data.draw(st.sampled_from(sorted(KINDS))), 3)
    scaling = data.draw(st.sampled_from(["none", "zscore"]))

    def answer(engine: str, threads: int, order, block: int, memory: int | None) -> dict:
        folder = tmp_path_factory.mktemp("way")
        monkeypatch.setattr(reading, "BLOCK_PIXELS", block)
        ways = {"engine": engine, "threads": threads, "memory_mb": memory}
        with open_series([paths[index] for index in order]) as series:
            model = cluster(series, classes=4, scaling=scaling, **ways)
            model.classify(series, folder, distance=folder, margin=folder, **ways)
        return {item.name: item.read_bytes() for item in folder.glob("*.tif")}

    expected = answer("numpy", 1, (0, 1, 2), 1 << 20, None)
    assert len(expected) == 9
    found = answer(
        data.draw(st.sampled_from(available_backends())),
        data.draw(st.sampled_from([1, 2, 5])),
        data.draw(st.permutations(range(3))),
        data.draw(st.sampled_from([64, 500, 1 << 20])),
        data.draw(st.sampled_from([None, 1])),
    )
    assert found.keys() == expected.keys()
    if found != expected:  # tiles may be written in another order; what they hold may not differ
        folder = tmp_path_factory.mktemp("held")
        for name in found:
            (folder / "a.tif").write_bytes(expected[name])
            (folder / "b.tif").write_bytes(found[name])
            first, second = read(folder / "a.tif"), read(folder / "b.tif")
            assert first.tobytes() == second.tobytes(), name


@pytest.mark.parametrize("kind", ["distance", "margin"])
def test_they_never_take_the_place_of_an_input(kind, make_scene, tmp_path):
    scene = make_scene("s_2020-01-01", land_cover(1))
    other = make_scene(f"s_2020-01-01_{kind}", land_cover(2))
    before = other.read_bytes()
    with open_series([scene, other], dates=["2020-01-01", "2020-02-01"]) as series:
        model = cluster(series, classes=3)
        with pytest.raises(errors.OutputError, match=f"the {kind} of scene 's_2020-01-01'"):
            model.classify(series, tmp_path / "out", **{kind: scene.parent})
    assert other.read_bytes() == before
    assert not (tmp_path / "out").exists()


class CancelsLate(Monitor):
    """Says stop after so many questions whether it should."""

    def __init__(self, questions: int) -> None:
        self.left = questions

    def cancelled(self) -> bool:
        self.left -= 1
        return self.left < 0


@pytest.mark.parametrize("questions", [0, 1, 3])
def test_a_cancel_leaves_nothing_in_any_folder(questions, make_scene, tmp_path, monkeypatch):
    paths = write(make_scene, "uint16")
    monkeypatch.setattr(reading, "BLOCK_PIXELS", 64)
    with open_series(paths) as series:
        model = cluster(series, classes=3)
    folders = [tmp_path / "new" / name for name in ("labels", "distances", "margins")]
    with open_series(paths) as series, pytest.raises(errors.Cancelled):
        model.classify(
            series,
            folders[0],
            distance=folders[1],
            margin=folders[2],
            monitor=CancelsLate(questions),
        )
    assert not (tmp_path / "new").exists()


def test_a_model_of_one_class_has_no_margin(make_scene, tmp_path):
    path = make_scene("s_2020-01-01", np.array([[5, 6, 9]], np.uint16))
    with open_series([path]) as series:
        start = np.array([[5.0], [60_000.0]])
        model = cluster(series, init=start, empty="drop", order="seeded")
    assert len(model.names) == 1
    _, distance, margin = measured(model, [path], tmp_path)["s_2020-01-01"]
    np.testing.assert_allclose(distance, np.abs([[5, 6, 9]] - model.signatures), rtol=1e-6)
    assert np.isnan(margin).all()
