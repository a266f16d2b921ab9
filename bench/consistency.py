"""Measures how well labels stay: ways to classify a series, on a real one and on known ground.

make bench-consistency [ARGS="--real demo/scenes --dates 24 --size 240"]
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import rasterio
from consistency_cost import costs
from consistency_left_out import left_out_dates
from consistency_plots import draw_maps, draw_scores
from consistency_series import COVERS, KnownSeries, make_known_series

from iikmc.core import Series, cluster, open_series
from iikmc.core.interpret.assignment import best_matching
from iikmc.core.interpret.consistency import (
    adjusted_rand,
    agreement,
    contingency,
    kappa,
    matched_agreement,
    near_pairs,
    pair_tables,
)

GAP = 3
CLEAR, LEAST_CLEAR = (4, 5, 6, 7), 0.97
RESULTS = Path(__file__).resolve().parent / "results"


@dataclass(frozen=True)
class Scenes:
    """A series on disk, with its masks (or none), how many classes to look for, and from where."""

    paths: tuple[Path, ...]
    masks: tuple[Path, ...] | None
    classes: int
    init: str

    def labels(self, ranks: Sequence[int] | None = None, **options: object) -> np.ndarray:
        """Return the classes, uint8 (dates, rows, columns), of a model of some of the dates."""
        every = range(len(self.paths))
        with tempfile.TemporaryDirectory() as folder:
            with self.open(every if ranks is None else ranks) as series:
                model = cluster(series, classes=self.classes, init=self.init, **options)
            with self.open(every) as series:
                paths = model.classify(series, folder)
            return np.array([_read(path) for path in paths])

    def each(self) -> np.ndarray:
        """Return the classes of each date's own model."""
        found = []
        for rank in range(len(self.paths)):
            with tempfile.TemporaryDirectory() as folder, self.open([rank]) as series:
                model = cluster(series, classes=self.classes, init=self.init, order="seeded")
                found.append(_read(model.classify(series, folder)[0]))
        return np.array(found)

    def ordered(self) -> np.ndarray:
        """Return them, numbered by brightness."""
        found = []
        for rank in range(len(self.paths)):
            with tempfile.TemporaryDirectory() as folder, self.open([rank]) as series:
                model = cluster(series, classes=self.classes, init=self.init)
                found.append(_read(model.classify(series, folder)[0]))
        return np.array(found)

    def matched(self) -> np.ndarray:
        """Return them, numbered by the best one-to-one matching with the first date."""
        found = self.ordered()
        for rank in range(1, len(found)):
            table = contingency(found[rank], found[0], self.classes)
            found[rank] = np.append(0, best_matching(table) + 1).astype(np.uint8)[found[rank]]
        return found

    def open(self, ranks: Sequence[int]) -> Series:
        """Open the scenes of some ranks."""
        if self.masks is None:
            return open_series([self.paths[rank] for rank in ranks])
        return open_series(
            [self.paths[rank] for rank in ranks],
            masks=[self.masks[rank] for rank in ranks],
            mask_kind="scl",
        )


