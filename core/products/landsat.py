"""Landsat 4, 5, 7, 8 and 9, Collection 2 Level 2: folders, loose files and archives."""

from __future__ import annotations

import datetime as dt
import functools
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ..errors import SeriesError
from ..monitor import Monitor
from . import conditions
from .base import Product, ProductBand, QualityBand
from .candidates import Candidate, Wants, judged, place_rank
from .files import ProductFile
from .mtl import Groups, read_mtl
from .spectra import LANDSAT, LANDSAT_USUAL, described
from .times import moment

# Reflectance of all Collection 2 Level 2 bands (USGS LSDS-1618 and LSDS-1619), where no
# metadata file says so.
SCALE, OFFSET, NODATA = 0.0000275, -0.2, 0.0

# Sensor and satellite, level, path and row, acquired, processed, collection, tier, what it is.
PRODUCT_ID = re.compile(
    r"(?P<sensor>L[CEMOT](?P<satellite>0[1-9]))_(?P<level>L\d[A-Z]{2})_(?P<place>\d{6})"
    r"_(?P<acquired>\d{8})(?:_(?P<processed>\d{8}))?_(?P<collection>\d\d)_(?P<tier>RT|[A-Z]\d)"
)
_FILE = re.compile(
    PRODUCT_ID.pattern + r"_(?P<part>[A-Z_0-9]+)\.(?P<ending>tiff?|txt|json|xml)", re.IGNORECASE
)
_METADATA = ("txt", "xml", "json")


@dataclass
class _Scene:
    """Files of one product id in one folder: rasters by what they are (SR_B4), MTL by ending."""

    name: str
    folder: str
    shown: str
    id: re.Match[str]
    parts: dict[str, ProductFile] = field(default_factory=dict)
    metadata: dict[str, ProductFile] = field(default_factory=dict)

    @property
    def satellite(self) -> int:
        """Number of the satellite."""
        return int(self.id["satellite"])

    @property
    def has_reflectance(self) -> bool:
        """Whether there is any band of surface reflectance."""
        return any(part.startswith("SR_B") for part in self.parts)


def find_landsat(files: Sequence[ProductFile], wants: Wants, monitor: Monitor) -> list[Candidate]:
    """Return what looks like Landsat scenes among the files, each understood or refused."""
    scenes = _scenes(files)
    by_folder = defaultdict(list)
    for scene in scenes:
        by_folder[scene.folder].append(scene)
    found = []
    for scene in scenes:
        monitor.check()
        beside = by_folder[scene.folder]
        if not scene.parts or (
            not scene.has_reflectance and any(other.has_reflectance for other in beside)
        ):
            continue  # stray metadata and quality: named where a scene lacks its own
        files_of_it = (*scene.parts.values(), *scene.metadata.values())
        candidate = Candidate(
            path=scene.shown,
            files=frozenset(file.path for file in files_of_it),
            key=acquisition(scene.id),
            rank=(scene.id["processed"] or "", scene.id["tier"], place_rank(scene.folder)),
        )
        build = functools.partial(_product, scene, beside, wants)
        found.append(judged(candidate, build))
    return found


def acquisition(match: re.Match[str]) -> tuple[str, ...]:
    """Return what tells one acquisition from another, whichever way it was processed."""
    return ("Landsat", match["sensor"].upper(), match["place"], match["acquired"])


def is_oli(satellite: int) -> bool:
    """Return whether a satellite carries OLI, whose quality bits are others than TM's and ETM's."""
    return satellite >= 8


def _scenes(files: Sequence[ProductFile]) -> list[_Scene]:
    scenes: dict[tuple[str, str], _Scene] = {}
    for file in files:
        match = _FILE.fullmatch(file.name)
        if not match:
            continue
        part, ending = match["part"].upper(), match["ending"].lower()
        name = file.name[: match.start("part") - 1]
        alone = file.folder.endswith(f"/{name}")
        shown = file.archive or (file.folder if alone else file.path)
        scene = scenes.setdefault((file.folder, name), _Scene(name, file.folder, shown, match))
        if ending in _METADATA:
            if part == "MTL":
                scene.metadata[ending] = file
        else:
            scene.parts[part] = file
    return list(scenes.values())


