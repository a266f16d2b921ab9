"""The report's pictures: plots, where matplotlib is there to draw them, and small maps."""

from __future__ import annotations

import io
import math
import struct
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .page import fine_share, number
from .palette import Colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INCHES = 10.9
_DOTS_PER_INCH = 200  # twice the size on the page, for sharp screens and print
_INK, _SOFT, _LINE = "#1f2933", "#5f6c7b", "#dde3ea"
_NUMBERED_LINES = 20  # more numbers at the ends of lines cannot be read
_SEPARATED_BARS = 80
_DATE_LABELS = 30


def available() -> bool:
    """Return whether matplotlib can be imported."""
    try:
        import matplotlib.backends.backend_agg
        import matplotlib.figure  # noqa: F401
    except Exception:  # absent, or at odds with the NumPy there is
        return False
    return True


def signature_plot(
    signatures: np.ndarray, bands: Sequence[str], colours: Sequence[Colour]
) -> bytes:
    """Draw one line per class over the bands, and return it as PNG.

    ``signatures`` has shape (classes, bands), in the input's units; rows of NaN are left out.
    """
    figure, axes = canvas(3.9)
    places = np.arange(len(bands))
    crowded = len(signatures) > _NUMBERED_LINES
    for values, colour in zip(signatures, _unit(colours)):
        _line(axes, places, values, colour, 1.2 if crowded else 2.2)
    axes.set_xticks(places)
    small = 7 if len(bands) > 24 else 9
    tilted = sum(len(band) for band in bands) > 110
    axes.set_xticklabels(
        [plain(band) for band in bands],
        rotation=90 if tilted else 0,
        fontsize=small,
    )
    axes.set_xlim(-0.35, len(bands) - 0.65)
    axes.set_ylabel("Class centre (the input's units)")
    axes.grid(axis="x", color=_LINE, linewidth=0.8)
    if not crowded:
        _number_lines(axes, signatures[:, -1])
    return png(figure)


def area_plot(
    areas: np.ndarray, dates: Sequence[str], colours: Sequence[Colour], unit: str
) -> bytes:
    """Draw the class areas of each date, (dates, classes), stacked, and return them as PNG."""
    figure, axes = canvas(3.9)
    edges = np.arange(len(dates) + 1) - 0.5
    steps = np.concatenate([areas, areas[-1:]]).T
    axes.stackplot(edges, steps, colors=_unit(colours), step="post", linewidth=0)
    if len(dates) <= _SEPARATED_BARS:
        gap = {"color": "white", "linewidth": 1.0 if len(dates) > 30 else 2.0}
        axes.vlines(edges[1:-1], 0, areas.sum(axis=1).max(), **gap)
    # A single bar as wide as the page would look like a background.
    axes.set_xlim(min(-0.5, len(dates) / 2 - 4), max(len(dates) - 0.5, len(dates) / 2 + 3))
    axes.set_ylim(bottom=0)
    axes.set_ylabel(unit)
    labelled = range(0, len(dates), math.ceil(len(dates) / _DATE_LABELS))
    axes.set_xticks(labelled)
    upright = len(labelled) > 10
    axes.set_xticklabels([dates[place] for place in labelled], rotation=90 if upright else 0)
    return png(figure)


