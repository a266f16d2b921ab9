"""The parameters of a fit: the choices there are, checked before any work starts."""

from __future__ import annotations

import datetime as dt
import enum
import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from .dates import parse_iso
from .errors import DateError, ParameterError
from .harmonisation import Harmonise
from .lloyd import EmptyRule, Rules, StopRule
from .model import ClassModel
from .records import FitSettings
from .sampling import sample_run
from .scores import Scaling
from .smoothing import MOST_STRENGTH

Choice = TypeVar("Choice", bound=enum.Enum)

MOST_CLASSES = 254


class Init(enum.Enum):
    """Where the first centres come from, in the order of the INIT parameter."""

    MINMAX = "minmax"
    KMEANS_PLUS_PLUS = "k-means++"
    MODEL = "model"


class Strategy(enum.Enum):
    """How many pixels each iteration sees, in the order of the STRATEGY parameter."""

    FULL = "full"
    PROGRESSIVE = "progressive"
    SAMPLE = "sample"
    MINI_BATCH = "mini-batch"


class Order(enum.Enum):
    """How classes get their numbers, in the order of the ORDER parameter."""

    BRIGHTNESS = "brightness"
    SIZE = "size"
    SEEDED = "seeded"


class Temporal(enum.Enum):
    """What is done along each pixel's dates, in the order of the TEMPORAL parameter."""

    NONE = "none"
    MARKOV = "markov"


@dataclass(frozen=True)
class FitPlan:
    """What to do, from :meth:`of`, which checks the parameters of :func:`~.cluster.cluster`."""

    classes: int
    init: Init
    start: ClassModel | np.ndarray | None
    strategy: Strategy
    sample_fraction: float
    rules: Rules
    order: Order
    scaling: Scaling
    harmonise: Harmonise
    harmonise_reference: dt.date | None
    temporal: Temporal
    temporal_strength: float
    seed: int

    @classmethod
    def of(
        cls,
        *,
        classes: int,
        init: str | ClassModel | np.ndarray,
        strategy: str,
        sample_fraction: float,
        max_iter: int,
        stop_rule: str,
        tol: float,
        empty: str,
        order: str,
        scaling: str,
        harmonise: str,
        harmonise_reference: str | dt.date | None,
        temporal: str,
        temporal_strength: float,
        seed: int,
        bands: int,
    ) -> FitPlan:
        start = None if isinstance(init, (str, Init)) else init
        if start is not None and not isinstance(start, ClassModel):
            start = np.asarray(start, np.float64)
            if start.ndim != 2 or start.shape[1] != bands or not np.isfinite(start).all():
                raise ParameterError(
                    f"init has shape {start.shape}; expected finite centres (classes, {bands})."
                )
        if start is not None:
            classes = len(start.centres if isinstance(start, ClassModel) else start)
        kind = Init.MODEL if start is not None else _choice(Init, "init", init)
        if kind is Init.MODEL and start is None:
            raise ParameterError("init is 'model' without a model; give a ClassModel as init.")
        if not 2 <= classes <= MOST_CLASSES:
            raise ParameterError(f"classes is {classes}; expected 2 to {MOST_CLASSES}.")
        if max_iter < 1:
            raise ParameterError(f"max_iter is {max_iter}; expected 1 or more.")
        if not 0.0 <= tol < math.inf:
            raise ParameterError(f"tol is {tol}; expected 0 or more.")
        way = _choice(Strategy, "strategy", strategy)
        if not 0.0 < sample_fraction <= 1.0:
            raise ParameterError(
                f"sample_fraction is {sample_fraction}; expected more than 0, at most 1."
            )
        if isinstance(start, ClassModel) and empty == EmptyRule.DROP.value:
            raise ParameterError(
                "empty is 'drop' with a model to start from, whose class numbers stay as they are: "
                "choose keep or relocate."
            )
        scale = _choice(Scaling, "scaling", scaling)
        harmony = _choice(Harmonise, "harmonise", harmonise)
        day = _reference_date(harmonise_reference)
        if day is not None and (harmony is Harmonise.NONE or isinstance(start, ClassModel)):
            raise ParameterError(
                f"harmonise_reference is {day}, but nothing is harmonised to a date of the series: "
                "choose standardise or invariant, without a model to start from, or leave it out."
            )
        if isinstance(start, ClassModel):
            known = start.fit.settings
            scale = _kept("scaling", scale, Scaling.NONE, Scaling(known.scaling))
            harmony = _kept("harmonise", harmony, Harmonise.NONE, Harmonise(known.harmonise))
        if not 0.0 <= temporal_strength <= MOST_STRENGTH:
            raise ParameterError(
                f"temporal_strength is {temporal_strength}; expected 0 to {MOST_STRENGTH:g}."
            )
        rules = Rules(
            int(max_iter),
            _choice(StopRule, "stop_rule", stop_rule),
            float(tol),
            _choice(EmptyRule, "empty", empty),
        )
        return cls(
            classes=int(classes),
            init=kind,
            start=start,
            strategy=way,
            sample_fraction=float(sample_fraction),
            rules=rules,
            order=_choice(Order, "order", order),
            scaling=scale,
            harmonise=harmony,
            harmonise_reference=day,
            temporal=_choice(Temporal, "temporal", temporal),
            temporal_strength=float(temporal_strength),
            seed=int(seed),
        )

    @property
    def spare(self) -> float:
        """Share of the pixels that are kept a second time for a while, in samples and batches."""
        run = sample_run(self.sample_fraction)
        sample = 0.0 if run == 1 else 1 / run  # else it is the pixels themselves
        if self.strategy is Strategy.MINI_BATCH:  # one is loaded while the last one is held
            return sample + 2 * self.sample_fraction
        return 0.0 if self.strategy is Strategy.FULL else sample

    def settings(self, classes: int) -> FitSettings:
        return FitSettings(
            classes=classes,
            init=self.init.value,
            strategy=self.strategy.value,
            sample_fraction=self.sample_fraction,
            max_iter=self.rules.max_iter,
            stop_rule=self.rules.stop_rule.value,
            tol=self.rules.tol,
            empty=self.rules.empty.value,
            order=self.order.value,
            seed=self.seed,
            scaling=self.scaling.value,
            harmonise=self.harmonise.value,
            harmonise_reference=(
                self.harmonise_reference.isoformat() if self.harmonise_reference else None
            ),
            temporal=self.temporal.value,
            temporal_strength=self.temporal_strength,
        )


def _reference_date(given: str | dt.date | None) -> dt.date | None:
    if given is None or isinstance(given, dt.date):
        return given
    try:
        return parse_iso(given) if given.strip() else None
    except DateError as error:
        raise ParameterError(f"harmonise_reference: {error}") from None


def _kept(name: str, asked: Choice, nothing: Choice, kept: Choice) -> Choice:
    """Return what a model to start from was fitted with; ParameterError if other is asked for."""
    if asked not in (nothing, kept):
        raise ParameterError(
            f"{name} is {asked.value!r} with a model to start from, which keeps its own "
            f"({kept.value}): leave it out."
        )
    return kept


def _choice(kind: type[Choice], name: str, value: object) -> Choice:
    try:
        return kind(value)
    except ValueError:
        names = ", ".join(str(member.value) for member in kind)
        raise ParameterError(f"{name} is {value!r}; expected one of {names}.") from None
