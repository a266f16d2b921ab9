"""The files that products are looked for in: folders, archives and single files, as one list."""

from __future__ import annotations

import os
import stat
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from ..errors import SeriesError
from ..monitor import Monitor
from .archives import archive_kind, members

# Metadata of products are some hundred kilobytes at most; collections of items some megabytes.
_LONGEST_TEXT = 64 * 2**20


@dataclass(frozen=True)
class LeftOut:
    """Something that looked like a product but cannot be used: where, and a sentence why."""

    path: str
    reason: str


@dataclass(frozen=True)
class ProductFile:
    """A file on disk, or a member of an archive.

    ``path`` is what GDAL opens, with forward slashes. ``archive`` is the archive's own path, empty
    for a file on disk, ``member`` its name in there.
    """

    path: str
    archive: str = ""
    member: str = ""

    @property
    def name(self) -> str:
        """Name without folders."""
        return self.path.rpartition("/")[2]

    @property
    def folder(self) -> str:
        """Path of the folder that holds the file."""
        return self.path.rpartition("/")[0]

    @property
    def shown(self) -> str:
        """What a user knows: the file, or the archive it lies in."""
        return self.archive or self.path

    def read(self) -> bytes:
        """Return the contents of a small file; raise SeriesError."""
        try:
            contents = self._contents()
        except (OSError, EOFError, KeyError, zipfile.BadZipFile, tarfile.TarError) as error:
            raise SeriesError(
                f"'{self.name}' in '{self.shown}' cannot be read ({error})."
            ) from None
        if len(contents) > _LONGEST_TEXT:
            raise SeriesError(
                f"'{self.name}' in '{self.shown}' is longer than {_LONGEST_TEXT // 2**20} MB; "
                "expected a product's metadata."
            )
        return contents

    def text(self) -> str:
        """Return the contents of a small text file; raise SeriesError."""
        try:
            return self.read().decode("utf-8-sig")
        except UnicodeDecodeError:
            raise SeriesError(f"'{self.name}' in '{self.shown}' is no text in UTF-8.") from None

    def xml(self) -> ElementTree.Element:
        """Return the root of a small XML file; raise SeriesError."""
        contents = self.read()
        # Products' metadata define no entities; those that do could blow up in memory.
        if b"<!DOCTYPE" in contents or b"<!ENTITY" in contents:
            raise SeriesError(
                f"'{self.name}' in '{self.shown}' defines entities, which products' metadata "
                "never do; it was not read."
            )
        try:
            return ElementTree.fromstring(contents)  # noqa: S314
        except ElementTree.ParseError as error:
            raise SeriesError(
                f"'{self.name}' in '{self.shown}' is no whole XML file ({error}): "
                "download it again."
            ) from None

    def _contents(self) -> bytes:
        most = _LONGEST_TEXT + 1
        if not self.archive:
            with open(self.path, "rb") as file:
                return file.read(most)
        if archive_kind(self.archive) == "zip":
            with zipfile.ZipFile(self.archive) as archive, archive.open(self.member) as member:
                return member.read(most)
        with tarfile.open(self.archive) as tar:
            extracted = tar.extractfile(self.member)
            if extracted is None:
                raise KeyError(f"{self.member} is no file")
            with extracted:
                return extracted.read(most)


@dataclass
class Gathered:
    """All files to look at; ``chosen`` are the paths of those that were asked for.

    Where single files were given, the files beside them are listed too, since a product's
    metadata and masks lie there, but a product counts only if a chosen file belongs to it.
    """

    files: dict[str, ProductFile] = field(default_factory=dict)
    chosen: set[str] = field(default_factory=set)
    left_out: list[LeftOut] = field(default_factory=list)

    def add(self, file: ProductFile, chosen: bool) -> None:
        """Take a file once, whichever way it was met."""
        self.files.setdefault(file.path, file)
        if chosen:
            self.chosen.add(file.path)


def gather(inputs: Sequence[str | os.PathLike[str]], monitor: Monitor) -> Gathered:
    """Return the files of folders (and all below), of archives, and single ones.

    Links are followed, each folder is entered once. What cannot be read is left out with a
    reason; ``monitor`` may cancel.
    """
    found = Gathered()
    for given in inputs:
        monitor.check()
        text = os.fspath(given)
        if text.startswith("/vsi"):
            found.add(ProductFile(text), chosen=True)
            continue
        path = Path(os.path.abspath(text))
        if path.is_dir():
            for file in _files_below(path, found, monitor):
                _take(file, found, monitor, chosen=True)
        elif path.is_file():
            _take(path.as_posix(), found, monitor, chosen=True)
            if not archive_kind(path.name):
                _take_beside(path, found, monitor)
        else:
            found.left_out.append(
                LeftOut(
                    path.as_posix(),
                    f"'{path}' does not exist; expected a folder, an archive or a file.",
                )
            )
    return found


def _take(path: str, found: Gathered, monitor: Monitor, *, chosen: bool) -> None:
    if not archive_kind(path):
        found.add(ProductFile(path), chosen)
        return
    try:
        prefix = f"/vsi{archive_kind(path)}/{path}/"
        for member in members(path, monitor):
            found.add(ProductFile(prefix + member.removeprefix("./"), path, member), chosen)
    except SeriesError as error:
        found.left_out.append(LeftOut(path, str(error)))


def _take_beside(path: Path, found: Gathered, monitor: Monitor) -> None:
    safe = [item for item in path.parents if item.name.upper().endswith(".SAFE")]
    if safe or path.name.startswith("MTD_MSI"):
        for file in _files_below(safe[-1] if safe else path.parent, found, monitor):
            found.add(ProductFile(file), chosen=False)
        return
    for entry in sorted(os.scandir(path.parent), key=lambda entry: entry.name):
        if entry.is_file() and not archive_kind(entry.name):
            found.add(ProductFile(Path(entry.path).as_posix()), chosen=False)


def _files_below(root: Path, found: Gathered, monitor: Monitor) -> Iterator[str]:
    entered = set()

    def refused(error: OSError) -> None:
        path = Path(error.filename or root).as_posix()
        found.left_out.append(
            LeftOut(path, f"The folder '{path}' cannot be read ({error.strerror}).")
        )

    for folder, below, names in os.walk(root, followlinks=True, onerror=refused):
        monitor.check()
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in entered:  # reached again through a link
            below.clear()
            continue
        entered.add((status.st_dev, status.st_ino))
        below[:] = sorted(name for name in below if not name.startswith("."))
        for name in sorted(names):
            path = os.path.join(folder, name)
            if not name.startswith(".") and _is_file(path):
                yield Path(path).as_posix()


def _is_file(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError:  # a link to nothing
        return False
