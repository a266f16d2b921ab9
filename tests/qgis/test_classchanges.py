"""iikmc:classchanges in QGIS: outputs, styles, areas as QGIS counts them, and bad input."""

from __future__ import annotations

import csv
import time
from pathlib import Path

import numpy as np
import processing
import pytest
from class_layers import NAMES, planes, write_layers
from osgeo import gdal
from qgis.core import (
    QgsApplication,
    QgsProcessingContext,
    QgsProcessingOutputMultipleLayers,
    QgsProcessingParameterDefinition,
    QgsProject,
    QgsRasterLayer,
)
from synthetic import DATES, RecordingFeedback, spectra, write_raster

RASTERS = ("from_to", "last_change", "change_count", "majority")
FILES = ("AREAS", "TRANSITIONS", "REPORT")


@pytest.fixture
def algorithm(plugin):
    return QgsApplication.processingRegistry().createAlgorithmById("iikmc:classchanges")


@pytest.fixture
def layers(tmp_path) -> list[str]:
    return write_layers(tmp_path / "in", planes())


@pytest.fixture
def parameters(layers, tmp_path) -> dict:
    files = dict(zip(FILES, ("areas.csv", "transitions.csv", "report.html")))
    made = {key: str(tmp_path / "made" / name) for key, name in files.items()}
    return {"INPUT": layers, "OUTPUT": str(tmp_path / "out"), **made}


def pixels(path) -> np.ndarray:
    return gdal.Open(str(path)).ReadAsArray()


