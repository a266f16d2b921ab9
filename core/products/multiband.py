"""One multiband file per date, of any format that GDAL reads; without quality layers."""

from __future__ import annotations

import datetime as dt
import functools
import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from ..dates import date_in_name, date_in_tag
from ..errors import RasterError, SeriesError
from ..monitor import Monitor
from ..raster import RasterInfo, describe
from ..raster.metadata import band_details
from .base import Product, ProductBand
from .candidates import Candidate, Wants, judged
from .files import ProductFile
from .times import midnight, moment

_ENDINGS = (".tif", ".tiff", ".vrt", ".jp2", ".img")
# Masks and quality layers, which lie beside the images.
_NO_IMAGE = re.compile(
    r"(?:^|[_\-. ])(?:udm2?|qa|qa_pixel|qa_radsat|scl|mask|masks|cloud|clouds|cloudmask)"
    r"(?:[_\-. ]|$)",
    re.IGNORECASE,
)


def find_multiband(files: Sequence[ProductFile], wants: Wants, monitor: Monitor) -> list[Candidate]:
    """Return every raster as a product, but for masks; refused where it has no date.

    Where this kind was not asked for by name, rasters of one band are passed over.
    """
    found = []
    for file in files:
        path = PurePosixPath(file.name)
        if path.suffix.lower() not in _ENDINGS or _NO_IMAGE.search(path.stem):
            continue
        monitor.check()
        candidate = Candidate(file.shown, frozenset({file.path}), ("file", file.path))
        try:
            info = describe(file.path)
        except RasterError as error:
            reason = f"'{file.name}' cannot be used: {error}"
            found.append(Candidate(candidate.path, candidate.files, candidate.key, None, reason))
            continue
        if wants.explicit or info.count > 1:
            found.append(judged(candidate, functools.partial(_product, path.stem, info, wants)))
    return found


def _product(name: str, info: RasterInfo, wants: Wants) -> Product:
    """Return a file as a product; raise SeriesError with the reason why not."""
    bands = _bands(info)
    usual = tuple(band.name for band in bands)
    lacking = wants.lacking(bands, usual)
    if lacking or not bands:
        raise SeriesError(
            f"'{name}' lacks {', '.join(lacking) or 'bands'}; it has {', '.join(usual) or 'none'}: "
            "name the bands to use with BANDS."
        )
    return Product(
        name=name, sensor="", time=_time(name, info), bands=bands, quality=(), usual=usual
    )


def _bands(info: RasterInfo) -> tuple[ProductBand, ...]:
    details = band_details(info.path)
    names = [name.strip() for name in info.band_names]
    if not all(names) or len({name.lower() for name in names}) < len(names):
        names = [f"band {number}" for number in range(1, info.count + 1)]
    return tuple(
        ProductBand(
            name,
            name,
            info.path,
            number,
            None,
            details.scales[number - 1],
            details.offsets[number - 1],
            info.nodata[number - 1],
        )
        for number, name in enumerate(names, start=1)
        if not info.alpha[number - 1]
    )


def _time(name: str, info: RasterInfo) -> dt.datetime:
    date = next(filter(None, map(date_in_tag, info.date_tags)), None) or date_in_name(name)
    times = [*map(moment, info.date_tags), midnight(date) if date else None]
    time = next((found for found in (*times, moment(info.file_date_tag)) if found), None)
    if time is None:
        raise SeriesError(
            f"'{name}' has no date in its metadata or its name: put one into the file's name, "
            "such as 2019-07-31."
        )
    return time
