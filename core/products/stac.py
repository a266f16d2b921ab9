"""STAC items, alone or in collections: their assets as bands and quality layers of products.

Read as they are written (STAC 1.0 and 1.1, and what came before), with the extensions eo and
raster. Nothing is fetched: remote assets become paths of GDAL's network file systems.
"""

from __future__ import annotations

import datetime as dt
import functools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from ..dates import date_in_name
from ..errors import SeriesError
from ..monitor import Monitor
from .base import Condition, Product, ProductBand
from .candidates import Candidate, Wants, is_remote, judged
from .files import ProductFile
from .landsat import PRODUCT_ID as LANDSAT_ID
from .landsat import acquisition
from .sentinel2 import CATALOGUE_ID
from .sentinel2 import PRODUCT_ID as SENTINEL2_ID
from .stac_assets import Asset, Places, address_of, assets_of
from .stac_families import Family, family_of, tells
from .times import midnight, moment

_OTHER_METADATA = re.compile(r".*(?:_MTL|[_-]metadata|manifest)\.json", re.IGNORECASE)


def find_stac(files: Sequence[ProductFile], wants: Wants, monitor: Monitor) -> list[Candidate]:
    """Return the STAC items among the files, each understood or refused."""
    paths = frozenset(file.path for file in files if file.archive)
    found = []
    for file in files:
        if not file.name.lower().endswith((".json", ".geojson")):
            continue
        monitor.check()
        if _OTHER_METADATA.fullmatch(file.name):
            continue
        refused = functools.partial(
            Candidate, file.shown, frozenset({file.path}), ("file", file.path), None
        )
        try:
            items = _items(file)
        except SeriesError as error:
            found.append(refused(str(error)))
            continue
        if not items and wants.explicit:
            found.append(
                refused(
                    f"'{file.name}' holds no STAC item; expected an item, an ItemCollection or "
                    "a FeatureCollection of items."
                )
            )
        for item in items:
            monitor.check()
            found.append(_candidate(file, item, paths, wants))
    return found


def _items(file: ProductFile) -> list[Mapping[str, object]]:
    """Return the STAC items in a file, none if it holds something else; raise SeriesError."""
    if b'"assets"' not in file.read():
        return []
    text = file.text()
    try:
        contents = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SeriesError(
            f"'{file.name}' is no whole JSON file ({error}): download it again."
        ) from None
    listed = contents.get("features") if isinstance(contents, dict) else None
    items = listed if isinstance(listed, list) else [contents]
    return [
        item
        for item in items
        if isinstance(item, dict)
        and item.get("type") == "Feature"
        and isinstance(item.get("assets"), dict)
    ]


def _candidate(
    file: ProductFile, item: Mapping[str, object], members: frozenset[str], wants: Wants
) -> Candidate:
    name = str(item.get("id") or PurePosixPath(file.name).stem)
    properties = item.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    family = family_of(name, item, properties)
    day = str(properties.get("datetime") or "")[:10].replace("-", "")
    places = Places(file, members, name, day, address_of(item))
    assets = assets_of(item, properties, places)
    paths = {asset.path for asset in assets if asset.path}
    candidate = Candidate(
        path=file.shown,
        files=frozenset({file.path, *paths}),
        key=_key(name, properties, family),
        rank=(f"{sum(not is_remote(path) for path in paths):06}", f"{len(paths):06}"),
    )
    return judged(candidate, functools.partial(_product, name, properties, family, assets, wants))


def _key(name: str, properties: Mapping[str, object], family: Family) -> tuple[str, ...]:
    """Return what tells the acquisition from others, as the products themselves do if known."""
    match = LANDSAT_ID.search(name)
    if match:
        return acquisition(match)
    uri = str(properties.get("s2:product_uri") or properties.get("sentinel:product_id") or name)
    match = SENTINEL2_ID.search(uri) or CATALOGUE_ID.search(uri)
    if match:
        return ("Sentinel-2", match["tile"], match["start"])
    return ("STAC", family.sensor, name)


def _product(
    name: str,
    properties: Mapping[str, object],
    family: Family,
    assets: Sequence[Asset],
    wants: Wants,
) -> Product:
    """Return an item as a product; raise SeriesError with the reason why not."""
    if family.refusal:
        raise SeriesError(f"STAC item '{name}' is {family.refusal}")
    lost: list[str] = []
    bands = tuple(_bands(assets, family, lost))
    if not bands:
        missing = f"; these files are not there: {', '.join(lost)}" if lost else ""
        raise SeriesError(
            f"STAC item '{name}' has no usable assets{missing}; expected rasters whose eo:bands "
            "or bands say which part of the spectrum they are."
        )
    names = [band.name for band in bands]
    offered = [item for item in family.usual if item in names or item in lost] or names + lost
    lacking = wants.lacking(bands, offered)
    if lacking:
        raise SeriesError(
            f"STAC item '{name}' lacks {', '.join(lacking)}; it has {', '.join(names)}: add the "
            "files, or name the bands to use with BANDS."
        )
    quality = tuple(family.quality(assets))
    notes = list(family.notes)
    if not tells(quality, Condition.CLOUD):
        missing = f"STAC item '{name}' has no quality layer that is known to tell clouds"
        if wants.need_quality and family.needs_quality:
            raise SeriesError(
                f"{missing} (QA_PIXEL, SCL or UDM2): add it, or switch all options of MASK off "
                "to go on without."
            )
        notes.append(f"{missing}; clouds are not masked.")
    if family.satellite and not tells(quality, Condition.SATURATED):
        notes.append(f"STAC item '{name}' has no QA_RADSAT; saturation is not masked.")
    return Product(
        name=name,
        sensor=family.sensor,
        time=_time(name, properties),
        bands=bands,
        quality=quality,
        usual=tuple(item for item in offered if item in names),
        notes=tuple(notes),
    )


def _bands(assets: Sequence[Asset], family: Family, lost: list[str]) -> Iterator[ProductBand]:
    """Yield the bands of all assets, each name once; put names without a file into ``lost``."""
    taken = set()
    for band in family.bands(assets):
        if not band.path:
            lost.append(band.name)
        elif band.name not in taken:
            taken.add(band.name)
            yield band
    lost[:] = [name for name in dict.fromkeys(lost) if name not in taken]


def _time(name: str, properties: Mapping[str, object]) -> dt.datetime:
    date = date_in_name(name)
    times = (
        moment(properties.get("datetime")),
        moment(properties.get("start_datetime")),
        midnight(date) if date else None,
    )
    time = next((found for found in times if found), None)
    if time is None:
        raise SeriesError(
            f"STAC item '{name}' has no datetime, start_datetime or date in its id; expected one."
        )
    return time
