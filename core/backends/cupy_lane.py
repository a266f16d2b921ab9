"""A lane to the cards: page-locked memory that a thread fills while other lanes' copies run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..pixels import Block
from .cupy_card import Card
from .cupy_kernels import ALIGNMENT, BLOCK, KernelShape, stride_of

_TO_CARD, _FROM_CARD = 1, 2
_ROW_BYTES = -(-BLOCK.itemsize // ALIGNMENT) * ALIGNMENT


@dataclass(frozen=True)
class Part:
    """Pixels ``start`` to ``stop`` of a block, which pass through a card."""

    index: int
    start: int
    stop: int
    card: int


def pixels_of(size: int, bands: int, code_bytes: int) -> int:
    """Return how many pixels with their labels fit into a lane of so many bytes, 0 if none."""
    most = (size - _ROW_BYTES) // (bands * code_bytes + 1)
    return max(most // ALIGNMENT * ALIGNMENT, 0)


def codes_of(block: Block, start: int, stop: int) -> np.ndarray:
    """Return the codes of a part of a block, valid until this thread asks for others."""
    if (start, stop) == (0, block.pixels):
        return block.codes.load()
    return block.codes.part(start, stop)


class Lane:
    """One thread's page-locked buffer, and a stream and as much memory on every card.

    The buffer holds a block's row, its planes and its labels, as a card gets them.
    """

    def __init__(self, cupy: Any, cards: Sequence[Card], number: int, size: int) -> None:
        self._runtime, self._cards, self._name = cupy.cuda.runtime, cards, f"lane {number}"
        self._size = size
        self._streams = []
        with cards[0].device:
            self._pinned = cupy.cuda.alloc_pinned_memory(size)
        self._buffer = np.frombuffer(self._pinned, np.uint8, size)
        for card in cards:
            with card.device:
                self._streams.append(cupy.cuda.Stream(non_blocking=True))
            card.reserve(self._name, size)

    def upload(self, card: int, index: int, start: int, codes: np.ndarray) -> None:
        """Copy codes, (bands, pixels), to a block that stays on a card, from pixel ``start``."""
        planes = self._buffer[: codes.nbytes].view(codes.dtype).reshape(codes.shape)
        planes[:] = codes
        self._cards[card].put_codes(index, start, planes, self._streams[card])
        self._wait(card)

    def run(
        self,
        part: Part,
        scene: int,
        codes: np.ndarray,
        labels: np.ndarray,
        shape: KernelShape,
        kernel: str,
        returns_labels: bool,
    ) -> None:
        """Run a kernel on a part: its codes, (bands, pixels), and labels, (pixels,), in place."""
        bands, pixels = codes.shape
        card, stream = self._cards[part.card], self._streams[part.card]
        address = card.reserve(self._name, self._size)
        stride = stride_of(pixels)
        behind = _ROW_BYTES + stride * bands * codes.itemsize
        row = self._buffer[: BLOCK.itemsize].view(BLOCK)[0]
        row["codes"], row["labels"] = address + _ROW_BYTES, address + behind
        row["stride"], row["pixels"], row["scene"] = stride, pixels, scene
        planes = self._buffer[_ROW_BYTES:behind].view(codes.dtype).reshape(bands, stride)
        planes[:, :pixels] = codes
        staged = self._buffer[behind : behind + pixels]
        staged[:] = labels
        with card.device:
            self._runtime.memcpyAsync(
                address, self._buffer.ctypes.data, behind + pixels, _TO_CARD, stream.ptr
            )
        chunks = card.reserve("part chunks", 0)
        card.launch_part(shape, kernel, stream, pixels, address, chunks)
        if returns_labels:
            with card.device:
                self._runtime.memcpyAsync(
                    staged.ctypes.data, address + behind, pixels, _FROM_CARD, stream.ptr
                )
        self._wait(part.card)
        if returns_labels:
            labels[:] = staged

    def _wait(self, card: int) -> None:
        with self._cards[card].device:
            self._streams[card].synchronize()
