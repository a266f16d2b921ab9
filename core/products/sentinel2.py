"""Sentinel-2 Level 2A: SAFE folders and archives, and folders of band files."""

from __future__ import annotations

import datetime as dt
import functools
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from ..dates import date_in_name
from ..errors import SeriesError
from ..monitor import Monitor
from . import conditions
from .base import Product, ProductBand, QualityBand
from .candidates import Candidate, Wants, judged, place_rank
from .files import ProductFile
from .safe import METADATA, SafeMetadata, read_metadata
from .spectra import SENTINEL2, SENTINEL2_USUAL, described
from .times import midnight, moment

QUANTIFICATION, NODATA = 10_000.0, 0.0
# From baseline 04.00 on, stored values lie 1000 higher (BOA_ADD_OFFSET -1000), so that dark
# ground may be negative; it was in use from this day on.
OFFSET_BASELINE, SHIFT = 4.0, -1000.0
_OFFSET_FROM = dt.datetime(2022, 1, 25, tzinfo=dt.timezone.utc)

# Satellite, level, start of the data take, baseline, tile.
PRODUCT_ID = re.compile(
    r"(?P<satellite>S2[A-Z])_MSI(?P<level>L1C|L2A)_(?P<start>\d{8}T\d{6})_N(?P<baseline>\d{4})"
    r"_R\d{3}_T(?P<tile>\d\d[A-Z]{3})_\d{8}T\d{6}"
)
# Names of catalogues that cut tiles out of products: S2B_33TVM_20220302_0_L2A.
CATALOGUE_ID = re.compile(
    r"(?P<satellite>S2[A-Z])_T?(?P<tile>\d{1,2}[A-Z]{3})_(?P<start>\d{8}(?:T\d{6})?)(?:_\d+)?_L2A"
)
_TILE_ID = re.compile(r"T(?P<tile>\d\d[A-Z]{3})_(?P<start>\d{8}T\d{6})")
_IMAGE = re.compile(
    r"(?:(?P<stem>.*)_)?(?P<band>B(?:0[1-9]|1[0-2]|8A)|SCL)(?:_(?P<metres>10|20|60)m)?"
    r"\.(?:jp2|tiff?)",
    re.IGNORECASE,
)
_OWN_BASELINE = 99.99
_LEVELS = 3  # of folders whose names may be the product's
_FOLDERS_OF_BANDS = re.compile(r"(?:/IMG_DATA)?(?:/R(?:10|20|60)m)?$", re.IGNORECASE)


@dataclass
class _Tile:
    """One tile of a product: images of each band by metres (0: not said), and what names it."""

    root: str
    shown: str
    stem: str = ""
    granule: str = ""
    images: dict[str, dict[int, ProductFile]] = field(default_factory=dict)
    metadata: ProductFile | None = None

    def finest(self, band: str) -> ProductFile | None:
        """Return the image of a band with the smallest pixels."""
        images = self.images.get(band, {})
        return images[min(images)] if images else None

    def files(self) -> Iterable[ProductFile]:
        """Return all files of the tile."""
        images = [file for group in self.images.values() for file in group.values()]
        return [*images, self.metadata] if self.metadata else images


@dataclass(frozen=True)
class _Identity:
    """What a tile's name and folders say; empty where they say nothing."""

    name: str
    satellite: str = ""
    tile: str = ""
    start: str = ""
    baseline: str = ""
    level: str = "L2A"


def find_sentinel2(files: Sequence[ProductFile], wants: Wants, monitor: Monitor) -> list[Candidate]:
    """Return what looks like Sentinel-2 products among the files, each understood or refused."""
    found = []
    for tile in _tiles(files):
        monitor.check()
        identity = _identity(tile)
        if not (identity.tile or tile.metadata or wants.explicit):
            continue  # files called B02.tif and the like, with nothing that says of what
        start = identity.start or f"{tile.root}/{tile.stem}"
        candidate = Candidate(
            path=tile.shown,
            files=frozenset(file.path for file in tile.files()),
            key=("Sentinel-2", identity.tile, start),
            rank=(identity.baseline, place_rank(tile.root)),
        )
        judgement = judged(candidate, functools.partial(_product, tile, identity, wants))
        found.append((tile.granule.rpartition("_")[2], judgement))
    # A tile where one ground station takes over from another comes in two pieces, which differ
    # in the time of the granule alone.
    times = defaultdict(set)
    for time, candidate in found:
        if time:
            times[candidate.key].add(time)
    return [
        replace(candidate, key=(*candidate.key, time))
        if len(times[candidate.key]) > 1
        else candidate
        for time, candidate in found
    ]


def sensor_name(satellite: str) -> str:
    """Return Sentinel-2B for S2B; Sentinel-2 where the satellite is not known."""
    return f"Sentinel-2{satellite[2:].upper()}" if satellite else "Sentinel-2"


def baseline_in(text: str) -> float | None:
    """Return the processing baseline in metadata (04.00) or a name (0400); else None.

    99.99 stands for products that users made themselves, of which it says nothing.
    """
    match = re.fullmatch(r"(\d\d?)\.?(\d\d)", text.strip())
    found = float(f"{match[1]}.{match[2]}") if match else None
    return None if found == _OWN_BASELINE else found


def has_offset(baseline: float) -> bool:
    """Return whether products of a processing baseline are shifted."""
    return baseline >= OFFSET_BASELINE


