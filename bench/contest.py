"""Contenders in processes of their own, called one at a time, turn by turn."""

from __future__ import annotations

import contextlib
import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from peers import CONTENDERS, Fit, Task


class Unavailable(Exception):
    """A contender cannot be imported here, or failed."""


@dataclass(frozen=True)
class Timed:
    """One call of ``fit``: wall time, the iterations it ran, and their time by its reports."""

    seconds: float
    n_iter: int
    iteration: float | None


@dataclass(frozen=True)
class Answer:
    """What the last fit found: centres less the origin, and labels from 0."""

    centres: np.ndarray
    labels: np.ndarray


class Contestant:
    """One contender; it holds its data in its process and sleeps between fits."""

    def __init__(self, name: str, task: Task) -> None:
        self.name = name
        spawn = multiprocessing.get_context("spawn")
        self._end, other = spawn.Pipe()
        self._process = spawn.Process(target=_serve, args=(name, task, other), daemon=True)
        self._process.start()
        other.close()

    def ready(self) -> None:
        """Wait until the data are in memory; raises Unavailable."""
        self._receive()

    def fit(self, iterations: int) -> Timed:
        """Fit; raises Unavailable if the contender fails."""
        self._end.send(iterations)
        timed: Timed = self._receive()
        return timed

    def answer(self) -> Answer:
        """Return what the last fit found."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "labels.npy"
            self._end.send(path)
            centres: np.ndarray = self._receive()
            return Answer(centres, np.load(path))

    def close(self) -> None:
        """End the process."""
        with contextlib.suppress(OSError):
            self._end.send(None)
        self._process.join(10.0)
        if self._process.is_alive():
            self._process.kill()
        self._end.close()

    def _receive(self) -> object:
        try:
            received = self._end.recv()
        except (EOFError, OSError):
            raise Unavailable("its process died") from None
        if isinstance(received, Unavailable):
            raise received
        return received


@contextlib.contextmanager
def contestants(names: tuple[str, ...], task: Task) -> Iterator[tuple[list, dict[str, str]]]:
    """Give the contenders that are ready, and why each other one is not."""
    started, missing = [Contestant(name, task) for name in names], {}
    try:
        ready = []
        for contestant in started:
            try:
                contestant.ready()
                ready.append(contestant)
            except Unavailable as error:
                missing[contestant.name] = str(error)
        yield ready, missing
    finally:
        for contestant in started:
            contestant.close()


def _serve(name: str, task: Task, end: Connection) -> None:
    """Answer the parent: a number is a fit, a path asks for the answer, None ends it."""
    try:
        fit, last = CONTENDERS[name](task), Fit(0, task.start, lambda: np.empty(0))
        end.send(None)
        while (wish := end.recv()) is not None:
            if isinstance(wish, int):
                began = time.perf_counter()
                last = fit(wish)
                seconds = time.perf_counter() - began
                end.send(Timed(seconds, int(last.n_iter), last.iteration))
            else:
                np.save(wish, np.asarray(last.labels()).astype(np.uint8))
                end.send(last.centres)
    except ImportError as error:
        end.send(Unavailable(f"cannot be imported here ({error})"))
    except Exception as error:  # whatever a peer raises goes in the table
        end.send(Unavailable(f"failed: {type(error).__name__}: {error}"))
