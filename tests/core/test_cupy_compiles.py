"""NVIDIA's compiler takes the kernels, for old cards and new, and keeps them in registers."""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib.util
import os
import re
from pathlib import Path

import numpy as np
import pytest

from iikmc.core.backends.cupy_kernels import SOURCE, KernelShape

ARCHITECTURES = ("60", "75", "80", "90")
OF_CUPY = ("-ftz=true", "--device-as-default-execution-space")
"""Options that CuPy adds to those it is given."""


def nvrtc_paths() -> list[str]:
    """Return where NVRTC may be: NVIDIA's packages, a CUDA toolkit, the system's libraries."""
    folders = []
    spec = importlib.util.find_spec("nvidia")
    if spec is not None:
        folders += [
            path for root in spec.submodule_search_locations for path in Path(root).iterdir()
        ]
    folders += [Path(os.environ.get("CUDA_PATH", "/usr/local/cuda"))]
    found = [
        str(path)
        for folder in folders
        for place in ("lib", "lib64", "bin")
        for path in sorted((folder / place).glob("*nvrtc*"))
        if re.fullmatch(r"libnvrtc\.so\.\d+|nvrtc64_\w+_0\.dll", path.name)
    ]
    return found + list(filter(None, [ctypes.util.find_library("nvrtc")]))


def load_nvrtc() -> ctypes.CDLL | None:
    """Return NVRTC, or None."""
    for path in nvrtc_paths():
        try:
            return ctypes.CDLL(path)
        except OSError:
            continue
    return None


NVRTC = load_nvrtc()
pytestmark = pytest.mark.skipif(NVRTC is None, reason="NVIDIA's compiler NVRTC was not found")


def compiled(shape: KernelShape, architecture: str) -> tuple[int, str]:
    """Compile the kernels to machine code; return the compiler's status and log."""
    options = [
        *shape.options(), *OF_CUPY, f"--gpu-architecture=sm_{architecture}", "--ptxas-options=-v"
    ]  # fmt: skip
    program = ctypes.c_void_p()
    source = SOURCE.read_bytes()
    assert not NVRTC.nvrtcCreateProgram(ctypes.byref(program), source, b"kernels.cu", 0, None, None)
    values = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
    status = NVRTC.nvrtcCompileProgram(program, len(options), values)
    size = ctypes.c_size_t()
    NVRTC.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    NVRTC.nvrtcGetProgramLog(program, log)
    NVRTC.nvrtcDestroyProgram(ctypes.byref(program))
    return status, log.value.decode()


def supported() -> list[str]:
    """Return the architectures that this NVRTC knows."""
    count = ctypes.c_int()
    if NVRTC.nvrtcGetNumSupportedArchs(ctypes.byref(count)):
        return []
    numbers = (ctypes.c_int * count.value)()
    NVRTC.nvrtcGetSupportedArchs(numbers)
    return [str(number) for number in numbers]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(
    ("bands", "classes", "dtype"),
    [(1, 2, "u2"), (6, 8, "u2"), (6, 8, "i4"), (10, 50, "u2"), (64, 9, "i4"), (64, 254, "u2")],
)
def test_nvrtc_compiles_the_kernels(bands, classes, dtype, architecture):
    if architecture not in supported():
        pytest.skip(f"this NVRTC does not compile for sm_{architecture}")
    status, log = compiled(KernelShape.of(bands, classes, np.dtype(dtype)), architecture)
    assert status == 0, log
    if bands <= 10:
        spilt = re.findall(r"(\d+) bytes spill (?:stores|loads)", log)
        assert spilt and not any(map(int, spilt)), log


@pytest.mark.parametrize(
    ("dtype", "change", "words"),
    [("u2", {"chunk": 1 << 15}, "could pass 2^31"), ("i4", {"pixels": 8}, "aligned to")],
)
def test_a_kernel_with_a_mistake_is_not_taken(dtype, change, words):
    shape = KernelShape.of(6, 8, np.dtype(dtype)).but(**change)
    status, log = compiled(shape, supported()[-1])
    assert status and words in log
