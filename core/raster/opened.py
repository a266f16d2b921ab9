"""Rasters that stay open while windows are read, where opening them again costs much."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Iterator
from types import TracebackType

import rasterio

# Files of several scenes' bands and quality layers.
_MOST_OPEN = 32


class OpenRasters:
    """Opens rasters for a window; some stay open on the thread, up to a number.

    What lies in a compressed archive has to be unpacked from its beginning each time, remote
    headers have to be fetched, and blocks of JPEG 2000, which windows that are resampled share,
    take long to decode. All others are closed at once, because GDAL keeps what it has decoded of
    open files. Use as a context manager that outlives the threads.
    """

    def __init__(self) -> None:
        self._local = threading.local()
        self._lock = threading.Lock()
        self._all: list[OrderedDict[str, rasterio.DatasetReader]] = []

    def __enter__(self) -> OpenRasters:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for known in self._all:
            for dataset in known.values():
                dataset.close()
            known.clear()

    @contextlib.contextmanager
    def open(self, path: str) -> Iterator[rasterio.DatasetReader]:
        """Return a raster, open, to be used by this thread until the context ends."""
        if not _costly(path):
            with rasterio.open(path) as dataset:
                yield dataset
            return
        known = self._known()
        if path not in known:
            known[path] = rasterio.open(path)
        known.move_to_end(path)
        while len(known) > _MOST_OPEN:
            _, oldest = known.popitem(last=False)
            oldest.close()
        yield known[path]

    def _known(self) -> OrderedDict[str, rasterio.DatasetReader]:
        """Return this thread's open rasters, the one used last at the end."""
        if not hasattr(self._local, "known"):
            self._local.known = OrderedDict()
            with self._lock:
                self._all.append(self._local.known)
        known: OrderedDict[str, rasterio.DatasetReader] = self._local.known
        return known


def _costly(path: str) -> bool:
    if path.startswith("/vsitar/"):
        return ".gz/" in path or ".tgz/" in path
    return path.startswith("/vsi") or path.lower().endswith(".jp2")
