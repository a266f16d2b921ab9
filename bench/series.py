"""Makes the benchmark's series: land cover through the seasons, clouds, as tiled GeoTIFFs.

    python bench/series.py FOLDER [--scenes 5] [--size 2000] [--bands 6] [--dtype uint16]

Every pixel follows from the seed, the scene and its strip of rows alone, so any size can be made
strip by strip. No value comes from a real place.
"""

from __future__ import annotations

import argparse
import datetime as dt
import hashlib
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio

SEED = 2024
COVERS = 12
STRIP_ROWS = 512
TILE = 512
NODATA = {"uint16": 0, "float32": -9999.0}
# Digital numbers of Landsat Collection 2 Level 2, and the reflectance they stand for.
DARKEST, BRIGHTEST, LOWEST, HIGHEST = 7_800.0, 21_000.0, 7_273, 43_636
STEP, OFFSET = 0.0000275, -0.2


@dataclass(frozen=True)
class SeriesShape:
    """What a series holds; ``dtype`` is uint16 (digital numbers) or float32 (reflectance)."""

    scenes: int = 5
    size: int = 2000
    bands: int = 6
    dtype: str = "uint16"
    seed: int = SEED

    @property
    def pixels(self) -> int:
        """Number of pixels of all scenes, valid or not."""
        return self.scenes * self.size * self.size

    @property
    def name(self) -> str:
        """Folder name."""
        return f"{self.scenes}x{self.size}x{self.bands}-{self.dtype}-{self.seed}"


def make_series(shape: SeriesShape, root: Path) -> list[Path]:
    """Return the paths of a series' scenes, oldest first; they are made if they are not there."""
    folder = root / shape.name
    dates = [dt.date(2023, 1, 15) + dt.timedelta(days=61 * rank) for rank in range(shape.scenes)]
    paths = [folder / f"scene_{date}.tif" for date in dates]
    complete = folder / "made-by.txt"  # written last; another version of this file starts anew
    maker = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    if not complete.exists() or complete.read_text() != maker:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda rank: _write(shape, rank, paths[rank]), range(shape.scenes)))
        complete.write_text(maker)
    return paths


def _write(shape: SeriesShape, rank: int, path: Path) -> None:
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        dtype=shape.dtype,
        count=shape.bands,
        height=shape.size,
        width=shape.size,
        nodata=NODATA[shape.dtype],
        crs="EPSG:32642",
        transform=rasterio.transform.from_origin(300_000.0, 2_800_000.0, 30.0, 30.0),
        tiled=True,
        blockxsize=TILE,
        blockysize=TILE,
        compress="deflate",
        predictor=2 if shape.dtype == "uint16" else 3,
        BIGTIFF="IF_SAFER",
    ) as dataset:
        place = _Place(shape)
        for row in range(0, shape.size, STRIP_ROWS):
            height = min(STRIP_ROWS, shape.size - row)
            window = rasterio.windows.Window(0, row, shape.size, height)
            dataset.write(place.strip(rank, row, height), window=window)


