"""A model and scenes to label rasters, and to rasters of how sure the labels are."""

from __future__ import annotations

import datetime as dt
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .areas import ClassAreas
from .backends.base import open_backend, resolve_engine
from .errors import OutputError
from .files import StagedOutputs
from .grid import Grid
from .harmonise import tell_fallbacks
from .model import ClassModel
from .monitor import Monitor
from .parallel import thread_count
from .pixels import Labelled, PixelStore
from .scene_rasters import Measure, SceneRasters
from .scene_space import SceneSpace
from .scene_writing import write_scenes as write_rasters
from .series import Scene, Series
from .smoothing import transition_costs
from .timelines import Evidence, smoothed

SUFFIX = "_classes.tif"


@dataclass(frozen=True)
class Folders:
    """Where rasters go: labels, and optionally distances and margins."""

    labels: Path
    distance: Path | None = None
    margin: Path | None = None

    def targets(self, scene: str) -> dict[str, Path]:
        """Return the paths of a scene's rasters by what they hold, labels first."""
        places = {"classes": self.labels, "distance": self.distance, "margin": self.margin}
        return {
            kind: folder / f"{scene}_{kind}.tif"
            for kind, folder in places.items()
            if folder is not None
        }


@dataclass(frozen=True)
class ClassifiedScene:
    """One date's classes.

    ``path`` is where the raster will be when its outputs have taken their places, ``staged``
    where it is until then; both None for a scene that was only fitted. ``class_pixels`` and
    ``hectares`` have shape (classes,); ``hectares`` is None where the CRS does not say how large
    a pixel is. ``distance`` and ``margin`` are paths, if these were asked for.
    """

    name: str
    date: dt.date
    path: Path | None
    staged: Path | None
    class_pixels: np.ndarray
    hectares: np.ndarray | None
    distance: Path | None = None
    margin: Path | None = None


@dataclass(frozen=True)
class SceneTargets:
    """A scene's rasters: ``paths`` are where they will be, by what they hold, ``rasters`` where
    they are until then."""

    name: str
    paths: dict[str, Path]
    rasters: SceneRasters

    def written(self, class_pixels: np.ndarray, hectares: np.ndarray | None) -> ClassifiedScene:
        """Return the scene once its rasters are there."""
        return ClassifiedScene(
            name=self.name,
            date=self.rasters.date,
            path=self.paths["classes"],
            staged=Path(self.rasters.paths["classes"]),
            class_pixels=class_pixels,
            hectares=hectares,
            distance=self.paths.get("distance"),
            margin=self.paths.get("margin"),
        )


def classify(
    model: ClassModel,
    series: Series,
    folders: Folders,
    outputs: StagedOutputs,
    *,
    engine: str = "auto",
    threads: int | None = None,
    memory_mb: int | None = None,
    client: object = None,
    monitor: Monitor | None = None,
) -> list[ClassifiedScene]:
    """Write a raster of class numbers for each scene, oldest first, and its measures.

    These are float32, NaN for nodata: the distance to the nearest signature and how much
    farther the second nearest is, in the input's units, or in those of the model's scaling. The
    rasters are staged in ``outputs``, which decides when they appear. Raises ModelError where
    the model has other bands, OutputError where a folder cannot be written.
    """
    monitor = monitor or Monitor()
    model.check_series(series)
    name, workers = resolve_engine(engine, series.most_pixels, client), thread_count(threads)
    monitor.message(f"Classifying {len(series)} scenes with the engine {name}.")
    check_inputs_stay(series, folders)
    for folder in (folders.labels, folders.distance, folders.margin):
        if folder is not None:
            outputs.folder(folder)
    reading = monitor.part(0.0, 0.3)
    store = series.pixels(
        code_grids=model.space.code_grids,
        threads=workers,
        memory_mb=memory_mb,
        engine=name,
        client=client,
        monitor=reading,
    )
    store.warn_saturated(series.band_names, monitor)
    space = scene_space(model, series, store, workers, monitor)
    labelled = _labelled(model, space, store, name, workers, monitor)
    if model.transitions is not None:
        monitor.message("Smoothing along the dates.")
        inertia = model.fit.inertia / max(model.fit.valid_pixels, 1)
        costs = transition_costs(model.transitions, model.fit.settings.temporal_strength)
        smoothing = monitor.part(0.3, 0.4)
        if store.link is not None:
            from .workers import writing as by_workers  # only where Dask is

            labelled = by_workers.smoothed(store, labelled, inertia, costs, smoothing)
        else:
            evidence = Evidence(labelled.scores, inertia)
            labelled = smoothed(store, labelled, evidence, costs, workers, smoothing)
    targets = [_targets(scene, model, series.grid, folders, outputs) for scene in series.scenes]
    measure = Measure(space, model.centres, targets[0].rasters.kinds)
    writing = monitor.part(0.4, 1.0)
    if store.link is not None:
        from .workers.writing import write_scenes  # only where Dask is

        return write_scenes(store, series, labelled, targets, measure, writing)
    rasters = [target.rasters for target in targets]
    hectares = write_rasters(rasters, store, labelled, measure, workers, writing)
    return [
        target.written(counts, found)
        for target, counts, found in zip(targets, labelled.partials.counts, hectares)
    ]


