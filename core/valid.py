"""Which pixels of a scene count, and why the others do not."""

from __future__ import annotations

import enum
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np

from .grid import Window
from .masks import valid_pixels
from .raster import burn, read_onto

if TYPE_CHECKING:
    from .series import Scene, Series


_STRIP = 256  # rows of the area that are made at a time


class LeftOut(enum.Enum):
    """Why a pixel does not count: the first of these that holds."""

    AREA = "area"
    OUTSIDE = "outside"
    NODATA = "nodata"
    MASK = "mask"
    STATIC = "static"

    @property
    def words(self) -> str:
        """How a sentence says it, after a share."""
        return _WORDS[self]


class AreaMask:
    """Which pixels of a grid have their centre in the series' area, kept as bits."""

    def __init__(self, series: Series) -> None:
        self._area, self._grid = series.area, series.grid
        self._lock = threading.Lock()
        self._rows: dict[int, np.ndarray] = {}

    def __call__(self, window: Window) -> np.ndarray | None:
        """Return booleans, shape (height, width); None if all pixels are in it."""
        if not self._area:
            return None
        columns = slice(window.column, window.column + window.width)
        strips = [
            np.unpackbits(self._strip(strip), axis=1, count=self._grid.width)
            for strip in range(window.row // _STRIP, (window.row + window.height - 1) // _STRIP + 1)
        ]
        first = window.row % _STRIP
        rows = np.concatenate(strips)[first : first + window.height]
        return np.asarray(rows[:, columns].view(bool))

    def _strip(self, strip: int) -> np.ndarray:
        with self._lock:
            if strip not in self._rows:
                a, b, c, d, e, f = self._grid.transform
                top = strip * _STRIP
                height = min(_STRIP, self._grid.height - top)
                place = (a, b, c + b * top, d, e, f + e * top)
                inside = burn(self._area, place, height, self._grid.width)
                self._rows[strip] = np.packbits(inside, axis=1)
            return self._rows[strip]


class _Features:
    """The static features of a window, once they are read."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.found: tuple[list[np.ndarray], np.ndarray] | None = None


class StaticBands:
    """The features that all dates share, read once for the windows that are under way."""

    def __init__(self, series: Series, windows: int) -> None:
        self._sources, self._most = series.static, windows
        self._lock = threading.Lock()
        self._known: OrderedDict[Window, _Features] = OrderedDict()

    def __call__(self, window: Window) -> tuple[list[np.ndarray], np.ndarray]:
        """Return planes (height, width), and where all of them hold values."""
        with self._lock:
            features = self._known.setdefault(window, _Features())
            self._known.move_to_end(window)
            while len(self._known) > self._most:
                self._known.popitem(last=False)
        with features.lock:  # the other dates' threads wait for the one that reads
            if features.found is None:
                planes: list[np.ndarray] = []
                valid = np.ones((window.height, window.width), bool)
                for static in self._sources:
                    values, _, known = read_onto(static, window)
                    planes += list(values)
                    valid &= known
                features.found = planes, valid
            return features.found


class SceneReader:
    """Reads windows of scenes, on any thread, and counts what is left out of each."""

    def __init__(self, series: Series, windows: int) -> None:
        self._series = series
        self._area = AreaMask(series)
        self._static = StaticBands(series, windows)
        self._lock = threading.Lock()
        self._left_out: dict[tuple[int, Window], np.ndarray] = {}

    def __call__(self, rank: int, window: Window) -> tuple[list[np.ndarray], np.ndarray]:
        """Return the bands' planes and which pixels are valid, each (height, width)."""
        scene = self._series.scenes[rank]
        values, inside, known = read_onto(scene.source, window)
        planes = list(values)
        reasons = [(LeftOut.OUTSIDE, inside), (LeftOut.NODATA, known)]
        area = self._area(window)
        if area is not None:
            reasons.insert(0, (LeftOut.AREA, area))
        if scene.mask is not None:
            reasons.append((LeftOut.MASK, self._masked(scene, window)))
        if self._series.static:
            more, there = self._static(window)
            planes += more
            reasons.append((LeftOut.STATIC, there))
        valid = np.ones((window.height, window.width), bool)
        counts, left = np.zeros(len(LeftOut), np.int64), valid.size
        for reason, holds in reasons:
            valid &= holds
            now = int(np.count_nonzero(valid))
            counts[_PLACE[reason]], left = left - now, now
        with self._lock:
            self._left_out[rank, window] = counts
        return planes, valid

    def left_out(self) -> np.ndarray:
        """Return how many pixels of each scene were left out for which reason.

        int64, shape (scenes, reasons), in the order of :class:`LeftOut`.
        """
        total = np.zeros((len(self._series), len(LeftOut)), np.int64)
        for (rank, _), counts in self._left_out.items():
            total[rank] += counts
        return total

    def _masked(self, scene: Scene, window: Window) -> np.ndarray:
        assert scene.mask is not None
        values, inside, _ = read_onto(scene.mask, window)
        valid = inside
        for plane, nodata in zip(values, scene.mask.nodata):
            valid &= valid_pixels(self._series.mask_kind, plane, nodata)
        return valid


_WORDS = {
    LeftOut.AREA: "outside the area",
    LeftOut.OUTSIDE: "outside the scene",
    LeftOut.NODATA: "nodata",
    LeftOut.MASK: "masked",
    LeftOut.STATIC: "without static features",
}
_PLACE = {reason: place for place, reason in enumerate(LeftOut)}
