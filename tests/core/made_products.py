"""Products made by hand for tests of preparing: small rasters and a quality layer of seven bits."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from product_folders import made_up, write_raster

from iikmc.core.files import StagedOutputs
from iikmc.core.monitor import Monitor
from iikmc.core.prepare.plan import LeftOutScene, Plan, PrepareSettings
from iikmc.core.prepare.run import Prepared, prepare
from iikmc.core.prepare.scenes import plan_scenes
from iikmc.core.products.base import Condition, Product, ProductBand, QualityBand

ORIGIN = (500_000.0, 4_600_000.0)
BITS = tuple(Condition)
WAVELENGTHS = {"blue": 0.48, "green": 0.56, "red": 0.65, "nir": 0.86, "swir16": 1.61, "swir22": 2.2}
TIME = dt.datetime(2020, 5, 1, 9, 50, 31, tzinfo=dt.timezone.utc)


def bit(condition: Condition) -> int:
    """Return the value of a quality pixel that meets one condition."""
    return 1 << BITS.index(condition)


def by_bits(values: np.ndarray) -> dict[Condition, np.ndarray]:
    """Tell the conditions of quality values: one bit for each, in their order."""
    return {item: (values & np.uint8(bit(item))) != 0 for item in BITS}


def make_product(
    folder: Path,
    name: str = "scene",
    values: Mapping[str, np.ndarray] | Sequence[str] = ("blue", "green", "red"),
    *,
    quality: np.ndarray | None = None,
    shape: tuple[int, int] = (40, 50),
    pixel: float = 30.0,
    pixels: Mapping[str, float] | None = None,
    origin: tuple[float, float] = ORIGIN,
    epsg: int | None = 32633,
    scale: float = 2.75e-5,
    offset: float = -0.2,
    nodata: float | None = 0.0,
    time: dt.datetime = TIME,
    sensor: str = "Made-1",
    usual: Sequence[str] | None = None,
    notes: Sequence[str] = (),
) -> Product:
    """Write a product of one file for each band, and describe it.

    ``values`` are arrays by common name, or names for values made from them. ``pixels`` gives
    some bands another pixel size than ``pixel``, which is that of the quality layer, too.
    """
    if not isinstance(values, Mapping):
        values = {band: made_up(f"{name}{band}", shape, 1, 40_000) for band in values}
    place = {"origin": origin, "epsg": epsg, "nodata": nodata}
    bands = []
    for number, (band, array) in enumerate(values.items(), start=1):
        path = folder / f"{name}_B{number}.tif"
        write_raster(path, array, pixel=(pixels or {}).get(band, pixel), **place)
        wavelength = WAVELENGTHS.get(band)
        native = f"B{number}"
        bands.append(ProductBand(band, native, str(path), 1, wavelength, scale, offset, nodata))
    layers = []
    if quality is not None:
        path = folder / f"{name}_QA.tif"
        write_raster(path, quality.astype(np.uint8), pixel=pixel, origin=origin, epsg=epsg)
        layers.append(QualityBand(str(path), 1, by_bits))
    names = tuple(values) if usual is None else tuple(usual)
    return Product(name, sensor, time, tuple(bands), tuple(layers), names, tuple(notes))


class Log(Monitor):
    """Remembers what a run says."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.warnings: list[str] = []
        self.fractions: list[float] = []

    def message(self, text: str) -> None:
        self.messages.append(text)

    def warning(self, text: str) -> None:
        self.warnings.append(text)

    def progress(self, fraction: float) -> None:
        self.fractions.append(fraction)


def plan_of(
    products: Sequence[Product],
    left_out: Sequence[LeftOutScene] = (),
    **settings: object,
) -> Plan:
    """Return the plan for products; settings as of PrepareSettings."""
    return plan_scenes(products, left_out, PrepareSettings(**settings), Monitor())


def prepared(
    products: Sequence[Product],
    folder: Path,
    *,
    monitor: Monitor | None = None,
    threads: int | None = 2,
    left_out: Sequence[LeftOutScene] = (),
    **settings: object,
) -> Prepared:
    """Prepare products into a folder."""
    plan = plan_of(products, left_out, **settings)
    with StagedOutputs() as outputs:
        return prepare(
            plan,
            folder,
            outputs,
            threads=threads,
            strict=bool(settings.get("strict", False)),
            monitor=monitor,
        )
