"""The HTML report on how consistent class rasters are from date to date."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..monitor import Monitor
from ..page import Html, count, element, fixed, join, section, share, table
from . import change_plots
from .assess import NO_COUNT, Assessment, PairScores, ReferenceScores
from .consistency import Scores
from .label_exhibits import (
    amount_map,
    facts,
    meaning,
    named,
    notices,
    plot,
    score,
    what_ran,
    write_page,
)

_MEASURES = ("Pixels compared", "Same class", "Kappa", "After matching", "Drift", "ARI")
_DRIFTING = 0.05


def write_consistency_report(
    path: Path,
    found: Assessment,
    *,
    seconds: Sequence[tuple[str, float]] = (),
    settings: Sequence[tuple[str, str]] = (),
    monitor: Monitor | None = None,
) -> None:
    """Write the report to exactly ``path``, as a staged output.

    ``settings`` are shown in addition to those of the assessment. Raises RasterError,
    OutputError, and Cancelled from the monitor.
    """
    monitor = monitor or Monitor()
    parts: list[Html] = []
    for part in (_head, _groups, _over_time, _classes, _maps, _reference, _pairs):
        monitor.check()
        parts.append(part(found))
    monitor.check()
    shown = [
        ("Pairs of dates", f"up to {count(found.max_gap, 'acquisition')} apart"),
        ("Pixels known not to change", found.invariant or "not given: all pixels count"),
        ("Known land cover", found.reference_name or "not given"),
        *settings,
    ]
    parts += [_meaning(), what_ran(found.labels, None, shown, seconds)]
    first, last = found.labels.dates[0], found.labels.dates[-1]
    write_page(path, f"Consistency of classes, {first} to {last}", parts)


def _head(found: Assessment) -> Html:
    scores, classes = found.whole, len(found.labels.styles)
    where = " that are known not to have changed" if found.invariant else ""
    lead = (
        f"{count(len(found.labels), 'class layer')} with {count(classes, 'class')}. Between dates "
        f"up to {count(found.max_gap, 'acquisition')} apart, pixels{where} kept their class in "
        f"{share(scores.agreement)} of cases; {_in_words(scores)}"
    )
    boxes = (
        ("Same class", share(scores.agreement), f"{count(len(found.near), 'pair')} of dates"),
        ("Cohen's kappa", score(scores.kappa), "agreement beyond chance"),
        ("After matching", share(scores.matched), "best one-to-one relabelling of each pair"),
        ("Drift", score(scores.drift), "what relabelling could win"),
        ("Adjusted Rand index", score(scores.ari), "whatever the classes are called"),
        ("Pixels compared", f"{scores.pixels:,}", "over all pairs"),
    )
    texts = [*found.labels.notes]
    if scores.drift > _DRIFTING:
        texts.append(
            f"Classes wander: matching them anew for each pair would win {share(scores.drift)} of "
            "all pixels. Illumination, season or haze move whole scenes; harmonising the dates "
            "before they are classified takes such differences away."
        )
    if not found.invariant:
        texts.append(
            "Without INVARIANT all pixels count, also those whose ground has changed: true change "
            "lowers these scores as confusion does."
        )
    return join((element("p", lead, class_="lead"), facts(boxes), notices(texts)))


def _in_words(scores: Scores) -> str:
    if not np.isfinite(scores.kappa):
        return "kappa is not defined, since all of them are of one class."
    # Landis & Koch (1977, doi 10.2307/2529310).
    for least, words in (
        (0.8, "almost perfect"),
        (0.6, "substantial"),
        (0.4, "moderate"),
        (0.2, "fair"),
        (0.0, "slight"),
    ):
        if scores.kappa > least:
            return f"beyond chance, that is {words} agreement (Cohen's kappa)."
    return "that is no more than chance (Cohen's kappa)."


def _cells(scores: Scores) -> list[str]:
    return [
        f"{scores.pixels:,}",
        share(scores.agreement) if scores.pixels else "–",
        score(scores.kappa),
        share(scores.matched) if scores.pixels else "–",
        score(scores.drift),
        score(scores.ari),
    ]


def _groups(found: Assessment) -> Html:
    groups = [
        *((f"{gap} apart", scores) for gap, scores in enumerate(found.gaps, start=1)),
        ("A year apart", found.seasons),
    ]
    drawn = [(name, scores) for name, scores in groups if scores.pixels]
    pairs = [len([pair for pair in found.near if _gap(pair) == gap]) for gap in _gaps(found)]
    rows = [
        [name, f"{number:,}", *_cells(scores)]
        for (name, scores), number in zip(groups, [*pairs, len(found.season)])
    ]
    lines = [
        ("same class", [scores.agreement for _, scores in drawn]),
        ("Cohen's kappa", [scores.kappa for _, scores in drawn]),
        ("after matching", [scores.matched for _, scores in drawn]),
        ("adjusted Rand index", [scores.ari for _, scores in drawn]),
    ]
    text = (
        "Dates so many acquisitions apart, and each date with the one nearest to a year later "
        "(within 30 days), when the season is the same."
    )
    return section(
        "By distance in time",
        element("p", text),
        plot(
            "Bars of the measures for each group of pairs; the table below has the numbers",
            lambda: change_plots.groups_plot([name for name, _ in drawn], lines),
        ),
        table(
            "All pairs of a group together, each pixel counting once for each pair",
            ["Group", "Pairs", *_MEASURES],
            rows,
            ["All near pairs", f"{len(found.near):,}", *_cells(found.whole)],
        ),
    )


def _over_time(found: Assessment) -> Html:
    steps = [pair for pair in found.near if _gap(pair) == 1]
    dates = [found.labels.dates[pair.second] for pair in steps]
    lines = [
        ("same class", [pair.scores.agreement for pair in steps]),
        ("Cohen's kappa", [pair.scores.kappa for pair in steps]),
        ("after matching", [pair.scores.matched for pair in steps]),
    ]
    text = (
        "Each date against the one before it. Where the lines of same class and after matching "
        "part, classes have changed their meaning rather than pixels their class."
    )
    return section(
        "From date to date",
        element("p", text),
        plot(
            "Lines of the measures of successive dates; the table of all pairs has the numbers",
            lambda: change_plots.dates_plot(dates, lines, "Each date and the one before"),
        ),
    )


def _classes(found: Assessment) -> Html:
    classes, tables = found.labels.styles, found.table
    firsts, seconds = tables.sum(axis=1), tables.sum(axis=0)
    away = tables.copy()
    np.fill_diagonal(away, 0)
    both = away + away.T
    rows = []
    for row, item in enumerate(classes):
        other = int(both[row].argmax())
        mixed = int(both[row, other])
        total = int(firsts[row] + seconds[row])
        rows.append(
            [
                named(item),
                f"{item.number}",
                f"{firsts[row]:,}",
                f"{seconds[row]:,}",
                _share(found.class_agreement[row]),
                score(float(found.class_kappa[row])),
                named(classes[other]) if mixed else "–",
                share(2 * mixed / total) if mixed else "–",
            ]
        )
    return section(
        "Class by class",
        element(
            "p",
            "Of all near pairs together. Agreement of a class: of the pixels that have it on one "
            "date of a pair, the share that have it on the other, too.",
        ),
        table(
            "Classes, and the class each of them is exchanged with most",
            ["Class", "Number", "Pixels, earlier", "Pixels, later", "Agreement", "Kappa",
             "Most exchanged with", "In a share of"],
            rows,
            text_columns=[6],
        ),
        plot(
            "Heat map of the classes of the later date for each class of the earlier one",
            lambda: change_plots.transition_plot(
                tables, [item.name for item in classes], "Earlier date", "Later date"
            ),
        ),
    )  # fmt: skip


def _maps(found: Assessment) -> Html:
    most, bits = found.most_changes, found.most_entropy
    seen = int(found.changes.sum())
    text = "No pixel is valid on two dates."
    if seen:
        mean = float(found.changes @ np.arange(len(found.changes))) / seen
        text = (
            f"Over all dates, a pixel changes class {fixed(mean, 1)} times on average, and "
            f"{share(int(found.changes[0]) / seen)} never do. Entropy is 0 where a pixel always "
            f"has one class, and {fixed(bits, 2)} bits where it has as many as it can, equally "
            "often."
        )
    maps = (
        amount_map(
            found.change_count, "Number of changes", most, NO_COUNT, lambda value: fixed(value, 0)
        ),
        amount_map(
            found.entropy,
            "Entropy of the classes",
            bits,
            float("nan"),
            lambda value: f"{fixed(value, 2)} bits",
        ),
    )
    return section("Maps", element("p", text), element("div", join(maps), class_="maps"))


def _reference(found: Assessment) -> Html:
    if found.reference_whole is None:
        return Html("")
    rows = [
        [label.label, *_known(scores)]
        for label, scores in zip(found.labels.layers, found.reference)
    ]
    text = (
        f"Each date against {found.reference_name}, with classes and land cover matched one to one "
        "as well as that date allows. All dates: one matching for the whole series. The more the "
        "dates by themselves have over it, the more classes wander."
    )
    lines = [
        ("agreement after matching", [item.agreement for item in found.reference]),
        ("Cohen's kappa after matching", [item.kappa for item in found.reference]),
        ("adjusted Rand index", [item.ari for item in found.reference]),
    ]
    return section(
        "Against known land cover",
        element("p", text),
        plot(
            "Lines of the measures of each date against known land cover",
            lambda: change_plots.dates_plot(found.labels.dates, lines, "Against land cover"),
        ),
        table(
            "Dates against known land cover",
            ["Date", "Pixels compared", "Agreement after matching", "Kappa after matching", "ARI"],
            rows,
            ["All dates", *_known(found.reference_whole)],
        ),
    )


def _known(scores: ReferenceScores) -> list[str]:
    return [
        f"{scores.pixels:,}",
        _share(scores.agreement),
        score(scores.kappa),
        score(scores.ari),
    ]


def _pairs(found: Assessment) -> Html:
    labels = [layer.label for layer in found.labels.layers]
    parts = []
    for title, pairs in (("Near pairs", found.near), ("A year apart", found.season)):
        rows = (
            [f"{labels[pair.first]} – {labels[pair.second]}", _gap(pair), *_cells(pair.scores)]
            for pair in pairs
        )
        if pairs:
            parts.append(table(title, ["Dates", "Acquisitions apart", *_MEASURES], rows))
    summary = element("summary", "All pairs in numbers")
    return section("Pairs of dates", element("details", summary, *parts))


def _meaning() -> Html:
    return meaning(
        (
            "Same class: the share of pixels with the same class on both dates of a pair, of those "
            "valid on both. It flatters a map with one large class, so read it with kappa.",
            "Cohen's kappa: how far the agreement exceeds that of two maps with the same class "
            "areas and pixels dealt out by chance; 1 is full agreement, 0 is chance (Cohen 1960).",
            "After matching: the same, once the classes of the later date are renamed one to one "
            "so that as many pixels as can agree (Hungarian method; Kuhn 1955). Drift is what that "
            "has over same class: classes that are there, but under other numbers.",
            "Adjusted Rand index: how far two maps put the same pixels together, whatever the "
            "classes are called, beyond chance (Hubert & Arabie 1985).",
            "Several pairs together: agreement and kappa of all their pixels in one table; classes "
            "are matched for each pair by itself, and matched pixels added up; the adjusted Rand "
            "index is the mean of the pairs', weighted by their pixels.",
            "Changes of class may be true, or of the season, or of light and haze. Pairs a year "
            "apart have the season in common.",
            "Entropy: how various a pixel's classes are over its dates, in bits (Shannon 1948).",
        )
    )


def _gap(pair: PairScores) -> int:
    return pair.second - pair.first


def _gaps(found: Assessment) -> range:
    return range(1, len(found.gaps) + 1)


def _share(value: float) -> str:
    return share(float(value)) if np.isfinite(value) else "–"
