"""Products with the headers of their files: whether these fit together and can be used."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..errors import SeriesError
from ..grid import Grid
from ..monitor import Monitor
from ..products.base import Product, ProductBand, QualityBand
from ..products.candidates import same_ground
from ..raster import RasterInfo
from .bands import Wanted, band_of
from .grid import covered
from .radiometry import Numbers


@dataclass(frozen=True)
class DescribedScene:
    """A product with the headers of the bands needed and of its quality layers."""

    product: Product
    bands: tuple[ProductBand, ...]
    infos: tuple[RasterInfo, ...]
    quality: tuple[tuple[QualityBand, RasterInfo], ...]

    @property
    def grids(self) -> list[Grid]:
        """Grids of the bands needed."""
        return [info.grid for info in self.infos]

    @property
    def finest(self) -> RasterInfo:
        """Header of the first of the bands with the smallest pixels."""
        return min(self.infos, key=lambda info: math.prod(info.grid.pixel_size))

    def numbers(self) -> tuple[Numbers, ...]:
        """Return what the values of the bands mean."""
        return tuple(
            Numbers(
                info.dtypes[band.number - 1],
                float(band.scale),
                float(band.offset),
                _nodata(band, info),
                band.wavelength,
            )
            for band, info in zip(self.bands, self.infos)
        )


def described(
    product: Product, wanted: Wanted, known: Callable[[str], RasterInfo], monitor: Monitor
) -> DescribedScene:
    """Read the headers of a product's files; raise SeriesError where they are not right."""
    monitor.check()
    bands = tuple(band_of(product, name) for name in wanted.needed)
    infos = tuple(known(band.path) for band in bands)
    quality = tuple((layer, known(layer.path)) for layer in product.quality)
    numbers = [*(band.number for band in bands), *(layer.number for layer, _ in quality)]
    for number, info in zip(numbers, [*infos, *(info for _, info in quality)]):
        if number > info.count:
            raise SeriesError(f"'{info.path}' has {info.count} bands; expected at least {number}")
        if info.dtypes[number - 1].startswith("complex"):
            raise SeriesError(f"'{info.path}' holds complex numbers; expected real ones")
        if not same_ground(info.grid, infos[0].grid):
            raise SeriesError(
                f"'{info.path}' does not cover the same ground as '{infos[0].path}': check that "
                "both are of this scene"
            )
    return DescribedScene(product, bands, infos, quality)


def with_crs(scene: DescribedScene) -> DescribedScene:
    """Return the scene, or raise SeriesError where it has no CRS."""
    if not scene.finest.grid.crs:
        raise SeriesError(
            f"'{scene.finest.path}' has no CRS, so where it lies is not known: give it one first"
        )
    return scene


def on_grid(scene: DescribedScene, grid: Grid) -> DescribedScene:
    """Return the scene, or raise SeriesError where it lies outside the grid."""
    if covered(scene.finest.grid, grid) is None:
        raise SeriesError("it lies outside EXTENT and AREA")
    return scene


def reflecting(scene: DescribedScene, wanted: Wanted) -> DescribedScene:
    """Return the scene, or raise SeriesError where its bands are not known to be reflectance."""
    for name, numbers in zip(wanted.bands, scene.numbers()):
        numbers.check_reflectance(name)
    return scene


def utc(time: dt.datetime) -> dt.datetime:
    """Return a time in UTC, without its zone; one without a zone is taken for UTC."""
    return time if time.tzinfo is None else time.astimezone(dt.timezone.utc).replace(tzinfo=None)


def _nodata(band: ProductBand, info: RasterInfo) -> float | None:
    """Return the product's nodata value, else the file's; not-a-number never counts anyway."""
    nodata = band.nodata if band.nodata is not None else info.nodata[band.number - 1]
    return None if nodata is None or np.isnan(nodata) else float(nodata)
