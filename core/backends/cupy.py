"""The backend on NVIDIA cards, through CuPy: fast in float32 and exact by proof.

Its kernels score a pixel in float32, within a proven error of the integer scores, and where the
two best are closer than that, again in integers. What does not fit onto the cards passes through
them. Where they have no room even for that, another backend takes over, with the same answer.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from ..errors import ParameterError
from ..monitor import Monitor
from ..pixels import Block
from ..scores import Scores
from .base import Backend, Measures, Partials, Yardstick, available_backends, open_backend
from .cupy_cards import Cards
from .cupy_found import CardMemoryError

LIMIT_VARIABLE = "IIKMC_GPU_MEMORY_MB"
"""Environment variable: the most memory to take of each card, in MiB."""

_SMALLER_TRIES = 2

Result = TypeVar("Result")


class CupyBackend:
    """The cards as long as they have room for what is asked, then another backend.

    ``limit`` is the most memory to take of each card, in bytes; None: what the environment says,
    or all but some headroom.
    """

    def __init__(self, threads: int, limit: int | None = None) -> None:
        self._threads = threads
        self._limit = limit or _limit_from_environment()
        self._inner: Backend | None = None
        self._smaller_tries = _SMALLER_TRIES
        self._last: Scores | None = None

    def prepare(self, blocks: Sequence[Block], scenes: int, monitor: Monitor) -> None:
        self._blocks, self._scenes, self._monitor = blocks, scenes, monitor
        self._last = None
        if self._inner is None:
            try:
                self._inner = self._cards()
            except CardMemoryError as error:
                self._fall_back(error)
        self._do(lambda inner: inner.prepare(blocks, scenes, monitor))

    def step(self, scores: Scores) -> Partials:
        partials = self._do(lambda inner: inner.step(scores))
        self._last = scores
        return partials

    def labels(self, block: int) -> np.ndarray:
        assert self._inner is not None
        return self._inner.labels(block)

    def measure(self, yardstick: Yardstick) -> Measures:
        return self._do(lambda inner: inner.measure(yardstick))

    def close(self) -> None:
        if self._inner is not None:
            self._inner.close()
        self._inner, self._last, self._blocks = None, None, ()

    def _do(self, action: Callable[[Backend], Result]) -> Result:
        """Return what the backend within does, which is exchanged as long as it has no room."""
        while True:
            assert self._inner is not None
            try:
                return action(self._inner)
            except CardMemoryError as error:
                self._retreat(error)

    def _retreat(self, error: CardMemoryError) -> None:
        """Go on with less of the cards, or without, from the labels of the last step."""
        while True:
            self._exchange(error)
            assert self._inner is not None
            try:
                self._inner.prepare(self._blocks, self._scenes, self._monitor)
                if self._last is not None:  # the same scores, hence the same labels
                    self._inner.step(self._last)
            except CardMemoryError as again:
                error = again
            else:
                return

    def _exchange(self, error: CardMemoryError) -> None:
        before = self._inner
        self._inner = None
        limit = before.limit // 2 if isinstance(before, Cards) else 0
        if before is not None:
            before.close()
        if limit and self._smaller_tries:
            self._smaller_tries -= 1
            self._limit = limit
            try:
                self._inner = self._cards()
            except CardMemoryError as again:
                error = again
            else:
                self._monitor.message(
                    f"The card has too little free memory ({error}); trying again with "
                    f"{limit >> 20:,} MiB of it."
                )
                return
        self._fall_back(error)

    def _fall_back(self, error: CardMemoryError) -> None:
        name = next(name for name in available_backends() if name != "cupy")
        self._monitor.warning(
            f"The card has too little free memory ({error}); the engine {name} goes on instead. "
            "The result is the same; closing other programs that use the card makes room."
        )
        self._inner = open_backend(name, self._threads)

    def _cards(self) -> Cards:
        return Cards(importlib.import_module("cupy"), self._threads, self._limit)


def _limit_from_environment() -> int | None:
    text = os.environ.get(LIMIT_VARIABLE, "").strip()
    if not text:
        return None
    if not text.isdecimal() or not int(text):
        raise ParameterError(
            f"{LIMIT_VARIABLE} is {text!r}; expected a number of MiB of a card's memory."
        )
    return int(text) << 20
