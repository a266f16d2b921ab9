"""What the user has: scenes of one place at several dates, checked to fit together."""

from __future__ import annotations

import datetime as dt
import itertools
import os
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

import numpy as np

from . import dates as scene_dates
from . import raster
from .bands import choose_bands
from .codes import CodeGrid
from .errors import (
    DateError,
    GridError,
    MaskError,
    ParameterError,
    SeriesError,
    refuse_unbuilt,
)
from .grid import Grid
from .masks import MaskKind, check_mask_order, check_mask_type, kind_hint, mask_band
from .monitor import Monitor
from .pixels import PixelStore
from .reading import read_pixels

# Rasters written by different programs differ in the last digits of their transform.
_GRID_TOLERANCE = 1e-3  # of a pixel


@dataclass(frozen=True)
class MaskSource:
    """The band of a file that says which pixels of a scene are valid."""

    path: str
    band: int
    nodata: float | None


@dataclass(frozen=True)
class Scene:
    """One date: a raster, the bands used of it (numbers from 1), and its mask."""

    name: str
    path: str
    date: dt.date
    bands: tuple[int, ...]
    band_names: tuple[str, ...]
    dtypes: tuple[str, ...]
    nodata: tuple[float | None, ...]
    has_mask: bool
    mask: MaskSource | None
    block_height: int
    block_width: int


class Series:
    """Scenes on one grid, oldest first (then by name), and their pixels once they are read.

    Made by :func:`open_series`. The pixels read for one call stay for the next;
    ``close`` (or leaving the ``with`` block) frees them.
    """

    def __init__(
        self,
        scenes: Sequence[Scene],
        grid: Grid,
        band_names: Sequence[str],
        mask_kind: MaskKind,
        notes: Sequence[str] = (),
    ) -> None:
        self.scenes = tuple(scenes)
        self.grid = grid
        self.band_names = tuple(band_names)
        self.mask_kind = mask_kind
        self.notes = tuple(notes)
        """What may not be meant as it was given, in sentences; a fit passes them on as warnings."""
        self._store: PixelStore | None = None

    def __enter__(self) -> Series:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self.scenes)

    def pixels(
        self,
        *,
        code_grids: Sequence[CodeGrid] | None = None,
        threads: int | None = None,
        memory_mb: int | None = None,
        monitor: Monitor | None = None,
    ) -> PixelStore:
        """Return the valid pixels as codes, read at the first call and kept.

        ``code_grids``, one per band, are those of a model; without them they come from the
        series itself. ``memory_mb`` bounds the memory for pixels that are read now (None or 0:
        half of what is free); the rest goes to a scratch file. Raises RasterError if a file
        breaks and Cancelled from the monitor.
        """
        wanted = tuple(code_grids) if code_grids is not None else None
        if self._store is None or not self._store.serves(wanted):
            self.close()
            self._store = read_pixels(self, wanted, threads, memory_mb, monitor or Monitor())
        return self._store

    def close(self) -> None:
        """Free the pixels, and the scratch file if there is one."""
        if self._store is not None:
            self._store.close()
        self._store = None


def open_series(
    paths: Sequence[str | os.PathLike[str]],
    *,
    bands: Sequence[int | str] | None = None,
    masks: Sequence[str | os.PathLike[str] | None] | None = None,
    mask_kind: str | MaskKind = "valid",
    dates: Sequence[str | dt.date | None] | None = None,
    static: Sequence[str | os.PathLike[str]] | None = None,
    extent: Sequence[float] | None = None,
    area: object | None = None,
    grid: str = "same",
) -> Series:
    """Describe a series of scenes; only headers are read.

    Parameters
    ----------
    paths
        One multiband raster per date, in any order.
    bands
        Numbers (from 1) or names of the bands to use; None for all.
    masks, mask_kind
        One mask per scene, in the order of ``paths``, and how to read them: valid (where not
        0), masked (where not 0), qa_pixel, scl or udm2.
    dates
        ISO dates in the order of ``paths``; None, as a whole or for a scene: from metadata or
        the file name.
    static, extent, area, grid
        Not available in this version, but for their defaults.

    Raises
    ------
    SeriesError
        Or one of its kinds (GridError, BandError, MaskError, DateError), naming the scene.
    RasterError
        A file cannot be opened.
    """
    refuse_unbuilt(static=static, extent=extent, area=area)
    if grid != "same":
        raise ParameterError(f"grid is {grid!r}; this version knows 'same' only.")
    if isinstance(paths, (str, os.PathLike)):
        raise ParameterError("paths is one path; expected a list of them.")
    if isinstance(bands, str):
        raise ParameterError("bands is one text; expected a list of numbers or names.")
    if not paths:
        raise SeriesError("There is no scene; give at least one raster.")
    kind = MaskKind.of(mask_kind)
    for given, what in ((masks, "masks"), (dates, "dates")):
        if given is not None and len(given) != len(paths):
            error = MaskError if what == "masks" else DateError
            raise error(
                f"There are {len(given)} {what} for {len(paths)} scenes; give one for each, "
                "in the order of the scenes."
            )
    infos = [raster.describe(path) for path in paths]
    names = [Path(info.path).stem for info in infos]
    first = infos[0]
    for info, name in zip(infos[1:], names[1:]):
        _check_same_grid(
            f"Scene '{name}'", info.grid, f"the first scene ('{names[0]}')", first.grid
        )
    chosen = choose_bands(infos, names, bands)
    if masks is not None and None not in masks:
        check_mask_order(names, [Path(mask).stem for mask in masks if mask is not None])
    scenes = []
    for index, (info, name, numbers) in enumerate(zip(infos, names, chosen)):
        day = dates[index] if dates is not None else None
        date = (
            scene_dates.find_date(name, info.date_tags, info.file_date_tag)
            if day is None
            else _given_date(day, name)
        )
        mask_path = masks[index] if masks is not None else None
        scenes.append(
            Scene(
                name=name,
                path=info.path,
                date=date,
                bands=numbers,
                band_names=tuple(info.band_names[number - 1] for number in numbers),
                dtypes=tuple(info.dtypes[number - 1] for number in numbers),
                nodata=tuple(info.nodata[number - 1] for number in numbers),
                # An alpha band that is asked for by name or number is data, not a mask.
                has_mask=info.has_mask and not any(info.alpha[number - 1] for number in numbers),
                mask=None if mask_path is None else _mask_source(mask_path, kind, name, info.grid),
                block_height=info.block_height,
                block_width=info.block_width,
            )
        )
    scenes = _named_apart(scenes)
    band_names = [
        next(filter(None, names), f"Band {number}")
        for number, *names in zip(scenes[0].bands, *(scene.band_names for scene in scenes))
    ]
    notes = _notes(scenes, infos, kind, bands is None)
    return Series(scenes, first.grid, band_names, kind, notes)


