"""iikmc:prepareseries: products as they were downloaded to masked scenes on one grid."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsMapLayer,
    QgsProcessing,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputMultipleLayers,
    QgsProcessingOutputNumber,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterCrs,
    QgsProcessingParameterEnum,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterFolderDestination,
    QgsProcessingParameterMultipleLayers,
    QgsProcessingParameterNumber,
    QgsProcessingParameterString,
    QgsProperty,
)
from qgis.PyQt.QtCore import QVariant

from ..core.classify import resolved
from ..core.errors import OutputError, ParameterError
from ..core.files import StagedOutputs
from ..core.monitor import Monitor
from ..core.prepare.indices import Index
from ..core.prepare.inputs import plan_inputs
from ..core.prepare.plan import Plan, PrepareSettings
from ..core.prepare.radiometry import Radiometry
from ..core.prepare.run import prepare
from ..core.prepare.table import write_table
from ..core.products import Condition, ProductKind
from .base import FeedbackMonitor, IikmcAlgorithm, enum_parameter, tr
from .places import add_place_parameters, take_area, take_extent

_HELP = (
    "Turns products as they were downloaded into scenes that Classify series takes as they are: "
    "one raster per acquisition with the bands chosen, clouds and fill masked as nodata, all on "
    "one grid, each with band names, wavelengths and date.",
    "Input: a folder, which is searched with all folders in it, or archives or files. Nothing is "
    "unpacked; Landsat's .tar and Sentinel-2's .zip are read where they lie.",
    "Landsat 4 to 9 Collection 2 Level 2 (masked by QA_PIXEL and QA_RADSAT), Sentinel-2 L2A (SCL), "
    "PlanetScope surface reflectance (UDM2), STAC items with their rasters, or one multiband "
    "raster per date. Sensors can be mixed: bands are matched by what they see.",
    "Scenes in another CRS or on another grid are resampled to that of most scenes; where no "
    "resampling is needed, values stay as they are. Sentinel-2 products before and after "
    "processing baseline 04.00 are brought to the same numbers.",
    "A scene that cannot be used is left out, and the log says why; the run stops only if none is "
    "left, or at the first if so asked.",
)
# The order of MASK's options.
_MASKS = (
    Condition.CLOUD,
    Condition.SHADOW,
    Condition.CIRRUS,
    Condition.SNOW,
    Condition.WATER,
    Condition.SATURATED,
)
_USUAL_MASKS = [_MASKS.index(item) for item in _MASKS if item in PrepareSettings().mask]


class ProductFiles(QgsProcessingParameterMultipleLayers):
    """Folders, archives and files, which stay such: nothing is loaded as a layer to check it."""

    def checkValueIsAcceptable(
        self, value: Any, context: QgsProcessingContext | None = None
    ) -> bool:
        return isinstance(value, QgsProperty) or super().checkValueIsAcceptable(value)


class Choices(QgsProcessingParameterEnum):
    """Any number of options; an empty text is none, which command lines cannot say otherwise."""

    def __init__(self, name: str, description: str, options: list[str], usual: list[int]) -> None:
        super().__init__(name, description, options, True, usual, True)

    def checkValueIsAcceptable(
        self, value: Any, context: QgsProcessingContext | None = None
    ) -> bool:
        return _is_empty(value) or super().checkValueIsAcceptable(value, context)


@dataclass(frozen=True)
class _Job:
    """All parameters as plain data."""

    inputs: tuple[str, ...]
    kind: ProductKind
    settings: PrepareSettings
    folder: Path
    table: Path | None

    def plan(self, monitor: Monitor) -> Plan:
        """Find the products and decide what to do; only headers are read."""
        return plan_inputs(self.inputs, self.kind, self.settings, self.folder, monitor)


class PrepareSeries(IikmcAlgorithm):
    """Turns downloaded products into masked multiband rasters on one grid."""

    def name(self) -> str:
        return "prepareseries"

    def displayName(self) -> str:
        return tr("Prepare series")

    def group(self) -> str:
        return tr("Prepare")

    def groupId(self) -> str:
        return "prepare"

    def tags(self) -> list[str]:
        words = (
            "landsat,sentinel,sentinel-2,planetscope,planet,stac,surface reflectance,cloud mask,"
            "qa_pixel,scl,udm2,stack,bands,ndvi,time series,import,preprocess,raster"
        )
        return tr(words).split(",")

    def shortDescription(self) -> str:
        return tr("Downloaded satellite products to masked scenes on one grid.")

    def shortHelpString(self) -> str:
        return "\n\n".join(tr(paragraph) for paragraph in _HELP)

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        self._add_inputs()
        self._add_grid()
        self._add_values()
        self._add_outputs()

    def _add_inputs(self) -> None:
        self.add(
            ProductFiles(
                "INPUT", tr("Folder, archives or files"), QgsProcessing.SourceType.TypeFile
            ),
            tr(
                "What you downloaded: folders, which are searched with all folders in them, "
                "archives (.tar, .zip), or files of products."
            ),
        )
        self.add(
            enum_parameter(
                "PRODUCT",
                tr("Product"),
                [
                    tr("Detect"),
                    tr("Landsat 4, 5, 7, 8, 9 Collection 2 Level 2"),
                    tr("Sentinel-2 L2A"),
                    tr("PlanetScope surface reflectance"),
                    tr("STAC items"),
                    tr("One multiband file per date"),
                ],
            ),
            tr("What to look for. Multiband files are detected only where nothing else is found."),
        )
        self.add(
            QgsProcessingParameterString(
                "BANDS", tr("Bands, such as blue,green,red,nir08"), defaultValue="", optional=True
            ),
            tr(
                "Names divided by commas: common ones, such as blue or swir16, or the product's "
                "own, such as B8A. Empty: the usual bands of the product, or those that all "
                "sensors have."
            ),
        )
        self.add(
            Choices(
                "MASK",
                tr("Drop pixels with"),
                [
                    tr("Cloud"),
                    tr("Cloud shadow"),
                    tr("Cirrus or haze"),
                    tr("Snow or ice"),
                    tr("Water"),
                    tr("Saturated bands"),
                ],
                _USUAL_MASKS,
            ),
            tr("Which pixels become nodata, by the product's quality layers; fill always does."),
        )

    def _add_grid(self) -> None:
        real = QgsProcessingParameterNumber.Type.Double
        self.add(
            QgsProcessingParameterNumber("RESOLUTION", tr("Pixel size"), real, None, True, 0.0),
            tr("In units of the CRS. Empty: that of the finest band chosen."),
            advanced=True,
        )
        add_place_parameters(self)
        self.add(
            QgsProcessingParameterCrs("CRS", tr("CRS of the scenes"), None, True),
            tr("Scenes in another CRS are warped to it. Empty: that of most scenes."),
            advanced=True,
        )

    def _add_values(self) -> None:
        self.add(
            enum_parameter(
                "RADIOMETRY",
                tr("Numbers"),
                [tr("As they are, with scale and offset"), tr("Surface reflectance × 10,000")],
            ),
            tr(
                "As they are: the product's own numbers, and what they mean in the raster's scale "
                "and offset. Surface reflectance × 10,000: int16, the same for all sensors."
            ),
        )
        self.add(
            Choices("INDICES", tr("Indices as further bands"), [item.name for item in Index], []),
            tr(
                "Vegetation (NDVI), water (NDWI, MNDWI), built-up (NDBI) and burnt land (NBR), "
                "from reflectance, stored as ten-thousandths; the band's scale and offset say how."
            ),
        )
        self.add(
            QgsProcessingParameterBoolean(
                "STRICT", tr("Stop at the first scene that cannot be used"), False
            ),
            tr("Otherwise it is left out, and the run stops only if none is left."),
            advanced=True,
        )

    def _add_outputs(self) -> None:
        self.add(
            QgsProcessingParameterFolderDestination("OUTPUT", tr("Folder for the scenes")),
            tr("Gets one raster for every acquisition, named as the product."),
        )
        self.add(
            enum_parameter("FORMAT", tr("Format"), [tr("GeoTIFF"), tr("VRT where it can be")]),
            tr(
                "A VRT refers to the product's own files, and is written only for scenes that need "
                "no masking, resampling, conversion or index; the others become GeoTIFFs."
            ),
            advanced=True,
        )
        self.add(
            QgsProcessingParameterFileDestination(
                "SCENES", tr("Table of scenes"), tr("CSV (*.csv)"), None, True, False
            ),
            tr("Scene, date, sensor, shares of cloud and of valid pixels, and path, as CSV."),
        )
        self.addOutput(QgsProcessingOutputMultipleLayers("OUTPUT_LAYERS", tr("Scenes")))
        self.addOutput(QgsProcessingOutputNumber("SCENES_WRITTEN", tr("Scenes written")))
        self.addOutput(QgsProcessingOutputNumber("SCENES_LEFT_OUT", tr("Scenes left out")))

    def take(self, parameters: dict[str, Any], context: QgsProcessingContext) -> _Job:
        inputs = tuple(_paths(parameters.get("INPUT"), context))
        if not inputs:
            raise ParameterError("INPUT is empty: give a folder, archives or files.")
        folder = self.parameterAsString(parameters, "OUTPUT", context)
        if not folder:
            raise ParameterError("OUTPUT is missing: give the folder for the scenes.")
        table = self.parameterAsFileOutput(parameters, "SCENES", context)
        return _Job(
            inputs=inputs,
            kind=tuple(ProductKind)[self.parameterAsEnum(parameters, "PRODUCT", context)],
            settings=self._settings(parameters, context),
            folder=Path(folder),
            table=Path(table) if table else None,
        )

    def _settings(
        self, parameters: dict[str, Any], context: QgsProcessingContext
    ) -> PrepareSettings:
        def chosen(key: str) -> list[int]:
            if _is_empty(parameters.get(key)):
                return []
            return self.parameterAsEnums(parameters, key, context)

        names = self.parameterAsString(parameters, "BANDS", context).split(",")
        resolution = None
        if parameters.get("RESOLUTION") is not None:
            resolution = self.parameterAsDouble(parameters, "RESOLUTION", context)
        crs = ""
        if parameters.get("CRS"):
            given = self.parameterAsCrs(parameters, "CRS", context)
            if not given.isValid():
                raise ParameterError(f"CRS is '{parameters['CRS']}', which is none: choose one.")
            # The engine knows no user's own codes.
            crs = given.authid() if given.authid().startswith("EPSG:") else given.toWkt()
        return PrepareSettings(
            bands=tuple(name.strip() for name in names if name.strip()),
            mask=frozenset(_MASKS[number] for number in chosen("MASK")),
            resolution=resolution,
            extent=take_extent(self, parameters, context),
            area=take_area(self, parameters, context),
            crs=crs,
            radiometry=tuple(Radiometry)[self.parameterAsEnum(parameters, "RADIOMETRY", context)],
            indices=tuple(tuple(Index)[number] for number in chosen("INDICES")),
            strict=self.parameterAsBoolean(parameters, "STRICT", context),
            references=self.parameterAsEnum(parameters, "FORMAT", context) == 1,
        )

    def check(self, job: _Job) -> None:
        plan = job.plan(Monitor())
        _check_apart(job, plan)
        with contextlib.suppress(_Rehearsed), StagedOutputs() as outputs:
            _stage(job, outputs)
            raise _Rehearsed

    def work(
        self, job: _Job, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        monitor = FeedbackMonitor(feedback)
        plan = job.plan(monitor)
        _check_apart(job, plan)
        monitor.progress(0.05)
        with StagedOutputs() as outputs:
            table = _stage(job, outputs)
            prepared = prepare(
                plan,
                job.folder,
                outputs,
                strict=job.settings.strict,
                monitor=monitor.part(0.05, 1.0),
            )
            if table:
                write_table(table, prepared)
            monitor.check()
        results = {
            "OUTPUT": str(job.folder),
            "OUTPUT_LAYERS": [str(scene.path) for scene in prepared.scenes],
            "SCENES_WRITTEN": len(prepared.scenes),
            "SCENES_LEFT_OUT": len(prepared.left_out),
        }
        return {**results, "SCENES": str(job.table)} if job.table else results


class _Rehearsed(Exception):
    """Ends a rehearsal of writing, so that it leaves nothing."""


def _is_empty(value: Any) -> bool:
    """Return whether a value is an empty text, which QGIS may hand over as a null QVariant."""
    return isinstance(value, QVariant) or (isinstance(value, str) and not value.strip())


def _stage(job: _Job, outputs: StagedOutputs) -> Path | None:
    """Return where to write the table; what cannot be written shows now, not at the end."""
    outputs.folder(job.folder)
    return outputs.file(job.table) if job.table else None


def _check_apart(job: _Job, plan: Plan) -> None:
    """Raise OutputError where the table would take the place of an input."""
    if job.table is None:
        return
    products = [scene.product for scene in plan.scenes]
    bands = {band.path for product in products for band in product.bands}
    taken = {*job.inputs, *bands, *(item.path for each in products for item in each.quality)}
    if resolved(job.table) in {resolved(path) for path in taken}:
        raise OutputError(f"SCENES is '{job.table}', which is an input: choose another file.")


def _paths(value: Any, context: QgsProcessingContext) -> Iterator[str]:
    """Yield what the value of INPUT stands for; layers of the project are their files."""
    if isinstance(value, QgsProperty):
        value, _ = value.value(context.expressionContext())
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _paths(item, context)
    elif isinstance(value, QgsMapLayer):
        yield value.source()
    elif isinstance(value, str) and value.strip():
        yield value
