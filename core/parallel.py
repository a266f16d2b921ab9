"""Run a function over items on threads: results in order, cancel within a fraction of a second."""

from __future__ import annotations

import itertools
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

from .errors import ParameterError
from .monitor import Monitor

Item = TypeVar("Item")
Result = TypeVar("Result")

POLL_SECONDS = 0.05


def thread_count(threads: int | None) -> int:
    """Return the number of threads to use; None or 0 means all cores this process may use."""
    if threads is not None and threads < 0:
        raise ParameterError(f"threads is {threads}; expected 0 (all cores) or a positive number.")
    if threads:
        return threads
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on Windows and macOS
        return os.cpu_count() or 1


def ordered_map(
    pool: ThreadPoolExecutor,
    function: Callable[[Item], Result],
    items: Iterable[Item],
    monitor: Monitor,
    *,
    ahead: int,
    stop: threading.Event | None = None,
    poll: Callable[[], None] | None = None,
) -> Iterator[Result]:
    """Yield ``function(item)`` in the order of ``items``, at most ``ahead`` items begun early.

    The calling thread polls the monitor while it waits. On cancel or error, items not yet
    begun are dropped and those under way are waited for, so that nothing runs on afterwards;
    ``stop`` is set first, for functions that look at it while they work. ``poll`` is called
    while waiting and after each result.
    """
    waiting: deque[Future[Result]] = deque()
    source = iter(items)
    try:
        while True:
            while len(waiting) < ahead:
                try:
                    item = next(source)
                except StopIteration:
                    break
                waiting.append(pool.submit(function, item))
            if not waiting:
                return
            yield _result(waiting[0], monitor, poll or _nothing)
            waiting.popleft()
    finally:
        if stop is not None:
            stop.set()
        for future in waiting:
            future.cancel()
        for future in waiting:
            if not future.cancelled():
                future.exception()


def share_out(
    pool: ThreadPoolExecutor,
    workers: int,
    function: Callable[[int, int], None],
    count: int,
    monitor: Monitor,
) -> None:
    """Call ``function(worker, index)`` for each index below ``count``, spread over workers.

    A worker takes the next index when it is done with one, so one call has one worker number
    at a time. On cancel or error no further index is begun, and those under way are waited for.
    """
    indices = itertools.count()  # next() on it is atomic
    stop = threading.Event()

    def work(worker: int) -> None:
        for index in indices:
            if index >= count or stop.is_set():
                return
            try:
                function(worker, index)
            except BaseException:
                stop.set()
                raise

    futures = [pool.submit(work, worker) for worker in range(workers)]
    try:
        for future in futures:
            _result(future, monitor, _nothing)
    finally:
        stop.set()
        wait(futures)


def beside(function: Callable[[], Result], monitor: Monitor) -> Result:
    """Return ``function()``, run on a thread of its own while this one polls the monitor.

    For work that cannot be stopped, such as compiling: on cancel it is no longer waited for.
    """
    return awaited(begun(function), monitor)


def begun(function: Callable[[], Result]) -> Future[Result]:
    """Begin ``function()`` on a thread of its own, see :func:`awaited`."""
    future: Future[Result] = Future()

    def work() -> None:
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, name="iikmc-beside", daemon=True).start()
    return future


def awaited(future: Future[Result], monitor: Monitor) -> Result:
    """Return what a future brings, while this thread polls the monitor."""
    return _result(future, monitor, _nothing)


def _result(future: Future[Result], monitor: Monitor, poll: Callable[[], None]) -> Result:
    while True:
        monitor.check()
        wait([future], timeout=POLL_SECONDS)
        poll()
        if future.done():
            return future.result()


def _nothing() -> None:
    """Do nothing while waiting."""
