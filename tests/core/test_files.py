"""Outputs appear whole or not at all, and what was there before stays if they do not."""

from __future__ import annotations

import errno
import os

import pytest

from iikmc.core.errors import Cancelled, OutputError
from iikmc.core.files import StagedOutputs

ERRORS = [Cancelled, OutputError, ValueError, KeyboardInterrupt]


def tree(folder):
    """Return every path below a folder, with the text of the files."""
    return {
        str(path.relative_to(folder)): path.read_text() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def test_nothing_is_seen_until_the_end_and_then_all(tmp_path):
    with StagedOutputs() as outputs:
        (outputs.folder(tmp_path / "out") / "a.tif").write_text("new a")
        outputs.file(tmp_path / "out" / "model.json").write_text("new model")
        outputs.file(tmp_path / "deep" / "er" / "report.html").write_text("new report")
        visible = [path for path in tmp_path.rglob("*") if ".iikmc-" not in str(path)]
        assert not [path for path in visible if path.is_file()]
    assert tree(tmp_path) == {
        "out": None,
        "out/a.tif": "new a",
        "out/model.json": "new model",
        "deep": None,
        "deep/er": None,
        "deep/er/report.html": "new report",
    }


def test_former_outputs_are_replaced_and_others_stay(tmp_path):
    (tmp_path / "a.tif").write_text("old")
    (tmp_path / "b.tif").write_text("other")
    with StagedOutputs() as outputs:
        outputs.file(tmp_path / "a.tif").write_text("new")
        assert (tmp_path / "a.tif").read_text() == "old"
    assert tree(tmp_path) == {"a.tif": "new", "b.tif": "other"}


@pytest.mark.parametrize("error", ERRORS)
def test_an_error_leaves_no_trace(tmp_path, error):
    (tmp_path / "old.tif").write_text("old")
    before = tree(tmp_path)
    with pytest.raises(error), StagedOutputs() as outputs:
        outputs.file(tmp_path / "old.tif").write_text("new")
        (outputs.folder(tmp_path / "made" / "for" / "this") / "a.tif").write_text("new")
        raise error("stop")
    assert tree(tmp_path) == before


def test_a_made_folder_that_somebody_else_used_meanwhile_stays(tmp_path):
    with pytest.raises(Cancelled), StagedOutputs() as outputs:
        outputs.folder(tmp_path / "made")
        (tmp_path / "made" / "theirs.txt").write_text("theirs")
        raise Cancelled
    assert tree(tmp_path) == {"made": None, "made/theirs.txt": "theirs"}


def test_one_output_that_cannot_take_its_place_keeps_all_from_it(tmp_path):
    """Otherwise layers of two runs, whose classes mean different things, lie side by side."""
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    (one / "a.tif").write_text("old a")
    (two / "c.tif").mkdir()
    (two / "c.tif" / "precious").write_text("theirs")
    before = tree(tmp_path)
    with (
        pytest.raises(OutputError, match=r"c\.tif' cannot be replaced"),
        StagedOutputs() as outputs,
    ):
        (outputs.folder(one) / "a.tif").write_text("new a")
        (outputs.folder(one) / "b.tif").write_text("new b")
        (outputs.folder(two) / "c.tif").write_text("new c")
    assert tree(tmp_path) == before


def test_a_file_in_use_keeps_all_from_it(tmp_path, monkeypatch):
    """As on Windows, where a file that a program holds open cannot be replaced."""
    for name in "ab":
        (tmp_path / name).write_text(f"old {name}")
    before, replace = tree(tmp_path), os.replace

    def held(source, target):
        if str(source) == str(tmp_path / "b"):
            raise PermissionError(errno.EACCES, "in use")
        replace(source, target)

    monkeypatch.setattr(os, "replace", held)
    with (
        pytest.raises(OutputError, match=r"\(in use\): close the programs"),
        StagedOutputs() as out,
    ):
        for name in "ab":
            out.file(tmp_path / name).write_text(f"new {name}")
    assert tree(tmp_path) == before


@pytest.mark.parametrize("place", ["file", "file/out", "file/deep/out"])
def test_a_file_in_the_way_of_a_folder_is_named(tmp_path, place):
    (tmp_path / "file").write_text("theirs")
    target = tmp_path / place
    with pytest.raises(OutputError) as caught, StagedOutputs() as outputs:
        outputs.folder(target)
    assert f"The folder '{target}' cannot be written (" in str(caught.value)
    assert tree(tmp_path) == {"file": "theirs"}


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write all")
def test_a_folder_without_permission_is_named(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="Permission denied"), StagedOutputs() as outputs:
        outputs.folder(tmp_path)
    tmp_path.chmod(0o700)


def test_a_folder_in_the_way_of_a_file_is_named(tmp_path):
    with pytest.raises(OutputError, match="is a folder; expected the name of a file"):
        StagedOutputs().file(tmp_path)
