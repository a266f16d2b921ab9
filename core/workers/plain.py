"""What travels to workers and back: numbers, text and arrays.

The client's package may have another name than the workers' (QGIS names it after its folder),
so none of its classes travel.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np

from ..backends.base import Partials, Yardstick
from ..codes import CodeGrid, CodeStatistics, ValueRange
from ..grid import Grid
from ..harmonisation import SceneQuantiles
from ..opening import open_series
from ..places import Area, Extent
from ..raster.styles import ClassStyle
from ..scene_rasters import Measure, SceneRasters
from ..scene_space import SceneSpace
from ..scores import FeatureSpace, Scores
from ..series import Series

PlainScores = tuple[str, int, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def scores_out(scores: Scores) -> PlainScores:
    """Return scores with a key that says whether two are the same.

    Where all scenes have the same, they are there once.
    """
    scenes = len(scores.q)
    alike = bool((scores.q == scores.q[:1]).all() and (scores.n == scores.n[:1]).all())
    q, n = (scores.q[:1], scores.n[:1]) if alike else (scores.q, scores.n)
    digest = hashlib.sha256()
    for array in (q, n, scores.midpoints, scores.scales):
        digest.update(repr(array.shape).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest(), scenes, q, n, scores.midpoints, scores.scales


def scores_in(plain: PlainScores) -> Scores:
    """Return the scores that :func:`scores_out` was given."""
    _, scenes, q, n, midpoints, scales = plain
    if len(q) < scenes:
        q, n = np.repeat(q, scenes, axis=0), np.repeat(n, scenes, axis=0)
    return Scores(q, n, midpoints, scales)


def partials_in(plain: tuple[np.ndarray, np.ndarray, int]) -> Partials:
    """Return the integer sums of a step."""
    sums, counts, changed = plain
    return Partials(sums, counts, int(changed))


def yardstick_out(yardstick: Yardstick) -> tuple[Any, ...]:
    """Return the fields of a yardstick."""
    return (
        yardstick.signatures,
        yardstick.steps,
        yardstick.midpoints,
        yardstick.distance_scale,
        yardstick.silhouette_scale,
    )


def grids_out(grids: Sequence[CodeGrid]) -> list[tuple[Any, ...]]:
    """Return the fields of code grids."""
    return [astuple(grid) for grid in grids]


def grids_in(plain: Sequence[tuple[Any, ...]]) -> tuple[CodeGrid, ...]:
    """Return the code grids that :func:`grids_out` was given."""
    return tuple(CodeGrid(*fields) for fields in plain)


def statistics_out(found: Sequence[CodeStatistics] | None) -> list[tuple[Any, ...]] | None:
    """Return the fields of each band's statistics."""
    return None if found is None else [astuple(band) for band in found]


def statistics_in(plain: Sequence[tuple[Any, ...]] | None) -> tuple[CodeStatistics, ...] | None:
    """Return the statistics that :func:`statistics_out` was given."""
    return None if plain is None else tuple(CodeStatistics(*band) for band in plain)


def quantiles_out(found: SceneQuantiles) -> tuple[Any, ...]:
    """Return the fields of a scene's quantiles."""
    return found.pixels, found.codes, found.resolutions


def quantiles_in(plain: tuple[Any, ...]) -> SceneQuantiles:
    """Return the quantiles that :func:`quantiles_out` was given."""
    return SceneQuantiles(*plain)


def ranges_out(ranges: Sequence[ValueRange]) -> list[tuple[Any, ...]]:
    """Return the fields of the bands' ranges."""
    return [(item.minimum, item.maximum, item.integers, item.histogram) for item in ranges]


def ranges_in(plain: Sequence[tuple[Any, ...]]) -> list[ValueRange]:
    """Return the ranges that :func:`ranges_out` was given."""
    return [ValueRange(*fields) for fields in plain]


def measure_out(measure: Measure) -> tuple[Any, ...]:
    """Return the fields of what measures a scene's pixels."""
    space, features = measure.space, measure.space.features
    known = grids_out(features.code_grids), features.midpoints, features.units
    return known, space.gains, space.offsets, measure.centres, measure.kinds


def measure_in(plain: tuple[Any, ...]) -> Measure:
    """Return the measure that :func:`measure_out` was given."""
    (grids, midpoints, units), gains, offsets, centres, kinds = plain
    features = FeatureSpace(grids_in(grids), tuple(midpoints), tuple(units))
    return Measure(SceneSpace(features, gains, offsets), centres, tuple(kinds))


def rasters_out(rasters: SceneRasters) -> tuple[Any, ...]:
    """Return the fields of what says where a scene's rasters go."""
    paths = {kind: str(path) for kind, path in rasters.paths.items()}
    classes = [(item.number, item.name, tuple(item.colour)) for item in rasters.classes]
    return paths, astuple(rasters.grid), classes, rasters.date.isoformat()


def rasters_in(plain: tuple[Any, ...]) -> SceneRasters:
    """Return the rasters that :func:`rasters_out` was given."""
    paths, grid, classes, date = plain
    return SceneRasters(
        {kind: Path(path) for kind, path in paths.items()},
        Grid(*grid),
        [ClassStyle(*item) for item in classes],
        dt.date.fromisoformat(date),
    )


def opened(recipe: dict[str, Any]) -> Series:
    """Open a series by its :attr:`~.series.Series.recipe`."""
    given = dict(recipe)
    if given["extent"] is not None:
        given["extent"] = Extent(*given["extent"])
    if given["area"] is not None:
        geometries, crs = given["area"]
        given["area"] = Area(tuple(geometries), crs)
    return open_series(**given)


def likeness(series: Series) -> tuple[Any, ...]:
    """Return what two views of one series have to agree in."""
    grid = series.grid
    return (
        (grid.width, grid.height, *grid.transform),
        series.static_dtypes,
        tuple(
            (
                scene.name,
                scene.date.isoformat(),
                scene.dtypes,
                scene.block_height,
                scene.block_width,
                scene.mask is not None,
            )
            for scene in series.scenes
        ),
    )
