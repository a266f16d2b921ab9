"""Over a grid window by window: work on threads, its planes written in order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ..grid import Window
from ..monitor import Monitor
from ..parallel import beside, ordered_map, thread_count
from ..raster.values import ValueWriter

Work = Callable[[Window, threading.Event], Sequence[np.ndarray]]


def sweep(
    windows: Sequence[Window],
    work: Work,
    writers: Sequence[ValueWriter],
    *,
    threads: int | None = None,
    monitor: Monitor,
    counted: Callable[[], object] | None = None,
) -> None:
    """Call ``work`` for each window, on threads, and write its planes, one for each writer.

    ``work`` should look at the event, which is set once the run is to stop. Then ``counted`` is
    called, and the writers, open contexts of the caller, are finished. Raises Cancelled from the
    monitor.
    """
    workers, stop = thread_count(threads), threading.Event()
    pixels = sum(window.height * window.width for window in windows)
    counting, done = monitor.part(0.0, 0.9), 0
    with ThreadPoolExecutor(workers) as pool:
        results = ordered_map(
            pool, lambda window: work(window, stop), windows, monitor, ahead=workers + 1, stop=stop
        )
        for window, planes in zip(windows, results):
            for writer, plane in zip(writers, planes):
                monitor.check()
                writer.write(window, plane)
            done += window.height * window.width
            counting.progress(done / pixels)
    if counted is not None:
        counted()
    for index, writer in enumerate(writers, start=1):
        beside(writer.finish, monitor)
        monitor.progress(0.9 + 0.1 * index / len(writers))
