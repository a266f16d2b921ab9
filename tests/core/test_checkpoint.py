"""A fit that was stopped goes on from its checkpoint, and ends with the bits it would have had."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import land_cover
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from iikmc.core import (
    ClassModel,
    Monitor,
    available_backends,
    cluster,
    errors,
    open_series,
    reading,
)
from iikmc.core.lloyd import LloydResult, LloydState

# The last two centres are far from all pixels: their classes are empty at first.
START = np.array(
    [
        [900.0, 900.0, 900.0],
        [2500.0, 2500.0, 2500.0],
        [4200.0, 4200.0, 4200.0],
        [60_000.0, 60_000.0, 60_000.0],
        [61_000.0, 100.0, 61_000.0],
    ]
)
OPTIONS = {"init": START, "engine": "numpy", "tol": 1e-3, "max_iter": 8, "threads": 1}
STRATEGIES = {
    "full": {},
    "progressive": {"sample_fraction": 0.2},
    "sample": {"sample_fraction": 0.2},
    "mini-batch": {"sample_fraction": 0.09, "max_iter": 2},
}


@pytest.fixture
def scenes(make_scene) -> list[Path]:
    """Return three dates without clear classes, so that k-means has much to do."""
    paths = []
    for rank in range(3):
        random = np.random.default_rng(rank)
        values = land_cover(rank) // 2 + random.integers(200, 4000, (3, 40, 50))
        values = (values * (1.0 + 0.2 * rank)).astype(np.uint16)
        values[:, random.random((40, 50)) < 0.1] = 0
        paths.append(make_scene(f"scene_2020-0{rank + 4}-15", values, nodata=0))
    return paths


class Stopper(Monitor):
    """Cancels once so many iterations, or batches, have been told of."""

    def __init__(self, after: int = 1) -> None:
        self.left, self.texts = after, []

    @property
    def iterations(self) -> int:
        return sum(text.startswith(("Iteration ", "Batch ")) for text in self.texts)

    def message(self, text: str) -> None:
        self.texts.append(text)

    def warning(self, text: str) -> None:
        pass

    def cancelled(self) -> bool:
        return self.iterations >= self.left


def bits(model: ClassModel, series, folder: Path) -> dict[str, bytes]:
    """Return all that a run leaves: the model's file and the rasters."""
    model.save(folder / "model.json")
    model.classify(series, folder, engine="numpy")
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def run(paths: list[Path], folder: Path, **options) -> dict[str, bytes]:
    """Fit a series from the start, or from where a checkpoint is."""
    folder.mkdir(exist_ok=True)
    with open_series(paths) as series:
        return bits(cluster(series, **{**OPTIONS, **options}), series, folder)


def begin(paths: list[Path], path: Path, iterations: int = 2, **options) -> None:
    """Leave the checkpoint of a run that was cancelled."""
    stopper = Stopper(iterations)
    with open_series(paths) as series, pytest.raises(errors.Cancelled):
        cluster(series, **{**OPTIONS, "checkpoint": path, "monitor": stopper, **options})


