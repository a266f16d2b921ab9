"""Opening a series: headers are read, and what does not fit together is named."""

from __future__ import annotations

import datetime as dt
import itertools
import os
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from . import dates as scene_dates
from . import raster
from .bands import check_band_count, choose_bands
from .errors import BandError, DateError, MaskError, ParameterError, SeriesError
from .grid import Grid
from .masks import MaskKind, check_mask_order, check_mask_type, kind_hint, mask_bands
from .places import Area, Extent
from .placing import RESAMPLE, GridRule, check_overlap, check_same_grid, place, series_grid
from .raster import RasterInfo, Source, geometries_in
from .series import Scene, Series, StaticSource


def open_series(
    paths: Sequence[str | os.PathLike[str]],
    *,
    bands: Sequence[int | str] | None = None,
    masks: Sequence[str | os.PathLike[str] | None] | None = None,
    mask_kind: str | MaskKind = "valid",
    dates: Sequence[str | dt.date | None] | None = None,
    static: Sequence[str | os.PathLike[str]] | None = None,
    extent: Sequence[float] | Extent | None = None,
    area: Any = None,
    grid: str | GridRule = "same",
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
    static
        Rasters whose bands are features of every date alike (height, slope, coherence); brought
        to the scenes' grid where they have another.
    extent
        Work inside this only: west, south, east, north in the first scene's CRS, or an
        :class:`~.places.Extent`.
    area
        Work inside these polygons only: as :meth:`.places.Area.of` takes them.
    grid
        same: scenes must share one grid; first: they are resampled to that of the first of
        ``paths``; common: as first, cut to the ground that all have in common.

    Raises
    ------
    SeriesError
        Or one of its kinds (GridError, BandError, MaskError, DateError), naming the scene.
    RasterError
        A file cannot be opened.
    """
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
    rule = _rule(grid)
    box = None if extent is None else Extent.of(extent)
    polygons = None if area is None else Area.of(area)
    target = series_grid(rule, [info.grid for info in infos], names, box, polygons)
    chosen = choose_bands(infos, names, bands)
    if masks is not None and None not in masks:
        check_mask_order(names, [Path(mask).stem for mask in masks if mask is not None])
    scenes = []
    for index, (info, name, numbers) in enumerate(zip(infos, names, chosen)):
        date, origin = _date_of(info, name, dates[index] if dates is not None else None)
        mask_path = masks[index] if masks is not None else None
        scenes.append(
            Scene(
                name=name,
                date=date,
                date_origin=origin,
                source=_source(info, numbers, target),
                band_names=tuple(info.band_names[number - 1] for number in numbers),
                dtypes=tuple(info.dtypes[number - 1] for number in numbers),
                mask=None
                if mask_path is None
                else _mask(mask_path, kind, name, info.grid, target, rule),
                block_height=info.block_height,
                block_width=info.block_width,
            )
        )
    scenes = _named_apart(scenes)
    band_names = [
        next(filter(None, names), f"Band {number}")
        for number, *names in zip(scenes[0].source.bands, *(scene.band_names for scene in scenes))
    ]
    features = [_static(path, target) for path in static or ()]
    check_band_count(len(band_names) + sum(len(item.names) for item in features))
    shapes = geometries_in(polygons.geometries, polygons.crs, target.crs) if polygons else ()
    notes = _notes(scenes, infos, kind, bands is None)
    series = Series(scenes, target, band_names, kind, notes, features, shapes)
    series.recipe = {
        "paths": [_everywhere(path) for path in paths],
        "bands": None if bands is None else list(bands),
        "masks": None if masks is None else [mask and _everywhere(mask) for mask in masks],
        "mask_kind": kind.value,
        "dates": None if dates is None else [day and str(day)[:10] for day in dates],
        "static": None if static is None else [_everywhere(path) for path in static],
        "extent": None if box is None else (*box.bounds, box.crs),
        "area": None if polygons is None else (list(polygons.geometries), polygons.crs),
        "grid": rule.value,
    }
    return series


def _everywhere(path: str | os.PathLike[str]) -> str:
    """Return a path that means the same in other folders; GDAL's own names stay as they are."""
    text = os.fspath(path)
    return os.path.abspath(text) if os.path.exists(text) else text


def _rule(grid: str | GridRule) -> GridRule:
    try:
        return GridRule(grid)
    except ValueError:
        names = ", ".join(member.value for member in GridRule)
        raise ParameterError(f"grid is {grid!r}; expected one of {names}.") from None


def _source(info: RasterInfo, numbers: tuple[int, ...], target: Grid) -> Source:
    return Source(
        path=info.path,
        bands=numbers,
        nodata=tuple(info.nodata[number - 1] for number in numbers),
        # An alpha band that is asked for by name or number is data, not a mask.
        own_mask=info.has_mask and not any(info.alpha[number - 1] for number in numbers),
        placement=place(info.grid, target),
    )


def _static(path: str | os.PathLike[str], target: Grid) -> StaticSource:
    info = raster.describe(path)
    stem = Path(info.path).stem
    check_overlap(f"The static raster '{stem}'", info.grid, target, "the scenes")
    numbers = tuple(number for number, alpha in enumerate(info.alpha, start=1) if not alpha)
    dtypes = tuple(info.dtypes[number - 1] for number in numbers)
    if not numbers or any(dtype.startswith("complex") for dtype in dtypes):
        raise BandError(f"The static raster '{stem}' has no band of real numbers; give one.")
    unnamed = [stem] if len(numbers) == 1 else [f"{stem} {number}" for number in numbers]
    names = (info.band_names[number - 1] or name for number, name in zip(numbers, unnamed))
    return StaticSource(_source(info, numbers, target), tuple(names), dtypes)


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
    warped = sum(scene.source.placement.warped for scene in scenes)
    if warped:
        notes.append(
            f"{warped} of {len(scenes)} scenes lie on another grid and are resampled to that of "
            f"'{Path(infos[0].path).stem}'."
        )
    paths = [scene.path for scene in scenes]
    twice = next((path for path in paths if paths.count(path) > 1), None)
    if twice:
        notes.append(f"'{twice}' is given more than once, so its pixels count more than once.")
    return notes


def _date_of(info: RasterInfo, scene: str, given: str | dt.date | None) -> tuple[dt.date, str]:
    """Return a scene's date, and where it was found."""
    if given is None:
        return scene_dates.find_date(scene, info.date_tags, info.file_date_tag)
    if isinstance(given, dt.datetime):
        return given.date(), "as given"
    if isinstance(given, dt.date):
        return given, "as given"
    try:
        return scene_dates.parse_iso(str(given)), "as given"
    except DateError as error:
        raise DateError(f"Scene '{scene}' cannot have that date: {error}") from None


def _mask(
    path: str | os.PathLike[str],
    kind: MaskKind,
    scene: str,
    grid: Grid,
    target: Grid,
    rule: GridRule,
) -> Source:
    info = raster.describe(path)
    name = Path(info.path).stem
    if rule is GridRule.SAME:
        check_same_grid(f"Mask '{name}'", info.grid, f"its scene ('{scene}')", grid, RESAMPLE)
    else:
        check_overlap(f"Mask '{name}'", info.grid, grid, f"its scene ('{scene}')")
    bands = mask_bands(kind, name, info.band_names, info.alpha)
    for band in bands:
        check_mask_type(kind, name, np.dtype(info.dtypes[band - 1]))
    return Source(
        path=info.path,
        bands=bands,
        nodata=tuple(info.nodata[band - 1] for band in bands),
        own_mask=False,
        placement=place(info.grid, target),
        smooth=False,
    )


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
