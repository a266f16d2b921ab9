"""Progress moves in every phase of a run; a cancel is answered within a second, leaving nothing."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from qgis.core import QgsProcessingContext
from synthetic import RecordingFeedback, write_raster

# Percent of the whole run in which each phase lies, as the feedback sees it.
PHASES = {"reading": (0, 32), "fitting": (32, 76), "writing": (80, 95)}
SIZE = 1400


class CancellingFeedback(RecordingFeedback):
    """Cancels from another thread, as the dialog's button does, soon after some percent."""

    def __init__(self, percent: float) -> None:
        super().__init__()
        self.cancelled_at: float | None = None
        self.cancelled_percent: float | None = None
        self._percent, self._timer = percent, None
        self.progressChanged.connect(self._look)

    def _look(self, percent: float) -> None:
        if self._timer is None and percent >= self._percent:
            self._timer = threading.Timer(0.02, self._cancel)
            self._timer.start()

    def _cancel(self) -> None:
        self.cancelled_at, self.cancelled_percent = time.perf_counter(), self.percents[-1]
        self.cancel()


@pytest.fixture(scope="module")
def large(plugin, tmp_path_factory) -> list[str]:
    """Five scenes without any structure, so that k-means has much to do."""
    folder = tmp_path_factory.mktemp("large")
    random = np.random.default_rng(1)
    return [
        write_raster(
            folder / f"noise_2020-0{month}-01.tif",
            random.integers(1, 10_000, (3, SIZE, SIZE), np.uint16),
        )
        for month in range(1, 6)
    ]


def parameters(scenes: list[str], folder, engine: int = 0) -> dict:
    return {
        "INPUT": scenes,
        "CLASSES": 12,
        "MAX_ITERATIONS": 6,
        "ENGINE": engine,
        "OUTPUT": str(folder / "new" / "out"),
        "MODEL": str(folder / "new" / "model.json"),
        "REPORT": str(folder / "report.html"),
    }


def test_progress_rises_through_all_phases(algorithm, large, tmp_path):
    feedback = RecordingFeedback()
    _, ok = algorithm.run(parameters(large, tmp_path), QgsProcessingContext(), feedback)
    assert ok, feedback.errors
    percents = feedback.percents
    assert percents == sorted(percents)
    assert percents[-1] == 100
    for phase, (low, high) in PHASES.items():
        assert len({p for p in percents if low < p < high}) >= 2, phase


@pytest.mark.parametrize("engine", [1, 2])
@pytest.mark.parametrize("phase", PHASES)
def test_cancel(algorithm, large, tmp_path, phase, engine):
    low, high = PHASES[phase]
    feedback = CancellingFeedback(low + 1)
    context = QgsProcessingContext()
    results, ok = algorithm.run(parameters(large, tmp_path, engine), context, feedback)
    seconds = time.perf_counter() - feedback.cancelled_at
    assert seconds < 1.0
    assert low < feedback.cancelled_percent < high
    assert feedback.percents[-1] <= high + 1e-9  # all may have been read until it was seen
    assert ok and results == {}
    assert not feedback.errors
    assert not context.layersToLoadOnCompletion()
    assert list(tmp_path.iterdir()) == []


def test_cancelled_before_it_starts(algorithm, large, tmp_path):
    feedback = RecordingFeedback()
    feedback.cancel()
    began = time.perf_counter()
    results, _ = algorithm.run(parameters(large, tmp_path), QgsProcessingContext(), feedback)
    assert time.perf_counter() - began < 1.0
    assert results == {}
    assert list(tmp_path.iterdir()) == []


def test_cancel_leaves_an_older_result_alone(algorithm, large, tmp_path):
    wanted = {**parameters(large[:1], tmp_path), "MAX_ITERATIONS": 1}
    _, ok = algorithm.run(wanted, QgsProcessingContext(), RecordingFeedback())
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    feedback = CancellingFeedback(PHASES["writing"][0] + 1)
    algorithm.create().run(parameters(large, tmp_path), QgsProcessingContext(), feedback)
    assert ok and before
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
