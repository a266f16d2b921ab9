"""Inter-image k-means of an array as a scikit-learn estimator (scikit-learn is optional)."""

# ruff: noqa: N803 (samples are X in scikit-learn's interface)

from __future__ import annotations

import contextlib
import functools
import math
import numbers
import warnings
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from .arrays import by_block, real_codes, stored
from .backends.base import Backend, open_backend, resolve_engine
from .backends.numpy import assign
from .errors import ParameterError
from .monitor import Monitor
from .parallel import thread_count
from .pixels import PixelStore
from .plan import MOST_CLASSES, FitPlan, Init
from .sampling import canonical_sample
from .scene_space import SceneSpace
from .scores import FeatureSpace, Scores
from .seeding import kmeans_plus_plus, minmax_midpoints, smallest_spectra
from .strategies import run_strategy

try:
    import sklearn.utils.validation as sklearn_validation
    from sklearn.base import (
        BaseEstimator,
        ClassNamePrefixFeaturesOutMixin,
        ClusterMixin,
        TransformerMixin,
    )
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.utils import check_array, check_random_state
except ImportError as error:
    raise ImportError(
        "InterImageKMeans needs the Python package scikit-learn (1.2 or newer), which cannot be "
        f"imported ({error}): install it with pip."
    ) from error

# Codes are made from these as they are; samples of any other dtype become float64.
_DTYPES = (
    *(np.float64, np.float32, np.uint8, np.uint16, np.int8, np.int16),
    *(np.int32, np.uint32, np.int64),
)
_SAMPLE_FRACTION = 0.02
# Up to so many samples NumPy is done before a kernel is loaded, and gives the same bits.
_FEW_SAMPLES = 1 << 16


