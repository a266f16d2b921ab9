"""iikmc:prepareseries in QGIS: its contract, every way to hand over products, and bad input."""

from __future__ import annotations

import csv
import re
import sys
import time
from pathlib import Path

import numpy as np
import processing
import pytest
from osgeo import gdal
from qgis.core import (
    QgsApplication,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingModelAlgorithm,
    QgsProcessingModelChildAlgorithm,
    QgsProcessingModelChildParameterSource,
    QgsProcessingModelParameter,
    QgsProcessingOutputMultipleLayers,
    QgsProcessingOutputNumber,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterEnum,
    QgsProcessingParameterFile,
    QgsProject,
    QgsProperty,
    QgsRasterLayer,
)
from synthetic import RecordingFeedback

sys.path.append(str(Path(__file__).parents[1] / "core"))  # the builders of product folders
import product_folders as made

# Key: kind, default, optional.
PARAMETERS = {
    "INPUT": ("multilayer", None, False),
    "PRODUCT": ("enum", 0, False),
    "BANDS": ("string", "", True),
    "MASK": ("enum", [0, 1, 2, 5], True),
    "RESOLUTION": ("number", None, True),
    "EXTENT": ("extent", None, True),
    "AREA": ("source", None, True),
    "CRS": ("crs", None, True),
    "RADIOMETRY": ("enum", 0, False),
    "INDICES": ("enum", [], True),
    "STRICT": ("boolean", False, False),
    "OUTPUT": ("folderDestination", None, False),
    "FORMAT": ("enum", 0, False),
    "SCENES": ("fileDestination", None, True),
}
OPTIONS = {"PRODUCT": 6, "MASK": 6, "RADIOMETRY": 2, "INDICES": 5, "FORMAT": 2}
SHAPE = (40, 50)
CLOUD = 1 << 3


@pytest.fixture
def algorithm(plugin):
    return QgsApplication.processingRegistry().createAlgorithmById("iikmc:prepareseries")


@pytest.fixture
def landsat(tmp_path) -> Path:
    """Two scenes of two sensors; a quarter of the second lies under cloud."""
    folder = tmp_path / "downloads"
    made.landsat_folder(folder, "LE07", "2002-07-31")
    qa = np.full(SHAPE, made.CLEAR_OLI)
    qa[:10] |= CLOUD
    made.landsat_folder(folder, "LC08", "2019-07-31", qa_pixel=qa)
    return folder


def run(plugin, parameters: dict) -> dict:
    return processing.run("iikmc:prepareseries", parameters)


def pixels(path: str) -> np.ndarray:
    return gdal.Open(path).ReadAsArray()


def names(path: str) -> list[str]:
    dataset = gdal.Open(path)
    return [dataset.GetRasterBand(n + 1).GetDescription() for n in range(dataset.RasterCount)]


def test_contract(algorithm):
    optional = QgsProcessingParameterDefinition.Flag.FlagOptional
    found = {
        item.name(): (item.type(), item.defaultValue(), bool(item.flags() & optional))
        for item in algorithm.parameterDefinitions()
    }
    assert list(found) == list(PARAMETERS)
    assert found == PARAMETERS
    enums = {
        item.name(): item
        for item in algorithm.parameterDefinitions()
        if isinstance(item, QgsProcessingParameterEnum)
    }
    assert {name: len(item.options()) for name, item in enums.items()} == OPTIONS
    assert {name for name, item in enums.items() if item.allowMultiple()} == {"MASK", "INDICES"}
    kinds = {item.name(): type(item) for item in algorithm.outputDefinitions()}
    assert set(kinds) == {"OUTPUT", "SCENES", "OUTPUT_LAYERS", "SCENES_WRITTEN", "SCENES_LEFT_OUT"}
    assert kinds["OUTPUT_LAYERS"] is QgsProcessingOutputMultipleLayers
    assert kinds["SCENES_WRITTEN"] is kinds["SCENES_LEFT_OUT"] is QgsProcessingOutputNumber
    assert not algorithm.parameterDefinition("SCENES").createByDefault()
    assert (algorithm.group(), algorithm.groupId()) == ("Prepare", "prepare")
    assert "landsat" in algorithm.tags() and algorithm.shortHelpString()
    assert not algorithm.icon().isNull()
    for item in algorithm.parameterDefinitions():
        assert len(item.help()) > 20 and item.description() != item.name(), item.name()


