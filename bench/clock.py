"""Times this engine's iterations from within, by its reports of them."""

from __future__ import annotations

import time

from iikmc.core import Monitor


class IterationClock(Monitor):
    """Notes when each iteration was reported, and keeps warnings to itself."""

    def __init__(self) -> None:
        self._reported: list[float] = []

    def message(self, text: str) -> None:
        """Note the time of an iteration's report."""
        if text.startswith("Iteration "):
            self._reported.append(time.perf_counter())

    def warning(self, text: str) -> None:
        """Keep quiet: that a fit of so few iterations did not converge is meant."""

    def iteration(self, skipped: int) -> float | None:
        """Return the mean seconds of the iterations after so many; None if there are none."""
        if len(self._reported) <= skipped:
            return None
        taken = self._reported[-1] - self._reported[skipped - 1]
        return taken / (len(self._reported) - skipped)
