"""Whether there is a card that CuPy can use; if not, what a user has to know."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from typing import Any

from ..errors import EngineError

_OUT_OF_MEMORY = 2
_INSUFFICIENT_DRIVER = 35
_NO_DEVICE = 100
_BUSY = {46: "another program has it for itself", 3: "it could not be started"}
_HOW = "install the CuPy of your CUDA, for example with pip install cupy-cuda12x"


class CardMemoryError(Exception):
    """A card, or the page-locked memory it copies from, has no room for what was asked."""


def trouble() -> str | None:
    """Return why the cards here cannot be used, as the end of a sentence, or None if they can."""
    try:
        cupy = importlib.import_module("cupy")
    except Exception as error:  # absent, or at odds with the NumPy or the system there is
        return f"the Python package cupy cannot be imported ({error}): {_HOW}"
    runtime = cupy.cuda.runtime
    try:
        count = runtime.getDeviceCount()
    except Exception as error:
        return _driver_trouble(runtime, error)
    if not count:
        return "no NVIDIA card was found; is it hidden by CUDA_VISIBLE_DEVICES?"
    try:
        cupy.cuda.nvrtc.getVersion()
    except Exception as error:  # the compiler of another CUDA, or none
        return f"CuPy finds no compiler (NVRTC) of its CUDA ({_first_line(error)}): {_HOW}[ctk]"
    for number in range(count):
        try:
            with cupy.cuda.Device(number):
                runtime.memGetInfo()
        except Exception as error:
            reason = _BUSY.get(getattr(error, "status", 0), _first_line(error))
            return f"card {number} cannot be used now ({reason})"
    return None


def _driver_trouble(runtime: Any, error: Exception) -> str:
    status = getattr(error, "status", None)
    if status == _NO_DEVICE:
        return "no NVIDIA card was found; is it hidden by CUDA_VISIBLE_DEVICES?"
    if status != _INSUFFICIENT_DRIVER:
        return f"the NVIDIA driver does not answer ({_first_line(error)})"
    driver, built = runtime.driverGetVersion(), runtime.runtimeGetVersion()
    if not driver:
        return "no NVIDIA driver was found: install the one for your card"
    return (
        f"the NVIDIA driver knows CUDA up to {_version(driver)} and this CuPy is for CUDA "
        f"{_version(built)}: update the driver, or {_HOW.replace('12x', f'{driver // 1000}x')}"
    )


def _version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


@contextlib.contextmanager
def plainly(cupy: Any) -> Iterator[None]:
    """Raise CardMemoryError where a card has no room, EngineError for what else it reports."""
    try:
        yield
    except cupy.cuda.memory.OutOfMemoryError as error:
        raise CardMemoryError(_first_line(error)) from error
    except (cupy.cuda.runtime.CUDARuntimeError, cupy.cuda.driver.CUDADriverError) as error:
        if error.status == _OUT_OF_MEMORY:
            raise CardMemoryError(_first_line(error)) from error
        raise EngineError(
            f"The card reported an error ({_first_line(error)}): try again, or choose the engine "
            "numba or numpy."
        ) from error
    except cupy.cuda.compiler.CompileException as error:
        raise EngineError(
            f"CuPy could not compile the kernels ({_first_line(error)}): {_HOW}, or choose the "
            "engine numba or numpy."
        ) from error
