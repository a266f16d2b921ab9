"""Tiled TIFF files put together from tiles that were compressed in memory, on any thread.

GDAL writes one file from one thread, keeps what is not written yet in a cache that has to be
compressed even when the run is cancelled, and does not tell of tiles that a full disk did not
take. Here GDAL makes a file without tiles, which gives all tags; the tiles, which may be those of
small files that GDAL has made, are written by Python, which tells.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType

# TIFF 6.0 and BigTIFF: tags of what is looked at, and bytes of one value of each type.
_SUBFILE_TYPE, _WIDTH, _HEIGHT = 254, 256, 257
_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_BYTE_COUNTS = 322, 323, 324, 325
_REDUCED_RESOLUTION = 1
# What an overview says as its file does: how pixels are kept, the colour table and, by GDAL's own
# tag, the nodata value. It stands for the bits of a sample, compression, photometric
# interpretation, samples of a pixel, planar configuration, predictor, colour map, the size of
# tiles, extra samples, sample format and nodata.
_OF_PIXELS = {258, 259, 262, 277, 284, 317, 320, _TILE_WIDTH, _TILE_HEIGHT, 338, 339, 42113}
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


@dataclass(frozen=True)
class _Directory:
    """A directory of ``tiles`` tiles as bytes; ``arrays`` are the places of what says where they
    lie and how long they are, by tag."""

    content: bytes
    tiles: int
    arrays: dict[int, int]


class TiledFile:
    """A TIFF file with the tags of ``template``, a file without tiles, and tiles of its own.

    ``overviews`` are heights and widths of overviews of a band, with tiles of the same size. Tiles
    are numbered through, first those of the whole, then of each overview in turn. Use as a context
    manager. Tiles may come in any order; those that never come are empty, which GDAL reads as
    nodata. Raises OSError as soon as the disk does not take what is written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        template: memoryview,
        overviews: Sequence[tuple[int, int]] = (),
    ) -> None:
        layout, entries = _read(template)
        content = layout.header(len(layout.header(0)))
        self._directories = []
        following = [*(_reduced(entries, *shape) for shape in overviews), None]
        for mine, more in zip([entries, *following], following):
            assert mine is not None
            directory = _directory(layout, mine, len(content), more is None)
            self._directories.append(directory)
            content += directory.content
        count = sum(directory.tiles for directory in self._directories)
        self._offsets, self._sizes = [0] * count, [0] * count
        self._format = layout.word
        self._file = open(path, "wb")  # noqa: SIM115 - closed with this object
        try:
            self._file.write(content)
        except BaseException:
            self._file.close()
            raise

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
                first = 0
                for directory in self._directories:
                    tiles = slice(first, first + directory.tiles)
                    for tag, word, values in (
                        (_TILE_OFFSETS, self._format, self._offsets[tiles]),
                        (_TILE_BYTE_COUNTS, "I", self._sizes[tiles]),
                    ):
                        self._file.seek(directory.arrays[tag])
                        self._file.write(struct.pack(f"<{len(values)}{word}", *values))
                    first = tiles.stop


def _directory(layout: _Layout, entries: list[_Entry], start: int, last: bool) -> _Directory:
    """Return a directory that begins at ``start``, with room for where its tiles lie."""
    count = next(entry.count for entry in entries if entry.tag == _TILE_OFFSETS)
    kind = _LONG8 if layout.big else _LONG
    room = {
        _TILE_OFFSETS: _Entry(_TILE_OFFSETS, kind, count, bytes(count * layout.size)),
        _TILE_BYTE_COUNTS: _Entry(_TILE_BYTE_COUNTS, _LONG, count, bytes(count * 4)),
    }
    entries = [room.get(entry.tag, entry) for entry in entries]
    step, place = struct.calcsize(layout.entry), start + struct.calcsize(layout.count)
    after = place + len(entries) * step + layout.size
    table, values, arrays = b"", b"", {}
    for number, entry in enumerate(entries):
        inside = len(entry.values) <= layout.size
        at = after + len(values)
        value = entry.values if inside else struct.pack(f"<{layout.word}", at)
        table += struct.pack(layout.entry, entry.tag, entry.kind, entry.count, value)
        if entry.tag in room:
            head = step - layout.size
            arrays[entry.tag] = place + number * step + head if inside else at
        if not inside:
            values += entry.values + bytes(-len(entry.values) % 8)
    following = struct.pack(f"<{layout.word}", 0 if last else after + len(values))
    content = struct.pack(layout.count, len(entries)) + table + following + values
    return _Directory(content, count, arrays)


def _reduced(entries: list[_Entry], height: int, width: int) -> list[_Entry]:
    """Return the entries of an overview of the band that ``entries`` describe."""
    by_tag = {entry.tag: entry for entry in entries}
    (tile_height,), (tile_width,) = by_tag[_TILE_HEIGHT].numbers(), by_tag[_TILE_WIDTH].numbers()
    tiles = -(-height // tile_height) * -(-width // tile_width)
    own = [
        _Entry(tag, _LONG, 1, struct.pack("<I", number))
        for tag, number in (
            (_SUBFILE_TYPE, _REDUCED_RESOLUTION),
            (_WIDTH, width),
            (_HEIGHT, height),
        )
    ]
    own += [_Entry(tag, _LONG, tiles, b"") for tag in (_TILE_OFFSETS, _TILE_BYTE_COUNTS)]
    kept = [entry for entry in entries if entry.tag in _OF_PIXELS]
    return sorted(own + kept, key=lambda entry: entry.tag)
