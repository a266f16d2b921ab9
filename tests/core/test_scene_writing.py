"""Label rasters of a store's blocks: the same bytes and areas however cut, and soon stopped."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from conftest import land_cover
from hypothesis import given
from hypothesis import strategies as st

from iikmc.core import Monitor, cluster, open_series, reading, scene_writing
from iikmc.core import overviews as overviews_module
from iikmc.core.classify import Folders, classify, fitted_scenes
from iikmc.core.errors import Cancelled
from iikmc.core.files import StagedOutputs
from iikmc.core.grid import Window
from iikmc.core.pixels import Block
from iikmc.core.raster import label_tiles
from iikmc.core.raster.label_tiles import LabelTiles
from iikmc.core.scene_writing import _labels_of
from iikmc.core.scratch import Shelf
from iikmc.core.tiling import in_tiles


def blocks_of(whole, rows, columns):
    """Blocks of labels, 0 for nodata, cut at rows and columns, each with its labels from 0."""
    shelf, found = Shelf(1 << 30), []
    for top, bottom in zip(rows, rows[1:]):
        for left, right in zip(columns, columns[1:]):
            part = whole[top:bottom, left:right]
            valid = in_tiles(part > 0)
            labels = in_tiles(part)[valid] - np.uint8(1)
            packed = None if valid.all() else np.packbits(valid)
            window = Window(top, left, bottom - top, right - left)
            codes = shelf.put(np.zeros((1, labels.size), np.uint16))
            found.append((Block(0, window, codes, packed), labels))
    return found


@given(st.data(), st.integers(1, 40), st.integers(1, 40), st.sampled_from([0.0, 0.3, 1.0]))
def test_any_window_is_put_together_from_any_blocks(data, height, width, nodata):
    random = np.random.default_rng(height * width)
    whole = random.integers(1, 255, (height, width)).astype(np.uint8)
    whole[random.random(whole.shape) < nodata] = 0
    cuts = [
        sorted(data.draw(st.sets(st.integers(1, size), max_size=4)) | {0, size})
        for size in whole.shape
    ]
    row, column = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    below = data.draw(st.integers(1, height - row))
    right = data.draw(st.integers(1, width - column))
    found = _labels_of(Window(row, column, below, right), blocks_of(whole, *cuts))
    np.testing.assert_array_equal(found, whole[row : row + below, column : column + right])


def test_files_and_areas_do_not_depend_on_how_the_work_is_cut(make_scene, tmp_path, monkeypatch):
    """In a geographic CRS, where areas are counted by row, with pixels that are left out."""
    scenes = []
    for day in (1, 2, 3):
        bands = np.tile(land_cover(day), (1, 16, 14))
        bands[:, 100:300, ::7] = 0
        options = {"crs": "EPSG:4326", "origin": (10.0, 50.0), "pixel": 0.001, "nodata": 0}
        scenes.append(make_scene(f"s_2020-01-0{day}", bands, **options))
    ways = (
        (1, {}),
        (2, {"_PIECE_PIXELS": 1}),
        (3, {"BLOCK_PIXELS": 5_000}),
        (2, {"is_usable": None, "_PIECE_PIXELS": 1}),
    )
    results = []
    for number, (threads, changes) in enumerate(ways):
        with monkeypatch.context() as patch:
            for name, value in changes.items():
                if name == "is_usable":
                    patch.setattr(overviews_module, name, lambda engine: False)
                else:
                    patch.setattr(label_tiles if "PIECE" in name else reading, name, value)
            with open_series(scenes) as series:
                model = cluster(series, classes=5, threads=threads, max_iter=4)
                given = {"engine": "numpy", "threads": threads}
                with StagedOutputs() as outputs:
                    folder = Folders(tmp_path / str(number))
                    found = classify(model, series, folder, outputs, **given)
                plain = fitted_scenes(model, series, monitor=Monitor(), **given)
        for scene, same in zip(found, plain):
            np.testing.assert_array_equal(scene.hectares, same.hectares)
        areas = [scene.hectares.tobytes() for scene in found]
        results.append(([scene.path.read_bytes() for scene in found], areas))
    assert all(result == results[0] for result in results)


class StopsWhilePacking(Monitor):
    """Cancels once a thread is within a piece."""

    def __init__(self) -> None:
        self.within = threading.Event()
        self.asked_at = None

    def cancelled(self) -> bool:
        if self.within.is_set():
            self.asked_at = self.asked_at or time.perf_counter()
        return self.within.is_set()


def test_a_cancel_within_pieces_leaves_nothing(make_scene, tmp_path, monkeypatch):
    monitor = StopsWhilePacking()
    stopped = []

    def slow(self, piece, labels, check):
        monitor.within.set()
        end = time.perf_counter() + 5
        while time.perf_counter() < end:
            time.sleep(0.01)
            try:
                check()
            except Cancelled:
                stopped.append(piece)
                raise
        return []

    scenes = [make_scene(f"s_2020-01-0{day}", land_cover(day)) for day in (1, 2, 3)]
    with open_series(scenes) as series:
        model = cluster(series, classes=3)
        monkeypatch.setattr(LabelTiles, "pack", slow)
        with pytest.raises(Cancelled):
            model.classify(series, tmp_path / "out", threads=2, monitor=monitor)
    assert time.perf_counter() - monitor.asked_at < 1.0
    assert stopped and not (tmp_path / "out").exists()


def test_scenes_do_not_pile_up(make_scene, tmp_path, monkeypatch):
    """What is kept of a scene is freed when it is written, while others are under way."""
    seen = []
    forget = scene_writing._Packer.forget

    def watch(self, rank):
        forget(self, rank)
        seen.append((rank, sorted(self._tiles)))

    monkeypatch.setattr(scene_writing._Packer, "forget", watch)
    scenes = [make_scene(f"s_2020-01-{day:02}", land_cover(day)) for day in range(1, 13)]
    with open_series(scenes) as series:
        cluster(series, classes=3).classify(series, tmp_path / "out", threads=2)
    assert [rank for rank, _ in seen] == list(range(12))
    # Each scene is one piece here, and at most four are begun ahead of the one that is written.
    assert all(set(kept) <= set(range(rank + 1, rank + 5)) for rank, kept in seen)
