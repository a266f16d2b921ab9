"""Inter-image k-means: all scenes of a series clustered together, in QGIS and beside it."""

__version__ = "0.1.0"


def classFactory(iface):  # noqa: N802, the name QGIS calls
    """Give QGIS the plugin; ``iface`` is None under qgis_process."""
    from .iikmc_plugin.plugin import IikmcPlugin

    return IikmcPlugin(iface)
