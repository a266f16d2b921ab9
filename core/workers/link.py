"""The way to Dask workers: functions of this package are called there by name."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
import uuid
import weakref
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np

from .. import errors
from ..errors import EngineError, IikmcError, ParameterError
from ..monitor import Monitor
from ..parallel import beside, thread_count
from .connecting import HERE, PACKAGE, check_workers, connected, imported, in_process, words
from .pulse import NO_ANSWER, Pulse
from .tasks import FAILED, add

logger = logging.getLogger(__name__)

_ASKING_SECONDS = 2.0
_ENDING_SECONDS = 10.0
_FAN_IN = 16


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
        self._pulse: Pulse | None = None
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
        client_class = imported().Client
        if given is None or given == "":
            client = beside(lambda: in_process(thread_count(threads)), monitor)
            return cls(client, given, HERE)
        if isinstance(given, client_class):
            client = given
            if client.status != "running":
                raise EngineError(
                    "The Dask client is closed: open it again, or give the scheduler's address."
                )
            where = client.scheduler.address
        elif isinstance(given, (str, os.PathLike)):
            name = os.fspath(given)
            client = beside(lambda: connected(name), monitor)
            where = f"--scheduler-file {name}" if os.path.isfile(name) else name
        else:
            raise ParameterError(
                f"client is of the type {type(given).__name__}; expected a distributed.Client, the "
                "address of a scheduler, or the file that it wrote."
            )
        try:
            check_workers(client, where, monitor)
            return cls(client, given, PACKAGE)
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
        except (Exception, asyncio.CancelledError) as error:  # the latter of older releases
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
        except (Exception, asyncio.CancelledError) as error:  # the latter of older releases
            self.stop()
            raise _told(error) from error
        return [item for item in found.values() if isinstance(item, tuple) and item[1]]

    def stop(self) -> None:
        """End the run: when this returns, no task of it is under way on a worker that answers."""
        self.stopped = True
        end = time.monotonic() + _ENDING_SECONDS
        self._everywhere("stop", self.run)
        _bounded(lambda: self._client.cancel(list(self._begun), force=True))
        while any(count > 0 for count in self._everywhere("busy", self.run).values()):
            if time.monotonic() > end:
                break
            time.sleep(0.02)

    def close(self) -> None:
        """Free what the workers keep for this run, and the client if it was opened here."""
        if self._pulse is not None:
            self._pulse.end()
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
            self._pulse = Pulse(self._client)
        self._pulse.check()

    def _everywhere(self, name: str, *arguments: Any) -> dict[str, Any]:
        """Call a function of :mod:`.tasks` on every worker at once, whatever it is doing.

        Returns the answers of those that are there, none if one keeps silent for two seconds.
        """
        given = self._package, name, *arguments
        found = _bounded(lambda: self._client.run(_call, *given, on_error="return")) or {}
        return {
            worker: answer
            for worker, answer in found.items()
            if not isinstance(answer, BaseException)
        }


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


def _bounded(ask: Callable[[], Any]) -> Any:
    """Return what a cluster answers within two seconds, None if it does not or is gone."""
    answered: Future[Any] = Future()

    def work() -> None:
        try:
            answered.set_result(ask())
        except Exception as error:
            answered.set_exception(error)

    threading.Thread(target=work, name="iikmc-ask", daemon=True).start()
    try:
        return answered.result(timeout=_ASKING_SECONDS)
    except Exception as error:  # of a cluster that is gone nothing has to end
        logger.info("Dask did not answer: %s", words(error))
        return None


def _told(error: BaseException) -> IikmcError:
    """Return the engine's error for what came back from a task."""
    if isinstance(error, RuntimeError) and error.args[:1] == (FAILED,):
        _, kind, message, worker = error.args
        known: type[IikmcError] = getattr(errors, kind, EngineError)
        return known(f"{message} (On the Dask worker {worker}.)")
    return EngineError(_trouble(error))


def _trouble(error: BaseException) -> str:
    if type(error).__name__ == "KilledWorker":
        return (
            "A part of the series has cost several Dask workers their lives, most likely for want "
            "of memory: start workers with more, or set MEMORY_MB lower."
        )
    if type(error).__name__ in ("CancelledError", "CommClosedError", "FutureCancelledError"):
        return NO_ANSWER
    return f"The Dask cluster failed ({words(error)}): see the workers' logs."


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


for _travels in (_perform, _call, _at_once):
    _travels.__module__ = "__main__"  # such functions are sent by value
