"""Checkpoints: how far a fit has come, saved after each iteration, so that it can go on later."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Union

import numpy as np

from .. import __version__
from .errors import ModelError, OutputError, ParameterError
from .grid import Grid
from .lloyd import LloydState
from .minibatch import BatchState
from .model import ClassModel
from .monitor import Monitor
from .pixels import PixelStore
from .placing import same_grid
from .plan import FitPlan, Strategy
from .series import Series

_FORMAT = "iikmc checkpoint"
_VERSION = 1
_START = f'{{"format": "{_FORMAT}", '.encode("ascii")
_ADVICE = "name another file, or delete it to start anew"

LoopState = Union[LloydState, BatchState]  # Python 3.9 has no other way to say it here


@dataclass(frozen=True)
class SampleFit:
    """What the iterations on a sample came to: its pixels, and the histories."""

    pixels: int
    changed: tuple[float, ...]
    shift: tuple[float, ...]


@dataclass(frozen=True)
class FitState:
    """Where a strategy is: in its first loop or, ``sample`` being done, in the one after it."""

    loop: LoopState
    sample: SampleFit | None = None


class Checkpoint:
    """The file of one fit; see :meth:`open`.

    ``begun`` is where the fit goes on, None if it starts. What the file says besides is who it
    is of: parameters and series, and the series' pixels. Engine, threads and memory are not
    part of that, for they change no bit.
    """

    def __init__(self, path: Path, fit: Mapping[str, Any], grid: Grid) -> None:
        self._path, self._fit, self._grid = path, dict(fit), grid
        self._pixels: dict[str, Any] = {}
        self._known: dict[str, Any] = {}
        self.begun: FitState | None = None

    @classmethod
    def open(cls, path: str | os.PathLike[str], plan: FitPlan, series: Series) -> Checkpoint:
        """Return the checkpoint of a fit; reads the file if there is one, changes nothing.

        Raises ParameterError if it is of another fit, ModelError if it is damaged or no
        checkpoint, OutputError if it could not be saved there.
        """
        place = Path(path).absolute()
        _check_place(place)
        found = cls(place, _fit_words(plan, series), series.grid)
        if os.path.lexists(place):
            found._load(plan.strategy)
        return found

    def check_pixels(self, series: Series, store: PixelStore, monitor: Monitor) -> None:
        """Take what the series' pixels are; ParameterError if the fit began with others."""
        self._pixels = _pixel_words(series, store)
        if self.begun is None:
            return
        self._compare(self._known["pixels"], self._pixels)
        done = len(self.begun.loop.result.changed)
        done += len(self.begun.sample.changed) if self.begun.sample else 0
        monitor.message(f"Going on after {done} iterations, from the checkpoint '{self._path}'.")

    def save(self, state: FitState) -> None:
        """Replace the file by one of this state, whole or not at all; raises OutputError."""
        content = {
            "fit": self._fit,
            "grid": asdict(self._grid),
            "pixels": self._pixels,
            "sample": asdict(state.sample) if state.sample else None,
            "loop": state.loop.as_json(),
        }
        text = json.dumps(content)
        head = {"format": _FORMAT, "version": _VERSION, "digest": _digest(text)}
        aside = _aside(self._path)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with aside.open("wb") as file:
                file.write(f'{json.dumps(head)[:-1]}, "content": {text}}}\n'.encode("ascii"))
                file.flush()
                os.fsync(file.fileno())
            os.replace(aside, self._path)
        except OSError as error:
            with contextlib.suppress(OSError):  # the error that counts is on its way
                aside.unlink()
            raise OutputError(
                f"The checkpoint '{self._path}' cannot be saved ({error.strerror}), the one saved "
                "before stays: make room, or close the programs that use it, and start again."
            ) from error

    def _load(self, strategy: Strategy) -> None:
        try:
            with self._path.open("rb") as file:
                text = file.read(len(_START))
                text += file.read() if text == _START else b""  # else it may be of any size
        except OSError as error:
            raise ModelError(
                f"The checkpoint '{self._path}' cannot be read: {error.strerror}."
            ) from error
        if not text.startswith(_START):
            raise ModelError(f"'{self._path}' is not a checkpoint: {_ADVICE}.")
        try:
            whole = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ModelError(f"{self._damaged} ({error}): {_ADVICE}.") from error
        if whole.get("version") != _VERSION:
            raise ModelError(
                f"The checkpoint '{self._path}' has format version {whole.get('version')}, this "
                f"version reads {_VERSION}: {_ADVICE}."
            )
        # Numbers read from JSON give the same text again.
        if whole.get("digest") != _digest(json.dumps(whole.get("content"))):
            raise ModelError(f"{self._damaged} (its digest is another): {_ADVICE}.")
        self._known = whole["content"]
        self._compare(self._known["fit"], self._fit)
        grid = {**self._known["grid"], "transform": tuple(self._known["grid"]["transform"])}
        if not same_grid(Grid(**grid), self._grid):
            raise ParameterError(
                f"The checkpoint '{self._path}' is of a fit on another grid than the series': "
                f"{_ADVICE}."
            )
        self.begun = _state_of(self._known, strategy)

    @property
    def _damaged(self) -> str:
        return f"The checkpoint '{self._path}' is damaged"

    def _compare(self, found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
        """Raise ParameterError for the first thing in which two fits differ."""
        for what, mine in expected.items():
            if found.get(what) != mine:
                raise ParameterError(
                    f"The checkpoint '{self._path}' is of a fit with {what} {found.get(what)!r}, "
                    f"this one has {mine!r}: {_ADVICE}."
                )


def _fit_words(plan: FitPlan, series: Series) -> dict[str, Any]:
    """Return what a fit is of, as far as parameters and headers tell."""
    words: dict[str, Any] = {"version of iikmc": __version__}
    words.update(asdict(plan.settings(plan.classes)))
    words["first centres of digest"] = _start_digest(plan.start)
    words["number of scenes"] = len(series)
    for rank, scene in enumerate(series.scenes, start=1):
        words[f"scene {rank}"] = f"{scene.name}, {scene.date}"
    words["bands"] = ", ".join(series.band_names)
    words["number of static bands"] = series.static_bands
    masked = any(scene.mask for scene in series.scenes)
    words["masks"] = series.mask_kind.value if masked else "none"
    return words


def _pixel_words(series: Series, store: PixelStore) -> dict[str, Any]:
    """Return what the pixels of a series are: their codes, and of each scene count and sums."""
    words: dict[str, Any] = {}
    for number, grid in enumerate(store.code_grids, start=1):
        words[f"codes of band {number}"] = f"{grid.shift}, {grid.step!r}, {grid.wide}"
    counts = store.scene_pixels.tolist()
    for scene, pixels, statistics in zip(series.scenes, counts, store.scene_statistics):
        sums = [(band.total, band.total_squares) for band in statistics or ()]
        words[f"valid pixels of scene '{scene.name}'"] = pixels
        words[f"values of scene '{scene.name}' of digest"] = _digest(json.dumps(sums))
    return words


def _start_digest(start: ClassModel | np.ndarray | None) -> str | None:
    if start is None:
        return None
    if not isinstance(start, ClassModel):
        return _digest(json.dumps(start.tolist()))
    return _digest(
        json.dumps(
            {
                "centres": start.centres.tolist(),
                "space": asdict(start.space),
                "names": start.names,
                "colours": start.colours,
                "harmonised": start.harmonised.as_json() if start.harmonised else None,
            }
        )
    )


def _state_of(content: Mapping[str, Any], strategy: Strategy) -> FitState:
    """Return where a fit was, from what the digest has shown to be whole."""
    known = content["sample"]
    if known is None:
        return FitState(LloydState.of_json(content["loop"]))
    sample = SampleFit(known["pixels"], tuple(known["changed"]), tuple(known["shift"]))
    kind = BatchState if strategy is Strategy.MINI_BATCH else LloydState
    return FitState(kind.of_json(content["loop"]), sample)


def _check_place(path: Path) -> None:
    """Raise OutputError where a file could not be saved, or its folder made; leaves nothing."""
    if os.path.isdir(path):
        raise OutputError(f"The checkpoint '{path}' is a folder; expected the name of a file.")
    there = next(filter(os.path.lexists, path.parents), path.parent)
    try:
        with tempfile.TemporaryDirectory(prefix=".iikmc-", dir=there) as trial:
            _aside(Path(trial, path.name)).touch()
    except OSError as error:
        raise OutputError(
            f"The checkpoint '{path}' cannot be saved there ({error.strerror}): choose another "
            "place."
        ) from error


def _aside(path: Path) -> Path:
    """Return where a file is written before it takes its place: one name, so none pile up."""
    return path.with_name(f".{path.name}.part")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:16]
