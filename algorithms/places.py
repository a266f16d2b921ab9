"""Where to work: EXTENT and AREA as plain data, in their own CRS."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsFeatureRequest,
    QgsProcessing,
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingFeatureSource,
    QgsProcessingParameterExtent,
    QgsProcessingParameterFeatureSource,
)

from ..core.errors import ParameterError
from ..core.places import Area, Extent
from .base import IikmcAlgorithm, tr


def add_place_parameters(algorithm: IikmcAlgorithm) -> None:
    """Declare EXTENT and AREA."""
    algorithm.add(
        QgsProcessingParameterExtent("EXTENT", tr("Work inside this extent only"), None, True),
        tr("Pixels that it touches, in any CRS. Empty: all of the scenes."),
        advanced=True,
    )
    algorithm.add(
        QgsProcessingParameterFeatureSource(
            "AREA",
            tr("Work inside these polygons only"),
            [QgsProcessing.SourceType.TypeVectorPolygon],
            None,
            True,
        ),
        tr("Pixels whose centre lies in one of them, in any CRS; all others become nodata."),
        advanced=True,
    )


def take_extent(
    algorithm: QgsProcessingAlgorithm, parameters: dict[str, Any], context: QgsProcessingContext
) -> Extent | None:
    """Return EXTENT, if it is given, in its own CRS."""
    box = algorithm.parameterAsExtent(parameters, "EXTENT", context)
    if box.isNull() or (box.isEmpty() and not parameters.get("EXTENT")):
        return None
    crs = algorithm.parameterAsExtentCrs(parameters, "EXTENT", context)
    edges = box.xMinimum(), box.yMinimum(), box.xMaximum(), box.yMaximum()
    return Extent.of(Extent(*edges, _crs_text(crs)))


def take_area(
    algorithm: QgsProcessingAlgorithm, parameters: dict[str, Any], context: QgsProcessingContext
) -> Area | None:
    """Return AREA, if it is given, in its own CRS. Main thread: features of layers are read."""
    if not parameters.get("AREA"):
        return None
    source = algorithm.parameterAsSource(parameters, "AREA", context)
    if source is None:
        raise ParameterError(
            f"AREA is '{parameters['AREA']}', which is no polygon layer: give one, or leave it out."
        )
    shapes = []
    # QGIS's own check of each geometry would end the whole program: Python cannot catch it here.
    unchecked = QgsProcessingFeatureSource.Flag.FlagSkipGeometryValidityChecks
    for feature in source.getFeatures(QgsFeatureRequest().setNoAttributes(), unchecked):
        geometry = feature.geometry()
        if not geometry.isNull():
            shapes.append(json.loads(geometry.asJson(15)))
    if not shapes:
        raise ParameterError(f"AREA '{source.sourceName()}' has no polygon; give at least one.")
    return replace(Area.of(shapes), crs=_crs_text(source.sourceCrs()))


def _crs_text(crs: QgsCoordinateReferenceSystem) -> str:
    """Return what the engine knows a CRS by; a user's own CRS has no code there."""
    return crs.authid() if crs.authid().startswith("EPSG:") else crs.toWkt()