class InterImageKMeans(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, BaseEstimator
):
    """The k-means of :func:`~.cluster.cluster` on an array, for scikit-learn's users.

    Samples are arrays (n_samples, n_features) of finite numbers. Integers are used as they are,
    without a copy as floating-point numbers. Whatever the engine and ``n_jobs``, results are
    the same to the bit. Clusters are numbered as seeded.

    Parameters
    ----------
    n_clusters
        Number of clusters, 1 to 254.
    init
        minmax: mid-points of ``n_clusters`` equal parts of each feature's range (Han & Lee
        2024, doi 10.3390/rs16010102); k-means++; or an array (n_clusters, n_features).
    max_iter, stop_rule, tol
        Stop after ``max_iter`` updates, or when the share of samples that changed cluster
        (changed), or the mean way of the centres as a share of the samples' spread (shift), is
        at most ``tol``.
    strategy
        full: every sample in every iteration; progressive, sample: see
        :func:`~.cluster.cluster`, with its default for the sample's size.
    engine
        auto, or a backend by its name. auto is NumPy for few samples, else the best there is.
    n_jobs
        Number of threads. None or -1: all cores; -2: all but one, and so on.
    random_state
        For k-means++ and samples. An int is the seed itself; None draws one from NumPy's global
        state, a RandomState from its own.

    Attributes
    ----------
    cluster_centers_
        float64, (n_clusters, n_features). The centre of an empty cluster stays where it was.
    labels_
        Cluster of each sample of the last ``fit`` or ``partial_fit``, from 0: int32,
        (n_samples,). They belong to ``cluster_centers_``, also where ``max_iter`` ended the fit.
    inertia_
        Sum of these samples' squared distances to the centres of their clusters.
    n_iter_
        Number of iterations of ``fit``.
    n_features_in_, feature_names_in_
        What ``fit`` saw; names where all of them are strings.
    """

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: str | ArrayLike = "minmax",
        max_iter: int = 100,
        tol: float = 1e-4,
        stop_rule: str = "changed",
        strategy: str = "full",
        engine: str = "auto",
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.init = init
        self.max_iter = max_iter
        self.tol = tol
        self.stop_rule = stop_rule
        self.strategy = strategy
        self.engine = engine
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: object = None) -> InterImageKMeans:
        """Cluster samples, (n_samples, n_features).

        Raises ValueError for a parameter or samples that cannot be used. Warns with a
        ConvergenceWarning of empty clusters, and where ``max_iter`` ended the fit.
        """
        samples = self._validated(X, reset=True)
        plan = self._plan(len(samples))
        engine, threads = self._engine(len(samples)), _threads(self.n_jobs)
        store = stored(samples, None, threads)
        self._warn_saturated(store)
        space, start, drawn = self._seeds(plan, store)
        with contextlib.closing(open_backend(engine, threads)) as backend:
            fitted = run_strategy(plan, backend, store, space, start, drawn, threads, Monitor())
            self._space = space.features
            self.cluster_centers_ = self._space.values(fitted.last.centres)
            final = backend.step(self._scores())
            self.labels_ = self._labels(samples, store, backend)
        self._counts = np.bincount(self.labels_, minlength=self.n_clusters)
        if any(grid.wide for grid in store.code_grids):
            self.inertia_ = self._inertia(samples, self.labels_)
        else:
            centres = self._space.centres(self.cluster_centers_)
            self.inertia_ = space.inertia(centres, final, store.scene_statistics)
        self.n_iter_ = len(fitted.changed)
        self._warn_of_empty()
        if not fitted.last.converged:
            warnings.warn(
                f"Not converged after {self.n_iter_} iterations: {fitted.changed[-1]:.4%} of "
                "the samples still took another cluster. Raise max_iter to go on.",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    def partial_fit(self, X: ArrayLike, y: object = None) -> InterImageKMeans:
        """Move the centres by one batch of a stream (Sculley 2010, doi 10.1145/1772690.1772862).

        Each sample goes to its nearest centre; then a centre is the mean of all samples that
        ever went to it: c + Σ (x − c) / (number before + number in the batch). This is
        scikit-learn's MiniBatchKMeans without its reassignment of small clusters. The first
        batch, if there was no ``fit``, gives the first centres and the codes that distances are
        measured in, so it should be like the rest.
        """
        samples = self._validated(X, reset=not hasattr(self, "cluster_centers_"))
        if not hasattr(self, "cluster_centers_"):
            plan = self._plan(len(samples))
            store = stored(samples, None, _threads(self.n_jobs))
            self._warn_saturated(store)
            space, start, _ = self._seeds(plan, store)
            self._space = space.features
            self.cluster_centers_ = self._space.values(start)
            self._counts = np.zeros(self.n_clusters, np.int64)
        labels = self._assign(samples)
        self._counts += np.bincount(labels, minlength=len(self._counts))
        moves = np.empty_like(self.cluster_centers_)
        for feature, centres in enumerate(self.cluster_centers_.T):
            away = samples[:, feature] - centres[labels]
            moves[:, feature] = np.bincount(labels, away, len(centres))
        self.cluster_centers_ = self.cluster_centers_ + moves / np.maximum(self._counts, 1)[:, None]
        self.labels_ = self._assign(samples)
        self.inertia_ = self._inertia(samples, self.labels_)
        return self

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Return the nearest cluster, from 0, of each sample: int32, (n_samples,)."""
        return self._assign(self._fitted(X))

    def transform(self, X: ArrayLike) -> np.ndarray:
        """Return the distances of samples to all centres: float64, (n_samples, n_clusters)."""
        samples = self._fitted(X)
        distances = np.empty((len(samples), len(self.cluster_centers_)))

        def measure(rows: slice) -> None:
            squares = np.zeros((len(samples[rows]), distances.shape[1]))
            for plane, centres in zip(samples[rows].T, self.cluster_centers_.T):
                squares += (plane[:, None] - centres) ** 2
            np.sqrt(squares, out=distances[rows])

        by_block(measure, len(samples), _threads(self.n_jobs))
        return distances

    def score(self, X: ArrayLike, y: object = None) -> float:
        """Return minus the sum of samples' squared distances to their nearest centres."""
        samples = self._fitted(X)
        return -self._inertia(samples, self._assign(samples))

    @property
    def _n_features_out(self) -> int:
        return len(self.cluster_centers_)

    def _validated(self, X: ArrayLike, *, reset: bool) -> np.ndarray:
        """Return samples as an array of one of the dtypes that can be coded."""
        if hasattr(sklearn_validation, "validate_data"):
            validate = functools.partial(sklearn_validation.validate_data, self)
        else:  # before scikit-learn 1.6
            validate = self._validate_data
        samples: np.ndarray = validate(X, reset=reset, dtype=list(_DTYPES))
        return samples

    def _fitted(self, X: ArrayLike) -> np.ndarray:
        sklearn_validation.check_is_fitted(self)
        return self._validated(X, reset=False)

    def _plan(self, samples: int) -> FitPlan:
        """Check the parameters before anything is done."""
        resolve_engine(self.engine)
        _threads(self.n_jobs)
        clusters = self.n_clusters
        if not _whole(clusters) or not 1 <= clusters <= MOST_CLASSES:
            raise ParameterError(f"n_clusters is {clusters!r}; expected 1 to {MOST_CLASSES}.")
        if samples < clusters:
            raise ParameterError(f"n_samples={samples} should be >= n_clusters={clusters}.")
        kinds = (Init.MINMAX.value, Init.KMEANS_PLUS_PLUS.value)
        if isinstance(self.init, str) and self.init not in kinds:
            raise ParameterError(
                f"init is {self.init!r}; expected {' or '.join(kinds)}, or an array of centres "
                "(n_clusters, n_features)."
            )
        state = check_random_state(self.random_state)
        given = self.random_state
        seed = given if isinstance(given, (int, np.integer)) else state.randint(2**31 - 1)
        plan = FitPlan.of(
            classes=max(int(clusters), 2),  # a series has two classes or more
            init=self.init if isinstance(self.init, str) else Init.MINMAX.value,
            strategy=self.strategy,
            sample_fraction=_SAMPLE_FRACTION,
            max_iter=self.max_iter,
            stop_rule=self.stop_rule,
            tol=self.tol,
            empty="keep",
            order="seeded",
            scaling="none",
            harmonise="none",
            harmonise_reference=None,
            temporal="none",
            temporal_strength=1.0,
            seed=int(seed),
            bands=self.n_features_in_,
        )
        return replace(plan, classes=int(clusters))

    def _engine(self, samples: int) -> str:
        best = resolve_engine(self.engine, samples)
        return "numpy" if self.engine == "auto" and samples <= _FEW_SAMPLES else best

    def _seeds(self, plan: FitPlan, store: PixelStore) -> tuple[SceneSpace, np.ndarray, np.ndarray]:
        """Return the space distances are measured in, the first centres, and the sample."""
        features = FeatureSpace.of(store.code_grids, store.statistics)
        space = SceneSpace.plain(features, 1)
        sample = space.positions(*canonical_sample(store, plan.seed))
        shape = plan.classes, len(store.code_grids)
        if not isinstance(self.init, str):
            centres = check_array(self.init, dtype=np.float64)
            if centres.shape != shape:
                raise ParameterError(
                    f"init has shape {centres.shape}; expected (n_clusters, n_features), {shape}."
                )
            return space, features.centres(centres), sample
        if plan.init is Init.MINMAX:
            return space, minmax_midpoints(space.spreads(store), plan.classes), sample

        def spectra() -> np.ndarray:
            return space.positions(smallest_spectra(store, 2 * plan.classes, Monitor()).T, 0).T

        drawn = kmeans_plus_plus(space.weights, sample, plan.classes, plan.seed, spectra)
        # With too few distinct samples some centres are the same, as in scikit-learn.
        return space, np.resize(drawn, shape), sample

    def _scores(self) -> Scores:
        centres = self._space.centres(self.cluster_centers_)
        return self._space.scores(centres, np.ones(len(centres), bool), 1)

    def _assign(self, samples: np.ndarray) -> np.ndarray:
        engine, threads = self._engine(len(samples)), _threads(self.n_jobs)
        store = stored(samples, self._space.code_grids, threads)
        with contextlib.closing(open_backend(engine, threads)) as backend:
            backend.prepare(store.blocks, 1, Monitor())
            backend.step(self._scores())
            return self._labels(samples, store, backend)

    def _labels(self, samples: np.ndarray, store: PixelStore, backend: Backend) -> np.ndarray:
        """Return the labels of the last step, those of samples the codes cannot hold corrected.

        These are beyond the codes of the fit or, where that saw integers only, between them.
        Their codes are real numbers then, with which scores are as good as float64 gets.
        """
        labels = np.concatenate([backend.labels(i) for i in range(len(store.blocks))])
        grids = self._space.code_grids
        between = samples.dtype.kind == "f" and not all(grid.wide for grid in grids)
        if any(store.saturated) or (between and not store.serves(None)):
            scores = self._scores()
            q, n = scores.q[0].astype(np.float64), scores.n[0].astype(np.float64)[:, None]

            def correct(rows: slice) -> None:
                codes = [real_codes(*both) for both in zip(grids, samples[rows].T)]
                beyond = np.any([beyond for _, beyond in codes], axis=0)
                if beyond.any():
                    offsets = np.stack([plane[beyond] for plane, _ in codes])
                    labels[rows][beyond] = assign(q, n, offsets - scores.midpoints[:, None])

            by_block(correct, len(samples), _threads(self.n_jobs))
        return labels.astype(np.int32)

    def _inertia(self, samples: np.ndarray, labels: np.ndarray) -> float:
        def measure(rows: slice) -> float:
            squares = np.zeros(len(labels[rows]))
            for plane, centres in zip(samples[rows].T, self.cluster_centers_.T):
                squares += (plane - centres[labels[rows]]) ** 2
            return float(np.cumsum(squares)[-1])  # in this order on every machine

        return math.fsum(by_block(measure, len(samples), _threads(self.n_jobs)))

    def _warn_of_empty(self) -> None:
        found = np.count_nonzero(self._counts)
        if found < self.n_clusters:
            warnings.warn(
                f"Number of distinct clusters ({found}) found smaller than n_clusters "
                f"({self.n_clusters}): no sample is nearest to the other centres. There may be "
                "duplicate points in X, or try another init.",
                ConvergenceWarning,
                stacklevel=3,
            )

    def _warn_saturated(self, store: PixelStore) -> None:
        names = getattr(self, "feature_names_in_", range(len(store.code_grids)))
        for name, count in zip(names, store.saturated):
            if count:
                warnings.warn(
                    f"{count:,} values of feature {name} lie far outside the others; centres are "
                    "means with the nearest value that can be told apart in their place.",
                    UserWarning,
                    stacklevel=3,
                )


def _threads(n_jobs: int | None) -> int:
    """Return the number of threads that ``n_jobs`` stands for."""
    if n_jobs is None:
        return thread_count(None)
    if not _whole(n_jobs) or n_jobs == 0:
        raise ParameterError(f"n_jobs is {n_jobs!r}; expected None or an integer other than 0.")
    return int(n_jobs) if n_jobs > 0 else max(1, thread_count(None) + 1 + int(n_jobs))


def _whole(value: object) -> bool:
    return isinstance(value, numbers.Integral)