def _notes(
    scenes: Sequence[Scene], infos: Sequence[raster.RasterInfo], kind: MaskKind, all_bands: bool
) -> list[str]:
    """Return what is allowed, but likely not what was meant."""
    notes = []
    for info in infos:
        if all_bands and any(info.alpha):
            number = info.alpha.index(True) + 1
            notes.append(
                f"Band {number} of '{Path(info.path).stem}' is declared as transparency, so it "
                "was taken as a mask; name the bands with BANDS if it is data."
            )
            break
    hints = [kind_hint(scene.mask.path) for scene in scenes if scene.mask]
    suggested = next(filter(None, hints), kind)
    if suggested is not kind:
        notes.append(
            f"A mask is named like {suggested.value}, but masks are read as '{kind.value}': check "
            "MASK_KIND."
        )
    paths = [scene.path for scene in scenes]
    twice = next((path for path in paths if paths.count(path) > 1), None)
    if twice:
        notes.append(f"'{twice}' is given more than once, so its pixels count more than once.")
    return notes


def _given_date(value: str | dt.date, scene: str) -> dt.date:
    if isinstance(value, dt.datetime):
        return value.date()
    if isinstance(value, dt.date):
        return value
    try:
        return scene_dates.parse_iso(str(value))
    except DateError as error:
        raise DateError(f"Scene '{scene}' cannot have that date: {error}") from None


def _check_same_grid(what: str, grid: Grid, other: str, expected: Grid) -> None:
    """Raise GridError naming the first thing that differs."""
    differs = None
    if not raster.same_crs(grid.crs, expected.crs):
        differs = ("the CRS", raster.crs_label(grid.crs), raster.crs_label(expected.crs))
    else:
        width, height = expected.pixel_size
        tolerance = _GRID_TOLERANCE * min(width, height)
        # A pixel size is off when it moves the far edge by a share of a pixel.
        size_tolerance = tolerance / max(expected.width, expected.height)
        linear = (0, 1, 3, 4)
        if any(abs(grid.transform[i] - expected.transform[i]) > size_tolerance for i in linear):
            differs = ("pixels of", _pair(grid.pixel_size), _pair(expected.pixel_size))
            if differs[1] == differs[2]:
                differs = ("rows and columns along", _axes(grid), _axes(expected))
        elif any(abs(grid.transform[i] - expected.transform[i]) > tolerance for i in (2, 5)):
            differs = ("its origin at", _pair(grid.origin), _pair(expected.origin))
        elif (grid.width, grid.height) != (expected.width, expected.height):
            differs = (
                "a size of",
                f"{grid.width} × {grid.height} pixels",
                f"{expected.width} × {expected.height}",
            )
    if differs:
        kind, found, wanted = differs
        raise GridError(
            f"{what} has {kind} {found}, {other} {wanted}: bring all to one grid first."
        )


def _pair(values: tuple[float, float]) -> str:
    return f"{values[0]:.12g}, {values[1]:.12g}"


def _axes(grid: Grid) -> str:
    a, b, _, d, e, _ = grid.transform
    return f"{a:.12g}, {d:.12g} and {b:.12g}, {e:.12g}"


def _mask_source(
    path: str | os.PathLike[str], kind: MaskKind, scene: str, grid: Grid
) -> MaskSource:
    info = raster.describe(path)
    name = Path(info.path).stem
    _check_same_grid(f"Mask '{name}'", info.grid, f"its scene ('{scene}')", grid)
    band = mask_band(kind, name, info.band_names)
    check_mask_type(kind, name, np.dtype(info.dtypes[band - 1]))
    return MaskSource(info.path, band, info.nodata[band - 1])


def _named_apart(scenes: Sequence[Scene]) -> list[Scene]:
    """Return the scenes oldest first, with names that no file system takes for one another."""
    scenes = sorted(scenes, key=lambda scene: (scene.date, scene.name, scene.path))
    shared = Counter(_folded(scene.name) for scene in scenes)
    names = [
        scene.name if shared[_folded(scene.name)] == 1 else f"{scene.name}_{scene.date}"
        for scene in scenes
    ]
    shared = Counter(map(_folded, names))
    taken = {name for name, count in shared.items() if count == 1}
    for index, name in enumerate(names):
        if shared[_folded(name)] > 1:
            numbered = (f"{name}_{number}" for number in itertools.count(1))
            names[index] = next(found for found in numbered if _folded(found) not in taken)
            taken.add(_folded(names[index]))
    named = [replace(scene, name=name) for scene, name in zip(scenes, names)]
    return sorted(named, key=lambda scene: (scene.date, scene.name))


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
