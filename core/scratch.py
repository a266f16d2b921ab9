"""A shelf for arrays: in memory up to a limit, and beyond it in a scratch file on disk."""

from __future__ import annotations

import ctypes
import os
import shutil
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np

from .errors import OutputError, ParameterError

_MEBIBYTE = 1 << 20


class Shelf:
    """Keeps arrays of one dtype; :meth:`put` and :meth:`Shelved.load` may be called on any thread.

    The scratch file is read into buffers rather than mapped, because mapped pages count as
    memory of the process. It has no name (on Windows it is deleted when closed), so that
    nothing is left behind whatever ends the process.
    """

    def __init__(self, limit: int) -> None:
        self._room = limit
        self._lock = threading.Lock()
        self._io_lock = threading.Lock()  # for systems whose files have one position for all
        self._file: IO[bytes] | None = None
        self._end = 0
        self._buffers = threading.local()

    @property
    def room(self) -> int:
        """Bytes of memory that are left."""
        return self._room

    def put(self, array: np.ndarray) -> Shelved:
        """Keep an array and return its handle; raises OutputError when the disk is full."""
        with self._lock:
            if array.nbytes <= self._room:
                self._room -= array.nbytes
                return Shelved(self, array.shape, array.dtype, array, -1)
            offset, self._end = self._end, self._end + array.nbytes
        try:
            with self._lock:
                if self._file is None:
                    self._file = tempfile.TemporaryFile(prefix="iikmc-", buffering=0)  # noqa: SIM115
            self._write(_bytes_of(np.ascontiguousarray(array)), offset)
        except OSError as error:
            raise OutputError(
                f"The scratch file in the temporary folder cannot be written ({error.strerror}): "
                "free space there, or allow more memory."
            ) from error
        return Shelved(self, array.shape, array.dtype, None, offset)

    def close(self) -> None:
        """Delete the scratch file; arrays in it are gone."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def read(self, shape: Sequence[int], dtype: np.dtype, offset: int) -> np.ndarray:
        """Return an array from the file, in this thread's buffer: the next call overwrites it."""
        count = int(np.prod(shape))
        buffer = getattr(self._buffers, "bytes", None)
        if buffer is None or buffer.size < count * dtype.itemsize:
            buffer = self._buffers.bytes = np.empty(count * dtype.itemsize, np.uint8)
        wanted = buffer[: count * dtype.itemsize]
        self._read_into(wanted.data, offset)
        return np.asarray(wanted.view(dtype).reshape(shape))

    def _write(self, data: memoryview, offset: int) -> None:
        assert self._file is not None
        while data:
            if hasattr(os, "pwrite"):
                done = os.pwrite(self._file.fileno(), data, offset)
            else:
                with self._io_lock:
                    self._file.seek(offset)
                    done = self._file.write(data)
            data, offset = data[done:], offset + done

    def _read_into(self, data: memoryview, offset: int) -> None:
        assert self._file is not None
        while data:
            if hasattr(os, "preadv"):
                done = os.preadv(self._file.fileno(), [data], offset)
            else:
                with self._io_lock:
                    self._file.seek(offset)
                    done = self._file.readinto(data)  # type: ignore[attr-defined]
            if not done:
                raise OutputError("The scratch file ended early; was the disk full or removed?")
            data, offset = data[done:], offset + done


class Shelved:
    """An array on a shelf."""

    def __init__(
        self,
        shelf: Shelf,
        shape: tuple[int, ...],
        dtype: np.dtype,
        array: np.ndarray | None,
        offset: int,
    ) -> None:
        self.shape, self.dtype = shape, dtype
        self._shelf, self._array, self._offset = shelf, array, offset

    @property
    def bytes_in_memory(self) -> int:
        """How much memory the array takes: none if it lies in the file."""
        return 0 if self._array is None else int(self._array.nbytes)

    def load(self) -> np.ndarray:
        """Return the array; valid until this thread loads another of the same shelf."""
        if self._array is not None:
            return self._array
        if not self.shape[-1]:
            return np.empty(self.shape, self.dtype)
        return self._shelf.read(self.shape, self.dtype, self._offset)

    def part(self, start: int, stop: int) -> np.ndarray:
        """Return a copy of the columns ``start`` to ``stop`` of a two-dimensional array."""
        if self._array is not None:
            return self._array[:, start:stop].copy()
        rows, columns = self.shape
        size = self.dtype.itemsize
        part = np.empty((rows, stop - start), self.dtype)
        for row in range(rows if stop > start else 0):
            offset = self._offset + (row * columns + start) * size
            part[row] = self._shelf.read((stop - start,), self.dtype, offset)
        return part


def _bytes_of(array: np.ndarray) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def memory_limit(memory_mb: int | None) -> int:
    """Return the bytes to keep pixels in; None or 0 means half of the memory that is free."""
    if memory_mb is not None and memory_mb < 0:
        raise ParameterError(
            f"memory_mb is {memory_mb}; expected 0 (half of what is free) or more."
        )
    if memory_mb:
        return int(memory_mb) * _MEBIBYTE
    return _free_memory() // 2


def check_disk(needed: int) -> None:
    """Raise OutputError unless the temporary folder has room for so many bytes."""
    if needed <= 0:
        return
    try:
        folder = tempfile.gettempdir()
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise OutputError(
            f"The pixels need up to {needed / _MEBIBYTE:,.0f} MB of scratch space, and there is no "
            f"temporary folder that can be written ({error.strerror}): set TMPDIR to one."
        ) from error
    if needed > free:
        raise OutputError(
            f"The pixels need up to {needed / _MEBIBYTE:,.0f} MB of scratch space, '{folder}' has "
            f"{free / _MEBIBYTE:,.0f} MB: free some, allow more memory, or set TMPDIR elsewhere."
        )


def _free_memory() -> int:
    """Return the bytes of memory that are free, caches included."""
    if hasattr(ctypes, "windll"):
        status = _MemoryStatus(length=ctypes.sizeof(_MemoryStatus))
        ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))
        return int(status.available)
    information = Path("/proc/meminfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    # macOS does not tell what is free; a quarter of all is a cautious guess.
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4


class _MemoryStatus(ctypes.Structure):
    """MEMORYSTATUSEX of the Windows API."""

    _fields_ = (
        ("length", ctypes.c_ulong),
        ("load", ctypes.c_ulong),
        ("total", ctypes.c_ulonglong),
        ("available", ctypes.c_ulonglong),
        ("total_page_file", ctypes.c_ulonglong),
        ("available_page_file", ctypes.c_ulonglong),
        ("total_virtual", ctypes.c_ulonglong),
        ("available_virtual", ctypes.c_ulonglong),
        ("available_extended_virtual", ctypes.c_ulonglong),
    )
