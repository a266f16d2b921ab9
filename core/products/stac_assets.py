"""The assets of STAC items: where their rasters lie, and what is said of each of their bands."""

from __future__ import annotations

import contextlib
import os
import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urljoin
from urllib.request import url2pathname

from .files import ProductFile

# GDAL's file systems by the scheme of an address.
_NETWORK = {
    "http": "/vsicurl/",
    "https": "/vsicurl/",
    "ftp": "/vsicurl/",
    "s3": "/vsis3/",
    "gs": "/vsigs/",
    "az": "/vsiaz/",
    "abfs": "/vsiadls/",
    "oss": "/vsioss/",
}
_RASTER = re.compile(r"\.(?:tiff?|jp2|vrt|img)(?:$|\?)", re.IGNORECASE)
_RASTER_TYPE = re.compile(r"image/(?:tiff|vnd\.stac\.geotiff|jp2|jpx)|application/x-vrt", re.I)
# Pictures, tables and angles, which are rasters but no measurement of the ground.
_OTHER_ROLES = {"thumbnail", "overview", "visual", "metadata", "temperature", "graphic", "date"}


@dataclass(frozen=True)
class AssetBand:
    """What an item says of one band of an asset; None and "" where it says nothing."""

    number: int
    name: str
    common_name: str
    wavelength: float | None
    scale: float | None
    offset: float | None
    nodata: float | None


@dataclass(frozen=True)
class Asset:
    """One raster of an item. ``path`` is what GDAL opens, empty if the file is not there."""

    key: str
    file_name: str
    path: str
    roles: frozenset[str]
    bands: tuple[AssetBand, ...]


@dataclass(frozen=True)
class Places:
    """Where the hrefs of an item lead.

    ``file`` holds the item, ``members`` are the paths in all archives. ``item_id`` and ``day``
    (YYYYMMDD) are the item's own, ``address`` is where it came from, if it says so.
    """

    file: ProductFile
    members: frozenset[str]
    item_id: str
    day: str
    address: str

    def path(self, href: str) -> str:
        """Return what GDAL opens for an href; empty for a local file that is not there.

        A remote file that was downloaded and put beside its item is read there. Relative hrefs
        lead to local files, and where there are none to where the item came from.
        """
        scheme = _scheme(href)
        if href.startswith("/vsi"):
            return href
        if scheme == "file":
            return self._there(url2pathname("/" + href.partition("://")[2].partition("/")[2]))
        if scheme in _NETWORK:
            return self._downloaded(file_name(href)) or network_path(href)
        found = self._there(href) or self._there(unquote(href))
        if not found and _scheme(self.address) in _NETWORK:
            with contextlib.suppress(ValueError):  # an address that is none
                found = network_path(urljoin(self.address, href))
        return found

    def _downloaded(self, name: str) -> str:
        """Return the file of that name beside the item, if it is the item's.

        Files of some catalogues are called B02.tif, whatever their date.
        """
        own = self.item_id in self.file.folder.rpartition("/")[2] or self.item_id in name
        return self._there(name) if own or (self.day and self.day in name) else ""

    def _there(self, local: str) -> str:
        if not self.file.archive:
            path = os.path.normpath(os.path.join(self.file.folder, local)).replace(os.sep, "/")
            return path if os.path.isfile(path) else ""
        root = self.file.path[: -len(self.file.member.removeprefix("./"))]
        inside = posixpath.normpath(posixpath.join(self.file.folder[len(root) :], local))
        path = root + inside
        return path if path in self.members else ""


def address_of(item: Mapping[str, object]) -> str:
    """Return where an item says that it came from."""
    links = item.get("links")
    for link in links if isinstance(links, list) else ():
        if isinstance(link, dict) and link.get("rel") == "self":
            return str(link.get("href") or "")
    return ""


def file_name(href: str) -> str:
    """Return the name of the file at the end of an href."""
    return posixpath.basename(unquote(re.split("[?#]", href)[0]))


def network_path(address: str) -> str:
    """Return GDAL's path for an address on a network."""
    system = _NETWORK[_scheme(address)]
    return system + (address if system == "/vsicurl/" else address.partition("://")[2])


