"""How class rasters look in QGIS: palette, legend, dates, one layer group for a series."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from qgis.core import (
    Qgis,
    QgsDateTimeRange,
    QgsInterval,
    QgsLayerTreeGroup,
    QgsLayerTreeLayer,
    QgsLayerTreeNode,
    QgsMapLayer,
    QgsPalettedRasterRenderer,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingLayerPostProcessorInterface,
    QgsProcessingUtils,
    QgsProject,
    QgsRasterLayer,
    QgsTemporalNavigationObject,
    QgsTemporalUtils,
    QgsUnitTypes,
)
from qgis.PyQt import sip
from qgis.PyQt.QtCore import QDate, QDateTime, Qt, QTime
from qgis.PyQt.QtGui import QColor

from ..core.classify import ClassifiedScene
from ..core.errors import OutputError
from ..core.raster import ClassStyle

_SERIES = "iikmc/series"


def shown_ranges(dates: Sequence[dt.date]) -> list[QgsDateTimeRange]:
    """Return when each date's layer is shown: from that day on, until the next date of the series.

    Ranges end a second before the next begins. Sharing the moment would need an open end, which
    QGIS forgets when it saves a layer: the temporal controller would then show two dates at once.
    """
    known = sorted(set(dates))
    after = {date: later for date, later in zip(known, known[1:])}
    ranges = []
    for date in dates:
        end = after.get(date, date + dt.timedelta(days=1))
        ranges.append(QgsDateTimeRange(_midnight(date), _midnight(end).addSecs(-1)))
    return ranges


def style_layer(
    layer: QgsRasterLayer, classes: Sequence[ClassStyle], shown: QgsDateTimeRange
) -> None:
    """Give a class raster its palette, its legend and its fixed temporal range."""
    table = [
        QgsPalettedRasterRenderer.Class(item.number, QColor(*item.colour), item.name)
        for item in classes
    ]
    layer.setRenderer(QgsPalettedRasterRenderer(layer.dataProvider(), 1, table))
    temporal = layer.temporalProperties()
    temporal.setMode(Qgis.RasterTemporalMode.FixedTemporalRange)
    temporal.setFixedTemporalRange(shown)
    temporal.setIsActive(True)


def write_style(raster: Path, classes: Sequence[ClassStyle], shown: QgsDateTimeRange) -> None:
    """Write the ``.qml`` beside a class raster; QGIS uses it wherever the raster is opened.

    Runs on any thread. Raises OutputError.
    """
    options = QgsRasterLayer.LayerOptions(False)
    layer = QgsRasterLayer(str(raster), raster.stem, "gdal", options)
    style = raster.with_suffix(".qml")
    written = False
    message = ""
    if layer.isValid():
        style_layer(layer, classes, shown)
        message, written = layer.saveNamedStyle(str(style))
    if not written:
        raise OutputError(f"The style '{style.name}' cannot be written: {message or 'no layer'}.")


def layer_name(scene: ClassifiedScene) -> str:
    """Return what the layer of a scene is called: its date first, for that is what differs."""
    return f"{scene.date} · {scene.name}"


def series_name(scenes: Sequence[ClassifiedScene], classes: int) -> str:
    """Return what the group of a series is called."""
    return _series_name([scene.date for scene in scenes], classes)


def _series_name(dates: Sequence[dt.date], classes: int) -> str:
    first, last = min(dates), max(dates)
    return f"{classes} classes, {first}" + (f" to {last}" if last != first else "")


def load_on_completion(
    context: QgsProcessingContext, scenes: Sequence[ClassifiedScene], classes: int, folder: Path
) -> None:
    """Ask QGIS to load class rasters, as one group, once the run has ended well.

    They join the group of those that came from the folder before.
    """
    if context.project() is None:
        return
    for scene in scenes:
        details = QgsProcessingContext.LayerDetails(
            layer_name(scene),
            context.project(),
            "OUTPUT_LAYERS",
            QgsProcessingUtils.LayerHint.Raster,
        )
        details.forceName = True
        details.setPostProcessor(_Placer.kept(classes, str(folder)))
        context.addLayerToLoadOnCompletion(str(scene.path), details)


def add_series(
    project: QgsProject, layers: Sequence[QgsRasterLayer], name: str
) -> QgsLayerTreeGroup:
    """Put class layers, styled already, into a project as one group; returns the group."""
    for layer in layers:
        project.addMapLayer(layer, False)
        group = place_layer(project, layer, name, name)
    return group


def place_layer(
    project: QgsProject, layer: QgsMapLayer, name: str, series: str
) -> QgsLayerTreeGroup:
    """Move a class layer of a project into its series' group, newest first.

    ``series`` tells groups apart, ``name`` is what the user reads. The legend of the newest is
    unfolded, for all are the same. Widens the project's temporal range. Main thread only.
    """
    root = project.layerTreeRoot()
    old = root.findLayer(layer.id())
    group = _group(root, series) or _outside_series(old, root).insertGroup(0, name)
    group.setCustomProperty(_SERIES, series)
    group.setName(name)
    children = group.children()
    rasters = [node for node in children if isinstance(_layer_of(node), QgsRasterLayer)]
    older = [node for node in rasters if node is not old and _age(node.layer()) > _age(layer)]
    group.insertLayer(children.index(older[0]) if older else len(children), layer)
    if old is not None:
        old.parent().removeChildNode(old)
    for position, node in enumerate(group.findLayers()):
        node.setExpanded(position == 0)
    _widen_time(project, layer.temporalProperties().fixedTemporalRange())
    return group


def _group(root: QgsLayerTreeGroup, series: str) -> QgsLayerTreeGroup | None:
    for group in root.findGroups(True):
        if group.customProperty(_SERIES) == series:
            return group
    return None


def _outside_series(old: QgsLayerTreeLayer | None, root: QgsLayerTreeGroup) -> QgsLayerTreeGroup:
    """Return the group that QGIS has put a layer into, or the next one around it of no series."""
    group = old.parent() if old is not None else root
    while group.customProperty(_SERIES):
        group = group.parent()
    return group


def _layer_of(node: QgsLayerTreeNode) -> QgsMapLayer | None:
    return node.layer() if isinstance(node, QgsLayerTreeLayer) else None


def _age(layer: QgsMapLayer) -> tuple[float, str]:
    """Return a key that sorts the newest first, then by name."""
    begin = layer.temporalProperties().fixedTemporalRange().begin()
    return (-begin.toMSecsSinceEpoch(), layer.name())


def _widen_time(project: QgsProject, shown: QgsDateTimeRange) -> None:
    """Let the project's time cover a layer's, and the temporal controller step by date."""
    settings = project.timeSettings()
    begin, end = shown.begin(), shown.end()
    known = settings.temporalRange()
    if known.begin().isValid() and known.end().isValid():
        begin, end = min(begin, known.begin()), max(end, known.end())
    else:
        settings.setTimeStepUnit(QgsUnitTypes.TemporalUnit.TemporalIrregularStep)
        settings.setTimeStep(1)
    settings.setTemporalRange(QgsDateTimeRange(begin, end))
    controller = _temporal_controller(project)
    if controller is not None:
        # It looks at the project's settings only when a project is opened.
        controller.setAvailableTemporalRanges(
            QgsTemporalUtils.usedTemporalRangesForProject(project)
        )
        controller.setFrameDuration(QgsInterval(settings.timeStep(), settings.timeStepUnit()))
        controller.setTemporalExtents(settings.temporalRange())


def _temporal_controller(project: QgsProject) -> QgsTemporalNavigationObject | None:
    """Return the temporal controller of the QGIS window that shows the project, if any does."""
    from qgis.utils import iface

    if iface is None or project != QgsProject.instance():
        return None
    controller = iface.mapCanvas().temporalController()
    return controller if isinstance(controller, QgsTemporalNavigationObject) else None


def _midnight(date: dt.date) -> QDateTime:
    """Return the beginning of a day as QGIS's own temporal widgets write it: in UTC."""
    return QDateTime(QDate(date.year, date.month, date.day), QTime(0, 0), Qt.TimeSpec.UTC)


