"""What lies in zip and tar archives; they are listed, never extracted."""

from __future__ import annotations

import re
import tarfile
import zipfile
from collections.abc import Iterator

from ..errors import SeriesError
from ..monitor import Monitor

_KINDS = {".zip": "zip", ".tar": "tar", ".tar.gz": "tar", ".tgz": "tar"}


def archive_kind(path: str) -> str:
    """Return zip or tar, the names of GDAL's file systems for them, by the file's name; else ""."""
    lower = path.lower()
    return next((kind for ending, kind in _KINDS.items() if lower.endswith(ending)), "")


def members(path: str, monitor: Monitor) -> Iterator[str]:
    """Yield the names of the files in an archive, each checked to lie inside; raise SeriesError.

    Nothing is yielded from an archive with a name that leads out of it, or that is cut off.
    """
    try:
        names = _in_zip(path) if archive_kind(path) == "zip" else _in_tar(path, monitor)
    except (OSError, EOFError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise SeriesError(
            f"The archive '{path}' cannot be listed ({error}): download it again."
        ) from error
    for name in names:
        if _leads_out(name):
            raise SeriesError(
                f"The archive '{path}' holds a file named '{name}', which leads out of the "
                "archive; expected a product as it was delivered."
            )
    yield from sorted(name for name in set(names) if not name.endswith("/"))


def _in_zip(path: str) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        listed = archive.infolist()
    if any(item.flag_bits & 1 for item in listed):
        raise SeriesError(f"The archive '{path}' is encrypted; unpack it and give its folder.")
    return [item.filename for item in listed]


def _in_tar(path: str, monitor: Monitor) -> list[str]:
    names = []
    with tarfile.open(path) as archive:
        for item in archive:
            monitor.check()
            if item.isreg() and "path" in item.pax_headers:
                raise SeriesError(
                    f"The archive '{path}' holds '{item.name}', whose name GDAL cannot read in "
                    "place (too long, or not of plain letters): unpack it and give its folder."
                )
            if item.isreg() or _leads_out(item.name):
                names.append(item.name)
        # The listing ends without a word where a header is cut off; whole archives have an end
        # mark of zeros there.
        assert archive.fileobj is not None
        archive.fileobj.seek(archive.offset)
        if archive.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("its end is missing")
    return names


def _leads_out(name: str) -> bool:
    parts = re.split(r"[\\/]", name)
    return parts[0] == "" or ".." in parts or re.match("[A-Za-z]:", name) is not None
