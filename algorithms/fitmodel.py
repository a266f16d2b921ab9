"""iikmc:fitmodel: a class model of a series, and its report, without class layers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qgis.core import QgsProcessingContext, QgsProcessingFeedback

from ..core.classify import fitted_scenes
from ..core.errors import ParameterError
from ..core.files import StagedOutputs
from ..core.report import write_report
from . import styling
from .base import FeedbackMonitor, IikmcAlgorithm, tr
from .fit_parameters import add_fit_parameters
from .fitting import FitOptions, take_fit
from .inputs import SeriesInputs, add_reading_parameters, take_inputs
from .outputs import add_fit_outputs, check_apart, fit_results, rehearse, take_file

_HELP = (
    "Finds the classes of a series as Classify series does (inter-image k-means, Han and Lee "
    "2024), and writes the model and a report, but no class layers.",
    "Apply class model then classifies these scenes, or new ones, with the model: to fit on some "
    "typical dates, say, and to classify many.",
    "All parameters mean what they do in Classify series.",
)


@dataclass(frozen=True)
class _Job:
    """All parameters as plain data."""

    inputs: SeriesInputs
    fit: FitOptions
    model: Path
    report: Path | None

    def stage(self, outputs: StagedOutputs) -> tuple[Path, Path | None]:
        """Return where to write model and report; raises OutputError."""
        files = {"MODEL": self.model, "REPORT": self.report, "CHECKPOINT": self.fit.checkpoint}
        check_apart(self.inputs.files(), files)
        return outputs.file(self.model), outputs.file(self.report) if self.report else None


class FitModel(IikmcAlgorithm):
    """Clusters all pixels of a series together and keeps the model."""

    def name(self) -> str:
        return "fitmodel"

    def displayName(self) -> str:
        return tr("Fit class model")

    def group(self) -> str:
        return tr("Classify")

    def groupId(self) -> str:
        return "classify"

    def tags(self) -> list[str]:
        words = (
            "k-means,kmeans,inter-image,cluster,clustering,unsupervised,classification,train,"
            "signatures,time series,multitemporal,land cover,landsat,sentinel,planetscope,raster"
        )
        return tr(words).split(",")

    def shortDescription(self) -> str:
        return tr("Class signatures common to all dates of a series of satellite scenes.")

    def shortHelpString(self) -> str:
        return "\n\n".join(tr(paragraph) for paragraph in _HELP)

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        add_reading_parameters(self)
        add_fit_parameters(self)
        add_fit_outputs(self, optional=False)

    def take(self, parameters: dict[str, Any], context: QgsProcessingContext) -> _Job:
        model = take_file(self, parameters, "MODEL", context)
        if model is None:
            raise ParameterError("MODEL is missing: give the file for the class model.")
        return _Job(
            inputs=take_inputs(self, parameters, context),
            fit=take_fit(self, parameters, context),
            model=model,
            report=take_file(self, parameters, "REPORT", context),
        )

    def check(self, job: _Job) -> None:
        job.fit.check(job.inputs.open())
        rehearse(job.stage)

    def work(
        self, job: _Job, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        monitor = FeedbackMonitor(feedback)
        with StagedOutputs() as outputs, job.inputs.open() as series:
            model_file, report_file = job.stage(outputs)
            model = job.fit.fit(series, monitor.part(0.0, 0.95))
            model.write(model_file)
            if report_file:
                scenes = fitted_scenes(
                    model,
                    series,
                    engine=job.fit.run.engine,
                    threads=job.fit.run.threads,
                    client=job.fit.run.scheduler,
                    monitor=monitor.part(0.95, 0.98),
                )
                title = styling.series_name(scenes, len(model.names))
                write_report(report_file, model, scenes, series.grid, title=title, monitor=monitor)
            monitor.check()
        monitor.progress(1.0)
        results = {"MODEL": str(job.model), **fit_results(model)}
        return {**results, "REPORT": str(job.report)} if job.report else results
