"""The same places of all dates: a sample of ground that does not depend on blocks or files."""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from .monitor import Monitor
from .pixels import Block, PixelStore
from .sampling import keyed

MOST_PLACES = 1 << 16
FEWEST_PLACES = 1 << 12
_VALUES = 1 << 24


@dataclass(frozen=True)
class PairedCodes:
    """Codes of the same places on all dates: int32 (scenes, bands, places).

    ``valid`` (scenes, places) says where; other codes are 0.
    """

    codes: np.ndarray
    valid: np.ndarray

    def of_scene(self, rank: int) -> PairedReference:
        """Return one scene's codes, to compare the others with."""
        return PairedReference(self.codes[rank], self.valid[rank])


@dataclass(frozen=True)
class PairedReference:
    """Codes to compare the places with: int32 (bands, places), ``valid`` (places,)."""

    codes: np.ndarray
    valid: np.ndarray

    def as_json(self) -> dict[str, Any]:
        """Return text and numbers: the codes are compressed, as little-endian int32."""
        planes = np.where(self.valid, self.codes, 0).astype("<i4")
        return {
            "bands": len(planes),
            "places": len(self.valid),
            "codes": base64.b64encode(zlib.compress(planes.tobytes(), 9)).decode("ascii"),
            "valid": base64.b64encode(np.packbits(self.valid).tobytes()).decode("ascii"),
        }

    @classmethod
    def of_json(cls, content: dict[str, Any]) -> PairedReference:
        """Return what was kept as JSON; raises an error of some kind if it is damaged."""
        shape = int(content["bands"]), int(content["places"])
        if not (1 <= shape[0] <= 64 and 0 <= shape[1] <= MOST_PLACES):
            raise ValueError("bad places")
        size = 4 * shape[0] * shape[1]
        unpacked = zlib.decompressobj().decompress(base64.b64decode(content["codes"]), size + 1)
        codes = np.frombuffer(unpacked, "<i4").astype(np.int32).reshape(shape)
        bits = np.frombuffer(base64.b64decode(content["valid"]), np.uint8)
        return cls(codes, np.unpackbits(bits, count=shape[1]).view(bool))


def place_count(scenes: int, bands: int) -> int:
    """Return how many places to pair: 65,536, or fewer of many scenes and bands, but 4,096."""
    return min(MOST_PLACES, max(FEWEST_PLACES, _VALUES // (scenes * bands)))


def common_places(seed: int, height: int, width: int, count: int) -> np.ndarray:
    """Return about ``count`` places of a grid, row · width + column, ascending, int64.

    The grid's places, row by row, are cut into runs of equal length, and one is drawn of each,
    keyed on the seed and the run; so every date has the same. A small grid comes whole.
    """
    pixels = height * width
    run = -(-pixels // count)
    runs = np.arange(-(-pixels // run))
    places = runs * run + (keyed(seed, runs) % np.uint64(run)).astype(np.int64)
    return places[places < pixels]


def paired_codes(
    store: PixelStore, places: np.ndarray, threads: int = 1, monitor: Monitor | None = None
) -> PairedCodes:
    """Read the codes of ``places`` (ascending) on all dates; raises Cancelled by the monitor."""
    shape = store.scene_count, len(store.code_grids), len(places)
    codes, valid = np.zeros(shape, np.int32), np.zeros((shape[0], shape[2]), bool)
    arguments = places, store.grid.width
    for scene, part in store.each(codes_at, arguments, threads, monitor or Monitor()):
        found, planes = part
        codes[scene][:, found] = planes
        valid[scene, found] = True
    return PairedCodes(codes, valid)


def codes_at(block: Block, places: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return which of ``places`` a block has valid pixels of, as indices, and their codes.

    int64 (found,), and (bands, found); ``width`` is the grid's.
    """
    window = block.window
    rows, columns = np.divmod(places, width)
    inside = (rows >= window.row) & (rows < window.row + window.height)
    inside &= (columns >= window.column) & (columns < window.column + window.width)
    found = np.flatnonzero(inside)
    kept, local = block.places(rows[found] - window.row, columns[found] - window.column)
    return found[kept], block.codes.load()[:, local]
