"""iikmc:assessconsistency in QGIS: numbers, outputs, a model with scenes, and bad input."""

from __future__ import annotations

import csv
import tempfile
from pathlib import Path

import numpy as np
import processing
import pytest
from class_layers import planes, write_layers
from osgeo import gdal
from qgis.core import (
    QgsApplication,
    QgsProcessingContext,
    QgsProcessingOutputMultipleLayers,
    QgsProcessingOutputNumber,
    QgsProcessingParameterDefinition,
    QgsProject,
    QgsRasterLayer,
)
from sklearn.metrics import adjusted_rand_score, cohen_kappa_score
from synthetic import DATES, RecordingFeedback, spectra, write_raster

NUMBERS = ("AGREEMENT", "KAPPA", "DRIFT", "ARI")
OWN = {
    "MODEL": ("file", None, True),
    "INVARIANT": ("raster", None, True),
    "REFERENCE": ("raster", None, True),
    "MAX_GAP": ("number", 3, False),
    "LOAD": ("boolean", True, False),
    "OUTPUT": ("folderDestination", None, False),
    "TABLE": ("fileDestination", None, True),
    "REPORT": ("fileDestination", None, True),
}


@pytest.fixture
def algorithm(plugin):
    return QgsApplication.processingRegistry().createAlgorithmById("iikmc:assessconsistency")


@pytest.fixture
def parameters(tmp_path) -> dict:
    return {
        "INPUT": write_layers(tmp_path / "in", planes()),
        "OUTPUT": str(tmp_path / "out"),
        "TABLE": str(tmp_path / "made" / "pairs.csv"),
        "REPORT": str(tmp_path / "made" / "report.html"),
    }


def run(parameters: dict) -> dict:
    return processing.run("iikmc:assessconsistency", parameters)


def test_contract(algorithm):
    optional = QgsProcessingParameterDefinition.Flag.FlagOptional
    advanced = QgsProcessingParameterDefinition.Flag.FlagAdvanced
    found = {
        item.name(): (item.type(), item.defaultValue(), bool(item.flags() & optional))
        for item in algorithm.parameterDefinitions()
    }
    assert {key: found[key] for key in OWN} == OWN
    reading = [key for key in found if key not in OWN]
    assert reading[:1] == ["INPUT"] and {"MASKS", "MASK_KIND", "BANDS", "DATES"} <= set(reading)
    shown = [
        item.name() for item in algorithm.parameterDefinitions() if not item.flags() & advanced
    ]
    assert shown == ["INPUT", "DATES", *OWN]
    assert algorithm.parameterDefinition("INPUT").description() == "Class layers, one per date"
    outputs = {item.name(): type(item) for item in algorithm.outputDefinitions()}
    assert set(outputs) == {"OUTPUT", "OUTPUT_LAYERS", "TABLE", "REPORT", *NUMBERS}
    assert outputs["OUTPUT_LAYERS"] is QgsProcessingOutputMultipleLayers
    assert all(outputs[key] is QgsProcessingOutputNumber for key in NUMBERS)
    assert (algorithm.group(), algorithm.groupId()) == ("Interpret", "interpret")
    assert algorithm.shortHelpString() and "kappa" in algorithm.tags()
    for item in algorithm.parameterDefinitions():
        assert len(item.help()) > 20 and item.description() != item.name()


def test_numbers_are_those_of_scikit_learn(plugin, parameters, tmp_path):
    made = run({**parameters, "MAX_GAP": 1})
    stack = planes().reshape(3, -1)
    valid = stack[0] > 0
    first = np.concatenate([stack[0][valid], stack[1][valid]])
    second = np.concatenate([stack[1][valid], stack[2][valid]])
    assert made["AGREEMENT"] == pytest.approx((first == second).mean())
    assert made["KAPPA"] == pytest.approx(cohen_kappa_score(first, second))
    indices = [adjusted_rand_score(stack[n][valid], stack[n + 1][valid]) for n in (0, 1)]
    assert made["ARI"] == pytest.approx(np.mean(indices))
    assert made["DRIFT"] == 0.0
    with open(made["TABLE"], encoding="utf-8") as file:
        assert [row["group"] for row in csv.DictReader(file)] == ["near", "near"]
    assert "Class by class" in Path(made["REPORT"]).read_text("utf-8")
    names = {f"{name}.{end}" for name in ("change_count", "entropy") for end in ("tif", "qml")}
    assert {item.name for item in (tmp_path / "out").iterdir()} == names


def test_rasters_are_styled_and_loaded_as_a_group(qgis_new_project, plugin, parameters):
    processing.runAndLoadResults("iikmc:assessconsistency", parameters)
    (group,) = QgsProject.instance().layerTreeRoot().children()
    assert group.name() == f"Consistency, {DATES[0]} to {DATES[2]}"
    assert [node.name() for node in group.children()] == [
        "Entropy of the classes (bits)",
        "Number of changes",
    ]
    for node in group.findLayers():
        assert node.layer().renderer().type() == "singlebandpseudocolor"