class _Placer(QgsProcessingLayerPostProcessorInterface):
    """Styles and places one layer after QGIS has loaded it, on the main thread."""

    _alive: ClassVar[list[_Placer]] = []

    def __init__(self, classes: int, series: str) -> None:
        super().__init__()
        self._classes, self._series = classes, series

    @classmethod
    def kept(cls, classes: int, series: str) -> _Placer:
        """Return a new one for a context to own.

        The context deletes the C++ object, but nobody there keeps the Python one alive.
        """
        cls._alive[:] = [item for item in cls._alive if not sip.isdeleted(item)]
        placer = cls(classes, series)
        cls._alive.append(placer)
        return placer

    def postProcessLayer(
        self,
        layer: QgsMapLayer,
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
    ) -> None:
        layer.reload()  # it may be the project's layer of a run before, into the same folder
        # QGIS 3.22 leaves temporal settings out when it opens a raster with its style.
        layer.loadNamedStyle(layer.styleURI())
        group = place_layer(context.project(), layer, "", self._series)
        rasters = [_layer_of(node) for node in group.findLayers()]
        begins = [
            item.temporalProperties().fixedTemporalRange().begin()
            for item in rasters
            if isinstance(item, QgsRasterLayer)
        ]
        dates = [begin.date().toPyDate() for begin in begins if begin.isValid()]
        group.setName(_series_name(dates, self._classes))
