"""Makes a series whose classes are known: drift, haze and clouds on covers that change or stay.

Every value follows from the seed; none comes from a real place.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio

BANDS, COVERS = 6, 6
FIRST = dt.date(2021, 2, 10)
# Cover 5 is bare from autumn to spring, when it is cover 2.
CROP, BARE = 5, 2
NODATA = 0


@dataclass(frozen=True)
class KnownSeries:
    """Scenes on disk, and what is on the ground.

    ``covers`` are numbers from 1, uint8 (dates, rows, columns), ``valid`` where no cloud is
    masked, ``lasting`` which places change for good: bool (rows, columns).
    """

    scenes: tuple[Path, ...]
    dates: tuple[dt.date, ...]
    covers: np.ndarray
    valid: np.ndarray
    lasting: np.ndarray


def make_known_series(
    folder: Path,
    *,
    dates: int = 24,
    size: int = 240,
    changing: float = 0.10,
    seasonal: float = 0.08,
    drift: float = 1.0,
    seed: int = 5,
) -> KnownSeries:
    """Write a series of ``dates`` GeoTIFFs of ``size`` rows and columns, and tell what it shows.

    ``changing`` and ``seasonal`` are shares of the area. ``drift`` 1 is a gain of 0.8 to 1.25
    and an offset of up to 250 for each date and band.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    cover = _patches(rng, size, COVERS - 1)
    cover[_blobs(rng, size, seasonal)] = CROP
    lasting = _blobs(rng, size, changing) & (cover != CROP)
    since = np.where(lasting, _patches(rng, size, dates - 6) + 3, dates)
    after = (cover + 1 + _patches(rng, size, COVERS - 2)) % (COVERS - 1)
    days = [FIRST + dt.timedelta(days=45 * rank) for rank in range(dates)]
    signatures = rng.permutation(np.linspace(700, 4200, COVERS))[:, None]
    signatures = signatures * rng.uniform(0.6, 1.4, (COVERS, BANDS))
    relief = 1.0 + 0.03 * rng.standard_normal((size, size))
    hazy = set(rng.choice(np.arange(1, dates - 1), max(1, dates // 8), replace=False).tolist())
    covers, valid, paths = [], [], []
    for rank, day in enumerate(days):
        now = np.where(rank < since, cover, after)
        if not 4 <= day.month <= 9:
            now = np.where(now == CROP, BARE, now)
        values = signatures[now].transpose(2, 0, 1) * relief
        values += rng.normal(0.0, 60.0, values.shape)
        if rank in hazy:  # paler, and more so towards the blue
            thick = np.linspace(0.35, 0.1, BANDS)[:, None, None]
            values = values * (1.0 - thick) + 5000.0 * thick + rng.normal(0.0, 60.0, values.shape)
        gain = 1.0 + drift * (rng.uniform(0.8, 1.25, (BANDS, 1, 1)) - 1.0)
        values = gain * values + drift * rng.uniform(-250, 250, (BANDS, 1, 1))
        clear = ~_blobs(rng, size, float(rng.uniform(0.0, 0.3)))
        codes = np.clip(np.rint(values), 1, 65_535).astype(np.uint16)
        codes[:, ~clear] = NODATA
        paths.append(folder / f"known_{day}.tif")
        _write(paths[-1], codes)
        covers.append(now + 1)
        valid.append(clear)
    return KnownSeries(
        tuple(paths), tuple(days), np.array(covers, np.uint8), np.array(valid), lasting
    )


def _patches(rng: np.random.Generator, size: int, kinds: int) -> np.ndarray:
    """Return a map of patches, 0 to ``kinds`` − 1: the nearest of scattered points."""
    points = rng.uniform(0, size, (max(kinds * 6, size // 2), 2))
    rows, columns = np.mgrid[:size, :size]
    nearest = np.full((size, size), np.inf)
    found = np.zeros((size, size), np.int64)
    for number, (row, column) in enumerate(points):
        square = (rows - row) ** 2 + (columns - column) ** 2
        closer = square < nearest
        nearest[closer], found[closer] = square[closer], number % kinds
    return found


def _blobs(rng: np.random.Generator, size: int, share: float) -> np.ndarray:
    """Return a map of round patches that cover about ``share`` of the area."""
    field = np.zeros((size, size))
    rows, columns = np.mgrid[:size, :size] / size
    for _ in range(40):
        row, column, width = *rng.uniform(0, 1, 2), rng.uniform(0.03, 0.12)
        field += np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / width**2)
    return field > np.quantile(field, 1.0 - share) if share else np.zeros((size, size), bool)


def _write(path: Path, codes: np.ndarray) -> None:
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        dtype="uint16",
        count=len(codes),
        height=codes.shape[1],
        width=codes.shape[2],
        nodata=NODATA,
        crs="EPSG:32633",
        transform=rasterio.transform.from_origin(500_000.0, 4_600_000.0, 10.0, 10.0),
        compress="deflate",
    ) as dataset:
        dataset.write(codes)
