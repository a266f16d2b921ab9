"""Bad input is answered with one sentence that names the trouble, before anything is written."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import processing
import pytest
from qgis.core import (
    QgsProcessingContext,
    QgsProcessingException,
    QgsProject,
    QgsRasterLayer,
    QgsVectorLayer,
)
from synthetic import BANDS, ORIGIN, RecordingFeedback, spectra, write_raster

RUN_ONLY = {"fewer_spectra", "no_valid_pixel", "broken_file", "scheduler_file"}


def wms() -> QgsRasterLayer:
    source = "crs=EPSG:4326&format=image/png&layers=a&styles&url=http://127.0.0.1:9/"
    return QgsRasterLayer(source, "My WMS", "wms")


def other_scene(folder: Path, **options) -> str:
    planes = options.pop("planes", spectra(1))
    return write_raster(folder / "odd_2019-06-01.tif", planes, **options)


def damaged_model(folder: Path) -> str:
    path = folder / "model.json"
    path.write_text(json.dumps({"format": "something else"}), "utf-8")
    return str(path)


def model_of_other_bands(folder: Path) -> str:
    scene = write_raster(folder / "two_2018-01-01.tif", spectra(1)[:2], names=("nir", "swir"))
    path = str(folder / "two.json")
    processing.run(
        "iikmc:classifyseries",
        {"INPUT": [scene], "CLASSES": 3, "OUTPUT": str(folder / "two"), "MODEL": path},
    )
    return path


def broken(folder: Path) -> str:
    path = Path(other_scene(folder, names=BANDS))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    return str(path)


def blocked(folder: Path) -> str:
    (folder / "file").write_text("not a folder", "utf-8")
    return str(folder / "file" / "out")


# Name: what differs from a good run, and what the sentence has to say.
CASES = {
    "no_layer": (lambda s, f: {"INPUT": []}, "no scene"),
    "no_input": (lambda s, f: {"INPUT": None}, "no scene"),
    "missing_file": (lambda s, f: {"INPUT": [*s.scenes, str(f / "gone.tif")]}, "gone.tif"),
    "wms": (lambda s, f: {"INPUT": [*s.scenes, wms()]}, "'My WMS' is not a raster file"),
    "memory_raster": (
        lambda s, f: {"INPUT": [QgsRasterLayer("MEM:::DATAPOINTER=0", "In memory")]},
        "'In memory' is not a raster file",
    ),
    "vector": (
        lambda s, f: {"INPUT": [*s.scenes, QgsVectorLayer("Point", "Points", "memory")]},
        "'Points' is no raster layer",
    ),
    "broken_source": (
        lambda s, f: {"INPUT": [QgsRasterLayer(str(f / "x.tif"), "Lost scene")]},
        "'Lost scene' cannot be opened",
    ),
    "band_count": (
        lambda s, f: {"INPUT": [*s.scenes, other_scene(f, planes=spectra(1)[:2])]},
        "'odd_2019-06-01' has 2 bands",
    ),
    "no_such_band": (lambda s, f: {"BANDS": "1,4"}, "has no band 4"),
    "no_such_name": (lambda s, f: {"BANDS": "blue,nir"}, "has no band nir"),
    "crs": (
        lambda s, f: {"INPUT": [*s.scenes, other_scene(f, epsg=32634)]},
        "'odd_2019-06-01' has the CRS EPSG:32634",
    ),
    "pixel_size": (
        lambda s, f: {"INPUT": [*s.scenes, other_scene(f, pixel=10.0)]},
        "'odd_2019-06-01' has pixels of 10, 10",
    ),
    "origin": (
        lambda s, f: {"INPUT": [*s.scenes, other_scene(f, origin=(ORIGIN[0] + 20, ORIGIN[1]))]},
        "'odd_2019-06-01' has its origin at",
    ),
    "size": (
        lambda s, f: {"INPUT": [*s.scenes, other_scene(f, planes=spectra(1, 90))]},
        "'odd_2019-06-01' has a size of 90",
    ),
    "mask_count": (lambda s, f: {"MASKS": list(s.masks[:2])}, "2 masks for 3 scenes"),
    "mask_missing": (
        lambda s, f: {"MASKS": [str(f / "gone_mask.tif"), *s.masks[1:]]},
        "gone_mask.tif",
    ),
    "mask_grid": (
        lambda s, f: {
            "MASKS": [
                *s.masks[:2],
                write_raster(f / "odd_mask.tif", np.ones((1, 90, 90), np.uint8)),
            ]
        },
        "'odd_mask' has a size of 90",
    ),
    "mask_order": (
        lambda s, f: {"MASKS": [s.masks[1], s.masks[0], s.masks[2]]},
        "in the order of the scenes",
    ),
    "date_count": (lambda s, f: {"DATES": "2019-04-02"}, "1 dates for 3 scenes"),
    "date_unreadable": (lambda s, f: {"DATES": "2019-04-02,someday,2019-05-01"}, "'someday'"),
    "date_unknown": (
        lambda s, f: {"INPUT": [write_raster(f / "undated.tif", spectra(0))]},
        "'undated' has no date",
    ),
    "classes": (lambda s, f: {"CLASSES": 300}, "classes is 300"),
    "output_blocked": (lambda s, f: {"OUTPUT": blocked(f)}, "cannot be written"),
    "model_blocked": (lambda s, f: {"MODEL": f"{blocked(f)}/m.json"}, "cannot be written"),
    "model_is_folder": (lambda s, f: {"MODEL": str(f)}, "is a folder"),
    "model_is_scene": (lambda s, f: {"MODEL": str(s.scenes[1])}, "which is an input"),
    "report_is_mask": (
        lambda s, f: {"MASKS": list(s.masks), "REPORT": str(s.masks[0])},
        "which is an input",
    ),
    "model_is_class_layer": (
        lambda s, f: {"MODEL": str(f / "result" / "out" / f"{Path(s.scenes[0]).stem}_classes.tif")},
        "which is a class layer",
    ),
    "report_is_model": (
        lambda s, f: dict.fromkeys(("MODEL", "REPORT"), str(f / "result" / "same")),
        "which is the model",
    ),
    "model_missing": (lambda s, f: {"INIT": 2}, "MODEL_IN"),
    "model_damaged": (
        lambda s, f: {"INIT": 2, "MODEL_IN": damaged_model(f)},
        "not a class model",
    ),
    "model_other_bands": (
        lambda s, f: {"INIT": 2, "MODEL_IN": model_of_other_bands(f)},
        "model has 2 bands",
    ),
    "engine_cupy": (lambda s, f: {"ENGINE": 3}, "cupy"),
    "scheduler_of_no_use": (
        lambda s, f: {"ENGINE": 2, "SCHEDULER": "tcp://127.0.0.1:8786"},
        "is for the engine dask",
    ),
    "scheduler_file": (
        lambda s, f: {"ENGINE": 4, "SCHEDULER": str(f / "gone_scheduler")},
        "no Dask scheduler file",
    ),
    "fewer_spectra": (
        lambda s, f: {"INPUT": [other_scene(f, planes=np.full((3, 96, 96), 7, np.uint16))]},
        "distinct",
    ),
    "no_valid_pixel": (
        lambda s, f: {"INPUT": [other_scene(f, planes=np.zeros((3, 96, 96), np.uint16), nodata=0)]},
        "valid pixel",
    ),
    "broken_file": (lambda s, f: {"INPUT": [*s.scenes, broken(f)]}, "odd_2019-06-01.tif"),
}


@pytest.fixture
def bad(plugin, series, tmp_path, request):
    """Parameters of a run that cannot work, and what the answer has to contain."""
    change, expected = CASES[request.param]
    good = {"INPUT": list(series.scenes), "CLASSES": 4, "OUTPUT": str(tmp_path / "result" / "out")}
    return {**good, **change(series, tmp_path)}, expected


def assert_one_sentence(text: str, expected: str) -> None:
    assert expected in text
    assert "\n" not in text and "Traceback" not in text
    assert text.endswith(".")


@pytest.mark.parametrize("bad", sorted(CASES.keys() - RUN_ONLY), indirect=True)
def test_check_answers(bad, algorithm, tmp_path):
    parameters, expected = bad
    context = QgsProcessingContext()
    context.setProject(QgsProject.instance())
    ok, message = algorithm.checkParameterValues(parameters, context)
    assert not ok
    assert_one_sentence(message, expected)
    assert not (tmp_path / "result").exists()


@pytest.mark.parametrize("bad", sorted(CASES), indirect=True)
def test_run_without_check_raises(bad, algorithm, tmp_path):
    parameters, expected = bad
    context = QgsProcessingContext()
    with pytest.raises(QgsProcessingException) as caught:
        algorithm.run(parameters, context, RecordingFeedback(), {}, False)
    assert_one_sentence(str(caught.value), expected)
    assert not (tmp_path / "result").exists()


@pytest.mark.parametrize("bad", ["crs"], indirect=True)
def test_processing_run_raises_and_writes_nothing(bad, tmp_path):
    parameters, expected = bad
    with pytest.raises(QgsProcessingException, match=re.escape(expected)):
        processing.run("iikmc:classifyseries", parameters)
    assert not (tmp_path / "result").exists()


def test_what_was_there_before_stays(algorithm, series, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine", "utf-8")
    parameters = {"INPUT": [*series.scenes, broken(tmp_path)], "CLASSES": 4, "OUTPUT": str(out)}
    with pytest.raises(QgsProcessingException):
        algorithm.run(parameters, QgsProcessingContext(), RecordingFeedback(), {}, False)
    assert [item.name for item in out.iterdir()] == ["notes.txt"]


def test_not_a_number_and_infinity_are_nodata(plugin, tmp_path):
    planes = spectra(0).astype(np.float32)
    planes[:, 50, 50] = np.nan
    planes[1, 60, 60] = np.inf
    scene = write_raster(tmp_path / "float_2019-04-02.tif", planes, nodata=0)
    made = processing.run(
        "iikmc:classifyseries", {"INPUT": [scene], "CLASSES": 4, "OUTPUT": str(tmp_path / "out")}
    )
    assert made["VALID_PIXELS"] == 96 * 96 - 16 - 2
