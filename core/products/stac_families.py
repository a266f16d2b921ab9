"""What is known of the products behind STAC items, beyond what the items say themselves."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from . import conditions, landsat, planetscope, sentinel2
from .base import Condition, ProductBand, QualityBand
from .spectra import (
    LANDSAT,
    LANDSAT_USUAL,
    PLANET,
    SENTINEL2,
    SENTINEL2_USUAL,
    BandKind,
)
from .stac_assets import Asset, AssetBand

_QUALITY = re.compile(
    r"(?:^|[_\-. ])(?P<kind>qa_pixel|qa_radsat|scl|udm2?)(?![a-z])", re.IGNORECASE
)
_PICTURE = re.compile(
    r"visual|overview|preview|rendered_preview|thumbnail|tci(?:_\d+m)?|true_?colou?r",
    re.IGNORECASE,
)
_LANDSAT_BAND = re.compile(r"(?:^|_)(SR_B[1-7])(?![0-9])", re.IGNORECASE)
_SENTINEL2_BAND = re.compile(r"(?:^|_)(B(?:0[1-9]|1[12]|8A))(?![0-9A-Z])", re.IGNORECASE)


@dataclass(frozen=True)
class Family:
    """Items of one kind of product; this one knows nothing but what the items say.

    ``refusal`` says why items of this kind cannot be used. ``usual`` are the bands taken when
    nobody says which; empty: all.
    """

    sensor: str = ""
    usual: tuple[str, ...] = ()
    satellite: int = 0
    needs_quality: bool = False
    refusal: str = ""
    notes: tuple[str, ...] = ()

    def bands(self, assets: Sequence[Asset]) -> Iterator[ProductBand]:
        """Yield the bands of the assets; a name may come several times, the best one first."""
        natives = defaultdict(set)
        entries = [
            (asset, band)
            for asset in assets
            for band in asset.bands
            if not (quality_kind(asset) or _PICTURE.fullmatch(asset.key))
            and (band.common_name or band.name)
        ]
        for _, band in entries:
            natives[band.common_name].add(band.name)
        for asset, band in entries:
            # Catalogues call the three red edges of Sentinel-2 by one common name.
            shared = len(natives[band.common_name]) > 1
            native = band.name or band.common_name
            name = native if shared or not band.common_name else band.common_name
            yield made_band(asset, band, BandKind(name, native, 0.0))

    def quality(self, assets: Sequence[Asset]) -> Iterator[QualityBand]:
        """Yield the quality layers among the assets, each kind once."""
        found: dict[str, Asset] = {}
        for asset in assets:
            kind = quality_kind(asset)
            if kind and asset.path:
                found.setdefault(kind, asset)
        oli = landsat.is_oli(self.satellite)
        for kind, asset in found.items():
            if kind == "scl":
                yield QualityBand(asset.path, 1, conditions.SCL)
            elif kind == "udm2":
                yield from planetscope.udm2_bands(asset.path, [band.name for band in asset.bands])
            elif kind == "udm" and "udm2" not in found:
                yield QualityBand(asset.path, 1, conditions.UDM)
            elif kind == "qa_pixel" and self.satellite:
                reader = conditions.QA_PIXEL_OLI if oli else conditions.QA_PIXEL_TM
                yield QualityBand(asset.path, 1, reader)
            elif kind == "qa_radsat" and self.satellite:
                reader = conditions.QA_RADSAT_OLI if oli else conditions.QA_RADSAT_TM
                yield QualityBand(asset.path, 1, reader)


@dataclass(frozen=True)
class LandsatFamily(Family):
    """Landsat Collection 2 Level 2."""

    def bands(self, assets: Sequence[Asset]) -> Iterator[ProductBand]:
        """Yield the surface reflectance bands, found by the names of files, keys or bands."""
        kinds = {kind.native: kind for kind in LANDSAT[self.satellite]}
        defaults = (landsat.SCALE, landsat.OFFSET, landsat.NODATA)
        for asset, band, native in _named(assets, _LANDSAT_BAND):
            if native in kinds:
                yield made_band(asset, band, kinds[native], *defaults)


@dataclass(frozen=True)
class Sentinel2Family(Family):
    """Sentinel-2 Level 2A; ``shift`` is added to stored values, None: what the item says."""

    shift: float | None = None

    def bands(self, assets: Sequence[Asset]) -> Iterator[ProductBand]:
        """Yield the spectral bands, found by the names of files, keys or bands."""
        kinds = {kind.native: kind for kind in SENTINEL2}
        scale = 1.0 / sentinel2.QUANTIFICATION
        for asset, band, native in _named(assets, _SENTINEL2_BAND):
            made = made_band(asset, band, kinds[native], scale, 0.0, sentinel2.NODATA)
            offset = made.offset if self.shift is None else self.shift * made.scale
            yield replace(made, offset=offset)


@dataclass(frozen=True)
class PlanetFamily(Family):
    """PlanetScope surface reflectance."""

    def bands(self, assets: Sequence[Asset]) -> Iterator[ProductBand]:
        """Yield the bands of the surface reflectance images, eight bands before four."""
        images = [
            asset
            for asset in assets
            if re.search(r"_sr(?:_|$)|AnalyticMS_SR", f"{asset.key}|{asset.file_name}", re.I)
            and not quality_kind(asset)
        ]
        for asset in sorted(images, key=lambda asset: -_planet_count(asset)):
            order = PLANET[_planet_count(asset)]
            names = [band.name.lower() for band in asset.bands]
            described = sorted(names) == sorted(kind.native for kind in order)
            for number, kind in enumerate(order, start=1):
                place = names.index(kind.native) + 1 if described else number
                said = asset.bands[min(place, len(asset.bands)) - 1]
                yield made_band(
                    asset,
                    said,
                    kind,
                    planetscope.SCALE,
                    planetscope.OFFSET,
                    planetscope.NODATA,
                    number=place,
                )


def family_of(name: str, item: Mapping[str, object], properties: Mapping[str, object]) -> Family:
    """Return the family of an item, by its id, collection and properties."""
    collection = str(item.get("collection") or "").lower()
    match = landsat.PRODUCT_ID.search(name)
    if match:
        return _landsat(match)
    product = str(properties.get("s2:product_uri") or name)
    match = sentinel2.PRODUCT_ID.search(product) or sentinel2.CATALOGUE_ID.search(name)
    if match or collection.startswith(("sentinel-2", "sentinel-s2")):
        return _sentinel2(name, collection, match, properties)
    said = f"{collection} {properties.get('constellation')} {properties.get('platform')}".lower()
    if planetscope.SCENE_ID.match(name) and ("planet" in said or "psscene" in said):
        return PlanetFamily("PlanetScope", needs_quality=True)
    return Family(str(properties.get("platform") or ""))


def tells(quality: Sequence[QualityBand], condition: Condition) -> bool:
    """Return whether any of the layers knows a condition."""
    nothing = np.zeros((1, 1), np.uint16)
    return any(condition in layer.conditions(nothing) for layer in quality)


def quality_kind(asset: Asset) -> str:
    """Return which known quality layer an asset is (qa_pixel, qa_radsat, scl, udm2, udm), or ""."""
    match = _QUALITY.search(asset.key) or _QUALITY.search(asset.file_name)
    return match["kind"].lower() if match else ""


def made_band(
    asset: Asset,
    band: AssetBand,
    kind: BandKind,
    scale: float = 1.0,
    offset: float = 0.0,
    nodata: float | None = None,
    *,
    number: int | None = None,
) -> ProductBand:
    """Return a band of an asset: what the item says of it, else what is known of its kind."""
    return ProductBand(
        kind.name,
        kind.native,
        asset.path,
        band.number if number is None else number,
        band.wavelength or kind.wavelength or None,
        scale if band.scale is None else band.scale,
        offset if band.offset is None else band.offset,
        nodata if band.nodata is None else band.nodata,
    )


def _landsat(match: re.Match[str]) -> Family:
    satellite, level = int(match["satellite"]), match["level"]
    refusal = ""
    if not level.startswith("L2") or match["collection"] != "02" or satellite not in LANDSAT:
        refusal = (
            f"{level} of Collection {int(match['collection'])}, Landsat {satellite}; expected "
            "Level 2 of Collection 2, Landsat 4, 5, 7, 8 or 9."
        )
    return LandsatFamily(
        f"Landsat {satellite}", LANDSAT_USUAL, satellite, needs_quality=True, refusal=refusal
    )


def _sentinel2(
    name: str,
    collection: str,
    match: re.Match[str] | None,
    properties: Mapping[str, object],
) -> Family:
    said = match.groupdict() if match else {}
    satellite = said.get("satellite") or str(properties.get("platform") or "").lower().replace(
        "sentinel-", "S"
    )
    level = said.get("level", "L2A")
    refusal = ""
    if level == "L1C" or "l1c" in collection:
        refusal = "Level 1C; expected surface reflectance, Level 2A."
    keys = ("s2:processing_baseline", "sentinel:processing_baseline", "processing:version")
    told = [*(str(properties.get(key)) for key in keys), said.get("baseline", "")]
    baseline = next(filter(None, map(sentinel2.baseline_in, told)), None)
    applied = any(
        properties.get(f"{prefix}:boa_offset_applied") is True
        for prefix in ("earthsearch", "sentinel")
    )
    notes: tuple[str, ...] = ()
    shift: float | None = None
    if applied:
        shift = 0.0  # already in the values, although some items still declare an offset
    elif baseline is not None:
        shift = sentinel2.SHIFT if sentinel2.has_offset(baseline) else 0.0
    else:
        notes = (
            f"STAC item '{name}' does not say with which baseline it was processed; offsets are "
            "taken as it declares them, 0 where it does not.",
        )
    return Sentinel2Family(
        sentinel2.sensor_name(satellite),
        SENTINEL2_USUAL,
        needs_quality=True,
        refusal=refusal,
        notes=notes,
        shift=shift,
    )


def _named(
    assets: Sequence[Asset], pattern: re.Pattern[str]
) -> Iterator[tuple[Asset, AssetBand, str]]:
    """Yield assets of one band with the product's name of it."""
    for asset in assets:
        if len(asset.bands) > 1 or quality_kind(asset) or _PICTURE.fullmatch(asset.key):
            continue
        for text in (asset.file_name, asset.key, asset.bands[0].name):
            match = pattern.search(text)
            if match:
                yield asset, asset.bands[0], match[1].upper()
                break


def _planet_count(asset: Asset) -> int:
    if len(asset.bands) in PLANET:
        return len(asset.bands)
    return 8 if re.search(r"_8b(?:_|\.|$)", f"{asset.key}_|{asset.file_name}", re.I) else 4
