"""What a backend is, and which there are."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ..errors import EngineError, ParameterError
from ..monitor import Monitor
from ..pixels import Block
from ..scores import Scores

if TYPE_CHECKING:
    from ..workers.link import Link

UNLABELLED = 255
"""Label of a pixel before the first step."""


@dataclass(frozen=True)
class Partials:
    """Integer sums of one step.

    ``sums`` are of codes, (scenes, classes, bands), ``counts`` (scenes, classes), both int64
    and by the labels of this step; ``changed`` counts pixels whose label is another than
    before.
    """

    sums: np.ndarray
    counts: np.ndarray
    changed: int


@dataclass(frozen=True)
class Yardstick:
    """What pixels are measured against in each scene, and what makes integers of the measures.

    A code of band b lies at ``steps``_b · (code − ``midpoints``_b), in the input's units;
    ``steps`` are float64, (scenes, bands), ``midpoints`` int64, (bands,). ``signatures`` are in
    the same units, (scenes, classes, bands), and infinite for classes without pixels; two have
    some. The scales are powers of two; a measure times its scale is below 2^51, and below 2^62
    for all pixels together.
    """

    signatures: np.ndarray
    steps: np.ndarray
    midpoints: np.ndarray
    distance_scale: float
    silhouette_scale: float


@dataclass(frozen=True)
class Measures:
    """Integer sums of what was measured, for each class: int64, (classes,)."""

    distances: np.ndarray
    silhouettes: np.ndarray


class Backend(Protocol):
    """Assigns pixels and adds them up. Every decision is taken elsewhere, from the integers.

    The calling thread polls the monitor; a backend stops within a second of a cancel.
    """

    def prepare(self, blocks: Sequence[Block], scenes: int, monitor: Monitor) -> None:
        """Take the blocks of a series of so many scenes."""

    def step(self, scores: Scores) -> Partials:
        """Label every pixel by the scores: the lowest class with the smallest score."""

    def labels(self, block: int) -> np.ndarray:
        """Return the labels, from 0, of a block's pixels at the last step: uint8, (pixels,)."""

    def measure(self, yardstick: Yardstick) -> Measures:
        """Measure each pixel against the signatures, by its label at the last step.

        With the squares of the bands' differences added from the first band to the last, a is
        the distance to the own signature, b that to the nearest other one, and
        s = (b − a) / max(a, b), or 0 where both are 0. All in float64, each operation rounded by
        itself; then a · distance_scale and s · silhouette_scale are rounded to integers, half to
        even, and added up.
        """

    def close(self) -> None:
        """Free what was taken."""


# Best first: name -> module, class, package it needs, how to get that.
_BACKENDS = {
    "cupy": (".cupy", "CupyBackend", "cupy"),
    "numba": (".numba", "NumbaBackend", "numba"),
    "numpy": (".numpy", "NumpyBackend", "numpy"),
    "dask": (".dask", "DaskBackend", "distributed"),
}
CARD_PIXELS = 1 << 24
"""Pixels from which a card is worth the time it takes to start it and to fill it."""
ENGINES = ("auto", "numpy", "numba", "cupy", "dask")
"""The names of the ENGINE parameter, in its order."""


def available_backends() -> tuple[str, ...]:
    """Return the names of the backends that can be used here, best first."""
    return tuple(name for name in _BACKENDS if _why_missing(name) is None)


def resolve_engine(engine: str, pixels: int = 0, client: object = None) -> str:
    """Return the backend that an engine name stands for; auto is the best for so many pixels.

    With a ``client`` (of Dask, or what leads to one) auto is dask. Raises ParameterError for an
    unknown name, EngineError for one that cannot be used here.
    """
    if engine not in ENGINES:
        raise ParameterError(f"engine is {engine!r}; expected one of {', '.join(ENGINES)}.")
    if client is not None:
        if engine not in ("auto", "dask"):
            raise ParameterError(
                f"client is for the engine dask, and engine is {engine!r}: leave one of them out."
            )
        engine = "dask"
    if engine == "auto":
        for name in _BACKENDS:
            if (name != "cupy" or pixels >= CARD_PIXELS) and _why_missing(name) is None:
                return name
    why = _why_missing(engine)
    if why is not None and engine == "cupy":
        raise EngineError(f"The engine 'cupy' cannot run here: {why}; or choose the engine auto.")
    if why is not None:
        package = _BACKENDS[engine][2]
        raise EngineError(
            f"The engine '{engine}' needs the Python package {package}, which cannot be imported "
            f"({why}): install it with pip, or choose the engine auto."
        )
    return engine


def is_usable(name: str) -> bool:
    """Return whether a backend can be used here."""
    return _why_missing(name) is None


def open_backend(name: str, threads: int, link: Link | None = None) -> Backend:
    """Return a new backend by its name (see :func:`resolve_engine`).

    ``link`` leads to the workers that have the blocks, if they do not lie here.
    """
    module, kind, _ = _BACKENDS[name]
    found = getattr(importlib.import_module(module, __package__), kind)
    backend: Backend = found(threads, link) if name == "dask" else found(threads)
    return backend


def _why_missing(name: str) -> str | None:
    if name == "cupy":
        from .cupy_found import trouble  # only where it is asked for

        return trouble()
    try:
        importlib.import_module(_BACKENDS[name][2])
    except Exception as error:  # absent, or at odds with the NumPy or the system there is
        return str(error)
    return None
