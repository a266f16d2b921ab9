"""What QGIS loads: the plugin and its Processing provider."""
