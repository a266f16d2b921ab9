"""Class layers of a series as plain data, and single rasters that go with them."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from qgis.core import (
    QgsProcessing,
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
)

from ..core.dates import parse_iso_list
from ..core.errors import ParameterError
from ..core.interpret.label_series import LabelSeries, open_labels
from .base import IikmcAlgorithm, tr
from .inputs import RasterFiles, sources

INPUT_HELP = (
    "One class raster per date, in any order: integers above 0 for the classes, 0 and nodata for "
    "pixels without one. All lie on one grid and have the same class numbers, names and colours, "
    "as Classify series and Apply class model write them."
)
DATES_HELP = (
    "One ISO date for each layer, in the order of the layers, divided by commas, such as "
    "2019-05-12, 2019-07-31. Empty: the date is that of the layer's temporal settings, else the "
    "one in the file's metadata, else the one in the file's name."
)


@dataclass(frozen=True)
class LabelInputs:
    """What INPUT and DATES say; dates are None where the file itself has to tell."""

    paths: tuple[str, ...]
    dates: tuple[dt.date | None, ...]

    def open(self) -> LabelSeries:
        """Return the series; only headers are read. Raises one of the engine's errors."""
        return open_labels(self.paths, dates=self.dates)


class RasterFile(QgsProcessingParameterRasterLayer):
    """A raster that stays a file; see :class:`.inputs.RasterFiles`."""

    def checkValueIsAcceptable(
        self, value: Any, context: QgsProcessingContext | None = None
    ) -> bool:
        return super().checkValueIsAcceptable(value)  # loads nothing without a context


def add_label_parameters(algorithm: IikmcAlgorithm) -> None:
    """Declare INPUT and DATES."""
    algorithm.add(
        RasterFiles("INPUT", tr("Class layers, one per date"), QgsProcessing.SourceType.TypeRaster),
        tr(INPUT_HELP),
    )
    algorithm.add(
        QgsProcessingParameterString(
            "DATES", tr("Dates, in the order of the layers"), defaultValue="", optional=True
        ),
        tr(DATES_HELP),
    )


def take_labels(
    algorithm: QgsProcessingAlgorithm, parameters: dict[str, Any], context: QgsProcessingContext
) -> LabelInputs:
    """Return INPUT and DATES as plain data; raises an error that names the layer."""
    layers = list(sources(parameters.get("INPUT"), context))
    given = parse_iso_list(algorithm.parameterAsString(parameters, "DATES", context))
    return LabelInputs(
        tuple(layer.path for layer in layers),
        tuple(given) if given else tuple(layer.date for layer in layers),
    )


def take_raster(parameters: dict[str, Any], key: str, context: QgsProcessingContext) -> str | None:
    """Return the file of a raster parameter, if it is given; raises an error that names it."""
    found = [source.path for source in sources(parameters.get(key), context)]
    if len(found) > 1:
        raise ParameterError(f"{key} is {len(found)} rasters; give one.")
    return found[0] if found else None
