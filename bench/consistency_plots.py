"""Plots of how well labels stay."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot as plt

SHOWN_DATES = 9


def draw_scores(path: Path, title: str, outcomes: Sequence) -> None:
    """Draw agreement, kappa and, where it is known, agreement with the ground, way by way."""
    names = [outcome.way for outcome in outcomes]
    bars = {
        "same class": [outcome.agreement for outcome in outcomes],
        "Cohen's kappa": [outcome.kappa for outcome in outcomes],
    }
    if outcomes[0].truth is not None:
        bars["as on the ground"] = [outcome.truth for outcome in outcomes]
    figure, axes = plt.subplots(figsize=(9, 0.45 * len(names) + 1.2))
    places, height = np.arange(len(names)), 0.8 / len(bars)
    for number, (label, values) in enumerate(bars.items()):
        axes.barh(places + number * height, values, height, label=label)
    axes.set_yticks(places + 0.4 - height / 2, names)
    axes.invert_yaxis()
    axes.set_xlim(0.0, 1.0)
    axes.set_title(title)
    axes.legend(loc="lower right")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def draw_maps(path: Path, scenes: Sequence[Path], labels: dict[str, np.ndarray]) -> None:
    """Draw the classes of some dates, one row for each way."""
    ranks = np.linspace(0, len(scenes) - 1, min(SHOWN_DATES, len(scenes))).round().astype(int)
    figure, axes = plt.subplots(
        len(labels), len(ranks), figsize=(1.6 * len(ranks), 1.8 * len(labels)), squeeze=False
    )
    for row, (way, found) in zip(axes, labels.items()):
        for place, rank in zip(row, ranks):
            shown = np.ma.masked_equal(found[rank], 0)
            place.imshow(shown, vmin=1, vmax=max(6, int(found.max())), cmap="viridis")
            place.set_xticks([])
            place.set_yticks([])
            place.set_title(scenes[rank].stem[-10:], fontsize=7)
        row[0].set_ylabel(way, fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)
