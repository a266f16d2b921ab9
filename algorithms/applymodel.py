"""iikmc:applymodel: the classes of a model in other scenes, such as a new date of an old series."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputNumber,
    QgsProcessingParameterFile,
    QgsProcessingParameterFolderDestination,
)

from ..core.classify import Folders, check_inputs_stay, classify
from ..core.errors import ParameterError
from ..core.files import StagedOutputs
from ..core.model import ClassModel
from . import styling
from .base import FeedbackMonitor, IikmcAlgorithm, tr
from .inputs import SeriesInputs, add_reading_parameters, take_inputs
from .outputs import add_layer_outputs, rehearse, take_folder, write_styles
from .running import RunOptions, add_run_parameters, take_run

_HELP = (
    "Classifies scenes with a class model that was fitted before, on these scenes or on others: a "
    "new date joins an old series with the same classes, names and colours.",
    "The scenes' bands are found by the names that they have in the model, else by number, which "
    "is said in the log. List them with Bands if they are others. Static features of the model "
    "have to be given again.",
    "The values have to mean the same as those the model was fitted on: the same product, scale "
    "and offset.",
    "Distance and margin say how sure a label is: how far a pixel is from its signature, and how "
    "much farther from the second nearest. A large distance is ground that the model has not seen; "
    "a small margin is a pixel between two classes.",
)


@dataclass(frozen=True)
class _Job:
    """All parameters as plain data."""

    inputs: SeriesInputs
    model: ClassModel
    run: RunOptions
    load: bool
    folders: Folders

    def stage(self, outputs: StagedOutputs) -> None:
        """Make sure that all folders can be written."""
        for folder in (self.folders.labels, self.folders.distance, self.folders.margin):
            if folder is not None:
                outputs.folder(folder)


class ApplyModel(IikmcAlgorithm):
    """Classifies scenes with a model."""

    def name(self) -> str:
        return "applymodel"

    def displayName(self) -> str:
        return tr("Apply class model")

    def group(self) -> str:
        return tr("Classify")

    def groupId(self) -> str:
        return "classify"

    def tags(self) -> list[str]:
        words = (
            "k-means,kmeans,inter-image,classification,classify,predict,model,signatures,new date,"
            "time series,multitemporal,land cover,landsat,sentinel,planetscope,raster"
        )
        return tr(words).split(",")

    def shortDescription(self) -> str:
        return tr("The classes of a model in other scenes, with its names and colours.")

    def shortHelpString(self) -> str:
        return "\n\n".join(tr(paragraph) for paragraph in _HELP)

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        add_reading_parameters(self)
        self.add(
            QgsProcessingParameterFile(
                "MODEL", tr("Class model"), fileFilter=tr("Class model (*.json)")
            ),
            tr("A class model saved by Fit class model or Classify series."),
        )
        add_run_parameters(self)
        add_layer_outputs(self)
        for key, title, what in (
            (
                "DISTANCE",
                tr("Folder for distances"),
                tr(
                    "Gets SCENE_distance.tif for every scene: the distance of each pixel to its "
                    "signature, in the input's units, or in those of the model's scaling."
                ),
            ),
            (
                "MARGIN",
                tr("Folder for margins"),
                tr(
                    "Gets SCENE_margin.tif for every scene: how much farther than its signature "
                    "the second nearest is from a pixel, in the same units."
                ),
            ),
        ):
            parameter = QgsProcessingParameterFolderDestination(key, title, None, True, False)
            self.add(parameter, what)
        self.addOutput(QgsProcessingOutputNumber("VALID_PIXELS", tr("Valid pixels of all scenes")))

    def take(self, parameters: dict[str, Any], context: QgsProcessingContext) -> _Job:
        def folder(key: str) -> Path | None:
            text = self.parameterAsString(parameters, key, context)
            return Path(text) if text else None

        model = self.parameterAsFile(parameters, "MODEL", context)
        if not model:
            raise ParameterError("MODEL is missing: give a saved class model.")
        labels = take_folder(self, parameters, context)
        return _Job(
            inputs=take_inputs(self, parameters, context),
            model=ClassModel.load(model),
            run=take_run(self, parameters, context),
            load=self.parameterAsBoolean(parameters, "LOAD", context),
            folders=Folders(labels, folder("DISTANCE"), folder("MARGIN")),
        )

    def check(self, job: _Job) -> None:
        job.run.check()
        check_inputs_stay(job.inputs.open_for(job.model), job.folders)
        rehearse(job.stage)

    def work(
        self, job: _Job, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        monitor = FeedbackMonitor(feedback)
        with StagedOutputs() as outputs, job.inputs.open_for(job.model) as series:
            scenes = classify(
                job.model,
                series,
                job.folders,
                outputs,
                engine=job.run.engine,
                threads=job.run.threads,
                memory_mb=job.run.memory_mb,
                client=job.run.scheduler,
                monitor=monitor.part(0.0, 0.95),
            )
            write_styles(scenes, job.model, monitor.part(0.95, 1.0))
            monitor.check()
        monitor.progress(1.0)
        if job.load:
            classes = len(job.model.names)
            styling.load_on_completion(context, scenes, classes, job.folders.labels)
        found = {
            "OUTPUT": str(job.folders.labels),
            "OUTPUT_LAYERS": [str(scene.path) for scene in scenes],
            "VALID_PIXELS": sum(int(scene.class_pixels.sum()) for scene in scenes),
        }
        extra = {"DISTANCE": job.folders.distance, "MARGIN": job.folders.margin}
        return {**found, **{key: str(path) for key, path in extra.items() if path}}
