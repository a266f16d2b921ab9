"""The engine dask in QGIS: on a cluster, by qgis_process, and on threads of QGIS itself."""

from __future__ import annotations

import json
from pathlib import Path

import processing
import pytest
from qgis.core import QgsProcessingContext
from synthetic import RecordingFeedback
from test_surroundings import qgis_process  # noqa: F401 (a fixture)

distributed = pytest.importorskip("distributed")
psutil = pytest.importorskip("psutil")  # comes with distributed

NUMBA, DASK = 2, 4


@pytest.fixture(scope="module")
def scheduler():
    """The address of a scheduler with two worker processes."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0"
    ) as cluster:
        yield cluster.scheduler_address


@pytest.fixture
def parameters(plugin, series) -> dict:
    """What is asked of every engine."""
    return {
        "INPUT": list(series.scenes),
        "MASKS": list(series.masks),
        "MASK_KIND": 3,
        "CLASSES": 4,
        "HARMONISE": 1,
        "TEMPORAL": 1,
    }


def written(folder: Path) -> dict[str, bytes]:
    """Return the bytes of all rasters, tables and models below a folder.

    Not those of styles: each process of QGIS puts the attributes in another order.
    """
    kinds = {".tif", ".xml", ".json"}
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.suffix in kinds
    }


@pytest.fixture
def expected(parameters, tmp_path) -> dict[str, bytes]:
    """What the engine numba writes."""
    pytest.importorskip("numba")
    return run(parameters, tmp_path / "numba", ENGINE=NUMBA)


def run(parameters: dict, folder: Path, **more: object) -> dict[str, bytes]:
    places = {"OUTPUT": str(folder / "out"), "MODEL": str(folder / "model.json")}
    processing.run("iikmc:classifyseries", {**parameters, **places, **more})
    return written(folder)


def test_qgis_process_on_two_workers_gives_the_bytes_of_numba(
    qgis_process,  # noqa: F811
    scheduler,
    parameters,
    series,
    expected,
    tmp_path,
):
    folder = tmp_path / "dask"
    lists = [f"INPUT={path}" for path in series.scenes]
    lists += [f"MASKS={path}" for path in series.masks]
    made = qgis_process(
        "--json",
        "run",
        "iikmc:classifyseries",
        "--",
        *lists,
        *(f"{key}={parameters[key]}" for key in parameters if key not in ("INPUT", "MASKS")),
        f"ENGINE={DASK}",
        f"SCHEDULER={scheduler}",
        f"OUTPUT={folder / 'out'}",
        f"MODEL={folder / 'model.json'}",
        f"REPORT={folder / 'report.html'}",
    )
    assert made.returncode == 0, made.stdout + made.stderr
    assert json.loads(made.stdout)["results"]["CLASSES_FOUND"] == 4
    assert (folder / "report.html").stat().st_size > 0
    assert len(expected) == 7  # three rasters with their tables, and the model
    assert written(folder) == expected


def test_qgis_process_says_that_no_scheduler_answers(
    qgis_process,  # noqa: F811
    series,
    tmp_path,
):
    made = qgis_process(
        "run",
        "iikmc:classifyseries",
        "--",
        f"INPUT={series.scenes[0]}",
        f"ENGINE={DASK}",
        f"SCHEDULER={tmp_path / 'scheduler.json'}",
        f"OUTPUT={tmp_path / 'out'}",
    )
    assert made.returncode != 0
    said = made.stdout + made.stderr
    assert f"There is no Dask scheduler file '{tmp_path / 'scheduler.json'}'" in said
    assert not (tmp_path / "out").exists()


def test_without_a_scheduler_threads_of_qgis_do_it(parameters, expected, algorithm, tmp_path):
    here, folder = psutil.Process(), tmp_path / "dask"
    children, seen = set(here.children(recursive=True)), []

    class Watcher(RecordingFeedback):
        def isCanceled(self) -> bool:
            seen.append(set(here.children(recursive=True)) - children)
            return super().isCanceled()

    feedback = Watcher()
    places = {"OUTPUT": str(folder / "out"), "MODEL": str(folder / "model.json")}
    wanted = {**parameters, **places, "ENGINE": DASK, "SCHEDULER": ""}
    _, ok = algorithm.run(wanted, QgsProcessingContext(), feedback)
    assert ok, feedback.errors
    assert len(seen) > 3 and not any(seen)
    assert written(folder) == expected


def test_a_model_is_fitted_and_applied_by_workers(scheduler, parameters, tmp_path):
    pytest.importorskip("numba")
    reading = {key: parameters[key] for key in ("INPUT", "MASKS", "MASK_KIND")}
    made = {}
    for name, engine in (("numba", {"ENGINE": NUMBA}), ("dask", {"ENGINE": DASK})):
        folder = tmp_path / name
        engine = {**engine, "SCHEDULER": scheduler} if name == "dask" else engine
        model = str(folder / "model.json")
        processing.run("iikmc:fitmodel", {**parameters, **engine, "MODEL": model})
        places = {"OUTPUT": folder / "out", "DISTANCE": folder / "far", "MARGIN": folder / "sure"}
        processing.run(
            "iikmc:applymodel",
            {**reading, **engine, "MODEL": model, **{key: str(to) for key, to in places.items()}},
        )
        made[name] = written(folder)
    assert len([path for path in made["numba"] if path.endswith(".tif")]) == 9
    assert made["dask"] == made["numba"]


def test_a_client_without_the_engine_is_refused_before_it_runs(algorithm, parameters, tmp_path):
    wanted = {**parameters, "ENGINE": NUMBA, "SCHEDULER": "tcp://127.0.0.1:1"}
    wanted["OUTPUT"] = str(tmp_path / "out")
    ok, why = algorithm.checkParameterValues(wanted, QgsProcessingContext())
    assert not ok
    assert "dask" in why
