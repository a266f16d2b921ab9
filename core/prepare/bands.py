"""Which bands of each product are prepared, so that all scenes get the same ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import BandError
from ..products.base import Product, ProductBand
from .indices import Index


@dataclass(frozen=True)
class Wanted:
    """Common names of the output bands, of more that indices need, and each index's two."""

    bands: tuple[str, ...]
    more: tuple[str, ...]
    indices: tuple[tuple[Index, str, str], ...]
    notes: tuple[str, ...] = ()

    @property
    def needed(self) -> tuple[str, ...]:
        """Names of all bands to read, output bands first."""
        return self.bands + self.more


def wanted_bands(
    products: Sequence[Product], names: Sequence[str], indices: Sequence[Index]
) -> Wanted:
    """Return what to read of all products; ``names`` empty: the usual bands that all have.

    Raises BandError where no product has a band, or products mean different bands by a name.
    """
    notes: tuple[str, ...] = ()
    if names:
        bands = tuple(dict.fromkeys(_common_name(products, name) for name in names))
    else:
        bands, notes = _usual_bands(products)
    pairs = [(index, *_index_bands(products, index)) for index in dict.fromkeys(indices)]
    more = dict.fromkeys(name for _, *pair in pairs for name in pair if name not in bands)
    return Wanted(bands, tuple(more), tuple(pairs), notes)


def band_of(product: Product, name: str) -> ProductBand:
    """Return the band with that common name; raise BandError where the product has none."""
    for band in product.bands:
        if band.name == name:
            return band
    raise BandError(
        f"it has no band '{name}'; it has {_known(product)}: add the file, or choose other bands"
    )


def _usual_bands(products: Sequence[Product]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the usual bands that all sensors have, and a note on those that some lack.

    A sensor's usual bands are those of most of its scenes: a scene that lacks one of them is
    missing a file.
    """
    by_sensor: dict[str, Counter[tuple[str, ...]]] = {}
    for product in products:
        by_sensor.setdefault(product.sensor, Counter())[product.usual] += 1
    usual = {sensor: counts.most_common(1)[0][0] for sensor, counts in by_sensor.items()}
    first = next(iter(usual.values()))
    shared = tuple(name for name in first if all(name in names for names in usual.values()))
    if not shared:
        known = "; ".join(f"{sensor}: {', '.join(names)}" for sensor, names in usual.items())
        raise BandError(f"The sensors have no band in common ({known}): prepare them apart.")
    dropped = dict.fromkeys(
        name for names in usual.values() for name in names if name not in shared
    )
    if not dropped:
        return shared, ()
    return shared, (f"Not all sensors have {', '.join(dropped)}: left out.",)


def _common_name(products: Sequence[Product], given: str) -> str:
    """Return the common name of a band given by that, the products' own name or its number.

    A number counts the bands of products that come as one file.
    """
    folded = given.casefold()
    for product in products:
        for band in product.bands:
            if band.name.casefold() == folded:
                return band.name
    meant: dict[str, Product] = {}
    for product in products:
        for band in product.bands:
            if band.native.casefold() == folded or _number(product, band) == given:
                meant.setdefault(band.name, product)
    if not meant:
        first = products[0]
        raise BandError(
            f"No scene has a band '{given}'; '{first.name}' has {_known(first)}: correct BANDS."
        )
    if len(meant) > 1:
        said = " and ".join(f"{name} in '{product.name}'" for name, product in meant.items())
        raise BandError(f"Band '{given}' is {said}: use common names in BANDS.")
    return next(iter(meant))


def _index_bands(products: Sequence[Product], index: Index) -> tuple[str, str]:
    """Return the two bands of an index: the same ones for all products, if they have such."""
    names = [[band.name for band in product.bands] for product in products]
    shared = [name for name in names[0] if all(name in others for others in names)]
    every = [name for others in names for name in others]
    pair = index.bands(shared) or index.bands(every)
    if pair is None:
        raise BandError(
            f"No scene has the bands that {index.name} needs; '{products[0].name}' has "
            f"{_known(products[0])}: choose other INDICES."
        )
    return pair


def _number(product: Product, band: ProductBand) -> str | None:
    """Return a band's number in the product's file, if all bands lie in one."""
    return str(band.number) if len({item.path for item in product.bands}) == 1 else None


def _known(product: Product) -> str:
    return ", ".join(
        band.name if band.name == band.native else f"{band.name} ({band.native})"
        for band in product.bands
    )
