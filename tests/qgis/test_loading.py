"""Loaded into a project, a series is one group, newest first, played by the temporal controller."""

from __future__ import annotations

import datetime as dt
import gc

import processing
import pytest
from qgis.core import (
    Qgis,
    QgsDateTimeRange,
    QgsInterval,
    QgsProject,
    QgsRasterLayer,
    QgsTemporalNavigationObject,
    QgsTemporalUtils,
    QgsUnitTypes,
)
from qgis.PyQt.QtCore import QDate, QDateTime, Qt, QTime
from synthetic import DATES, RecordingFeedback, spectra, write_raster

from iikmc.algorithms.styling import add_series, place_layer, shown_ranges, style_layer

NEWEST_FIRST = [f"{date} · place_{date}" for date in reversed(DATES)]


@pytest.fixture
def parameters(plugin, series, tmp_path) -> dict:
    return {"INPUT": list(series.scenes), "CLASSES": 4, "OUTPUT": str(tmp_path / "out")}


@pytest.fixture
def project(qgis_new_project) -> QgsProject:
    return qgis_new_project


def the_group(project: QgsProject):
    (group,) = project.layerTreeRoot().children()
    return group


def names(group) -> list[str]:
    return [node.name() for node in group.children()]


def midnight(date: dt.date) -> QDateTime:
    return QDateTime(QDate(date.year, date.month, date.day), QTime(0, 0), Qt.TimeSpec.UTC)


def visible(layers, when: QgsDateTimeRange) -> list[str]:
    shown = [item for item in layers if item.temporalProperties().isVisibleInTemporalRange(when)]
    return [layer.name() for layer in shown]


def class_layer(path: str) -> QgsRasterLayer:
    layer = QgsRasterLayer(path, "a class layer")
    (shown,) = shown_ranges([DATES[0]])
    style_layer(layer, [], shown)
    return layer


def test_one_group_newest_first(project, parameters):
    processing.runAndLoadResults("iikmc:classifyseries", parameters)
    gc.collect()
    group = the_group(project)
    assert group.name() == f"4 classes, {DATES[0]} to {DATES[-1]}"
    assert names(group) == NEWEST_FIRST
    nodes = group.findLayers()
    assert [node.isVisible() for node in nodes] == [True, True, True]
    assert [node.isExpanded() for node in nodes] == [True, False, False]
    assert len(project.mapLayers()) == 3


def test_one_palette_and_a_legend_for_each(project, parameters):
    processing.runAndLoadResults("iikmc:classifyseries", parameters)
    legends = [
        [(item.value, item.label, item.color.name()) for item in layer.renderer().classes()]
        for layer in project.mapLayers().values()
    ]
    assert [label for _, label, _ in legends[0]] == [f"Class {n}" for n in range(1, 5)]
    assert all(legend == legends[0] for legend in legends)


def test_temporal_controller_shows_each_date_alone(project, parameters, tmp_path):
    processing.runAndLoadResults("iikmc:classifyseries", parameters)
    path = str(tmp_path / "series.qgz")
    assert project.write(path)
    saved = QgsProject()
    assert saved.read(path)
    for there in (project, saved):
        controller = QgsTemporalNavigationObject()
        controller.setAvailableTemporalRanges(QgsTemporalUtils.usedTemporalRangesForProject(there))
        controller.setTemporalExtents(there.timeSettings().temporalRange())
        step = there.timeSettings()
        controller.setFrameDuration(QgsInterval(step.timeStep(), step.timeStepUnit()))
        frames = range(controller.totalFrameCount())
        layers = there.mapLayers().values()
        shown = [visible(layers, controller.dateTimeRangeForFrameNumber(n)) for n in frames]
        assert shown == [[name] for name in reversed(NEWEST_FIRST)]


def test_every_moment_of_the_series_shows_one_date(project, parameters):
    processing.runAndLoadResults("iikmc:classifyseries", parameters)
    layers = project.mapLayers().values()
    for days in range((DATES[-1] - DATES[0]).days + 1):
        date = DATES[0] + dt.timedelta(days)
        taken = max(known for known in DATES if known <= date)
        for seconds in (0, 12 * 3600, 24 * 3600 - 1):
            moment = midnight(date).addSecs(seconds)
            found = visible(layers, QgsDateTimeRange(moment, moment))
            assert found == [f"{taken} · place_{taken}"]


def test_project_time_covers_the_series_and_what_it_had(project, parameters):
    old = QgsDateTimeRange(midnight(dt.date(2010, 1, 1)), midnight(dt.date(2010, 2, 1)))
    project.timeSettings().setTemporalRange(old)
    project.timeSettings().setTimeStepUnit(QgsUnitTypes.TemporalUnit.TemporalDays)
    processing.runAndLoadResults("iikmc:classifyseries", parameters)
    found = project.timeSettings().temporalRange()
    assert found.begin() == old.begin()
    assert found.end().date().toPyDate() == DATES[-1]
    assert project.timeSettings().timeStepUnit() == QgsUnitTypes.TemporalUnit.TemporalDays


