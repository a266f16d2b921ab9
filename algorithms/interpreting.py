"""How rasters of change and consistency look in QGIS, and one layer group for those of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from qgis.core import (
    QgsColorRampShader,
    QgsLayerTreeGroup,
    QgsMapLayer,
    QgsPalettedRasterRenderer,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingLayerPostProcessorInterface,
    QgsProcessingUtils,
    QgsRasterDataProvider,
    QgsRasterLayer,
    QgsRasterRenderer,
    QgsRasterShader,
    QgsSingleBandPseudoColorRenderer,
)
from qgis.PyQt import sip
from qgis.PyQt.QtGui import QColor

from ..core.errors import OutputError
from ..core.interpret.label_exhibits import ramp
from ..core.raster import ClassStyle

_GROUP = "iikmc/interpretation"
_RANK = "iikmc/rank"
_STOPS = 5


@dataclass(frozen=True)
class Shown:
    """A raster of a run: where it is in the end, and what its layer is called."""

    path: Path
    name: str


def write_palette(raster: Path, styles: Sequence[ClassStyle]) -> None:
    """Write the ``.qml`` of a raster whose values each have a meaning; raises OutputError."""
    table = [
        QgsPalettedRasterRenderer.Class(item.number, QColor(*item.colour), item.name)
        for item in styles
    ]
    _write(raster, lambda provider: QgsPalettedRasterRenderer(provider, 1, table))


def write_ramp(raster: Path, largest: float, decimals: int) -> None:
    """Write the ``.qml`` of a raster of amounts from 0 to ``largest``; raises OutputError."""
    largest = largest or 1.0
    function = QgsColorRampShader(0.0, largest)
    function.setColorRampType(QgsColorRampShader.Type.Interpolated)
    values = [largest * step / (_STOPS - 1) for step in range(_STOPS)]
    function.setColorRampItemList(
        [
            QgsColorRampShader.ColorRampItem(value, QColor(*colour), f"{value:.{decimals}f}")
            for value, colour in zip(values, ramp(_STOPS))
        ]
    )
    shader = QgsRasterShader(0.0, largest)
    shader.setRasterShaderFunction(function)

    def renderer(provider: QgsRasterDataProvider) -> QgsRasterRenderer:
        made = QgsSingleBandPseudoColorRenderer(provider, 1, shader)
        made.setClassificationMin(0.0)
        made.setClassificationMax(largest)
        return made

    _write(raster, renderer)


def load_on_completion(
    context: QgsProcessingContext, rasters: Sequence[Shown], name: str, folder: Path
) -> None:
    """Ask QGIS to load rasters, the first on top of one group, once the run has ended well."""
    if context.project() is None:
        return
    for rank, raster in enumerate(rasters):
        details = QgsProcessingContext.LayerDetails(
            raster.name,
            context.project(),
            "OUTPUT_LAYERS",
            QgsProcessingUtils.LayerHint.Raster,
        )
        details.forceName = True
        details.setPostProcessor(_Placer.kept(name, str(folder), rank))
        context.addLayerToLoadOnCompletion(str(raster.path), details)


def _write(raster: Path, renderer: Callable[[QgsRasterDataProvider], QgsRasterRenderer]) -> None:
    """Write the ``.qml`` beside a raster.

    QGIS adds statistics of a few pixels to GDAL's side file when it opens a raster of numbers;
    that is put back as it was.
    """
    side = raster.with_name(raster.name + ".aux.xml")
    style = raster.with_suffix(".qml")
    try:
        former = side.read_bytes() if side.exists() else None
        layer = QgsRasterLayer(str(raster), raster.stem, "gdal", QgsRasterLayer.LayerOptions(False))
        written, message = False, "QGIS does not open the raster"
        if layer.isValid():
            layer.setRenderer(renderer(layer.dataProvider()))
            message, written = layer.saveNamedStyle(str(style))
        del layer  # closes the raster, which writes the side file
        if former is not None:
            side.write_bytes(former)
        elif side.exists():
            side.unlink()
    except OSError as error:
        raise OutputError(f"'{side.name}' cannot be written: {error.strerror}.") from error
    if not written:
        raise OutputError(f"The style '{style.name}' cannot be written: {message}.")


def _place(
    context: QgsProcessingContext, layer: QgsMapLayer, name: str, run: str, rank: int
) -> None:
    """Move a layer of the project into its run's group, in its place. Main thread only."""
    root = context.project().layerTreeRoot()
    old = root.findLayer(layer.id())
    groups = [item for item in root.findGroups(True) if item.customProperty(_GROUP) == run]
    group = groups[0] if groups else _around(old.parent() if old else root).insertGroup(0, name)
    group.setCustomProperty(_GROUP, run)
    group.setName(name)
    layer.setCustomProperty(_RANK, rank)
    others = [node for node in group.findLayers() if node is not old]
    below = [
        node
        for node in others
        if node.parent() is group and int(node.layer().customProperty(_RANK, -1)) > rank
    ]
    place = group.children().index(below[0]) if below else len(group.children())
    node = group.insertLayer(place, layer)
    node.setExpanded(rank == 0)
    if old is not None:
        old.parent().removeChildNode(old)


def _around(group: QgsLayerTreeGroup) -> QgsLayerTreeGroup:
    """Return a group, or the next one around it that is of no run."""
    while group.customProperty(_GROUP):
        group = group.parent()
    return group


class _Placer(QgsProcessingLayerPostProcessorInterface):
    """Styles and places one layer after QGIS has loaded it, on the main thread."""

    _alive: ClassVar[list[_Placer]] = []

    def __init__(self, name: str, run: str, rank: int) -> None:
        super().__init__()
        self._name, self._run, self._rank = name, run, rank

    @classmethod
    def kept(cls, name: str, run: str, rank: int) -> _Placer:
        """Return a new one for a context to own; nobody else keeps the Python object alive."""
        cls._alive[:] = [item for item in cls._alive if not sip.isdeleted(item)]
        placer = cls(name, run, rank)
        cls._alive.append(placer)
        return placer

    def postProcessLayer(
        self,
        layer: QgsMapLayer,
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
    ) -> None:
        layer.reload()  # it may be the project's layer of a run before, into the same folder
        layer.loadNamedStyle(layer.styleURI())
        _place(context, layer, self._name, self._run, self._rank)
