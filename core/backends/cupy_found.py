"""Whether there is a card that CuPy can use; if not, what a user has to know."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..errors import EngineError
from .cupy_kernels import KernelShape, compiled

_OUT_OF_MEMORY = 2
_INSUFFICIENT_DRIVER = 35
_NO_DEVICE = 100
_BUSY = {46: "another program has it for itself", 3: "it could not be started"}
_HOW = "install the CuPy of your CUDA, for example with pip install cupy-cuda12x"

_HOW_COMPILER = f"{_HOW}[ctk] (from CuPy 14 on), or add that CUDA's toolkit"
_LEAST_SHAPE = KernelShape.of(1, 2, np.dtype(np.uint16))


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
        return f"CuPy finds no compiler (NVRTC) of its CUDA ({_first_line(error)}): {_HOW_COMPILER}"
    for number in range(count):
        try:
            with cupy.cuda.Device(number):
                runtime.memGetInfo()
        except Exception as error:
            reason = _BUSY.get(getattr(error, "status", 0), _first_line(error))
            return f"card {number} cannot be used now ({reason})"
        why = _kernel_trouble(cupy, number)
        if why is not None:
            return why
    return None


def _kernel_trouble(cupy: Any, number: int) -> str | None:
    """Return why not even the smallest kernels can be made for a card and loaded, or None.

    The compiler may not know so old or so new a card, CuPy may miss CUDA's headers, or may not
    write where it keeps what it compiled. CuPy remembers the kernels: asking again takes no time.
    """
    device = cupy.cuda.Device(number)
    try:
        with device:
            compiled(cupy, _LEAST_SHAPE).get_function("assign_pixels")
    except Exception as error:
        reason = _first_line(error)
        if getattr(error, "status", 0) == _OUT_OF_MEMORY:
            return f"card {number} cannot be used now ({reason})"
        return (
            f"CuPy cannot make kernels for card {number}, of compute capability "
            f"{device.compute_capability[:-1]}.{device.compute_capability[-1]} ({reason}): "
            f"{_HOW_COMPILER}, of a version that knows this card"
        )
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
    except (cupy.cuda.compiler.CompileException, cupy.cuda.nvrtc.NVRTCError) as error:
        raise EngineError(
            f"CuPy could not compile the kernels ({_first_line(error)}): {_HOW}, or choose the "
            "engine numba or numpy."
        ) from error
