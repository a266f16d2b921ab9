"""How to fit: the parameters of a k-means run as plain data, shared by all that fit a model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qgis.core import QgsProcessingAlgorithm, QgsProcessingContext

from ..core.checkpoint import Checkpoint
from ..core.cluster import cluster
from ..core.errors import ParameterError
from ..core.harmonisation import Harmonise
from ..core.lloyd import EmptyRule, StopRule
from ..core.model import ClassModel
from ..core.monitor import Monitor
from ..core.plan import FitPlan, Init, Order, Strategy, Temporal
from ..core.scores import Scaling
from ..core.series import Series
from .running import RunOptions, take_run


@dataclass(frozen=True)
class FitOptions:
    """What the fitting parameters say; ``start`` is the model where ``init`` is MODEL."""

    harmonise: Harmonise
    harmonise_reference: str | None
    scaling: Scaling
    classes: int
    init: Init
    start: ClassModel | None
    strategy: Strategy
    sample_fraction: float
    max_iter: int
    stop_rule: StopRule
    tol: float
    empty: EmptyRule
    order: Order
    temporal: Temporal
    temporal_strength: float
    seed: int
    checkpoint: Path | None
    run: RunOptions

    def check(self, series: Series) -> None:
        """Raise one of the engine's errors where :meth:`fit` would, short of reading pixels."""
        self.run.check()
        plan = FitPlan.of(
            classes=self.classes,
            init=self.start or self.init.value,
            strategy=self.strategy.value,
            sample_fraction=self.sample_fraction,
            max_iter=self.max_iter,
            stop_rule=self.stop_rule.value,
            tol=self.tol,
            empty=self.empty.value,
            order=self.order.value,
            scaling=self.scaling.value,
            harmonise=self.harmonise.value,
            harmonise_reference=self.harmonise_reference,
            temporal=self.temporal.value,
            temporal_strength=self.temporal_strength,
            seed=self.seed,
            bands=len(series.band_names),
        )
        series.rank_of(plan.harmonise_reference)
        if self.start is not None:
            self.start.check_series(series)
        if self.checkpoint is not None:
            Checkpoint.open(self.checkpoint, plan, series)

    def fit(self, series: Series, monitor: Monitor) -> ClassModel:
        """Return the model of a series."""
        return cluster(
            series,
            classes=self.classes,
            init=self.start or self.init.value,
            strategy=self.strategy.value,
            sample_fraction=self.sample_fraction,
            max_iter=self.max_iter,
            stop_rule=self.stop_rule.value,
            tol=self.tol,
            empty=self.empty.value,
            order=self.order.value,
            scaling=self.scaling.value,
            harmonise=self.harmonise.value,
            harmonise_reference=self.harmonise_reference,
            temporal=self.temporal.value,
            temporal_strength=self.temporal_strength,
            engine=self.run.engine,
            threads=self.run.threads,
            memory_mb=self.run.memory_mb,
            client=self.run.scheduler,
            seed=self.seed,
            checkpoint=self.checkpoint,
            monitor=monitor,
        )


def take_fit(
    algorithm: QgsProcessingAlgorithm, parameters: dict[str, Any], context: QgsProcessingContext
) -> FitOptions:
    """Return the fitting parameters as plain data; reads the model to start from, if any."""

    def choice(key: str) -> int:
        return algorithm.parameterAsEnum(parameters, key, context)

    def number(key: str) -> int:
        return algorithm.parameterAsInt(parameters, key, context)

    reference = algorithm.parameterAsString(parameters, "HARMONISE_REFERENCE", context)
    checkpoint = algorithm.parameterAsFile(parameters, "CHECKPOINT", context)
    init = tuple(Init)[choice("INIT")]
    start = None
    if init is Init.MODEL:
        path = algorithm.parameterAsFile(parameters, "MODEL_IN", context)
        if not path:
            raise ParameterError("INIT is 'from a model', but there is none: give it as MODEL_IN.")
        start = ClassModel.load(path)
    return FitOptions(
        harmonise=tuple(Harmonise)[choice("HARMONISE")],
        harmonise_reference=reference.strip() or None,
        scaling=tuple(Scaling)[choice("SCALING")],
        classes=number("CLASSES"),
        init=init,
        start=start,
        strategy=tuple(Strategy)[choice("STRATEGY")],
        sample_fraction=algorithm.parameterAsDouble(parameters, "SAMPLE_FRACTION", context),
        max_iter=number("MAX_ITERATIONS"),
        stop_rule=tuple(StopRule)[choice("STOP_RULE")],
        tol=algorithm.parameterAsDouble(parameters, "TOLERANCE", context),
        empty=tuple(EmptyRule)[choice("EMPTY")],
        order=tuple(Order)[choice("ORDER")],
        temporal=tuple(Temporal)[choice("TEMPORAL")],
        temporal_strength=algorithm.parameterAsDouble(parameters, "TEMPORAL_STRENGTH", context),
        seed=number("SEED"),
        checkpoint=Path(checkpoint) if checkpoint else None,
        run=take_run(algorithm, parameters, context),
    )
