"""Class changes and consistency outside the toolbox: in qgis_process, and after other steps."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import processing
import pytest
from class_layers import planes, write_layers
from osgeo import gdal
from qgis.core import (
    QgsApplication,
    QgsProcessing,
    QgsProcessingModelAlgorithm,
    QgsProcessingModelChildAlgorithm,
    QgsProcessingModelChildParameterSource,
    QgsProcessingModelParameter,
    QgsProcessingParameterMultipleLayers,
)
from synthetic import DATES, RecordingFeedback
from test_surroundings import context_of_project, qgis_process  # noqa: F401 (a fixture)

NUMBERS = ("AGREEMENT", "KAPPA", "DRIFT", "ARI")
TABLES = {"classchanges": ("AREAS", "TRANSITIONS"), "assessconsistency": ("TABLE",)}
OWN = {"classchanges": {"FROM": str(DATES[1])}, "assessconsistency": {"MAX_GAP": 1}}


def destinations(name: str, folder: Path) -> dict[str, str]:
    files = {key: str(folder / f"{key.lower()}.csv") for key in TABLES[name]}
    return {"OUTPUT": str(folder / "rasters"), "REPORT": str(folder / "report.html"), **files}


def made(results: dict) -> list[tuple[str, bytes]]:
    """Return the rasters of a run, which have styles, and its tables."""
    rasters = [Path(path) for path in results["OUTPUT_LAYERS"]]
    assert all(path.with_suffix(".qml").is_file() for path in rasters)
    tables = [Path(results[key]) for key in ("AREAS", "TRANSITIONS", "TABLE") if key in results]
    return [(path.name, path.read_bytes()) for path in (*rasters, *tables)]


@pytest.mark.parametrize("name", TABLES)
def test_qgis_process_does_what_the_toolbox_does(name, plugin, qgis_process, tmp_path):  # noqa: F811
    layers = write_layers(tmp_path / "in", planes())
    there = destinations(name, tmp_path / "there")
    options = {**OWN[name], **there}
    run = qgis_process(
        "--json",
        "run",
        f"iikmc:{name}",
        "--",
        *(f"INPUT={path}" for path in layers),
        *(f"{key}={value}" for key, value in options.items()),
    )
    assert run.returncode == 0, run.stdout + run.stderr
    results = json.loads(run.stdout)["results"]
    assert Path(results["REPORT"]).read_text("utf-8").startswith("<!DOCTYPE html>")
    here = destinations(name, tmp_path / "here")
    expected = processing.run(f"iikmc:{name}", {"INPUT": layers, **OWN[name], **here})
    assert made(results) == made(expected)
    for key in NUMBERS:
        assert results.get(key) == pytest.approx(expected.get(key), abs=1e-12)


@pytest.mark.parametrize("name", TABLES)
def test_qgis_process_helps_and_says_what_is_wrong(name, plugin, qgis_process, tmp_path):  # noqa: F811
    shown = qgis_process("help", f"iikmc:{name}").stdout
    algorithm = QgsApplication.processingRegistry().createAlgorithmById(f"iikmc:{name}")
    for item in algorithm.parameterDefinitions():
        assert f"{item.name()}: {item.description()}" in shown
        assert item.help() in shown
    (layer,) = write_layers(tmp_path / "in", planes()[:1])
    run = qgis_process("run", f"iikmc:{name}", "--", f"INPUT={layer}", f"OUTPUT={tmp_path / 'out'}")
    assert run.returncode != 0
    assert "of one date" in run.stdout + run.stderr
    assert not (tmp_path / "out").exists()


def test_in_a_model_the_classes_of_a_series_are_measured(plugin, series, tmp_path):
    """Classify series hands its layers to both, also when the model has been saved and read."""
    source = QgsProcessingModelChildParameterSource
    model = QgsProcessingModelAlgorithm("What changed", "tests", "tests")
    model.addModelParameter(
        QgsProcessingParameterMultipleLayers(
            "SCENES", "Scenes", QgsProcessing.SourceType.TypeRaster
        ),
        QgsProcessingModelParameter("SCENES"),
    )
    steps = {
        "classifyseries": {
            "CLASSES": 4,
            "HARMONISE": 1,
            "TEMPORAL": 1,
            "OUTPUT": str(tmp_path / "classes"),
        },
        **{name: destinations(name, tmp_path / name) for name in TABLES},
    }
    for name, values in steps.items():
        child = QgsProcessingModelChildAlgorithm(f"iikmc:{name}")
        child.setChildId(name)
        first = name == "classifyseries"
        layers = source.fromChildOutput("classifyseries", "OUTPUT_LAYERS")
        child.addParameterSources(
            "INPUT", [source.fromModelParameter("SCENES") if first else layers]
        )
        for key, value in {**values, "LOAD": False}.items():
            child.addParameterSources(key, [source.fromStaticValue(value)])
        model.addChildAlgorithm(child)
    saved = str(tmp_path / "what_changed.model3")
    assert model.toFile(saved)
    loaded = QgsProcessingModelAlgorithm()
    assert loaded.fromFile(saved)
    feedback = RecordingFeedback()
    parameters = {"SCENES": list(series.scenes)}
    assert loaded.checkParameterValues(parameters, context_of_project()) == (True, "")
    _, ok = loaded.run(parameters, context_of_project(), feedback)
    assert ok, feedback.errors

    classes = [str(tmp_path / "classes" / f"place_{date}_classes.tif") for date in DATES]
    stack = np.stack([gdal.Open(path).ReadAsArray() for path in classes])
    changes = sum((a != b) & (a > 0) & (b > 0) for a, b in zip(stack, stack[1:]))
    for name in TABLES:
        found = gdal.Open(str(tmp_path / name / "rasters" / "change_count.tif")).ReadAsArray()
        seen = (stack > 0).all(axis=0)
        np.testing.assert_array_equal(found[seen], changes[seen])
    with open(tmp_path / "classchanges" / "areas.csv", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["date"] == str(DATES[1])]
    counts = np.bincount(stack[1].ravel(), minlength=5)[1:]
    assert [int(row["pixels"]) for row in rows] == counts.tolist()
    for name in TABLES:
        given = {"INPUT": classes, **destinations(name, tmp_path / "direct" / name)}
        direct = processing.run(f"iikmc:{name}", given)
        rasters = [tmp_path / name / "rasters" / Path(p).name for p in direct["OUTPUT_LAYERS"]]
        for path, other in zip(rasters, direct["OUTPUT_LAYERS"]):
            assert path.read_bytes() == Path(other).read_bytes()
