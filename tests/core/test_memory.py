"""Memory is bounded by the limit, not by the series, and the scratch file never stays."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from iikmc.core import cluster, errors, open_series, reading, scratch
from iikmc.core.codes import CodeGrid
from iikmc.core.scratch import Shelf

RUN = """
import re, sys
from iikmc.core import cluster, open_series
limit, paths = int(sys.argv[1]) or None, sys.argv[2:]
with open_series(paths) as series:
    model = cluster(series, classes=4, max_iter=3, memory_mb=limit, threads=2)
status = open("/proc/self/status").read()  # getrusage's peak would be the parent's, if larger
print(int(re.search(r"VmHWM:\\s+([0-9]+) kB", status)[1]) // 1024)
print(model.signatures.tobytes().hex())
"""


def run(paths: list[Path], limit: int) -> tuple[int, str]:
    """Return the peak resident memory in MB, and the signatures, of a run in a process."""
    command = [sys.executable, "-c", RUN, str(limit), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    peak, signatures = done.stdout.split()
    return int(peak), signatures


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_peak_memory_follows_the_limit_and_not_the_series(make_scene):
    rng = np.random.default_rng(1)
    scene = rng.integers(1, 4000, (8, 1000, 1500)).astype(np.uint16)  # 24 MB as codes
    paths = [make_scene(f"s_2020-01-{day:02d}", scene + day) for day in range(1, 17)]
    run(paths[:1], 0)  # compiling the kernels takes memory too
    few, _ = run(paths[:4], 0)
    many, expected = run(paths, 0)
    limited, found = run(paths, 220)
    assert found == expected
    assert many - few > 250  # twelve more scenes in memory
    assert limited - few < 110
    assert many - limited > 150


def test_pixels_beyond_the_limit_come_back_from_the_scratch_file():
    rng = np.random.default_rng(2)
    arrays = [rng.integers(0, 9, (3, size), np.int32) for size in (10, 0, 500, 7, 1000)]
    shelf = Shelf(limit=300)
    kept = [shelf.put(array) for array in arrays]
    for _ in range(2):
        for handle, array in zip(kept, arrays):
            assert np.array_equal(handle.load(), array)
    shelf.close()
    with pytest.raises(AssertionError):
        kept[2].load()
    assert np.array_equal(kept[0].load(), arrays[0])  # this one had been in memory


@pytest.mark.parametrize("ends", ["well", "with an error"])
def test_no_scratch_file_stays(ends, three_scenes, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("iikmc.core.reading.pixel_room", lambda *_: 0)
    if ends == "with an error":
        data = three_scenes[-1].read_bytes()
        three_scenes[-1].write_bytes(data[: len(data) // 2])
    with open_series(three_scenes) as series:
        if ends == "well":
            cluster(series, classes=3)
        else:
            with pytest.raises(errors.RasterError, match=three_scenes[-1].stem):
                cluster(series, classes=3)
    assert os.listdir(tmp_path) == ["scenes"]


def test_a_disk_that_is_too_small_is_named_before_the_work(three_scenes, monkeypatch):
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(scratch.shutil, "disk_usage", lambda folder: usage)
    monkeypatch.setattr(scratch, "_free_memory", lambda: 100_000)
    with open_series(three_scenes) as series:
        for path in three_scenes:
            path.unlink()
        with pytest.raises(errors.OutputError, match="scratch space"):
            cluster(series, classes=3, threads=1)


def test_samples_of_pixels_that_are_there_need_room_too(three_scenes, monkeypatch):
    usage = type("Usage", (), {"free": 0})
    monkeypatch.setattr("iikmc.core.reading.pixel_room", lambda *_: 100_000)
    with open_series(three_scenes) as series:
        kept = series.pixels()
        monkeypatch.setattr(scratch.shutil, "disk_usage", lambda folder: usage)
        size = sum(block.codes.load().nbytes for block in kept.blocks)
        share = kept.spare_shelf().room / size
        assert series.pixels(spare=0.99 * share) is kept
        with pytest.raises(errors.OutputError, match="scratch space"):
            series.pixels(spare=1.01 * share)
        assert series.pixels() is kept


@pytest.mark.parametrize("bands", [1, 6, 8, 9])
def test_the_room_leaves_what_balls_around_tiles_take(bands):
    ir = pytest.importorskip("iikmc.core.backends.numba_ir")
    from iikmc.core.backends.numba_middles import middle_columns

    pixels, limit = 1000 * ir.TILE, 1 << 30
    grids = [CodeGrid(0, 1.0)] * bands
    room = reading.pixel_room(pixels, bands, grids, 0, limit)
    assert limit - room - pixels * 9 // 8 == 1000 * (middle_columns(bands) * 2 + 4)


def test_a_limit_below_the_bare_need_says_how_much_that_is(three_scenes, monkeypatch):
    monkeypatch.setattr(scratch, "_free_memory", lambda: 1000)
    with open_series(three_scenes) as series, pytest.raises(errors.ParameterError, match="allow"):
        cluster(series, classes=3)
