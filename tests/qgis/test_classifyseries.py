"""What a run of iikmc:classifyseries leaves on disk, read back with GDAL and QGIS."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import processing
import pytest
from osgeo import gdal
from qgis.core import QgsProcessingContext, QgsRasterLayer
from synthetic import DATES, ORIGIN, PIXEL, RecordingFeedback, spectra, write_raster

from iikmc.core import ClassModel


def run(parameters: dict) -> dict:
    return processing.run("iikmc:classifyseries", parameters)


@pytest.fixture
def result(plugin, series, tmp_path):
    """A run with everything asked for."""
    return run(
        {
            "INPUT": list(series.scenes),
            "MASKS": list(series.masks),
            "MASK_KIND": 3,
            "CLASSES": 4,
            "OUTPUT": str(tmp_path / "out"),
            "MODEL": str(tmp_path / "made" / "model.json"),
            "REPORT": str(tmp_path / "made" / "report.html"),
        }
    )


def labels(path: str) -> np.ndarray:
    return gdal.Open(path).ReadAsArray()


def test_results_name_what_was_made(result, tmp_path):
    assert result["OUTPUT"] == str(tmp_path / "out")
    assert result["OUTPUT_LAYERS"] == [
        str(tmp_path / "out" / f"place_{date}_classes.tif") for date in DATES
    ]
    assert all(Path(result[key]).is_file() for key in ("MODEL", "REPORT"))
    assert result["CLASSES_FOUND"] == 4
    assert result["CONVERGED"] == 1
    assert result["ITERATIONS"] >= 1
    assert 0 <= result["CHANGED_FRACTION"] <= 1e-4
    assert result["INERTIA"] > 0


def test_folder_holds_the_outputs_and_nothing_else(result, tmp_path):
    endings = ("tif", "tif.aux.xml", "qml")
    expected = {f"place_{date}_classes.{ending}" for date in DATES for ending in endings}
    assert {item.name for item in (tmp_path / "out").iterdir()} == expected


def test_inputs_are_left_as_they_were(result, tmp_path):
    found = {item.name for item in (tmp_path / "scenes").iterdir()}
    assert found == {f"place_{date}{end}" for date in DATES for end in (".tif", "_scl.tif")}


def test_classes_are_the_kinds_of_ground_on_every_date(result):
    valid = 0
    for rank, path in enumerate(result["OUTPUT_LAYERS"]):
        found = labels(path)
        rows, columns = np.mgrid[: found.shape[0], : found.shape[1]]
        expected = 1 + (rows // 48) * 2 + columns // 48  # darkest first
        expected[spectra(rank)[0] == 0] = 0
        expected[40:50, 10 * rank : 10 * rank + 10] = 0  # the mask's cloud
        np.testing.assert_array_equal(found, expected)
        valid += np.count_nonzero(expected)
    assert result["VALID_PIXELS"] == valid


def test_raster_carries_its_place_colours_names_and_date(result):
    model = ClassModel.load(result["MODEL"])
    for path, date in zip(result["OUTPUT_LAYERS"], DATES):
        dataset = gdal.Open(path)
        band = dataset.GetRasterBand(1)
        assert dataset.GetGeoTransform() == (ORIGIN[0], PIXEL, 0.0, ORIGIN[1], 0.0, -PIXEL)
        assert dataset.GetSpatialRef().GetAuthorityCode(None) == "32633"
        assert (band.DataType, band.GetNoDataValue()) == (gdal.GDT_Byte, 0)
        table = band.GetColorTable()
        assert [table.GetColorEntry(n)[:3] for n in range(1, 5)] == list(model.colours)
        assert band.GetCategoryNames()[1:] == list(model.names)
        attributes = band.GetDefaultRAT()
        assert [attributes.GetValueAsInt(row, 0) for row in range(4)] == [1, 2, 3, 4]
        assert dataset.GetMetadataItem("ACQUISITION_DATE") == str(date)


def test_style_beside_the_raster_is_its_palette(result):
    model = ClassModel.load(result["MODEL"])
    for path, date in zip(result["OUTPUT_LAYERS"], DATES):
        layer = QgsRasterLayer(path, "classes", "gdal", QgsRasterLayer.LayerOptions(False))
        _, loaded = layer.loadNamedStyle(layer.styleURI())
        assert loaded
        legend = [
            (item.value, item.label, item.color.getRgb()[:3]) for item in layer.renderer().classes()
        ]
        numbers = range(1, len(model.names) + 1)
        assert legend == list(zip(numbers, model.names, model.colours))
        begin = layer.temporalProperties().fixedTemporalRange().begin()
        assert layer.temporalProperties().isActive()
        assert begin.date().toPyDate() == date


def test_opening_the_raster_shows_the_style(result):
    layer = QgsRasterLayer(result["OUTPUT_LAYERS"][0], "classes")
    assert layer.renderer().type() == "paletted"
    assert [item.label for item in layer.renderer().classes()] == [
        f"Class {number}" for number in range(1, 5)
    ]


def test_engines_and_threads_give_the_same_bytes(plugin, series, tmp_path):
    base = {"INPUT": list(series.scenes), "CLASSES": 4}
    written = []
    for engine, threads in ((1, 1), (2, 1), (2, 2), (0, 0)):
        out = tmp_path / f"{engine}_{threads}"
        made = run({**base, "ENGINE": engine, "THREADS": threads, "OUTPUT": str(out)})
        written.append([Path(path).read_bytes() for path in made["OUTPUT_LAYERS"]])
    assert all(item == written[0] for item in written[1:])


def test_a_model_keeps_its_numbers_names_and_colours(plugin, series, result, tmp_path):
    path = tmp_path / "named.json"
    content = json.loads(Path(result["MODEL"]).read_text("utf-8"))
    for item, name in zip(content["classes"], ("Water", "Field", "Rock", "Snow")):
        item["name"] = name
    content["classes"].reverse()
    for number, item in enumerate(content["classes"], start=1):
        item["number"] = number
    path.write_text(json.dumps(content), "utf-8")
    again = run(
        {
            "INPUT": list(series.scenes),
            "CLASSES": 2,  # not used
            "INIT": 2,
            "MODEL_IN": str(path),
            "OUTPUT": str(tmp_path / "again"),
            "MODEL": str(tmp_path / "again.json"),
        }
    )
    model = ClassModel.load(again["MODEL"])
    assert model.names == ("Snow", "Rock", "Field", "Water")
    assert labels(again["OUTPUT_LAYERS"][0])[-1, -1] == 1


def test_bands_by_number_and_by_name(plugin, series, tmp_path):
    for bands in ("3,1", "red, blue"):
        model = tmp_path / f"{bands[0]}.json"
        run(
            {
                "INPUT": list(series.scenes),
                "BANDS": bands,
                "CLASSES": 4,
                "OUTPUT": str(tmp_path / "out"),
                "MODEL": str(model),
            }
        )
        assert ClassModel.load(model).band_names == ("red", "blue")


def test_dates_given_win_and_go_with_their_scenes(plugin, series, tmp_path):
    made = run(
        {
            "INPUT": list(series.scenes),
            "DATES": "2021-03-01, 2020-03-01, 2022-03-01",
            "CLASSES": 4,
            "OUTPUT": str(tmp_path / "out"),
        }
    )
    dates = [gdal.Open(path).GetMetadataItem("ACQUISITION_DATE") for path in made["OUTPUT_LAYERS"]]
    assert dates == ["2020-03-01", "2021-03-01", "2022-03-01"]
    assert Path(made["OUTPUT_LAYERS"][0]).name == f"place_{DATES[1]}_classes.tif"


def test_two_scenes_of_one_date_and_name_stay_apart(plugin, tmp_path):
    paths = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        paths.append(write_raster(tmp_path / folder / "scene_20190402.tif", spectra(len(paths))))
    made = run({"INPUT": paths, "CLASSES": 4, "OUTPUT": str(tmp_path / "out")})
    assert len(set(made["OUTPUT_LAYERS"])) == 2
    assert all(Path(path).is_file() for path in made["OUTPUT_LAYERS"])


def test_a_series_of_one(plugin, series, tmp_path):
    made = run({"INPUT": series.scenes[0], "CLASSES": 4, "OUTPUT": str(tmp_path / "out")})
    assert len(made["OUTPUT_LAYERS"]) == 1


def test_temporary_folder(plugin, series):
    made = run({"INPUT": list(series.scenes), "CLASSES": 4, "OUTPUT": "TEMPORARY_OUTPUT"})
    assert all(Path(path).is_file() for path in made["OUTPUT_LAYERS"])
    assert "MODEL" not in made and "REPORT" not in made


def test_runs_without_a_project(algorithm, series, tmp_path):
    feedback = RecordingFeedback()
    parameters = {"INPUT": list(series.scenes), "CLASSES": 4, "OUTPUT": str(tmp_path / "out")}
    _, ok = algorithm.run(parameters, QgsProcessingContext(), feedback)
    assert ok, feedback.errors
