"""What bands say of themselves beyond the header: scale and offset, and where their data end."""

from __future__ import annotations

import os
from dataclasses import dataclass

import rasterio

from .access import gdal_errors


@dataclass(frozen=True)
class BandDetails:
    """Scale and offset of each band, in file order; ``data_end`` as of :func:`band_details`."""

    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    data_end: int | None


def band_details(path: str | os.PathLike[str]) -> BandDetails:
    """Return what the bands of a raster say of themselves; raise RasterError.

    ``data_end`` is the byte behind the last blocks of pixels, where a TIFF tells: a file that is
    shorter was cut off. GDAL opens such a file without a word, and fails when it gets there.
    """
    path = os.fspath(path)
    with gdal_errors(path, "opened"), rasterio.open(path) as dataset:
        return BandDetails(tuple(dataset.scales), tuple(dataset.offsets), _data_end(dataset))


def _data_end(dataset: rasterio.DatasetReader) -> int | None:
    if dataset.driver != "GTiff":
        return None
    ends = []
    for number, (height, width) in enumerate(dataset.block_shapes, start=1):
        block = f"{(dataset.width - 1) // width}_{(dataset.height - 1) // height}"
        offset, size = (
            dataset.get_tag_item(f"BLOCK_{item}_{block}", "TIFF", bidx=number)
            for item in ("OFFSET", "SIZE")
        )
        if offset and size:  # blocks that were never written have neither
            ends.append(int(offset) + int(size))
    return max(ends, default=None)