class _Place:
    """A place whose covers, seasons, changes and clouds are smooth fields."""

    def __init__(self, shape: SeriesShape) -> None:
        self._shape = shape
        rng = np.random.default_rng(shape.seed)
        # Spectra are smooth along the bands, and each cover has its own brightness.
        slopes = rng.normal(size=(COVERS, 4))
        along = np.linspace(0.0, np.pi, shape.bands)
        waves = np.stack([np.cos(order * along) / (1 + order) for order in range(4)])
        spectra = slopes @ waves
        spectra = (spectra - spectra.min()) / np.ptp(spectra)
        self._spectra = (DARKEST + (BRIGHTEST - DARKEST) * spectra).astype(np.float32)
        greening = rng.normal(0.0, 1.0, (COVERS, shape.bands)) * (np.arange(COVERS) % 2)[:, None]
        self._greening = (900.0 * greening).astype(np.float32)
        correlation = np.full((shape.bands, shape.bands), 0.7) + 0.3 * np.eye(shape.bands)
        self._noise = (220.0 * np.linalg.cholesky(correlation)).astype(np.float32)
        self._covers = [_Field(shape, number, (220, 37)) for number in range(COVERS)]
        self._relief = _Field(shape, 100, (90, 11))
        self._change = _Field(shape, 101, (160, 29))

    def strip(self, rank: int, row: int, height: int) -> np.ndarray:
        """Return a scene's rows, shape (bands, height, size), in the series' dtype."""
        shape = self._shape
        date = np.random.default_rng([shape.seed, 1, rank])
        gain, offset = date.normal(1.0, 0.02), date.normal(0.0, 120.0, shape.bands)
        cloudy = date.uniform(0.03, 0.25)
        season = np.cos(2.0 * np.pi * (rank * 61 - 200) / 365.0)

        weights = np.stack([field.rows(row, height) for field in self._covers])
        # Where the field of change lies above a level that falls by the date, cover 0 takes over.
        changed = self._change.rows(row, height) > 2.2 - 0.2 * rank
        weights[0, changed] += 6.0
        np.exp(4.0 * (weights - weights.max(axis=0)), out=weights)  # mixed along the borders only
        weights /= weights.sum(axis=0)
        signatures = self._spectra + np.float32(season) * self._greening
        values = np.tensordot(signatures.T, weights, axes=1)
        values *= 1.0 + 0.05 * self._relief.rows(row, height)
        values *= np.float32(gain)
        values += offset.astype(np.float32)[:, None, None]

        rng = np.random.default_rng([shape.seed, 2, rank, row])
        noise = rng.standard_normal((shape.bands, height * shape.size), np.float32)
        values += (self._noise @ noise).reshape(values.shape)
        clouds = _Field(shape, 1000 + rank, (300, 60)).rows(row, height)
        np.clip(values, LOWEST, HIGHEST, out=values)
        cloudy_pixels = clouds > _upper_quantile(cloudy)
        if shape.dtype == "uint16":
            values = np.rint(values).astype(np.uint16)
        else:
            values = values * np.float32(STEP) + np.float32(OFFSET)
        values[:, cloudy_pixels] = NODATA[shape.dtype]
        return values


class _Field:
    """A smooth random field of about unit variance: value noise of two grain sizes, in pixels."""

    def __init__(self, shape: SeriesShape, number: int, grains: tuple[int, int]) -> None:
        rng = np.random.default_rng([shape.seed, 3, number])
        columns = np.arange(shape.size, dtype=np.float32)
        self._octaves = []
        for grain, weight in zip(grains, (1.2, 0.5)):
            knots = rng.standard_normal((shape.size // grain + 2,) * 2, np.float32)
            place, share = _eased(columns / grain)
            wide = knots[:, place] * (1.0 - share) + knots[:, place + 1] * share
            self._octaves.append((grain, np.float32(weight) * wide))

    def rows(self, row: int, height: int) -> np.ndarray:
        """Return rows of the field, float32, shape (height, size)."""
        total = np.float32(0.0)
        for grain, wide in self._octaves:
            place, share = _eased(np.arange(row, row + height, dtype=np.float32) / grain)
            share = share[:, None]
            total = total + (wide[place] * (1.0 - share) + wide[place + 1] * share)
        return total


def _eased(position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the knot before each position and the way to the next one, eased at both ends."""
    place = position.astype(np.int64)
    way = (position - place).astype(np.float32)
    return place, way * way * (3.0 - 2.0 * way)


def _upper_quantile(share: float) -> float:
    """Return about where the highest ``share`` of a field begins (a normal's, to two digits)."""
    t = np.sqrt(-2.0 * np.log(share))
    return float(t - (2.30753 + 0.27061 * t) / (1.0 + 0.99229 * t + 0.04481 * t * t))


def main() -> None:
    """Make a series by itself."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scenes", type=int, default=5)
    parser.add_argument("--size", type=int, default=2000)
    parser.add_argument("--bands", type=int, default=6)
    parser.add_argument("--dtype", choices=NODATA, default="uint16")
    parser.add_argument("--seed", type=int, default=SEED)
    given = parser.parse_args()
    shape = SeriesShape(given.scenes, given.size, given.bands, given.dtype, given.seed)
    for path in make_series(shape, given.folder):
        print(path)


if __name__ == "__main__":
    main()
