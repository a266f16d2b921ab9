"""The way to Dask workers: functions of this package are called there by name."""

from __future__ import annotations

import contextlib
import importlib
import threading
import time
import uuid
import weakref
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import errors
from ..errors import EngineError, IikmcError
from ..monitor import Monitor
from ..parallel import beside, thread_count
from .tasks import FAILED, add

_HERE = __name__.rsplit(".core.", 1)[0]
_PACKAGE = "iikmc"
_CONNECT_SECONDS = 10
_PULSE_SECONDS = 1.0
# Longer than a worker takes that its nanny starts anew, shorter than a user waits.
_SILENCE_SECONDS = 20.0
_ENDING_SECONDS = 30.0
_FAN_IN = 16
_NO_ANSWER = (
    "The Dask scheduler does not answer any more: see whether it is still running; with a "
    "checkpoint the run can go on where it was."
)


class Link:
    """A Dask client, and one run on its cluster.

    ``threads`` of all workers together and ``crowding``, the most workers on one machine, are
    those at the start.
    """

    def __init__(self, client: Any, given: object, package: str) -> None:
        self._client, self._given, self._package = client, given, package
        self._own = client is not given
        self.run = uuid.uuid4().hex
        self.stopped = False
        self._pulse: _Pulse | None = None
        self._begun: weakref.WeakSet[Any] = weakref.WeakSet()
        hosts: Counter[str] = Counter()
        self.threads = 0
        for address, threads in client.nthreads().items():
            hosts[address.rsplit(":", 1)[0]] += 1
            self.threads += threads
        self.workers = sum(hosts.values())
        self.crowding = max(hosts.values(), default=1)

    @classmethod
    def open(cls, given: object, threads: int | None, monitor: Monitor) -> Link:
        """Connect to what a caller gave: a Client, an address, a scheduler file, or None.

        None: ``threads`` of this process. Raises EngineError where there is no scheduler, no
        worker, or one with another version of this package.
        """
        distributed = _imported()
        if given is None or given == "":
            client = beside(lambda: _in_process(distributed, thread_count(threads)), monitor)
            return cls(client, given, _HERE)
        if isinstance(given, distributed.Client):
            client, name = given, "of the client"
        else:
            name = str(given)
            client = beside(lambda: _connected(distributed, name), monitor)
        try:
            _check_workers(client, name, monitor)
            return cls(client, given, _PACKAGE)
        except BaseException:
            if client is not given:
                client.close(timeout=2)
            raise

    def is_for(self, given: object) -> bool:
        """Return whether this link is what :meth:`open` would give for the same, still of use."""
        return not self.stopped and (given is self._given or (self._own and given == self._given))

    def submit(self, name: str, *arguments: Any) -> Any:
        """Begin a function of :mod:`.tasks` on a worker; return its future.

        Futures among the arguments stand for their values.
        """
        return self.spread(name, [arguments])[0]

    def spread(self, name: str, calls: Sequence[Sequence[Any]], *shared: Any) -> list[Any]:
        """Begin a function once for each of ``calls``, with its arguments and the shared ones.

        In one message, for each takes a scheduler a millisecond.
        """
        if not calls:
            return []
        count = len(calls)
        constant = [[value] * count for value in (self._package, name, self.run)]
        after = [[value] * count for value in shared]
        keys = [f"iikmc-{name}-{uuid.uuid4().hex}" for _ in calls]
        found: list[Any] = self._client.map(
            _perform, *constant, *map(list, zip(*calls)), *after, key=keys, pure=False
        )
        self._begun.update(found)
        return found

    def values(
        self, futures: Sequence[Any], monitor: Monitor, progress: Monitor | None = None
    ) -> list[Any]:
        """Return what futures come to, in their order; ``progress`` takes the share that is done.

        Raises the engine's error where a task had one, EngineError where the workers are lost,
        Cancelled from the monitor, when no task is left under way.
        """
        watch = _Watched(monitor, self, futures, progress)
        try:
            return list(beside(lambda: self._client.gather(list(futures)), watch))
        except IikmcError:
            self.stop()
            raise
        except Exception as error:
            self.stop()
            raise _told(error) from error

    def value(self, future: Any, monitor: Monitor) -> Any:
        """Return what one future comes to."""
        return self.values([future], monitor)[0]

    def total(self, futures: Sequence[Any], monitor: Monitor) -> tuple[np.ndarray, ...]:
        """Return the sums of tuples of integer arrays, added up by the workers in a tree.

        Its last step, of a few terms, is taken here: that is one way less to wait for.
        """
        level = list(futures)
        while len(level) > _FAN_IN:
            groups = [level[start : start + _FAN_IN] for start in range(0, len(level), _FAN_IN)]
            level = self.spread("add", [(group,) for group in groups])
        return add(monitor, self.values(level, monitor))

    def places(self, futures: Sequence[Any], monitor: Monitor) -> dict[str, list[str]]:
        """Return the keys of futures by the worker that has their values."""
        held = beside(lambda: self._client.who_has(list(futures)), monitor)
        found: dict[str, list[str]] = {}
        for key, workers in held.items():
            if workers:
                found.setdefault(workers[0], []).append(key)
        return found

    def at_once(
        self, name: str, places: dict[str, list[str]], shared: Sequence[Any], monitor: Monitor
    ) -> list[tuple[tuple[np.ndarray, ...], list[str]]]:
        """Call a function on the parts that workers have, by key, without tasks.

        Returns each worker's sums, and the keys that they are of. A worker that is gone, or has
        lost a part, is no error here; errors are those of :meth:`values`.
        """
        threads = max(1, self.threads // max(self.workers, 1))
        given = (self._package, name, self.run, places, threads, *shared)
        try:
            # To all workers: one that is gone would be sought for half a minute by its address.
            found = beside(
                lambda: self._client.run(_at_once, *given, on_error="return"),
                _Watched(monitor, self, (), None),
            )
            for outcome in found.values():
                if isinstance(outcome, RuntimeError) and outcome.args[:1] == (FAILED,):
                    raise _told(outcome) from outcome
        except IikmcError:
            self.stop()
            raise
        except Exception as error:
            self.stop()
            raise _told(error) from error
        return [item for item in found.values() if isinstance(item, tuple) and item[1]]

    def stop(self) -> None:
        """End the run: when this returns, no task of it is under way."""
        self.stopped = True
        with contextlib.suppress(Exception):  # of a cluster that is gone nothing has to end
            self._everywhere("stop", self.run)
            self._client.cancel(list(self._begun))
            end = time.monotonic() + _ENDING_SECONDS
            while any(self._everywhere("busy", self.run).values()) and time.monotonic() < end:
                time.sleep(0.02)

    def close(self) -> None:
        """Free what the workers keep for this run, and the client if it was opened here."""
        if self._pulse is not None:
            self._pulse.end()
        with contextlib.suppress(Exception):  # a cluster that is gone keeps nothing
            if self._client.status == "running":
                self._everywhere("forget", self.run)
        if self._own:
            cluster = self._client.cluster
            self._client.close(timeout=5)
            if cluster is not None:
                cluster.close(timeout=5)

    def check_alive(self) -> None:
        """Raise EngineError once scheduler or workers have been away for long."""
        if self._pulse is None:
            self._pulse = _Pulse(self._client)
        self._pulse.check()

    def _everywhere(self, name: str, *arguments: Any) -> dict[str, Any]:
        """Call a function of :mod:`.tasks` on every worker at once, whatever it is doing."""
        found: dict[str, Any] = self._client.run(_call, self._package, name, *arguments)
        return found


class _Watched(Monitor):
    """Passes on to a monitor how much is done, and looks after the cluster meanwhile."""

    def __init__(
        self, monitor: Monitor, link: Link, futures: Sequence[Any], progress: Monitor | None
    ) -> None:
        self._monitor, self._link = monitor, link
        self._futures, self._progress = list(futures), progress
        self._done = 0

    def check(self) -> None:
        self._monitor.check()
        self._link.check_alive()
        if self._progress is not None:
            done = sum(future.status == "finished" for future in self._futures)
            self._done = max(self._done, done)  # a lost worker takes what it had done with it
            self._progress.progress(self._done / len(self._futures))

    def cancelled(self) -> bool:
        return self._monitor.cancelled()


class _Pulse:
    """Asks for the workers now and then, on a thread of its own."""

    def __init__(self, client: Any) -> None:
        self._client, self._ended = client, threading.Event()
        self._answered = self._working = time.monotonic()
        threading.Thread(target=self._beat, name="iikmc-pulse", daemon=True).start()

    def check(self) -> None:
        """Raise EngineError where there was no answer, or no worker, for long."""
        now = time.monotonic()
        if self._client.status in ("closing", "closed") or now > self._answered + _SILENCE_SECONDS:
            raise EngineError(_NO_ANSWER)
        if now > self._working + _SILENCE_SECONDS:
            raise EngineError(
                "All Dask workers are gone: see their logs (often it is memory, so start more "
                "of them, or larger ones); with a checkpoint the run can go on where it was."
            )

    def end(self) -> None:
        """Ask no more."""
        self._ended.set()

    def _beat(self) -> None:
        while not self._ended.wait(_PULSE_SECONDS):
            with contextlib.suppress(Exception):  # no answer is what check() tells
                workers = self._client.nthreads()
                self._answered = time.monotonic()
                if workers:
                    self._working = self._answered


def _imported() -> Any:
    try:
        return importlib.import_module("distributed")
    except ImportError as error:
        raise EngineError(
            f"The engine 'dask' needs the Python package distributed, which cannot be imported "
            f"({error}): install it with pip, or choose the engine auto."
        ) from error


def _in_process(distributed: Any, threads: int) -> Any:
    """Return a client of threads of this process: never of others, within QGIS they would be
    QGIS itself."""
    return distributed.Client(
        processes=False,
        n_workers=1,
        threads_per_worker=threads,
        memory_limit=0,  # the engine keeps within its own, and QGIS is not Dask's to bound
        dashboard_address="127.0.0.1:0",  # without one, Dask listens to the whole network
        worker_dashboard_address="127.0.0.1:0",
        set_as_default=False,
    )


def _connected(distributed: Any, name: str) -> Any:
    """Return a client of a scheduler by its address, or by the file that it wrote."""
    if "://" not in name and not Path(name).is_file() and ":" not in name:
        raise EngineError(
            f"There is no Dask scheduler file '{name}': give the file that the scheduler wrote, or "
            "its address, such as tcp://192.0.2.1:8786."
        )
    place = {"scheduler_file": name} if Path(name).is_file() else {"address": name}
    try:
        return distributed.Client(**place, timeout=_CONNECT_SECONDS, set_as_default=False)
    except Exception as error:
        raise EngineError(
            f"The Dask scheduler {name} cannot be reached ({_words(error)}): start it with "
            "'dask scheduler', or see whether its address and port are right."
        ) from error


def _check_workers(client: Any, name: str, monitor: Monitor) -> None:
    """Raise EngineError unless there are workers that have this very package."""
    found = beside(lambda: client.run(_versions, on_error="return"), monitor)
    if not found:
        raise EngineError(
            f"The Dask scheduler {name} has no worker: start some with 'dask worker {name}'."
        )
    mine = importlib.import_module(_HERE).__version__
    for worker, versions in found.items():
        if isinstance(versions, Exception):
            raise EngineError(f"The worker {worker} cannot be used: {_words(versions)}.")
        if versions["trouble"]:
            raise EngineError(
                f"The worker {worker} cannot import {_PACKAGE} ({versions['trouble']}): install "
                f"{_PACKAGE} {mine} with numpy and rasterio where the workers run."
            )
        if versions[_PACKAGE] != mine:
            raise EngineError(
                f"The worker {worker} has {_PACKAGE} {versions[_PACKAGE]}, and this is {mine}: "
                "install the same version on both sides."
            )
        theirs, ours = versions["numpy"], np.__version__
        if theirs.split(".")[0] != ours.split(".")[0]:
            raise EngineError(
                f"The worker {worker} has NumPy {theirs}, and this is {ours}, which cannot "
                "exchange arrays: install the same major version on both sides."
            )
        if theirs.split(".")[:2] != ours.split(".")[:2]:
            monitor.message(f"The worker {worker} has NumPy {theirs}, and this is {ours}.")


def _told(error: Exception) -> IikmcError:
    """Return the engine's error for what came back from a task."""
    if isinstance(error, RuntimeError) and error.args[:1] == (FAILED,):
        _, kind, message, worker = error.args
        known: type[IikmcError] = getattr(errors, kind, EngineError)
        return known(f"{message} (On the Dask worker {worker}.)")
    return EngineError(_trouble(error))


def _trouble(error: Exception) -> str:
    if type(error).__name__ == "KilledWorker":
        return (
            "A part of the series has cost several Dask workers their lives, most likely for want "
            "of memory: start workers with more, or set MEMORY_MB lower."
        )
    if type(error).__name__ in ("CancelledError", "CommClosedError", "FutureCancelledError"):
        return _NO_ANSWER
    return f"The Dask cluster failed ({_words(error)}): see the workers' logs."


def _words(error: Exception) -> str:
    text = str(error).strip().split("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


# These travel to the workers as they are, whatever this package is called here.


def _perform(package: str, name: str, run: str, *arguments: Any) -> Any:
    import importlib

    from distributed import get_worker

    tasks = importlib.import_module(package + ".core.workers.tasks")
    return tasks.perform(name, run, get_worker().address, arguments)


def _call(package: str, name: str, *arguments: Any) -> Any:
    import importlib

    tasks = importlib.import_module(package + ".core.workers.tasks")
    return getattr(tasks, name)(*arguments)


async def _at_once(
    package: str,
    name: str,
    run: str,
    places: dict[str, list[str]],
    threads: int,
    *shared: Any,
    dask_worker: Any,
) -> Any:
    import importlib

    tasks = importlib.import_module(package + ".core.workers.tasks")
    keys = places.get(dask_worker.address, [])
    return await tasks.at_once(dask_worker, name, run, keys, threads, shared)


def _versions() -> dict[str, str]:
    import importlib

    found = {"trouble": "", "iikmc": "", "numpy": ""}
    try:
        for name in ("iikmc", "numpy"):
            found[name] = importlib.import_module(name).__version__
        importlib.import_module("iikmc.core.workers.tasks")
    except Exception as error:
        found["trouble"] = str(error)
    return found


for _travels in (_perform, _call, _at_once, _versions):
    _travels.__module__ = "__main__"  # such functions are sent by value
