"""What is kept of a fit: what was asked for, how it went, and what the scenes were."""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict, dataclass
from typing import Any

from .harmonisation import Harmonise
from .quality import Quality
from .scores import Scaling
from .valid import LeftOut


@dataclass(frozen=True)
class FitSettings:
    """What was asked of a fit, in the words of the Python API."""

    classes: int
    init: str
    strategy: str
    sample_fraction: float
    max_iter: int
    stop_rule: str
    tol: float
    empty: str
    order: str
    seed: int
    scaling: str = "none"
    harmonise: str = "none"
    harmonise_reference: str | None = None
    temporal: str = "none"
    temporal_strength: float = 1.0


@dataclass(frozen=True)
class SceneRecord:
    """A scene of the fit: its valid pixels, and how many of them each class has.

    ``left_out`` counts the other pixels for each reason of :class:`~.valid.LeftOut`.
    """

    name: str
    date: dt.date
    valid_pixels: int
    class_pixels: tuple[int, ...]
    left_out: tuple[int, ...] = (0,) * len(LeftOut)


@dataclass(frozen=True)
class HeldOut:
    """Pixels that no mini-batch had, and the sum of their squared distances to the signatures."""

    pixels: int
    inertia: float


@dataclass(frozen=True)
class FitRecord:
    """How a fit went.

    ``changed`` and ``shift`` have an entry for each iteration: the share of pixels that took
    another class, and the mean way of the centres as a share of the series' spread. The first
    ``sample_iterations`` of them saw a sample of ``sample_pixels`` pixels only.
    ``inertia`` is the sum of squared distances to the signatures, in squared input units, or in
    those of the scaling.
    ``saturated`` counts, for each band, the values outside the range of its codes. ``quality``
    is None where fewer than two classes have pixels, and in models of older files. For
    mini-batches, an iteration is a batch, and ``held_out`` says how well the signatures fit
    pixels they were not trained on; it is None otherwise, and where all were needed. ``masks`` is
    the kind of the masks.
    """

    settings: FitSettings
    n_iter: int
    sample_iterations: int
    sample_pixels: int
    converged: bool
    changed: tuple[float, ...]
    shift: tuple[float, ...]
    inertia: float
    saturated: tuple[int, ...]
    scenes: tuple[SceneRecord, ...]
    quality: Quality | None = None
    held_out: HeldOut | None = None
    masks: str = "none"

    @property
    def changed_fraction(self) -> float:
        """Share of pixels that took another class in the last iteration."""
        return self.changed[-1]

    @property
    def valid_pixels(self) -> int:
        """Number of valid pixels of all scenes."""
        return sum(scene.valid_pixels for scene in self.scenes)

    @property
    def class_pixels(self) -> tuple[int, ...]:
        """Number of pixels of each class in all scenes."""
        return tuple(sum(counts) for counts in zip(*(scene.class_pixels for scene in self.scenes)))

    def as_json(self) -> dict[str, Any]:
        """Return plain lists, numbers and text."""
        content = asdict(self)
        for scene in content["scenes"]:
            scene["date"] = scene["date"].isoformat()
            reasons = zip(LeftOut, scene["left_out"])
            scene["left_out"] = {reason.value: pixels for reason, pixels in reasons if pixels}
        return content

    @classmethod
    def of_json(cls, content: dict[str, Any], classes: int) -> FitRecord:
        """Return what was kept as JSON; raises an error of some kind if it is damaged."""
        fit = dict(content)
        fit["settings"] = FitSettings(**fit["settings"])
        Scaling(fit["settings"].scaling)
        Harmonise(fit["settings"].harmonise)
        fit["scenes"] = tuple(
            SceneRecord(
                scene["name"],
                dt.date.fromisoformat(scene["date"]),
                int(scene["valid_pixels"]),
                tuple(map(int, scene["class_pixels"])),
                tuple(int(scene.get("left_out", {}).get(reason.value, 0)) for reason in LeftOut),
            )
            for scene in fit["scenes"]
        )
        for key, kind in (("changed", float), ("shift", float), ("saturated", int)):
            fit[key] = tuple(map(kind, fit[key]))
        if {len(scene.class_pixels) for scene in fit["scenes"]} != {classes} or not fit["changed"]:
            raise ValueError("bad pixels of classes, or iterations")
        if fit.get("held_out") is not None:
            fit["held_out"] = HeldOut(**fit["held_out"])
        if fit.get("quality") is not None:
            fit["quality"] = Quality.of_json(fit["quality"], classes)
        return cls(**fit)


@dataclass(frozen=True)
class RunRecord:
    """Where and how fast a model was fitted; not kept in the file, for it changes no result."""

    engine: str
    threads: int
    seconds: tuple[tuple[str, float], ...]
