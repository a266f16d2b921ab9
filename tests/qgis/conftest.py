"""The registered provider and a series to run it on."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest
from qgis.core import QgsApplication
from synthetic import BANDS, DATES, SeriesOnDisk, spectra, write_raster

from iikmc import classFactory


@pytest.fixture(scope="session")
def plugin(qgis_app, qgis_processing):
    """The plugin as QGIS starts it without a window."""
    plugin = classFactory(None)
    plugin.initProcessing()
    yield plugin
    plugin.unload()
    gc.collect()  # what tests left of layers and contexts has to go before QGIS does


@pytest.fixture
def algorithm(plugin):
    """A fresh iikmc:classifyseries."""
    return QgsApplication.processingRegistry().createAlgorithmById("iikmc:classifyseries")


@pytest.fixture
def series(tmp_path: Path) -> SeriesOnDisk:
    """Three dates of one place, with masks that hide a block on each."""
    folder = tmp_path / "scenes"
    folder.mkdir()
    scenes, masks = [], []
    for rank, date in enumerate(DATES):
        planes = spectra(rank)
        scenes.append(write_raster(folder / f"place_{date}.tif", planes, names=BANDS, nodata=0))
        mask = np.full((1, *planes.shape[1:]), 4, np.uint8)
        mask[0, 40:50, 10 * rank : 10 * rank + 10] = 9
        masks.append(write_raster(folder / f"place_{date}_scl.tif", mask))
    return SeriesOnDisk(tuple(scenes), tuple(masks))