def _tiles(files: Sequence[ProductFile]) -> list[_Tile]:
    metadata = {file.folder: file for file in files if METADATA.fullmatch(file.name)}
    tiles: dict[tuple[str, str, str], _Tile] = {}
    with_images = set()
    for file in files:
        match = _IMAGE.fullmatch(file.name)
        if not match or file.name.upper().startswith("MSK_") or "/QI_DATA/" in file.path:
            continue
        if re.fullmatch(r"L[CEMOT]\d\d_.*", file.name, re.IGNORECASE):
            continue  # a Landsat band, named much alike
        root, stem, granule = _home(file, match["stem"] or "", metadata)
        with_images.add(root)
        tile = tiles.setdefault(
            (root, stem, granule),
            _Tile(root, _shown(file, root, stem), stem, granule, metadata=metadata.get(root)),
        )
        band, metres = match["band"].upper(), int(match["metres"] or 0)
        tile.images.setdefault(band, {}).setdefault(metres, file)
    for folder in metadata.keys() - with_images:
        file = metadata[folder]
        tiles[folder, "", ""] = _Tile(folder, file.archive or folder, metadata=file)
    return list(tiles.values())


def _shown(file: ProductFile, root: str, stem: str) -> str:
    """Return where a user sees a tile: images of several may lie in one folder."""
    return file.archive or (file.path if stem else root)


def _home(file: ProductFile, stem: str, metadata: dict[str, ProductFile]) -> tuple[str, str, str]:
    """Return the product's folder; the stem of file names (loose bands), the granule (SAFE)."""
    folder = file.folder
    while len(folder) > len(file.archive):
        if folder in metadata or folder.upper().endswith(".SAFE"):
            granule = re.search(r"/GRANULE/([^/]+)/", file.path[len(folder) :])
            return folder, "", granule[1] if granule else ""
        folder = folder.rpartition("/")[0]
    return _FOLDERS_OF_BANDS.sub("", file.folder), stem, ""


def _identity(tile: _Tile) -> _Identity:
    """Return what the names of a tile say, from the file name up to the outer folders."""
    own = _TILE_ID.search(tile.stem)
    for text in (tile.stem, *reversed(tile.root.split("/")[-_LEVELS:])):
        match = PRODUCT_ID.search(text) or CATALOGUE_ID.search(text)
        if match and (not own or own.groups() == match.group("tile", "start")):
            said = match.groupdict()
            several = tile.granule and said["tile"] not in tile.granule
            return _Identity(
                tile.granule if several else match[0],
                said["satellite"],
                said["tile"],
                said["start"],
                said.get("baseline", ""),
                said.get("level", "L2A"),
            )
    if own:
        return _Identity(tile.stem, tile=own["tile"], start=own["start"])
    folder = tile.root.rpartition("/")[2]
    return _Identity("_".join(part for part in (folder, tile.stem) if part))


def _product(tile: _Tile, identity: _Identity, wants: Wants) -> Product:
    """Return the tile as a product; raise SeriesError with the reason why not."""
    metadata = read_metadata(tile.metadata) if tile.metadata else SafeMetadata()
    name = identity.name if identity.start else metadata.name or identity.name
    if "L1C" in (identity.level, metadata.level) or "B10" in tile.images:
        raise SeriesError(
            f"Sentinel-2 product '{name}' is Level 1C; expected surface reflectance, Level 2A."
        )
    time, notes = _time(tile, identity, metadata), []
    shift = 0.0
    if not metadata.quantification:
        baseline = baseline_in(identity.baseline)
        if baseline is None:
            baseline = OFFSET_BASELINE if time >= _OFFSET_FROM else 0.0
            notes.append(
                f"Nothing says with which baseline Sentinel-2 product '{name}' was processed; by "
                f"its date an offset of {SHIFT if has_offset(baseline) else 0:.0f} is taken."
            )
        shift = SHIFT if has_offset(baseline) else 0.0
    bands = _bands(tile, metadata, shift)
    lacking = wants.lacking(bands, SENTINEL2_USUAL)
    if lacking:
        raise SeriesError(
            f"Sentinel-2 product '{name}' lacks {described(lacking, SENTINEL2)}: add the images, "
            "or name the bands to use with BANDS."
        )
    classes = tile.finest("SCL")
    if classes is None:
        missing = f"Sentinel-2 product '{name}' has no SCL image, which tells clouds"
        if wants.need_quality:
            raise SeriesError(
                f"{missing}: add it, or switch all options of MASK off to go on without."
            )
        notes.append(f"{missing}; only nodata is masked.")
    return Product(
        name=name,
        sensor=sensor_name(identity.satellite or metadata.satellite),
        time=time,
        bands=bands,
        quality=(QualityBand(classes.path, 1, conditions.SCL),) if classes else (),
        usual=SENTINEL2_USUAL,
        notes=tuple(notes),
    )


def _time(tile: _Tile, identity: _Identity, metadata: SafeMetadata) -> dt.datetime:
    date = date_in_name(tile.stem) or date_in_name(tile.root.rpartition("/")[2])
    time = metadata.start or moment(identity.start) or (midnight(date) if date else None)
    if time is None:
        raise SeriesError(
            f"Sentinel-2 bands in '{tile.root}' have no date: expected MTD_MSIL2A.xml beside "
            "them, or the product's name as their folder's."
        )
    return time


def _bands(tile: _Tile, metadata: SafeMetadata, shift: float) -> tuple[ProductBand, ...]:
    divisor = metadata.quantification or QUANTIFICATION
    return tuple(
        ProductBand(
            kind.name,
            kind.native,
            image.path,
            1,
            kind.wavelength,
            1.0 / divisor,
            metadata.offset(kind.native, shift) / divisor,
            NODATA,
        )
        for kind in SENTINEL2
        for image in [tile.finest(kind.native)]
        if image is not None
    )
