"""A class model: signatures, names, colours and how they were found; kept as JSON."""

from __future__ import annotations

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
from .harmonise import Harmonised
from .monitor import Monitor
from .palette import Colour
from .raster import ClassStyle
from .records import FitRecord, RunRecord
from .scores import FeatureSpace

if TYPE_CHECKING:
    from .series import Series

_FORMAT = "iikmc class model"
_VERSION = 1


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
        return {**content, "fit": self.fit.as_json()}

    @classmethod
    def _of_json(cls, content: dict[str, Any]) -> ClassModel:
        bands, classes = content["bands"], content["classes"]
        _need(1 <= len(bands) <= 64 and 1 <= len(classes) <= 254, "number of bands or classes")
        numbers = [item["number"] for item in classes]
        _need(numbers == list(range(1, len(classes) + 1)), "class numbers")
        centres = np.array([item["centre"] for item in classes], np.float64)
        _need(centres.shape == (len(classes), len(bands)), "centres that do not fit the bands")
        names = [item["name"] for item in (*bands, *classes)]
        _need(all(isinstance(name, str) for name in names), "names")
        space = FeatureSpace(*zip(*(_coding(band) for band in bands)))
        _need(bool(np.isfinite(space.values(centres)).all()), "centres that are not finite")
        fit = FitRecord.of_json(content["fit"], len(classes))
        static = [bool(band.get("static", False)) for band in bands]
        _need(static == sorted(static) and not static[0], "order of static features")
        return cls(
            band_names=tuple(names[: len(bands)]),
            space=space,
            centres=centres,
            names=tuple(names[len(bands) :]),
            colours=tuple(_colour(item["colour"]) for item in classes),
            fit=fit,
            static_bands=sum(static),
            transitions=_transitions(content.get("transitions"), len(classes)),
            harmonised=_harmonised(content.get("harmonised"), len(bands), len(fit.scenes)),
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
