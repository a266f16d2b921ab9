"""A class model: signatures, names, colours and how they were found; kept as JSON."""

from __future__ import annotations

import datetime as dt
import json
import math
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .codes import CodeGrid
from .errors import ModelError, OutputError
from .harmonisation import Harmonise
from .harmonise import Harmonised
from .monitor import Monitor
from .palette import Colour
from .quality import Quality
from .raster import ClassStyle
from .scores import FeatureSpace, Scaling
from .valid import LeftOut

if TYPE_CHECKING:
    from .series import Series

_FORMAT = "iikmc class model"
_VERSION = 1


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


@dataclass(frozen=True)
class RunRecord:
    """Where and how fast a model was fitted; not kept in the file, for it changes no result."""

    engine: str
    threads: int
    seconds: tuple[tuple[str, float], ...]


@dataclass(frozen=True, eq=False)
class ClassModel:
    """Signatures that classify scenes of the same bands.

    ``centres`` are float64, (classes, bands), in codes from the mid-points of ``space``.
    Class numbers, as in rasters, are rows counted from 1.
    """

    band_names: tuple[str, ...]
    space: FeatureSpace
    centres: np.ndarray
    names: tuple[str, ...]
    colours: tuple[Colour, ...]
    fit: FitRecord
    static_bands: int = 0
    """How many of the bands, the last ones, are the same for every date."""
    harmonised: Harmonised | None = None
    """How the scenes of the fit were brought to one radiometry; None: not at all."""
    transitions: np.ndarray | None = None
    """How often pixels of a sample of places go from class to class once smoothed, int64 (from,
    to), where labels are smoothed along the dates; else None."""
    run: RunRecord | None = field(default=None)

    @property
    def signatures(self) -> np.ndarray:
        """Class centres in the input's units: float64, (classes, bands)."""
        return self.space.values(self.centres)

    @property
    def classes(self) -> tuple[ClassStyle, ...]:
        """Number, name and colour of each class."""
        pairs = zip(self.names, self.colours)
        return tuple(ClassStyle(row, name, rgb) for row, (name, rgb) in enumerate(pairs, start=1))

    def classify(
        self,
        series: Series,
        folder: str | os.PathLike[str],
        *,
        distance: str | os.PathLike[str] | None = None,
        margin: str | os.PathLike[str] | None = None,
        engine: str = "auto",
        threads: int | None = None,
        memory_mb: int | None = None,
        client: object | None = None,
        monitor: Monitor | None = None,
    ) -> list[Path]:
        """Write ``<scene>_classes.tif`` for each scene; see :func:`iikmc.core.classify.classify`.

        ``distance`` and ``margin`` are folders for rasters of the distance to the nearest
        signature and of how much farther the second nearest is. Returns the paths of the classes,
        oldest scene first. ``client`` as in :func:`~.cluster.cluster`.
        """
        from .classify import Folders, classify
        from .files import StagedOutputs

        extra = [None if path is None else Path(path) for path in (distance, margin)]
        with StagedOutputs() as outputs:
            classified = classify(
                self,
                series,
                Folders(Path(folder), *extra),
                outputs,
                engine=engine,
                threads=threads,
                memory_mb=memory_mb,
                client=client,
                monitor=monitor,
            )
        return [item.path for item in classified if item.path is not None]

    def check_series(self, series: Series) -> None:
        """Raise ModelError unless a series has the model's bands and static features."""
        if series.static_bands != self.static_bands:
            names = self.band_names[len(self.band_names) - self.static_bands :]
            wanted = f"the static features {', '.join(names)}" if names else "no static feature"
            advice = "give the model's with STATIC" if names else "leave STATIC empty"
            raise ModelError(
                f"The model has {wanted}, the series has {series.static_bands}: {advice}."
            )
        self.check_bands(series.band_names)

    def check_bands(self, band_names: Sequence[str]) -> None:
        """Raise ModelError unless these are the model's bands: as many, and named alike."""
        if len(band_names) != len(self.band_names):
            raise ModelError(
                f"The model has {len(self.band_names)} bands ({', '.join(self.band_names)}), the "
                f"series {len(band_names)} ({', '.join(band_names)}): pick the model's with BANDS."
            )
        for mine, theirs in zip(self.band_names, band_names):
            generic = mine.startswith("Band ") or theirs.startswith("Band ")
            if not generic and mine.strip().lower() != theirs.strip().lower():
                raise ModelError(
                    f"The model's bands are {', '.join(self.band_names)}, those of the series "
                    f"{', '.join(band_names)}: give them in the model's order, with BANDS and "
                    "STATIC."
                )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model as JSON; raises OutputError."""
        from .files import StagedOutputs

        with StagedOutputs() as outputs:
            self.write(outputs.file(path))

    def write(self, path: Path) -> None:
        """Write the JSON to exactly this path, as a staged output; raises OutputError."""
        text = json.dumps(self._as_json(), indent=1, ensure_ascii=False) + "\n"
        try:
            path.write_bytes(text.encode("utf-8"))
        except OSError as error:
            raise OutputError(f"The model '{path}' cannot be written: {error.strerror}.") from error

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> ClassModel:
        """Read a model; raises ModelError if the file is not one."""
        path = Path(path)
        try:
            content = json.loads(path.read_text("utf-8-sig"))
        except OSError as error:
            raise ModelError(f"The model '{path}' cannot be read: {error.strerror}.") from error
        except (ValueError, RecursionError) as error:
            raise ModelError(
                f"The model '{path}' is not JSON ({error}); give a saved model."
            ) from error
        if not isinstance(content, dict) or content.get("format") != _FORMAT:
            raise ModelError(f"'{path}' is not a class model; give a file saved by this plugin.")
        if content.get("version") != _VERSION:
            raise ModelError(
                f"The model '{path}' has format version {content.get('version')}, this version "
                f"reads {_VERSION}: update the plugin."
            )
        try:
            return cls._of_json(content)
        except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
            raise ModelError(f"The model '{path}' is damaged ({error!r}); save it anew.") from error

    def renamed(self, names: Sequence[str], colours: Sequence[Colour]) -> ClassModel:
        """Return the model with other class names and colours."""
        return replace(self, names=tuple(names), colours=tuple(colours))

    def _as_json(self) -> dict[str, Any]:
        signatures = self.signatures.tolist()
        fit = asdict(self.fit)
        for scene in fit["scenes"]:
            scene["date"] = scene["date"].isoformat()
            reasons = zip(LeftOut, scene["left_out"])
            scene["left_out"] = {reason.value: pixels for reason, pixels in reasons if pixels}
        space = self.space
        seen = len(self.band_names) - self.static_bands
        bands = [
            {
                "name": name,
                "static": place >= seen,
                **asdict(grid),
                "midpoint": middle,
                "unit": unit,
            }
            for place, (name, grid, middle, unit) in enumerate(
                zip(self.band_names, space.code_grids, space.midpoints, space.units)
            )
        ]
        classes = [
            {
                "number": item.number,
                "name": item.name,
                "colour": "#{:02x}{:02x}{:02x}".format(*item.colour),
                "signature": signatures[item.number - 1],
                "centre": self.centres[item.number - 1].tolist(),
            }
            for item in self.classes
        ]
        content = {"format": _FORMAT, "version": _VERSION, "bands": bands, "classes": classes}
        if self.harmonised is not None:
            content["harmonised"] = self.harmonised.as_json()
        if self.transitions is not None:
            content["transitions"] = self.transitions.tolist()
        return {**content, "fit": fit}

    @classmethod
    def _of_json(cls, content: dict[str, Any]) -> ClassModel:
        bands, classes, fit = content["bands"], content["classes"], dict(content["fit"])
        _need(1 <= len(bands) <= 64 and 1 <= len(classes) <= 254, "number of bands or classes")
        numbers = [item["number"] for item in classes]
        _need(numbers == list(range(1, len(classes) + 1)), "class numbers")
        centres = np.array([item["centre"] for item in classes], np.float64)
        _need(centres.shape == (len(classes), len(bands)), "centres that do not fit the bands")
        names = [item["name"] for item in (*bands, *classes)]
        _need(all(isinstance(name, str) for name in names), "names")
        space = FeatureSpace(*zip(*(_coding(band) for band in bands)))
        _need(bool(np.isfinite(space.values(centres)).all()), "centres that are not finite")
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
        widths = {len(scene.class_pixels) for scene in fit["scenes"]}
        _need(widths == {len(classes)}, "pixels of classes")
        for key, kind in (("changed", float), ("shift", float), ("saturated", int)):
            fit[key] = tuple(map(kind, fit[key]))
        _need(len(fit["changed"]) > 0, "iterations")
        if fit.get("held_out") is not None:
            fit["held_out"] = HeldOut(**fit["held_out"])
        if fit.get("quality") is not None:
            fit["quality"] = Quality.of_json(fit["quality"], len(classes))
        static = [bool(band.get("static", False)) for band in bands]
        _need(static == sorted(static) and not static[0], "order of static features")
        return cls(
            band_names=tuple(names[: len(bands)]),
            space=space,
            centres=centres,
            names=tuple(names[len(bands) :]),
            colours=tuple(_colour(item["colour"]) for item in classes),
            fit=FitRecord(**fit),
            static_bands=sum(static),
            transitions=_transitions(content.get("transitions"), len(classes)),
            harmonised=_harmonised(content.get("harmonised"), len(bands), len(fit["scenes"])),
        )


def _harmonised(content: dict[str, Any] | None, bands: int, scenes: int) -> Harmonised | None:
    if content is None:
        return None
    known = Harmonised.of_json(content)
    _need(known.dates.gains.shape == (scenes, bands), "harmonised scenes")
    return known


def _transitions(content: list[list[int]] | None, classes: int) -> np.ndarray | None:
    if content is None:
        return None
    counts = np.array(content, np.int64)
    _need(counts.shape == (classes, classes) and bool((counts >= 0).all()), "transitions")
    return counts


def _need(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(f"bad {what}")


def _coding(band: dict[str, Any]) -> tuple[CodeGrid, int, float]:
    """Return a band's code grid, mid-point and unit; exact scores need them within bounds."""
    grid, midpoint = CodeGrid(band["shift"], band["step"], band["wide"]), band["midpoint"]
    unit = float(band.get("unit", 1.0))
    _need(type(grid.shift) is int and type(grid.wide) is bool, "code grid")
    _need(2.0**-149 <= grid.step <= 2.0**128 and math.frexp(grid.step)[0] == 0.5, "code step")
    _need(type(midpoint) is int and grid.lowest <= midpoint <= grid.highest, "mid-point")
    _need(2.0**-149 <= unit <= 2.0**160, "unit")
    return grid, midpoint, unit


def _colour(text: str) -> Colour:
    _need(re.fullmatch("#[0-9a-fA-F]{6}", text) is not None, "colour")
    red, green, blue = (int(text[place : place + 2], 16) for place in (1, 3, 5))
    return red, green, blue
