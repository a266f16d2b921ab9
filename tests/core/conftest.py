"""Fixtures of the engine tests: small scenes on disk, made here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, settings

# Times depend on the machine. Besides, Hypothesis reads the sources of newly imported modules
# between two draws and holds Debian's packages for parts of the project: Matplotlib takes seconds.
settings.register_profile("iikmc", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("iikmc")

ORIGIN = (500_000.0, 4_600_000.0)


class SceneMaker:
    """Writes small GeoTIFFs into a folder; each call returns the path."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(
        self,
        name: str,
        values: np.ndarray,
        *,
        nodata: float | None = None,
        crs: str | None = "EPSG:32633",
        pixel: float = 10.0,
        origin: tuple[float, float] = ORIGIN,
        band_names: Sequence[str] | None = None,
        tags: dict[str, str] | None = None,
        **options: object,
    ) -> Path:
        """Write ``values``, (bands, height, width) or (height, width), to ``name``.tif."""
        values = values if values.ndim == 3 else values[None]
        path = self.folder / f"{name}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        with rasterio.open(
            path,
            "w",
            driver="GTiff",
            dtype=values.dtype,
            count=values.shape[0],
            height=values.shape[1],
            width=values.shape[2],
            crs=crs,
            transform=rasterio.transform.from_origin(*origin, pixel, pixel),
            nodata=nodata,
            **options,
        ) as dataset:
            # Before the pixels: else newer GDAL moves the TIFF's directory behind them.
            for number, text in enumerate(band_names or (), start=1):
                dataset.set_band_description(number, text)
            dataset.update_tags(**(tags or {}))
            dataset.write(values)
        return path


@pytest.fixture
def make_scene(tmp_path: Path) -> SceneMaker:
    """Return a maker of scenes in a folder of this test's own."""
    return SceneMaker(tmp_path / "scenes")


def land_cover(
    seed: int, bands: int = 3, height: int = 40, width: int = 50, classes: int = 5
) -> np.ndarray:
    """Return a made scene, uint16 (bands, height, width): patches of cover with noise."""
    rng = np.random.default_rng(seed)
    cover = rng.integers(0, classes, (-(-height // 5), -(-width // 5)))
    cover = cover.repeat(5, 0).repeat(5, 1)[:height, :width]
    signatures = np.random.default_rng(classes).integers(300, 6000, (classes, bands))
    noise = rng.normal(0.0, 120.0, (bands, height, width))
    return np.clip(signatures[cover].transpose(2, 0, 1) + noise, 1, 65_535).astype(np.uint16)


@pytest.fixture
def three_scenes(make_scene: SceneMaker) -> list[Path]:
    """Return three dates of one place; a tenth of the pixels is nodata (0)."""
    paths = []
    for number in range(3):
        values = land_cover(number)
        values[:, np.random.default_rng(99 + number).random(values.shape[1:]) < 0.1] = 0
        paths.append(make_scene(f"scene_2020-0{number + 4}-15", values, nodata=0))
    return paths