def _targets(
    scene: Scene, model: ClassModel, grid: Grid, folders: Folders, outputs: StagedOutputs
) -> SceneTargets:
    paths = folders.targets(scene.name)
    staged = {kind: outputs.file(path) for kind, path in paths.items()}
    return SceneTargets(scene.name, paths, SceneRasters(staged, grid, model.classes, scene.date))


def scene_space(
    model: ClassModel, series: Series, store: PixelStore, threads: int, monitor: Monitor
) -> SceneSpace:
    """Return where the scenes of a store lie among a model's classes.

    Where the model's own scenes were harmonised, these are brought to the same reference.
    """
    if model.harmonised is None:
        return SceneSpace.plain(model.space, store.scene_count)
    found = store.harmonised(model.harmonised)
    if found is None:
        bands = len(model.band_names)
        static = range(bands - model.static_bands, bands)
        monitor.message("Harmonising the dates.")
        found = model.harmonised.bring(store, fixed=static, threads=threads, monitor=monitor)
        tell_fallbacks([scene.name for scene in series.scenes], found, monitor)
        store.keep_harmonised(model.harmonised, found)
    return SceneSpace.of(model.space, store.scene_count, found)


def _labelled(
    model: ClassModel,
    space: SceneSpace,
    store: PixelStore,
    engine: str,
    threads: int,
    monitor: Monitor,
) -> Labelled:
    """Return the labels of all blocks: those of the fit that has just been, or new ones."""
    active = np.ones(len(model.centres), bool)
    scores = space.scores(model.centres, active)
    known = store.labelled(scores)
    if known is not None:
        return known
    store.forget_labels()
    backend = open_backend(engine, threads, store.link)
    try:
        backend.prepare(store.blocks, store.scene_count, monitor)
        return store.keep_labels(scores, backend, backend.step(scores))
    finally:
        backend.close()


def fitted_scenes(
    model: ClassModel,
    series: Series,
    *,
    engine: str,
    threads: int | None,
    client: object = None,
    monitor: Monitor,
) -> list[ClassifiedScene]:
    """Return what a model's classes are in the scenes of a series, without writing rasters."""
    name, workers = resolve_engine(engine, series.most_pixels, client), thread_count(threads)
    store = series.pixels(
        code_grids=model.space.code_grids,
        threads=workers,
        engine=name,
        client=client,
        monitor=monitor,
    )
    space = scene_space(model, series, store, workers, monitor)
    labelled = _labelled(model, space, store, name, workers, monitor)
    if store.link is not None:
        from .workers.writing import scene_areas  # only where Dask is

        areas = scene_areas(store, series, labelled, monitor)
    else:
        areas = [ClassAreas(series.grid, len(model.centres)) for _ in series.scenes]
        for block, labels in zip(store.blocks, labelled.labels):
            monitor.check()
            areas[block.scene].add(block.window, block.spread(labels + np.uint8(1)))
    return [
        ClassifiedScene(scene.name, scene.date, None, None, counts, area.hectares(counts))
        for scene, counts, area in zip(series.scenes, labelled.partials.counts, areas)
    ]


def check_inputs_stay(series: Series, folders: Folders) -> None:
    """Raise OutputError where a raster would take the place of an input."""
    written = {
        resolved(path): (kind, scene.name)
        for scene in series.scenes
        for kind, path in folders.targets(scene.name).items()
    }
    for path in series.paths():
        if resolved(path) in written:
            kind, scene = written[resolved(path)]
            raise OutputError(
                f"'{path}' is an input, and the {kind} of scene '{scene}' would take its place: "
                "choose another folder."
            )


def resolved(path: str | os.PathLike[str]) -> Path:
    """Return a path without links; GDAL's names of parts of files stay as they are."""
    try:
        return Path(path).resolve()
    except OSError:  # Windows, for names such as NETCDF:"C:/x.nc":band
        return Path(path)
