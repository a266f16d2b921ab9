"""Transitions learnt along the dates: the ground's, not the noise's, however they are counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio

from iikmc.core import cluster, errors, open_series, timelines
from iikmc.core.model import ClassModel
from iikmc.core.monitor import Monitor
from iikmc.core.smoothing import count_transitions

DATES, HEIGHT, WIDTH, CLASSES = 16, 90, 110, 3
SIGNATURES = np.array([[800, 900], [2000, 1500], [3400, 3100]])
NOISE = 650.0


def ground(seed: int = 0) -> np.ndarray:
    """Return covers, from 0 and by brightness, of each date; a fifth of the places changes once."""
    rng = np.random.default_rng(seed)
    cover = rng.integers(0, CLASSES, (HEIGHT, WIDTH))
    since = np.where(rng.random(cover.shape) < 0.2, rng.integers(3, DATES - 3, cover.shape), DATES)
    other = (cover + rng.integers(1, CLASSES, cover.shape)) % CLASSES
    return np.stack([np.where(rank < since, cover, other) for rank in range(DATES)])


def write(make_scene, covers: np.ndarray, masked: float = 0.0) -> list[Path]:
    """Write the dates with noise; a share of the places is nodata (0) on all of them."""
    rng = np.random.default_rng(1)
    hidden = rng.random(covers.shape[1:]) < masked
    paths = []
    for rank, cover in enumerate(covers):
        values = SIGNATURES[cover].transpose(2, 0, 1) + rng.normal(0.0, NOISE, (2, *cover.shape))
        codes = np.clip(np.rint(values), 1, 65_535).astype(np.uint16)
        codes[:, hidden] = 0
        paths.append(make_scene(f"s_2021-{rank // 2 + 1:02d}-{rank % 2 + 1:02d}", codes, nodata=0))
    return paths


def fitted(paths: list[Path], **options: object) -> ClassModel:
    with open_series(paths) as series:
        return cluster(series, classes=CLASSES, temporal="markov", engine="numpy", **options)


def shares(counts: np.ndarray) -> np.ndarray:
    return np.asarray(counts / counts.sum(axis=1, keepdims=True))


def test_what_is_learnt_is_how_the_ground_changes_and_not_how_labels_do(make_scene, tmp_path):
    covers = ground()
    paths = write(make_scene, covers)
    model = fitted(paths)
    true = shares(count_transitions((covers + 1).reshape(DATES, -1).astype(np.uint8), CLASSES))
    with open_series(paths) as series:
        plain = cluster(series, classes=CLASSES, engine="numpy").classify(series, tmp_path)
    labels = []
    for path in plain:
        with rasterio.open(path) as dataset:
            labels.append(dataset.read(1).ravel())
    as_they_are = shares(count_transitions(np.stack(labels), CLASSES))
    assert abs(np.diag(as_they_are) - np.diag(true)).max() > 0.05
    np.testing.assert_allclose(shares(model.transitions), true, atol=0.006)


def test_neither_threads_nor_strips_nor_the_strength_change_what_is_learnt(make_scene, monkeypatch):
    paths = write(make_scene, ground(1))
    expected = fitted(paths).transitions
    assert np.array_equal(fitted(paths, temporal_strength=3.0).transitions, expected)
    monkeypatch.setattr(timelines, "_STRIP_BYTES", 1 << 14)
    assert np.array_equal(fitted(paths, threads=3).transitions, expected)


def test_some_places_are_enough_and_the_seed_draws_them(make_scene, monkeypatch):
    paths = write(make_scene, ground(2))
    every = fitted(paths).transitions
    assert every.sum() == (DATES - 1) * HEIGHT * WIDTH
    monkeypatch.setattr(timelines, "_LEARNT_PLACES", 2000)
    one, other = (fitted(paths, seed=seed).transitions for seed in (0, 1))
    assert not np.array_equal(one, other)
    for some in (one, other):
        assert some.sum() <= (DATES - 1) * 2000
        np.testing.assert_allclose(shares(some), shares(every), atol=0.01)


def test_where_most_is_masked_as_many_places_are_found(make_scene, monkeypatch):
    monkeypatch.setattr(timelines, "_LEARNT_PLACES", 200)
    found = fitted(write(make_scene, ground(3), masked=0.9)).transitions
    assert 150 < found.sum() / (DATES - 1) < 250


def test_one_date_has_no_transition(make_scene):
    assert not fitted(write(make_scene, ground(4))[:1]).transitions.any()


def test_learning_can_be_cancelled(make_scene, monkeypatch):
    class Stopping(Monitor):
        def cancelled(self) -> bool:
            return bool(learning)

    learning: list[bool] = []
    kept = timelines.smooth
    monkeypatch.setattr(
        timelines, "smooth", lambda *given: (learning.append(True), kept(*given))[1]
    )
    paths = write(make_scene, ground(5))
    with pytest.raises(errors.Cancelled):
        fitted(paths, monitor=Stopping())
