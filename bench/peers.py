"""The contenders: this engine and its peers, each one function that takes the same task.

A function gets what it needs into memory and returns ``fit(iterations)``, which runs that many
iterations from the task's first centres and the final assignment, as each program's users do.
Packages are imported inside, so that one that is missing is missing from the table only.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from spectra import Spectra

# An iteration's time is that of a fit with MANY iterations less one with FEW, shared out.
FEW, MANY = 2, 12
DASK_CHUNK = 500_000  # pixels; the fastest of 50,000 to 2,500,000 in a trial


@dataclass(frozen=True)
class Task:
    """``start`` is float64, (classes, bands), less the spectra's origin."""

    paths: tuple[Path, ...]
    spectra: Spectra
    start: np.ndarray
    threads: int


@dataclass(frozen=True)
class Fit:
    """``centres`` are float64, less the origin; ``labels()`` are those of the pixels, from 0.

    ``iteration`` is the mean time of the iterations after FEW, where the program reports each.
    """

    n_iter: int
    centres: np.ndarray
    labels: Callable[[], np.ndarray]
    iteration: float | None = None


Contender = Callable[[Task], Callable[[int], Fit]]


def this_engine(task: Task) -> Callable[[int], Fit]:
    """Fit with this engine's public API; the series is read by the first fit and stays."""
    from clock import IterationClock

    from iikmc.core import cluster, open_series

    series = open_series(task.paths)

    def fit(iterations: int) -> Fit:
        clock = IterationClock()
        model = cluster(
            series,
            init=task.start + task.spectra.origin,
            max_iter=iterations,
            tol=0.0,
            order="seeded",
            threads=task.threads,
            monitor=clock,
        )

        def labels() -> np.ndarray:
            with tempfile.TemporaryDirectory() as folder:
                rasters = model.classify(series, folder, threads=task.threads)
                return read_labels(rasters)

        centres = model.signatures - task.spectra.origin
        return Fit(model.fit.n_iter, centres, labels, clock.iteration(FEW))

    return fit


def read_labels(rasters: list[Path]) -> np.ndarray:
    """Return the labels, from 0, of the valid pixels of label rasters, row by row: uint8."""
    found = []
    for path in rasters:
        with rasterio.open(path) as dataset:
            numbers = dataset.read(1)
        found.append(numbers[numbers > 0] - np.uint8(1))
    return np.concatenate(found)


def scikit_learn_lloyd(task: Task) -> Callable[[int], Fit]:
    """Fit with scikit-learn's KMeans in float32, which is its faster precision."""
    return _scikit_learn(task, "lloyd", np.float32)


def scikit_learn_elkan(task: Task) -> Callable[[int], Fit]:
    """Fit with scikit-learn's KMeans by Elkan's bounds, in float32."""
    return _scikit_learn(task, "elkan", np.float32)


def scikit_learn_float64(task: Task) -> Callable[[int], Fit]:
    """Fit with scikit-learn's KMeans in float64, which is what it makes of integers."""
    return _scikit_learn(task, "lloyd", np.float64)


def _scikit_learn(task: Task, algorithm: str, dtype: type) -> Callable[[int], Fit]:
    from sklearn.cluster import KMeans

    matrix, start = task.spectra.load(dtype), task.start.astype(dtype)

    def fit(iterations: int) -> Fit:
        found = KMeans(
            len(start), init=start, n_init=1, max_iter=iterations, tol=0.0, algorithm=algorithm
        ).fit(matrix)
        return Fit(found.n_iter_, found.cluster_centers_.astype(float), lambda: found.labels_)

    return fit


def scikit_learn_intelex(task: Task) -> Callable[[int], Fit]:
    """Fit with the KMeans of Intel's Extension for scikit-learn, in float32."""
    from sklearnex.cluster import KMeans

    matrix, start = task.spectra.load(), task.start.astype(np.float32)

    def fit(iterations: int) -> Fit:
        found = KMeans(len(start), init=start, n_init=1, max_iter=iterations, tol=0.0).fit(matrix)
        if not hasattr(found, "_onedal_estimator"):
            raise RuntimeError("It fell back to scikit-learn's own KMeans.")
        return Fit(found.n_iter_, found.cluster_centers_.astype(float), lambda: found.labels_)

    return fit


def faiss(task: Task) -> Callable[[int], Fit]:
    """Fit with FAISS's Kmeans on all pixels (its default is a sample), in float32."""
    import faiss

    faiss.omp_set_num_threads(task.threads)
    matrix, start = task.spectra.load(), task.start.astype(np.float32)

    def fit(iterations: int) -> Fit:
        found = faiss.Kmeans(
            matrix.shape[1],
            len(start),
            niter=iterations,
            max_points_per_centroid=len(matrix),
            min_points_per_centroid=1,
        )
        found.train(matrix, init_centroids=start)
        _, nearest = found.index.search(matrix, 1)
        return Fit(iterations, found.centroids.astype(float), lambda: nearest[:, 0])

    return fit


def dask_ml(task: Task) -> Callable[[int], Fit]:
    """Fit with dask-ml's KMeans on the threads of this process, in float32."""
    import dask
    import dask.array
    from dask_ml.cluster import KMeans

    dask.config.set(scheduler="threads", num_workers=task.threads)
    pixels = dask.array.from_array(task.spectra.load(), chunks=(DASK_CHUNK, -1))
    start = task.start.astype(np.float32)

    def fit(iterations: int) -> Fit:
        found = KMeans(len(start), init=start, max_iter=iterations, tol=0.0).fit(pixels)
        labels = np.asarray(found.labels_)
        return Fit(found.n_iter_, np.asarray(found.cluster_centers_, float), lambda: labels)

    return fit


ENGINE = "iikmc"
LLOYD = "scikit-learn Lloyd"
REFERENCE = "scikit-learn Lloyd (float64)"
PEERS: dict[str, Contender] = {
    LLOYD: scikit_learn_lloyd,
    REFERENCE: scikit_learn_float64,
    "scikit-learn Elkan": scikit_learn_elkan,
    "scikit-learn-intelex": scikit_learn_intelex,
    "FAISS": faiss,
    "dask-ml": dask_ml,
}
CONTENDERS: dict[str, Contender] = {ENGINE: this_engine, **PEERS}
