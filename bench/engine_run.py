"""One whole run of this engine, GeoTIFF to GeoTIFF, in this process; prints JSON."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import shutil
import time
from pathlib import Path

import numpy as np
from memory import peak_mib

MOST_ITERATIONS = 1000  # so that the stop rule ends the fit


def main() -> None:
    """Cluster and classify with the default parameters, but for those given and max_iter."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenes", nargs="+", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--strategy", default="full")
    parser.add_argument("--memory-mb", type=int, help="limit in MiB; the default is the engine's")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--client", help="address of a Dask scheduler, for the engine dask")
    parser.add_argument("--start", type=Path, help=".npy of first centres, in the input's units")
    given = parser.parse_args()
    logging.getLogger("iikmc").setLevel(logging.ERROR)

    from iikmc.core import cluster, errors, open_series

    with contextlib.suppress(ImportError):
        import numba  # noqa: F401  # importing is in nobody's time

    limits = {} if given.memory_mb is None else {"memory_mb": given.memory_mb}
    limits |= {"engine": given.engine, "client": given.client}
    init = "minmax" if given.start is None else np.load(given.start)
    shutil.rmtree(given.output, ignore_errors=True)
    began = time.perf_counter()
    try:
        with open_series(given.scenes) as series:
            model = cluster(
                series,
                init=init,
                strategy=given.strategy,
                max_iter=MOST_ITERATIONS,
                threads=given.threads,
                **limits,
            )
            fitted = time.perf_counter()
            rasters = model.classify(series, given.output, threads=given.threads, **limits)
        ended = time.perf_counter()
    except errors.ParameterError as error:
        print(json.dumps({"refused": str(error)}))
        return
    steps = {**dict(model.run.seconds), "classifying": ended - fitted}
    print(
        json.dumps(
            {
                "seconds": ended - began,
                "steps": steps,
                "peak_mib": peak_mib(),
                "n_iter": model.fit.n_iter,
                "converged": model.fit.converged,
                "changed_fraction": model.fit.changed_fraction,
                "inertia": model.fit.inertia,
                "engine": model.run.engine,
                "signatures": model.signatures.tolist(),
                "rasters": [str(path) for path in rasters],
            }
        )
    )


if __name__ == "__main__":
    main()
