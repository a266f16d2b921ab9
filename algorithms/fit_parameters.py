"""The parameters of a k-means run, with their help: HARMONISE to SEED."""

from __future__ import annotations

from qgis.core import (
    QgsProcessingParameterFile,
    QgsProcessingParameterNumber,
    QgsProcessingParameterString,
)

from ..core.plan import MOST_CLASSES
from ..core.smoothing import MOST_STRENGTH
from .base import IikmcAlgorithm, enum_parameter, tr
from .running import add_run_parameters


def add_fit_parameters(algorithm: IikmcAlgorithm) -> None:
    """Declare HARMONISE, CLASSES, TEMPORAL and, as advanced ones, SCALING to CHECKPOINT."""
    integer = QgsProcessingParameterNumber.Type.Integer
    real = QgsProcessingParameterNumber.Type.Double
    algorithm.add(
        enum_parameter(
            "HARMONISE",
            tr("Harmonise the dates"),
            [
                tr("No: values as they are"),
                tr("Standardise each date"),
                tr("By pixels that did not change"),
            ],
        ),
        tr(
            "Brings the dates to one radiometry before they are clustered, so that haze, light and "
            "season do not move whole scenes from class to class. Standardise: median and spread "
            "of each band. By pixels that did not change: they are found first (IR-MAD), and "
            "lines fitted through them; for dates that show different ground. Without a scaling, "
            "each band then counts by its spread, so that none decides alone."
        ),
    )
    algorithm.add(
        QgsProcessingParameterString(
            "HARMONISE_REFERENCE",
            tr("Date to harmonise to"),
            defaultValue="",
            optional=True,
        ),
        tr(
            "The date of the series, such as 2019-07-31, whose radiometry the others are brought "
            "to. Empty: the median of all dates."
        ),
        advanced=True,
    )
    algorithm.add(
        enum_parameter(
            "SCALING",
            tr("Scaling of the bands"),
            [
                tr("None: differences count as they are"),
                tr("Minimum to maximum of each band to 0 to 1"),
                tr("Standard deviation of each band to 1"),
            ],
        ),
        tr(
            "Lets bands of other units, such as heights or day numbers, count as much as the "
            "others. Signatures stay in the input's units. A model to start from keeps its own."
        ),
        advanced=True,
    )
    algorithm.add(
        QgsProcessingParameterNumber(
            "CLASSES", tr("Number of classes"), integer, 8, False, 2, MOST_CLASSES
        ),
        tr("How many classes to look for. Not used if the first centres come from a model."),
    )
    algorithm.add(
        enum_parameter(
            "INIT",
            tr("First class centres"),
            [
                tr("Evenly from minimum to maximum (Han & Lee 2024)"),
                tr("k-means++"),
                tr("From a model"),
            ],
        ),
        tr(
            "Where the iterations start from. From a model: its signatures; its class numbers, "
            "names and colours are kept."
        ),
        advanced=True,
    )
    algorithm.add(
        QgsProcessingParameterFile(
            "MODEL_IN",
            tr("Model to start from"),
            optional=True,
            fileFilter=tr("Class model (*.json)"),
        ),
        tr("A class model saved by an earlier run; needed if the first centres are its."),
        advanced=True,
    )
    algorithm.add(
        enum_parameter(
            "STRATEGY",
            tr("Pixels used"),
            [
                tr("All, in every iteration"),
                tr("A sample first, then all"),
                tr("A sample"),
                tr("A sample first, then mini-batches"),
            ],
        ),
        tr(
            "Which pixels the iterations look at. A sample first, then all: the fastest way to "
            "much the same classes. A sample: the rest is only classified. Mini-batches: after "
            "the sample, group by group of its size, until the fit no longer improves. All pixels "
            "are classified in any case."
        ),
        advanced=True,
    )
    algorithm.add(
        QgsProcessingParameterNumber(
            "SAMPLE_FRACTION", tr("Share of pixels in a sample"), real, 0.02, False, 0.000001, 1.0
        ),
        tr("How much of the series a sample or a mini-batch has, spread over scenes and places."),
        advanced=True,
    )
    algorithm.add(
        QgsProcessingParameterNumber(
            "MAX_ITERATIONS", tr("Maximum number of iterations"), integer, 100, False, 1
        ),
        tr("Stop after this many iterations, converged or not; the result tells which."),
        advanced=True,
    )
    algorithm.add(
        enum_parameter(
            "STOP_RULE",
            tr("Converged when"),
            [tr("Few pixels change class"), tr("The centres hardly move")],
        ),
        tr(
            "What has to fall to the tolerance: the share of pixels that change class in an "
            "iteration, or the mean shift of the centres as a share of the series' spread."
        ),
        advanced=True,
    )
    tolerance = QgsProcessingParameterNumber(
        "TOLERANCE", tr("Tolerance"), real, 0.0001, False, 0.0, 1.0
    )
    tolerance.setMetadata({"widget_wrapper": {"decimals": 6}})
    algorithm.add(
        tolerance,
        tr("When it is small enough. 0.0001 is one pixel in ten thousand; the paper uses 0.01."),
        advanced=True,
    )
    algorithm.add(
        enum_parameter(
            "EMPTY",
            tr("Classes without pixels"),
            [
                tr("Keep their centre where it is"),
                tr("Move it to the pixel farthest from all centres"),
                tr("Drop them"),
            ],
        ),
        tr("What becomes of a class that loses its last pixel while the centres move."),
        advanced=True,
    )
    algorithm.add(
        enum_parameter(
            "ORDER",
            tr("Class numbers"),
            [
                tr("By brightness, darkest first"),
                tr("By size, largest first"),
                tr("In the order of the first centres"),
            ],
        ),
        tr("How classes get their numbers. Not used if the first centres come from a model."),
        advanced=True,
    )
    add_run_parameters(algorithm)
    algorithm.add(
        QgsProcessingParameterNumber("SEED", tr("Random seed"), integer, 0, False, 0),
        tr(
            "For k-means++, samples and mini-batches: another seed draws others, the same one "
            "the same."
        ),
        advanced=True,
    )
    algorithm.add(
        enum_parameter(
            "TEMPORAL",
            tr("Smooth the classes along the dates"),
            [tr("No"), tr("Hidden Markov smoothing")],
        ),
        tr(
            "Takes the likeliest sequence of classes of each pixel: a class on a single date that "
            "its neighbours in time do not share goes, a lasting change stays. The model keeps "
            "the setting, so that it is applied alike."
        ),
    )
    algorithm.add(
        QgsProcessingParameterNumber(
            "TEMPORAL_STRENGTH", tr("Strength of smoothing"), real, 1.0, False, 0.0, MOST_STRENGTH
        ),
        tr("How much the dates before and after count against what a date itself shows."),
        advanced=True,
    )
    algorithm.add(
        QgsProcessingParameterFile(
            "CHECKPOINT",
            tr("Checkpoint: go on from here, save here"),
            optional=True,
            fileFilter=tr("Checkpoint (*.json)") + ";;" + tr("All files (*)"),
        ),
        tr(
            "A file in which the fit is saved after each iteration; it need not be there yet. A "
            "run that was cancelled or cut off goes on from it when it is started again with the "
            "same scenes and settings, and ends with the same classes; engine, threads and memory "
            "may be others. It stays when the run is done: the same run then goes straight to the "
            "last assignment. Delete it, or name another, to start anew."
        ),
        advanced=True,
    )
