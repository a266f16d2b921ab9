"""iikmc:assessconsistency: how far class layers agree from date to date, beyond chance."""

from __future__ import annotations

import contextlib
import tempfile
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
    QgsProcessingParameterDefinition,
    QgsProcessingParameterFile,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterFolderDestination,
    QgsProcessingParameterNumber,
)

from ..core.errors import ParameterError
from ..core.files import StagedOutputs
from ..core.interpret.assess import CHANGE_COUNT, ENTROPY, assess, check_assessment, write_pairs
from ..core.interpret.consistency_report import write_consistency_report
from ..core.interpret.label_series import LabelSeries, labels_to_come, open_labels
from ..core.model import ClassModel
from ..core.monitor import Monitor
from .base import FeedbackMonitor, IikmcAlgorithm, tr
from .inputs import SeriesInputs, add_reading_parameters, take_inputs
from .interpreting import Shown, load_on_completion, write_ramp
from .label_inputs import DATES_HELP, INPUT_HELP, LabelInputs, RasterFile, take_labels, take_raster
from .outputs import check_apart, rehearse, take_file

_HELP = (
    "Measures whether a class means the same on every date: how many pixels keep their class "
    "between dates, how far that exceeds chance (Cohen's kappa), how much renaming the classes of "
    "a date could win (drift), and how alike the maps are whatever the classes are called "
    "(adjusted Rand index).",
    "Compared are all dates up to a number of acquisitions apart, and dates about a year apart, "
    "which have the season in common.",
    "True change lowers the scores as confusion does. Give a raster of ground that is known not to "
    "have changed to leave true change out. With known land cover, each date is compared with that "
    "as well.",
    "Two rasters show where classes are unsteady: how often a pixel changes class, and the entropy "
    "of its classes in bits, 0 where it always has one class.",
    "Give class layers, or scenes together with a class model, which classifies them first; masks, "
    "bands, static features, extent, area and grid are for scenes only.",
    "The numbers are over all pairs of dates up to the largest gap, each pixel of each pair "
    "counting once.",
)
_FOR_SCENES = ("MASKS", "MASK_KIND", "BANDS", "STATIC", "EXTENT", "AREA", "GRID")
_NUMBERS = {
    "AGREEMENT": "Share of pixels with the same class on both dates",
    "KAPPA": "Cohen's kappa",
    "DRIFT": "What matching the classes of each pair anew would add to the agreement",
    "ARI": "Adjusted Rand index",
}


@dataclass(frozen=True)
class _Job:
    """All parameters as plain data; with a model, ``scenes`` are to be classified first."""

    labels: LabelInputs
    scenes: SeriesInputs | None
    model: ClassModel | None
    max_gap: int
    invariant: str | None
    reference: str | None
    load: bool
    folder: Path
    table: Path | None
    report: Path | None

    def stage(self, outputs: StagedOutputs) -> list[Path | None]:
        """Return where to write table and report."""
        outputs.folder(self.folder)
        return [outputs.file(path) if path else None for path in (self.table, self.report)]

    def inputs(self) -> list[str]:
        """Return all files that are read."""
        layers = self.labels.paths if self.scenes is None else self.scenes.files()
        return [*layers, *(path for path in (self.invariant, self.reference) if path)]


