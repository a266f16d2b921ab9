"""The scratch file is gone however a run ends, and a disk that fills up is said in a sentence."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
import warnings
from pathlib import Path

import pytest

from iikmc.core import cluster, errors, open_series, reading
from iikmc.core.monitor import Monitor

ROOM = reading.pixel_room
STRATEGIES = ("full", "progressive", "sample", "mini-batch")
OPTIONS = {"classes": 4, "sample_fraction": 0.1, "tol": 0.0, "max_iter": 6, "threads": 2}


class Broken(Exception):
    """What no engine expects."""


class Ender(Monitor):
    """Counts the scratch files that are open, and ends the run in its own way while it fits."""

    def __init__(self, ends: str, folder: Path) -> None:
        self.ends, self.folder = ends, folder
        self.most, self.most_bytes, self.fitting = 0, 0, False

    def message(self, text: str) -> None:
        sizes = scratch_files(self.folder)
        self.most, self.most_bytes = max(self.most, len(sizes)), max(self.most_bytes, sum(sizes))
        self.fitting = self.fitting or text.startswith("Iteration 2")
        if self.fitting and self.ends == "with an error":
            raise Broken

    def cancelled(self) -> bool:
        return self.fitting and self.ends == "cancelled"


def scratch_files(folder: Path) -> list[int]:
    """Return the sizes of files in a folder that this process has open without a name there."""
    links = Path("/proc/self/fd")
    found = []
    for link in links.iterdir():
        try:
            target = os.readlink(link)
        except OSError:  # the listing's own
            continue
        if target.startswith(f"{folder}/") and target.endswith("(deleted)"):
            found.append(os.stat(link).st_size)
    return found


@pytest.fixture
def scratch(tmp_path, monkeypatch) -> Path:
    """Return the temporary folder of runs none of whose pixels stay in memory."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setattr(reading, "pixel_room", lambda *_: 0)
    return folder


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("ends", ["well", "with an error", "cancelled"])
def test_no_scratch_file_stays_open(ends, strategy, scratch, three_scenes):
    """It has no name, so an open one is what would keep the disk's room."""
    monitor = Ender(ends, scratch)
    expected = {"well": (), "with an error": Broken, "cancelled": errors.Cancelled}[ends]
    with open_series(three_scenes) as series:
        try:
            cluster(series, strategy=strategy, monitor=monitor, **OPTIONS)
            assert ends == "well"
        except expected:
            pass
        store = series.pixels()  # kept, so that nothing is closed for want of users
    assert store.blocks == ()
    assert monitor.most >= 1
    assert scratch_files(scratch) == []
    assert list(scratch.iterdir()) == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("fraction", [0.1, 0.4])
def test_the_disk_was_asked_for_all_that_is_put_there(
    fraction, strategy, scratch, three_scenes, monkeypatch
):
    """Samples and batches lie beside the pixels; no more than that is asked for."""
    asked = []

    def no_room(*given):
        asked.append(ROOM(*given))  # the disk is asked for what the memory has no room for
        return 0

    monkeypatch.setattr(reading, "pixel_room", no_room)
    monkeypatch.setattr(reading, "check_disk", asked.append)
    monitor = Ender("well", scratch)
    options = {**OPTIONS, "sample_fraction": fraction}
    with open_series(three_scenes) as series:
        cluster(series, strategy=strategy, monitor=monitor, **options)
    assert 0.6 * sum(asked) < monitor.most_bytes <= sum(asked)


@pytest.mark.skipif(not hasattr(os, "pwrite"), reason="writes otherwise here")
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("after", [0, 2])
def test_a_disk_that_fills_up_in_the_work_is_said_and_leaves_nothing(
    after, strategy, scratch, three_scenes, monkeypatch
):
    write, calls = os.pwrite, []

    def full(*arguments):
        calls.append(arguments)
        if len(calls) > after:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(*arguments)

    monkeypatch.setattr(os, "pwrite", full)
    with open_series(three_scenes) as series, warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        with pytest.raises(errors.OutputError, match=r"No space left on device.*more memory"):
            cluster(series, strategy=strategy, **OPTIONS)
    assert len(calls) > after
    assert list(scratch.iterdir()) == []
