"""Connecting to Dask: threads of this process, a scheduler, and workers that fit."""

from __future__ import annotations

import contextlib
import importlib
import logging
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import EngineError, IikmcError
from ..monitor import Monitor
from ..parallel import beside

HERE = __name__.rsplit(".core.", 1)[0]
"""What this package is called here, and in threads of this process."""
PACKAGE = "iikmc"
"""What it is called on workers."""
_CONNECT_SECONDS = 10
_ANSWER_SECONDS = 20


def imported() -> Any:
    try:
        return importlib.import_module("distributed")
    except ImportError as error:
        raise EngineError(
            f"The engine 'dask' needs the Python package distributed, which cannot be imported "
            f"({error}): install it with pip, or choose the engine auto."
        ) from error


def in_process(threads: int) -> Any:
    """Return a client of threads of this process.

    Never of other processes: within QGIS they would be QGIS itself.
    """
    return imported().Client(
        processes=False,
        n_workers=1,
        threads_per_worker=threads,
        memory_limit=0,  # the engine keeps within its own, and QGIS is not Dask's to bound
        dashboard_address="127.0.0.1:0",  # without one, Dask listens to the whole network
        worker_dashboard_address="127.0.0.1:0",
        local_directory=tempfile.gettempdir(),
        silence_logs=logging.WARNING,
        set_as_default=False,
    )


def connected(name: str) -> Any:
    """Return a client of a scheduler by its address, or by the file that it wrote."""
    if "://" not in name and not Path(name).is_file() and ":" not in name:
        raise EngineError(
            f"There is no Dask scheduler file '{name}': give the file that the scheduler wrote, or "
            "its address, such as tcp://192.0.2.1:8786."
        )
    place = {"scheduler_file": name} if Path(name).is_file() else {"address": name}
    kind = imported().Client
    client = kind.__new__(kind)  # known here, for one that fails has to be closed
    try:
        client.__init__(**place, timeout=_CONNECT_SECONDS, set_as_default=False)
        return client
    except Exception as error:
        # Else the garbage collector closes it, and waits forever if that is while another starts.
        with contextlib.suppress(Exception):
            client.close(timeout=2)
        raise EngineError(
            f"The Dask scheduler {name} cannot be reached ({words(error)}): start it with "
            "'dask scheduler', or see whether its address and port are right."
        ) from error


def check_workers(client: Any, where: str, monitor: Monitor) -> None:
    """Raise EngineError unless there are workers, and all have this very package.

    ``where`` is how a worker is told of the scheduler.
    """
    # Functions are sent as bytecode, which another Python does not understand.
    pythons = _answer(client.get_versions, monitor)["workers"]
    if not pythons:
        raise EngineError(
            f"The Dask scheduler {client.scheduler.address} has no worker: start some with "
            f"'dask worker {where}'."
        )
    mine = ".".join(map(str, sys.version_info[:2]))
    for worker, versions in pythons.items():
        theirs = str(versions["host"]["python"])
        if theirs.split(".")[:2] != mine.split("."):
            raise EngineError(
                f"The worker {worker} runs Python {theirs}, and this is {mine}: use the same minor "
                "version on both sides."
            )
    found = _answer(lambda: client.run(_versions, on_error="return"), monitor)
    mine = importlib.import_module(HERE).__version__
    for worker, versions in found.items():
        if isinstance(versions, Exception):
            raise EngineError(f"The worker {worker} cannot be used: {words(versions)}.")
        if versions["trouble"]:
            raise EngineError(
                f"The worker {worker} cannot import {PACKAGE} ({versions['trouble']}): install "
                f"{PACKAGE} {mine} with numpy and rasterio where the workers run."
            )
        if versions[PACKAGE] != mine:
            raise EngineError(
                f"The worker {worker} has {PACKAGE} {versions[PACKAGE]}, and this is {mine}: "
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


def _answer(ask: Callable[[], Any], monitor: Monitor) -> Any:
    """Return what a cluster answers; EngineError if it does not within seconds."""
    try:
        return beside(ask, _Patience(monitor))
    except IikmcError:
        raise
    except Exception as error:
        raise EngineError(
            f"The Dask cluster does not answer ({words(error)}): see whether scheduler and "
            "workers are running."
        ) from error


class _Patience(Monitor):
    """Passes on a cancel, and ends what takes too long."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor, self._end = monitor, time.monotonic() + _ANSWER_SECONDS

    def check(self) -> None:
        self._monitor.check()
        if time.monotonic() > self._end:
            raise EngineError(
                f"The Dask workers did not answer within {_ANSWER_SECONDS} seconds: see whether "
                "they are running."
            )


def words(error: BaseException) -> str:
    """Return an error in one line."""
    text = str(error).strip().split("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


# This travels to the workers as it is, whatever this package is called here.


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


_versions.__module__ = "__main__"  # such functions are sent by value