def rows_of(path: str) -> list[dict[str, str]]:
    with open(path, encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_contract(algorithm):
    optional = QgsProcessingParameterDefinition.Flag.FlagOptional
    found = {
        item.name(): (item.type(), item.defaultValue(), bool(item.flags() & optional))
        for item in algorithm.parameterDefinitions()
    }
    assert found == {
        "INPUT": ("multilayer", None, False),
        "DATES": ("string", "", True),
        "FROM": ("string", "", True),
        "TO": ("string", "", True),
        "LOAD": ("boolean", True, False),
        "OUTPUT": ("folderDestination", None, False),
        "AREAS": ("fileDestination", None, True),
        "TRANSITIONS": ("fileDestination", None, True),
        "REPORT": ("fileDestination", None, True),
    }
    outputs = {item.name(): type(item) for item in algorithm.outputDefinitions()}
    assert set(outputs) == {"OUTPUT", "OUTPUT_LAYERS", *FILES}
    assert outputs["OUTPUT_LAYERS"] is QgsProcessingOutputMultipleLayers
    assert (algorithm.group(), algorithm.groupId()) == ("Interpret", "interpret")
    assert algorithm.shortHelpString() and "change detection" in algorithm.tags()
    assert not algorithm.icon().isNull()
    for item in algorithm.parameterDefinitions():
        assert len(item.help()) > 20 and item.description() != item.name()
    for key in FILES:
        assert not algorithm.parameterDefinition(key).createByDefault()


def test_outputs(plugin, parameters, tmp_path):
    made = processing.run("iikmc:classchanges", parameters)
    out = tmp_path / "out"
    assert made["OUTPUT_LAYERS"] == [str(out / f"{name}.tif") for name in RASTERS]
    with_tables = {f"{name}.tif.aux.xml" for name in RASTERS if name != "change_count"}
    expected = {f"{name}.{end}" for name in RASTERS for end in ("tif", "qml")} | with_tables
    assert {item.name for item in out.iterdir()} == expected
    assert all(Path(made[key]).is_file() for key in FILES)
    stack = planes()
    first, last = stack[0].astype(int), stack[2].astype(int)
    codes = np.where((first > 0) & (last > 0), (first - 1) * 4 + last, 0)
    np.testing.assert_array_equal(pixels(out / "from_to.tif"), codes)
    changes = (stack[1:] != stack[:-1]).sum(axis=0).astype(int)
    np.testing.assert_array_equal(
        pixels(out / "change_count.tif"), np.where(first > 0, changes, 65_535)
    )
    names = {item.name for item in (tmp_path / "in").iterdir()}
    assert names == {
        f"place_{date}_classes.{end}" for date in DATES for end in ("tif", "tif.aux.xml")
    }


@pytest.mark.parametrize(
    "place",
    [{}, {"epsg": 3035, "pixel": 10.0}, {"epsg": 2225, "origin": (6_000_000.0, 2_000_000.0)}],
)
def test_areas_are_those_that_qgis_counts(plugin, tmp_path, place):
    paths = write_layers(tmp_path / "in", planes(), **place)
    table = str(tmp_path / "areas.csv")
    processing.run(
        "iikmc:classchanges", {"INPUT": paths, "OUTPUT": str(tmp_path / "out"), "AREAS": table}
    )
    ours = rows_of(table)
    for path, date in zip(paths, DATES):
        target = str(tmp_path / f"{date}.csv")
        report = processing.run(
            "native:rasterlayeruniquevaluesreport",
            {"INPUT": path, "BAND": 1, "OUTPUT_TABLE": target},
        )
        theirs = {float(row["value"]): row for row in rows_of(report["OUTPUT_TABLE"])}
        here = [row for row in ours if row["date"] == str(date)]
        assert len(here) == len(theirs) == 4
        # Square metres, or square US survey feet.
        unit = (1200 / 3937) ** 2 if place.get("epsg") == 2225 else 1.0
        area = next(key for key in rows_of(target)[0] if key not in ("value", "count"))
        for row in here:
            counted = theirs[float(row["class"])]
            assert int(row["pixels"]) == int(float(counted["count"]))
            assert float(row["hectares"]) == pytest.approx(float(counted[area]) * unit / 1e4)


def test_styles_are_beside_the_rasters(plugin, parameters, tmp_path):
    processing.run("iikmc:classchanges", parameters)
    legends = {}
    for name in RASTERS:
        layer = QgsRasterLayer(str(tmp_path / "out" / f"{name}.tif"), name)
        renderer = layer.renderer()
        legends[name] = renderer.type()
        if renderer.type() == "paletted":
            legends[name] = {item.value: item.label for item in renderer.classes()}
    assert legends["change_count"] == "singlebandpseudocolor"
    assert list(legends["majority"].values()) == list(NAMES)
    assert legends["from_to"][1] == "Water (unchanged)"
    assert legends["from_to"][2] == "Water → Forest"
    assert len(legends["from_to"]) == 16
    assert legends["last_change"] == {
        0: "never",
        **{int(f"{date:%Y%m%d}"): str(date) for date in DATES[1:]},
    }


def test_loaded_as_one_group_also_when_run_again(qgis_new_project, plugin, parameters):
    project = QgsProject.instance()
    for _ in range(2):
        processing.runAndLoadResults("iikmc:classchanges", parameters)
        (group,) = project.layerTreeRoot().children()
        assert group.name() == f"Class changes, {DATES[0]} to {DATES[2]}"
        assert [node.name() for node in group.children()] == [
            f"Change from {DATES[0]} to {DATES[2]}",
            "Date of last change",
            "Number of changes",
            "Most frequent class",
        ]
        kinds = [node.layer().renderer().type() for node in group.findLayers()]
        assert kinds == ["paletted", "paletted", "singlebandpseudocolor", "paletted"]


def test_nothing_is_loaded_unasked(qgis_new_project, plugin, parameters):
    processing.runAndLoadResults("iikmc:classchanges", {**parameters, "LOAD": False})
    assert not QgsProject.instance().mapLayers()


def test_classes_of_classifyseries_are_read_as_they_come(plugin, series, tmp_path):
    classified = processing.run(
        "iikmc:classifyseries",
        {"INPUT": list(series.scenes), "CLASSES": 4, "OUTPUT": str(tmp_path / "classes")},
    )
    made = processing.run(
        "iikmc:classchanges",
        {"INPUT": classified["OUTPUT_LAYERS"], "OUTPUT": str(tmp_path / "out"), "TO": "2019-05-12"},
    )
    # Noise apart, the place does not change.
    assert set(np.unique(pixels(made["OUTPUT_LAYERS"][0]))) == {0, 1, 6, 11, 16}
    assert set(np.unique(pixels(made["OUTPUT_LAYERS"][2]))) == {0, 65_535}


def test_dates_of_layers_in_the_project_win(plugin, layers, tmp_path):
    from qgis.core import Qgis, QgsDateTimeRange
    from qgis.PyQt.QtCore import QDate, QDateTime, Qt, QTime

    loaded = [QgsRasterLayer(path, "x") for path in layers]
    temporal = loaded[0].temporalProperties()
    temporal.setMode(Qgis.RasterTemporalMode.FixedTemporalRange)
    begin = QDateTime(QDate(2022, 2, 2), QTime(0, 0), Qt.TimeSpec.UTC)
    temporal.setFixedTemporalRange(QgsDateTimeRange(begin, begin.addDays(1)))
    temporal.setIsActive(True)
    table = str(tmp_path / "areas.csv")
    processing.run(
        "iikmc:classchanges", {"INPUT": loaded, "OUTPUT": str(tmp_path / "out"), "AREAS": table}
    )
    assert {row["date"] for row in rows_of(table)} == {str(DATES[1]), str(DATES[2]), "2022-02-02"}


def floats(folder: Path) -> str:
    values = np.ones((1, 96, 96), np.float32)
    return write_raster(folder / "float_2020-01-01.tif", values)


CASES = {
    "no_layer": (lambda p, f: {"INPUT": []}, "no class layer"),
    "one_date": (lambda p, f: {"INPUT": p["INPUT"][:1]}, "of one date"),
    "scenes": (
        lambda p, f: {"INPUT": [write_raster(f / "s_2020-01-01.tif", spectra(1)), *p["INPUT"]]},
        "'s_2020-01-01' has 3 bands; expected a class raster",
    ),
    "floats": (lambda p, f: {"INPUT": [*p["INPUT"], floats(f)]}, "values of type float32"),
    "grid": (
        lambda p, f: {"INPUT": [*p["INPUT"], *write_layers(f / "g", planes(1), pixel=10.0)]},
        "has pixels of 10, 10, the first layer",
    ),
    "crs": (
        lambda p, f: {"INPUT": [*p["INPUT"], *write_layers(f / "g", planes(1), epsg=32634)]},
        "EPSG:32634",
    ),
    "classes": (
        lambda p, f: {
            "INPUT": [*p["INPUT"], *write_layers(f / "g", planes(1), names=(*NAMES, "x"))]
        },
        "has 5 classes, the first layer",
    ),
    "names": (
        lambda p, f: {
            "INPUT": [*p["INPUT"], *write_layers(f / "g", planes(1), names=("Sea", *NAMES[1:]))]
        },
        "calls class 1 'Sea'",
    ),
    "from": (lambda p, f: {"FROM": "2019-04-03"}, "the nearest are 2019-04-02 and 2019-05-12"),
    "to": (lambda p, f: {"TO": "2019-04-02"}, "FROM is 2019-04-02, which is TO as well"),
    "no_date": (lambda p, f: {"FROM": "spring"}, "FROM cannot be used: 'spring' is not a date"),
    "dates": (lambda p, f: {"DATES": "2019-01-01"}, "1 dates for 3 class layers"),
    "missing": (lambda p, f: {"INPUT": [*p["INPUT"], str(f / "gone.tif")]}, "gone.tif"),
    "no_folder": (lambda p, f: {"OUTPUT": ""}, "OUTPUT is missing"),
    "same_file": (lambda p, f: {"AREAS": p["REPORT"]}, "REPORT is '"),
    "input_as_table": (lambda p, f: {"AREAS": p["INPUT"][0]}, "which is an input"),
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


class Cancelling(RecordingFeedback):
    """Cancels at some percent, and remembers when."""

    def __init__(self, percent: float) -> None:
        super().__init__()
        self.at = 0.0
        self.progressChanged.connect(lambda now: self._stop() if now >= percent else None)

    def _stop(self) -> None:
        if not self.isCanceled():
            self.at = time.perf_counter()
            self.cancel()


@pytest.mark.parametrize("percent", [5.0, 60.0, 84.0])
def test_cancel_leaves_nothing(algorithm, tmp_path, percent):
    layers = write_layers(
        tmp_path / "in", np.random.default_rng(0).integers(1, 5, (3, 2600, 2600), np.uint8)
    )
    wanted = {"INPUT": layers, "OUTPUT": str(tmp_path / "out"), "REPORT": str(tmp_path / "r.html")}
    feedback = Cancelling(percent)
    results, ok = algorithm.run(wanted, QgsProcessingContext(), feedback)
    assert feedback.at and time.perf_counter() - feedback.at < 1.0
    assert ok and results == {}
    assert [item.name for item in tmp_path.iterdir()] == ["in"]
