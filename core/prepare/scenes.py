"""From products to a plan, by their headers: bands, grid and numbers that all scenes share."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeVar

from ..errors import Cancelled, IikmcError, SeriesError
from ..grid import Grid
from ..monitor import Monitor
from ..placing import place
from ..products.base import Product
from ..raster import crs_label, describe, same_crs
from ..raster.resampling import Way
from ..raster.scenes import SceneBand
from ..raster.windows import Source
from .bands import Wanted, wanted_bands
from .grid import Target, covered, resampling_way, target_grid
from .headers import DescribedScene, described, on_grid, reflecting, utc, with_crs
from .names import file_stems
from .plan import (
    BandLayer,
    IndexBand,
    LeftOutScene,
    Plan,
    PlannedScene,
    PrepareSettings,
    QualityLayer,
)
from .radiometry import Numbers, Radiometry, can_agree, common_numbers, differ, index_numbers

Before = TypeVar("Before", Product, DescribedScene)


def plan_scenes(
    products: Sequence[Product],
    left_out: Sequence[LeftOutScene],
    settings: PrepareSettings,
    monitor: Monitor,
) -> Plan:
    """Return what to do for products; only headers are read.

    Scenes that cannot be used join those ``left_out`` already. Raises SeriesError if none is
    left, or at the first if ``settings.strict``; ParameterError, BandError or GridError where
    what is asked for fits no scene.
    """
    sieve = _Sieve(left_out, settings.strict)
    products = sorted(products, key=lambda product: (utc(product.time), product.name))
    sieve.check(products)
    wanted = wanted_bands(products, settings.bands, settings.indices)
    known = functools.lru_cache(maxsize=None)(describe)
    scenes = sieve.through(products, lambda item: described(item, wanted, known, monitor))
    if settings.crs or any(scene.finest.grid.crs for scene in scenes):
        scenes = sieve.through(scenes, with_crs)
    target = target_grid(
        [scene.grids for scene in scenes],
        crs=settings.crs,
        resolution=settings.resolution,
        extent=settings.extent,
        area=settings.area,
    )
    scenes = sieve.through(scenes, lambda scene: on_grid(scene, target.grid))
    notes = [*wanted.notes, *_quality_notes(scenes, settings), *_warp_notes(scenes, target.grid)]
    radiometry = settings.radiometry
    if radiometry is Radiometry.NUMBERS and not can_agree(_columns(scenes, wanted)):
        radiometry = Radiometry.REFLECTANCE
        notes.append(
            "The scenes store reflectance in different ways, so all become surface reflectance "
            "× 10,000 (int16)."
        )
    if radiometry is Radiometry.REFLECTANCE:
        scenes = sieve.through(scenes, lambda scene: reflecting(scene, wanted))
    columns = _columns(scenes, wanted)
    targets = tuple(common_numbers(columns, radiometry, bool(wanted.indices)))
    if radiometry is Radiometry.NUMBERS and differ(columns):
        notes.append(
            "The scenes' numbers differ by an offset, which was added so that they agree; valid "
            "numbers that would become nodata or less took the lowest valid one."
        )
    indices = tuple(
        IndexBand(
            index,
            wanted.needed.index(first),
            wanted.needed.index(second),
            index_numbers(targets[0]),
        )
        for index, first, second in wanted.indices
    )
    stems = file_stems([scene.product for scene in scenes])
    planned = [
        _planned(scene, stem, target, targets, wanted, settings)
        for scene, stem in zip(scenes, stems)
    ]
    if settings.references:
        notes += _format_notes(planned)
    return Plan(
        grid=target.grid,
        area=target.area,
        mask=settings.mask,
        targets=targets,
        indices=indices,
        bands=_output_bands(scenes[0], wanted, targets, indices),
        scenes=tuple(planned),
        left_out=tuple(sieve.left_out),
        notes=tuple(notes),
    )


class _Sieve:
    """Keeps scenes that can be used; remembers why the others cannot."""

    def __init__(self, left_out: Sequence[LeftOutScene], strict: bool) -> None:
        self.left_out = list(left_out)
        self._strict = strict
        if strict and self.left_out:
            raise SeriesError(self.left_out[0].reason)

    def through(
        self, items: Sequence[Before], function: Callable[[Before], DescribedScene]
    ) -> list[DescribedScene]:
        """Return what the function makes of those items for which it raises no error."""
        kept = []
        for item in items:
            product = item.product if isinstance(item, DescribedScene) else item
            try:
                kept.append(function(item))
            except Cancelled:
                raise
            except IikmcError as error:
                reason = f"Scene '{product.name}' cannot be used: {str(error).rstrip('.')}."
                if self._strict:
                    raise SeriesError(reason) from error
                self.left_out.append(LeftOutScene(product.name, reason, product))
        self.check(kept)
        return kept

    def check(self, kept: Sequence[object]) -> None:
        """Raise SeriesError if nothing is left."""
        if not kept:
            if not self.left_out:
                raise SeriesError("There is no scene; give at least one product.")
            raise SeriesError(f"No scene is left. {self.left_out[0].reason}")


def _columns(scenes: Sequence[DescribedScene], wanted: Wanted) -> list[list[Numbers]]:
    """Return the numbers of all scenes for each output band."""
    rows = [scene.numbers()[: len(wanted.bands)] for scene in scenes]
    return [list(column) for column in zip(*rows)]


def _quality_notes(scenes: Sequence[DescribedScene], settings: PrepareSettings) -> list[str]:
    bare = [scene.product.name for scene in scenes if not scene.quality]
    if not bare or not settings.mask:
        return []
    return [
        f"{len(bare)} of {len(scenes)} scenes without quality layer, such as '{bare[0]}': only "
        "nodata is masked there."
    ]


def _format_notes(scenes: Sequence[PlannedScene]) -> list[str]:
    reasons = Counter(scene.needs for scene in scenes if scene.needs)
    return [
        f"{count} of {len(scenes)} scenes become GeoTIFFs: {reason}."
        for reason, count in reasons.items()
    ]


def _warp_notes(scenes: Sequence[DescribedScene], grid: Grid) -> list[str]:
    """Return sentences on what has to be resampled."""
    notes = []
    elsewhere = [scene for scene in scenes if not same_crs(scene.finest.grid.crs, grid.crs)]
    for scene in elsewhere:
        notes.append(
            f"Scene '{scene.product.name}' is in {crs_label(scene.finest.grid.crs)} and is warped "
            f"to {crs_label(grid.crs)}."
        )
    shifted = [
        scene
        for scene in scenes
        if scene not in elsewhere and all(place(item, grid).warped for item in scene.grids)
    ]
    if shifted:
        notes.append(
            f"{len(shifted)} of {len(scenes)} scenes resampled, such as "
            f"'{shifted[0].product.name}': their pixels do not lie on the common grid."
        )
    bands = {
        band.name: None
        for scene in scenes
        if scene not in elsewhere and scene not in shifted
        for band, info in zip(scene.bands, scene.infos)
        if place(info.grid, grid).warped
    }
    if bands:
        size = "{:g} × {:g}".format(*grid.pixel_size)
        notes.append(f"Bands resampled to pixels of {size}: {', '.join(bands)}.")
    return notes


def _output_bands(
    scene: DescribedScene, wanted: Wanted, targets: Sequence[Numbers], indices: Sequence[IndexBand]
) -> tuple[SceneBand, ...]:
    bands = [
        SceneBand(name, band.wavelength, numbers.scale, numbers.offset)
        for name, band, numbers in zip(wanted.bands, scene.bands, targets)
    ]
    for item in indices:
        bands.append(SceneBand(item.index.name, None, item.numbers.scale, item.numbers.offset))
    return tuple(bands)


def _planned(
    scene: DescribedScene,
    stem: str,
    target: Target,
    targets: Sequence[Numbers],
    wanted: Wanted,
    settings: PrepareSettings,
) -> PlannedScene:
    grid, numbers = target.grid, scene.numbers()
    part = covered(scene.finest.grid, grid)
    assert part is not None
    layers = _layers(scene, grid, numbers)
    quality = tuple(
        QualityLayer(
            Source(info.path, (layer.number,), (None,), False, place(info.grid, grid), False),
            layer.conditions,
        )
        for layer, info in scene.quality
    )
    needs = _needs(layers, quality, numbers, targets, wanted, target, settings)
    return PlannedScene(
        stem=stem,
        product=scene.product,
        layers=layers,
        quality=quality,
        numbers=numbers,
        part=part,
        block=(scene.finest.block_height, scene.finest.block_width),
        reference=settings.references and not needs,
        needs=needs,
    )


def _needs(
    layers: Sequence[BandLayer],
    quality: Sequence[QualityLayer],
    numbers: Sequence[Numbers],
    targets: Sequence[Numbers],
    wanted: Wanted,
    target: Target,
    settings: PrepareSettings,
) -> str:
    """Return why a scene's pixels cannot be shown as they lie in its files; empty if they can."""
    if settings.mask and quality:
        return "MASK asks for pixels to be masked"
    if target.area:
        return "AREA asks for pixels to be cut out"
    if wanted.indices:
        return "INDICES have to be computed"
    if any(layer.source.placement.warped for layer in layers):
        return "bands have to be resampled"
    if any(layer.source.own_mask for layer in layers):
        return "the files have masks of their own"
    stored = [(item.dtype, item.meaning, item.nodata) for item in numbers]
    if stored != [(item.dtype, item.meaning, item.nodata) for item in targets]:
        return "numbers have to be converted"
    return ""


def _layers(scene: DescribedScene, grid: Grid, numbers: Sequence[Numbers]) -> tuple[BandLayer, ...]:
    """Return the bands by file and type: what is read at a time."""
    groups: dict[tuple[str, str], list[int]] = {}
    for index, (band, item) in enumerate(zip(scene.bands, numbers)):
        groups.setdefault((band.path, item.dtype), []).append(index)
    layers = []
    for places in groups.values():
        info = scene.infos[places[0]]
        placement = place(info.grid, grid)
        source = Source(
            path=info.path,
            bands=tuple(scene.bands[index].number for index in places),
            nodata=tuple(numbers[index].nodata for index in places),
            # An alpha band that is a band of the product is data, not a mask.
            own_mask=info.has_mask
            and not any(info.alpha[scene.bands[index].number - 1] for index in places),
            placement=placement,
        )
        way = resampling_way(info.grid, grid) if placement.warped else Way.NEAREST
        layers.append(BandLayer(source, way, tuple(places)))
    return tuple(layers)
