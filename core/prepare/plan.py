"""A run of preparing as plain data: what is asked for, and what is to be done for each scene."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..grid import Grid, Window
from ..places import Area, Extent
from ..products.base import Condition, Product
from ..raster.resampling import Way
from ..raster.scenes import SceneBand, SceneHeader
from ..raster.windows import Source
from .indices import Index
from .radiometry import Numbers, Radiometry

USUAL_MASK = frozenset({Condition.CLOUD, Condition.SHADOW, Condition.CIRRUS, Condition.SATURATED})


@dataclass(frozen=True)
class PrepareSettings:
    """How scenes are prepared.

    ``bands`` are common names or a product's own; empty: the usual ones. ``mask`` are the
    conditions whose pixels become nodata, besides fill. ``resolution`` is in units of ``crs``
    (WKT or an authority's code; empty: that of most scenes), None the finest of the bands.
    ``strict``: stop at the first scene that cannot be used. ``references``: write a VRT for
    scenes whose pixels need no work.
    """

    bands: tuple[str, ...] = ()
    mask: frozenset[Condition] = USUAL_MASK
    resolution: float | None = None
    extent: Extent | None = None
    area: Area | None = None
    crs: str = ""
    radiometry: Radiometry = Radiometry.NUMBERS
    indices: tuple[Index, ...] = ()
    strict: bool = False
    references: bool = False


@dataclass(frozen=True)
class LeftOutScene:
    """A scene that cannot be used, with a sentence why; ``product`` where it was understood."""

    name: str
    reason: str
    product: Product | None = None


@dataclass(frozen=True)
class BandLayer:
    """Bands of a file that are read together: at which places of the bands that are needed."""

    source: Source
    way: Way
    places: tuple[int, ...]


@dataclass(frozen=True)
class QualityLayer:
    """A quality band on the grid, and what its values tell."""

    source: Source
    conditions: Callable[[np.ndarray], Mapping[Condition, np.ndarray]]


@dataclass(frozen=True)
class PlannedScene:
    """One scene's work.

    ``layers`` hold the bands needed, output bands first; ``numbers`` say what their values mean.
    ``part`` is where it lies on the grid; ``block`` is height and width of its finest band's
    blocks. ``reference``: a VRT is to show its files; ``needs`` says why that cannot be,
    where it cannot.
    """

    stem: str
    product: Product
    layers: tuple[BandLayer, ...]
    quality: tuple[QualityLayer, ...]
    numbers: tuple[Numbers, ...]
    part: Window
    block: tuple[int, int]
    reference: bool
    needs: str


@dataclass(frozen=True)
class IndexBand:
    """An index, the places of its two bands among those needed, and how it is stored."""

    index: Index
    first: int
    second: int
    numbers: Numbers


@dataclass(frozen=True)
class Plan:
    """A run: scenes, oldest first, that come out on one grid with the same bands.

    ``targets`` say what the output bands hold, without the indices that follow them.
    """

    grid: Grid
    area: tuple[Mapping[str, Any], ...]
    mask: frozenset[Condition]
    targets: tuple[Numbers, ...]
    indices: tuple[IndexBand, ...]
    bands: tuple[SceneBand, ...]
    scenes: tuple[PlannedScene, ...]
    left_out: tuple[LeftOutScene, ...]
    notes: tuple[str, ...]

    def header(self, scene: PlannedScene) -> SceneHeader:
        """Return what the raster of a scene carries."""
        target, product = self.targets[0], scene.product
        assert target.nodata is not None
        return SceneHeader(
            self.grid, target.dtype, target.nodata, self.bands, product.sensor, product.time
        )
