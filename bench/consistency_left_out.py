"""Dates left out of the fit: how far the model gives them the classes they have when in it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio

from iikmc.core import ClassModel, Series, cluster
from iikmc.core.apply import open_for

DATES = 12


@dataclass(frozen=True)
class LeftOut:
    """A date, and the share of its pixels that keep their class."""

    way: str
    date: str
    same: float

    def __str__(self) -> str:
        return f"{self.way.ljust(34)}  {self.date}  {self.same:9.4f}"


def left_out_dates(
    paths: Sequence[Path],
    open_some: Callable[[Sequence[int]], Series],
    masks: Sequence[Path],
    classes: int,
) -> list[LeftOut]:
    """Leave out twelve dates, one at a time, for each way to harmonise.

    ``open_some`` opens the scenes of some ranks. Each model is saved, read, and given the date.
    """
    ranks = np.linspace(0, len(paths) - 1, DATES).round().astype(int).tolist()
    found = []
    for way in ("standardise", "invariant"):
        with tempfile.TemporaryDirectory() as folder:
            with open_some(range(len(paths))) as series:
                model = cluster(series, classes=classes, harmonise=way)
                inside = model.classify(series, Path(folder) / "all")
            for rank in ranks:
                others = [other for other in range(len(paths)) if other != rank]
                kept = Path(folder) / f"{rank}.json"
                with open_some(others) as series:
                    cluster(series, classes=classes, harmonise=way).save(kept)
                model = ClassModel.load(kept)
                with open_for(model, [paths[rank]], masks=[masks[rank]], mask_kind="scl") as series:
                    (new,) = model.classify(series, Path(folder) / str(rank))
                labels, expected = _read(new), _read(inside[rank])
                same = float((labels == expected)[expected > 0].mean())
                found.append(LeftOut(way, paths[rank].stem[-10:], same))
    return found


def _read(path: Path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        return dataset.read(1)