def test_a_folder_becomes_scenes_that_are_classified_with_no_tool_between(
    plugin, landsat, tmp_path
):
    before = {path: path.read_bytes() for path in landsat.rglob("*") if path.is_file()}
    parameters = {
        "INPUT": str(landsat),
        "OUTPUT": str(tmp_path / "out"),
        "SCENES": str(tmp_path / "scenes.csv"),
    }
    result = run(plugin, parameters)
    expected = [
        str(tmp_path / "out" / f"{sensor}_L2SP_190031_{date}_20200827_02_T1.tif")
        for sensor, date in (("LE07", "20020731"), ("LC08", "20190731"))
    ]
    assert result["OUTPUT_LAYERS"] == expected
    assert (result["SCENES_WRITTEN"], result["SCENES_LEFT_OUT"]) == (2, 0)
    assert (result["OUTPUT"], result["SCENES"]) == (parameters["OUTPUT"], parameters["SCENES"])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        Path(path).name for path in expected
    )
    for path in expected:
        assert names(path) == ["blue", "green", "red", "nir08", "swir16", "swir22"]
    assert not pixels(expected[1])[:, :10].any() and pixels(expected[1])[:, 10:].all()
    with open(parameters["SCENES"], encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["date"], float(row["cloud_share"])) for row in rows] == [
        ("2002-07-31", 0.0),
        ("2019-07-31", 0.25),
    ]
    classes = processing.run(
        "iikmc:classifyseries",
        {"INPUT": result["OUTPUT_LAYERS"], "CLASSES": 4, "OUTPUT": str(tmp_path / "classes")},
    )
    assert classes["VALID_PIXELS"] == 2000 + 1500
    after = {path: path.read_bytes() for path in landsat.rglob("*") if path.is_file()}
    assert after == before, "nothing is written beside what was downloaded"
    assert not QgsProject.instance().mapLayers()


@pytest.mark.parametrize("way", ["list", "property", "files", "archives", "layer", "folders"])
def test_products_are_handed_over_as_folders_archives_files_or_layers(
    plugin, landsat, tmp_path, way
):
    folders = sorted(path for path in landsat.iterdir())
    given = {
        "list": lambda: [str(landsat)],
        "folders": lambda: [str(path) for path in folders],
        "property": lambda: QgsProperty.fromExpression(f"'{landsat}'"),
        "files": lambda: [str(path) for path in landsat.rglob("*") if path.is_file()],
        "archives": lambda: [str(made.as_tar(folders[0])), str(made.as_zip(folders[1]))],
        "layer": lambda: [
            QgsRasterLayer(str(next(path.glob("*SR_B4.TIF"))), "band") for path in folders
        ],
    }[way]()
    result = run(plugin, {"INPUT": given, "OUTPUT": str(tmp_path / "out")})
    assert result["SCENES_WRITTEN"] == 2


@pytest.mark.parametrize(
    ("mask", "masked"),
    [
        (None, True),
        ([0], True),
        ("0,1", True),
        (0, True),
        ([], False),
        ("", False),
        ([3, 4], False),
    ],
)
def test_what_is_masked_is_chosen(plugin, landsat, tmp_path, mask, masked):
    result = run(plugin, {"INPUT": str(landsat), "MASK": mask, "OUTPUT": str(tmp_path / "out")})
    assert (pixels(result["OUTPUT_LAYERS"][1])[0, :10] == 0).all() == masked


def test_grid_values_and_indices_as_asked_for(plugin, landsat, tmp_path):
    area = processing.run(
        "native:extenttolayer",
        {"INPUT": "500300,500900,4599100,4599700 [EPSG:32633]", "OUTPUT": "memory:"},
    )["OUTPUT"]
    result = run(
        plugin,
        {
            "INPUT": str(landsat),
            "BANDS": "SWIR16, red",
            "RESOLUTION": 60,
            "CRS": "EPSG:32633",
            "EXTENT": "500000,501200,4598800,4600000 [EPSG:32633]",
            "AREA": area,
            "RADIOMETRY": 1,
            "INDICES": [0, 4],
            "OUTPUT": str(tmp_path / "out"),
        },
    )
    for path in result["OUTPUT_LAYERS"]:
        assert names(path) == ["swir16", "red", "NDVI", "NBR"]
        dataset = gdal.Open(path)
        # The extent of the area, in pixels of 60 m whose corners are multiples of 60.
        assert dataset.GetGeoTransform() == (500_280.0, 60.0, 0.0, 4_599_720.0, 0.0, -60.0)
        assert (dataset.RasterXSize, dataset.RasterYSize) == (11, 11)
        band = dataset.GetRasterBand(3)
        assert (band.GetScale(), band.GetNoDataValue()) == (0.0001, -32768)
        assert band.DataType == gdal.GDT_Int16


