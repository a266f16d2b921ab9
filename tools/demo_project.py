"""Puts the class layers of a folder into a QGIS project that the temporal controller can play."""

import sys
from pathlib import Path

from qgis.core import QgsApplication, QgsProject, QgsRasterLayer, QgsReferencedRectangle

from iikmc.algorithms.styling import add_series

TITLE = "Inter-image k-means of Sentinel-2"


def class_layer(path: Path) -> QgsRasterLayer:
    """A class raster as a layer, with the style beside it, named by its date."""
    layer = QgsRasterLayer(str(path), path.stem)
    if not layer.isValid():
        raise RuntimeError(f"{path} is no valid raster layer.")
    # QGIS 3.22 leaves temporal settings out when it opens a raster with its style.
    message, styled = layer.loadNamedStyle(layer.styleURI())
    if not styled:
        raise RuntimeError(f"{path} has no style: {message}")
    begin = layer.temporalProperties().fixedTemporalRange().begin()
    layer.setName(f"{begin.toString('yyyy-MM-dd')} · {path.stem.removesuffix('_classes')}")
    return layer


if __name__ == "__main__":
    folder, target = (Path(argument).resolve() for argument in sys.argv[1:])
    application = QgsApplication([], True)
    application.initQgis()
    project = QgsProject.instance()
    project.setTitle(TITLE)
    layers = [class_layer(path) for path in sorted(folder.glob("*_classes.tif"))]
    if not layers:
        sys.exit(f"{folder} holds no class layers.")
    add_series(project, layers, TITLE)
    project.setCrs(layers[0].crs())
    view = QgsReferencedRectangle(layers[0].extent().buffered(50), layers[0].crs())
    project.viewSettings().setDefaultViewExtent(view)
    if not project.write(str(target)):
        sys.exit(f"{target} cannot be written: {project.error()}")
    application.exitQgis()
