"""iikmc:classifyseries: joint classes for all scenes of a series, one styled layer per date."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qgis.core import QgsProcessingContext, QgsProcessingFeedback

from ..core.classify import Folders, check_inputs_stay, classify
from ..core.files import StagedOutputs
from ..core.report import write_report
from . import styling
from .base import FeedbackMonitor, IikmcAlgorithm, tr
from .fit_parameters import add_fit_parameters
from .fitting import FitOptions, take_fit
from .inputs import SeriesInputs, add_reading_parameters, take_inputs
from .outputs import (
    add_fit_outputs,
    add_layer_outputs,
    check_apart,
    fit_results,
    rehearse,
    take_file,
    take_folder,
    write_styles,
)

_HELP = (
    "Clusters all pixels of all dates together (inter-image k-means, Han and Lee 2024), so a class "
    "means the same on every date. Writes one class layer per date, all with one palette.",
    "Scenes: one multiband raster file per date, all on one grid and with the same bands. Masks, "
    "if there are any: one per scene in the same order; say what they hold.",
    "Dates come from the layers' temporal settings, the files' metadata or the file names "
    "(2019-07-31, 20190731, 2019212), unless you list them.",
    "The result is a raster SCENE_classes.tif for every scene, with colours, class names and date; "
    "0 is nodata. Loaded into QGIS, the layers form a group, newest on top, and the temporal "
    "controller plays them date by date.",
    "The model keeps the class signatures as JSON. The report shows maps, areas per date, "
    "signatures, and how well the run converged.",
    "All engines and any number of threads give exactly the same classes. Auto takes the fastest "
    "that is installed: Numba, else NumPy.",
    "With first centres from a model, the model's class numbers, names and colours are kept; the "
    "number of classes and their order set here are not used.",
)


@dataclass(frozen=True)
class _Job:
    """All parameters as plain data."""

    inputs: SeriesInputs
    fit: FitOptions
    load: bool
    folder: Path
    model: Path | None
    report: Path | None

    def stage(self, outputs: StagedOutputs) -> tuple[Path | None, Path | None]:
        """Return where to write model and report; raises OutputError."""
        files = {"MODEL": self.model, "REPORT": self.report, "CHECKPOINT": self.fit.checkpoint}
        check_apart(self.inputs.files(), files, self.folder)
        outputs.folder(self.folder)
        model, report = (outputs.file(path) if path else None for path in (self.model, self.report))
        return model, report


class ClassifySeries(IikmcAlgorithm):
    """Clusters all pixels of a series together and writes one class raster per date."""

    def name(self) -> str:
        return "classifyseries"

    def displayName(self) -> str:
        return tr("Classify series")

    def group(self) -> str:
        return tr("Classify")

    def groupId(self) -> str:
        return "classify"

    def tags(self) -> list[str]:
        words = (
            "k-means,kmeans,inter-image,cluster,clustering,unsupervised,classification,classify,"
            "time series,multi-date,multitemporal,land cover,landsat,sentinel,planetscope,raster"
        )
        return tr(words).split(",")

    def shortDescription(self) -> str:
        return tr("Joint k-means classes for all dates of a series of satellite scenes.")

    def shortHelpString(self) -> str:
        return "\n\n".join(tr(paragraph) for paragraph in _HELP)

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        add_reading_parameters(self)
        add_fit_parameters(self)
        add_layer_outputs(self)
        add_fit_outputs(self)

    def take(self, parameters: dict[str, Any], context: QgsProcessingContext) -> _Job:
        return _Job(
            folder=take_folder(self, parameters, context),
            inputs=take_inputs(self, parameters, context),
            fit=take_fit(self, parameters, context),
            load=self.parameterAsBoolean(parameters, "LOAD", context),
            model=take_file(self, parameters, "MODEL", context),
            report=take_file(self, parameters, "REPORT", context),
        )

    def check(self, job: _Job) -> None:
        series = job.inputs.open()
        job.fit.check(series)
        check_inputs_stay(series, Folders(job.folder))
        rehearse(job.stage)

    def work(
        self, job: _Job, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        monitor = FeedbackMonitor(feedback)
        with StagedOutputs() as outputs, job.inputs.open() as series:
            # What cannot be written shows now, not at the end.
            model_file, report_file = job.stage(outputs)
            model = job.fit.fit(series, monitor.part(0.0, 0.8))
            began = time.perf_counter()
            scenes = classify(
                model,
                series,
                Folders(job.folder),
                outputs,
                engine=job.fit.run.engine,
                threads=job.fit.run.threads,
                memory_mb=job.fit.run.memory_mb,
                client=job.fit.run.scheduler,
                monitor=monitor.part(0.8, 0.95),
            )
            write_styles(scenes, model, monitor.part(0.95, 0.97))
            seconds = [("writing", time.perf_counter() - began)]
            name = styling.series_name(scenes, len(model.names))
            if model_file:
                model.write(model_file)
            if report_file:
                write_report(
                    report_file,
                    model,
                    scenes,
                    series.grid,
                    seconds=seconds,
                    title=name,
                    monitor=monitor,
                )
            monitor.check()
        monitor.progress(1.0)
        if job.load:
            styling.load_on_completion(context, scenes, len(model.names), job.folder)
        files = {"MODEL": job.model, "REPORT": job.report}
        return {
            "OUTPUT": str(job.folder),
            "OUTPUT_LAYERS": [str(scene.path) for scene in scenes],
            **fit_results(model),
            **{key: str(path) for key, path in files.items() if path},
        }
