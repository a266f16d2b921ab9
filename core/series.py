"""What the user has: scenes of one place at several dates, checked to fit together."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from .codes import CodeGrid
from .errors import ParameterError
from .grid import Grid
from .masks import MaskKind
from .monitor import Monitor
from .pixels import PixelStore
from .raster import Source
from .reading import read_pixels
from .valid import LeftOut


@dataclass(frozen=True)
class Scene:
    """One date: the bands used of a raster, and its mask, if it has one, both on the series' grid.

    ``date_origin`` says in a few words where the date was found.
    """

    name: str
    date: dt.date
    date_origin: str
    source: Source
    band_names: tuple[str, ...]
    dtypes: tuple[str, ...]
    mask: Source | None
    block_height: int
    block_width: int

    @property
    def path(self) -> str:
        """What GDAL opens for the scene's bands."""
        return self.source.path


@dataclass(frozen=True)
class StaticSource:
    """Bands of a raster that are features of every date."""

    source: Source
    names: tuple[str, ...]
    dtypes: tuple[str, ...]


class Series:
    """Scenes on one grid, oldest first (then by name), and their pixels once they are read.

    Made by :func:`~.opening.open_series`. The pixels read for one call stay for the next;
    ``close`` (or leaving the ``with`` block) frees them.
    """

    def __init__(
        self,
        scenes: Sequence[Scene],
        grid: Grid,
        band_names: Sequence[str],
        mask_kind: MaskKind,
        notes: Sequence[str] = (),
        static: Sequence[StaticSource] = (),
        area: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self.scenes = tuple(scenes)
        self.grid = grid
        self.static = tuple(item.source for item in static)
        self.static_dtypes = tuple(dtype for item in static for dtype in item.dtypes)
        self.band_names = (*band_names, *(name for item in static for name in item.names))
        """Names of the scenes' bands, then of the static ones."""
        self.mask_kind = mask_kind
        self.area = tuple(area)
        """Polygons, as GeoJSON in the grid's CRS, outside of which nothing counts; or none."""
        self.notes = tuple(notes)
        """What may not be meant as it was given, in sentences; warnings when pixels are read."""
        self.recipe: dict[str, Any] | None = None
        """What :func:`~.opening.open_series` was asked for, as text and numbers."""
        self._store: PixelStore | None = None

    def __enter__(self) -> Series:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self.scenes)

    def rename_bands(self, names: Sequence[str]) -> None:
        """Call the scenes' bands what a model calls them."""
        self.band_names = (*names, *self.band_names[len(names) :])

    @property
    def most_pixels(self) -> int:
        """How many pixels the scenes have on the grid, valid or not."""
        return len(self) * self.grid.height * self.grid.width

    @property
    def static_bands(self) -> int:
        """How many of the bands, the last ones, are the same for every date."""
        return len(self.static_dtypes)

    def paths(self) -> list[str]:
        """Return what GDAL opens for scenes, masks and static features."""
        sources = [source for scene in self.scenes for source in (scene.source, scene.mask)]
        return [source.path for source in (*sources, *self.static) if source is not None]

    def rank_of(self, date: dt.date | None) -> int | None:
        """Return the rank of the scene of a date; None for None. Raises ParameterError."""
        if date is None:
            return None
        known = [scene.date for scene in self.scenes]
        if date in known:
            return known.index(date)
        nearest = min(known, key=lambda day: abs(day - date))
        raise ParameterError(
            f"harmonise_reference is {date}, which is no date of the series; the nearest is "
            f"{nearest}."
        )

    def pixels(
        self,
        *,
        code_grids: Sequence[CodeGrid] | None = None,
        threads: int | None = None,
        memory_mb: int | None = None,
        engine: str = "",
        client: object = None,
        spare: float = 0.0,
        monitor: Monitor | None = None,
    ) -> PixelStore:
        """Return the valid pixels as codes, read at the first call and kept.

        ``code_grids``, one per band, are those of a model; without them they come from the
        series itself. ``memory_mb`` bounds the memory for pixels that are read now (None or 0:
        half of what is free); the rest goes to a scratch file, and so may ``spare``, a share of
        the pixels that is to be kept a second time for a while. With the engine dask they lie
        with the workers of ``client``. Raises RasterError if a file breaks, OutputError if the
        disk has no room for what goes there, and Cancelled from the monitor.
        """
        wanted = tuple(code_grids) if code_grids is not None else None
        store = self._store
        if store is None or not store.serves(wanted) or not store.lies_with(engine, client):
            self.close()
            monitor = monitor or Monitor()
            if engine == "dask":
                from .workers.store import open_store  # only where Dask is

                store = open_store(self, wanted, client, threads, memory_mb, monitor)
            else:
                store = read_pixels(self, wanted, threads, memory_mb, spare, monitor)
            self._store = store
            self._tell(store, monitor)
        elif spare and engine != "dask":  # whose workers keep it
            store.check_spare(spare)
        return store

    def _tell(self, store: PixelStore, monitor: Monitor) -> None:
        """Say of each scene when it was taken, how much of it counts, and why the rest does not."""
        for note in self.notes:
            monitor.warning(note)
        total = self.grid.height * self.grid.width
        for scene, valid, counts in zip(self.scenes, store.scene_pixels, store.left_out):
            shares = [
                f"{count / total:.1%} {reason.words}"
                for reason, count in zip(LeftOut, counts.tolist())
                if count
            ]
            why = f" ({', '.join(shares)})" if shares else ""
            when = f"Scene '{scene.name}', {scene.date} {scene.date_origin}"
            monitor.message(f"{when}: {valid / total:.1%} valid{why}.")
            if not valid:
                monitor.warning(f"Scene '{scene.name}' has no valid pixel{why}.")

    def close(self) -> None:
        """Free the pixels, and the scratch file if there is one."""
        if self._store is not None:
            self._store.close()
        self._store = None
