"""Every strategy answers a cancel, whatever it is doing; runs at once do not disturb each other."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from conftest import SceneMaker

from iikmc.core import Monitor, available_backends, cluster, errors, open_series, reading

ENGINES = [name for name in available_backends() if name in ("numpy", "numba")]
ROOM = reading.pixel_room


class Canceller(Monitor):
    """Cancels a moment after a message that begins in a certain way, and the so-manieth of it."""

    def __init__(self, at: str, times: int = 1, pause: float = 0.0) -> None:
        self.at, self.times, self.pause = at, times, pause
        self.asked_at: float | None = None
        self._since: float | None = None

    def message(self, text: str) -> None:
        self.times -= text.startswith(self.at)
        if self._since is None and not self.times:
            self._since = time.perf_counter()

    def cancelled(self) -> bool:
        if self._since is None or time.perf_counter() < self._since + self.pause:
            return False
        self.asked_at = self.asked_at or time.perf_counter()
        return True


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """Return dates without any structure, which k-means does not come to an end with."""
    rng = np.random.default_rng(3)
    make = SceneMaker(tmp_path_factory.mktemp("noise"))
    return [
        make(f"s_2020-01-0{day}", rng.integers(1, 9000, (4, 900, 700)).astype(np.uint16))
        for day in (1, 2, 3)
    ]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("strategy", "at", "times"),
    [
        ("full", "Iteration 1:", 1),
        ("progressive", "The sample has", 1),
        ("progressive", "Iteration 2:", 1),  # on the sample
        ("progressive", "Iteration 1:", 2),  # on all pixels
        ("sample", "Iteration 1:", 1),
        ("mini-batch", "The sample has", 1),
        ("mini-batch", "Batch 2:", 1),
    ],
)
def test_a_cancel_anywhere_in_a_strategy_is_answered_within_a_second(
    strategy, at, times, engine, noise
):
    for paths, pause in ((noise, 0.0), (noise, 0.02), (noise[:1], 0.0)):
        monitor = Canceller(at, times, pause)
        with open_series(paths) as series, pytest.raises(errors.Cancelled):
            cluster(
                series, classes=30, strategy=strategy, engine=engine, tol=0.0, max_iter=8,
                sample_fraction=0.05, threads=2, monitor=monitor,
            )  # fmt: skip
        assert monitor.asked_at is not None
        assert time.perf_counter() - monitor.asked_at < 1.0
        assert not [t for t in threading.enumerate() if t.name.startswith("iikmc_")]


@pytest.mark.parametrize("spill", [False, True])
def test_runs_at_once_give_what_each_gives_alone(spill, three_scenes, tmp_path, monkeypatch):
    """Of every engine and strategy, one of them cancelled; labels and signatures to the byte."""
    monkeypatch.setattr(reading, "pixel_room", (lambda *_: 0) if spill else ROOM)
    runs = [
        (engine, strategy, classes)
        for engine in ENGINES
        for strategy, classes in (("full", 5), ("progressive", 17), ("mini-batch", 4))
    ]
    begun = threading.Barrier(2)

    def run(number: int, folder: str, together: bool) -> tuple[bytes, ...]:
        engine, strategy, classes = runs[number]
        if together and number < 2:
            begun.wait(10)
        out = tmp_path / folder / f"{number}"
        with open_series(three_scenes) as series:
            model = cluster(
                series, classes=classes, engine=engine, strategy=strategy, threads=2,
                sample_fraction=0.1, max_iter=12,
            )  # fmt: skip
            made = model.classify(series, out, engine=engine, threads=2)
        return (model.signatures.tobytes(), *(path.read_bytes() for path in made))

    def cancelled() -> bool:
        monitor = Canceller("Iteration 1:")
        with open_series(three_scenes) as series, pytest.raises(errors.Cancelled):
            cluster(series, classes=9, tol=0.0, monitor=monitor)
        return True

    with ThreadPoolExecutor(3) as pool:
        stopped = pool.submit(cancelled)
        found = list(pool.map(lambda number: run(number, "together", True), range(len(runs))))
        assert stopped.result()
    assert found == [run(number, "alone", False) for number in range(len(runs))]
