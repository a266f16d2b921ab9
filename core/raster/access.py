"""What every touch of GDAL shares: its errors in our words, and its windows."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from rasterio._err import CPLE_BaseError
from rasterio.errors import CRSError, RasterioError
from rasterio.windows import Window as RasterioWindow

from ..errors import OutputError, RasterError
from ..grid import Window

TIFF_DATE_TAG = "TIFFTAG_DATETIME"


@contextlib.contextmanager
def gdal_errors(
    path: str, done: str, kind: type[RasterError] | type[OutputError] = RasterError
) -> Iterator[None]:
    """Turn GDAL's errors into ``kind``, with GDAL's own words for the reason."""
    try:
        yield
    except (RasterioError, CRSError, CPLE_BaseError, OSError) as error:
        if isinstance(error, (RasterError, OutputError)):
            raise
        raise kind(f"'{path}' cannot be {done}: {_reason(error)}") from error


def native(window: Window) -> RasterioWindow:
    """Return a window as rasterio has them."""
    return RasterioWindow(window.column, window.row, window.width, window.height)


def _reason(error: BaseException) -> str:
    """Return GDAL's own words: rasterio often says no more than "see context"."""
    cause = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    words = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause)
    return words.rstrip(".") + "."
