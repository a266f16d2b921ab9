"""What the header of a raster says."""

from __future__ import annotations

import os
from dataclasses import dataclass

import rasterio
from rasterio.enums import ColorInterp, MaskFlags

from ..grid import Grid
from .access import TIFF_DATE_TAG, gdal_errors

# Tags that hold an acquisition date, from the surest down; TIFFTAG_DATETIME comes last of all,
# after the file name, because many programs write the time of processing there.
_DATE_TAGS = (
    ("IMAGERY", "ACQUISITIONDATETIME"),
    (None, "ACQUISITION_DATE"),
    (None, "DATE_ACQUIRED"),
    (None, "ACQUISITIONDATE"),
    (None, "DATE"),
)


@dataclass(frozen=True)
class RasterInfo:
    """What the header of a raster says; bands in file order."""

    path: str
    grid: Grid
    dtypes: tuple[str, ...]
    nodata: tuple[float | None, ...]
    band_names: tuple[str, ...]
    alpha: tuple[bool, ...]
    has_mask: bool
    block_height: int
    block_width: int
    date_tags: tuple[str, ...]
    file_date_tag: str

    @property
    def count(self) -> int:
        """Number of bands."""
        return len(self.dtypes)


def describe(path: str | os.PathLike[str]) -> RasterInfo:
    """Read the header of a raster; raise RasterError if it cannot be opened."""
    path = os.fspath(path)
    with gdal_errors(path, "opened"), rasterio.open(path) as dataset:
        tags = dataset.tags()
        domains = {None: tags, "IMAGERY": dataset.tags(ns="IMAGERY")}
        flags = dataset.mask_flag_enums
        block_height, block_width = dataset.block_shapes[0] if dataset.count else (1, 1)
        return RasterInfo(
            path=path,
            grid=_grid_of(dataset),
            dtypes=tuple(dataset.dtypes),
            nodata=tuple(dataset.nodatavals),
            band_names=tuple(name or "" for name in dataset.descriptions),
            alpha=tuple(item == ColorInterp.alpha for item in dataset.colorinterp),
            has_mask=any(MaskFlags.per_dataset in flag for flag in flags),
            block_height=block_height,
            block_width=block_width,
            date_tags=tuple(
                domains[domain][key] for domain, key in _DATE_TAGS if key in domains[domain]
            ),
            file_date_tag=tags.get(TIFF_DATE_TAG, ""),
        )


def same_crs(first: str, second: str) -> bool:
    """Return whether two CRS, as WKT or authority's codes, are the same."""
    if first == second or not (first and second):
        return first == second
    return bool(rasterio.CRS.from_user_input(first) == rasterio.CRS.from_user_input(second))


def crs_label(text: str) -> str:
    """Return a short name for a CRS, such as EPSG:32633."""
    if not text:
        return "no CRS"
    crs = rasterio.CRS.from_user_input(text)
    return crs.to_string() if crs.to_authority() else text.split('"')[1] if '"' in text else text


def _grid_of(dataset: rasterio.DatasetReader) -> Grid:
    crs = dataset.crs
    known = bool(crs)
    return Grid(
        crs=crs.to_wkt() if known else "",
        transform=tuple(dataset.transform)[:6],
        width=dataset.width,
        height=dataset.height,
        unit_metres=float(crs.linear_units_factor[1]) if known and crs.is_projected else None,
        geographic=known and bool(crs.is_geographic),
    )
