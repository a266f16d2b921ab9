"""A CuPy without a card: the part of it that the engine uses, on memory of the host.

Kernels are compiled from the engine's own source by the system's C++ compiler (cuda_shim). What
CuPy does later is done as late as it may be: copies and kernels wait in their stream until that is
synchronised, so that a missing wait shows. Memory of a card comes filled with rubbish and between
guards, and each access has to lie in memory of the card that is current.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np

SHIM = Path(__file__).with_name("cuda_shim")
COMPILER = shutil.which("g++") or shutil.which("clang++")
NO_COMPILER = "no C++ compiler (g++ or clang++) was found"

_RUBBISH, _GUARD, _GUARD_BYTES = 0xA5, 0x5A, 512
_folder = tempfile.TemporaryDirectory(prefix="iikmc-shim-")
_launching = threading.Lock()  # the shim's threads of a block are of one system thread
_numbers = itertools.count(1)


class OutOfMemoryError(MemoryError):
    """Raised by a memory pool."""


class StatusError(RuntimeError):
    """CUDARuntimeError and CUDADriverError."""

    def __init__(self, status: int, text: str = "cudaErrorSomething: it went wrong") -> None:
        super().__init__(text)
        self.status = status


class CompileException(Exception):
    """Raised by NVRTC."""


class NVRTCError(RuntimeError):
    """Raised by NVRTC where it cannot even begin."""


@functools.cache
def shim(source: str, options: tuple[str, ...]) -> ctypes.CDLL:
    """Return the kernels compiled with these options."""
    number = next(_numbers)
    kernels, library = (Path(_folder.name) / f"{number}.{kind}" for kind in ("cu", "so"))
    kernels.write_text(source)
    command = [
        COMPILER, *options, "-O1", "-shared", "-fPIC", "-ffp-contract=off", "-fno-strict-aliasing",
        "-Wall", "-Werror", "-Wno-unknown-pragmas", f'-DKERNELS="{kernels}"',
        str(SHIM / "driver.cpp"), "-o", str(library),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise CompileException(done.stderr)
    return ctypes.CDLL(str(library))


class Stream:
    """What is to be done, in order."""

    def __init__(self, fake: FakeCupy, device: int) -> None:
        self.ptr, self.device = next(_numbers), device
        self._fake = fake
        self._waiting: list[Callable[[], None]] = []

    def ask(self, action: Callable[[], None]) -> None:
        """Do something when this is synchronised."""
        assert self.device == self._fake.current, "a stream of another card"
        self._waiting.append(action)

    def synchronize(self) -> None:
        """Do what was asked."""
        assert self.device == self._fake.current, "a stream of another card"
        waiting, self._waiting = self._waiting, []
        for action in waiting:
            action()

    def __enter__(self) -> Stream:
        self._fake.streams_in_use().append(self)
        return self

    def __exit__(self, *error: object) -> None:
        self._fake.streams_in_use().pop()


class Memory:
    """Memory of a card, between guards."""

    def __init__(self, fake: FakeCupy, pool: Pool, size: int) -> None:
        self.device, self.size, self._pool, self._fake = fake.current, size, pool, fake
        self._whole = np.full(size + 2 * _GUARD_BYTES + 512, _GUARD, np.uint8)
        self._start = -(self._whole.ctypes.data + _GUARD_BYTES) % 512 + _GUARD_BYTES
        self._whole[self._start : self._start + size] = _RUBBISH
        self.ptr = self._whole.ctypes.data + self._start
        fake.live[self.ptr] = (size, self.device)

    def check(self) -> None:
        """Fail where something was written beside this memory."""
        assert (self._whole[: self._start] == _GUARD).all(), "written before the memory"
        assert (self._whole[self._start + self.size :] == _GUARD).all(), "written behind it"

    def __del__(self) -> None:
        self._fake.live.pop(self.ptr, None)
        self._pool.used -= rounded(self.size)
        try:
            self.check()
        except AssertionError as error:  # raised again by FakeCupy.check
            self._fake.broken.append(str(error))


class Pool:
    """A memory pool of the card that is current."""

    def __init__(self, fake: FakeCupy) -> None:
        self._fake, self.used, self._limit = fake, 0, 0

    def set_limit(self, size: int) -> None:
        """Allow so many bytes."""
        self._limit = size

    def malloc(self, size: int) -> Memory:
        """Return memory; raises OutOfMemoryError."""
        self._fake.allocations += 1
        if self._fake.refuse(self._fake.allocations):
            raise OutOfMemoryError(f"Out of memory allocating {size:,} bytes (refused).\nMore.")
        if self.used + rounded(size) > self._limit:
            raise OutOfMemoryError(f"Out of memory allocating {size:,} bytes (limit).\nMore.")
        self.used += rounded(size)
        return Memory(self._fake, self, size)

    def free_all_blocks(self) -> None:
        """Give memory back that is not in use; here that is done at once."""


class RawModule:
    """Kernels of a source."""

    def __init__(self, fake: FakeCupy, code: str, options: tuple[str, ...]) -> None:
        self._fake, self._code, self._options = fake, code, options

    def get_function(self, name: str) -> Callable[..., None]:
        """Return a kernel, to be called as grid, block, arguments; CuPy compiles it here."""
        if self._fake.compile_error is not None:
            raise self._fake.compile_error
        function = getattr(shim(self._code, self._options), f"run_{name}")

        def launch(grid: tuple[int], block: tuple[int], arguments: tuple[np.uint64, ...]) -> None:
            self._fake.launches += 1
            error = self._fake.launch_error(self._fake.launches)
            if error is not None:
                raise error
            values = [int(argument) for argument in arguments]
            pointers = (ctypes.c_void_p * len(values))(*values)

            def run() -> None:
                for value in values[1:]:
                    self._fake.check_place(value, 1)
                with _launching:
                    answer = function(grid[0], block[0], pointers)
                assert answer == 0, ["", "a barrier not reached by all", "a sum overflowed"][answer]

            self._fake.streams_in_use()[-1].ask(run)

        return launch


def rounded(size: int) -> int:
    """Return the bytes that a pool takes for so many."""
    return -(-size // 512) * 512


class FakeCupy(ModuleType):
    """The module, with so many cards of so much memory.

    ``refuse`` says which allocations, counted from 1, fail; ``launch_error`` what launches raise.
    """

    def __init__(self, cards: int = 1, memory: int = 1 << 30) -> None:
        super().__init__("cupy")
        self.live: dict[int, tuple[int, int]] = {}
        self.broken: list[str] = []
        self.allocations = self.launches = 0
        self.refuse: Callable[[int], bool] = lambda number: False
        self.launch_error: Callable[[int], Exception | None] = lambda number: None
        self.found_cards: Callable[[], int] = lambda: cards
        self.start_error: Exception | None = None
        self.compile_error: Exception | None = None
        self.driver, self.memory = 12040, memory
        self._thread = threading.local()
        self._streams: dict[int, Stream] = {}
        self.RawModule = functools.partial(RawModule, self)
        pinned = SimpleNamespace(free_all_blocks=lambda: None)
        self.get_default_pinned_memory_pool = lambda: pinned
        self.cuda = SimpleNamespace(
            Device=functools.partial(Device, self),
            MemoryPool=functools.partial(Pool, self),
            Stream=self._stream,
            alloc_pinned_memory=lambda size: np.full(size, _RUBBISH, np.uint8),
            memory=SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
            compiler=SimpleNamespace(CompileException=CompileException),
            driver=SimpleNamespace(CUDADriverError=StatusError),
            nvrtc=SimpleNamespace(getVersion=lambda: (12, 4), NVRTCError=NVRTCError),
            runtime=SimpleNamespace(
                CUDARuntimeError=StatusError,
                getDeviceCount=lambda: self.found_cards(),
                driverGetVersion=lambda: self.driver,
                runtimeGetVersion=lambda: 12040,
                memGetInfo=self._memory_info,
                memcpy=lambda *copy: self._copy(*copy)(),
                memcpyAsync=lambda *copy: self._streams[copy[-1]].ask(self._copy(*copy[:-1])),
                memcpy2DAsync=self._copy_rows,
                memsetAsync=self._set,
            ),
        )

    @property
    def current(self) -> int:
        """The card that this thread uses."""
        return getattr(self._thread, "device", 0)

    def streams_in_use(self) -> list[Stream]:
        """Return this thread's streams, the current one last."""
        if not hasattr(self._thread, "streams"):
            self._thread.streams = []
        return self._thread.streams

    def check_place(self, address: int, size: int) -> None:
        """Fail unless so many bytes from an address are the current card's."""
        for start, (length, device) in list(self.live.items()):
            if start <= address and address + size <= start + length:
                assert device == self.current, "memory of another card"
                return
        raise AssertionError("not memory of a card")

    def check(self) -> None:
        """Fail where memory is still taken, or something was written beside it."""
        assert not self.broken
        assert not self.live

    def _stream(self, non_blocking: bool) -> Stream:
        stream = Stream(self, self.current)
        self._streams[stream.ptr] = stream
        return stream

    def _memory_info(self) -> tuple[int, int]:
        if self.start_error is not None:
            raise self.start_error
        return self.memory, self.memory

    def _copy(self, to: int, source: int, size: int, kind: int) -> Callable[[], None]:
        def copy() -> None:
            self.check_place(to if kind == 1 else source, size)
            ctypes.memmove(to, source, size)

        return copy

    def _copy_rows(
        self, to: int, step: int, source: int, source_step: int, width: int, height: int,
        kind: int, stream: int,
    ) -> None:  # fmt: skip
        assert width <= step and width <= source_step
        for row in range(height):
            copy = self._copy(to + row * step, source + row * source_step, width, kind)
            self._streams[stream].ask(copy)

    def _set(self, address: int, value: int, size: int, stream: int) -> None:
        def fill() -> None:
            self.check_place(address, size)
            ctypes.memset(address, value, size)

        self._streams[stream].ask(fill)


class Device:
    """A card, current within a with statement, which may be entered again."""

    compute_capability = "61"

    def __init__(self, fake: FakeCupy, number: int) -> None:
        self._fake, self._number = fake, number

    def __enter__(self) -> Device:
        local = self._fake._thread
        local.before = [*getattr(local, "before", []), self._fake.current]
        local.device = self._number
        return self

    def __exit__(self, *error: object) -> None:
        self._fake._thread.device = self._fake._thread.before.pop()