def test_run_again_into_the_same_folder_replaces_the_layers(project, parameters):
    processing.runAndLoadResults("iikmc:classifyseries", parameters)
    processing.runAndLoadResults("iikmc:classifyseries", {**parameters, "CLASSES": 3})
    group = the_group(project)
    assert group.name().startswith("3 classes")
    assert names(group) == NEWEST_FIRST
    for layer in project.mapLayers().values():
        assert len(layer.renderer().classes()) == 3


def test_two_series_are_two_groups(project, parameters, tmp_path):
    for folder in ("a", "b"):
        processing.runAndLoadResults(
            "iikmc:classifyseries", {**parameters, "OUTPUT": str(tmp_path / folder)}
        )
    groups = project.layerTreeRoot().children()
    assert [names(group) for group in groups] == [NEWEST_FIRST, NEWEST_FIRST]


def test_a_series_is_no_part_of_a_selected_one(project, parameters):
    """QGIS puts a new layer beside the selected one."""
    processing.runAndLoadResults("iikmc:classifyseries", parameters)
    former = the_group(project)
    layer = class_layer(parameters["INPUT"][0])
    project.addMapLayer(layer, False)
    former.insertLayer(1, layer)
    group = place_layer(project, layer, "Another", "another")
    assert project.layerTreeRoot().children() == [group, former]
    assert names(group) == [layer.name()]
    assert names(former) == NEWEST_FIRST


def test_a_series_stays_in_the_group_it_is_loaded_into(project, parameters):
    mine = project.layerTreeRoot().addGroup("Mine")
    layer = class_layer(parameters["INPUT"][0])
    project.addMapLayer(layer, False)
    mine.addLayer(layer)
    group = place_layer(project, layer, "A series", "a series")
    assert mine.children() == [group]
    assert names(group) == [layer.name()]


def test_groups_of_the_users_inside_a_series_do_no_harm(project, parameters):
    processing.runAndLoadResults("iikmc:classifyseries", parameters)
    group = the_group(project)
    mine, oldest = group.addGroup("Mine"), group.children()[2]
    mine.insertChildNode(0, oldest.clone())
    group.removeChildNode(oldest)
    feedback = RecordingFeedback()
    fewer = {**parameters, "INPUT": parameters["INPUT"][1:]}
    processing.runAndLoadResults("iikmc:classifyseries", fewer, feedback=feedback)
    assert not feedback.errors
    assert [name for name in names(group) if name != "Mine"] == NEWEST_FIRST[:2]
    assert names(mine) == NEWEST_FIRST[2:]


def test_nothing_is_loaded_unasked(project, parameters):
    processing.runAndLoadResults("iikmc:classifyseries", {**parameters, "LOAD": False})
    assert not project.mapLayers()
    assert not project.timeSettings().temporalRange().begin().isValid()


def test_dates_come_from_the_layers_where_they_are_set(plugin, project, tmp_path):
    layers = []
    for rank, name in enumerate(("x.tif", "y_20190512.tif")):
        layers.append(QgsRasterLayer(write_raster(tmp_path / name, spectra(rank)), name))
    temporal = layers[0].temporalProperties()
    temporal.setMode(Qgis.RasterTemporalMode.FixedTemporalRange)
    leap_day = midnight(dt.date(2020, 2, 29))
    temporal.setFixedTemporalRange(QgsDateTimeRange(leap_day, leap_day.addDays(1)))
    temporal.setIsActive(True)
    processing.runAndLoadResults(
        "iikmc:classifyseries", {"INPUT": layers, "CLASSES": 4, "OUTPUT": str(tmp_path / "out")}
    )
    assert names(the_group(project)) == ["2020-02-29 · x", "2019-05-12 · y_20190512"]


def test_options_of_a_layer_are_left_out_of_its_path(plugin, series, tmp_path):
    layer = QgsRasterLayer(f"{series.scenes[0]}|option:NUM_THREADS=1", "with options")
    assert layer.isValid()
    made = processing.run(
        "iikmc:classifyseries", {"INPUT": [layer], "CLASSES": 4, "OUTPUT": str(tmp_path / "out")}
    )
    assert made["OUTPUT_LAYERS"] == [str(tmp_path / "out" / f"place_{DATES[0]}_classes.tif")]


def test_add_series_works_on_any_project(parameters):
    made = processing.run("iikmc:classifyseries", parameters)
    project = QgsProject()
    layers = []
    for path in made["OUTPUT_LAYERS"]:
        layer = QgsRasterLayer(path, path)
        layer.loadNamedStyle(layer.styleURI())
        layers.append(layer)
    group = add_series(project, layers, "A series")
    assert the_group(project).name() == group.name() == "A series"
    assert [node.layer() for node in group.findLayers()] == layers[::-1]
    begin = project.timeSettings().temporalRange().begin()
    assert begin.date().toPyDate() == DATES[0]


def test_scenes_of_one_date_are_shown_together():
    first, last = DATES[0], DATES[-1]
    ranges = shown_ranges([first, first, last])
    assert ranges[0] == ranges[1]
    assert ranges[0].end() < ranges[2].begin()
    assert ranges[2].begin().secsTo(ranges[2].end()) == 24 * 3600 - 1
