"""Registers the Processing provider with QGIS and takes it away again."""

from __future__ import annotations

from typing import Any

from qgis.core import Qgis, QgsApplication

from .provider import IikmcProvider


class IikmcPlugin:
    """The plugin; ``iface`` is None under qgis_process, which calls ``initProcessing`` only."""

    def __init__(self, iface: Any) -> None:
        self._iface = iface
        self._provider: IikmcProvider | None = None

    def initProcessing(self) -> None:
        """Add the provider."""
        self._provider = IikmcProvider()
        QgsApplication.processingRegistry().addProvider(self._provider)

    def initGui(self) -> None:
        """Add the provider; in a window, say so if it has nothing to offer."""
        self.initProcessing()
        provider = self._provider
        if self._iface is not None and provider is not None and provider.problem:
            self._iface.messageBar().pushMessage(
                provider.name(), provider.problem, Qgis.MessageLevel.Warning
            )

    def unload(self) -> None:
        """Remove the provider."""
        if self._provider is not None:
            QgsApplication.processingRegistry().removeProvider(self._provider)
            self._provider = None