def test_a_layer_in_degrees_gives_the_extent(plugin, landsat, tmp_path):
    box = processing.run(
        "native:extenttolayer",
        {"INPUT": "500300,500900,4599100,4599700 [EPSG:32633]", "OUTPUT": "memory:"},
    )["OUTPUT"]
    degrees = processing.run(
        "native:reprojectlayer",
        {"INPUT": box, "TARGET_CRS": "EPSG:4326", "OUTPUT": "memory:"},
    )["OUTPUT"]
    result = run(
        plugin, {"INPUT": str(landsat), "EXTENT": degrees, "OUTPUT": str(tmp_path / "out")}
    )
    place = gdal.Open(result["OUTPUT_LAYERS"][0]).GetGeoTransform()
    assert abs(place[0] - 500_300) <= 30 and abs(place[3] - 4_599_700) <= 30


def test_a_vrt_where_nothing_has_to_be_done(plugin, landsat, tmp_path):
    result = run(
        plugin,
        {"INPUT": str(landsat), "MASK": [], "FORMAT": 1, "OUTPUT": str(tmp_path / "out")},
    )
    assert [Path(path).suffix for path in result["OUTPUT_LAYERS"]] == [".vrt"] * 2
    assert all(QgsRasterLayer(path, "x").isValid() for path in result["OUTPUT_LAYERS"])


def test_inside_a_model_folder_in_and_classes_out(plugin, landsat, tmp_path):
    model = QgsProcessingModelAlgorithm("series", "test")
    folder = QgsProcessingParameterFile(
        "downloads", "Downloads", QgsProcessingParameterFile.Behavior.Folder
    )
    model.addModelParameter(folder, QgsProcessingModelParameter("downloads"))
    source = QgsProcessingModelChildParameterSource
    prepare = QgsProcessingModelChildAlgorithm("iikmc:prepareseries")
    prepare.setChildId("prepare")
    prepare.addParameterSources("INPUT", [source.fromModelParameter("downloads")])
    prepare.addParameterSources("OUTPUT", [source.fromStaticValue(str(tmp_path / "scenes"))])
    model.addChildAlgorithm(prepare)
    classify = QgsProcessingModelChildAlgorithm("iikmc:classifyseries")
    classify.setChildId("classify")
    classify.addParameterSources("INPUT", [source.fromChildOutput("prepare", "OUTPUT_LAYERS")])
    classify.addParameterSources("CLASSES", [source.fromStaticValue(3)])
    classify.addParameterSources("OUTPUT", [source.fromStaticValue(str(tmp_path / "classes"))])
    model.addChildAlgorithm(classify)
    feedback, context = RecordingFeedback(), QgsProcessingContext()
    _, ok = model.run({"downloads": str(landsat)}, context, feedback)
    assert ok, feedback.errors
    assert len(list((tmp_path / "classes").glob("*_classes.tif"))) == 2


def torn(folder: Path) -> Path:
    scene = made.landsat_folder(folder, "LC09", "2023-07-31")
    image = next(scene.glob("*SR_B5.TIF"))
    image.write_bytes(image.read_bytes()[:1500])
    return scene


