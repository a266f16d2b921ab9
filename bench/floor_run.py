"""The floor: rasterio reads all scenes and writes their labels, with overviews; prints JSON.

Strips of whole tiles on all threads, nothing kept and nothing computed; each label raster is
written once, as the engine's are (uint8, tiled, deflate), then given the same overviews.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import rasterio
from memory import peak_mib
from rasterio.enums import Resampling
from rasterio.windows import Window


def read_strip(job: tuple[Path, int]) -> int:
    """Read one strip of a scene, all bands; return how many values it has."""
    path, number = job
    with rasterio.open(path) as dataset:
        height = dataset.block_shapes[0][0]
        row = number * height
        window = Window(0, row, dataset.width, min(height, dataset.height - row))
        return dataset.read(window=window).size


def strips(path: Path) -> int:
    """Return how many strips of tiles a raster has."""
    with rasterio.open(path) as dataset:
        return -(-dataset.height // dataset.block_shapes[0][0])


def write(job: tuple[Path, np.ndarray, dict, list[int]]) -> float:
    """Write one label raster and its overviews; return the seconds the overviews took."""
    path, labels, profile, factors = job
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(labels, 1)
    began = time.perf_counter()
    with rasterio.open(path, "r+") as dataset:
        dataset.build_overviews(factors, Resampling.mode)
    return time.perf_counter() - began


def main() -> None:
    """Read scenes and write labels that are in memory before the clock starts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenes", nargs="+", type=Path)
    parser.add_argument("--labels", nargs="+", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--threads", type=int, required=True)
    given = parser.parse_args()
    shutil.rmtree(given.output, ignore_errors=True)
    given.output.mkdir(parents=True)
    jobs = []
    for path in given.labels:
        with rasterio.open(path) as dataset:
            factors = dataset.overviews(1)
            jobs.append((given.output / path.name, dataset.read(1), dataset.profile, factors))

    with ThreadPoolExecutor(given.threads) as pool:
        began = time.perf_counter()
        wanted = [(path, number) for path in given.scenes for number in range(strips(path))]
        values = sum(pool.map(read_strip, wanted))
        read = time.perf_counter()
        overviews = sum(pool.map(write, jobs))
        ended = time.perf_counter()
    print(
        json.dumps(
            {
                "seconds": ended - began,
                "steps": {
                    "reading": read - began,
                    "writing": ended - read,
                    "overviews, of all threads": overviews,
                },
                "values": values,
                "peak_mib": peak_mib(),
            }
        )
    )


if __name__ == "__main__":
    main()
