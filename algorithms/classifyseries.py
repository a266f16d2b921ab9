"""iikmc:classifyseries: joint classes for all scenes of a series, one styled layer per date."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputMultipleLayers,
    QgsProcessingOutputNumber,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterFolderDestination,
)

from ..core.classify import SUFFIX, ClassifiedScene, check_inputs_stay, classify, resolved
from ..core.errors import OutputError, ParameterError
from ..core.files import StagedOutputs
from ..core.model import ClassModel
from ..core.monitor import Monitor
from ..core.report import write_report
from . import styling
from .base import FeedbackMonitor, IikmcAlgorithm, tr
from .fitting import FitOptions, add_fit_parameters, take_fit
from .inputs import SeriesInputs, add_reading_parameters, take_inputs

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
_NUMBERS = {
    "CLASSES_FOUND": "Classes that have pixels",
    "ITERATIONS": "Iterations",
    "CONVERGED": "Converged (1) or stopped at the iteration limit (0)",
    "CHANGED_FRACTION": "Share of pixels that changed class in the last iteration",
    "INERTIA": "Sum of squared distances to the signatures",
    "VALID_PIXELS": "Valid pixels of all scenes",
}


@dataclass(frozen=True)
class _Job:
    """All parameters as plain data."""

    inputs: SeriesInputs
    fit: FitOptions
    load: bool
    folder: Path
    model: Path | None
    report: Path | None


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
        self._add_outputs()

    def _add_outputs(self) -> None:
        self.add(
            QgsProcessingParameterBoolean(
                "LOAD", tr("Load the class layers, styled and grouped"), True
            ),
            tr(
                "Put the class layers into the project, as one group with the newest on top. Only "
                "when run in QGIS. Switch it off inside a model that does more with them."
            ),
        )
        self.add(
            QgsProcessingParameterFolderDestination("OUTPUT", tr("Folder for the class layers")),
            tr("Gets one raster, SCENE_classes.tif, and its .qml style for every scene."),
        )
        self.add(
            QgsProcessingParameterFileDestination(
                "MODEL", tr("Class model"), tr("Class model (*.json)"), None, True, False
            ),
            tr("Signatures, names and colours of the classes and how they were found, as JSON."),
        )
        self.add(
            QgsProcessingParameterFileDestination(
                "REPORT", tr("Report"), tr("HTML (*.html)"), None, True, False
            ),
            tr("One HTML file: maps, areas per date, signatures, convergence and all settings."),
        )
        self.addOutput(QgsProcessingOutputMultipleLayers("OUTPUT_LAYERS", tr("Class layers")))
        for key, description in _NUMBERS.items():
            self.addOutput(QgsProcessingOutputNumber(key, tr(description)))

    def take(self, parameters: dict[str, Any], context: QgsProcessingContext) -> _Job:
        def target(key: str) -> Path | None:
            text = self.parameterAsFileOutput(parameters, key, context)
            return Path(text) if text else None

        folder = self.parameterAsString(parameters, "OUTPUT", context)
        if not folder:
            raise ParameterError("OUTPUT is missing: give the folder for the class layers.")
        return _Job(
            inputs=take_inputs(self, parameters, context),
            fit=take_fit(self, parameters, context),
            load=self.parameterAsBoolean(parameters, "LOAD", context),
            folder=Path(folder),
            model=target("MODEL"),
            report=target("REPORT"),
        )

    def check(self, job: _Job) -> None:
        series = job.inputs.open()
        job.fit.check(series)
        check_inputs_stay(series, job.folder)
        with contextlib.suppress(_Rehearsed), StagedOutputs() as outputs:
            _stage(job, outputs)
            raise _Rehearsed

    def work(
        self, job: _Job, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        monitor = FeedbackMonitor(feedback)
        with StagedOutputs() as outputs, job.inputs.open() as series:
            model_file, report_file = _stage(job, outputs)
            model = job.fit.fit(series, monitor.part(0.0, 0.8))
            began = time.perf_counter()
            scenes = classify(
                model,
                series,
                job.folder,
                outputs,
                engine=job.fit.engine,
                threads=job.fit.threads,
                memory_mb=job.fit.memory_mb,
                monitor=monitor.part(0.8, 0.95),
            )
            _write_styles(scenes, model, monitor.part(0.95, 0.97))
            seconds = [("writing", time.perf_counter() - began)]
            if model_file:
                model.write(model_file)
            if report_file:
                name = styling.series_name(scenes, len(model.names))
                write_report(
                    report_file, model, scenes, seconds=seconds, title=name, monitor=monitor
                )
            monitor.check()
        monitor.progress(1.0)
        if job.load:
            name = styling.series_name(scenes, len(model.names))
            styling.load_on_completion(context, scenes, name, job.folder)
        return _results(job, model, scenes)


class _Rehearsed(Exception):
    """Ends a rehearsal of writing, so that it leaves nothing."""


def _stage(job: _Job, outputs: StagedOutputs) -> tuple[Path | None, Path | None]:
    """Return where to write model and report; what cannot be written shows now, not at the end."""
    _check_apart(job)
    outputs.folder(job.folder)
    model, report = (outputs.file(path) if path else None for path in (job.model, job.report))
    return model, report


def _check_apart(job: _Job) -> None:
    """Raise OutputError where model or report would take the place of another file of the run."""
    taken = {resolved(path): "an input" for path in (*job.inputs.paths, *job.inputs.masks)}
    for key, path in (("MODEL", job.model), ("REPORT", job.report)):
        if path is None:
            continue
        place = resolved(path)
        if place.parent == resolved(job.folder) and place.name.endswith(SUFFIX):
            taken[place] = "a class layer"
        if place in taken:
            raise OutputError(f"{key} is '{path}', which is {taken[place]}: choose another file.")
        taken[place] = "the model"


def _write_styles(scenes: list[ClassifiedScene], model: ClassModel, monitor: Monitor) -> None:
    shown = styling.shown_ranges([scene.date for scene in scenes])
    for done, (scene, when) in enumerate(zip(scenes, shown), start=1):
        monitor.check()
        styling.write_style(scene.staged, model.classes, when)
        monitor.progress(done / len(scenes))


def _results(job: _Job, model: ClassModel, scenes: list[ClassifiedScene]) -> dict[str, Any]:
    results = {
        "OUTPUT": str(job.folder),
        "OUTPUT_LAYERS": [str(scene.path) for scene in scenes],
        "CLASSES_FOUND": sum(pixels > 0 for pixels in model.fit.class_pixels),
        "ITERATIONS": model.fit.n_iter,
        "CONVERGED": int(model.fit.converged),
        "CHANGED_FRACTION": model.fit.changed_fraction,
        "INERTIA": model.fit.inertia,
        "VALID_PIXELS": model.fit.valid_pixels,
    }
    for key, path in (("MODEL", job.model), ("REPORT", job.report)):
        if path:
            results[key] = str(path)
    return results
