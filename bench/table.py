"""The result: rows, as one table of text and as JSON."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

HEAD = ("", "seconds", "spread", "ratio", "to reach", "labels", "inertia", "peak MiB", "")


@dataclass(frozen=True)
class Target:
    """A figure to reach, in words, and whether it is."""

    text: str
    met: bool

    @classmethod
    def at_least(cls, limit: float, found: float, unit: str) -> Target:
        """Return the target of a figure that should be high."""
        return cls(f"≥ {limit:,g}{unit}", found >= limit)

    @classmethod
    def at_most(cls, limit: float, found: float, unit: str) -> Target:
        """Return the target of a figure that should be low."""
        return cls(f"≤ {limit:,g}{unit}", found <= limit)


@dataclass(frozen=True)
class Row:
    """One contender in one line of the benchmark.

    ``seconds`` is the median of ``samples``. ``ratio`` is to the line's other party: how many
    times faster this engine is than a peer, or how many times longer it takes than the floor.
    ``labels`` is the share of equal labels, ``inertia`` the relative difference.
    """

    line: str
    contender: str
    seconds: float | None = None
    samples: tuple[float, ...] = ()
    ratio: float | None = None
    targets: tuple[Target, ...] = ()
    labels: float | None = None
    inertia: float | None = None
    peak_mib: float | None = None
    note: str = ""

    @classmethod
    def absent(cls, line: str, contender: str, why: str) -> Row:
        """Return a row that only says why it is empty."""
        return cls(line, contender, note=why)


def median(samples: Sequence[float]) -> float:
    """Return the median."""
    return float(statistics.median(samples))


def as_text(rows: Iterable[Row]) -> str:
    """Return the table: each line's name, and its rows below it."""
    body: list[tuple[str, ...]] = [HEAD]
    line = None
    for row in rows:
        if row.line != line:
            line = row.line
            body.append((line,))
        body.append(
            (
                f"  {row.contender}",
                _seconds(row.seconds),
                _spread(row.samples),
                "" if row.ratio is None else f"{row.ratio:.2f}×",
                ", ".join(f"{target.text} {'✓' if target.met else '✗'}" for target in row.targets),
                "" if row.labels is None else _share(row.labels),
                "" if row.inertia is None else f"{row.inertia:+.1e}",
                "" if row.peak_mib is None else f"{row.peak_mib:,.0f}",
                row.note,
            )
        )
    columns = range(len(HEAD))
    full = [cells for cells in body if len(cells) == len(HEAD)]
    widths = [max(len(cells[column]) for cells in full) for column in columns]
    lines = []
    for cells in body:
        if len(cells) == 1:
            lines += ["", cells[0]]
            continue
        padded = [
            cells[column].ljust(widths[column])
            if column in (0, len(HEAD) - 1)
            else cells[column].rjust(widths[column])
            for column in columns
        ]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines) + "\n"


def as_plain(rows: Iterable[Row]) -> list[dict]:
    """Return the rows for JSON."""
    return [asdict(row) for row in rows]


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}" if value >= 100 else f"{value:#.3g}"


def _spread(samples: Sequence[float]) -> str:
    """Return half the range of the samples, in percent of their median."""
    if len(samples) < 2 or median(samples) <= 0.0:
        return ""
    return f"±{50.0 * (max(samples) - min(samples)) / median(samples):.0f} %"


def _share(value: float) -> str:
    """Return a share in percent; one only if all are equal reads 100 %."""
    return "100 %" if value == 1.0 else f"{min(100 * value, 99.99999):.5f} %"
