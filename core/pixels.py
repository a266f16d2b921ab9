"""The pixel store: the valid pixels of a series as blocks of band planes of codes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from .codes import CodeGrid, CodeStatistics, store_dtype
from .grid import Grid, Window
from .harmonisation import SceneQuantiles
from .monitor import Monitor
from .parallel import ordered_map
from .scores import Scores
from .scratch import Shelf, Shelved, check_disk
from .tiling import ROWS, from_tiles, in_tiles, places_in_tiles

if TYPE_CHECKING:
    from .backends.base import Backend, Partials
    from .harmonise import Harmonised
    from .workers.link import Link

_BITS_SET = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(1, np.int64)


@dataclass(frozen=True)
class Block:
    """A window of a scene: the codes of its valid pixels, shape (bands, pixels).

    They come in the order of :mod:`.tiling`. ``packed`` holds the window's valid pixels as bits,
    in that order, too; None where all are valid.
    """

    scene: int
    window: Window
    codes: Shelved
    packed: np.ndarray | None

    @property
    def pixels(self) -> int:
        """Number of valid pixels."""
        return int(self.codes.shape[1])

    def valid(self) -> np.ndarray | None:
        """Return which pixels are valid, shape (height · width,), in order; None if all are."""
        if self.packed is None:
            return None
        count = self.window.height * self.window.width
        return np.unpackbits(self.packed, count=count).view(bool)

    def places(self, rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return which of some places of the window are valid, and which pixels they are.

        Indices, int64: of ``rows`` and ``columns`` of the window, (places,), and of codes.
        """
        local = places_in_tiles(rows, columns, self.window.height, self.window.width)
        if self.packed is None:
            return np.arange(len(local)), local
        # Whole bytes are counted, for a window has many pixels and few places.
        before = np.concatenate([[0], np.cumsum(_BITS_SET[self.packed])])[local >> 3]
        head = self.packed[local >> 3] >> (7 - (local & 7)).astype(np.uint8)
        kept = np.flatnonzero(head & 1)
        return kept, (before + _BITS_SET[head] - 1)[kept]

    def rows(self, first: int, last: int) -> RowPixels:
        """Return the valid pixels of the window's rows from ``first`` to before ``last``."""
        width = self.window.width
        top = first // ROWS * ROWS
        bottom = min(-(-last // ROWS) * ROWS, self.window.height)
        start, stop = (int(self._strip_starts[-(-row // ROWS)]) for row in (top, bottom))
        numbers = np.arange((bottom - top) * width).reshape(-1, width)
        local = in_tiles(numbers)
        valid = self.valid()
        if valid is not None:
            local = local[valid[top * width : bottom * width]]
        rows, columns = np.divmod(local, width)
        rows += top
        if (top, bottom) == (first, last):
            return RowPixels(start, stop, None, rows, columns)
        inside = (first <= rows) & (rows < last)
        return RowPixels(start, stop, inside, rows[inside], columns[inside])

    @cached_property
    def _strip_starts(self) -> np.ndarray:
        """Where each strip of tiles starts among the valid pixels, and the end of the last."""
        width, height = self.window.width, self.window.height
        ends = np.append(np.arange(0, height, ROWS), height) * width
        valid = self.valid()
        if valid is None:
            return ends
        counts = np.add.reduceat(valid, ends[:-1], dtype=np.int64)
        return np.concatenate([[0], np.cumsum(counts)])

    def spread(self, values: np.ndarray, nothing: float = 0) -> np.ndarray:
        """Put the valid pixels' values in their places: (height, width), ``nothing`` elsewhere."""
        shape = (self.window.height, self.window.width)
        valid = self.valid()
        if valid is None:
            return from_tiles(values, shape)
        whole = np.full(valid.size, nothing, values.dtype)
        whole[valid] = values
        return from_tiles(whole, shape)

    def spread_rows(self, labels: np.ndarray, first: int, stop: int) -> np.ndarray:
        """Put class numbers in the places of rows ``first`` to ``stop`` (not included).

        ``labels``, from 0, are those of all the block's pixels. Returns uint8 (rows, width),
        classes from 1, 0 elsewhere.
        """
        top, width, valid = first // ROWS * ROWS, self.window.width, self.valid()
        bottom = min(-(-stop // ROWS) * ROWS, self.window.height)
        begin, end = top * width, bottom * width
        if valid is None:
            whole = labels[begin:end] + np.uint8(1)
        else:
            before = np.count_nonzero(valid[:begin])
            valid = valid[begin:end]
            whole = np.zeros(valid.size, np.uint8)
            whole[valid] = labels[before : before + np.count_nonzero(valid)] + np.uint8(1)
        return from_tiles(whole, (bottom - top, width))[first - top : stop - top]


@dataclass(frozen=True)
class RowPixels:
    """Valid pixels of a block: ``inside`` (None: all) of those from ``start`` to ``stop``.

    ``rows`` and ``columns`` say where in the window they lie, int64 (pixels,).
    """

    start: int
    stop: int
    inside: np.ndarray | None
    rows: np.ndarray
    columns: np.ndarray

    def of(self, codes: Shelved) -> np.ndarray:
        """Return a copy of these pixels' codes, (bands, pixels)."""
        found = codes.part(self.start, self.stop)
        return found if self.inside is None else found[:, self.inside]

    def put(self, values: np.ndarray, labels: np.ndarray) -> None:
        """Put values in these pixels' places in an array of all the block's, (pixels,)."""
        those = labels[self.start : self.stop]
        those[... if self.inside is None else self.inside] = values


@dataclass(frozen=True)
class Labelled:
    """The labels, from 0, that scores gave each block's pixels, and the step's integer sums.

    Where pixels lie with workers, so do the labels. ``smoothing``, if not None, is the mean
    squared distance and the costs of transitions that the labels were smoothed by there.
    """

    scores: Scores
    labels: tuple[np.ndarray, ...]
    partials: Partials
    smoothing: tuple[float, np.ndarray] | None = None


class PixelStore:
    """All valid pixels of a series as codes: in memory, and beyond a limit in a scratch file.

    ``blocks`` are in the order of the scenes. ``statistics`` are of each band, over the series and
    by scene, None for one without pixels; ``scene_quantiles`` are for harmonising. ``left_out``
    counts, for each scene and reason of :class:`~.valid.LeftOut`, the pixels that do not count:
    int64, (scenes, reasons). ``own`` says whether the code grids come from the series itself
    rather than from a model.
    """

    def __init__(
        self,
        blocks: Sequence[Block],
        shelf: Shelf,
        grid: Grid,
        scene_count: int,
        code_grids: Sequence[CodeGrid],
        statistics: Sequence[CodeStatistics],
        scene_statistics: Sequence[tuple[CodeStatistics, ...] | None],
        scene_quantiles: Sequence[SceneQuantiles],
        saturated: Sequence[int],
        left_out: np.ndarray,
        own: bool,
    ) -> None:
        self.blocks = tuple(blocks)
        self.grid = grid
        self.scene_count = scene_count
        self.code_grids = tuple(code_grids)
        self.statistics = tuple(statistics)
        self.scene_statistics = tuple(scene_statistics)
        self.scene_quantiles = tuple(scene_quantiles)
        self.saturated = tuple(saturated)
        self.left_out = left_out
        self.link: Link | None = None
        """The way to the workers that have the pixels, if they do not lie here."""
        self._shelf = shelf
        self._own = own
        self._labelled: Labelled | None = None
        self._harmonised: tuple[Harmonised, Harmonised] | None = None

    @property
    def pixels(self) -> int:
        """Number of valid pixels of all scenes together."""
        return sum(block.pixels for block in self.blocks)

    @property
    def scene_pixels(self) -> np.ndarray:
        """Number of valid pixels of each scene, int64, shape (scenes,)."""
        counts = np.zeros(self.scene_count, np.int64)
        for block in self.blocks:
            counts[block.scene] += block.pixels
        return counts

    def each(
        self,
        function: Callable[..., Any],
        arguments: Sequence[Any],
        threads: int,
        monitor: Monitor,
    ) -> Iterator[tuple[int, Any]]:
        """Yield each block's scene and ``function(block, *arguments)``.

        The function is one of a module, and the arguments are plain: numbers and arrays. So
        another store may call it by its name where its pixels are.
        """
        return self.each_of(self.blocks, function, arguments, threads, monitor)

    def each_of(
        self,
        blocks: Sequence[Block],
        function: Callable[..., Any],
        arguments: Sequence[Any],
        threads: int,
        monitor: Monitor,
    ) -> Iterator[tuple[int, Any]]:
        """Do what :meth:`each` does with blocks that were derived from those of the store."""
        with ThreadPoolExecutor(threads) as pool:
            found = ordered_map(
                pool, lambda block: function(block, *arguments), blocks, monitor, ahead=threads
            )
            for block, result in zip(blocks, found):
                yield block.scene, result

    def derived(
        self,
        function: Callable[..., np.ndarray],
        arguments: Sequence[Any],
        threads: int,
        monitor: Monitor,
    ) -> Sequence[Block]:
        """Return blocks of the codes (bands, pixels) that ``function`` takes from each block.

        As in :meth:`each`. Not for writing: their windows are those of all their pixels. Blocks
        without a pixel are left out.
        """
        shelf = self.spare_shelf()

        def derive(block: Block) -> Block:
            codes = np.ascontiguousarray(function(block, *arguments))
            return Block(block.scene, block.window, shelf.put(codes), None)

        with ThreadPoolExecutor(threads) as pool:
            found = list(ordered_map(pool, derive, self.blocks, monitor, ahead=2 * threads))
        return [block for block in found if block.pixels]

    def keep_labels(self, scores: Scores, backend: Backend, partials: Partials) -> Labelled:
        """Keep what a backend holds after a step over all blocks, for who asks with its scores."""
        labels = tuple(backend.labels(index) for index in range(len(self.blocks)))
        self._labelled = Labelled(scores, labels, partials)
        return self._labelled

    def keep_harmonised(self, reference: Harmonised, found: Harmonised) -> None:
        """Keep how the scenes were brought to a reference, for who asks with the same one."""
        self._harmonised = reference, found

    def harmonised(self, reference: Harmonised) -> Harmonised | None:
        """Return what was kept, if it was for this very reference."""
        known = self._harmonised
        return known[1] if known is not None and known[0] is reference else None

    def forget_labels(self) -> None:
        """Free what was kept, before others are made: memory is reckoned with one label a pixel."""
        self._labelled = None

    def labelled(self, scores: Scores) -> Labelled | None:
        """Return what was kept, if these scores gave it."""
        known = self._labelled
        return known if known is not None and known.scores.same_as(scores) else None

    def serves(self, code_grids: Sequence[CodeGrid] | None) -> bool:
        """Return whether this store is what reading with these grids would give."""
        return self._own if code_grids is None else self.code_grids == tuple(code_grids)

    def lies_with(self, engine: str, client: object) -> bool:
        """Return whether the pixels are where an engine needs them."""
        return engine != "dask"

    def spare_shelf(self) -> Shelf:
        """Return a shelf for what is needed for a while, in the memory that is left."""
        return Shelf(self._shelf.room)

    def check_spare(self, share: float) -> None:
        """Raise OutputError if the disk has no room for a share of the pixels kept a second time.

        In what memory is left, or else in scratch files, as :meth:`spare_shelf` does.
        """
        size = len(self.code_grids) * store_dtype(self.code_grids).itemsize
        check_disk(math.ceil(self.pixels * size * share) - self.spare_shelf().room)

    def warn_saturated(self, band_names: Sequence[str], monitor: Monitor) -> None:
        """Warn of values outside the range of a band's codes; they took its nearest end."""
        for name, count in zip(band_names, self.saturated):
            if count:
                monitor.warning(
                    f"{count:,} values of band {name} lie far outside the others and were cut "
                    "to the nearest value that can be told apart; check the nodata value."
                )

    def close(self) -> None:
        """Free the pixels, and the scratch file if there is one."""
        self.blocks = ()
        self._labelled = None
        self._shelf.close()
