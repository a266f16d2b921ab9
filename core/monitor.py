"""How a run tells its caller where it is and asks whether to go on."""

from __future__ import annotations

import logging

from .errors import Cancelled

logger = logging.getLogger(__name__)


class Monitor:
    """Receives progress, messages and warnings; says when to stop.

    This one logs messages and never cancels. Subclass it and override
    ``progress``, ``message``, ``warning`` and ``cancelled`` to connect a user
    interface. All of them are called from the thread that started the run only.
    """

    def progress(self, fraction: float) -> None:
        """Take the share of the whole run that is done, 0 to 1."""

    def message(self, text: str) -> None:
        """Take a sentence about what is being done."""
        logger.info(text)

    def warning(self, text: str) -> None:
        """Take a sentence about something the user should know."""
        logger.warning(text)

    def cancelled(self) -> bool:
        """Return True once the run should stop."""
        return False

    def check(self) -> None:
        """Raise :class:`~iikmc.core.errors.Cancelled` if the run should stop."""
        if self.cancelled():
            raise Cancelled("The run was cancelled; no output was written.")

    def part(self, start: float, stop: float) -> Monitor:
        """Return a monitor whose 0 to 1 is ``start`` to ``stop`` of this one."""
        return _Part(self, start, stop)


class _Part(Monitor):
    def __init__(self, whole: Monitor, start: float, stop: float) -> None:
        self._whole, self._start, self._span = whole, start, stop - start

    def progress(self, fraction: float) -> None:
        self._whole.progress(self._start + self._span * min(max(fraction, 0.0), 1.0))

    def message(self, text: str) -> None:
        self._whole.message(text)

    def warning(self, text: str) -> None:
        self._whole.warning(text)

    def cancelled(self) -> bool:
        return self._whole.cancelled()
