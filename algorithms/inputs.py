"""Layers and reading parameters as plain data, from which the engine opens a series."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from qgis.core import (
    Qgis,
    QgsMapLayer,
    QgsProcessing,
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingParameterMultipleLayers,
    QgsProcessingParameterString,
    QgsProcessingUtils,
    QgsProperty,
    QgsProviderRegistry,
    QgsRasterLayer,
)

from ..core.apply import open_for
from ..core.dates import parse_iso_list
from ..core.errors import RasterError
from ..core.masks import MaskKind
from ..core.model import ClassModel
from ..core.opening import open_series
from ..core.places import Area, Extent
from ..core.placing import GridRule
from ..core.series import Series
from .base import IikmcAlgorithm, enum_parameter, tr
from .places import add_place_parameters, take_area, take_extent


@dataclass(frozen=True)
class SeriesInputs:
    """What the reading parameters say.

    ``dates`` are in the order of the scenes, with None where the file itself has to tell.
    """

    paths: tuple[str, ...]
    masks: tuple[str, ...]
    mask_kind: MaskKind
    bands: tuple[int | str, ...]
    static: tuple[str, ...]
    dates: tuple[dt.date | None, ...]
    extent: Extent | None
    area: Area | None
    grid: GridRule

    def open(self) -> Series:
        """Return the series; only headers are read. Raises one of the engine's errors."""
        return open_series(self.paths, bands=self.bands or None, **self._reading())

    def open_for(self, model: ClassModel) -> Series:
        """Return the series with the bands of a model, as :meth:`open`."""
        return open_for(model, self.paths, bands=self.bands or None, **self._reading())

    def files(self) -> list[str]:
        """Return all files that are read."""
        return [*self.paths, *self.masks, *self.static]

    def _reading(self) -> dict[str, Any]:
        return {
            "masks": self.masks or None,
            "mask_kind": self.mask_kind,
            "dates": self.dates,
            "static": self.static,
            "extent": self.extent,
            "area": self.area,
            "grid": self.grid,
        }


class RasterFiles(QgsProcessingParameterMultipleLayers):
    """A list of rasters that stay files.

    QGIS loads a file as a layer to see whether it is one, and for that layer's first style reads
    pixels and leaves an .aux.xml beside the file. The engine looks at headers instead.
    """

    def checkValueIsAcceptable(
        self, value: Any, context: QgsProcessingContext | None = None
    ) -> bool:
        return super().checkValueIsAcceptable(value)  # loads nothing without a context


def add_reading_parameters(algorithm: IikmcAlgorithm) -> None:
    """Declare INPUT, MASKS, MASK_KIND, BANDS, STATIC, DATES, EXTENT, AREA and GRID."""
    algorithm.add(
        RasterFiles("INPUT", tr("Scenes, one layer per date"), QgsProcessing.SourceType.TypeRaster),
        tr(
            "One multiband raster file per date, in any order. All have the same bands and, unless "
            "they are resampled (see Grid), lie on one grid: same CRS, pixel size, origin and "
            "size. Nodata values, not-a-number and infinities are left out."
        ),
    )
    algorithm.add(
        RasterFiles(
            "MASKS",
            tr("Masks, one per scene in the same order"),
            QgsProcessing.SourceType.TypeRaster,
            optional=True,
        ),
        tr(
            "Rasters that say which pixels of a scene are valid (no cloud, no shadow): one for "
            "each scene, in the order of the scenes. A mask of several bands counts where all of "
            "them say so."
        ),
    )
    algorithm.add(
        enum_parameter(
            "MASK_KIND",
            tr("What the masks hold"),
            [
                tr("Valid where not 0"),
                tr("Masked where not 0"),
                tr("Landsat QA_PIXEL (valid: no fill, cloud, cirrus or shadow)"),
                tr("Sentinel-2 SCL (valid: vegetation, soil, water, unclassified)"),
                tr("PlanetScope UDM2 (valid: clear)"),
            ],
        ),
        tr(
            "How to read the masks. QA_PIXEL: valid where bits 0 to 4 are clear. SCL: valid are "
            "classes 4, 5, 6 and 7. UDM2: valid where the clear band is 1."
        ),
    )
    algorithm.add(
        QgsProcessingParameterString(
            "BANDS", tr("Bands to use, such as 1,2,4"), defaultValue="", optional=True
        ),
        tr(
            "The bands to use, divided by commas: numbers from 1, such as 1,2,4, or names. Empty: "
            "all bands."
        ),
    )
    algorithm.add(
        RasterFiles(
            "STATIC",
            tr("Static features, the same for every date"),
            QgsProcessing.SourceType.TypeRaster,
            optional=True,
        ),
        tr(
            "Rasters that say more of the ground and do not change: height, slope, coherence. Each "
            "band joins every date as a band; other grids are resampled. Their numbers count as "
            "those of the bands do: see Scaling."
        ),
        advanced=True,
    )
    algorithm.add(
        QgsProcessingParameterString(
            "DATES", tr("Dates, in the order of the scenes"), defaultValue="", optional=True
        ),
        tr(
            "One ISO date for each scene, in the order of the scenes, divided by commas, such as "
            "2019-05-12, 2019-07-31. Empty: the date is that of the layer's temporal settings, "
            "else the one in the file's metadata, else the one in the file's name."
        ),
    )
    add_place_parameters(algorithm)
    algorithm.add(
        enum_parameter(
            "GRID",
            tr("Grid"),
            [
                tr("Scenes must share one grid"),
                tr("Resample to the first scene's grid"),
                tr("Resample to the first scene's grid, only the area common to all"),
            ],
        ),
        tr(
            "What to do with scenes of other grids. Resampled bands are interpolated bilinearly, "
            "masks take the nearest pixel; what a scene does not cover is nodata. The first scene "
            "is the first of the list."
        ),
        advanced=True,
    )