def _product(scene: _Scene, beside: Sequence[_Scene], wants: Wants) -> Product:
    """Return the scene as a product; raise SeriesError with the reason why not."""
    level, collection, satellite = scene.id["level"], scene.id["collection"], scene.satellite
    if not level.upper().startswith("L2") or collection != "02" or satellite not in LANDSAT:
        raise SeriesError(
            f"'{scene.name}' is {level} of Collection {int(collection)}, Landsat {satellite}; "
            "expected Level 2 (L2SP or L2SR) of Collection 2, Landsat 4, 5, 7, 8 or 9."
        )
    groups = _groups(scene)
    bands = _bands(scene, groups)
    lacking = wants.lacking(bands, LANDSAT_USUAL)
    if lacking:
        raise SeriesError(
            f"Landsat scene '{scene.name}' lacks {described(lacking, LANDSAT[satellite])}: add the "
            "files, or name the bands to use with BANDS."
        )
    return Product(
        name=scene.name,
        sensor=f"Landsat {satellite}",
        time=_time(scene, groups),
        bands=bands,
        quality=_quality(scene),
        usual=LANDSAT_USUAL,
        notes=tuple(_notes(scene, beside, wants)),
    )


def _notes(scene: _Scene, beside: Sequence[_Scene], wants: Wants) -> Iterator[str]:
    """Yield what a user should know of missing quality; raise SeriesError where it is needed."""
    if "QA_PIXEL" not in scene.parts:
        strays = [item for item in beside if "QA_PIXEL" in item.parts and not item.has_reflectance]
        missing = f"Landsat scene '{scene.name}' has no QA_PIXEL file, which tells clouds"
        if strays:
            missing += f" (the one of '{strays[0].name}' belongs to another scene)"
        if wants.need_quality:
            raise SeriesError(
                f"{missing}: add it, or switch all options of MASK off to go on without."
            )
        yield f"{missing}; only nodata is masked."
    if "QA_RADSAT" not in scene.parts:
        yield f"Landsat scene '{scene.name}' has no QA_RADSAT file; saturation is not masked."


def _groups(scene: _Scene) -> Groups:
    """Return the MTL's groups, none where there is no such file; raise SeriesError."""
    file = next((scene.metadata[kind] for kind in _METADATA if kind in scene.metadata), None)
    if file is None:
        return {}
    groups = read_mtl(file)
    named = groups.get("PRODUCT_CONTENTS", {}).get("LANDSAT_PRODUCT_ID", scene.name)
    if named.upper() != scene.name.upper():
        raise SeriesError(
            f"The metadata file of Landsat scene '{scene.name}' speaks of '{named}', which is "
            "another one: put each scene's own files together."
        )
    return groups


def _bands(scene: _Scene, groups: Groups) -> tuple[ProductBand, ...]:
    numbers = groups.get("LEVEL2_SURFACE_REFLECTANCE_PARAMETERS", {})
    bands = []
    for kind in LANDSAT[scene.satellite]:
        if kind.native not in scene.parts:
            continue
        number = kind.native[-1]
        scale = numbers.get(f"REFLECTANCE_MULT_BAND_{number}", SCALE)
        offset = numbers.get(f"REFLECTANCE_ADD_BAND_{number}", OFFSET)
        try:
            factors = float(scale), float(offset)
        except ValueError:
            raise SeriesError(
                f"The metadata file of Landsat scene '{scene.name}' gives scale '{scale}' and "
                f"offset '{offset}' for {kind.native}; expected numbers."
            ) from None
        path = scene.parts[kind.native].path
        bands.append(
            ProductBand(kind.name, kind.native, path, 1, kind.wavelength, *factors, NODATA)
        )
    return tuple(bands)


def _time(scene: _Scene, groups: Groups) -> dt.datetime:
    attributes = groups.get("IMAGE_ATTRIBUTES", {})
    day, hour = attributes.get("DATE_ACQUIRED", ""), attributes.get("SCENE_CENTER_TIME", "")
    time = moment(f"{day}T{hour}") or moment(day) or moment(scene.id["acquired"])
    if time is None:
        raise SeriesError(
            f"Landsat scene '{scene.name}' has no date; '{scene.id['acquired']}' in its name is "
            "none."
        )
    return time


def _quality(scene: _Scene) -> tuple[QualityBand, ...]:
    oli = is_oli(scene.satellite)
    readers = {
        "QA_PIXEL": conditions.QA_PIXEL_OLI if oli else conditions.QA_PIXEL_TM,
        "QA_RADSAT": conditions.QA_RADSAT_OLI if oli else conditions.QA_RADSAT_TM,
    }
    return tuple(
        QualityBand(scene.parts[part].path, 1, reader)
        for part, reader in readers.items()
        if part in scene.parts
    )
