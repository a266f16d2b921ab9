"""Plots of change and consistency: heat maps of transitions, and scores over the dates."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..page import share
from ..plots import canvas, plain, png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INK, _SOFT, _LINE = "#1f2933", "#5f6c7b", "#dde3ea"
_WRITTEN_CELLS = 14  # numbers in more cells a side cannot be read
_NAMED_CLASSES = 60
_LONG_NAME = 24
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")

Line = tuple[str, Sequence[float]]
"""What a line shows, and its values."""


def transition_plot(table: np.ndarray, names: Sequence[str], first: str, second: str) -> bytes:
    """Draw where pixels of each class went, as shares of it, and return it as PNG.

    ``table`` has shape (classes, classes), rows are classes at first; rows without pixels stay
    blank. ``first`` and ``second`` say what rows and columns are.
    """
    size = len(table)
    totals = table.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        shares = table / totals
    figure, axes = canvas(min(9.5, max(2.2, 0.36 * size + 1.3)))
    axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0, aspect="auto", interpolation="nearest")
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)
    if size <= _WRITTEN_CELLS:
        for row, column in np.argwhere(table > 0).tolist():
            value = float(shares[row, column])
            ink = "white" if value > 0.55 else _INK
            axes.text(column, row, share(value), ha="center", va="center", color=ink, fontsize=9)
        axes.set_xticks(np.arange(size + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(size + 1) - 0.5, minor=True)
        axes.grid(which="minor", color="white", linewidth=2.0)
    step = math.ceil(size / _NAMED_CLASSES)
    places = range(0, size, step)
    short = [
        plain(name if len(name) <= _LONG_NAME else f"{name[: _LONG_NAME - 1]}…") for name in names
    ]
    labels = [short[place] for place in places]
    upright = sum(map(len, labels)) > 110
    axes.set_xticks(places)
    axes.set_xticklabels(labels, rotation=90 if upright else 0, fontsize=9 if size <= 30 else 7)
    axes.set_yticks(places)
    axes.set_yticklabels(labels, fontsize=9 if size <= 30 else 7)
    axes.xaxis.set_label_position("top")
    axes.xaxis.tick_top()
    axes.set_xlabel(second)
    axes.set_ylabel(first)
    return png(figure)


def dates_plot(dates: Sequence[dt.date], lines: Sequence[Line], label: str) -> bytes:
    """Draw one line for each series of shares over the dates, NaN as a gap, and return PNG."""
    figure, axes = canvas(3.3)
    crowded = len(dates) > 100
    for (_, values), colour in zip(lines, COLOURS):
        axes.plot(
            np.array(dates, "datetime64[D]"),
            values,
            color=colour,
            linewidth=1.6,
            marker="" if crowded else "o",
            markersize=3.5,
        )
    _shares(axes, [values for _, values in lines])
    axes.set_ylabel(label)
    _name(axes, lines)
    return png(figure)


def groups_plot(groups: Sequence[str], lines: Sequence[Line]) -> bytes:
    """Draw bars for each group of pairs of dates, one for each measure, and return PNG."""
    figure, axes = canvas(3.0)
    width = 0.8 / len(lines)
    for place, ((_, values), colour) in enumerate(zip(lines, COLOURS)):
        where = np.arange(len(groups)) + (place - (len(lines) - 1) / 2) * width
        heights = np.nan_to_num(np.array(values, np.float64))
        axes.bar(where, heights, 0.92 * width, color=colour)
        if len(groups) <= 8:
            for x, value in zip(where, values):
                if math.isfinite(value):
                    axes.annotate(
                        f"{value:.2f}".replace("-", "−"), (x, max(value, 0.0)), (0, 3),
                        textcoords="offset points", ha="center", fontsize=8, color=_SOFT,
                    )  # fmt: skip
    axes.set_xticks(range(len(groups)))
    axes.set_xticklabels([plain(group) for group in groups], fontsize=9 if len(groups) < 9 else 7)
    _shares(axes, [values for _, values in lines])
    _name(axes, lines)
    return png(figure)


def _shares(axes: Axes, values: Sequence[Sequence[float]]) -> None:
    """Let the axis of shares begin at 0, or below it where kappa does, and end at 1."""
    finite = [value for line in values for value in line if math.isfinite(value)]
    axes.set_ylim(min(0.0, min(finite, default=0.0) - 0.03), 1.02)
    if min(finite, default=0.0) < 0.0:
        axes.axhline(0.0, color=_SOFT, linewidth=0.8)


def _name(axes: Axes, lines: Sequence[Line]) -> None:
    """Write what the lines show above the plot, in their colours."""
    from matplotlib.lines import Line2D

    if len(lines) < 2:
        return
    handles = [Line2D([], [], color=colour, linewidth=3) for _, colour in zip(lines, COLOURS)]
    axes.legend(
        handles, [name for name, _ in lines],
        frameon=False, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncol=4, fontsize=9,
        labelcolor=_INK, borderaxespad=0.0,
    )  # fmt: skip