WAYS: dict[str, Callable[[Scenes], np.ndarray]] = {
    "each date alone": Scenes.each,
    "each alone, by brightness": Scenes.ordered,
    "each alone, matched to the first": Scenes.matched,
    "one date's model for all": lambda scenes: scenes.labels([len(scenes.paths) // 2]),
    "joint": lambda scenes: scenes.labels(),
    "joint, z-score": lambda scenes: scenes.labels(scaling="zscore"),
    "standardise": lambda scenes: scenes.labels(harmonise="standardise"),
    "invariant": lambda scenes: scenes.labels(harmonise="invariant"),
    "standardise, z-score": lambda scenes: scenes.labels(harmonise="standardise", scaling="zscore"),
    "invariant, z-score": lambda scenes: scenes.labels(harmonise="invariant", scaling="zscore"),
    "joint + temporal": lambda scenes: scenes.labels(temporal="markov"),
    "standardise + temporal": lambda scenes: scenes.labels(
        harmonise="standardise", temporal="markov"
    ),
    "invariant + temporal": lambda scenes: scenes.labels(harmonise="invariant", temporal="markov"),
    "standardise + temporal, strength 2": lambda scenes: scenes.labels(
        harmonise="standardise", temporal="markov", temporal_strength=2.0
    ),
    "standardise, z-score + temporal": lambda scenes: scenes.labels(
        harmonise="standardise", scaling="zscore", temporal="markov"
    ),
    "invariant, z-score + temporal": lambda scenes: scenes.labels(
        harmonise="invariant", scaling="zscore", temporal="markov"
    ),
}


@dataclass(frozen=True)
class Outcome:
    """How one way fared. Means over pairs of near dates; on known ground also against it."""

    way: str
    seconds: float
    agreement: float
    kappa: float
    drift: float
    rand: float
    truth: float | None = None
    found: float | None = None
    false: float | None = None


def near(labels: np.ndarray, classes: int) -> tuple[float, float, float, float]:
    """Return the means of agreement, kappa, drift and adjusted Rand index over near dates.

    A pair in which both dates have one and the same class only has no kappa, and is left out.
    """
    tables = pair_tables(labels, near_pairs(len(labels), GAP), classes)
    same = [agreement(table) for table in tables]
    drift = [matched_agreement(table) - agreement(table) for table in tables]
    columns = same, [kappa(table) for table in tables], drift, map(adjusted_rand, tables)
    first, second, third, fourth = (float(np.nanmean(list(column))) for column in columns)
    return first, second, third, fourth


def against(labels: np.ndarray, known: KnownSeries) -> tuple[float, float, float]:
    """Return agreement with the covers, lasting changes found, and places falsely changed.

    Classes are matched to covers once for the whole series. A lasting change is found if the
    class changes for good to the new cover's within one date that is seen. A place is falsely
    changed if its cover never changes and its class does.
    """
    seen = (labels > 0) & known.valid
    table = contingency(np.where(seen, labels, 0), np.where(seen, known.covers, 0), COVERS)
    named = np.append(0, best_matching(table) + 1).astype(np.uint8)[labels]
    named = np.where(seen, named, 0).reshape(len(labels), -1)
    covers = known.covers.reshape(len(labels), -1)
    found, false = [], []
    for place in range(named.shape[1]):
        dates = np.flatnonzero(named[:, place])
        own, expected = named[dates, place], covers[dates, place]
        turns = np.flatnonzero(np.diff(expected))
        if not len(turns):
            false.append(len(np.unique(own)) > 1)
        elif known.lasting.flat[place]:
            others = np.flatnonzero(own != expected[-1])
            settled = others[-1] if len(others) else -1
            found.append(abs(int(settled) - int(turns[-1])) <= 1)
    right = float((named[named > 0] == covers[named > 0]).mean())
    return right, float(np.mean(found)), float(np.mean(false))


def measured(
    scenes: Scenes, known: KnownSeries | None = None
) -> tuple[list[Outcome], dict[str, np.ndarray]]:
    """Return the outcome, and the labels, of every way."""
    outcomes, labels = [], {}
    for way, run in WAYS.items():
        began = time.perf_counter()
        labels[way] = run(scenes)
        seconds = time.perf_counter() - began
        truth = against(labels[way], known) if known is not None else (None, None, None)
        outcomes.append(Outcome(way, seconds, *near(labels[way], scenes.classes), *truth))
        print(as_row(outcomes[-1]), flush=True)
    return outcomes, labels


def real_scenes(folder: Path) -> Scenes:
    """Return the dates of the demo's series that are at least 97 % clear."""
    paths = [
        path
        for path in sorted(folder.glob("S2_*.tif"))
        if np.isin(_read(_mask(path)), CLEAR).mean() >= LEAST_CLEAR
    ]
    return Scenes(tuple(paths), tuple(map(_mask, paths)), 6, "minmax")


def _mask(path: Path) -> Path:
    return path.with_name(path.name.replace("S2_", "SCL_"))


def _read(path: Path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        return dataset.read(1)


def as_row(outcome: Outcome | None = None) -> str:
    """Return one row of the table as text, or its head."""
    names = ("seconds", "agreement", "kappa", "drift", "rand", "truth", "found", "false")
    if outcome is None:
        return "  ".join(["".ljust(34), *(name.rjust(9) for name in names)])
    cells = [getattr(outcome, name) for name in names]
    texts = ["" if cell is None else f"{cell:.3f}" for cell in cells]
    return "  ".join([outcome.way.ljust(34), *(text.rjust(9) for text in texts)])


def main() -> None:
    """Measure, print the tables and keep them with their plots."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--real", type=Path, default=Path("demo/scenes"))
    parser.add_argument("--dates", type=int, default=24, help="of the series that is made")
    parser.add_argument("--size", type=int, default=240, help="its rows and columns")
    parser.add_argument("--output", help="name of the result; the time of day if left out")
    given = parser.parse_args()
    folder = RESULTS / (given.output or f"consistency-{dt.datetime.now():%Y-%m-%d-%H%M%S}")
    folder.mkdir(parents=True, exist_ok=True)
    content = {}
    scenes = real_scenes(given.real)
    print(f"Real series: {len(scenes.paths)} dates, near dates up to {GAP} apart\n{as_row()}")
    outcomes, labels = measured(scenes)
    content["real"] = [asdict(outcome) for outcome in outcomes]
    draw_scores(folder / "real.png", "Sentinel-2, near dates", outcomes)
    shown = ("joint", "standardise", "standardise + temporal")
    draw_maps(folder / "maps.png", scenes.paths, {way: labels[way] for way in shown})
    for name, drift in (("known, with drift", 1.0), ("known, without drift", 0.0)):
        place = Path(tempfile.mkdtemp())
        known = make_known_series(place, dates=given.dates, size=given.size, drift=drift)
        print(f"\n{name}: {given.dates} dates\n{as_row()}")
        outcomes, _ = measured(Scenes(known.scenes, None, COVERS, "k-means++"), known)
        shutil.rmtree(place)
        content[name] = [asdict(outcome) for outcome in outcomes]
        draw_scores(folder / f"{name.replace(', ', '-').replace(' ', '-')}.png", name, outcomes)
    print("\nDates left out of the fit: share of pixels that have the class they have in it")
    left_out = left_out_dates(scenes.paths, scenes.open, scenes.masks, scenes.classes)
    print(*left_out, sep="\n", flush=True)
    print("\nSeconds, times those of a plain run; the same with as many iterations")
    cost = costs()
    print(*cost, sep="\n")
    content["left out"] = [asdict(item) for item in left_out]
    content["cost"] = [asdict(item) for item in cost]
    (folder / "consistency.json").write_text(json.dumps(content, indent=1) + "\n")
    print(f"\nkept in {folder}")


if __name__ == "__main__":
    main()
