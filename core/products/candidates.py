"""What looks like a product: understood, or refused with a reason."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..errors import RasterError, SeriesError
from ..grid import Grid
from ..raster import RasterInfo, describe, same_crs
from ..raster.metadata import band_details
from .base import Product, ProductBand, QualityBand

# File systems of GDAL behind which no network lies.
_LOCAL = ("/vsizip/", "/vsitar/", "/vsigzip/", "/vsisubfile/", "/vsimem/")


@dataclass(frozen=True)
class Wants:
    """What is asked of products.

    ``bands`` are names that a product must have (empty: its usual set; numbers are not looked
    at), ``need_quality`` whether it must have the layer that tells clouds, ``explicit`` whether
    this kind of product was asked for by name.
    """

    bands: tuple[str, ...] = ()
    need_quality: bool = True
    explicit: bool = False

    def lacking(self, bands: Iterable[ProductBand], usual: Sequence[str]) -> list[str]:
        """Return the names that are wanted but not there."""
        known = {name.lower() for band in bands for name in (band.name, band.native)}
        wanted = [name for name in self.bands if not name.isdecimal()] if self.bands else usual
        return [name for name in wanted if name.lower() not in known]


@dataclass(frozen=True)
class Candidate:
    """Something that looks like a product: ``product``, or None and the ``reason`` why not.

    ``path`` is where a user sees it, ``files`` are the paths of the files that belong to it.
    Candidates with the same ``key`` are one acquisition; the one with the highest ``rank`` is
    the best version of it.
    """

    path: str
    files: frozenset[str]
    key: tuple[str, ...]
    product: Product | None = None
    reason: str = ""
    rank: tuple[str, ...] = ()

    def noting(self, note: str) -> Candidate:
        """Return this candidate with one more note on its product."""
        assert self.product is not None
        return replace(self, product=replace(self.product, notes=(*self.product.notes, note)))


def judged(candidate: Candidate, build: Callable[[], Product]) -> Candidate:
    """Return the candidate with the product that ``build`` makes, or refused.

    ``build`` raises SeriesError or RasterError with the sentence why. Besides, the headers of the
    product's files must be right, as far as these lie on disk or in archives.
    """
    try:
        product = build()
    except (SeriesError, RasterError) as error:
        return replace(candidate, reason=str(error))
    problem = next(_header_problems(product), "")
    return replace(candidate, reason=problem) if problem else replace(candidate, product=product)


def place_rank(path: str) -> str:
    """Return a rank by where files lie: those in folders are read faster than archives'."""
    return "archive" if path.startswith("/vsi") else "folder"


def is_remote(path: str) -> bool:
    """Return whether reading a path needs the network."""
    return path.startswith("/vsi") and not path.startswith(_LOCAL)


def _header_problems(product: Product) -> Iterator[str]:
    """Yield what is wrong with the files of a product, a sentence each; remote ones are trusted."""
    highest: dict[str, int] = {}
    for path, number in (*_places(product.bands), *_places(product.quality)):
        highest[path] = max(highest.get(path, 0), number)
    quality = {band.path for band in product.quality}
    first: RasterInfo | None = None
    for path, number in highest.items():
        if is_remote(path):
            continue
        try:
            info = describe(path)
            end = band_details(path).data_end
        except RasterError as error:
            yield f"Product '{product.name}' cannot be used: {error}"
            return
        if info.count < number:
            yield (
                f"'{path}' of product '{product.name}' has {info.count} bands; "
                f"expected at least {number}."
            )
            return
        if end and not path.startswith("/vsi") and os.path.getsize(path) < end:
            yield (
                f"'{path}' of product '{product.name}' is cut off after "
                f"{os.path.getsize(path)} of {end} bytes: download it again."
            )
        if path in quality and np.dtype(info.dtypes[number - 1]).kind not in "iu":
            yield (
                f"'{path}' of product '{product.name}' holds {info.dtypes[number - 1]} numbers; "
                "expected a quality layer of integers."
            )
        first = first or info
        if not same_ground(first.grid, info.grid):
            yield (
                f"'{Path(path).name}' of product '{product.name}' lies on another grid than "
                f"'{Path(first.path).name}': expected files of one product to cover the same "
                "ground; download it again."
            )


def _places(bands: Iterable[ProductBand | QualityBand]) -> list[tuple[str, int]]:
    return [(band.path, band.number) for band in bands]


def same_ground(first: Grid, other: Grid) -> bool:
    """Return whether two grids have one CRS and the same edges, to half a pixel of the finer."""
    if not same_crs(first.crs, other.crs):
        return False
    finest = min(*first.pixel_size, *other.pixel_size)
    return bool(np.abs(np.subtract(_edges(first), _edges(other))).max() < finest / 2)


def _edges(grid: Grid) -> tuple[float, ...]:
    a, b, c, d, e, f = grid.transform
    right, lower = grid.width, grid.height
    return c, f, a * right + b * lower + c, d * right + e * lower + f