# Name: what differs from a good run, and what the sentence has to say.
CASES = {
    "no_input": (lambda f: {"INPUT": None}, "INPUT is empty"),
    "empty_list": (lambda f: {"INPUT": []}, "INPUT is empty"),
    "gone": (lambda f: {"INPUT": str(f / "gone")}, "does not exist"),
    "no_product": (lambda f: {"INPUT": str(f / "empty")}, "No product was found in"),
    "other_product": (lambda f: {"PRODUCT": 2}, "expected Sentinel-2 L2A products"),
    "no_band": (lambda f: {"BANDS": "blue,purple"}, "purple"),
    "all_torn": (lambda f: {"INPUT": str(torn(f / "torn"))}, "SR_B5.TIF"),
    "strict": (lambda f: {"INPUT": [str(f), str(torn(f / "torn"))], "STRICT": True}, "SR_B5.TIF"),
    "resolution": (lambda f: {"RESOLUTION": 0}, "RESOLUTION is 0"),
    "extent": (lambda f: {"EXTENT": "0,100,0,100 [EPSG:32633]"}, "outside EXTENT"),
    "no_scale": (
        lambda f: {"INPUT": str(made.multiband_folder(f / "multi")), "RADIOMETRY": 1},
        "has no scale",
    ),
    "no_output": (lambda f: {"OUTPUT": ""}, "OUTPUT is missing"),
    "output_blocked": (lambda f: {"OUTPUT": str(f / "file" / "out")}, "cannot be written"),
    "table_is_input": (
        lambda f: {"SCENES": str(next(f.rglob("*SR_B4.TIF")))},
        "which is an input",
    ),
    "table_is_folder": (lambda f: {"SCENES": str(f.parent)}, "is a folder"),
    "no_crs": (lambda f: {"CRS": "EPSG:999999"}, "CRS is 'EPSG:999999', which is none"),
}


@pytest.fixture
def bad(plugin, landsat, tmp_path, request):
    change, expected = CASES[request.param]
    (landsat / "empty").mkdir()
    (landsat / "file").write_text("not a folder", "utf-8")
    good = {"INPUT": str(landsat), "OUTPUT": str(tmp_path / "result" / "out")}
    return {**good, **change(landsat)}, expected


@pytest.mark.parametrize("bad", sorted(CASES), indirect=True)
def test_bad_input_is_answered_with_one_sentence_before_any_work(bad, algorithm, tmp_path):
    parameters, expected = bad
    context = QgsProcessingContext()
    ok, message = algorithm.checkParameterValues(parameters, context)
    assert not ok
    with pytest.raises(QgsProcessingException) as caught:
        algorithm.create().run(parameters, context, RecordingFeedback(), {}, False)
    for text in (message, str(caught.value)):
        assert expected in text
        assert "\n" not in text and "Traceback" not in text and text.endswith(".")
    assert not (tmp_path / "result").exists()


def test_a_good_run_passes_the_check_and_the_check_writes_nothing(algorithm, landsat, tmp_path):
    parameters = {"INPUT": str(landsat), "OUTPUT": str(tmp_path / "new" / "out")}
    ok, message = algorithm.checkParameterValues(parameters, QgsProcessingContext())
    assert ok, message
    assert not (tmp_path / "new").exists()


def test_scenes_that_cannot_be_used_are_said_and_counted(plugin, algorithm, landsat, tmp_path):
    torn(landsat)
    feedback = RecordingFeedback()
    warnings: list[str] = []
    feedback.pushWarning = warnings.append
    parameters = {"INPUT": str(landsat), "OUTPUT": str(tmp_path / "out")}
    result, ok = algorithm.run(parameters, QgsProcessingContext(), feedback)
    assert ok and (result["SCENES_WRITTEN"], result["SCENES_LEFT_OUT"]) == (2, 1)
    assert any(text.startswith("Left out: ") and "SR_B5.TIF" in text for text in warnings)
    assert any("LC08_L2SP" in text and "25.0% cloud" in text for text in feedback.infos)
    assert feedback.percents == sorted(feedback.percents) and feedback.percents[-1] == 100


def test_cancelled_before_it_starts(algorithm, landsat, tmp_path):
    feedback = RecordingFeedback()
    feedback.cancel()
    began = time.perf_counter()
    parameters = {"INPUT": str(landsat), "OUTPUT": str(tmp_path / "new" / "out")}
    results, _ = algorithm.run(parameters, QgsProcessingContext(), feedback)
    assert time.perf_counter() - began < 1.0
    assert results == {} and not (tmp_path / "new").exists()


def test_what_fails_in_qgis_is_raised_with_the_engines_sentence(plugin, landsat, tmp_path):
    sentence = re.escape("No scene has a band 'purple'")
    with pytest.raises(QgsProcessingException, match=f"{sentence}|lacks purple"):
        run(plugin, {"INPUT": str(landsat), "BANDS": "purple", "OUTPUT": str(tmp_path / "out")})