@pytest.mark.parametrize("empty", ["relocate", "drop"])
@pytest.mark.parametrize("harmonise", ["none", "standardise"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_run_stopped_after_each_iteration_ends_with_the_same_bits(
    strategy, harmonise, empty, scenes, tmp_path
):
    options = {**OPTIONS, **STRATEGIES[strategy]}
    options.update(strategy=strategy, harmonise=harmonise, empty=empty)
    path = tmp_path / "fit.json"
    whole = run(scenes, tmp_path / "whole", **options)
    fit = ClassModel.load(tmp_path / "whole" / "model.json").fit
    assert len(fit.class_pixels) < 5 if empty == "drop" else min(fit.class_pixels) > 0

    stopped = 0
    while True:
        monitor = Stopper()
        try:
            again = run(scenes, tmp_path / "again", checkpoint=path, monitor=monitor, **options)
        except errors.Cancelled:
            stopped += 1
            assert monitor.iterations == 1  # none is done twice
            assert stopped <= fit.n_iter
        else:
            break
    assert stopped == fit.n_iter
    assert monitor.iterations == 0
    assert again == whole


@pytest.mark.parametrize("done", [0, 1, 2, 11, 24, 32])
def test_mini_batches_end_where_they_would_have(done, scenes, tmp_path):
    """The end depends on how many batches in a row were no better."""
    options = {"strategy": "mini-batch", "sample_fraction": 0.09, "max_iter": 20}
    begin(scenes, tmp_path / "fit.json", 15 + done, **options)
    whole = run(scenes, tmp_path / "whole", **options)
    assert run(scenes, tmp_path / "a", checkpoint=tmp_path / "fit.json", **options) == whole
    fit = ClassModel.load(tmp_path / "a" / "model.json").fit
    assert (fit.sample_iterations, fit.n_iter, fit.converged) == (15, 48, True)


@pytest.mark.parametrize("rule", ["changed", "shift"])
@pytest.mark.parametrize("init", ["minmax", "k-means++"])
def test_other_seeds_and_stop_rules_go_on_as_well(init, rule, scenes, tmp_path):
    options = {"init": init, "classes": 6, "stop_rule": rule, "seed": 3, "order": "size"}
    options.update(temporal="markov", scaling="zscore", tol=1e-4, max_iter=20)
    begin(scenes, tmp_path / "fit.json", 4, **options)
    whole = run(scenes, tmp_path / "whole", **options)
    again = run(scenes, tmp_path / "again", checkpoint=tmp_path / "fit.json", **options)
    assert again == whole


def test_the_iteration_limit_counts_all_iterations(scenes, tmp_path):
    options = {"tol": 0.0, "max_iter": 3}
    begin(scenes, tmp_path / "fit.json", 2, **options)
    whole = run(scenes, tmp_path / "whole", **options)
    assert run(scenes, tmp_path / "a", checkpoint=tmp_path / "fit.json", **options) == whole
    assert not ClassModel.load(tmp_path / "a" / "model.json").fit.converged


def test_a_finished_fit_is_only_assigned_again(scenes, tmp_path):
    path = tmp_path / "fit.json"
    first = run(scenes, tmp_path / "first", checkpoint=path)
    before, monitor = path.read_bytes(), Stopper(99)
    again = run(scenes, tmp_path / "again", checkpoint=path, monitor=monitor)
    assert again == first == run(scenes, tmp_path / "without")
    assert monitor.iterations == 0
    assert path.read_bytes() == before


@pytest.mark.parametrize("engine", available_backends())
def test_it_goes_on_with_another_engine_threads_blocks_memory_and_order(
    engine, scenes, tmp_path, monkeypatch
):
    path = tmp_path / "fit.json"
    whole = run(scenes, tmp_path / "whole")
    begin(scenes, path)
    monkeypatch.setattr(reading, "BLOCK_PIXELS", 300)
    options = {"checkpoint": path, "engine": engine, "threads": 3, "memory_mb": 16}
    assert run(scenes[::-1], tmp_path / "again", **options) == whole


_CHILD = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_checkpoint import run
from iikmc.core import Monitor

class Slow(Monitor):
    def message(self, text):
        time.sleep(0.05 * text.startswith(("Iteration ", "Batch ")))

run([Path(name) for name in sys.argv[4:]], Path(sys.argv[2]), checkpoint=sys.argv[3],
    monitor=Slow(), tol=0.0)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
def test_a_killed_process_goes_on_where_it_was(scenes, tmp_path):
    path, folder = tmp_path / "fit.json", tmp_path / "killed"
    here = str(Path(__file__).parent)
    names = [here, str(folder), str(path), *map(str, scenes)]
    child = subprocess.Popen([sys.executable, "-c", _CHILD, *names], stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not path.exists() and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.12)
    child.send_signal(signal.SIGKILL)
    trouble = child.communicate()[1].decode()
    assert child.returncode == -signal.SIGKILL, trouble
    assert path.exists() and list(folder.iterdir()) == []
    monitor = Stopper(99)
    whole = run(scenes, tmp_path / "whole", tol=0.0)
    again = run(scenes, tmp_path / "again", checkpoint=path, monitor=monitor, tol=0.0)
    assert again == whole
    fit = ClassModel.load(tmp_path / "again" / "model.json").fit
    assert 0 < monitor.iterations < fit.n_iter
    told = f"Going on after {fit.n_iter - monitor.iterations} iterations"
    assert any(text.startswith(told) for text in monitor.texts)


finite = st.floats(allow_nan=False, allow_infinity=False)


@given(
    arrays.arrays(np.float64, (2, 3, 2), elements=finite),
    arrays.arrays(bool, (2, 3)),
    st.lists(finite, min_size=1),
)
def test_any_state_comes_back_from_json_to_the_bit(centres, active, history):
    result = LloydResult(
        centres[0], active[0], np.array([1, 2**60, 0]), tuple(history), tuple(history), False
    )
    state = LloydState(centres[1], active[1], result)
    back = LloydState.of_json(json.loads(json.dumps(state.as_json())))
    for found, kept in ((back, state), (back.result, result)):
        for name, value in vars(kept).items():
            same = getattr(found, name)
            if isinstance(value, np.ndarray):
                assert (same.tobytes(), same.dtype) == (value.tobytes(), value.dtype)
            elif name != "result":
                assert repr(same) == repr(value)


@pytest.fixture
def no_reading(monkeypatch):
    """Fail where a pixel would be read."""

    def read(*args, **kwargs):
        raise AssertionError("pixels were read")

    monkeypatch.setattr("iikmc.core.series.read_pixels", read)


OTHER = {
    "classes": ({"init": START[:4]}, "with classes 5, this one has 4"),
    "init": ({"init": START + 1.0}, "with first centres of digest '"),
    "strategy": ({"strategy": "sample"}, "strategy 'full', this one has 'sample'"),
    "sample_fraction": ({"sample_fraction": 0.1}, "sample_fraction 0.02, this one has 0.1"),
    "max_iter": ({"max_iter": 9}, "with max_iter 8, this one has 9"),
    "stop_rule": ({"stop_rule": "shift"}, "stop_rule 'changed', this one has 'shift'"),
    "tol": ({"tol": 1e-4}, "with tol 0.001, this one has 0.0001"),
    "empty": ({"empty": "drop"}, "with empty 'keep', this one has 'drop'"),
    "order": ({"order": "size"}, "with order 'brightness', this one has 'size'"),
    "harmonise": ({"harmonise": "standardise"}, "harmonise 'none', this one has 'standardise'"),
    "scaling": ({"scaling": "zscore"}, "with scaling 'none', this one has 'zscore'"),
    "temporal": ({"temporal": "markov"}, "temporal 'none', this one has 'markov'"),
    "strength": ({"temporal_strength": 2.0}, "temporal_strength 1.0, this one has 2.0"),
    "seed": ({"seed": 1}, "with seed 0, this one has 1"),
}


@pytest.mark.parametrize("name", OTHER)
def test_other_settings_are_named_before_a_pixel_is_read(name, scenes, tmp_path, request):
    change, words = OTHER[name]
    path = tmp_path / "fit.json"
    begin(scenes, path)
    before = path.read_bytes()
    request.getfixturevalue("no_reading")
    with pytest.raises(errors.ParameterError) as caught:
        run(scenes, tmp_path / "again", checkpoint=path, **change)
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"The checkpoint '{path}' is of a fit ")
    assert str(caught.value).endswith(": name another file, or delete it to start anew.")
    assert path.read_bytes() == before


def test_another_model_to_start_from_is_told_apart(scenes, tmp_path):
    with open_series(scenes) as series:
        model = cluster(series, classes=4, engine="numpy", max_iter=2)
    begin(scenes, tmp_path / "fit.json", 1, init=model)
    whole = run(scenes, tmp_path / "whole", init=model)
    again = run(scenes, tmp_path / "again", init=model, checkpoint=tmp_path / "fit.json")
    assert again == whole
    moved = replace(model, centres=model.centres + 1e-9)
    renamed = model.renamed(["a", "b", "c", "d"], model.colours)
    for other in (moved, renamed):
        with pytest.raises(errors.ParameterError, match="with first centres of digest"):
            run(scenes, tmp_path / "again", init=other, checkpoint=tmp_path / "fit.json")


def test_another_series_is_named_before_a_pixel_is_read(scenes, make_scene, tmp_path, request):
    path = tmp_path / "fit.json"
    begin(scenes, path)
    later = make_scene("scene_2020-09-15", land_cover(2))
    moved = [
        make_scene(f"moved/{item.stem}", land_cover(0), origin=(500_010.0, 4_600_000.0))
        for item in scenes
    ]
    request.getfixturevalue("no_reading")
    for paths, words in (
        (scenes[:2], "with number of scenes 3, this one has 2"),
        ([*scenes[:2], later], "'scene_2020-06-15, 2020-06-15', this one has 'scene_2020-0"),
        (moved, "of a fit on another grid than the series'"),
    ):
        with pytest.raises(errors.ParameterError) as caught:
            run(paths, tmp_path / "again", checkpoint=path)
        assert words in str(caught.value)
    with (
        open_series(scenes, bands=[1, 3, 2]) as series,
        pytest.raises(errors.ParameterError, match="bands 'Band 1, Band 2, Band 3', this one"),
    ):
        cluster(series, **OPTIONS, checkpoint=path)


def test_other_pixels_of_a_scene_are_named_before_the_fit(make_scene, tmp_path):
    path, values = tmp_path / "fit.json", [land_cover(0), land_cover(1)]
    for rank, planes in enumerate(values):
        make_scene(f"s_2020-01-0{rank + 1}", planes, nodata=0)
    paths = sorted((tmp_path / "scenes").iterdir())
    begin(paths, path)
    before = path.read_bytes()
    for number, words in (
        (0, "valid pixels of scene 's_2020-01-02' 2000, this one has 1999"),
        (7000, "values of scene 's_2020-01-02' of digest"),
    ):
        changed = values[1].copy()
        changed[:, 3, 4] = number
        make_scene("s_2020-01-02", changed, nodata=0)
        monitor = Stopper(99)
        with pytest.raises(errors.ParameterError) as caught:
            run(paths, tmp_path / "again", checkpoint=path, monitor=monitor)
        assert words in str(caught.value)
        assert monitor.iterations == 0
    assert path.read_bytes() == before


def test_a_damaged_or_foreign_file_is_named_and_left(scenes, tmp_path, request):
    path = tmp_path / "fit.json"
    begin(scenes, path)
    good = path.read_bytes()
    model = tmp_path / "model.json"
    with open_series(scenes) as series:
        cluster(series, engine="numpy", max_iter=1).save(model)
    digit = good.rindex(b"0.")
    damaged = [good[:cut] for cut in (40, len(good) // 2, len(good) - 3)]
    damaged.append(good[:digit] + b"1." + good[digit + 2 :])
    damaged.append(good.replace(b'"content"', b'"contents"'))
    foreign = [b"", b"{}", b"II*\x00\x08", b'"text"', model.read_bytes(), good[:20]]
    newer = good.replace(b'"version": 1', b'"version": 2', 1)
    request.getfixturevalue("no_reading")
    for content, words in (
        *((item, "is damaged (") for item in damaged),
        *((item, "is not a checkpoint: ") for item in foreign),
        (newer, "has format version 2, this version reads 1"),
    ):
        path.write_bytes(content)
        with pytest.raises(errors.ModelError) as caught:
            run(scenes, tmp_path / "again", checkpoint=path)
        assert words in str(caught.value) and str(path) in str(caught.value)
        assert str(caught.value).endswith(": name another file, or delete it to start anew.")
        assert path.read_bytes() == content


@pytest.mark.parametrize("place", ["folder", "file/fit.json", "file/deep/fit.json", "n" * 254])
def test_a_place_that_cannot_be_written_is_named_before_a_pixel_is_read(
    place, scenes, tmp_path, no_reading
):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("theirs")
    before = sorted(tmp_path.rglob("*"))
    with open_series(scenes) as series, pytest.raises(errors.OutputError) as caught:
        cluster(series, **OPTIONS, checkpoint=tmp_path / place)
    assert f"The checkpoint '{tmp_path / place}' " in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write all")
def test_a_folder_without_permission_is_named(scenes, tmp_path, no_reading):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    with (
        open_series(scenes) as series,
        pytest.raises(errors.OutputError, match="Permission denied"),
    ):
        cluster(series, **OPTIONS, checkpoint=closed / "fit.json")


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_save_that_fails_leaves_the_one_before(call, scenes, tmp_path, monkeypatch):
    path = tmp_path / "fit.json"
    whole = run(scenes, tmp_path / "whole")
    begin(scenes, path)
    before = path.read_bytes()

    def full(*args):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(errors.OutputError) as caught:
        patch.setattr(os, call, full)
        run(scenes, tmp_path / "again", checkpoint=path)
    assert f"'{path}' cannot be saved (No space left on device), the one" in str(caught.value)
    assert path.read_bytes() == before
    assert {item.name for item in tmp_path.iterdir()} == {"scenes", "whole", "again", "fit.json"}
    assert run(scenes, tmp_path / "again", checkpoint=path) == whole


def test_what_a_kill_in_the_middle_of_saving_leaves_is_no_obstacle(scenes, tmp_path):
    path, aside = tmp_path / "fit.json", tmp_path / ".fit.json.part"
    begin(scenes, path)
    aside.write_bytes(path.read_bytes()[:100])
    whole = run(scenes, tmp_path / "whole")
    assert run(scenes, tmp_path / "again", checkpoint=path) == whole
    assert not aside.exists()


def test_the_folder_of_a_checkpoint_is_made_with_the_first_save(scenes, tmp_path):
    path = tmp_path / "new" / "deep" / "fit.json"
    with open_series(scenes) as series, pytest.raises(errors.Cancelled):
        cluster(series, **OPTIONS, checkpoint=path, monitor=Stopper(0))
    assert not (tmp_path / "new").exists()
    begin(scenes, path)
    assert path.exists()
