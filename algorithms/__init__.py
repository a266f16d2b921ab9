"""The Processing algorithms: parameters in, engine call, results out."""

from .classifyseries import ClassifySeries

ALGORITHMS = (ClassifySeries,)

__all__ = ["ALGORITHMS"]
