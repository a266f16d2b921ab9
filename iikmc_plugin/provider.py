"""The Processing provider: its name, its icon and its algorithms."""

from __future__ import annotations

from pathlib import Path

from qgis.core import Qgis, QgsMessageLog, QgsProcessingProvider
from qgis.PyQt.QtGui import QIcon

from .. import __version__

_ICON = str(Path(__file__).parent / "icon.svg")


class IikmcProvider(QgsProcessingProvider):
    """Inter-image k-means in the Processing toolbox."""

    problem = ""
    """Why there are no algorithms; empty if there are."""

    def id(self) -> str:
        return "iikmc"

    def name(self) -> str:
        return "Inter-image k-means"

    def longName(self) -> str:
        return "Inter-image k-means of satellite series"

    def versionInfo(self) -> str:
        return __version__

    def icon(self) -> QIcon:
        return QIcon(_ICON)

    def svgIconPath(self) -> str:
        return _ICON

    def loadAlgorithms(self) -> None:
        """Add every algorithm, or keep in mind which Python package is missing for them."""
        try:
            from ..algorithms import ALGORITHMS
        except ImportError as error:  # QGIS comes without rasterio on some systems
            self.problem = (
                f"A Python package is missing ({error}): install it into the Python of QGIS, "
                "then restart QGIS."
            )
            QgsMessageLog.logMessage(self.problem, self.name(), Qgis.MessageLevel.Warning)
            return
        self.problem = ""
        for algorithm in ALGORITHMS:
            self.addAlgorithm(algorithm())
