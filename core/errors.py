"""Every error the engine raises on purpose: one root, one class per kind of trouble.

Messages are whole sentences for the user: what was found, what was expected, what to do.
"""


class IikmcError(Exception):
    """Root of all errors raised on purpose by the engine."""


class ParameterError(IikmcError, ValueError):
    """A parameter has a value that cannot be used."""


class SeriesError(IikmcError, ValueError):
    """The scenes do not form a series that can be clustered."""


class GridError(SeriesError):
    """Rasters that have to share one grid differ in CRS, pixel size, origin or size."""


class BandError(SeriesError):
    """A band is missing, or the scenes differ in their bands."""


class MaskError(SeriesError):
    """A mask does not fit its scene or its kind."""


class DateError(SeriesError):
    """A date is missing or cannot be read."""


class ModelError(IikmcError, ValueError):
    """A class model cannot be read, or does not fit the series."""


class EngineError(IikmcError, RuntimeError):
    """The engine asked for is missing or failed."""


class RasterError(IikmcError, OSError):
    """A raster cannot be opened or read."""


class OutputError(IikmcError, OSError):
    """An output cannot be written."""


class Cancelled(IikmcError):
    """The user stopped the run; everything it had begun was removed."""
