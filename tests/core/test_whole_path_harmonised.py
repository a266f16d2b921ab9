"""Harmonised and smoothed from files to rasters: one answer, counts that agree, dates left out."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import rasterio

from iikmc.core import available_backends, cluster, open_series, reading
from iikmc.core.apply import open_for
from iikmc.core.classify import Folders, classify
from iikmc.core.files import StagedOutputs
from iikmc.core.harmonisation import Harmonise
from iikmc.core.model import ClassModel

BANDS, HEIGHT, WIDTH, DATES, CLASSES = 3, 150, 180, 6, 4
REFERENCE = "2020-03-15"


@dataclass(frozen=True)
class Way:
    """A way to run that must not show in the result."""

    engine: str = "numpy"
    threads: int = 1
    block_pixels: int = reading.BLOCK_PIXELS
    memory_mb: int | None = None
    backwards: bool = False


WAYS = [
    Way("numpy", 2, 999, backwards=True),
    Way("numpy", 3, 4000, memory_mb=1),
    Way("numba", 1),
    Way("numba", 3, 1234, memory_mb=1, backwards=True),
]


@pytest.fixture(scope="module")
def ground() -> np.ndarray:
    """Return which of four covers each place has on each date; some change for good, at random."""
    rng = np.random.default_rng(11)
    cover = rng.integers(0, CLASSES, (HEIGHT // 6, WIDTH // 6)).repeat(6, 0).repeat(6, 1)
    since = np.where(rng.random(cover.shape) < 0.1, rng.integers(2, DATES - 1, cover.shape), DATES)
    other = (cover + 1) % CLASSES
    return np.stack([np.where(rank < since, cover, other) for rank in range(DATES)])


@pytest.fixture
def paths(ground, make_scene) -> list[Path]:
    """Return dates of that ground with noise, a drift of each date and band, and clouds."""
    rng = np.random.default_rng(12)
    signatures = np.array(
        [[600, 900, 700], [1500, 900, 2500], [2400, 3000, 1600], [1500, 1500, 2600]]
    )
    found = []
    for rank, covers in enumerate(ground):
        values = signatures[covers].transpose(2, 0, 1) + rng.normal(
            0.0, 220.0, (BANDS, HEIGHT, WIDTH)
        )
        values *= rng.uniform(0.8, 1.25, (BANDS, 1, 1))
        codes = np.clip(np.rint(values + rng.uniform(0, 250, (BANDS, 1, 1))), 1, None).astype(
            np.uint16
        )
        codes[:, rng.random((HEIGHT, WIDTH)) < 0.1] = 0
        found.append(make_scene(f"s_2020-{rank + 1:02d}-15", codes, nodata=0))
    return found


def read(paths: list[Path]) -> np.ndarray:
    """Return label rasters, uint8 (dates, rows, columns)."""
    arrays = []
    for path in paths:
        with rasterio.open(path) as dataset:
            arrays.append(dataset.read(1))
    return np.stack(arrays)


def answer(
    folder: Path, paths: list[Path], way: Way, monkeypatch: pytest.MonkeyPatch, **options: object
) -> tuple[bytes, bytes]:
    """Return the bytes of the model and of all labels, for one way of running."""
    monkeypatch.setattr(reading, "BLOCK_PIXELS", way.block_pixels)
    with open_series(paths[::-1] if way.backwards else paths) as series:
        model = cluster(
            series,
            classes=CLASSES,
            engine=way.engine,
            threads=way.threads,
            memory_mb=way.memory_mb,
            **options,
        )
        on_disk = series.pixels()._shelf._file is not None
        assert on_disk == (way.memory_mb is not None)
        written = model.classify(series, folder, engine=way.engine, threads=way.threads)
    model.save(folder / "model.json")
    return (folder / "model.json").read_bytes(), read(written).tobytes()


@pytest.mark.parametrize("strategy", ["full", "progressive"])
@pytest.mark.parametrize(
    ("harmonise", "reference"),
    [
        ("standardise", None),
        ("standardise", REFERENCE),
        ("invariant", None),
        ("invariant", REFERENCE),
    ],
)
def test_no_way_of_running_shows_in_a_harmonised_and_smoothed_series(
    harmonise, reference, strategy, paths, tmp_path, monkeypatch
):
    options = {
        "harmonise": harmonise,
        "harmonise_reference": reference,
        "strategy": strategy,
        "sample_fraction": 0.2,
        "temporal": "markov",
    }
    expected = answer(tmp_path / "plain", paths, Way(), monkeypatch, **options)
    for number, way in enumerate(WAYS):
        if way.engine in available_backends():
            found = answer(tmp_path / str(number), paths, way, monkeypatch, **options)
            assert found == expected, way


@pytest.mark.parametrize("strategy", ["full", "progressive"])
@pytest.mark.parametrize("harmonise", ["standardise", "invariant"])
def test_a_fit_counts_the_pixels_that_its_rasters_show(harmonise, strategy, paths, tmp_path):
    with open_series(paths) as series:
        model = cluster(
            series, classes=CLASSES, harmonise=harmonise, strategy=strategy, sample_fraction=0.2
        )
        labels = read(model.classify(series, tmp_path / "same"))
    assert_counted(model, labels)
    model.save(tmp_path / "model.json")
    known = ClassModel.load(tmp_path / "model.json")
    with open_series(paths) as series:  # read anew, and brought to the model's reference
        again = read(known.classify(series, tmp_path / "again"))
    assert np.array_equal(again, labels)


def assert_counted(model: ClassModel, labels: np.ndarray) -> None:
    for scene, raster in zip(model.fit.scenes, labels):
        counts = np.bincount(raster.ravel(), minlength=CLASSES + 1)
        assert list(scene.class_pixels) == counts[1:].tolist()
        assert scene.valid_pixels == np.count_nonzero(raster)


def test_the_dates_of_this_file_are_harmonised_by_invariant_pixels(paths):
    with open_series(paths) as series:
        model = cluster(series, classes=CLASSES, harmonise="invariant")
        assert set(model.harmonised.dates.methods) == {Harmonise.INVARIANT}
        one = cluster(series, classes=CLASSES, harmonise="invariant", harmonise_reference=REFERENCE)
        methods = [Harmonise.INVARIANT] * DATES
        methods[2] = Harmonise.NONE
        assert list(one.harmonised.dates.methods) == methods


@pytest.mark.parametrize("reference", [None, REFERENCE])
@pytest.mark.parametrize("harmonise", ["standardise", "invariant"])
def test_a_date_left_out_of_the_fit_gets_the_classes_it_had_in_it(
    harmonise, reference, paths, tmp_path
):
    options = {"classes": CLASSES, "harmonise": harmonise, "harmonise_reference": reference}
    with open_series(paths) as series:
        inside = read(cluster(series, **options).classify(series, tmp_path / "all"))
    for left_out in (0, 4):
        with open_series([path for path in paths if path != paths[left_out]]) as series:
            cluster(series, **options).save(tmp_path / "model.json")
        model = ClassModel.load(tmp_path / "model.json")
        with open_for(model, [paths[left_out]]) as series:
            found = read(model.classify(series, tmp_path / "one"))[0]
        assert np.array_equal(found > 0, inside[left_out] > 0)
        assert (found == inside[left_out])[found > 0].mean() > 0.985


def test_smoothed_labels_are_nearer_to_the_ground_and_so_counted(paths, ground, tmp_path):
    right = {}
    for temporal in ("none", "markov"):
        with open_series(paths) as series, StagedOutputs() as outputs:
            model = cluster(series, classes=CLASSES, harmonise="standardise", temporal=temporal)
            folders = Folders(tmp_path / temporal)
            scenes = classify(model, series, folders, outputs)
        labels = read([scene.path for scene in scenes])
        for scene, raster in zip(scenes, labels):
            counts = np.bincount(raster.ravel(), minlength=CLASSES + 1)
            assert scene.class_pixels.tolist() == counts[1:].tolist()
        seen = labels > 0
        named = max(
            itertools.permutations(range(CLASSES)),
            key=lambda names: np.mean(np.append(-1, names)[labels[seen]] == ground[seen]),
        )
        right[temporal] = np.mean(np.append(-1, named)[labels[seen]] == ground[seen])
    assert right["none"] < 0.97
    assert right["markov"] > right["none"] + 0.01
