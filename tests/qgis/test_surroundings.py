"""The ways to run the algorithm: qgis_process, a graphical model, in batch, two at once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import processing
import pytest
from osgeo import gdal
from processing.gui.Postprocessing import handleAlgorithmResults
from qgis.core import (
    QgsApplication,
    QgsProcessing,
    QgsProcessingAlgRunnerTask,
    QgsProcessingContext,
    QgsProcessingModelAlgorithm,
    QgsProcessingModelChildAlgorithm,
    QgsProcessingModelChildParameterSource,
    QgsProcessingModelOutput,
    QgsProcessingModelParameter,
    QgsProcessingParameterMultipleLayers,
    QgsProject,
)
from qgis.PyQt.QtCore import QEventLoop, QTimer
from synthetic import DATES, RecordingFeedback

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def parameters(plugin, series, tmp_path) -> dict:
    return {"INPUT": list(series.scenes), "CLASSES": 4, "OUTPUT": str(tmp_path / "out")}


def context_of_project() -> QgsProcessingContext:
    context = QgsProcessingContext()
    context.setProject(QgsProject.instance())
    return context


def pixels(paths) -> list[bytes]:
    return [gdal.Open(str(path)).ReadAsArray().tobytes() for path in paths]


@pytest.fixture
def qgis_process(tmp_path):
    """Runs qgis_process with this checkout as its plugin, in a profile of its own."""
    names = ("qgis_process.bin", "qgis_process")
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        pytest.skip("There is no qgis_process here.")
    plugins, runtime = tmp_path / "plugins", tmp_path / "run"
    plugins.mkdir()
    runtime.mkdir(mode=0o700)
    (plugins / "series_plugin").symlink_to(ROOT)  # QGIS loads the folder under any name
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "QGIS_CUSTOM_CONFIG_PATH": str(tmp_path / "profile"),
        "XDG_RUNTIME_DIR": str(runtime),
        "QGIS_PLUGINPATH": str(plugins),
        "QT_QPA_PLATFORM": "offscreen",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if "site-packages" in path),
    }

    def run(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [program, *arguments], env=environment, capture_output=True, text=True, timeout=120
        )

    enabled = run("plugins", "enable", "series_plugin")
    assert enabled.returncode == 0, enabled.stdout + enabled.stderr
    return run


def test_qgis_process(qgis_process, parameters, series, tmp_path):
    made = qgis_process(
        "--json",
        "run",
        "iikmc:classifyseries",
        "--",
        *(f"INPUT={path}" for path in series.scenes),
        *(f"MASKS={path}" for path in series.masks),
        "MASK_KIND=3",
        "CLASSES=4",
        f"OUTPUT={tmp_path / 'out'}",
        f"MODEL={tmp_path / 'model.json'}",
        f"REPORT={tmp_path / 'report.html'}",
    )
    assert made.returncode == 0, made.stdout + made.stderr
    results = json.loads(made.stdout)["results"]
    assert results["CLASSES_FOUND"] == 4
    assert results["OUTPUT_LAYERS"] == [
        str(tmp_path / "out" / f"place_{date}_classes.tif") for date in DATES
    ]
    assert all(Path(results[key]).is_file() for key in ("MODEL", "REPORT"))
    assert not list((tmp_path / "scenes").glob("*.aux.xml"))
    here = processing.run(
        "iikmc:classifyseries",
        {
            **parameters,
            "MASKS": list(series.masks),
            "MASK_KIND": 3,
            "OUTPUT": str(tmp_path / "here"),
        },
    )
    for path, other in zip(results["OUTPUT_LAYERS"], here["OUTPUT_LAYERS"]):
        assert Path(path).read_bytes() == Path(other).read_bytes()


def test_qgis_process_help_lists_every_key(qgis_process, algorithm):
    shown = qgis_process("help", "iikmc:classifyseries").stdout
    for item in algorithm.parameterDefinitions():
        assert f"{item.name()}: {item.description()}" in shown
        assert item.help() in shown


def test_qgis_process_says_what_is_wrong(qgis_process, parameters, series, tmp_path):
    made = qgis_process(
        "run",
        "iikmc:classifyseries",
        "--",
        f"INPUT={series.scenes[0]}",
        "BANDS=9",
        f"OUTPUT={tmp_path / 'out'}",
    )
    assert made.returncode != 0
    assert f"Scene 'place_{DATES[0]}' has no band 9" in made.stdout + made.stderr
    assert not (tmp_path / "out").exists()


def test_in_a_model(parameters, series, tmp_path):
    """The class layers of one step are the input of the next."""
    model = QgsProcessingModelAlgorithm("Sum of classes", "tests")
    model.addModelParameter(
        QgsProcessingParameterMultipleLayers(
            "SCENES", "Scenes", QgsProcessing.SourceType.TypeRaster
        ),
        QgsProcessingModelParameter("SCENES"),
    )
    source = QgsProcessingModelChildParameterSource
    classify = QgsProcessingModelChildAlgorithm("iikmc:classifyseries")
    classify.setChildId("classify")
    classify.addParameterSources("INPUT", [source.fromModelParameter("SCENES")])
    classify.addParameterSources("CLASSES", [source.fromStaticValue(4)])
    classify.addParameterSources("LOAD", [source.fromStaticValue(False)])
    classify.addParameterSources("OUTPUT", [source.fromStaticValue(str(tmp_path / "out"))])
    model.addChildAlgorithm(classify)
    total = QgsProcessingModelChildAlgorithm("native:cellstatistics")
    total.setChildId("total")
    total.addParameterSources("INPUT", [source.fromChildOutput("classify", "OUTPUT_LAYERS")])
    total.addParameterSources("STATISTIC", [source.fromStaticValue(0)])
    total.addParameterSources("REFERENCE_LAYER", [source.fromStaticValue(series.scenes[0])])
    output = QgsProcessingModelOutput("Sum")
    output.setChildId("total")
    output.setChildOutputName("OUTPUT")
    total.setModelOutputs({"Sum": output})
    model.addChildAlgorithm(total)
    model.initAlgorithm()
    feedback = RecordingFeedback()
    target = str(tmp_path / "sum.tif")
    _, ok = model.run(
        {"SCENES": list(series.scenes), "total:Sum": target}, context_of_project(), feedback
    )
    assert ok, feedback.errors
    written = [tmp_path / "out" / f"place_{date}_classes.tif" for date in DATES]
    expected = sum(gdal.Open(str(path)).ReadAsArray().astype(int) for path in written)
    found = gdal.Open(target).ReadAsArray()
    np.testing.assert_array_equal(found[expected > 0], expected[expected > 0])


def test_an_error_inside_a_model_keeps_its_sentence(plugin, series, tmp_path):
    model = QgsProcessingModelAlgorithm("Fails", "tests")
    child = QgsProcessingModelChildAlgorithm("iikmc:classifyseries")
    child.setChildId("classify")
    source = QgsProcessingModelChildParameterSource
    child.addParameterSources("INPUT", [source.fromStaticValue([str(tmp_path / "gone.tif")])])
    child.addParameterSources("OUTPUT", [source.fromStaticValue(str(tmp_path / "out"))])
    model.addChildAlgorithm(child)
    feedback = RecordingFeedback()
    _, ok = model.run({}, context_of_project(), feedback)
    assert not ok
    assert any("gone.tif' cannot be opened" in error for error in feedback.errors)


def test_in_batch(algorithm, parameters, qgis_new_project, tmp_path):
    """As the batch dialog does it: one algorithm object, a context for each row."""
    for classes in (3, 4):
        row = {**parameters, "CLASSES": classes, "OUTPUT": str(tmp_path / f"k{classes}")}
        context = context_of_project()
        assert algorithm.checkParameterValues(row, context) == (True, "")
        results, ok = algorithm.run(row, context, RecordingFeedback())
        assert ok
        assert results["CLASSES_FOUND"] == classes
        assert handleAlgorithmResults(algorithm, context, RecordingFeedback(), parameters=row)
    groups = qgis_new_project.layerTreeRoot().children()
    assert [group.name().split(",")[0] for group in groups] == ["4 classes", "3 classes"]
    assert [len(group.findLayers()) for group in groups] == [3, 3]


def test_two_tasks_at_once(algorithm, parameters, tmp_path):
    loop, done, tasks = QEventLoop(), [], []
    for name in ("a", "b"):
        context, feedback = context_of_project(), RecordingFeedback()
        wanted = {**parameters, "ENGINE": 0, "OUTPUT": str(tmp_path / name)}
        task = QgsProcessingAlgRunnerTask(algorithm.create(), wanted, context, feedback)
        task.executed.connect(lambda ok, results: done.append((ok, results)))
        task.executed.connect(lambda *_: loop.quit() if len(done) == 2 else None)
        tasks.append((task, context, feedback))
    for task, _, _ in tasks:
        QgsApplication.taskManager().addTask(task)
    QTimer.singleShot(60_000, loop.quit)
    loop.exec() if hasattr(loop, "exec") else loop.exec_()
    assert [ok for ok, _ in done] == [True, True]
    first, second = (pixels(results["OUTPUT_LAYERS"]) for _, results in done)
    assert first == second


def test_core_works_without_qgis():
    code = (
        "import sys\n"
        "sys.modules['qgis'] = None\n"
        "import iikmc.core.report, iikmc.core.classify\n"
        "assert not [name for name in sys.modules if name.startswith('qgis.')]\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
