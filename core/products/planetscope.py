"""PlanetScope surface reflectance with 4 or 8 bands, with UDM2 or the older UDM mask."""

from __future__ import annotations

import datetime as dt
import functools
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from ..errors import SeriesError
from ..monitor import Monitor
from ..raster import RasterInfo, describe
from . import conditions
from .base import Product, ProductBand, QualityBand
from .candidates import Candidate, Wants, judged, place_rank
from .files import ProductFile
from .spectra import PLANET
from .times import moment

SCALE, OFFSET, NODATA = 0.0001, 0.0, 0.0

# Date, time, (hundredths,) satellite: 20190105_083012_1034, 20211210_151415_26_2416.
SCENE_ID = re.compile(r"(?P<time>\d{8}_\d{6})_(?:\d\d_)?[0-9a-f]{4}(?![0-9a-z])", re.IGNORECASE)
_IMAGE = re.compile(
    SCENE_ID.pattern + r".*_AnalyticMS_SR(?P<rest>.*)\.tiff?", re.IGNORECASE | re.DOTALL
)
_MASK = re.compile(SCENE_ID.pattern + r".*_(?P<kind>udm2?)(?P<rest>.*)\.tiff?", re.IGNORECASE)
_METADATA = re.compile(SCENE_ID.pattern + r".*metadata\.json", re.IGNORECASE)


@dataclass(frozen=True)
class _Scene:
    """An image with the files that belong to it."""

    id: str
    image: ProductFile
    mask: ProductFile | None
    metadata: ProductFile | None


def find_planetscope(
    files: Sequence[ProductFile], wants: Wants, monitor: Monitor
) -> list[Candidate]:
    """Return what looks like PlanetScope scenes among the files, each understood or refused."""
    found = []
    for scene in _scenes(files):
        monitor.check()
        parts = [part for part in (scene.image, scene.mask, scene.metadata) if part]
        eight = "8" if "_8b" in scene.image.name.lower() else "4"
        candidate = Candidate(
            path=scene.image.shown,
            files=frozenset(part.path for part in parts),
            key=("PlanetScope", scene.id),
            rank=(eight, place_rank(scene.image.path)),
        )
        found.append(judged(candidate, functools.partial(_product, scene, wants)))
    return found


def udm2_bands(path: str, names: Sequence[str]) -> tuple[QualityBand, ...]:
    """Return the layers of a UDM2 file, found by band name; by Planet's order where unnamed."""
    known = [name.strip().lower() for name in names]
    if not set(known) & set(conditions.UDM2):
        known = list(conditions.UDM2_BANDS)
    return tuple(
        QualityBand(path, number, conditions.UDM2[name])
        for number, name in enumerate(known, start=1)
        if name in conditions.UDM2
    )


def _scenes(files: Sequence[ProductFile]) -> list[_Scene]:
    masks: dict[str, list[ProductFile]] = {}
    metadata: dict[str, list[ProductFile]] = {}
    for file in files:
        for pattern, group in ((_MASK, masks), (_METADATA, metadata)):
            match = pattern.fullmatch(file.name)
            if match:
                group.setdefault(_id(match), []).append(file)
    scenes = []
    for file in files:
        match = _IMAGE.fullmatch(file.name)
        if match:
            name = _id(match)
            mask = _nearest(file, masks.get(name, ()))
            scenes.append(_Scene(name, file, mask, _nearest(file, metadata.get(name, ()))))
    return scenes


def _id(match: re.Match[str]) -> str:
    found = SCENE_ID.match(match[0])
    assert found
    return found[0]


def _nearest(image: ProductFile, files: Sequence[ProductFile]) -> ProductFile | None:
    """Return the file in the nearest folder: clipped ones for clipped images, UDM2 before UDM."""

    def distance(file: ProductFile) -> tuple[bool, int, bool, str]:
        here, there = PurePosixPath(image.folder).parts, PurePosixPath(file.folder).parts
        common = sum(1 for a, b in zip(here, there) if a == b)
        clipped = ("_clip" in image.name.lower()) != ("_clip" in file.name.lower())
        apart = len(here) + len(there) - 2 * common
        return clipped, apart, "_udm2" not in file.name.lower(), file.name

    near = [file for file in files if file.archive == image.archive]
    return min(near, key=distance, default=None)


def _product(scene: _Scene, wants: Wants) -> Product:
    """Return the scene as a product; raise SeriesError or RasterError with the reason why not."""
    info = describe(scene.image.path)
    mask = describe(scene.mask.path) if scene.mask else None
    bands = _bands(scene, info)
    usual = tuple(band.name for band in bands)
    lacking = wants.lacking(bands, usual)
    if lacking:
        raise SeriesError(
            f"PlanetScope scene '{scene.id}' lacks {', '.join(lacking)}; it has "
            f"{', '.join(usual)}: name the bands to use with BANDS."
        )
    notes = []
    if mask is None:
        missing = f"PlanetScope scene '{scene.id}' has no mask (_udm2.tif), which tells clouds"
        if wants.need_quality:
            raise SeriesError(
                f"{missing}: add it, or switch all options of MASK off to go on without."
            )
        notes.append(f"{missing}; only nodata is masked.")
    elif mask.count == 1:
        notes.append(
            f"PlanetScope scene '{scene.id}' has the older mask (UDM), which tells clouds, but "
            "no shadows, haze or snow."
        )
    return Product(
        name=scene.id,
        sensor="PlanetScope",
        time=_time(scene, info),
        bands=bands,
        quality=tuple(_quality(mask)) if mask else (),
        usual=usual,
        notes=tuple(notes),
    )


def _bands(scene: _Scene, info: RasterInfo) -> tuple[ProductBand, ...]:
    numbers = [number for number, alpha in enumerate(info.alpha, start=1) if not alpha]
    if len(numbers) not in PLANET:
        raise SeriesError(
            f"'{scene.image.name}' has {len(numbers)} bands; expected the 4 or 8 of PlanetScope."
        )
    order = PLANET[len(numbers)]
    described = [info.band_names[number - 1].strip().lower() for number in numbers]
    if sorted(described) == sorted(kind.name for kind in order):
        numbers = [numbers[described.index(kind.name)] for kind in order]
    return tuple(
        ProductBand(
            kind.name,
            kind.native,
            scene.image.path,
            number,
            kind.wavelength,
            SCALE,
            OFFSET,
            NODATA,
        )
        for kind, number in zip(order, numbers)
    )


def _quality(mask: RasterInfo) -> Iterator[QualityBand]:
    if mask.count == 1:
        yield QualityBand(mask.path, 1, conditions.UDM)
    else:
        yield from udm2_bands(mask.path, mask.band_names)


def _time(scene: _Scene, info: RasterInfo) -> dt.datetime:
    said = []
    if scene.metadata:
        text = scene.metadata.text()
        try:
            contents = json.loads(text)
        except (ValueError, RecursionError):
            raise SeriesError(
                f"'{scene.metadata.name}' of PlanetScope scene '{scene.id}' is no whole JSON "
                "file: download it again."
            ) from None
        properties = contents.get("properties") if isinstance(contents, dict) else None
        said.append(properties.get("acquired") if isinstance(properties, dict) else None)
    said += [*info.date_tags, scene.id[:15]]
    time = next((found for found in map(moment, said) if found), None)
    if time is None:
        raise SeriesError(f"PlanetScope scene '{scene.id}' has no date; its name holds none.")
    return time
