"""Outputs that appear whole or not at all: written aside first, moved into place together."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType

from .errors import OutputError

_PREFIX = ".iikmc-"


class StagedOutputs:
    """A context in which outputs are written aside; they take their places when it ends well.

    Each target folder gets a hidden folder inside it, so that moving is a rename on one disk.
    An error or a cancel removes these, and folders made for the outputs; what had been there
    before stays as it was.
    """

    def __init__(self) -> None:
        self._staged: dict[Path, Path] = {}
        self._made: list[Path] = []

    def __enter__(self) -> StagedOutputs:
        return self

    def folder(self, target: str | os.PathLike[str]) -> Path:
        """Return the folder to write into for files that belong in ``target``."""
        folder = Path(target).absolute()
        if folder not in self._staged:
            try:
                self._make(folder)
                self._staged[folder] = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=folder))
            except OSError as error:
                raise OutputError(
                    f"The folder '{folder}' cannot be written ({error.strerror}): choose another."
                ) from error
        return self._staged[folder]

    def file(self, target: str | os.PathLike[str]) -> Path:
        """Return the path to write to for a file that belongs at ``target``."""
        path = Path(target).absolute()
        if path.is_dir():
            raise OutputError(f"'{path}' is a folder; expected the name of a file.")
        return self.folder(path.parent) / path.name

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._move()
                self._made.clear()
        finally:
            for staged in self._staged.values():
                shutil.rmtree(staged, ignore_errors=True)
            for folder in reversed(self._made):
                with contextlib.suppress(OSError):  # somebody else has put something there
                    folder.rmdir()

    def _make(self, folder: Path) -> None:
        missing = [item for item in (folder, *folder.parents) if not item.exists()]
        for item in reversed(missing):
            item.mkdir()
            self._made.append(item)

    def _move(self) -> None:
        """Put every output in its place; where one cannot go, put all back as it was."""
        with contextlib.ExitStack() as undo:
            for folder, staged in self._staged.items():
                for path in sorted(staged.iterdir()):
                    target, former = folder / path.name, path.with_name(path.name + ".former")
                    try:
                        if target.is_dir():
                            raise IsADirectoryError(errno.EISDIR, "a folder has that name")
                        if os.path.lexists(target):
                            os.replace(target, former)
                        undo.callback(_put_back, former, target)
                        os.replace(path, target)
                    except OSError as error:
                        raise OutputError(
                            f"'{target}' cannot be replaced ({error.strerror}): close the "
                            "programs that use it, or choose another place."
                        ) from error
            undo.pop_all()


def _put_back(former: Path, target: Path) -> None:
    with contextlib.suppress(OSError):  # a program holds the new file: better that one than none
        if os.path.lexists(former):
            os.replace(former, target)
        else:
            target.unlink()
