"""Fit a class model to a series: read, seed, iterate, number the classes, assign for good."""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass, field

import numpy as np

from .backends.base import open_backend, resolve_engine
from .checkpoint import Checkpoint
from .harmonisation import Harmonise
from .harmonise import Harmonised, tell_fallbacks
from .harmonise import harmonise as harmonise_dates
from .lloyd import EmptyRule, LloydResult
from .model import ClassModel
from .monitor import Monitor
from .palette import Colour, colours
from .parallel import thread_count
from .pixels import PixelStore
from .plan import FitPlan, Init, Order, Temporal
from .quality import measure_quality
from .records import FitRecord, RunRecord, SceneRecord
from .sampling import canonical_sample
from .scene_space import SceneSpace
from .scores import FeatureSpace
from .seeding import check_distinct, kmeans_plus_plus, minmax_midpoints, smallest_spectra
from .series import Series
from .strategies import run_strategy
from .timelines import Evidence, transitions


def cluster(
    series: Series,
    *,
    classes: int = 8,
    init: str | ClassModel | np.ndarray = "minmax",
    strategy: str = "full",
    sample_fraction: float = 0.02,
    max_iter: int = 100,
    stop_rule: str = "changed",
    tol: float = 1e-4,
    empty: str = "keep",
    order: str = "brightness",
    harmonise: str = "none",
    harmonise_reference: str | None = None,
    scaling: str = "none",
    temporal: str = "none",
    temporal_strength: float = 1.0,
    engine: str = "auto",
    threads: int | None = None,
    memory_mb: int | None = None,
    seed: int = 0,
    client: object | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    monitor: Monitor | None = None,
) -> ClassModel:
    """Cluster all valid pixels of a series together (inter-image k-means).

    Parameters
    ----------
    classes
        Number of classes, 2 to 254; that of ``init`` where it brings centres.
    init
        minmax (Han & Lee 2024), k-means++, a ClassModel (its numbers, names and colours are
        kept and ``order`` is not used), or an array (classes, bands) in the input's units.
    strategy
        full: every pixel in every iteration. progressive: on a sample first (at most half of the
        iterations), then on all pixels. sample: on a sample alone. mini-batch: on a sample, then
        on batches of its size; ``max_iter`` bounds the passes over all pixels.
    sample_fraction
        Share of the pixels that a sample, or a mini-batch, has.
    max_iter, stop_rule, tol
        Stop after ``max_iter`` updates, or when the share of pixels that changed class
        (changed), or the mean way of the centres as a share of the series' spread (shift), is
        at most ``tol``.
    empty
        What becomes of a class without a pixel: keep, relocate (to the pixel farthest from all
        centres) or drop.
    order
        brightness: class 1 has the lowest mean over the bands that are not static; size: class 1
        has most pixels; seeded: as the first centres came.
    engine, threads
        Backend (auto: the best there is) and threads (None: all cores). Neither changes a bit
        of the result.
    seed
        For k-means++, samples, mini-batches and the sample of the silhouette.
    memory_mb
        Memory for pixels; what does not fit goes to a scratch file in the temporary folder. None
        or 0: half of what is free. Changes no bit of the result either.
    scaling
        Before distances are taken, divide each band by its range (minmax) or by its standard
        deviation (zscore) over the series. Signatures stay in the input's units.
    harmonise
        Bring the dates to one radiometry first: standardise (each date's median and spread) or
        invariant (lines through pixels that did not change); none is the paper's.
    harmonise_reference
        A date of the series (ISO) that the others are brought to; None: their own median.
    temporal, temporal_strength
        markov: when the model classifies a series, labels are smoothed along each pixel's dates
        (hidden Markov model; transitions learnt in this series, taken so many times): single
        flips go, lasting changes stay.
    client
        For the engine dask: a distributed.Client, a scheduler's address or the file that it wrote;
        None: threads of this process. Workers read the files themselves and keep the pixels.
    checkpoint
        A file in which the fit is saved after each iteration. Where it is there already, the fit
        goes on from it, with the bits it would have had; with other parameters (but for engine,
        threads, memory_mb and client) or another series it is refused. It stays when the fit is
        done, so that the same call then only assigns the pixels.

    Raises
    ------
    ParameterError, ModelError, EngineError
        Before any pixel is read; ParameterError also where the series has fewer distinct
        spectra than classes, or where its pixels are not those of the checkpoint.
    OutputError
        The checkpoint, or a scratch file, cannot be written.
    SeriesError, RasterError
        No pixel is valid; a file breaks.
    Cancelled
        The monitor said so.
    """
    plan = FitPlan.of(
        classes=classes,
        init=init,
        strategy=strategy,
        sample_fraction=sample_fraction,
        max_iter=max_iter,
        stop_rule=stop_rule,
        tol=tol,
        empty=empty,
        order=order,
        scaling=scaling,
        harmonise=harmonise,
        harmonise_reference=harmonise_reference,
        temporal=temporal,
        temporal_strength=temporal_strength,
        seed=seed,
        bands=len(series.band_names),
    )
    reference = series.rank_of(plan.harmonise_reference)
    if isinstance(plan.start, ClassModel):
        plan.start.check_series(series)
    backend_name = resolve_engine(engine, series.most_pixels, client)
    workers = thread_count(threads)
    kept = Checkpoint.open(checkpoint, plan, series) if checkpoint is not None else None
    monitor = monitor or Monitor()
    clock = _Clock()

    monitor.message(f"Engine: {backend_name}, threads: {workers}.")
    if engine == "auto" and backend_name == "numpy":
        monitor.message("With the Python package numba this would be many times faster.")
    grids = plan.start.space.code_grids if isinstance(plan.start, ClassModel) else None
    store = series.pixels(
        code_grids=grids,
        threads=workers,
        memory_mb=memory_mb,
        engine=backend_name,
        client=client,
        spare=plan.spare,
        monitor=monitor.part(0.0, 0.4),
    )
    clock.lap("reading")
    if kept is not None:
        kept.check_pixels(series, store, monitor)
    store.warn_saturated(series.band_names, monitor)
    harmonised = _harmonised(plan, series, store, reference, workers, monitor)
    begun = kept.begun.loop.result.centres if kept is not None and kept.begun else None
    space, start, sample = _seeds(plan, store, harmonised, begun, monitor)
    clock.lap("seeding")

    store.forget_labels()
    backend = open_backend(backend_name, workers, store.link)
    try:
        fitted = run_strategy(
            plan, backend, store, space, start, sample, workers, monitor.part(0.4, 0.95), kept
        )
        result = fitted.last
        class_pixels = result.class_pixels
        if plan.order is Order.SIZE:  # those of the last iteration are before its update
            now = backend.step(space.scores(result.centres, result.active))
            class_pixels = now.counts.sum(axis=0)
        rows = _numbering(plan, space.features, result, class_pixels, series.static_bands)
        centres = result.centres[rows]
        scores = space.scores(centres, np.ones(len(rows), bool))
        final = backend.step(scores)
        store.keep_labels(scores, backend, final)
        clock.lap("fitting")
        judging = monitor.part(0.95, 1.0)
        quality = measure_quality(
            backend, store, space, centres, final, plan.seed, workers, judging
        )
        clock.lap("measuring quality")
    finally:
        backend.close()
    counts = final.counts.sum(axis=0)
    inertia = space.inertia(centres, final, store.scene_statistics)
    monitor.progress(1.0)
    if not result.converged:
        further = "" if kept is None else ", with another checkpoint, for this one is of this limit"
        monitor.warning(
            f"Not converged after {len(fitted.changed)} iterations: {fitted.changed[-1]:.4%} of "
            f"the pixels still took another class. Raise MAX_ITERATIONS to go on{further}."
        )
    unused = int(np.count_nonzero(counts == 0))
    if unused:
        monitor.warning(f"{unused} of {len(rows)} classes have no pixel: fewer classes would do.")
    followed = None
    if plan.temporal is Temporal.MARKOV:
        evidence = Evidence(scores, inertia / store.pixels)
        followed = transitions(store, evidence, plan.seed, workers, monitor.part(1.0, 1.0))
    names, rgb = _names_and_colours(plan, rows)
    return ClassModel(
        band_names=series.band_names,
        space=space.features,
        centres=centres,
        names=names,
        colours=rgb,
        static_bands=series.static_bands,
        harmonised=harmonised,
        transitions=followed,
        fit=FitRecord(
            settings=plan.settings(len(start)),
            masks=series.mask_kind.value if any(s.mask for s in series.scenes) else "none",
            n_iter=len(fitted.changed),
            sample_iterations=fitted.sample_iterations,
            sample_pixels=fitted.sample_pixels,
            converged=result.converged,
            changed=fitted.changed,
            shift=fitted.shift,
            inertia=inertia,
            saturated=store.saturated,
            scenes=tuple(
                SceneRecord(
                    scene.name, scene.date, int(row.sum()), tuple(row.tolist()), tuple(out.tolist())
                )
                for scene, row, out in zip(series.scenes, final.counts, store.left_out)
            ),
            quality=quality,
            held_out=fitted.held_out,
        ),
        run=RunRecord(backend_name, workers, clock.laps),
    )


