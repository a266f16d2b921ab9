"""Progress moves through reading, fitting and writing; cancel is quick and leaves nothing."""

from __future__ import annotations

import time

import numpy as np
import pytest
from conftest import land_cover

from iikmc.core import Monitor, available_backends, cluster, errors, open_series


class Recorder(Monitor):
    """Keeps the progress, and cancels once it has passed ``until``."""

    def __init__(self, until: float = 2.0) -> None:
        self.until = until
        self.fractions: list[float] = []
        self.asked_at: float | None = None

    def progress(self, fraction: float) -> None:
        self.fractions.append(fraction)

    def message(self, text: str) -> None:
        pass

    def warning(self, text: str) -> None:
        pass

    def cancelled(self) -> bool:
        if self.fractions and self.fractions[-1] > self.until:
            self.asked_at = self.asked_at or time.perf_counter()
            return True
        return False


@pytest.fixture
def large_scenes(make_scene):
    """Return dates with enough pixels that every phase takes several blocks."""
    return [
        make_scene(
            f"s_2020-01-{day:02d}", np.tile(land_cover(day, bands=4), (1, 15, 15)),
            tiled=True, blockxsize=256, blockysize=256,
        )
        for day in range(1, 9)
    ]  # fmt: skip


@pytest.mark.parametrize("engine", available_backends())
def test_progress_rises_through_every_phase(engine, large_scenes, tmp_path):
    recorder = Recorder()
    with open_series(large_scenes) as series:
        fitting = recorder.part(0.0, 0.7)
        model = cluster(series, classes=12, engine=engine, max_iter=8, monitor=fitting)
        model.classify(series, tmp_path / "out", engine=engine, monitor=recorder.part(0.7, 1.0))
    found = recorder.fractions
    assert found == sorted(found)
    assert found[-1] == 1.0
    for low, high in ((0.0, 0.28), (0.28, 0.665), (0.7, 1.0)):  # reading, fitting, writing
        assert len({share for share in found if low < share < high}) >= 3


@pytest.mark.parametrize("engine", available_backends())
@pytest.mark.parametrize("until", [0.05, 0.35, 0.85])
def test_cancel_ends_within_a_second_and_leaves_no_file(engine, until, large_scenes, tmp_path):
    recorder = Recorder(until)
    fitting = recorder.part(0.0, 0.7)
    with open_series(large_scenes) as series, pytest.raises(errors.Cancelled):
        model = cluster(series, classes=12, engine=engine, max_iter=20, monitor=fitting)
        model.classify(series, tmp_path / "out", engine=engine, monitor=recorder.part(0.7, 1.0))
    assert recorder.asked_at is not None
    assert time.perf_counter() - recorder.asked_at < 1.0
    assert not (tmp_path / "out").exists()


def test_two_runs_at_once_in_one_process_both_finish(large_scenes, tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    def run(classes: int) -> bytes:
        with open_series(large_scenes) as series:
            model = cluster(series, classes=classes, threads=2, max_iter=10)
            model.classify(series, tmp_path / f"out{classes}")
            return model.signatures.tobytes()

    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(run, (4, 7)))
    assert together == [run(4), run(7)]
