"""The Processing algorithms: parameters in, engine call, results out."""

from .applymodel import ApplyModel
from .classifyseries import ClassifySeries
from .fitmodel import FitModel

ALGORITHMS = (ClassifySeries, FitModel, ApplyModel)

__all__ = ["ALGORITHMS"]