@dataclass
class _Clock:
    """Seconds by step."""

    laps: tuple[tuple[str, float], ...] = ()
    _since: float = field(default_factory=time.perf_counter)

    def lap(self, step: str) -> None:
        now = time.perf_counter()
        self.laps += ((step, now - self._since),)
        self._since = now


def _harmonised(
    plan: FitPlan,
    series: Series,
    store: PixelStore,
    reference: int | None,
    threads: int,
    monitor: Monitor,
) -> Harmonised | None:
    """Bring the scenes to one radiometry: a model's, where it is to start from, or their own."""
    if plan.harmonise is Harmonise.NONE:
        return None
    monitor.message("Harmonising the dates.")
    bands = len(store.code_grids)
    static = range(bands - series.static_bands, bands)
    known = plan.start.harmonised if isinstance(plan.start, ClassModel) else None
    if known is not None:
        found = known.bring(store, fixed=static, threads=threads, monitor=monitor)
    else:
        found = harmonise_dates(
            plan.harmonise,
            store,
            store.scene_quantiles,
            itself=reference,
            fixed=static,
            seed=plan.seed,
            threads=threads,
            monitor=monitor,
        )
    tell_fallbacks([scene.name for scene in series.scenes], found, monitor)
    store.keep_harmonised(found, found)
    return found