def test_ground_that_has_not_changed_and_known_land_cover(plugin, parameters, tmp_path):
    stack = planes()
    same = ((stack[0] == stack[1]) & (stack[1] == stack[2])).astype(np.uint8)
    invariant = write_raster(tmp_path / "same.tif", same[None])
    reference = write_raster(tmp_path / "cover.tif", (stack[:1] * np.uint8(10)))
    made = run({**parameters, "INVARIANT": invariant, "REFERENCE": QgsRasterLayer(reference)})
    assert (made["AGREEMENT"], made["KAPPA"]) == (1.0, 1.0)
    with open(made["TABLE"], encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["group"] == "reference"]
    assert [row["matched_agreement"] for row in rows] == ["1", "1", "1"]


def test_scenes_with_a_model_are_classified_first(plugin, series, tmp_path):
    shared = {"INPUT": list(series.scenes), "MASKS": list(series.masks), "MASK_KIND": 3}
    classified = processing.run(
        "iikmc:classifyseries",
        {
            **shared,
            "CLASSES": 4,
            "OUTPUT": str(tmp_path / "classes"),
            "MODEL": str(tmp_path / "model.json"),
        },
    )
    layers = run({"INPUT": classified["OUTPUT_LAYERS"], "OUTPUT": str(tmp_path / "one")})
    before = set(Path(tempfile.gettempdir()).glob("iikmc-*"))
    scenes = run({**shared, "MODEL": classified["MODEL"], "OUTPUT": str(tmp_path / "two")})
    assert set(Path(tempfile.gettempdir()).glob("iikmc-*")) == before
    assert [scenes[key] for key in NUMBERS] == [layers[key] for key in NUMBERS]
    for name in ("change_count.tif", "entropy.tif"):
        one, two = (gdal.Open(str(tmp_path / part / name)).ReadAsArray() for part in ("one", "two"))
        np.testing.assert_array_equal(one, two)


def no_model(folder: Path) -> str:
    path = folder / "model.json"
    path.write_text("{}", "utf-8")
    return str(path)


CASES = {
    "no_layer": (lambda p, f: {"INPUT": []}, "no class layer"),
    "one_date": (lambda p, f: {"INPUT": p["INPUT"][:1]}, "of one date"),
    "scenes": (
        lambda p, f: {"INPUT": [write_raster(f / "s_2020-01-01.tif", spectra(1))]},
        "'s_2020-01-01' has 3 bands; expected a class raster",
    ),
    "masks": (lambda p, f: {"MASKS": p["INPUT"]}, "MASKS says how to read scenes"),
    "bands": (lambda p, f: {"BANDS": "1,2"}, "BANDS says how to read scenes"),
    "model": (lambda p, f: {"MODEL": no_model(f)}, "is not a class model"),
    "gap": (lambda p, f: {"MAX_GAP": 0}, "MAX_GAP is 0"),
    "invariant": (
        lambda p, f: {"INVARIANT": write_raster(f / "i.tif", np.ones((1, 9, 9), np.uint8))},
        "INVARIANT ('i.tif') has a size of 9 × 9 pixels",
    ),
    "reference": (
        lambda p, f: {"REFERENCE": write_raster(f / "r.tif", np.ones((1, 96, 96), np.float32))},
        "REFERENCE ('r.tif') holds values of type float32",
    ),
    "gone": (lambda p, f: {"REFERENCE": str(f / "gone.tif")}, "gone.tif"),
    "no_folder": (lambda p, f: {"OUTPUT": ""}, "OUTPUT is missing"),
    "input_as_report": (lambda p, f: {"REPORT": p["INPUT"][0]}, "which is an input"),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_answered_in_a_sentence(algorithm, parameters, tmp_path, case):
    change, words = CASES[case]
    wanted = {**parameters, **change(parameters, tmp_path)}
    before = sorted(tmp_path.rglob("*"))
    good, sentence = algorithm.checkParameterValues(wanted, QgsProcessingContext())
    assert not good
    assert words in sentence
    assert sentence.endswith(".") and "\n" not in sentence
    assert sorted(tmp_path.rglob("*")) == before


def test_masks_everywhere_are_an_error_and_leave_nothing(algorithm, tmp_path):
    layers = write_layers(tmp_path / "in", np.zeros((3, 20, 20), np.uint8))
    feedback = RecordingFeedback()
    wanted = {"INPUT": layers, "OUTPUT": str(tmp_path / "out")}
    _, ok = algorithm.run(wanted, QgsProcessingContext(), feedback)
    assert not ok
    assert "No pixel is valid on two dates" in feedback.errors[0]
    assert not (tmp_path / "out").exists()


def test_cancelled_before_it_starts(algorithm, parameters, tmp_path):
    feedback = RecordingFeedback()
    feedback.cancel()
    results, _ = algorithm.run(parameters, QgsProcessingContext(), feedback)
    assert results == {}
    assert [item.name for item in tmp_path.iterdir()] == ["in"]
