"""From products to scenes: masked multiband rasters on one grid, ready to be classified."""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from ..classify import resolved
from ..errors import Cancelled, OutputError, RasterError, SeriesError
from ..files import StagedOutputs
from ..grid import Window
from ..monitor import Monitor
from ..parallel import ordered_map, thread_count
from ..products.base import Condition, Product
from ..raster.opened import OpenRasters
from ..raster.resampling import Way, read_resampled
from ..raster.scenes import TILE, SceneFile, VrtSource, pack, write_vrt
from ..valid import AreaMask
from .indices import normalised_difference
from .plan import LeftOutScene, Plan, PlannedScene
from .radiometry import encode, reflectance, store
from .shares import Shares

# Side of the windows, in pixels; Sentinel-2's blocks are as large.
_SIDE = 1024
_WIDEST = 16 * _SIDE


@dataclass(frozen=True)
class PreparedScene:
    """A scene's raster: ``path`` when outputs have taken their places, ``staged`` until then."""

    product: Product
    path: Path
    staged: Path
    shares: Shares


@dataclass(frozen=True)
class Prepared:
    """What a run made, oldest first, and what it left out; shares where pixels were read."""

    scenes: tuple[PreparedScene, ...]
    left_out: tuple[tuple[LeftOutScene, Shares | None], ...]


def prepare(
    plan: Plan,
    folder: str | os.PathLike[str],
    outputs: StagedOutputs,
    *,
    threads: int | None = None,
    strict: bool = False,
    monitor: Monitor | None = None,
) -> Prepared:
    """Write one raster for each scene of a plan, staged in ``outputs``.

    A scene whose file breaks, or that has no valid pixel, is left out, and the monitor warned.
    Raises SeriesError if none is left (or at the first, if ``strict``), OutputError if the disk
    does not take a raster, and Cancelled from the monitor.
    """
    monitor = monitor or Monitor()
    check_inputs_stay(plan, folder)
    for note in plan.notes:
        monitor.message(note)
    for scene in plan.scenes:
        for note in scene.product.notes:
            monitor.warning(note)
    left_out: list[tuple[LeftOutScene, Shares | None]] = []
    for item in plan.left_out:
        monitor.warning(f"Left out: {item.reason}")
        left_out.append((item, None))
    made: list[PreparedScene] = []
    rasters = OpenRasters()
    work = _Work(plan, rasters)
    jobs = [(rank, window) for rank in range(len(plan.scenes)) for window in work.windows(rank)]
    workers, staged = thread_count(threads), outputs.folder(folder)
    with rasters, ThreadPoolExecutor(workers) as pool:
        results = ordered_map(
            pool,
            work,
            jobs,
            monitor,
            ahead=2 * workers,
            stop=work.stop,
            poll=lambda: monitor.progress(work.done / len(jobs)),
        )
        with contextlib.closing(cast("Generator[_Piece, None, None]", results)) as pieces:
            for rank, group in itertools.groupby(pieces, lambda piece: piece.rank):
                scene = plan.scenes[rank]
                path = staged / f"{scene.stem}{_ending(scene)}"
                shares, reason = _write(plan, scene, path, folder, group)
                if not reason:
                    final = Path(folder) / path.name
                    made.append(PreparedScene(scene.product, final, path, shares))
                    monitor.message(_said(scene, path, shares))
                    continue
                reason = f"Scene '{scene.product.name}' {reason}"
                if strict:
                    raise SeriesError(reason)
                monitor.warning(f"Left out: {reason}")
                item = LeftOutScene(scene.product.name, reason, scene.product)
                left_out.append((item, shares))
    if not made:
        raise SeriesError(f"No scene is left. {left_out[0][0].reason}")
    return Prepared(tuple(made), tuple(left_out))


def check_inputs_stay(plan: Plan, folder: str | os.PathLike[str]) -> None:
    """Raise OutputError where a prepared raster would take the place of an input."""
    written = {
        resolved(Path(folder) / f"{scene.stem}{_ending(scene)}"): scene for scene in plan.scenes
    }
    for scene in plan.scenes:
        product = scene.product
        paths = {band.path for band in product.bands} | {item.path for item in product.quality}
        for path in sorted(paths):
            taken = None if path.startswith("/vsi") else written.get(resolved(path))
            if taken:
                raise OutputError(
                    f"'{path}' is an input, and the prepared scene '{taken.stem}' would take "
                    "its place: choose another folder."
                )


@dataclass(frozen=True)
class _Piece:
    """A window's tiles and counts, or the error that broke it."""

    rank: int
    tiles: Sequence[tuple[int, bytes]]
    shares: Shares
    error: RasterError | None = None


