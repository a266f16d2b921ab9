"""Tiled TIFF files put together from tiles that GDAL has compressed in memory, on any thread.

GDAL writes one file from one thread, keeps what is not written yet in a cache that has to be
compressed even when the run is cancelled, and does not tell of tiles that a full disk did not
take. Here GDAL makes a file without tiles, which gives all tags, and small files of a few tiles
each; their tiles are taken over as they are and written by Python, which tells.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType

# TIFF 6.0 and BigTIFF: tags of what is looked at, and bytes of one value of each type.
_TILE_OFFSETS, _TILE_BYTE_COUNTS = 324, 325
_LONG, _LONG8 = 4, 16
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 16: 8, 17: 8}
_FORMATS = {3: "H", _LONG: "I", _LONG8: "Q"}


@dataclass(frozen=True)
class _Layout:
    """How TIFF (or BigTIFF, ``big``) writes its header and directory, little-endian."""

    big: bool

    @property
    def word(self) -> str:
        """Format of an offset."""
        return "Q" if self.big else "I"

    @property
    def size(self) -> int:
        """Bytes of an offset; what is no longer is kept in the entry itself."""
        return 8 if self.big else 4

    @property
    def count(self) -> str:
        """Format of the number of entries."""
        return "<Q" if self.big else "<H"

    @property
    def entry(self) -> str:
        """Format of an entry: tag, type, number of values, value or offset."""
        return f"<HH{self.word}{self.size}s"

    def header(self, directory: int) -> bytes:
        """Return a file's first bytes, which say where its directory begins."""
        if self.big:
            return struct.pack("<2sHHHQ", b"II", 43, 8, 0, directory)
        return struct.pack("<2sHI", b"II", 42, directory)


@dataclass(frozen=True)
class _Entry:
    """One tag with its values as bytes."""

    tag: int
    kind: int
    count: int
    values: bytes

    def numbers(self) -> tuple[int, ...]:
        """Return the values of a tag of integers."""
        return struct.unpack(f"<{self.count}{_FORMATS[self.kind]}", self.values)


def tiles_of(content: memoryview) -> list[bytes]:
    """Return the compressed tiles of a TIFF file, in its order; empty where it has none."""
    entries = {entry.tag: entry for entry in _read(content)[1]}
    offsets = entries[_TILE_OFFSETS].numbers()
    sizes = entries[_TILE_BYTE_COUNTS].numbers()
    return [bytes(content[offset : offset + size]) for offset, size in zip(offsets, sizes)]


def _read(content: memoryview) -> tuple[_Layout, list[_Entry]]:
    """Return the first directory of a little-endian TIFF file."""
    layout = _Layout(struct.unpack_from("<2sH", content)[1] == 43)
    (place,) = struct.unpack_from(f"<{layout.word}", content, 8 if layout.big else 4)
    (count,) = struct.unpack_from(layout.count, content, place)
    place += struct.calcsize(layout.count)
    entries = []
    for number in range(count):
        at = place + number * struct.calcsize(layout.entry)
        tag, kind, values, value = struct.unpack_from(layout.entry, content, at)
        size = values * _SIZES[kind]
        if size > layout.size:
            (at,) = struct.unpack(f"<{layout.word}", value)
            value = bytes(content[at : at + size])
        entries.append(_Entry(tag, kind, values, value[:size]))
    return layout, entries


class TiledFile:
    """A TIFF file with the tags of ``template``, a file without tiles, and tiles of its own.

    Use as a context manager. Tiles may come in any order; those that never come are empty, which
    GDAL reads as nodata. Raises OSError as soon as the disk does not take what is written.
    """

    def __init__(self, path: str | os.PathLike[str], template: memoryview) -> None:
        layout, entries = _read(template)
        count = next(entry.count for entry in entries if entry.tag == _TILE_OFFSETS)
        self._offsets, self._sizes = [0] * count, [0] * count
        self._arrays: dict[int, int] = {}
        self._format = layout.word
        directory = self._directory(layout, entries)
        self._file = open(path, "wb")  # noqa: SIM115 - closed with this object
        try:
            self._file.write(directory)
        except BaseException:
            self._file.close()
            raise

    def _directory(self, layout: _Layout, entries: list[_Entry]) -> bytes:
        """Return header and directory, with room for where tiles lie, and note its place."""
        count = len(self._offsets)
        kind = _LONG8 if layout.big else _LONG
        room = {
            _TILE_OFFSETS: _Entry(_TILE_OFFSETS, kind, count, bytes(count * layout.size)),
            _TILE_BYTE_COUNTS: _Entry(_TILE_BYTE_COUNTS, _LONG, count, bytes(count * 4)),
        }
        entries = [room.get(entry.tag, entry) for entry in entries]
        start = len(layout.header(0))
        step, place = struct.calcsize(layout.entry), start + struct.calcsize(layout.count)
        after = place + len(entries) * step + layout.size
        table, values = b"", b""
        for number, entry in enumerate(entries):
            inside = len(entry.values) <= layout.size
            at = after + len(values)
            value = entry.values if inside else struct.pack(f"<{layout.word}", at)
            table += struct.pack(layout.entry, entry.tag, entry.kind, entry.count, value)
            if entry.tag in room:
                head = step - layout.size
                self._arrays[entry.tag] = place + number * step + head if inside else at
            if not inside:
                values += entry.values + bytes(-len(entry.values) % 8)
        following = bytes(layout.size)  # there is no second directory
        return (
            layout.header(start)
            + struct.pack(layout.count, len(entries))
            + (table + following + values)
        )

    def __enter__(self) -> TiledFile:
        return self

    def add(self, tiles: Iterable[tuple[int, bytes]]) -> None:
        """Write compressed tiles, each with its number in the file."""
        for number, tile in tiles:
            if tile:
                self._offsets[number], self._sizes[number] = self._file.tell(), len(tile)
                self._file.write(tile)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._file:
            if kind is None:
                count = len(self._offsets)
                self._file.seek(self._arrays[_TILE_OFFSETS])
                self._file.write(struct.pack(f"<{count}{self._format}", *self._offsets))
                self._file.seek(self._arrays[_TILE_BYTE_COUNTS])
                self._file.write(struct.pack(f"<{count}I", *self._sizes))
