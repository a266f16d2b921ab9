"""Class rasters from workers: each scene is put together and written by one of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..areas import ClassAreas
from ..classify import ClassifiedScene, SceneTargets
from ..monitor import Monitor
from ..pixels import Labelled, PixelStore
from ..reading import scene_windows
from ..scene_rasters import Measure
from ..series import Series
from . import plain
from .store import RemoteStore

# Scenes whose tiles are on their way at a time, for each thread there is.
_SCENES_PER_THREAD = 2


def write_scenes(
    store: PixelStore,
    series: Series,
    labelled: Labelled,
    targets: Sequence[SceneTargets],
    measure: Measure,
    monitor: Monitor,
) -> list[ClassifiedScene]:
    """Let workers write the rasters of all scenes, a few at a time.

    Workers have to see the folders as this process does. Raises OutputError, naming the worker,
    where one cannot write, Cancelled from the monitor, when no task is left under way.
    """
    assert isinstance(store, RemoteStore)
    link, scores = store.link, plain.scores_out(labelled.scores)
    measuring = plain.measure_out(measure) if measure.kinds else None
    at_once = max(1, _SCENES_PER_THREAD * link.threads)
    written: list[ClassifiedScene] = []
    for first in range(0, len(targets), at_once):
        group = range(first, min(first + at_once, len(targets)))
        under_way: deque[tuple[int, Any, list[Any]]] = deque()
        for rank in group:
            given = [(part.future,) for part in store.parts]
            tiles = link.spread("tiles", given, scores, labelled.smoothing, rank, measuring)
            rasters = plain.rasters_out(targets[rank].rasters)
            places = [(w.row, w.column, w.height, w.width) for w in scene_windows(series, rank)]
            counts = labelled.partials.counts[rank]
            # Tiles are held, too: a scheduler that is to cancel what nobody wants fails, and
            # drops the client.
            under_way.append((rank, link.submit("write", rasters, places, counts, tiles), tiles))
        while under_way:
            rank, future, _tiles = under_way.popleft()
            found = link.value(future, monitor)
            written.append(targets[rank].written(labelled.partials.counts[rank], found))
            monitor.progress(len(written) / len(targets))
    return written


def scene_areas(
    store: PixelStore, series: Series, labelled: Labelled, monitor: Monitor
) -> list[ClassAreas]:
    """Return the areas of the classes of each scene."""
    assert isinstance(store, RemoteStore)
    classes = labelled.scores.classes
    areas = [ClassAreas(series.grid, classes) for _ in series.scenes]
    if not areas[0].by_row:
        return areas
    link, scores = store.link, plain.scores_out(labelled.scores)
    given = [(part.future,) for part in store.parts]
    futures = link.spread("class_rows", given, scores, labelled.smoothing)
    for rows in link.values(futures, monitor):
        for rank, first, counts in rows:
            areas[rank].add_rows(first, counts)
    return areas


def smoothed(
    store: PixelStore,
    labelled: Labelled,
    inertia_per_pixel: float,
    costs: np.ndarray,
    monitor: Monitor,
) -> Labelled:
    """Let workers smooth labels along the dates; see :func:`~.timelines.smoothed`."""
    assert isinstance(store, RemoteStore)
    smoothing: tuple[float, Any] = inertia_per_pixel, costs
    scores = plain.scores_out(labelled.scores)
    given = [(part.future,) for part in store.parts]
    futures = store.link.spread("class_counts", given, scores, smoothing)
    (counts,) = store.link.total(futures, monitor)
    partials = replace(labelled.partials, counts=counts)
    return Labelled(labelled.scores, (), partials, smoothing)
