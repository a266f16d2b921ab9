"""A cancel ends what workers do within a second, and the client holds no pixels at any time."""

from __future__ import annotations

import time
import tracemalloc

import pytest
from dask_clusters import PLAIN, Case, Quiet, files, scenes, under_way, within, workers

from iikmc.core import cluster, errors, open_series, reading

PAUSE = 0.1
# What is slowed down, so that a cancel comes in the middle of it. A scene here is written at once.
PHASES = {
    "reading": ("iikmc.core.reading:Coder.__call__", PAUSE),
    "fitting": ("iikmc.core.workers.part:Part.step", PAUSE),
    "compiling": ("iikmc.core.workers.tasks:label_counters", 40 * PAUSE),
    "writing": ("iikmc.core.raster.label_tiles:LabelTiles.pack", 4 * PAUSE),
}


@pytest.fixture(scope="module")
def two():
    """Two worker processes."""
    with workers(2) as client:
        yield client


class Canceller(Quiet):
    """Cancels a little after workers have begun with what is slowed down."""

    def __init__(self, begun) -> None:
        super().__init__()
        self.begun, self.at, self.asked = begun, None, 0

    def cancelled(self) -> bool:
        if self.at is None and self.begun.exists():
            self.at = time.monotonic() + 2.5 * PAUSE
        return self.at is not None and time.monotonic() >= self.at


@pytest.mark.parametrize("phase", PHASES)
def test_cancel_leaves_no_task_and_no_file_and_the_series_usable(
    phase, two, make_scene, tmp_path, monkeypatch
):
    monkeypatch.setattr(reading, "BLOCK_PIXELS", 700)
    case = Case(scenes(make_scene, height=120, width=120), {}, {"max_iter": 30, "tol": 0.0})
    expected = case.run(tmp_path / "plain", engine=PLAIN)
    monitor = Canceller(tmp_path / "begun")
    folder = tmp_path / "dask"
    mine = two.submit(int, 7)
    with open_series(case.scenes) as series:
        place, pause = PHASES[phase]
        had = two.run(_slow, place, str(monitor.begun), pause)
        try:
            with pytest.raises(errors.Cancelled):
                model = cluster(series, classes=4, client=two, monitor=monitor, **case.fitting)
                model.classify(series, folder / "out", client=two, monitor=monitor)
            assert time.monotonic() - monitor.at < 1.0
            assert within(0.5, lambda: under_way(two) == dict.fromkeys(had, 0))
            assert files(folder) == {}
        finally:
            two.run(_fast, place)
        model = cluster(series, classes=4, client=two, **case.fitting)
        model.save(folder / "model.json")
        model.classify(series, folder / "out", client=two)
    assert files(folder) == expected
    assert mine.result(timeout=5) == 7  # what else the client has is not lost


def _slow(place: str, begun: str, pause: float) -> None:
    """Let each call of a function of the engine take a while, and the first one leave a file."""
    import time
    from pathlib import Path

    owner, name = _owner(place)
    function = getattr(owner, name)

    def slow(*arguments, **options):
        Path(begun).touch()
        time.sleep(pause)
        return function(*arguments, **options)

    slow.function = function
    setattr(owner, name, slow)


def _fast(place: str) -> None:
    owner, name = _owner(place)
    setattr(owner, name, getattr(owner, name).function)


def _owner(place: str):
    import importlib

    module, _, path = place.partition(":")
    owner = importlib.import_module(module)
    *outer, name = path.split(".")
    for part in outer:
        owner = getattr(owner, part)
    return owner, name


@pytest.mark.parametrize(
    ("dtype", "options"),
    [
        ("uint16", {"harmonise": "invariant"}),
        ("float32", {"init": "k-means++", "temporal": "markov"}),
        ("uint16", {"strategy": "mini-batch", "sample_fraction": 0.2}),
    ],
)
def test_progress_rises_through_reading_fitting_and_writing(
    dtype, options, two, make_scene, tmp_path
):
    found: list[float] = []

    class Recorder(Quiet):
        def progress(self, fraction: float) -> None:
            found.append(fraction)

    recorder = Recorder()
    options = {"classes": 4, "max_iter": 6, "tol": 0.0, **options}
    with open_series(scenes(make_scene, dtype, height=200, width=200, count=4)) as series:
        model = cluster(series, client=two, monitor=recorder.part(0.0, 0.7), **options)
        model.classify(series, tmp_path / "out", client=two, monitor=recorder.part(0.7, 1.0))
    assert found == sorted(found)
    assert found[-1] == 1.0
    for low, high in ((0.28, 0.665), (0.7, 1.0)):  # tiny scenes are read between two looks
        assert any(low < share < high for share in found)
    assert any(share <= 0.28 for share in found)


def test_client_holds_no_pixels(two, make_scene, tmp_path):
    """Twenty times the pixels cost the client next to nothing."""
    peaks = []
    for number, side in enumerate((220, 984)):
        paths = scenes(make_scene, height=side, width=side, prefix=f"{side}_", count=4)
        case = Case(paths, {}, {"max_iter": 2, "harmonise": "standardise"}, measures=True)
        if not peaks:  # modules that are loaded take memory, too
            case.run(tmp_path / "warm", client=two)
        tracemalloc.start()
        try:
            with open_series(paths) as series:
                model = cluster(series, classes=4, client=two, monitor=Quiet(), **case.fitting)
                model.classify(series, tmp_path / f"out {number}", client=two, monitor=Quiet())
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    pixels = 4 * 984 * 984
    assert peaks[1] - peaks[0] < pixels // 4, peaks  # codes are six bytes a pixel
