"""A model and scenes to label rasters."""

from __future__ import annotations

import datetime as dt
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .areas import ClassAreas
from .backends.base import Backend, Partials, open_backend, resolve_engine
from .errors import Cancelled, OutputError
from .files import StagedOutputs
from .model import ClassModel
from .monitor import Monitor
from .parallel import ordered_map, thread_count
from .pixels import Block, PixelStore
from .raster import LabelWriter
from .series import Series

SUFFIX = "_classes.tif"


@dataclass(frozen=True)
class ClassifiedScene:
    """One date's classes.

    ``path`` is where the raster will be when its outputs have taken their places, ``staged``
    where it is until then. ``class_pixels`` and ``hectares`` have shape (classes,);
    ``hectares`` is None where the CRS does not say how large a pixel is.
    """

    name: str
    date: dt.date
    path: Path
    staged: Path
    class_pixels: np.ndarray
    hectares: np.ndarray | None


def classify(
    model: ClassModel,
    series: Series,
    folder: str | os.PathLike[str],
    outputs: StagedOutputs,
    *,
    engine: str = "auto",
    threads: int | None = None,
    memory_mb: int | None = None,
    monitor: Monitor | None = None,
) -> list[ClassifiedScene]:
    """Write a raster of class numbers for each scene, oldest first.

    The rasters are staged in ``outputs``, which decides when they appear. Raises ModelError
    where the model has other bands, OutputError where the folder cannot be written.
    """
    monitor = monitor or Monitor()
    model.check_bands(series.band_names)
    name, workers = resolve_engine(engine), thread_count(threads)
    monitor.message(f"Classifying {len(series)} scenes with the engine {name}.")
    check_inputs_stay(series, Path(folder))
    staged = outputs.folder(folder)
    reading = monitor.part(0.0, 0.3)
    store = series.pixels(
        code_grids=model.space.code_grids, threads=workers, memory_mb=memory_mb, monitor=reading
    )
    store.warn_saturated(series.band_names, monitor)
    backend = open_backend(name, workers)
    try:
        backend.prepare(store.blocks, store.scene_count, monitor)
        active = np.ones(len(model.centres), bool)
        partials = backend.step(model.space.scores(model.centres, active, store.scene_count))
        write = _SceneWriter(model, series, store, backend, partials, Path(folder), staged)
        writing = monitor.part(0.4, 1.0)
        with ThreadPoolExecutor(workers) as pool:
            return list(
                ordered_map(
                    pool,
                    write,
                    range(len(series)),
                    writing,
                    ahead=workers,
                    stop=write.stop,
                    poll=lambda: writing.progress(write.share()),
                )
            )
    finally:
        backend.close()


def check_inputs_stay(series: Series, folder: Path) -> None:
    """Raise OutputError where a label raster would take the place of a scene or mask."""
    written = {resolved(folder / f"{scene.name}{SUFFIX}"): scene.name for scene in series.scenes}
    for path in series.paths():
        if resolved(path) in written:
            scene = written[resolved(path)]
            raise OutputError(
                f"'{path}' is an input, and the classes of scene '{scene}' would take its place: "
                "choose another folder."
            )


def resolved(path: str | os.PathLike[str]) -> Path:
    """Return a path without links; GDAL's names of parts of files stay as they are."""
    try:
        return Path(path).resolve()
    except OSError:  # Windows, for names such as NETCDF:"C:/x.nc":band
        return Path(path)


class _SceneWriter:
    """Writes the labels of one scene, on any thread, until ``stop`` is set."""

    def __init__(
        self,
        model: ClassModel,
        series: Series,
        store: PixelStore,
        backend: Backend,
        partials: Partials,
        folder: Path,
        staged: Path,
    ) -> None:
        self._model, self._series, self._backend = model, series, backend
        self._grid, self._partials = store.grid, partials
        self._folder, self._staged = folder, staged
        self._blocks: list[list[tuple[int, Block]]] = [[] for _ in series.scenes]
        for index, block in enumerate(store.blocks):
            self._blocks[block.scene].append((index, block))
        self._written = [0] * len(series)
        self.stop = threading.Event()

    def share(self) -> float:
        """Return the share of all blocks that is written."""
        return sum(self._written) / sum(len(blocks) for blocks in self._blocks)

    def __call__(self, rank: int) -> ClassifiedScene:
        scene = self._series.scenes[rank]
        path = self._staged / f"{scene.name}{SUFFIX}"
        areas = ClassAreas(self._grid, len(self._model.centres))
        with LabelWriter(path, self._grid, self._model.classes, scene.date) as raster:
            for index, block in self._blocks[rank]:
                if self.stop.is_set():
                    raise Cancelled(f"Writing '{path.name}' was stopped.")
                labels = block.spread(self._backend.labels(index) + np.uint8(1))
                raster.write(block.window, labels)
                areas.add(block.window, labels)
                self._written[rank] += 1
        counts = self._partials.counts[rank]
        return ClassifiedScene(
            scene.name, scene.date, self._folder / path.name, path, counts, areas.hectares(counts)
        )
