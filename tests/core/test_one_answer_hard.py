"""One answer on the series that are hardest for it, and from every strategy."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from test_one_answer import Way, answer

from iikmc.core import available_backends, cluster, open_series

# Every thread count, blocks of one pixel to all, codes in memory and on disk, other files.
WAYS = [
    way
    for way in (
        Way("numpy", 7, 37, spill=True),
        Way("numpy", 2, 1),
        Way("numba", 1, 1 << 20, spill=True),
        Way("numba", 2, 37, layout={"interleave": "pixel"}),
        Way("numba", 3, 1, spill=True, layout={"blockysize": 3, "compress": "deflate"}),
        Way("numba", 7, 256, layout={"tiled": True, "blockxsize": 16, "blockysize": 32}),
    )
    if way.engine in available_backends()
]


def distinct(rng: np.random.Generator, count: int, bands: int) -> np.ndarray:
    """Return so many different spectra, int64 (count, bands)."""
    return np.unique(rng.integers(1, 60_000, (count + 9, bands)), axis=0)[:count]


def scenes_of(spectra: np.ndarray, rng: np.random.Generator, dates: int = 3) -> list[np.ndarray]:
    """Return dates (bands, 17, 23) that hold each spectrum, and no other."""
    pixels = rng.integers(0, len(spectra), dates * 17 * 23)
    pixels[: len(spectra)] = np.arange(len(spectra))
    planes = spectra[rng.permutation(pixels)].reshape(dates, 17, 23, -1)
    return list(planes.transpose(0, 3, 1, 2))


def hard_series() -> dict[str, tuple[list[np.ndarray], dict[str, object]]]:
    """Return series, values (bands, height, width) of each date, and options, by name."""
    rng = np.random.default_rng(12)
    offsets = rng.integers(0, 4, (60, 4))
    signs = np.array([[x, y] for x in (100, 300) for y in (100, 300)] + [[200, 200], [200, 100]])
    few, many = distinct(rng, 5, 3), distinct(rng, 40, 2)
    constant = np.full((30, 3), 4321)
    constant[:, 1] = 100 + np.arange(30)
    two = [np.array([[[10]], [[20]]]), np.array([[[10]], [[21]]])]
    unlike = rng.integers(1, 9, (8, 4)) * 1000
    plus = {"init": "k-means++", "seed": 3, "tol": 0.0}
    return {
        "one pixel a date": (two, {"classes": 2}),
        "as many classes as spectra": (scenes_of(few, rng), {"classes": 5, **plus}),
        "forty classes of forty spectra": (scenes_of(many, rng), {"classes": 40, **plus}),
        "far off, uint16": (scenes_of(65_532 + offsets, rng), {"classes": 4, **plus}),
        "far off, int32": (scenes_of(2_000_000_000 + offsets, rng), {"classes": 4, **plus}),
        "far off, floats": (scenes_of(1e6 + 0.125 * offsets, rng), {"classes": 4}),
        "exact ties": (scenes_of(signs, rng), {"init": signs[:4].astype(float), "max_iter": 1}),
        "ties of equal centres": (scenes_of(signs, rng), {"init": signs[[0, 3, 3, 0]] * 1.0}),
        "all but one band constant": (scenes_of(constant, rng), {"classes": 7}),
        "duplicates, dropped classes": (
            scenes_of(unlike, rng), {"init": unlike[[0, 0, 1, 2, 2, 2]] * 1.0, "empty": "drop"}
        ),
    }  # fmt: skip


HARD = hard_series()


@pytest.mark.parametrize("name", HARD)
def test_a_hard_series_has_one_answer(name, tmp_path, monkeypatch):
    scenes, options = HARD[name]
    whole = all((scene == np.rint(scene)).all() for scene in scenes)
    kind = "uint16" if scenes[0].max() < 1 << 16 and whole else "int32" if whole else "float64"
    first = Way(dtype=kind)
    expected = answer(tmp_path / "first", scenes, first, monkeypatch, **options)
    for number, way in enumerate(WAYS):
        order = tuple(np.random.default_rng(number).permutation(len(scenes)).tolist())
        other = replace(way, order=order, dtype=kind if number % 2 else "float64")
        found = answer(tmp_path / f"{number}", scenes, other, monkeypatch, **options)
        assert found == expected, other
    fit = json.loads(expected[0])["fit"]
    if name in ("as many classes as spectra", "forty classes of forty spectra"):
        assert fit["inertia"] == 0.0
        assert len(set(b"".join(expected[1]))) == options["classes"]


def test_a_model_takes_a_series_of_one_pixel(make_scene):
    rng = np.random.default_rng(2)
    with open_series(
        [make_scene("a_2020-01-01", rng.integers(1, 99, (2, 9, 9), np.uint16))]
    ) as one:
        model = cluster(one, classes=3)
    pixel = make_scene("b_2020-01-02", np.array([[[5]], [[70]]], np.uint16))
    found = set()
    for engine in (name for name in available_backends() if name in ("numpy", "numba")):
        for threads in (1, 7):
            with open_series([pixel]) as series:
                again = cluster(series, init=model, engine=engine, threads=threads)
            found.add((again.signatures.tobytes(), again.fit.class_pixels, again.fit.inertia))
    assert len(found) == 1
    assert sorted(again.fit.class_pixels) == [0, 0, 1]


@pytest.fixture(scope="module")
def varied() -> list[np.ndarray]:
    """Dates large enough for many batches, some of them held out."""
    rng = np.random.default_rng(8)
    scenes = [rng.integers(1, 3000, (3, 71, 60)) + 700 * day for day in range(3)]
    for values in scenes:
        values[:, rng.random((71, 60)) < 0.2] = 0
    return scenes


@pytest.mark.parametrize("strategy", ["full", "progressive", "sample", "mini-batch"])
def test_a_strategy_has_one_answer_that_follows_the_seed(strategy, varied, tmp_path, monkeypatch):
    options = {
        "strategy": strategy, "classes": 17, "sample_fraction": 0.06, "max_iter": 7, "tol": 1e-3
    }  # fmt: skip
    expected = answer(tmp_path / "first", varied, Way(dtype="uint16"), monkeypatch, **options)
    fit = json.loads(expected[0])["fit"]
    assert (fit["held_out"] is not None) == (strategy == "mini-batch")
    for number, way in enumerate(WAYS[::2]):
        other = replace(way, order=((2, 0, 1), (1, 2, 0))[number % 2], dtype="int32")
        other = replace(other, block_pixels=max(1000, way.block_pixels))
        found = answer(tmp_path / f"{number}", varied, other, monkeypatch, **options)
        assert found == expected, other
    seeded = answer(tmp_path / "s", varied, Way(dtype="uint16"), monkeypatch, seed=1, **options)
    inertia = json.loads(seeded[0])["fit"]["inertia"]
    assert (inertia == fit["inertia"]) == (strategy == "full")
