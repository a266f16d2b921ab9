"""Label rasters as compressed tiles of all resolutions, made of pieces on any thread."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..grid import Grid, Window
from ..overviews import Counters, overviews
from .tiffs import overview_factors, tile_size

_PIECE_PIXELS = 1 << 23
_MOST_MEMORY = 9  # of zlib, for the tables of one tile under way


def label_pieces(grid: Grid) -> list[Window]:
    """Cut a grid into windows of whole tiles and whole pixels of all overviews, row by row.

    They are as wide as the grid unless that makes more than some eight million pixels.
    """
    side = max(tile_size(grid), *overview_factors(grid), 1)
    wide = max(1, _PIECE_PIXELS // side**2) * side
    return [
        Window(row, column, min(side, grid.height - row), min(wide, grid.width - column))
        for row in range(0, grid.height, side)
        for column in range(0, grid.width, wide)
    ]


@dataclass(frozen=True)
class _Level:
    """One resolution: so many times smaller than the labels, and the number of its first tile."""

    factor: int
    height: int
    width: int
    first: int

    def number(self, row: int, column: int, tile: int) -> int:
        """Return the number of the tile that begins at a pixel."""
        return self.first + row // tile * -(-self.width // tile) + column // tile


class LabelTiles:
    """Makes the tiles of one label raster; keeps rows of overviews' tiles until they are whole."""

    def __init__(self, grid: Grid, count: Counters | None) -> None:
        """``count`` is for the overviews; None only where there are none."""
        self._grid, self._count, self._tile = grid, count, tile_size(grid)
        levels, first = [], 0
        for factor in (1, *overview_factors(grid)):
            height, width = -(-grid.height // factor), -(-grid.width // factor)
            levels.append(_Level(factor, height, width, first))
            first = levels[-1].number(height - 1, width - 1, self._tile) + 1
        self._all = first
        self._base, *self._reduced = levels
        self._lock = threading.Lock()
        # Rows of tiles of overviews that are not whole yet, by level and first row.
        self._strips: dict[tuple[int, int], np.ndarray] = {}
        # Pieces that have yet to come for each row of tiles, by level and row.
        self._missing: dict[tuple[int, int], int] = {}
        for piece in label_pieces(grid) if self._reduced else ():
            for key in self._touched(piece):
                self._missing[key] = self._missing.get(key, 0) + 1

    @property
    def first_of_overviews(self) -> int:
        """Number of the first tile that is not one of the labels themselves."""
        return self._reduced[0].first if self._reduced else self._all

    @property
    def overview_shapes(self) -> list[tuple[int, int]]:
        """Heights and widths of the overviews."""
        return [(level.height, level.width) for level in self._reduced]

    def pack(
        self, piece: Window, labels: np.ndarray, check: Callable[[], None]
    ) -> list[tuple[int, bytes]]:
        """Return tiles, each with its number: those of a piece, and of overviews now whole.

        ``labels`` are uint8 (height, width) of a window of :func:`label_pieces`; each piece is to
        come once. Empty tiles are left out. ``check`` is called now and then. Which call returns
        a tile of an overview depends on the order of the pieces, its content does not.
        """
        found = self._tiles(self._base, piece.row, piece.column, labels, check)
        if not self._reduced:
            return found
        assert self._count is not None
        planes = overviews(labels, len(self._reduced), self._count, check)
        for (number, first), strip in self._now_whole(piece, planes):
            found += self._tiles(self._reduced[number], first, 0, strip, check)
        return found

    def _now_whole(
        self, piece: Window, planes: list[np.ndarray]
    ) -> list[tuple[tuple[int, int], np.ndarray]]:
        """Put a piece's overviews into their rows of tiles; return and forget those now whole."""
        found = []
        for key in self._touched(piece):
            number, first = key
            factor, strip = self._reduced[number].factor, self._strip(key)
            row, column = piece.row // factor, piece.column // factor
            part = planes[number][max(0, first - row) : first + self._tile - row]
            inside = strip[max(0, row - first) :, column:]
            inside[: part.shape[0], : part.shape[1]] = part
            with self._lock:
                self._missing[key] -= 1
                if not self._missing[key]:
                    found.append((key, self._strips.pop(key)))
        return found

    def _strip(self, key: tuple[int, int]) -> np.ndarray:
        """Return a row of tiles of an overview."""
        level, first = self._reduced[key[0]], key[1]
        with self._lock:
            if key not in self._strips:
                rows = min(self._tile, level.height - first)
                self._strips[key] = np.zeros((rows, level.width), np.uint8)
            return self._strips[key]

    def _touched(self, piece: Window) -> list[tuple[int, int]]:
        """Return level and first row of all rows of tiles of overviews that show a piece."""
        found = []
        for number, level in enumerate(self._reduced):
            step = self._tile * level.factor
            last = piece.row + piece.height - 1
            for row in range(piece.row // step, last // step + 1):
                found.append((number, row * self._tile))
        return found

    def _tiles(
        self, level: _Level, row: int, column: int, labels: np.ndarray, check: Callable[[], None]
    ) -> list[tuple[int, bytes]]:
        """Return the tiles of labels that begin at a pixel of a level."""
        size, found = self._tile, []
        for top in range(0, labels.shape[0], size):
            for left in range(0, labels.shape[1], size):
                check()
                part = labels[top : top + size, left : left + size]
                if part.any():
                    number = level.number(row + top, column + left, size)
                    found.append((number, _compressed(part, size)))
        return found


def _compressed(labels: np.ndarray, size: int) -> bytes:
    """Return a tile, deflated.

    Only runs are looked for: of labels these are nearly all that there is to find, and zlib finds
    them five times as fast as all repetitions. zlib works beside other threads, while GDAL, as
    rasterio calls it, holds up all of Python.
    """
    if labels.shape != (size, size):
        labels = np.pad(labels, [(0, size - length) for length in labels.shape])
    packer = zlib.compressobj(
        zlib.Z_DEFAULT_COMPRESSION, zlib.DEFLATED, zlib.MAX_WBITS, _MOST_MEMORY, zlib.Z_RLE
    )
    return packer.compress(np.ascontiguousarray(labels).data) + packer.flush()
