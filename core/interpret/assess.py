"""How consistent class rasters are from date to date: scores of pairs of dates, and two rasters."""

from __future__ import annotations

import contextlib
import math
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..csv_files import write_csv
from ..errors import ParameterError, SeriesError
from ..files import StagedOutputs
from ..grid import Window
from ..monitor import Monitor
from ..parallel import ordered_map, thread_count
from ..raster import describe
from ..raster.planes import read_plane
from ..raster.values import ValueWriter
from .consistency import (
    Pair,
    Scores,
    class_agreement,
    class_kappa,
    matched,
    near_pairs,
    pool,
    score,
    season_pairs,
)
from .history import changes_of, entropy_of
from .label_series import (
    MOST_CLASSES,
    LabelSeries,
    RankReader,
    check_class_raster,
    check_on_grid,
    distinct_values,
    windows_of,
)
from .sweep import sweep
from .transitions import TransitionTally

CHANGE_COUNT, ENTROPY = "change_count.tif", "entropy.tif"
NO_COUNT = 65_535


@dataclass(frozen=True)
class PairScores:
    """Scores of two dates, given by their places in the series, and each class's agreement."""

    first: int
    second: int
    scores: Scores
    class_agreement: np.ndarray


@dataclass(frozen=True)
class ReferenceScores:
    """A date against known land cover, after the best one-to-one matching of classes."""

    pixels: int
    agreement: float
    kappa: float
    ari: float

    @classmethod
    def of(cls, table: np.ndarray) -> ReferenceScores:
        best = score(matched(table))
        return cls(best.pixels, best.agreement, best.kappa, best.ari)


@dataclass(frozen=True)
class Assessment:
    """How consistent the class rasters of a series are.

    ``near`` are the pairs up to ``max_gap`` acquisitions apart, ``gaps`` those of each gap, from 1
    on, together, ``season`` the pairs about a year apart. ``table`` is the sum of the near pairs'
    contingency tables, of which are ``class_agreement`` and ``class_kappa``. ``reference`` has
    scores for each date, ``reference_whole`` for all dates under one matching. ``changes`` counts
    the pixels by number of changes, int64 (dates,). ``change_count`` and ``entropy`` are the
    rasters, where they are staged.
    """

    labels: LabelSeries
    max_gap: int
    near: tuple[PairScores, ...]
    season: tuple[PairScores, ...]
    whole: Scores
    gaps: tuple[Scores, ...]
    seasons: Scores
    table: np.ndarray
    class_agreement: np.ndarray
    class_kappa: np.ndarray
    reference: tuple[ReferenceScores, ...]
    reference_whole: ReferenceScores | None
    invariant: str
    reference_name: str
    changes: np.ndarray
    change_count: Path
    entropy: Path

    @property
    def most_changes(self) -> int:
        """The largest number of changes of a pixel."""
        return int(np.flatnonzero(self.changes).max(initial=0))

    @property
    def most_entropy(self) -> float:
        """The largest entropy there can be, in bits: all classes, or dates, equally often."""
        return math.log2(max(2, min(len(self.labels.styles), len(self.labels))))


def check_assessment(
    labels: LabelSeries,
    *,
    max_gap: int = 3,
    invariant: str | os.PathLike[str] | None = None,
    reference: str | os.PathLike[str] | None = None,
) -> None:
    """Raise where :func:`assess` would, as far as headers tell."""
    if max_gap < 1:
        raise ParameterError(f"MAX_GAP is {max_gap}; expected 1 acquisition or more.")
    if invariant is not None:
        check_on_grid(labels, describe(invariant), f"INVARIANT ('{Path(invariant).name}')")
    if reference is not None:
        what = f"REFERENCE ('{Path(reference).name}')"
        info = describe(reference)
        check_class_raster(info, what)
        check_on_grid(labels, info, what)


