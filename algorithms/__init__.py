"""The Processing algorithms: parameters in, engine call, results out."""

from .applymodel import ApplyModel
from .assessconsistency import AssessConsistency
from .classchanges import ClassChanges
from .classifyseries import ClassifySeries
from .fitmodel import FitModel
from .prepareseries import PrepareSeries

ALGORITHMS = (
    PrepareSeries,
    ClassifySeries,
    FitModel,
    ApplyModel,
    ClassChanges,
    AssessConsistency,
)

__all__ = ["ALGORITHMS"]