def _scheme(address: str) -> str:
    match = re.match(r"([a-z][a-z0-9+.\-]*)://", address, re.IGNORECASE)
    return match[1].lower() if match else ""


def assets_of(
    item: Mapping[str, object], properties: Mapping[str, object], places: Places
) -> list[Asset]:
    """Return the rasters of an item, those first that suit better where several show one thing.

    GeoTIFF comes before JPEG 2000, small pixels before large ones.
    """
    given = item.get("assets")
    found = []
    for key, asset in given.items() if isinstance(given, dict) else ():
        href = asset.get("href") if isinstance(asset, dict) else None
        if not isinstance(href, str) or not _is_raster(asset, href):
            continue
        roles = asset.get("roles")
        made = Asset(
            key=str(key),
            file_name=file_name(href),
            path=places.path(href),
            roles=frozenset(map(str, roles)) if isinstance(roles, list) else frozenset(),
            bands=_bands(asset, properties),
        )
        if not made.roles & _OTHER_ROLES:
            found.append((_metres(asset, str(key)), made.file_name.lower().endswith("jp2"), made))
    return [made for _, _, made in sorted(found, key=lambda entry: entry[:2])]


def _is_raster(asset: Mapping[str, object], href: str) -> bool:
    kind = asset.get("type")
    if isinstance(kind, str) and _RASTER_TYPE.match(kind):
        return True
    return _RASTER.search(href) is not None and not (
        isinstance(kind, str) and kind.startswith(("image/png", "image/jpeg", "text/"))
    )


def _metres(asset: Mapping[str, object], key: str) -> float:
    """Return the pixel size that an asset tells, 0 if none."""
    bands = _listed(asset, "raster:bands")
    told = (
        asset.get("raster:spatial_resolution"),
        *(band.get("spatial_resolution") for band in bands[:1]),
        asset.get("gsd"),
        asset.get("eo:gsd"),
    )
    metres = next((value for value in map(_number, told) if value), None)
    ending = re.search(r"_(\d+)m$", key)
    return metres or (float(ending[1]) if ending else 0.0)


def _bands(asset: Mapping[str, object], properties: Mapping[str, object]) -> tuple[AssetBand, ...]:
    """Return what is said of each band, be it in the way of STAC 1.1, of 1.0, or before."""
    spectral, stored = _listed(asset, "eo:bands"), _listed(asset, "raster:bands")
    numbers = asset.get("eo:bands")
    if isinstance(numbers, list) and not spectral:  # places in a list that is the item's
        every = _listed(properties, "eo:bands")
        places = [place for place in numbers if isinstance(place, int)]
        spectral = [every[place] for place in places if 0 <= place < len(every)]
    merged = _listed(asset, "bands")
    count = max(len(spectral), len(stored), len(merged), 1)
    bands = []
    for index in range(count):
        # From the most to the least special: what is said later holds where nothing came before.
        said = [group[index] for group in (merged, spectral, stored) if index < len(group)] + [
            asset
        ]
        bands.append(
            AssetBand(
                number=index + 1,
                name=_text(said[:-1], "name"),
                common_name=_text(said, "eo:common_name", "common_name"),
                wavelength=_first(said, "eo:center_wavelength", "center_wavelength"),
                scale=_first(said, "raster:scale", "scale"),
                offset=_first(said, "raster:offset", "offset"),
                nodata=_first(said, "nodata", "raster:nodata"),
            )
        )
    return tuple(bands)


def _listed(holder: Mapping[str, object], key: str) -> list[Mapping[str, object]]:
    entries = holder.get(key)
    if not isinstance(entries, list):
        return []
    return [entry for entry in entries if isinstance(entry, dict)]


def _text(said: Sequence[Mapping[str, object]], *keys: str) -> str:
    found = (entry.get(key) for entry in said for key in keys)
    return next((value for value in found if isinstance(value, str)), "")


def _first(said: Sequence[Mapping[str, object]], *keys: str) -> float | None:
    found = (_number(entry.get(key)) for entry in said for key in keys)
    return next((value for value in found if value is not None), None)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        return float(value)  # the raster extension writes nan and inf as text
    except ValueError:
        return None
