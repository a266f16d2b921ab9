"""The least a process can do: import the engine and run one iteration; prints JSON."""

from __future__ import annotations

import json
import logging
import sys
import time


def main() -> None:
    """Fit the scenes given as arguments."""
    began = time.perf_counter()
    logging.getLogger("iikmc").setLevel(logging.ERROR)
    from iikmc.core import cluster, open_series

    imported = time.perf_counter()
    with open_series(sys.argv[1:]) as series:
        model = cluster(series, max_iter=1)
    print(
        json.dumps(
            {
                "engine": model.run.engine,
                "importing": imported - began,
                "fitting": time.perf_counter() - imported,
            }
        )
    )


if __name__ == "__main__":
    main()
