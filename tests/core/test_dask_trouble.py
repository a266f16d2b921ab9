"""What is wrong with a cluster is told in one sentence, in time, and leaves nothing behind."""

from __future__ import annotations

import gc
import os
import shutil
import socket
import time

import pytest
from conftest import land_cover
from dask_clusters import (
    PLAIN,
    Case,
    Quiet,
    by_hand,
    distributed,
    files,
    scenes,
    under_way,
    within,
    workers,
)

from iikmc import __version__
from iikmc.core import cluster, errors, open_series
from iikmc.core.workers import connecting


@pytest.fixture(scope="module")
def two():
    """Two worker processes."""
    with workers(2) as client:
        yield client


@pytest.fixture
def closed_port() -> int:
    """A port of this machine where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def refusal(case: Case, folder, client, kind=errors.EngineError) -> str:
    """Return the sentence with which a run fails, which takes no time and leaves no file."""
    began = time.monotonic()
    with pytest.raises(kind) as caught:
        case.run(folder, client=client)
    assert time.monotonic() - began < 30
    assert files(folder) == {}
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_no_scheduler_at_an_address(closed_port, make_scene, tmp_path, monkeypatch):
    assert connecting._CONNECT_SECONDS <= 25
    monkeypatch.setattr(connecting, "_CONNECT_SECONDS", 1)
    address = f"tcp://127.0.0.1:{closed_port}"
    told = refusal(Case(scenes(make_scene)), tmp_path / "dask", address)
    assert told.startswith(f"The Dask scheduler {address} cannot be reached")
    assert "dask scheduler" in told


def test_a_file_of_a_scheduler_that_is_no_more(closed_port, make_scene, tmp_path, monkeypatch):
    monkeypatch.setattr(connecting, "_CONNECT_SECONDS", 1)
    file = tmp_path / "scheduler.json"
    file.write_text(f'{{"type": "Scheduler", "address": "tcp://127.0.0.1:{closed_port}"}}')
    told = refusal(Case(scenes(make_scene)), tmp_path / "dask", str(file))
    assert told.startswith(f"The Dask scheduler {file} cannot be reached")


@pytest.mark.parametrize("content", ["", "{}", "tcp://127.0.0.1:1"])
def test_a_file_that_no_scheduler_wrote(content, make_scene, tmp_path, monkeypatch):
    monkeypatch.setattr(connecting, "_CONNECT_SECONDS", 1)
    file = tmp_path / "other.json"
    file.write_text(content)
    told = refusal(Case(scenes(make_scene)), tmp_path / "dask", str(file))
    assert told.startswith(f"The Dask scheduler {file} cannot be reached")


def test_a_client_that_fails_to_start_is_closed(make_scene, tmp_path):
    """Else the garbage collector closes it, which now and then never ends."""
    file = tmp_path / "other.json"
    file.write_text("{}")
    gc.disable()
    try:
        refusal(Case(scenes(make_scene)), tmp_path / "dask", str(file))
        # By their type: some of all objects are proxies of what is gone, which isinstance asks.
        every = gc.get_objects()
        clients = [item for item in every if issubclass(type(item), distributed.Client)]
        assert {item.status for item in clients} <= {"closed", "running"}
    finally:
        gc.enable()


@pytest.mark.parametrize("name", ["no such file.json", "{folder}/scheduler.json"])
def test_no_scheduler_file(name, make_scene, tmp_path):
    name = name.format(folder=tmp_path)
    told = refusal(Case(scenes(make_scene)), tmp_path / "dask", name)
    assert told.startswith(f"There is no Dask scheduler file '{name}'")


@pytest.mark.parametrize("name", ["nonsense://x:1", "tcp://127.0.0.1:notaport"])
def test_an_address_that_is_none(name, make_scene, tmp_path, monkeypatch):
    monkeypatch.setattr(connecting, "_CONNECT_SECONDS", 1)
    told = refusal(Case(scenes(make_scene)), tmp_path / "dask", name)
    assert told.startswith(f"The Dask scheduler {name} cannot be reached")


def test_a_scheduler_without_workers(make_scene, tmp_path):
    with by_hand(tmp_path) as started:
        told = refusal(Case(scenes(make_scene)), tmp_path / "dask", str(started.file))
    assert told.startswith("The Dask scheduler tcp://127.0.0.1:")
    assert f"has no worker: start some with 'dask worker --scheduler-file {started.file}'." in told


def test_a_client_that_was_closed(make_scene, tmp_path):
    with by_hand(tmp_path) as started:
        client = distributed.Client(started.address)
        client.close()
        told = refusal(Case(scenes(make_scene)), tmp_path / "dask", client)
    assert told.startswith("The Dask client is closed")


def test_something_that_leads_to_no_scheduler(make_scene, tmp_path):
    with pytest.raises(errors.ParameterError, match="client is of the type int; expected a"):
        Case(scenes(make_scene)).run(tmp_path / "dask", client=8786)


@pytest.mark.parametrize(
    ("package", "version", "sentence"),
    [
        ("iikmc", "0.0.7", f"has iikmc 0.0.7, and this is {__version__}: install the same"),
        ("numpy", "9.1.0", "has NumPy 9.1.0, and this is .*: install the same major version"),
    ],
)
def test_a_worker_of_another_version(package, version, sentence, two, make_scene, tmp_path):
    odd = sorted(two.run(os.getpid))[1]
    had = two.run(_versioned, package, version, workers=[odd])[odd]
    try:
        with pytest.raises(errors.EngineError, match=f"The worker {odd} {sentence}"):
            Case(scenes(make_scene)).run(tmp_path / "dask", client=two)
    finally:
        two.run(_versioned, package, had, workers=[odd])
    assert files(tmp_path / "dask") == {}
    assert Case(sorted((tmp_path / "scenes").iterdir())).run(tmp_path / "dask", client=two)


def test_another_minor_version_of_numpy_is_told_and_does(two, make_scene, tmp_path):
    import numpy

    odd, said = sorted(two.run(os.getpid))[0], Quiet()
    other = f"{numpy.__version__.split('.')[0]}.99.0"
    had = two.run(_versioned, "numpy", other, workers=[odd])[odd]
    try:
        Case(scenes(make_scene)).run(tmp_path / "dask", client=two, monitor=said)
    finally:
        two.run(_versioned, "numpy", had, workers=[odd])
    assert any(f"The worker {odd} has NumPy {other}" in text for text in said.said)


def _versioned(package: str, version: str) -> str:
    """Let a package say that it is of some version; return what it had said."""
    import importlib

    module = importlib.import_module(package)
    had, module.__version__ = module.__version__, version
    return had


def test_a_worker_without_the_package_is_told_what_to_install(make_scene, tmp_path):
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "iikmc.py").write_text("raise ModuleNotFoundError(\"No module named 'iikmc'\")\n")
    first = os.pathsep.join([str(hidden), *filter(None, [os.environ.get("PYTHONPATH")])])
    with by_hand(tmp_path, {"PYTHONPATH": first}) as started:
        started.wait()
        told = refusal(Case(scenes(make_scene)), tmp_path / "dask", started.address)
    assert told.startswith("The worker tcp://127.0.0.1:")
    assert f"cannot import iikmc (No module named 'iikmc'): install iikmc {__version__}" in told


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_a_scene_that_is_gone_when_workers_read_it(dtype, two, make_scene, tmp_path):
    paths = scenes(make_scene, dtype)
    with open_series(paths) as series:
        paths[1].rename(tmp_path / "moved.tif")
        with pytest.raises(errors.RasterError) as caught:
            cluster(series, classes=4, client=two)
        told = str(caught.value)
        assert paths[1].name in told
        assert any(f"(On the Dask worker {worker}.)" in told for worker in two.run(os.getpid))
        assert within(0.5, lambda: not any(under_way(two).values()))
        shutil.move(tmp_path / "moved.tif", paths[1])
        assert cluster(series, classes=4, client=two).fit.valid_pixels


def test_a_scene_that_breaks_off_is_named(two, make_scene):
    paths = scenes(make_scene)
    data = paths[2].read_bytes()
    paths[2].write_bytes(data[: len(data) // 2])
    with (
        open_series(paths) as series,
        pytest.raises(errors.RasterError, match=rf"{paths[2].stem}.*On the Dask worker tcp"),
    ):
        cluster(series, classes=4, client=two)


def test_a_relative_path_is_the_clients_own(two, make_scene, tmp_path, monkeypatch):
    paths = scenes(make_scene)
    monkeypatch.chdir(tmp_path / "scenes")
    with open_series([path.name for path in paths]) as series:
        found = cluster(series, classes=4, client=two).signatures
    with open_series(paths) as series:
        assert (found == cluster(series, classes=4, engine=PLAIN).signatures).all()


def test_scenes_that_are_others_when_workers_look(two, make_scene):
    with open_series(scenes(make_scene)) as series:
        scenes(make_scene, height=30)
        with pytest.raises(errors.EngineError, match="other scenes under the same paths"):
            cluster(series, classes=4, client=two)


def test_a_folder_that_workers_cannot_write_to(two, make_scene, tmp_path):
    class Remover(Quiet):
        """Takes away the folder in which files are staged, as if workers did not see it."""

        def cancelled(self) -> bool:
            for folder in (tmp_path / "out").glob(".iikmc-*"):
                folder.rmdir()
            return False

    with open_series(scenes(make_scene)) as series:
        model = cluster(series, classes=4, client=two)
        mine = two.submit(int, 7)
        with pytest.raises(errors.OutputError) as caught:
            model.classify(series, tmp_path / "out", client=two, monitor=Remover())
    assert (mine.result(timeout=5), two.status) == (7, "running")
    assert "s_2020-" in str(caught.value)
    assert "(On the Dask worker tcp://" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_series_without_a_valid_pixel(two, make_scene):
    paths = [make_scene(f"s_2020-01-0{day}", land_cover(1) * 0, nodata=0) for day in (1, 2)]
    with open_series(paths) as series, pytest.raises(errors.SeriesError, match="has a valid pixel"):
        cluster(series, classes=4, client=two)


def test_more_classes_than_spectra(two, make_scene):
    values = land_cover(1) // 10_000 + 1  # one spectrum
    paths = [make_scene(f"s_2020-01-0{day}", values) for day in (1, 2)]
    with open_series(paths) as series, pytest.raises(errors.ParameterError, match="distinct"):
        cluster(series, classes=4, client=two)
    assert within(1, lambda: not any(under_way(two).values()))


def test_another_engine_with_a_client_is_refused_before_any_work(two, make_scene):
    with (
        open_series(scenes(make_scene)) as series,
        pytest.raises(errors.ParameterError, match="client is for the engine dask"),
    ):
        cluster(series, classes=4, engine="numpy", client=two)
