"""The engine: inter-image k-means of a series of scenes, without QGIS."""

from . import errors
from .backends.base import available_backends
from .cluster import cluster
from .model import ClassModel
from .monitor import Monitor
from .series import Scene, Series, open_series

__all__ = [
    "ClassModel",
    "Monitor",
    "Scene",
    "Series",
    "available_backends",
    "cluster",
    "errors",
    "open_series",
]
