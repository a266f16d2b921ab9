"""Products to scenes: one masked raster per acquisition, all on one grid."""
