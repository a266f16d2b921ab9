"""One iteration on a Dask cluster, in this process as the client; prints JSON.

An iteration's time is that of a fit with MANY iterations less one with FEW, shared out, as in
the lines in memory; so are the bytes that it moves, which are those of the loopback interface.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from peers import DASK_CHUNK, ENGINE, FEW, MANY

PIXELS = 64  # of a tiny block


def loopback_bytes() -> int | None:
    """Return how many bytes this machine has sent to itself; None where that is not told."""
    table = Path("/proc/net/dev")
    if not table.exists():
        return None
    for line in table.read_text().splitlines():
        name, _, counts = line.partition(":")
        if name.strip() == "lo":
            return int(counts.split()[8])
    return None


def an_iteration(fit: Callable[[int], Any]) -> tuple[float, int | None]:
    """Return the seconds and the bytes of an iteration."""
    taken: list[float] = []
    moved: list[int | None] = []
    for iterations in (FEW, MANY):
        before, began = loopback_bytes(), time.perf_counter()
        fit(iterations)
        taken.append(time.perf_counter() - began)
        after = loopback_bytes()
        moved.append(None if before is None or after is None else after - before)
    few, many = moved
    size = None if few is None or many is None else (many - few) // (MANY - FEW)
    return (taken[1] - taken[0]) / (MANY - FEW), size


def own_fit(series: Any, start: np.ndarray, client: Any) -> Callable[[int], Any]:
    """Return this engine's fit from first centres in the input's units."""
    from clock import IterationClock

    from iikmc.core import cluster

    def fit(iterations: int) -> Any:
        return cluster(
            series,
            init=start,
            max_iter=iterations,
            tol=0.0,
            order="seeded",
            client=client,
            monitor=IterationClock(),
        )

    return fit


def beside_dask_ml(
    address: str, repeats: str, first: str, matrix: str, *scenes: str
) -> dict[str, Any]:
    """Take turns: this engine, dask-ml, from the same centres and on the same workers."""
    from distributed import Client

    from iikmc.core import open_series

    start, origin = np.load(first), np.load(Path(matrix).with_name("origin.npy"))
    seconds: dict[str, list[float]] = {}
    sizes: list[int | None] = []
    missing = ""
    with Client(address) as client, open_series(scenes) as series:
        fits = {ENGINE: own_fit(series, start + origin, client)}
        try:
            fits["dask-ml"] = dask_ml_fit(client, Path(matrix), start)
        except ImportError as error:
            missing = f"cannot be imported here ({error})"
        for fit in fits.values():
            fit(1)
        for _ in range(int(repeats)):
            for name, fit in fits.items():
                taken, size = an_iteration(fit)
                seconds.setdefault(name, []).append(taken)
                if name == ENGINE:
                    sizes.append(size)
        centres = {name: fit(MANY) for name, fit in fits.items()}
    found = {"seconds": seconds, "bytes": _middle(sizes), "missing": missing}
    if missing:
        return found
    own = centres[ENGINE].signatures - origin
    return {**found, "apart": float(np.abs(centres["dask-ml"] - own).max() / np.ptp(own))}


def dask_ml_fit(client: Any, matrix: Path, start: np.ndarray) -> Callable[[int], np.ndarray]:
    """Return dask-ml's fit, which gives the centres; its pixels are with the workers, float32."""
    import dask
    import dask.array
    from dask_ml.cluster import KMeans
    from distributed import wait

    shape = np.load(matrix, mmap_mode="r").shape

    def load(first: int, stop: int) -> np.ndarray:
        return np.array(np.load(matrix, mmap_mode="r")[first:stop])

    chunks = [
        dask.array.from_delayed(
            dask.delayed(load)(first, min(first + DASK_CHUNK, shape[0])),
            (min(DASK_CHUNK, shape[0] - first), shape[1]),
            np.float32,
        )
        for first in range(0, shape[0], DASK_CHUNK)
    ]
    pixels = client.persist(dask.array.concatenate(chunks))
    wait(pixels)

    def fit(iterations: int) -> np.ndarray:
        found = KMeans(len(start), init=start.astype(np.float32), max_iter=iterations, tol=0.0).fit(
            pixels
        )
        if found.n_iter_ != iterations:
            raise RuntimeError(f"dask-ml stopped after {found.n_iter_} iterations")
        return np.asarray(found.cluster_centers_, float)

    return fit


def with_tiny_blocks(
    address: str, repeats: str, threads: str, blocks: str, folder: str
) -> dict[str, Any]:
    """Measure an iteration in which there is nothing to compute, in so many parts."""
    from distributed import Client

    from iikmc.core import open_series
    from iikmc.core.workers import store

    # Parts follow the threads there are; so many threads would be beside the point here.
    store._PARTS_PER_THREAD = -(-int(blocks) // int(threads))
    paths = [_rows(Path(folder) / f"tiny_2023-0{month}-01.tif", int(blocks)) for month in (1, 2)]
    with Client(address) as client, open_series(paths) as series:
        start = np.linspace(1000.0, 9000.0, 8)[:, None] * np.ones(6)
        fit = own_fit(series, start, client)
        fit(1)
        found = [an_iteration(fit) for _ in range(int(repeats))]
        parts = len(series.pixels(engine="dask", client=client).blocks)
    seconds = [taken for taken, _ in found]
    return {"seconds": seconds, "bytes": _middle([size for _, size in found]), "parts": parts}


def _rows(path: Path, rows: int) -> Path:
    """Write a scene whose rows are blocks of their own."""
    rng = np.random.default_rng(rows)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        dtype="uint16",
        count=6,
        height=rows,
        width=PIXELS,
        blockysize=1,
        crs="EPSG:32642",
        transform=rasterio.transform.from_origin(300_000.0, 2_800_000.0, 30.0, 30.0),
    ) as dataset:
        dataset.write(rng.integers(500, 10_000, (6, rows, PIXELS), np.uint16))
    return path


def _middle(sizes: Sequence[int | None]) -> int | None:
    """Return the median, for others may use the interface, too."""
    known = sorted(size for size in sizes if size is not None)
    return known[len(known) // 2] if known else None


def main() -> None:
    """Do what the first argument says."""
    logging.getLogger("iikmc").setLevel(logging.ERROR)
    wish, *given = sys.argv[1:]
    measure = {"peer": beside_dask_ml, "latency": with_tiny_blocks}[wish]
    print(json.dumps(measure(*given)))


if __name__ == "__main__":
    main()
