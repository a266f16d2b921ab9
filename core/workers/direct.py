"""Sums over parts past the scheduler's queue: workers are called on the parts they have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..monitor import Monitor
from .link import Link
from .tasks import add

# Sums that all workers send to the client in one step, in bytes; from there on a tree is better.
_MOST_BYTES = 1 << 25


class Direct:
    """Adds up what a function makes of parts.

    A task takes a scheduler a millisecond, and its messages wait for each other: some 20 ms for
    a step. A call takes 2. What a worker does not have (any more) goes the way of tasks.
    """

    def __init__(self, link: Link, parts: Sequence[Any]) -> None:
        self._link, self._parts = link, {part.key: part for part in parts}
        self._places: dict[str, list[str]] | None = None

    def total(
        self, name: str, shared: Sequence[Any], size: int, monitor: Monitor
    ) -> tuple[np.ndarray, ...]:
        """Return the sums of tuples of integer arrays, which have ``size`` bytes."""
        found: list[tuple[np.ndarray, ...]] = []
        missing = set(self._parts)
        if size * self._link.workers <= _MOST_BYTES:
            if self._places is None:
                self._places = self._link.places(list(self._parts.values()), monitor)
            for sums, keys in self._link.at_once(name, self._places, shared, monitor):
                found.append(sums)
                missing.difference_update(keys)
            if missing:
                self._places = None
        if missing:
            calls = [(part,) for key, part in self._parts.items() if key in missing]
            futures = self._link.spread(name, calls, *shared)
            found.append(self._link.total(futures, monitor))
        return add(monitor, found)
