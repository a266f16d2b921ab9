"""What all algorithms share: checks, progress, cancel and errors as QGIS expects them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qgis.core import (
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterEnum,
)
from qgis.PyQt.QtCore import QCoreApplication
from qgis.PyQt.QtGui import QIcon

from ..core.errors import Cancelled, IikmcError
from ..core.monitor import Monitor

HOME_PAGE = "https://github.com/iikmc/iikmc"


def tr(text: str) -> str:
    """Return the text in the user's language, where there is a translation."""
    return QCoreApplication.translate("iikmc", text)


def enum_parameter(
    name: str, description: str, options: Sequence[str]
) -> QgsProcessingParameterDefinition:
    """Return a choice, of which the first is the default."""
    return QgsProcessingParameterEnum(name, description, options=options, defaultValue=0)


class FeedbackMonitor(Monitor):
    """Passes on what the engine tells to the feedback of a Processing run."""

    def __init__(self, feedback: QgsProcessingFeedback) -> None:
        self._feedback = feedback

    def progress(self, fraction: float) -> None:
        self._feedback.setProgress(100.0 * fraction)

    def message(self, text: str) -> None:
        self._feedback.pushInfo(text)

    def warning(self, text: str) -> None:
        self._feedback.pushWarning(text)

    def cancelled(self) -> bool:
        return self._feedback.isCanceled()


class IikmcAlgorithm(QgsProcessingAlgorithm):
    """An algorithm in three steps, each of which may raise an IikmcError.

    ``take`` turns parameters into plain data (main thread: layers may be touched), ``check``
    looks at headers only, ``work`` runs the engine (any thread: no layer, no project).
    """

    def take(self, parameters: dict[str, Any], context: QgsProcessingContext) -> Any:
        """Return all that the run needs, as plain data."""
        raise NotImplementedError

    def check(self, job: Any) -> None:
        """Raise an IikmcError if the run is bound to fail."""
        raise NotImplementedError

    def work(
        self, job: Any, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Do it, and return the outputs."""
        raise NotImplementedError

    def createInstance(self) -> IikmcAlgorithm:
        return type(self)()

    def helpUrl(self) -> str:
        return HOME_PAGE

    def icon(self) -> QIcon:
        return self.provider().icon() if self.provider() else super().icon()

    def svgIconPath(self) -> str:
        return self.provider().svgIconPath() if self.provider() else super().svgIconPath()

    def add(
        self, parameter: QgsProcessingParameterDefinition, help_text: str, advanced: bool = False
    ) -> None:
        """Declare a parameter together with its help."""
        parameter.setHelp(help_text)
        if advanced:
            flag = QgsProcessingParameterDefinition.Flag.FlagAdvanced
            parameter.setFlags(parameter.flags() | flag)
        self.addParameter(parameter)

    def checkParameterValues(
        self, parameters: dict[str, Any], context: QgsProcessingContext
    ) -> tuple[bool, str]:
        # Ours come first: QGIS's own say no more than that a value is incorrect.
        try:
            self.check(self.take(parameters, context))
        except IikmcError as error:
            return False, str(error)
        return super().checkParameterValues(parameters, context)

    def validateInputCrs(self, parameters: dict[str, Any], context: QgsProcessingContext) -> bool:
        return True  # ``check`` compares them; QGIS would load every file as a layer to do so

    def prepareAlgorithm(
        self,
        parameters: dict[str, Any],
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
    ) -> bool:
        # QGIS keeps no message of an error raised here, so processAlgorithm raises it.
        self._job = self._error = None
        try:
            self._job = self.take(parameters, context)
        except IikmcError as error:
            self._error = error
        return True

    def processAlgorithm(
        self,
        parameters: dict[str, Any],
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
    ) -> dict[str, Any]:
        try:
            if self._error is not None:
                raise self._error
            return self.work(self._job, context, feedback)
        except Cancelled as stop:
            feedback.pushInfo(str(stop))
            return {}
        except IikmcError as error:
            raise QgsProcessingException(str(error)) from error
        except MemoryError as error:
            raise QgsProcessingException(
                tr("The series does not fit into memory: use fewer scenes or bands at a time.")
            ) from error