def assess(
    labels: LabelSeries,
    folder: str | os.PathLike[str],
    outputs: StagedOutputs,
    *,
    max_gap: int = 3,
    invariant: str | os.PathLike[str] | None = None,
    reference: str | os.PathLike[str] | None = None,
    threads: int | None = None,
    monitor: Monitor | None = None,
) -> Assessment:
    """Compare the dates of class rasters, and write how often and how variously pixels change.

    ``change_count.tif`` (uint16; 65535 where fewer than two dates are valid) and ``entropy.tif``
    (float32, bits; NaN without a valid date) are staged for ``folder``. Where ``invariant`` is
    not 0 the ground is known not to have changed: then only those pixels count in the scores.
    ``reference`` holds known land cover as integers above 0. Raises SeriesError where there is
    nothing to compare, RasterError, OutputError, and Cancelled from the monitor.
    """
    monitor = monitor or Monitor()
    check_assessment(labels, max_gap=max_gap, invariant=invariant, reference=reference)
    labels = labels.known(threads=threads, monitor=monitor.part(0.0, 0.1))
    covers: tuple[int, ...] = ()
    if reference is not None:
        covers = _covers(reference, labels, threads, monitor.part(0.1, 0.15))
    near, season = near_pairs(len(labels), max_gap), season_pairs(labels.dates)
    work = _Work(labels, [*near, *(pair for pair in season if pair not in set(near))])
    work.invariant = os.fspath(invariant) if invariant is not None else ""
    work.refer_to(os.fspath(reference) if reference is not None else "", covers)
    staged = outputs.folder(folder)
    with contextlib.ExitStack() as stack:
        writers = [stack.enter_context(writer) for writer in _writers(labels, staged)]
        sweep(
            labels.windows(len(labels)),
            work,
            writers,
            threads=threads,
            monitor=monitor.part(0.15, 0.95),
        )
    return _scored(labels, max_gap, near, season, work, staged, monitor)


class _Work:
    """Reads a window on all dates, counts pairs of classes, and returns the rasters' planes."""

    def __init__(self, labels: LabelSeries, pairs: Sequence[Pair]) -> None:
        self.tally = TransitionTally(len(labels.styles), pairs)
        self.changes = np.zeros(len(labels), np.int64)
        self.invariant = ""
        self.reference: TransitionTally | None = None
        self.reference_path = ""
        self._labels = labels
        self._reader = RankReader(())
        self._lock = threading.Lock()

    def refer_to(self, path: str, covers: Sequence[int]) -> None:
        """Compare each date with a raster of land cover, too; no path: with none."""
        if path:
            size, dates = max(len(self._labels.styles), len(covers)), len(self._labels)
            self.reference = TransitionTally(size, [(date, dates) for date in range(dates)])
            self.reference_path, self._reader = path, RankReader(covers)

    def __call__(self, window: Window, stop: threading.Event) -> list[np.ndarray]:
        ranks = self._labels.read(window, stop)
        where = None
        if self.invariant:
            values, valid = read_plane(self.invariant, window)
            where = valid & (values != 0)
        self.tally.add(window, ranks, where, stop)
        if self.reference is not None:
            cover = self._reader.read(self.reference_path, "REFERENCE", window)
            self.reference.add(window, np.concatenate([ranks, cover[None]]), where, stop)
        found = changes_of(ranks)
        seen = found.valid >= 2
        with self._lock:
            self.changes += np.bincount(found.count[seen], minlength=len(self.changes))
        return [
            np.where(seen, found.count, np.uint16(NO_COUNT)),
            entropy_of(ranks, len(self._labels.styles)),
        ]


def _writers(labels: LabelSeries, staged: Path) -> Iterator[ValueWriter]:
    tags = {"FIRST_DATE": f"{labels.dates[0]}", "LAST_DATE": f"{labels.dates[-1]}"}
    for name, dtype, nodata, band in (
        (CHANGE_COUNT, "uint16", NO_COUNT, "number of changes of class"),
        (ENTROPY, "float32", math.nan, "entropy of the classes in bits"),
    ):
        yield ValueWriter(
            staged / name, labels.grid, dtype=dtype, nodata=nodata, bands=[band], tags=tags
        )


