"""iikmc:classchanges: what changed between class layers of a series: tables, maps, a report."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputMultipleLayers,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterFolderDestination,
    QgsProcessingParameterString,
)

from ..core.dates import parse_iso
from ..core.errors import DateError, ParameterError
from ..core.files import StagedOutputs
from ..core.interpret.change_report import write_change_report
from ..core.interpret.changes import (
    CHANGE_COUNT,
    FROM_TO,
    LAST_CHANGE,
    MAJORITY,
    MeasuredChanges,
    change_styles,
    choose_dates,
    date_styles,
    measure_changes,
    write_areas,
    write_transitions,
)
from .base import FeedbackMonitor, IikmcAlgorithm, tr
from .interpreting import Shown, load_on_completion, write_palette, write_ramp
from .label_inputs import LabelInputs, add_label_parameters, take_labels
from .outputs import check_apart, rehearse, take_file

_HELP = (
    "Shows what changed in a series of class layers, such as those of Classify series: the area of "
    "each class on each date, what became of each class between two dates and from each date to "
    "the next, and where and when pixels changed.",
    "Four rasters are written, each with its style: from_to.tif has a value, a name and a colour "
    "for each change of class between From and To; last_change.tif the date of a pixel's last "
    "change, as a number such as 20190731; change_count.tif how often it changed; majority.tif its "
    "most frequent class.",
    "The value in from_to.tif is (from - 1) * k + to, for k classes: with six classes, 9 is from "
    "class 2 to class 3.",
    "Areas are in hectares, on the ellipsoid where the CRS is geographic. The tables are CSV files "
    "with one row for each class and date, and for each change of class.",
    "A change of class is not always a change of the ground: season, light and haze move pixels "
    "between classes, too. Assess consistency says how much.",
)
_FILES = ("AREAS", "TRANSITIONS", "REPORT")


@dataclass(frozen=True)
class _Job:
    """All parameters as plain data."""

    inputs: LabelInputs
    since: dt.date | None
    until: dt.date | None
    load: bool
    folder: Path
    areas: Path | None
    transitions: Path | None
    report: Path | None

    @property
    def files(self) -> dict[str, Path | None]:
        """The files asked for, by the parameters' keys."""
        return dict(zip(_FILES, (self.areas, self.transitions, self.report)))

    def stage(self, outputs: StagedOutputs) -> list[Path | None]:
        """Return where to write tables and report."""
        outputs.folder(self.folder)
        return [outputs.file(path) if path else None for path in self.files.values()]


