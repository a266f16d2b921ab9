"""Draws every date of a class project in one picture, each map rendered by QGIS from the project.

All layers are put into each map and the date is set as the temporal controller would set it,
so a picture with every date in it also shows that the layers' temporal ranges are right.
"""

import math
import sys
from pathlib import Path

from qgis.core import (
    QgsApplication,
    QgsDateTimeRange,
    QgsMapRendererParallelJob,
    QgsMapSettings,
    QgsProject,
)
from qgis.PyQt.QtCore import QRectF, QSize, Qt
from qgis.PyQt.QtGui import QColor, QFont, QImage, QPainter

TILE = 200
GAP = 12
CAPTION = 28
MARGIN = 28
HEADER = 92
PAPER = QColor("#ffffff")
MASKED = QColor("#d9d9d9")
INK = QColor("#222222")


def date_map(project: QgsProject, layers, date_time) -> QImage:
    """The project's map at one moment."""
    settings = QgsMapSettings()
    settings.setLayers(layers)
    settings.setDestinationCrs(project.crs())
    settings.setExtent(layers[0].extent())
    settings.setOutputSize(QSize(TILE, TILE))
    settings.setBackgroundColor(MASKED)
    settings.setIsTemporal(True)
    settings.setTemporalRange(QgsDateTimeRange(date_time, date_time))
    job = QgsMapRendererParallelJob(settings)
    job.start()
    job.waitForFinished()
    if job.errors():
        raise RuntimeError("; ".join(error.message for error in job.errors()))
    return job.renderedImage()


def legend(layers) -> list[tuple[QColor, str]]:
    """Colour and name of each class, the same for all layers."""
    legends = [[(c.color, c.label) for c in layer.renderer().classes()] for layer in layers]
    for layer, entries in zip(layers, legends):
        if entries != legends[0]:
            raise RuntimeError(f"The legend of {layer.name()} differs from {layers[0].name()}'s.")
    return [*legends[0], (MASKED, "masked")]


def overview(project: QgsProject) -> QImage:
    """One picture of all dates, oldest first, with captions and the legend."""
    layers = list(project.mapLayers().values())
    layers.sort(key=lambda layer: layer.temporalProperties().fixedTemporalRange().begin())
    columns = math.ceil(math.sqrt(1.6 * len(layers)))
    rows = math.ceil(len(layers) / columns)
    width = 2 * MARGIN + columns * (TILE + GAP) - GAP
    height = HEADER + rows * (TILE + CAPTION + GAP) + MARGIN

    image = QImage(width, height, QImage.Format.Format_RGB32)
    image.fill(PAPER)
    painter = QPainter(image)
    painter.setRenderHint(QPainter.RenderHint.TextAntialiasing)
    painter.setPen(INK)
    painter.setFont(font(20, bold=True))
    title = f"{project.title()}: {len(layers)} dates, one class scheme"
    painter.drawText(QRectF(MARGIN, 16, width, 28), Qt.AlignmentFlag.AlignLeft, title)
    draw_legend(painter, legend(layers))

    painter.setFont(font(15))
    for place, layer in enumerate(layers):
        row, column = divmod(place, columns)
        left, top = MARGIN + column * (TILE + GAP), HEADER + row * (TILE + CAPTION + GAP)
        begin = layer.temporalProperties().fixedTemporalRange().begin()
        painter.drawImage(left, top, date_map(project, layers, begin))
        caption = QRectF(left, top + TILE + 3, TILE, CAPTION)
        painter.drawText(caption, Qt.AlignmentFlag.AlignHCenter, begin.toString("yyyy-MM-dd"))
    painter.end()
    return image


def draw_legend(painter: QPainter, entries) -> None:
    """Swatches and names in one line below the title."""
    painter.setFont(font(15))
    left = float(MARGIN)
    for colour, name in entries:
        painter.fillRect(QRectF(left, 54, 16, 16), colour)
        painter.drawText(QRectF(left + 22, 52, 400, 20), Qt.AlignmentFlag.AlignVCenter, name)
        left += 22 + painter.fontMetrics().horizontalAdvance(name) + 24


def font(pixels: int, *, bold: bool = False) -> QFont:
    """The picture's font at a height in pixels."""
    chosen = QFont("DejaVu Sans")
    chosen.setPixelSize(pixels)
    chosen.setBold(bold)
    return chosen


if __name__ == "__main__":
    source, target = (Path(argument) for argument in sys.argv[1:])
    application = QgsApplication([], True)
    application.initQgis()
    if not QgsProject.instance().read(str(source)):
        sys.exit(f"{source} cannot be read as a QGIS project.")
    if not overview(QgsProject.instance()).save(str(target)):
        sys.exit(f"{target} cannot be written.")
    application.exitQgis()
