"""What the algorithms write and return, and that no file takes the place of another."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingOutputMultipleLayers,
    QgsProcessingOutputNumber,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterFolderDestination,
)

from ..core.classify import SUFFIX, ClassifiedScene, resolved
from ..core.errors import OutputError, ParameterError
from ..core.files import StagedOutputs
from ..core.model import ClassModel
from ..core.monitor import Monitor
from . import styling
from .base import IikmcAlgorithm, tr

_NUMBERS = {
    "CLASSES_FOUND": "Classes that have pixels",
    "ITERATIONS": "Iterations",
    "CONVERGED": "Converged (1) or stopped at the iteration limit (0)",
    "CHANGED_FRACTION": "Share of pixels that changed class in the last iteration",
    "INERTIA": "Sum of squared distances to the signatures",
    "VALID_PIXELS": "Valid pixels of all scenes",
}


def add_layer_outputs(algorithm: IikmcAlgorithm) -> None:
    """Declare LOAD, OUTPUT and OUTPUT_LAYERS."""
    algorithm.add(
        QgsProcessingParameterBoolean(
            "LOAD", tr("Load the class layers, styled and grouped"), True
        ),
        tr(
            "Put the class layers into the project, as one group with the newest on top. Only "
            "when run in QGIS. Switch it off inside a model that does more with them."
        ),
    )
    algorithm.add(
        QgsProcessingParameterFolderDestination("OUTPUT", tr("Folder for the class layers")),
        tr("Gets one raster, SCENE_classes.tif, and its .qml style for every scene."),
    )
    algorithm.addOutput(QgsProcessingOutputMultipleLayers("OUTPUT_LAYERS", tr("Class layers")))


def add_fit_outputs(algorithm: IikmcAlgorithm, optional: bool = True) -> None:
    """Declare MODEL, REPORT and the numbers of a fit."""
    algorithm.add(
        QgsProcessingParameterFileDestination(
            "MODEL",
            tr("Class model"),
            tr("Class model (*.json)"),
            None,
            optional,
            not optional,
        ),
        tr("Signatures, names and colours of the classes and how they were found, as JSON."),
    )
    algorithm.add(
        QgsProcessingParameterFileDestination(
            "REPORT", tr("Report"), tr("HTML (*.html)"), None, True, False
        ),
        tr("One HTML file: maps, areas per date, signatures, convergence and all settings."),
    )
    for key, description in _NUMBERS.items():
        algorithm.addOutput(QgsProcessingOutputNumber(key, tr(description)))


def fit_results(model: ClassModel) -> dict[str, Any]:
    """Return the numbers of a fit."""
    return {
        "CLASSES_FOUND": sum(pixels > 0 for pixels in model.fit.class_pixels),
        "ITERATIONS": model.fit.n_iter,
        "CONVERGED": int(model.fit.converged),
        "CHANGED_FRACTION": model.fit.changed_fraction,
        "INERTIA": model.fit.inertia,
        "VALID_PIXELS": model.fit.valid_pixels,
    }


def take_folder(
    algorithm: QgsProcessingAlgorithm, parameters: dict[str, Any], context: QgsProcessingContext
) -> Path:
    """Return OUTPUT; raises ParameterError where there is none."""
    folder = algorithm.parameterAsString(parameters, "OUTPUT", context)
    if not folder:
        raise ParameterError("OUTPUT is missing: give the folder for the class layers.")
    return Path(folder)


def take_file(
    algorithm: QgsProcessingAlgorithm,
    parameters: dict[str, Any],
    key: str,
    context: QgsProcessingContext,
) -> Path | None:
    """Return a file to write, if it is asked for."""
    text = algorithm.parameterAsFileOutput(parameters, key, context)
    return Path(text) if text else None


def check_apart(
    inputs: Sequence[str], files: Mapping[str, Path | None], folder: Path | None = None
) -> None:
    """Raise OutputError where a file to write would take the place of another of the run.

    ``files`` are by their parameters' keys, ``folder`` is where class rasters go.
    """
    taken = {resolved(path): "an input" for path in inputs}
    for key, path in files.items():
        if path is None:
            continue
        place = resolved(path)
        if folder and place.parent == resolved(folder) and place.name.endswith(SUFFIX):
            taken[place] = "a class layer"
        if place in taken:
            raise OutputError(f"{key} is '{path}', which is {taken[place]}: choose another file.")
        taken[place] = f"the {key.lower()}"


class _Rehearsed(Exception):
    """Ends a rehearsal of writing, so that it leaves nothing."""


def rehearse(stage: Callable[[StagedOutputs], object]) -> None:
    """Raise OutputError where outputs cannot be written, before any work; leaves nothing."""
    with contextlib.suppress(_Rehearsed), StagedOutputs() as outputs:
        stage(outputs)
        raise _Rehearsed


def write_styles(scenes: Sequence[ClassifiedScene], model: ClassModel, monitor: Monitor) -> None:
    """Write a ``.qml`` beside each class raster, where it is staged; raises OutputError."""
    shown = styling.shown_ranges([scene.date for scene in scenes])
    for done, (scene, when) in enumerate(zip(scenes, shown), start=1):
        monitor.check()
        if scene.staged is not None:
            styling.write_style(scene.staged, model.classes, when)
        monitor.progress(done / len(scenes))
