"""iikmc:applymodel: a new date joins an old series with its classes, names, colours and style."""

from __future__ import annotations

import re
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
    QgsProcessingModelOutput,
    QgsProcessingModelParameter,
    QgsProcessingParameterFolderDestination,
    QgsProcessingParameterMultipleLayers,
    QgsProject,
    QgsRasterLayer,
)
from synthetic import BANDS, RecordingFeedback, spectra, write_raster

from iikmc.core import ClassModel

NAMES = ("Water", "Field", "Forest", "Sand")


@pytest.fixture
def applymodel(plugin):
    """A fresh iikmc:applymodel."""
    return QgsApplication.processingRegistry().createAlgorithmById("iikmc:applymodel")


@pytest.fixture
def fit(plugin, series, tmp_path) -> dict:
    """What a run of classifyseries made, with masks."""
    return processing.run(
        "iikmc:classifyseries",
        {
            "INPUT": list(series.scenes),
            "MASKS": list(series.masks),
            "MASK_KIND": 3,
            "CLASSES": 4,
            "OUTPUT": str(tmp_path / "fit"),
            "MODEL": str(tmp_path / "model.json"),
        },
    )


@pytest.fixture
def named(fit, tmp_path) -> str:
    """The model with names and colours of the user's own."""
    model = ClassModel.load(fit["MODEL"])
    colours = [(10 * row, 200 - 40 * row, 255 - row) for row in range(4)]
    path = tmp_path / "named.json"
    model.renamed(NAMES, colours).save(path)
    return str(path)


@pytest.fixture
def new_date(tmp_path) -> str:
    """A date of the same place that was not in the fit."""
    (tmp_path / "later").mkdir()
    path = tmp_path / "later" / "place_2020-03-05.tif"
    return write_raster(path, spectra(7), names=BANDS, nodata=0)


def pixels(path: str | Path) -> np.ndarray:
    return gdal.Open(str(path)).ReadAsArray()


def holdings(folder: str | Path) -> dict[str, bytes]:
    return {item.name: item.read_bytes() for item in Path(folder).iterdir()}


def test_the_fits_own_scenes_get_the_fits_files_byte_for_byte(fit, series, tmp_path):
    made = processing.run(
        "iikmc:applymodel",
        {
            "INPUT": list(series.scenes),
            "MASKS": list(series.masks),
            "MASK_KIND": 3,
            "MODEL": fit["MODEL"],
            "OUTPUT": str(tmp_path / "applied"),
        },
    )
    assert set(made) == {"OUTPUT", "OUTPUT_LAYERS", "VALID_PIXELS"}
    assert made["VALID_PIXELS"] == fit["VALID_PIXELS"]
    assert [Path(path).name for path in made["OUTPUT_LAYERS"]] == [
        Path(path).name for path in fit["OUTPUT_LAYERS"]
    ]
    assert len(holdings(made["OUTPUT"])) == 9  # rasters, attribute tables and styles
    assert holdings(made["OUTPUT"]) == holdings(fit["OUTPUT"])


@pytest.mark.parametrize("variant", ["minmax", "zscore", "static", "standardise"])
def test_so_does_a_model_with(variant, plugin, series, tmp_path):
    heights = np.add.outer(np.arange(50), np.arange(50))[None].astype(np.float32)
    static = write_raster(tmp_path / "h.tif", heights, pixel=50.0)
    change = {
        "minmax": {"SCALING": 1},
        "zscore": {"SCALING": 2, "BANDS": "red,green"},
        "static": {"STATIC": [static], "SCALING": 2},
        "standardise": {"HARMONISE": 1},
    }[variant]
    common = {"INPUT": list(series.scenes), **{"STATIC": change.get("STATIC", [])}}
    fit = processing.run(
        "iikmc:classifyseries",
        {
            **common,
            **change,
            "CLASSES": 4,
            "OUTPUT": str(tmp_path / "fit"),
            "MODEL": str(tmp_path / "m.json"),
        },
    )
    made = processing.run(
        "iikmc:applymodel", {**common, "MODEL": fit["MODEL"], "OUTPUT": str(tmp_path / "applied")}
    )
    assert holdings(made["OUTPUT"]) == holdings(fit["OUTPUT"])