def _covers(
    reference: str | os.PathLike[str], labels: LabelSeries, threads: int | None, monitor: Monitor
) -> tuple[int, ...]:
    """Return the values of the reference, ascending; raises SeriesError for too many, or none."""
    info = describe(reference)
    windows = windows_of(labels.grid, (info.block_height, info.block_width), 1 << 22)
    found: set[int] = set()
    workers = thread_count(threads)
    with ThreadPoolExecutor(workers) as threads_of:
        for values in ordered_map(
            threads_of,
            lambda window: distinct_values(info.path, window),
            windows,
            monitor,
            ahead=2 * workers,
        ):
            found |= values
    if not found or len(found) > MOST_CLASSES or min(found) < 0:
        held = f"the value {min(found)}" if min(found, default=0) < 0 else f"{len(found)} classes"
        raise SeriesError(
            f"REFERENCE ('{Path(reference).name}') holds {held}; expected a raster of 1 to "
            f"{MOST_CLASSES} land cover classes, which are integers above 0."
        )
    return tuple(sorted(found))


def _scored(
    labels: LabelSeries,
    max_gap: int,
    near: Sequence[Pair],
    season: Sequence[Pair],
    work: _Work,
    staged: Path,
    monitor: Monitor,
) -> Assessment:
    tables = dict(zip(work.tally.pairs, work.tally.pixels))
    scores: dict[Pair, PairScores] = {}
    for done, (pair, table) in enumerate(tables.items(), start=1):
        monitor.check()
        scores[pair] = PairScores(*pair, score(table), class_agreement(table))
        monitor.progress(0.95 + 0.05 * done / len(tables))

    def together(pairs: Sequence[Pair]) -> Scores:
        return pool([tables[pair] for pair in pairs], [scores[pair].scores for pair in pairs])

    whole = together(near)
    if not whole.pixels:
        where = " where INVARIANT is not 0" if work.invariant else ""
        raise SeriesError(
            f"No pixel is valid on two dates at most {max_gap} acquisitions apart{where}, so "
            "there is nothing to compare: check the layers' nodata, or raise MAX_GAP."
        )
    total = np.sum([tables[pair] for pair in near], axis=0, dtype=np.int64)
    against = [] if work.reference is None else list(work.reference.pixels)
    gaps = range(1, min(max_gap, len(labels) - 1) + 1)
    return Assessment(
        labels=labels,
        max_gap=max_gap,
        near=tuple(scores[pair] for pair in near),
        season=tuple(scores[pair] for pair in season),
        whole=whole,
        gaps=tuple(together([pair for pair in near if pair[1] - pair[0] == gap]) for gap in gaps),
        seasons=together(season),
        table=total,
        class_agreement=class_agreement(total),
        class_kappa=class_kappa(total),
        reference=tuple(ReferenceScores.of(table) for table in against),
        reference_whole=ReferenceScores.of(np.sum(against, axis=0)) if against else None,
        invariant=Path(work.invariant).name if work.invariant else "",
        reference_name=Path(work.reference_path).name if work.reference_path else "",
        changes=work.changes,
        change_count=staged / CHANGE_COUNT,
        entropy=staged / ENTROPY,
    )


def write_pairs(path: Path, found: Assessment) -> None:
    """Write a CSV with one row for each pair of dates, as a staged output; raises OutputError.

    Groups: near (up to the largest gap), season (about a year apart) and, against known land
    cover, reference, where scores are those after matching.
    """
    dates, names = found.labels.dates, [layer.name for layer in found.labels.layers]
    head = ["group", "first_date", "second_date", "first_layer", "second_layer", "gap", "days"]
    head += ["pixels", "agreement", "kappa", "matched_agreement", "drift", "ari"]
    head += [f"agreement_class_{item.number}" for item in found.labels.styles]
    rows: list[list[object]] = []
    for group, pairs in (("near", found.near), ("season", found.season)):
        for pair in pairs:
            ends, item = (pair.first, pair.second), pair.scores
            days = (dates[pair.second] - dates[pair.first]).days
            rows.append(
                [
                    group,
                    *(dates[end] for end in ends),
                    *(names[end] for end in ends),
                    pair.second - pair.first,
                    days,
                    *(item.pixels, item.agreement, item.kappa, item.matched, item.drift, item.ari),
                    *pair.class_agreement.tolist(),
                ]
            )
    empty = [None] * len(found.labels.styles)
    for index, known in enumerate(found.reference):
        ends_of = [None, dates[index], found.reference_name, names[index], None, None]
        measures = [known.pixels, None, known.kappa, known.agreement, None, known.ari]
        rows.append(["reference", *ends_of, *measures, *empty])
    write_csv(path, head, rows)
