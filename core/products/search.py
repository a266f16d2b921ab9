"""Products of every kind, looked for in what a user hands over."""

from __future__ import annotations

import enum
import os
from collections.abc import Callable, Sequence

from ..errors import SeriesError
from ..monitor import Monitor
from .base import Product
from .candidates import Candidate, Wants
from .files import LeftOut, ProductFile, gather
from .landsat import find_landsat
from .multiband import find_multiband
from .planetscope import find_planetscope
from .sentinel2 import find_sentinel2
from .stac import find_stac


class ProductKind(enum.Enum):
    """What to look for, in the order of the PRODUCT parameter."""

    DETECT = "detect"
    LANDSAT = "landsat"
    SENTINEL2 = "sentinel2"
    PLANETSCOPE = "planetscope"
    STAC = "stac"
    MULTIBAND = "multiband"


Finder = Callable[[Sequence[ProductFile], Wants, Monitor], list[Candidate]]

_FINDERS: dict[ProductKind, Finder] = {
    ProductKind.LANDSAT: find_landsat,
    ProductKind.SENTINEL2: find_sentinel2,
    ProductKind.PLANETSCOPE: find_planetscope,
    ProductKind.STAC: find_stac,
    ProductKind.MULTIBAND: find_multiband,
}
_EXPECTED = {
    ProductKind.DETECT: "Landsat, Sentinel-2, PlanetScope, STAC items or multiband rasters",
    ProductKind.LANDSAT: "Landsat Collection 2 Level 2 files (such as LC08_L2SP_…_SR_B4.TIF)",
    ProductKind.SENTINEL2: "Sentinel-2 L2A products (.SAFE or .zip) or band files (B02 to B12)",
    ProductKind.PLANETSCOPE: "PlanetScope images (such as …_3B_AnalyticMS_SR.tif)",
    ProductKind.STAC: "STAC items (.json or .geojson)",
    ProductKind.MULTIBAND: "rasters (.tif, .vrt, .jp2 or .img)",
}
# Items know more than names do, so they come first; any raster could be a multiband file, so
# these are looked for only where there is nothing else.
_DETECT = (
    (find_stac, find_landsat, find_sentinel2, find_planetscope),
    (find_multiband,),
)


def find_products(
    inputs: Sequence[str | os.PathLike[str]],
    kind: ProductKind = ProductKind.DETECT,
    monitor: Monitor | None = None,
    *,
    bands: Sequence[str] | None = None,
    need_quality: bool = True,
) -> tuple[list[Product], list[LeftOut]]:
    """Find the products in folders (and all below), archives and files, oldest first.

    Parameters
    ----------
    inputs
        Folders, archives (.zip, .tar, .tar.gz) or files. Nothing is extracted.
    kind
        What to look for. DETECT takes all kinds, STAC items before the bands they describe, and
        any other multiband raster only where nothing else is found.
    monitor
        May cancel the search.
    bands
        Names that a product must have; None for its usual set. Numbers are not looked at.
    need_quality
        Whether products without the layer that tells clouds are left out.

    Returns
    -------
    products, left_out
        One acquisition is listed once, in its newest processing; a note says where else it is.
        What looked like a product but cannot be used is left out, with a sentence each.

    Raises
    ------
    SeriesError
        If there is nothing that looks like a product.
    Cancelled
        From the monitor.
    """
    monitor = monitor or Monitor()
    gathered = gather(inputs, monitor)
    files = list(gathered.files.values())
    stages = _DETECT if kind is ProductKind.DETECT else ((_FINDERS[kind],),)
    wants = Wants(tuple(bands or ()), need_quality, explicit=kind is not ProductKind.DETECT)
    found: list[Candidate] = []
    for finders in stages:
        for finder in finders:
            met = [item for item in finder(files, wants, monitor) if item.files & gathered.chosen]
            found += sorted(met, key=lambda item: item.rank, reverse=True)
        if found:
            break
    kept, refused = _settled(found)
    left_out = [*gathered.left_out, *(LeftOut(item.path, item.reason) for item in refused)]
    if not kept and not left_out:
        places = ", ".join(f"'{os.fspath(item)}'" for item in inputs) or "an empty list"
        raise SeriesError(f"No product was found in {places}; expected {_EXPECTED[kind]}.")
    products = [item.product for item in kept if item.product]
    return sorted(products, key=lambda item: (item.time, item.name)), left_out


def _settled(found: Sequence[Candidate]) -> tuple[list[Candidate], list[Candidate]]:
    """Return the candidates to keep, one of each acquisition, and those that are refused.

    The first of an acquisition is kept. Others of the same files are the same thing seen by
    another finder; others elsewhere are named in a note.
    """
    kept: dict[tuple[str, ...], Candidate] = {}
    used: set[tuple[str, int]] = set()
    for item in found:
        images = (
            {(band.path, band.number) for band in item.product.bands} if item.product else set()
        )
        if item.product is None or images & used:
            continue
        other = kept.get(item.key)
        if other is None:
            kept[item.key] = item
        else:
            note = f"'{item.product.name}' in '{item.path}' is the same acquisition and not used."
            kept[item.key] = other.noting(note)
        used |= images
    files = {path for path, _ in used}
    refused = [
        item
        for item in found
        if item.product is None and item.key not in kept and not item.files & files
    ]
    return list(kept.values()), refused
