"""Class rasters of a series read again: areas, changes, transitions, consistency."""
