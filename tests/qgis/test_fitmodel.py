"""iikmc:fitmodel gives the model and the report of iikmc:classifyseries, and nothing else."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import numpy as np
import processing
import pytest
from qgis.core import (
    QgsApplication,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProject,
)
from synthetic import BANDS, RecordingFeedback, SeriesOnDisk, spectra, write_raster

from iikmc.core import ClassModel

NUMBERS = (
    "CLASSES_FOUND",
    "ITERATIONS",
    "CONVERGED",
    "CHANGED_FRACTION",
    "INERTIA",
    "VALID_PIXELS",
)
ALGORITHMS = ("classifyseries", "fitmodel", "applymodel")


@pytest.fixture
def fitmodel(plugin):
    """A fresh iikmc:fitmodel."""
    return QgsApplication.processingRegistry().createAlgorithmById("iikmc:fitmodel")


def height_model(folder: Path) -> str:
    """Write heights on a coarser grid that covers the scenes and more."""
    heights = np.add.outer(np.arange(40), np.arange(40))[None].astype(np.float32)
    return write_raster(
        folder / "height.tif", heights, pixel=100.0, origin=(499_000.0, 4_650_000.0)
    )


VARIANTS = {
    "plain": lambda s, f: {},
    "masks": lambda s, f: {"MASKS": list(s.masks), "MASK_KIND": 3},
    "bands": lambda s, f: {"BANDS": "red, blue", "SCALING": 1, "EMPTY": 1},
    "static": lambda s, f: {"STATIC": [height_model(f)], "SCALING": 2, "INIT": 1, "SEED": 4},
    "harmonised": lambda s, f: {"HARMONISE": 1, "STRATEGY": 1, "SAMPLE_FRACTION": 0.3},
    "extent": lambda s, f: {"EXTENT": "500400,501000,4648000,4648700 [EPSG:32633]", "ORDER": 1},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_model_is_byte_for_byte_that_of_classifyseries(variant, plugin, series, tmp_path):
    change = VARIANTS[variant](series, tmp_path)
    common = {"INPUT": list(series.scenes), "CLASSES": 4, **change}
    files = [str(tmp_path / name) for name in ("fitted.json", "classified.json")]
    fitted = processing.run("iikmc:fitmodel", {**common, "MODEL": files[0]})
    classified = processing.run(
        "iikmc:classifyseries", {**common, "MODEL": files[1], "OUTPUT": str(tmp_path / "out")}
    )
    assert Path(files[0]).read_bytes() == Path(files[1]).read_bytes()
    assert {key: fitted[key] for key in NUMBERS} == {key: classified[key] for key in NUMBERS}


def test_two_files_are_written_and_nothing_else(plugin, series, tmp_path):
    before = {item for item in tmp_path.rglob("*") if item.is_file()}
    made = processing.run(
        "iikmc:fitmodel",
        {
            "INPUT": list(series.scenes),
            "MASKS": list(series.masks),
            "MASK_KIND": 3,
            "CLASSES": 4,
            "MODEL": str(tmp_path / "made" / "model.json"),
            "REPORT": str(tmp_path / "told" / "report.html"),
        },
    )
    assert set(made) == {"MODEL", "REPORT", *NUMBERS}
    after = {item for item in tmp_path.rglob("*") if item.is_file()}
    assert after - before == {Path(made["MODEL"]), Path(made["REPORT"])}
    assert {item for item in tmp_path.iterdir()} == {
        tmp_path / name for name in ("scenes", "made", "told")
    }


def test_the_model_alone_may_be_asked_for(plugin, series):
    made = processing.run(
        "iikmc:fitmodel",
        {"INPUT": list(series.scenes), "CLASSES": 4, "MODEL": "TEMPORARY_OUTPUT"},
    )
    assert "REPORT" not in made
    assert len(ClassModel.load(made["MODEL"]).names) == 4


def test_the_report_tells_all_but_maps(plugin, series, tmp_path):
    common = {
        "INPUT": list(series.scenes),
        "MASKS": list(series.masks),
        "MASK_KIND": 3,
        "CLASSES": 4,
    }
    paths = [tmp_path / name for name in ("fitted.html", "classified.html")]
    processing.run(
        "iikmc:fitmodel", {**common, "MODEL": str(tmp_path / "m.json"), "REPORT": str(paths[0])}
    )
    processing.run(
        "iikmc:classifyseries",
        {**common, "OUTPUT": str(tmp_path / "out"), "REPORT": str(paths[1])},
    )
    fitted, classified = (path.read_text("utf-8") for path in paths)
    assert "Map of the classes" in classified and "Map of the classes" not in fitted
    assert "there are no rasters" in fitted
    sections = [re.findall("<h2>(.*?)</h2>", text) for text in (fitted, classified)]
    assert sections[0] == sections[1]
    # Areas and signatures are those of the classified scenes.
    for title in ("Class areas", "Signatures", "Quality"):
        parts = [
            text.split(f"<h2>{title}</h2>")[1].split("<h2>")[0] for text in (fitted, classified)
        ]
        tables = [re.findall("<table.*?</table>", part, re.S) for part in parts]
        assert tables[0] and tables[0] == tables[1], title


def test_the_report_says_why_pixels_do_not_count(plugin, series, tmp_path):
    """The mask hides 100 of 9216 pixels; nodata lies in a corner, 16 on the first date."""
    processing.run(
        "iikmc:fitmodel",
        {
            "INPUT": list(series.scenes),
            "MASKS": list(series.masks),
            "MASK_KIND": 3,
            "CLASSES": 4,
            "MODEL": str(tmp_path / "m.json"),
            "REPORT": str(tmp_path / "report.html"),
        },
    )
    text = (tmp_path / "report.html").read_text("utf-8")
    scenes = text.split("The rest")[1]
    assert re.search(r"0\.2\s?% nodata, 1\.1\s?% masked", scenes)
    record = json.loads((tmp_path / "m.json").read_text("utf-8"))["fit"]["scenes"]
    assert [item["left_out"] for item in record] == [
        {"nodata": (4 + rank) ** 2, "mask": 100} for rank in range(3)
    ]


def test_progress_rises_to_the_end(fitmodel, series, tmp_path):
    feedback = RecordingFeedback()
    parameters = {
        "INPUT": list(series.scenes),
        "CLASSES": 4,
        "MODEL": str(tmp_path / "m.json"),
        "REPORT": str(tmp_path / "r.html"),
    }
    _, ok = fitmodel.run(parameters, QgsProcessingContext(), feedback)
    assert ok, feedback.errors
    assert feedback.percents == sorted(feedback.percents) and feedback.percents[-1] == 100


@pytest.mark.parametrize("percent", [0, 20, 60, 95])
def test_a_cancel_leaves_nothing(percent, fitmodel, series, tmp_path):
    feedback = RecordingFeedback()
    feedback.progressChanged.connect(lambda now: feedback.cancel() if now >= percent else None)
    if not percent:
        feedback.cancel()
    parameters = {
        "INPUT": list(series.scenes),
        "CLASSES": 4,
        "MODEL": str(tmp_path / "new" / "m.json"),
        "REPORT": str(tmp_path / "new" / "r.html"),
    }
    results, ok = fitmodel.run(parameters, QgsProcessingContext(), feedback)
    assert ok and results == {} and not feedback.errors
    assert not (tmp_path / "new").exists()


BAD = {
    "no_model": (lambda s, f: {"MODEL": None}, "MODEL is missing"),
    "model_is_folder": (lambda s, f: {"MODEL": str(f)}, "is a folder"),
    "model_is_scene": (lambda s, f: {"MODEL": s.scenes[1]}, "which is an input"),
    "model_is_static": (
        lambda s, f: dict.fromkeys(("MODEL",), height_model(f)) | {"STATIC": [height_model(f)]},
        "which is an input",
    ),
    "report_is_model": (lambda s, f: {"REPORT": str(f / "new" / "m.json")}, "which is the model"),
    "no_scene": (lambda s, f: {"INPUT": []}, "no scene"),
    "scaling": (lambda s, f: {"SCALING": 7}, "SCALING"),
    "static_missing": (lambda s, f: {"STATIC": [str(f / "gone.tif")]}, "gone.tif"),
    "static_elsewhere": (
        lambda s, f: {
            "STATIC": [write_raster(f / "far.tif", spectra(0)[:1], origin=(900_000.0, 1_000_000.0))]
        },
        "'far' lies outside the scenes",
    ),
    "static_among_bands": (lambda s, f: {"BANDS": "blue,height"}, "no band height"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_answered_with_a_sentence(name, fitmodel, series, tmp_path):
    change, expected = BAD[name]
    parameters = {
        "INPUT": list(series.scenes),
        "CLASSES": 4,
        "MODEL": str(tmp_path / "new" / "m.json"),
        **change(series, tmp_path),
    }
    context = QgsProcessingContext()
    context.setProject(QgsProject.instance())
    ok, message = fitmodel.checkParameterValues(parameters, context)
    assert not ok and expected in message and "\n" not in message
    assert not (tmp_path / "new").exists()
    with pytest.raises(QgsProcessingException):
        processing.run("iikmc:fitmodel", parameters)
    assert not (tmp_path / "new").exists()


def test_a_model_to_start_from_needs_its_static_features(plugin, series, tmp_path):
    heights = height_model(tmp_path)
    first = str(tmp_path / "first.json")
    common = {"INPUT": list(series.scenes), "CLASSES": 4}
    processing.run("iikmc:fitmodel", {**common, "STATIC": [heights], "SCALING": 1, "MODEL": first})
    again = {**common, "INIT": 2, "MODEL_IN": first, "MODEL": str(tmp_path / "again.json")}
    with pytest.raises(QgsProcessingException, match=r"static features height.*STATIC"):
        processing.run("iikmc:fitmodel", again)
    with pytest.raises(QgsProcessingException, match="scaling is 'zscore'"):
        processing.run("iikmc:fitmodel", {**again, "STATIC": [heights], "SCALING": 2})
    made = processing.run("iikmc:fitmodel", {**again, "STATIC": [heights]})
    model = ClassModel.load(made["MODEL"])
    assert model.fit.settings.scaling == "minmax"
    assert model.space == ClassModel.load(first).space


def cut_short(path: str) -> None:
    """Leave the header of a raster and nothing of its pixels."""
    whole = Path(path).read_bytes()
    Path(path).write_bytes(whole[:8192])


@pytest.fixture
def many(tmp_path) -> SeriesOnDisk:
    """Forty scenes whose pixels are gone."""
    folder = tmp_path / "many"
    folder.mkdir()
    scenes = []
    for number in range(40):
        path = folder / f"s_2020-{1 + number // 28:02d}-{1 + number % 28:02d}.tif"
        scenes.append(write_raster(path, spectra(number % 3, 600), names=BANDS, nodata=0))
        cut_short(scenes[-1])
    return SeriesOnDisk(tuple(scenes), ())


@pytest.mark.parametrize("name", ALGORITHMS)
def test_checks_are_quick_and_read_no_pixel(name, plugin, series, many, tmp_path):
    model = str(tmp_path / "model.json")
    processing.run("iikmc:fitmodel", {"INPUT": list(series.scenes), "CLASSES": 4, "MODEL": model})
    parameters = {
        "INPUT": list(many.scenes),
        "CLASSES": 4,
        "GRID": 2,
        "EXTENT": "500400,501000,4648000,4648700 [EPSG:32633]",
        "MODEL": model if name == "applymodel" else str(tmp_path / "new.json"),
        "OUTPUT": str(tmp_path / "out"),
    }
    algorithm = QgsApplication.processingRegistry().createAlgorithmById(f"iikmc:{name}")
    context = QgsProcessingContext()
    context.setProject(QgsProject.instance())
    began = time.perf_counter()
    ok, message = algorithm.checkParameterValues(parameters, context)
    assert ok, message
    assert time.perf_counter() - began < 2.0
    with pytest.raises(QgsProcessingException, match="s_2020-"):
        algorithm.run(parameters, context, RecordingFeedback(), {}, False)
