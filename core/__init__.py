"""The engine: inter-image k-means of a series of scenes, without QGIS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import errors
from .backends.base import available_backends
from .cluster import cluster
from .model import ClassModel
from .monitor import Monitor
from .opening import open_series
from .series import Scene, Series

if TYPE_CHECKING:
    from .estimator import InterImageKMeans

__all__ = [
    "ClassModel",
    "InterImageKMeans",
    "Monitor",
    "Scene",
    "Series",
    "available_backends",
    "cluster",
    "errors",
    "open_series",
]


def __getattr__(name: str) -> object:
    """Import the estimator when it is asked for: it needs scikit-learn."""
    if name == "InterImageKMeans":
        from .estimator import InterImageKMeans

        return InterImageKMeans
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
