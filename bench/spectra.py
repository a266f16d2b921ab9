"""A series' valid pixels as the matrix that other k-means programs take, and first centres."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio

EVERY = 97  # one pixel in so many decides the origin


@dataclass(frozen=True)
class Spectra:
    """A series' pixels as float32, shape (pixels, bands), C order, in the file ``matrix``.

    They are the values less ``origin``, shape (bands,): whole numbers near the medians for
    integer bands, so that nothing is lost in float32 and rounding stays small; 0 for others.
    """

    matrix: Path
    origin: np.ndarray

    def load(self, dtype: type = np.float32) -> np.ndarray:
        """Return the matrix in memory."""
        return np.load(self.matrix).astype(dtype, copy=False)

    def mapped(self) -> np.ndarray:
        """Return the matrix mapped from its file."""
        return np.load(self.matrix, mmap_mode="r")


def make_spectra(paths: list[Path]) -> Spectra:
    """Read a series' valid pixels, row by row, oldest scene first; kept beside the scenes."""
    matrix, origin = paths[0].with_name("matrix.npy"), paths[0].with_name("origin.npy")
    if not (matrix.exists() and origin.exists()):
        scenes = [_valid_pixels(path) for path in paths]
        middle = np.median(np.concatenate([scene[::EVERY] for scene in scenes]), axis=0)
        whole = scenes[0].dtype.kind == "u"
        middle = np.rint(middle) if whole else np.zeros_like(middle, np.float64)
        for rank, scene in enumerate(scenes):
            scenes[rank] = scene.astype(np.float32) - middle.astype(np.float32)
        np.save(origin, middle)
        np.save(matrix, np.concatenate(scenes))
    return Spectra(matrix, np.load(origin))


def _valid_pixels(path: Path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        values, nodata = dataset.read(), dataset.nodata
    return np.ascontiguousarray(values[:, (values != nodata).all(axis=0)].T)


def first_centres(spectra: Spectra, classes: int, seed: int = 1) -> np.ndarray:
    """Return distinct pixels as first centres less the origin: float64, (classes, bands).

    A little is added, so that no pixel is as far from one centre as from another: programs
    differ in how they break ties. The sum is rounded to float32, which every program holds.
    """
    rng = np.random.default_rng(seed)
    matrix = spectra.mapped()
    drawn = np.unique(matrix[np.sort(rng.choice(len(matrix), 50 * classes, replace=False))], axis=0)
    chosen = drawn[rng.choice(len(drawn), classes, replace=False)]
    moved = chosen + rng.uniform(-1e-3, 1e-3, chosen.shape) * drawn.std(axis=0)
    return moved.astype(np.float32).astype(np.float64)
