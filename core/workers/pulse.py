"""Whether a cluster is still there."""

from __future__ import annotations

import contextlib
import threading
import weakref
from typing import Any

from ..errors import EngineError

NO_ANSWER = (
    "The Dask scheduler does not answer any more: see whether it is still running; with a "
    "checkpoint the run can go on where it was."
)
_PULSE_SECONDS = 1.0
# Longer than a worker takes that its nanny starts anew, shorter than a user waits.
SILENCE_SECONDS = 20.0


class Pulse:
    """Asks for the workers now and then, on a thread of its own, as long as there is a client."""

    def __init__(self, client: Any) -> None:
        self._client, self._ended = weakref.ref(client), threading.Event()
        # Counted in beats, so that time for which this process was stopped is no silence.
        self._beats = self._answered = self._working = 0
        for name, work in (("iikmc-pulse", self._beat), ("iikmc-clock", self._count)):
            threading.Thread(target=work, name=name, daemon=True).start()

    def check(self) -> None:
        """Raise EngineError where there was no answer, or no worker, for long."""
        client, patience = self._client(), SILENCE_SECONDS / _PULSE_SECONDS
        gone = client is None or client.status in ("closing", "closed")
        if gone or self._beats > self._answered + patience:
            raise EngineError(NO_ANSWER)
        if self._beats > self._working + patience:
            raise EngineError(
                "All Dask workers are gone: see their logs (often it is memory, so start more "
                "of them, or larger ones); with a checkpoint the run can go on where it was."
            )

    def end(self) -> None:
        """Ask no more."""
        self._ended.set()

    def _count(self) -> None:
        while not self._ended.wait(_PULSE_SECONDS) and self._client() is not None:
            self._beats += 1

    def _beat(self) -> None:
        while not self._ended.wait(_PULSE_SECONDS):
            client = self._client()
            if client is None:
                return
            with contextlib.suppress(Exception):  # no answer is what check() tells
                workers = client.nthreads()
                self._answered = self._beats
                if workers:
                    self._working = self._answered
            del client