class AssessConsistency(IikmcAlgorithm):
    """Measures how far the classes of a series agree from date to date."""

    def name(self) -> str:
        return "assessconsistency"

    def displayName(self) -> str:
        return tr("Assess consistency")

    def group(self) -> str:
        return tr("Interpret")

    def groupId(self) -> str:
        return "interpret"

    def tags(self) -> list[str]:
        words = (
            "consistency,agreement,kappa,adjusted rand,drift,stability,entropy,accuracy,validation,"
            "time series,multitemporal,land cover,classes,classification,raster"
        )
        return tr(words).split(",")

    def shortDescription(self) -> str:
        return tr("Whether a class means the same on every date of a series.")

    def shortHelpString(self) -> str:
        return "\n\n".join(tr(paragraph) for paragraph in _HELP)

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        add_reading_parameters(self)
        self._describe("INPUT", tr("Class layers, one per date"), tr(INPUT_HELP) + " " + tr(
            "With a class model: scenes."
        ))  # fmt: skip
        self._describe("DATES", tr("Dates, in the order of the layers"), tr(DATES_HELP))
        for key in _FOR_SCENES:
            definition = self.parameterDefinition(key)
            flag = QgsProcessingParameterDefinition.Flag.FlagAdvanced
            definition.setFlags(definition.flags() | flag)
        self._add_own()
        self._add_outputs()

    def _describe(self, key: str, title: str, text: str) -> None:
        """Say what a reading parameter is here."""
        definition = self.parameterDefinition(key)
        definition.setDescription(title)
        definition.setHelp(text)

    def _add_own(self) -> None:
        self.add(
            QgsProcessingParameterFile(
                "MODEL",
                tr("Class model, where the layers are scenes"),
                optional=True,
                fileFilter=tr("Class model (*.json)"),
            ),
            tr("Classifies the scenes first, into a temporary folder. Empty: give class layers."),
        )
        self.add(
            RasterFile("INVARIANT", tr("Ground that has not changed"), optional=True),
            tr(
                "A raster on the grid of the layers. Only pixels where it is not 0 count in the "
                "scores: ground that is known to have been the same on all dates. Empty: all do."
            ),
        )
        self.add(
            RasterFile("REFERENCE", tr("Known land cover"), optional=True),
            tr(
                "A raster of land cover classes on the grid of the layers: integers above 0, which "
                "need not be the numbers of the classes. Each date is compared with it after the "
                "best one-to-one matching."
            ),
        )
        self.add(
            QgsProcessingParameterNumber(
                "MAX_GAP",
                tr("Largest gap between dates (acquisitions)"),
                QgsProcessingParameterNumber.Type.Integer,
                3,
                False,
                1,
            ),
            tr("Dates up to so many acquisitions apart are compared; 1: each with the next only."),
        )

    def _add_outputs(self) -> None:
        self.add(
            QgsProcessingParameterBoolean("LOAD", tr("Load the rasters, styled and grouped"), True),
            tr(
                "Put the rasters into the project, as one group. Only when run in QGIS. Switch it "
                "off inside a model that does more with them."
            ),
        )
        self.add(
            QgsProcessingParameterFolderDestination("OUTPUT", tr("Folder for the rasters")),
            tr("Gets change_count.tif and entropy.tif, each with its .qml style."),
        )
        for key, title, kind, text in (
            (
                "TABLE",
                tr("Table of pairs"),
                tr("CSV (*.csv)"),
                tr("One row with all scores for each pair of dates."),
            ),
            (
                "REPORT",
                tr("Report"),
                tr("HTML (*.html)"),
                tr("One HTML file: scores by distance in time, from date to date and by class."),
            ),
        ):
            self.add(
                QgsProcessingParameterFileDestination(key, title, kind, None, True, False), text
            )
        rasters = tr("Rasters of changes and entropy")
        self.addOutput(QgsProcessingOutputMultipleLayers("OUTPUT_LAYERS", rasters))
        for key, description in _NUMBERS.items():
            self.addOutput(QgsProcessingOutputNumber(key, tr(description)))

    def take(self, parameters: dict[str, Any], context: QgsProcessingContext) -> _Job:
        folder = self.parameterAsString(parameters, "OUTPUT", context)
        if not folder:
            raise ParameterError("OUTPUT is missing: give the folder for the rasters.")
        model = self.parameterAsFile(parameters, "MODEL", context)
        if not model:
            _check_no_scenes(parameters)
        return _Job(
            labels=take_labels(self, parameters, context),
            scenes=take_inputs(self, parameters, context) if model else None,
            model=ClassModel.load(model) if model else None,
            max_gap=self.parameterAsInt(parameters, "MAX_GAP", context),
            invariant=take_raster(parameters, "INVARIANT", context),
            reference=take_raster(parameters, "REFERENCE", context),
            load=self.parameterAsBoolean(parameters, "LOAD", context),
            folder=Path(folder),
            table=take_file(self, parameters, "TABLE", context),
            report=take_file(self, parameters, "REPORT", context),
        )

    def check(self, job: _Job) -> None:
        if job.scenes is not None and job.model is not None:
            labels = labels_to_come(job.scenes.open_for(job.model), job.model)
        else:
            labels = job.labels.open()
        check_assessment(
            labels, max_gap=job.max_gap, invariant=job.invariant, reference=job.reference
        )
        rasters = {name: job.folder / name for name in (CHANGE_COUNT, ENTROPY)}
        check_apart(job.inputs(), {**rasters, "TABLE": job.table, "REPORT": job.report})
        rehearse(job.stage)

    def work(
        self, job: _Job, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        monitor = FeedbackMonitor(feedback)
        with contextlib.ExitStack() as stack:
            outputs = stack.enter_context(StagedOutputs())
            # What cannot be written shows now, not at the end.
            table, report = job.stage(outputs)
            begin = 0.0 if job.scenes is None else 0.5
            labels = _labels(job, stack, monitor.part(0.0, begin))
            began = time.perf_counter()
            found = assess(
                labels,
                job.folder,
                outputs,
                max_gap=job.max_gap,
                invariant=job.invariant,
                reference=job.reference,
                monitor=monitor.part(begin, 0.95),
            )
            write_ramp(found.change_count, found.most_changes, 0)
            write_ramp(found.entropy, found.most_entropy, 2)
            seconds = [("comparing and writing", time.perf_counter() - began)]
            if table:
                write_pairs(table, found)
            monitor.check()
            if report:
                write_consistency_report(report, found, seconds=seconds, monitor=monitor)
            monitor.check()
        monitor.progress(1.0)
        shown = [
            Shown(job.folder / ENTROPY, tr("Entropy of the classes (bits)")),
            Shown(job.folder / CHANGE_COUNT, tr("Number of changes")),
        ]
        if job.load:
            dates = found.labels.dates
            name = tr("Consistency, {} to {}").format(dates[0], dates[-1])
            load_on_completion(context, shown, name, job.folder)
        scores = found.whole
        files = {"TABLE": job.table, "REPORT": job.report}
        return {
            "OUTPUT": str(job.folder),
            "OUTPUT_LAYERS": [str(item.path) for item in shown],
            "AGREEMENT": scores.agreement,
            "KAPPA": scores.kappa,
            "DRIFT": scores.drift,
            "ARI": scores.ari,
            **{key: str(path) for key, path in files.items() if path},
        }


def _labels(job: _Job, stack: contextlib.ExitStack, monitor: Monitor) -> LabelSeries:
    """Return the class layers: those given, or those of a model, kept until the stack closes."""
    if job.scenes is None or job.model is None:
        labels = job.labels.open()
        for note in labels.notes:
            monitor.warning(note)
        return labels
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="iikmc-"))
    with job.scenes.open_for(job.model) as series:
        for note in series.notes:
            monitor.warning(note)
        paths = job.model.classify(series, folder, monitor=monitor)
        return open_labels(paths, dates=[scene.date for scene in series.scenes])


def _check_no_scenes(parameters: dict[str, Any]) -> None:
    """Raise ParameterError where something is given that says how to read scenes."""
    for key in _FOR_SCENES:
        value = parameters.get(key)
        # Index 0 of an enum is what it is without being asked for.
        if value not in (None, "", [], 0, "0"):
            raise ParameterError(
                f"{key} says how to read scenes, but without MODEL the layers are classes: give "
                f"the model, or leave {key} out."
            )