def take_inputs(
    algorithm: QgsProcessingAlgorithm, parameters: dict[str, Any], context: QgsProcessingContext
) -> SeriesInputs:
    """Return the reading parameters as plain data; raises an error that names the layer."""
    scenes = list(sources(parameters.get("INPUT"), context))
    masks = list(sources(parameters.get("MASKS"), context))
    given = parse_iso_list(algorithm.parameterAsString(parameters, "DATES", context))
    names = algorithm.parameterAsString(parameters, "BANDS", context).split(",")
    return SeriesInputs(
        paths=tuple(scene.path for scene in scenes),
        masks=tuple(mask.path for mask in masks),
        mask_kind=tuple(MaskKind)[algorithm.parameterAsEnum(parameters, "MASK_KIND", context)],
        bands=tuple(_band(name.strip()) for name in names if name.strip()),
        static=tuple(item.path for item in sources(parameters.get("STATIC"), context)),
        extent=take_extent(algorithm, parameters, context),
        area=take_area(algorithm, parameters, context),
        grid=tuple(GridRule)[algorithm.parameterAsEnum(parameters, "GRID", context)],
        dates=tuple(given) if given else tuple(scene.date for scene in scenes),
    )


@dataclass(frozen=True)
class FileSource:
    """What GDAL opens, and the date that a layer made of it has in QGIS, if any."""

    path: str
    date: dt.date | None = None


def _band(text: str) -> int | str:
    return int(text) if text.isdecimal() else text


def sources(value: Any, context: QgsProcessingContext) -> Iterator[FileSource]:
    """Yield what the value of a layer list parameter stands for, all of it and in its order.

    QGIS's parameterAsLayerList loads files as layers, and leaves out what it cannot load, which
    would shift masks against their scenes.
    """
    if isinstance(value, QgsProperty):
        value, _ = value.value(context.expressionContext())
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from sources(item, context)
    elif isinstance(value, QgsMapLayer):
        yield _source_of(value)
    elif isinstance(value, str) and value:
        layer = QgsProcessingUtils.mapLayerFromString(value, context, False)
        yield _source_of(layer) if layer is not None else FileSource(_gdal_path(value))


def _source_of(layer: QgsMapLayer) -> FileSource:
    if not isinstance(layer, QgsRasterLayer):
        raise RasterError(f"Layer '{layer.name()}' is no raster layer: give a raster file.")
    if layer.providerType() != "gdal" or layer.source().startswith("MEM:"):
        raise RasterError(
            f"Layer '{layer.name()}' is not a raster file (it comes from "
            f"{_origin(layer)}): export it to a file, such as a GeoTIFF, first."
        )
    if not layer.isValid():
        raise RasterError(
            f"Layer '{layer.name()}' cannot be opened from '{layer.source()}': "
            "repair its source or leave it out."
        )
    return FileSource(_gdal_path(layer.source()), _temporal_date(layer))


def _origin(layer: QgsRasterLayer) -> str:
    return "memory" if layer.providerType() == "gdal" else f"the provider '{layer.providerType()}'"


def _gdal_path(source: str) -> str:
    """Return a layer's source without QGIS's options."""
    registry = QgsProviderRegistry.instance()
    parts = registry.decodeUri("gdal", source)
    parts.pop("openOptions", None)
    return registry.encodeUri("gdal", parts)


def _temporal_date(layer: QgsRasterLayer) -> dt.date | None:
    """Return the day on which a layer's fixed temporal range begins, if it has one."""
    temporal = layer.temporalProperties()
    if not temporal.isActive() or temporal.mode() != Qgis.RasterTemporalMode.FixedTemporalRange:
        return None
    begin = temporal.fixedTemporalRange().begin()
    return begin.date().toPyDate() if begin.isValid() else None