def test_a_new_date_has_the_palette_names_and_style_of_the_old(
    fit, named, series, new_date, tmp_path
):
    common = {"MODEL": named}
    old, new = (
        processing.run("iikmc:applymodel", {**common, "INPUT": paths, "OUTPUT": str(tmp_path / to)})
        for paths, to in (([series.scenes[0]], "old"), ([new_date], "new"))
    )
    (first,), (second,) = old["OUTPUT_LAYERS"], new["OUTPUT_LAYERS"]
    assert Path(second).name == "place_2020-03-05_classes.tif"
    model = ClassModel.load(named)
    dataset = gdal.Open(second)
    dataset.GetGeoTransform()  # GDAL 3.6 reads what lies beside the file only when it has to
    band = dataset.GetRasterBand(1)
    assert band.GetCategoryNames()[1:] == list(NAMES)
    entries = [band.GetColorTable().GetColorEntry(number)[:3] for number in range(1, 5)]
    assert entries == list(model.colours)
    styles = [Path(path).with_suffix(".qml").read_text("utf-8") for path in (first, second)]
    renderers = [re.search("<rasterrenderer.*?</rasterrenderer>", text, re.S)[0] for text in styles]
    assert renderers[0] == renderers[1]
    assert all(name in renderers[1] for name in NAMES)
    layer = QgsRasterLayer(second, "new")
    legend = [
        (item.value, item.label, item.color.getRgb()[:3]) for item in layer.renderer().classes()
    ]
    assert legend == list(zip((1, 2, 3, 4), NAMES, model.colours))
    layer.loadNamedStyle(layer.styleURI())
    begin = layer.temporalProperties().fixedTemporalRange().begin()
    assert f"{begin.date().toPyDate()}" == "2020-03-05"
    # The four kinds of ground keep their numbers.
    rows, columns = np.mgrid[:96, :96]
    expected = 1 + (rows // 48) * 2 + columns // 48
    expected[spectra(7)[0] == 0] = 0
    np.testing.assert_array_equal(pixels(second), expected)


def test_distance_and_margin_in_folders_that_are_not_there(fit, series, new_date, tmp_path):
    folders = {key: str(tmp_path / key.lower() / "new") for key in ("OUTPUT", "DISTANCE", "MARGIN")}
    made = processing.run(
        "iikmc:applymodel", {"INPUT": [new_date], "MODEL": fit["MODEL"], **folders}
    )
    assert {key: made[key] for key in folders} == folders
    model = ClassModel.load(fit["MODEL"])
    values = spectra(7).astype(np.float64)
    apart = values[None] - model.signatures[:, :, None, None]
    nearest = np.sort(np.sqrt((apart**2).sum(axis=1)), axis=0)
    valid = spectra(7)[0] > 0
    for key, kind, expected in (
        ("DISTANCE", "distance", nearest[0]),
        ("MARGIN", "margin", nearest[1] - nearest[0]),
    ):
        path = Path(folders[key]) / f"place_2020-03-05_{kind}.tif"
        assert [item.name for item in path.parent.iterdir()] == [path.name]
        dataset = gdal.Open(str(path))
        band = dataset.GetRasterBand(1)
        assert band.DataType == gdal.GDT_Float32 and np.isnan(band.GetNoDataValue())
        found = pixels(path)
        np.testing.assert_allclose(found[valid], expected[valid], rtol=1e-6)
        assert np.isnan(found[~valid]).all()
        assert QgsRasterLayer(str(path), kind).isValid()


def test_all_three_in_one_folder(fit, new_date, tmp_path):
    folder = str(tmp_path / "one")
    parameters = {"INPUT": [new_date], "MODEL": fit["MODEL"]}
    keys = ("OUTPUT", "DISTANCE", "MARGIN")
    made = processing.run("iikmc:applymodel", {**parameters, **dict.fromkeys(keys, folder)})
    assert {path.name for path in Path(folder).glob("*.tif")} == {
        f"place_2020-03-05_{kind}.tif" for kind in ("classes", "distance", "margin")
    }
    assert made["OUTPUT_LAYERS"] == [f"{folder}/place_2020-03-05_classes.tif"]


def test_temporary_folders(fit, new_date):
    keys = ("OUTPUT", "DISTANCE", "MARGIN")
    made = processing.run(
        "iikmc:applymodel",
        {"INPUT": [new_date], "MODEL": fit["MODEL"], **dict.fromkeys(keys, "TEMPORARY_OUTPUT")},
    )
    for key, kind in zip(keys, ("classes", "distance", "margin")):
        assert (Path(made[key]) / f"place_2020-03-05_{kind}.tif").is_file()


def test_bands_without_names_are_taken_by_number_with_a_warning(
    fit, applymodel, new_date, tmp_path
):
    class Warned(RecordingFeedback):
        def __init__(self) -> None:
            super().__init__()
            self.warnings: list[str] = []

        def pushWarning(self, text: str) -> None:
            self.warnings.append(text)

    plain = write_raster(tmp_path / "later" / "plain_2020-03-05.tif", spectra(7), nodata=0)
    feedback = Warned()
    parameters = {
        "INPUT": [new_date, plain],
        "MODEL": fit["MODEL"],
        "OUTPUT": str(tmp_path / "out"),
    }
    results, ok = applymodel.run(parameters, QgsProcessingContext(), feedback)
    assert ok, feedback.errors
    first, second = map(pixels, results["OUTPUT_LAYERS"])
    np.testing.assert_array_equal(first, second)
    assert any("blue, green, red" in text for text in feedback.warnings)


def test_a_new_date_joins_the_group_of_its_series(
    plugin, series, new_date, tmp_path, qgis_new_project
):
    """Into the folder of the old series: one group, named for all its dates."""
    project = QgsProject.instance()
    common = {"OUTPUT": str(tmp_path / "out")}
    model = str(tmp_path / "model.json")

    def run(name: str, parameters: dict) -> None:
        context = QgsProcessingContext()
        context.setProject(project)
        algorithm = QgsApplication.processingRegistry().createAlgorithmById(f"iikmc:{name}")
        feedback = RecordingFeedback()
        _, ok = algorithm.run({**common, **parameters}, context, feedback)
        assert ok, feedback.errors
        for path, details in context.layersToLoadOnCompletion().items():
            layer = QgsRasterLayer(path, details.name)
            project.addMapLayer(layer)
            details.postProcessor().postProcessLayer(layer, context, feedback)

    run("classifyseries", {"INPUT": list(series.scenes), "CLASSES": 4, "MODEL": model})
    run("applymodel", {"INPUT": [new_date], "MODEL": model})
    (group,) = project.layerTreeRoot().findGroups(True)
    shown = [node.name() for node in group.findLayers()]
    assert [name[:10] for name in shown] == ["2020-03-05", "2019-07-31", "2019-05-12", "2019-04-02"]
    assert group.name() == "4 classes, 2019-04-02 to 2020-03-05"
    # None is shown together with another.
    ranges = sorted(
        (node.layer().temporalProperties().fixedTemporalRange() for node in group.findLayers()),
        key=lambda item: item.begin(),
    )
    assert all(first.end() < second.begin() for first, second in zip(ranges, ranges[1:]))


def blocked(folder: Path) -> str:
    (folder / "file").write_text("not a folder", "utf-8")
    return str(folder / "file" / "out")


def other_bands(folder: Path) -> str:
    return write_raster(folder / "two_2020-01-01.tif", spectra(1)[:2])


BAD = {
    "no_model": (lambda s, f: {"MODEL": None}, "MODEL is missing"),
    "lost_model": (lambda s, f: {"MODEL": str(f / "gone.json")}, "gone.json"),
    "no_json": (lambda s, f: {"MODEL": s.scenes[0]}, "is not JSON"),
    "no_scene": (lambda s, f: {"INPUT": []}, "no scene"),
    "too_few_bands": (lambda s, f: {"INPUT": [other_bands(f)]}, "'two_2020-01-01' has no band"),
    "bands_listed": (lambda s, f: {"BANDS": "1,2"}, "has 3 bands"),
    "static_not_in_model": (lambda s, f: {"STATIC": [s.masks[0]]}, "no static feature"),
    "output_blocked": (lambda s, f: {"OUTPUT": blocked(f)}, "cannot be written"),
    "distance_blocked": (lambda s, f: {"DISTANCE": blocked(f)}, "cannot be written"),
    "margin_blocked": (lambda s, f: {"MARGIN": blocked(f)}, "cannot be written"),
    "engine": (lambda s, f: {"ENGINE": 3}, "cupy"),
    "mask_count": (lambda s, f: {"MASKS": list(s.masks[:1])}, "1 masks for 3 scenes"),
    "grid": (
        lambda s, f: {
            "INPUT": [*s.scenes, write_raster(f / "x_2020-01-01.tif", spectra(1, 90), names=BANDS)]
        },
        "'x_2020-01-01' has a size of 90",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_answered_with_a_sentence(name, fit, applymodel, series, tmp_path):
    change, expected = BAD[name]
    parameters = {
        "INPUT": list(series.scenes),
        "MODEL": fit["MODEL"],
        "OUTPUT": str(tmp_path / "new" / "out"),
        **change(series, tmp_path),
    }
    context = QgsProcessingContext()
    context.setProject(QgsProject.instance())
    ok, message = applymodel.checkParameterValues(parameters, context)
    assert not ok and expected in message
    assert "\n" not in message and message.endswith(".")
    with pytest.raises(QgsProcessingException) as caught:
        applymodel.create().run(parameters, context, RecordingFeedback(), {}, False)
    assert str(caught.value) == message
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("key", ["OUTPUT", "DISTANCE", "MARGIN"])
def test_no_input_is_overwritten(key, fit, applymodel, tmp_path):
    kind = {"OUTPUT": "classes", "DISTANCE": "distance", "MARGIN": "margin"}[key]
    folder = tmp_path / "mine"
    folder.mkdir()
    paths = [
        write_raster(folder / f"{name}.tif", spectra(1), names=BANDS)
        for name in ("a_2020-01-01", f"a_2020-01-01_{kind}")
    ]
    before = holdings(folder)
    parameters = {
        "INPUT": paths,
        "DATES": "2020-01-01,2020-01-02",
        "MODEL": fit["MODEL"],
        "OUTPUT": str(tmp_path / "new"),
        key: str(folder),
    }
    ok, message = applymodel.checkParameterValues(parameters, QgsProcessingContext())
    assert not ok and "is an input" in message
    assert holdings(folder) == before and not (tmp_path / "new").exists()


@pytest.mark.parametrize("percent", [0, 5, 30, 50, 90])
def test_a_cancel_leaves_nothing_in_any_folder(percent, fit, applymodel, series, tmp_path):
    feedback = RecordingFeedback()
    feedback.progressChanged.connect(lambda now: feedback.cancel() if now >= percent else None)
    if not percent:
        feedback.cancel()
    folders = {key: str(tmp_path / "new" / key) for key in ("OUTPUT", "DISTANCE", "MARGIN")}
    parameters = {"INPUT": list(series.scenes), "MODEL": fit["MODEL"], **folders}
    context = QgsProcessingContext()
    results, ok = applymodel.run(parameters, context, feedback)
    assert ok and results == {} and not feedback.errors
    assert not (tmp_path / "new").exists()
    assert not context.layersToLoadOnCompletion()


def test_progress_rises_to_the_end(fit, applymodel, series, tmp_path):
    feedback = RecordingFeedback()
    parameters = {
        "INPUT": list(series.scenes),
        "MODEL": fit["MODEL"],
        "OUTPUT": str(tmp_path / "out"),
        "DISTANCE": str(tmp_path / "distance"),
    }
    _, ok = applymodel.run(parameters, QgsProcessingContext(), feedback)
    assert ok, feedback.errors
    assert feedback.percents == sorted(feedback.percents) and feedback.percents[-1] == 100


# In the graphical modeler.


def child(model: QgsProcessingModelAlgorithm, name: str, sources: dict) -> None:
    """Add iikmc:``name`` to a model, with sources of its parameters."""
    step = QgsProcessingModelChildAlgorithm(f"iikmc:{name}")
    step.setChildId(name)
    for key, source in sources.items():
        step.addParameterSources(key, [source])
    model.addChildAlgorithm(step)


def chain(first: str, sources: dict) -> QgsProcessingModelAlgorithm:
    """Return a model that fits on OLD scenes and applies to NEW ones."""
    source = QgsProcessingModelChildParameterSource
    model = QgsProcessingModelAlgorithm("chain", "tests", "tests")
    for name in ("OLD", "NEW"):
        model.addModelParameter(
            QgsProcessingParameterMultipleLayers(name, name), QgsProcessingModelParameter(name)
        )
    child(
        model,
        first,
        {
            "INPUT": source.fromModelParameter("OLD"),
            "CLASSES": source.fromStaticValue(4),
            "MODEL": source.fromStaticValue("TEMPORARY_OUTPUT"),
            **sources,
        },
    )
    child(
        model,
        "applymodel",
        {
            "INPUT": source.fromModelParameter("NEW"),
            "MODEL": source.fromChildOutput(first, "MODEL"),
        },
    )
    output = QgsProcessingModelOutput("CLASSES", "CLASSES")
    output.setChildId("applymodel")
    output.setChildOutputName("OUTPUT")
    model.childAlgorithm("applymodel").setModelOutputs({"CLASSES": output})
    model.updateDestinationParameters()
    return model


@pytest.mark.parametrize("first", ["fitmodel", "classifyseries"])
def test_in_the_modeler_a_model_goes_from_step_to_step(first, plugin, series, new_date, tmp_path):
    model = chain(first, {})
    saved = str(tmp_path / "chain.model3")
    assert model.toFile(saved)
    loaded = QgsProcessingModelAlgorithm()
    assert loaded.fromFile(saved)
    (destination,) = [
        item
        for item in loaded.parameterDefinitions()
        if isinstance(item, QgsProcessingParameterFolderDestination)
    ]
    feedback = RecordingFeedback()
    context = QgsProcessingContext()
    context.setProject(QgsProject.instance())
    parameters = {"OLD": list(series.scenes), "NEW": [new_date]}
    parameters[destination.name()] = str(tmp_path / "out")
    ok, message = loaded.checkParameterValues(parameters, context)
    assert ok, message
    _, ok = loaded.run(parameters, context, feedback)
    assert ok, feedback.errors
    found = pixels(tmp_path / "out" / "place_2020-03-05_classes.tif")
    assert set(np.unique(found)) == {0, 1, 2, 3, 4}


def test_in_the_modeler_class_layers_go_from_step_to_step(plugin, series, new_date, fit, tmp_path):
    """The class layers of one step are the scenes of the next: a list of rasters is one."""
    source = QgsProcessingModelChildParameterSource
    model = QgsProcessingModelAlgorithm("layers", "tests", "tests")
    model.addModelParameter(
        QgsProcessingParameterMultipleLayers("NEW", "NEW"), QgsProcessingModelParameter("NEW")
    )
    child(
        model,
        "applymodel",
        {
            "INPUT": source.fromModelParameter("NEW"),
            "MODEL": source.fromStaticValue(fit["MODEL"]),
            "OUTPUT": source.fromStaticValue(str(tmp_path / "first")),
            "LOAD": source.fromStaticValue(False),
        },
    )
    child(
        model,
        "fitmodel",
        {
            "INPUT": source.fromChildOutput("applymodel", "OUTPUT_LAYERS"),
            "CLASSES": source.fromStaticValue(2),
            "MODEL": source.fromStaticValue(str(tmp_path / "again.json")),
        },
    )
    feedback = RecordingFeedback()
    context = QgsProcessingContext()
    context.setProject(QgsProject.instance())
    _, ok = model.run({"NEW": [new_date, *series.scenes]}, context, feedback)
    assert ok, feedback.errors
    again = ClassModel.load(tmp_path / "again.json")
    assert len(again.fit.scenes) == 4 and again.fit.valid_pixels == 4 * 96**2 - 16 - 25 - 36 - 121