class ClassChanges(IikmcAlgorithm):
    """Tells what changed between class layers."""

    def name(self) -> str:
        return "classchanges"

    def displayName(self) -> str:
        return tr("Class changes")

    def group(self) -> str:
        return tr("Interpret")

    def groupId(self) -> str:
        return "interpret"

    def tags(self) -> list[str]:
        words = (
            "change,changes,change detection,transition,transition matrix,from-to,area,areas,"
            "hectares,majority,mode,time series,multitemporal,land cover,classes,classification,"
            "raster"
        )
        return tr(words).split(",")

    def shortDescription(self) -> str:
        return tr("Areas, transitions and maps of what changed in a series of class layers.")

    def shortHelpString(self) -> str:
        return "\n\n".join(tr(paragraph) for paragraph in _HELP)

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        add_label_parameters(self)
        for key, title, what in (
            ("FROM", tr("From date"), tr("the first date")),
            ("TO", tr("To date"), tr("the last date")),
        ):
            self.add(
                QgsProcessingParameterString(key, title, defaultValue="", optional=True),
                tr(
                    "An ISO date of one of the layers, such as 2019-07-31, for the map and the "
                    "table of changes between two dates. Empty: {}."
                ).format(what),
            )
        self.add(
            QgsProcessingParameterBoolean("LOAD", tr("Load the rasters, styled and grouped"), True),
            tr(
                "Put the rasters into the project, as one group. Only when run in QGIS. Switch it "
                "off inside a model that does more with them."
            ),
        )
        self.add(
            QgsProcessingParameterFolderDestination("OUTPUT", tr("Folder for the rasters")),
            tr(
                "Gets change_count.tif, last_change.tif, from_to.tif and majority.tif, each with "
                "its .qml style."
            ),
        )
        csv, html = tr("CSV (*.csv)"), tr("HTML (*.html)")
        for key, title, kind, text in (
            (
                "AREAS",
                tr("Table of areas"),
                csv,
                tr("Pixels, hectares and share of each class on each date."),
            ),
            (
                "TRANSITIONS",
                tr("Table of transitions"),
                csv,
                tr(
                    "Pixels and hectares that went from class to class, between From and To and "
                    "from each date to the next. Changes without a pixel are left out."
                ),
            ),
            (
                "REPORT",
                tr("Report"),
                html,
                tr("One HTML file: maps, areas, transitions, and what changed from date to date."),
            ),
        ):
            self.add(
                QgsProcessingParameterFileDestination(key, title, kind, None, True, False), text
            )
        self.addOutput(QgsProcessingOutputMultipleLayers("OUTPUT_LAYERS", tr("Rasters of changes")))

    def take(self, parameters: dict[str, Any], context: QgsProcessingContext) -> _Job:
        def date(key: str) -> dt.date | None:
            text = self.parameterAsString(parameters, key, context).strip()
            try:
                return parse_iso(text) if text else None
            except DateError as error:
                raise DateError(f"{key} cannot be used: {error}") from None

        folder = self.parameterAsString(parameters, "OUTPUT", context)
        if not folder:
            raise ParameterError("OUTPUT is missing: give the folder for the rasters.")
        areas, transitions, report = (take_file(self, parameters, key, context) for key in _FILES)
        return _Job(
            inputs=take_labels(self, parameters, context),
            since=date("FROM"),
            until=date("TO"),
            load=self.parameterAsBoolean(parameters, "LOAD", context),
            folder=Path(folder),
            areas=areas,
            transitions=transitions,
            report=report,
        )

    def check(self, job: _Job) -> None:
        choose_dates(job.inputs.open(), job.since, job.until)
        rasters = {
            name: job.folder / name for name in (CHANGE_COUNT, LAST_CHANGE, FROM_TO, MAJORITY)
        }
        check_apart(job.inputs.paths, {**rasters, **job.files})
        rehearse(job.stage)

    def work(
        self, job: _Job, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        monitor = FeedbackMonitor(feedback)
        labels = job.inputs.open()
        for note in labels.notes:
            monitor.warning(note)
        with StagedOutputs() as outputs:
            # What cannot be written shows now, not at the end.
            areas, transitions, report = job.stage(outputs)
            began = time.perf_counter()
            found = measure_changes(
                labels,
                job.folder,
                outputs,
                since=job.since,
                until=job.until,
                monitor=monitor.part(0.0, 0.9),
            )
            _write_styles(found)
            seconds = [("measuring and writing", time.perf_counter() - began)]
            if areas:
                write_areas(areas, found)
            if transitions:
                write_transitions(transitions, found)
            monitor.check()
            if report:
                write_change_report(report, found, seconds=seconds, monitor=monitor)
            monitor.check()
        monitor.progress(1.0)
        shown = _shown(job, found)
        if job.load:
            dates = found.labels.dates
            name = tr("Class changes, {} to {}").format(dates[0], dates[-1])
            load_on_completion(context, shown, name, job.folder)
        return {
            "OUTPUT": str(job.folder),
            "OUTPUT_LAYERS": [str(item.path) for item in shown],
            **{key: str(path) for key, path in job.files.items() if path},
        }


def _write_styles(found: MeasuredChanges) -> None:
    write_palette(found.from_to, change_styles(found.labels.styles, found.between.pixels))
    write_palette(found.last_change, date_styles(found.labels, found.lasts))
    write_ramp(found.change_count, found.most_changes, 0)
    write_palette(found.majority, found.labels.styles)


def _shown(job: _Job, found: MeasuredChanges) -> list[Shown]:
    """Return the rasters where they are in the end, the topmost first."""
    dates, between = found.labels.dates, found.between
    change = tr("Change from {} to {}").format(dates[between.first], dates[between.second])
    return [
        Shown(job.folder / FROM_TO, change),
        Shown(job.folder / LAST_CHANGE, tr("Date of last change")),
        Shown(job.folder / CHANGE_COUNT, tr("Number of changes")),
        Shown(job.folder / MAJORITY, tr("Most frequent class")),
    ]
