"""Whether answers agree, so that no speed is quoted for a wrong one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from contest import Answer

CHUNK = 1 << 18
ROWS = 256


@dataclass(frozen=True)
class Agreement:
    """Share of pixels with the same label, and how far the inertia is off, relatively."""

    labels: float
    inertia: float

    def within(self, labels: float, inertia: float) -> bool:
        """Return whether at least this share is equal, and the inertia off by this at most."""
        return self.labels >= labels and abs(self.inertia) <= inertia


def compare(matrix: np.ndarray, answer: Answer, reference: Answer) -> Agreement:
    """Compare an answer with another on ``matrix``, (pixels, bands), less the same origin."""
    if len(answer.labels) != len(reference.labels):
        raise ValueError(f"{len(answer.labels)} labels for {len(reference.labels)} pixels.")
    equal = float(np.mean(answer.labels == reference.labels))
    return Agreement(equal, inertia(matrix, answer) / inertia(matrix, reference) - 1.0)


def inertia(matrix: np.ndarray, answer: Answer) -> float:
    """Return the sum of squared distances of pixels to the centres of their classes."""
    total = 0.0
    for start in range(0, len(matrix), CHUNK):
        part = slice(start, start + CHUNK)
        offsets = matrix[part].astype(np.float64) - answer.centres[answer.labels[part]]
        total += float(np.einsum("pb,pb->", offsets, offsets))
    return total


def nearest_share(scenes: Sequence[Path], rasters: Sequence[Path], signatures: np.ndarray) -> float:
    """Return the share of pixels that have the class of the nearest signature, or rightly none.

    Looked at in the first rows of each scene, by plain float64 distances.
    """
    right = seen = 0
    for scene, raster in zip(scenes, rasters, strict=True):
        with rasterio.open(scene) as dataset:
            window = rasterio.windows.Window(0, 0, dataset.width, min(ROWS, dataset.height))
            values, nodata = dataset.read(window=window), dataset.nodata
        with rasterio.open(raster) as dataset:
            if not dataset.overviews(1):
                raise ValueError(f"'{raster}' has no overviews.")
            numbers = dataset.read(1, window=window)
        spectra = values.reshape(len(values), -1).T.astype(np.float64)
        squares = np.stack([((spectra - signature) ** 2).sum(axis=1) for signature in signatures])
        expected = np.argmin(squares, axis=0) + 1
        expected[(values == nodata).any(axis=0).reshape(-1)] = 0
        right += int(np.count_nonzero(expected == numbers.reshape(-1)))
        seen += expected.size
    return right / seen


def equal_share(rasters: Sequence[Path], others: Sequence[Path]) -> float:
    """Return the share of equal pixels among those valid in the first rasters."""
    equal = seen = 0
    for path, other in zip(rasters, others, strict=True):
        with rasterio.open(path) as first, rasterio.open(other) as second:
            numbers, found = first.read(1), second.read(1)
        equal += int(np.count_nonzero((numbers == found) & (numbers > 0)))
        seen += int(np.count_nonzero(numbers))
    return equal / seen


def digest(rasters: Sequence[Path]) -> str:
    """Return a digest of the pixels of label rasters."""
    found = hashlib.sha256()
    for path in rasters:
        with rasterio.open(path) as dataset:
            found.update(dataset.read(1).tobytes())
    return found.hexdigest()
