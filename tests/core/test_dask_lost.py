"""Workers die in the middle of a run, and it does not show; when all are gone, it is said."""

from __future__ import annotations

import os
import signal
import time

import pytest
from dask_clusters import PLAIN, Case, Quiet, by_hand, die_at, files, scenes, within, workers

from iikmc.core import cluster, errors, open_series, reading
from iikmc.core.workers import direct, pulse, store

# Where in the engine workers die: the first at which of its calls, the second how many later.
MOMENTS = {
    "reading values": ("iikmc.core.reading:Survey.__call__", 5, 3),
    "coding": ("iikmc.core.reading:Coder.__call__", 5, 3),
    "fitting": ("iikmc.core.workers.part:Part.step", 9, 3),
    "making tiles": ("iikmc.core.scene_rasters:Tile.of", 4, 3),
    "compressing labels": ("iikmc.core.raster.label_tiles:LabelTiles.pack", 1, 0),
    "writing measures": ("iikmc.core.raster.values:ValueWriter.write", 3, 3),
    "writing a file": ("iikmc.core.raster.labels:write_table", 1, 0),
}


@pytest.fixture(scope="module")
def two():
    """Two worker processes that are started anew when they die."""
    with workers(2) as client:
        yield client


@pytest.fixture
def case(make_scene, monkeypatch):
    """Floats, which are read in two stages, in many small windows."""
    monkeypatch.setattr(reading, "BLOCK_PIXELS", 400)
    return Case(scenes(make_scene, "float32"), {}, {"max_iter": 8, "tol": 0.0}, measures=True)


@pytest.mark.parametrize("moment", MOMENTS)
def test_two_deaths_in_a_row_change_no_byte_and_leave_nothing(moment, two, case, tmp_path):
    two.wait_for_workers(2)
    expected = case.run(tmp_path / "plain", engine=PLAIN)
    place, call, apart = MOMENTS[moment]
    die_at(two, place, call, tmp_path / "deaths", apart=apart)
    found = case.run(tmp_path / "dask", client=two)
    assert len(os.listdir(tmp_path / "deaths")) == 2
    assert found == expected


def test_a_death_between_fitting_and_writing_costs_the_pixels_and_no_byte(two, case, tmp_path):
    two.wait_for_workers(2)
    expected = case.run(tmp_path / "plain", engine=PLAIN)
    with open_series(case.scenes) as series:
        model = cluster(series, classes=4, client=two, **case.fitting)
        model.save(tmp_path / "dask" / "model.json")
        for pid in two.run(os.getpid).values():
            os.kill(pid, signal.SIGKILL)
        folder = tmp_path / "dask"
        model.classify(
            series, folder / "out", distance=folder / "far", margin=folder / "sure", client=two
        )
    assert files(folder) == expected


def test_a_part_that_kills_whoever_has_it_is_given_up_with_a_sentence(
    two, case, tmp_path, monkeypatch
):
    two.wait_for_workers(2)
    monkeypatch.setattr(direct, "_MOST_BYTES", -1)  # by tasks, whose deaths Dask counts
    scheduler = two.cluster.scheduler
    allowed, scheduler.allowed_failures = scheduler.allowed_failures, 0
    try:
        die_at(two, "iikmc.core.workers.part:Part.step", 5, tmp_path / "deaths", most=1)
        began = time.monotonic()
        with pytest.raises(errors.EngineError, match="several Dask workers their lives"):
            case.run(tmp_path / "dask", client=two)
        assert time.monotonic() - began < 30
    finally:
        scheduler.allowed_failures = allowed
    assert files(tmp_path / "dask") == {}


@pytest.mark.parametrize("lost", ["workers", "scheduler"])
def test_all_gone_is_told_in_time_and_leaves_nothing(lost, case, tmp_path, monkeypatch):
    assert pulse.SILENCE_SECONDS <= 25
    monkeypatch.setattr(pulse, "SILENCE_SECONDS", 3.0)
    monkeypatch.setattr(store, "_PARTS_PER_THREAD", 8)
    sentence = {
        "workers": "All Dask workers are gone",
        "scheduler": "The Dask scheduler does not answer any more",
    }
    with by_hand(tmp_path, {}, {}) as started:
        started.wait()
        scheduler, *doomed = started.processes
        killer = Killer([scheduler] if lost == "scheduler" else doomed)
        with open_series(case.scenes) as series:
            with pytest.raises(errors.EngineError, match=sentence[lost]):
                model = cluster(series, classes=4, client=started.address)
                model.classify(series, tmp_path / "out", client=started.address, monitor=killer)
            assert killer.at is not None
            assert time.monotonic() - killer.at < 15
            assert not (tmp_path / "out").exists()
            model = cluster(series, classes=4, engine=PLAIN)  # the series is of use as before
            assert model.fit.valid_pixels > 0


class Killer(Quiet):
    """Kills processes once the writing has begun."""

    def __init__(self, doomed) -> None:
        super().__init__()
        self.doomed, self.at = doomed, None

    def cancelled(self) -> bool:
        if self.at is None:
            self.at = time.monotonic()
            for process in self.doomed:
                process.kill()
                process.wait()
        return False


def test_nothing_of_a_run_stays_under_way_on_a_worker_that_lives(two, case, tmp_path):
    two.wait_for_workers(2)
    case.scenes[-1].write_bytes(case.scenes[-1].read_bytes()[:3000])
    with pytest.raises((errors.RasterError, errors.SeriesError)):
        case.run(tmp_path / "dask", client=two)
    assert within(1, lambda: not any(two.run(_busy).values()))


def _busy() -> int:
    from iikmc.core.workers import tasks

    return sum(tasks._busy.values())
