"""One card: the blocks that stay on it, the kernels it runs, and the sums it adds up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..pixels import Block
from .base import UNLABELLED
from .cupy_kernels import BLOCK, CHUNK, KernelShape, chunks_of, compiled, stride_of

_TO_CARD, _FROM_CARD = 1, 2  # cudaMemcpyKind
_HEADROOM = 512 << 20
# Pixels × classes × (bands + 4) of one launch, which take well below a second on any card.
_MOST_TERMS = 1 << 36


class Card:
    """Memory, streams and kernels of one card.

    What it is asked to do is done in order on ``stream``, but for what is given a stream of its
    own; :meth:`wait` waits for it. Memory is taken from a pool with a limit, so that there is
    always some left for others. Raises CuPy's own errors.
    """

    def __init__(self, cupy: Any, number: int, limit: int | None) -> None:
        self._cupy, self._runtime = cupy, cupy.cuda.runtime
        self.device = cupy.cuda.Device(number)
        with self.device:
            free, total = self._runtime.memGetInfo()
            room = max(free - min(_HEADROOM, total // 16), 1)
            self.limit = min(room, limit) if limit else room
            self._pool = cupy.cuda.MemoryPool()
            self._pool.set_limit(size=self.limit)
            self.stream = cupy.cuda.Stream(non_blocking=True)
        self._memory: dict[str, Any] = {}
        self._modules: dict[KernelShape, Any] = {}
        self.release()

    def release(self) -> None:
        """Let go of the blocks, and of all memory."""
        with self.device:
            self.stream.synchronize()
            self._places: dict[int, Any] = {}
            self._rows: dict[int, np.ndarray] = {}
            self._memory.clear()
            self._pool.free_all_blocks()
        self.chunks = 0

    def forget(self) -> None:
        """Let go of the blocks; their memory is kept for others."""
        self._places, self._rows, self.chunks = {}, {}, 0

    def take(self, index: int, block: Block) -> None:
        """Make room for a block and its labels."""
        bands, stride = block.codes.shape[0], stride_of(block.pixels)
        size = stride * bands * block.codes.dtype.itemsize
        with self.device:
            place = self._pool.malloc(size + stride)
        self._places[index] = place
        row = np.zeros((), BLOCK)
        row["codes"], row["labels"], row["stride"] = place.ptr, place.ptr + size, stride
        row["pixels"], row["scene"] = block.pixels, block.scene
        self._rows[index] = row

    def list_blocks(self, size: int) -> None:
        """Write the tables of the blocks that are here, in chunks of so many pixels."""
        rows = list(self._rows.values())
        chunks = chunks_of([int(row["pixels"]) for row in rows], size)
        self.chunks = len(chunks)
        if rows:
            self.put("blocks", np.stack(rows))
            self.put("chunks", chunks)

    def put_codes(self, index: int, start: int, planes: np.ndarray, stream: Any) -> None:
        """Copy ``planes``, (bands, pixels), to a block's pixels from ``start``, on a stream."""
        row, size = self._rows[index], planes.dtype.itemsize
        with self.device:
            self._runtime.memcpy2DAsync(
                int(row["codes"]) + start * size,
                int(row["stride"]) * size,
                planes.ctypes.data,
                planes.strides[0],
                planes.shape[1] * size,
                planes.shape[0],
                _TO_CARD,
                stream.ptr,
            )

    def forget_labels(self) -> None:
        """Make all pixels here unlabelled."""
        with self.device:
            for row in self._rows.values():
                self._runtime.memsetAsync(
                    int(row["labels"]), UNLABELLED, int(row["stride"]), self.stream.ptr
                )

    def labels(self, index: int) -> np.ndarray:
        """Return the labels of a block that is here; on any thread."""
        row = self._rows[index]
        labels = np.empty(int(row["pixels"]), np.uint8)
        with self.device:
            self._runtime.memcpy(labels.ctypes.data, int(row["labels"]), labels.size, _FROM_CARD)
        return labels

    def reserve(self, name: str, size: int) -> int:
        """Return the address of memory of this name, of at least so many bytes."""
        held = self._memory.get(name)
        if held is None or held[1] < size:
            self._memory.pop(name, None)
            with self.device:
                held = self._memory[name] = (self._pool.malloc(size), size)
        return int(held[0].ptr)

    def drop(self, name: str) -> None:
        """Let go of the memory of this name."""
        del self._memory[name]

    def put(self, name: str, array: np.ndarray) -> None:
        """Copy an array to the memory of this name."""
        address = self.reserve(name, array.nbytes)
        with self.device:
            self._runtime.memcpyAsync(
                address, array.ctypes.data, array.nbytes, _TO_CARD, self.stream.ptr
            )
            self.stream.synchronize()  # the array may change or go away

    def clear_totals(self, count: int) -> None:
        """Set so many totals to 0."""
        address = self.reserve("totals", 8 * count)
        with self.device:
            self._runtime.memsetAsync(address, 0, 8 * count, self.stream.ptr)

    def totals(self, count: int) -> np.ndarray:
        """Wait for the stream, and return so many totals, int64."""
        totals = np.empty(count, np.int64)
        with self.device:
            self._runtime.memcpyAsync(
                totals.ctypes.data,
                self.reserve("totals", totals.nbytes),
                totals.nbytes,
                _FROM_CARD,
                self.stream.ptr,
            )
            self.stream.synchronize()
        return totals

    def wait(self) -> None:
        """Wait for all that was asked on the card's own stream."""
        with self.device:
            self.stream.synchronize()

    def load(self, shape: KernelShape, name: str) -> Any:
        """Return a kernel, which may have to be compiled."""
        with self.device:
            if shape not in self._modules:
                self._modules[shape] = compiled(self._cupy, shape)
            return self._modules[shape].get_function(name)

    def rounds(self, shape: KernelShape) -> int:
        """Return in how many launches to run a kernel on the blocks that are here."""
        return -(-self.chunks // _chunks_at_once(shape))

    def launch_round(self, shape: KernelShape, name: str, number: int) -> None:
        """Run a kernel on a round of the chunks of the blocks that are here."""
        step = _chunks_at_once(shape)
        first = number * step
        count = min(step, self.chunks - first)
        if count <= 0:
            return
        chunks = self.reserve("chunks", 0) + first * CHUNK.itemsize
        self._launch(shape, name, self.stream, count, self.reserve("blocks", 0), chunks)

    def launch_part(
        self, shape: KernelShape, name: str, stream: Any, pixels: int, block: int, chunks: int
    ) -> None:
        """Run a kernel on one block: the addresses of its row and of a table of its chunks."""
        self._launch(shape, name, stream, -(-pixels // shape.chunk), block, chunks)

    def _launch(
        self, shape: KernelShape, name: str, stream: Any, count: int, blocks: int, chunks: int
    ) -> None:
        kernel = self.load(shape, name)
        # Places in the tables are addresses, so they count from 0.
        addresses: Sequence[int] = (
            0,
            blocks,
            chunks,
            self.reserve("records", 0),
            self.reserve("totals", 0),
        )
        with self.device, stream:
            kernel((count,), (shape.threads,), tuple(np.uint64(address) for address in addresses))


def _chunks_at_once(shape: KernelShape) -> int:
    return max(1, _MOST_TERMS // (shape.chunk * shape.classes * (shape.bands + 4)))