def _seeds(
    plan: FitPlan,
    store: PixelStore,
    harmonised: Harmonised | None,
    begun: np.ndarray | None,
    monitor: Monitor,
) -> tuple[SceneSpace, np.ndarray, np.ndarray]:
    """Return the space distances are measured in, the first centres, and the sample.

    The centres are those of a fit that has ``begun``, if it has.
    """
    start = plan.start if isinstance(plan.start, ClassModel) else None
    features = start.space if start else FeatureSpace.of(store.code_grids, store.statistics)
    space = SceneSpace.of(features, store.scene_count, harmonised)
    if start is None:
        check_distinct(store, plan.classes, monitor)
        space = space.scaled(store, plan.scaling, harmonised)
    sample = np.empty((len(store.code_grids), 0))
    if plan.init is Init.KMEANS_PLUS_PLUS or plan.rules.empty is EmptyRule.RELOCATE:
        sample = space.positions(*canonical_sample(store, plan.seed))
    if begun is not None:
        return space, begun, sample
    if start is not None:
        return space, start.centres, sample
    if isinstance(plan.start, np.ndarray):
        return space, space.features.centres(plan.start), sample
    if plan.init is Init.MINMAX:
        return space, minmax_midpoints(space.spreads(store), plan.classes), sample

    def spectra() -> np.ndarray:  # the sample may hold all but one of the classes
        return space.positions(smallest_spectra(store, 2 * plan.classes, monitor).T, 0).T

    centres = kmeans_plus_plus(space.weights, sample, plan.classes, plan.seed, spectra)
    return space, centres, sample


def _numbering(
    plan: FitPlan,
    space: FeatureSpace,
    result: LloydResult,
    class_pixels: np.ndarray,
    static_bands: int,
) -> np.ndarray:
    """Return the rows of the centres that stay, in the order of their class numbers."""
    rows = np.flatnonzero(result.active).tolist()
    if isinstance(plan.start, ClassModel) or plan.order is Order.SEEDED:
        return np.array(rows)
    if plan.order is Order.SIZE:
        return np.array(sorted(rows, key=lambda row: (-int(class_pixels[row]), row)))
    signatures = space.values(result.centres)
    seen = signatures.shape[1] - static_bands
    brightness = [math.fsum(signature) for signature in signatures[:, :seen].tolist()]
    return np.array(sorted(rows, key=lambda row: (brightness[row], row)))


def _names_and_colours(
    plan: FitPlan, rows: np.ndarray
) -> tuple[tuple[str, ...], tuple[Colour, ...]]:
    if isinstance(plan.start, ClassModel):
        model = plan.start
        return tuple(model.names[row] for row in rows), tuple(model.colours[row] for row in rows)
    return tuple(f"Class {number}" for number in range(1, len(rows) + 1)), colours(len(rows))