def convergence_plot(
    changed: Sequence[float], shift: Sequence[float] | None, tolerance: float
) -> bytes:
    """Draw the changed fraction of each iteration on a log axis, and return it as PNG.

    ``shift`` is given where the centre shift decides when to stop. Zeros, which a log axis
    does not have, lie as open circles on its floor, a decade below everything else.
    """
    figure, axes = canvas(3.1)
    lines = [("share of pixels that changed class", np.array(changed), "#0072b2")]
    if shift is not None:
        lines.append(("mean shift of the centres", np.array(shift), "#d55e00"))
    drawn = np.concatenate([values for _, values, _ in lines] + [np.array([tolerance])])
    positive = drawn[drawn > 0]
    floor = 10.0 ** (np.floor(np.log10(positive.min())) - 1) if positive.size else 1e-3
    axes.set_yscale("log")
    for label, values, colour in lines:
        places = np.arange(1, len(values) + 1)
        axes.plot(places, np.maximum(values, floor), color=colour, linewidth=1.8, label=label)
        zero = values <= 0
        axes.plot(places[~zero], values[~zero], "o", color=colour, markersize=4)
        if zero.any():
            circles = {"markersize": 6, "markerfacecolor": "white", "clip_on": False, "zorder": 5}
            axes.plot(
                places[zero], np.full(zero.sum(), floor), "o", color=colour, label="none", **circles
            )
    if tolerance > 0:
        axes.axhline(tolerance, color=_SOFT, linewidth=1.2, linestyle="--", label="tolerance")
    axes.set_ylim(floor, max(1.5, 1.5 * positive.max()) if positive.size else 1.5)
    axes.set_xlim(0.5, max(len(changed), 2) + 0.5)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("Iteration")
    axes.yaxis.set_major_formatter(lambda value, _: fine_share(value))
    axes.yaxis.set_minor_formatter(lambda value, _: "")
    axes.set_ylabel("Share (log scale)")
    axes.legend(
        frameon=False, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncol=4, fontsize=9,
        labelcolor=_INK, borderaxespad=0.0,
    )  # fmt: skip
    return png(figure)


def label_png(labels: np.ndarray, colours: Sequence[Colour]) -> bytes:
    """Encode labels, uint8 (height, width), as an indexed PNG; class 0 is transparent.

    ``colours`` are those of classes 1 and up. PNG (ISO/IEC 15948), colour type 3.
    """
    height, width = labels.shape
    entries = np.zeros((int(labels.max(initial=0)) + 1, 3), np.uint8)
    given = np.array(colours, np.uint8).reshape(-1, 3)[: len(entries) - 1]
    entries[1 : 1 + len(given)] = given
    rows = np.zeros((height, width + 1), np.uint8)  # a row begins with its filter, 0 for none
    rows[:, 1:] = labels
    chunks = (
        (b"IHDR", struct.pack(">2I5B", width, height, 8, 3, 0, 0, 0)),
        (b"PLTE", entries.tobytes()),
        (b"tRNS", b"\0"),
        (b"IDAT", zlib.compress(rows.tobytes(), 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def canvas(height: float) -> tuple[Figure, Axes]:
    # Not pyplot: it keeps figures for the whole process and wants the main thread.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_INCHES, height), facecolor="white", constrained_layout=True)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(facecolor="white")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_LINE)
    axes.tick_params(which="both", length=0, labelsize=9, labelcolor=_SOFT)
    axes.yaxis.set_major_formatter(lambda value, _: number(value))
    axes.grid(axis="y", color=_LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set_color(_SOFT)
        axis.label.set_fontsize(9)
    return figure, axes


def png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DOTS_PER_INCH, facecolor="white")
    return buffer.getvalue()


def _line(
    axes: Axes, places: np.ndarray, values: np.ndarray, colour: tuple[float, ...], width: float
) -> None:
    style = {"marker": "o", "markersize": 2.2 * width, "solid_capstyle": "round"}
    if 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 0.7:
        # Light lines get an edge, or white paper would swallow them.
        axes.plot(places, values, color="#8a8a8a", linewidth=width + 1.0, **style)
    axes.plot(places, values, color=colour, linewidth=width, **style)


def _number_lines(axes: Axes, ends: np.ndarray) -> None:
    """Write class numbers at the ends of their lines, moved apart where these are close."""
    low, high = axes.get_ylim()
    gap, last = (high - low) * 0.045, -np.inf
    for row in np.argsort(ends, kind="stable"):
        if np.isfinite(ends[row]):
            last = max(float(ends[row]), last + gap)
            place = (len(axes.get_xticks()) - 1, last)
            axes.annotate(
                str(row + 1), place, (9, 0), textcoords="offset points", va="center",
                fontsize=9, fontweight="bold", color=_INK, annotation_clip=False,
            )  # fmt: skip


def _unit(colours: Sequence[Colour]) -> list[tuple[float, ...]]:
    return [tuple(value / 255 for value in colour) for colour in colours]


def plain(text: str) -> str:
    """Return text in which matplotlib finds no formula."""
    return text.replace("$", r"\$")