class _Work:
    """Reads, masks, converts and compresses windows, on any thread, until ``stop`` is set."""

    def __init__(self, plan: Plan, rasters: OpenRasters) -> None:
        self._plan, self._rasters = plan, rasters
        self._headers = [plan.header(scene) for scene in plan.scenes]
        self._area = AreaMask(cast(Any, plan))  # it looks at grid and area
        self._broken: set[int] = set()
        self._lock = threading.Lock()
        self.done = 0
        self.stop = threading.Event()

    def windows(self, rank: int) -> Iterator[Window]:
        """Yield windows that cover a scene and end where tiles of the output do."""
        scene, grid = self._plan.scenes[rank], self._plan.grid
        part, (_, block_width) = scene.part, scene.block
        # Of strips as wide as the file, all would be decoded again for each window beside it.
        height, width = (TILE, _WIDEST) if block_width > _SIDE else (_SIDE, _SIDE)
        top, left = part.row // TILE * TILE, part.column // TILE * TILE
        bottom, right = part.row + part.height, part.column + part.width
        for row in range(top, bottom, height):
            for column in range(left, right, width):
                yield Window(
                    row,
                    column,
                    min(row + height, _up(bottom), grid.height) - row,
                    min(column + width, _up(right), grid.width) - column,
                )

    def __call__(self, job: tuple[int, Window]) -> _Piece:
        rank, window = job
        try:
            if rank in self._broken:
                return _Piece(rank, (), Shares())
            return self._piece(rank, window)
        except RasterError as error:
            self._broken.add(rank)
            return _Piece(rank, (), Shares(), error)
        finally:
            with self._lock:
                self.done += 1

    def _piece(self, rank: int, window: Window) -> _Piece:
        scene = self._plan.scenes[rank]
        shape = window.height, window.width
        planes: list[np.ndarray] = [np.empty(0)] * len(scene.numbers)
        inside, known = np.ones(shape, bool), np.ones(shape, bool)
        for layer in scene.layers:
            self._check()
            values, there, holds = read_resampled(self._rasters, layer.source, layer.way, window)
            for place, plane in zip(layer.places, values):
                planes[place] = plane
            inside &= there
            known &= holds
        area = self._area(window)
        if area is not None:
            inside &= area
        conditions = self._conditions(scene, window)
        fill = conditions.get(Condition.FILL, np.zeros(shape, bool)) | ~known
        conditions[Condition.FILL] = fill
        valid = inside & ~fill
        for condition in self._plan.mask:
            if condition in conditions:
                valid &= ~conditions[condition]
        counts = {
            condition: int(np.count_nonzero(holds & inside))
            for condition, holds in conditions.items()
        }
        shares = Shares(int(np.count_nonzero(inside)), int(np.count_nonzero(valid)), counts)
        if scene.reference or not shares.valid:
            return _Piece(rank, (), shares)
        return _Piece(rank, self._tiles(rank, window, planes, valid), shares)

    def _conditions(self, scene: PlannedScene, window: Window) -> dict[Condition, np.ndarray]:
        """Return where each condition holds; beyond a quality layer's edge nothing is known."""
        found: dict[Condition, np.ndarray] = {}
        for layer in scene.quality:
            self._check()
            values, there, _ = read_resampled(self._rasters, layer.source, Way.NEAREST, window)
            told = {**layer.conditions(values[0])}
            told[Condition.FILL] = told.get(Condition.FILL, False) | ~there
            for condition, holds in told.items():
                found[condition] = found[condition] | holds if condition in found else holds
        return found

    def _tiles(
        self, rank: int, window: Window, planes: Sequence[np.ndarray], valid: np.ndarray
    ) -> list[tuple[int, bytes]]:
        plan, scene, header = self._plan, self._plan.scenes[rank], self._headers[rank]
        masked = None if valid.all() else ~valid
        tiles = []

        def add(band: int, numbers: np.ndarray) -> None:
            self._check()
            if masked is not None:
                numbers = np.where(masked, numbers.dtype.type(header.nodata), numbers)
            tiles.extend(pack(header, band, window, numbers))

        for band, target in enumerate(plan.targets):
            add(band, encode(planes[band], scene.numbers[band], target))
        for band, item in enumerate(plan.indices, start=len(plan.targets)):
            pair = [reflectance(planes[at], scene.numbers[at]) for at in (item.first, item.second)]
            add(band, store(normalised_difference(*pair), item.numbers))
        return tiles

    def _check(self) -> None:
        if self.stop.is_set():
            raise Cancelled("Preparing was stopped.")


def _write(
    plan: Plan,
    scene: PlannedScene,
    path: Path,
    folder: str | os.PathLike[str],
    pieces: Iterable[_Piece],
) -> tuple[Shares, str]:
    """Write a scene's raster from all its pieces; return its shares, or why there is none."""
    shares, error, header = Shares(), None, plan.header(scene)
    with contextlib.ExitStack() as stack:
        file = None if scene.reference else stack.enter_context(SceneFile(path, header))
        for piece in pieces:
            error = error or piece.error
            if file is not None and error is None:
                file.add(piece.tiles)
            shares = shares.plus(piece.shares)
    reason = ""
    if error is not None:
        reason = f"cannot be used: {error}"
    elif not shares.valid:
        reason = f"has no valid pixel: {shares.told()}."
    if reason:
        path.unlink(missing_ok=True)
    elif scene.reference:
        write_vrt(path, folder, header, _references(scene))
    return shares, reason


def _references(scene: PlannedScene) -> list[VrtSource]:
    found = {
        place: VrtSource(
            layer.source.path, number, scene.numbers[place].dtype, layer.source.placement
        )
        for layer in scene.layers
        for place, number in zip(layer.places, layer.source.bands)
    }
    return [found[place] for place in sorted(found)]


def _ending(scene: PlannedScene) -> str:
    return ".vrt" if scene.reference else ".tif"


def _up(pixels: int) -> int:
    return -(-pixels // TILE) * TILE


def _said(scene: PlannedScene, path: Path, shares: Shares) -> str:
    sensor, time = scene.product.sensor, scene.product.time
    return f"{path.name}: {f'{sensor}, ' if sensor else ''}{time:%Y-%m-%d %H:%M}, {shares.told()}."
