"""Hosts a LocalCluster of single-threaded worker processes until its input is closed.

Prints JSON with the scheduler's address once all workers have imported the engine.
"""

from __future__ import annotations

import json
import sys


def import_engine() -> None:
    """Import what a worker needs."""
    import numba  # noqa: F401

    import iikmc.core.workers.tasks  # noqa: F401


def main() -> None:
    """Start as many workers as the argument says."""
    from distributed import Client, LocalCluster

    workers = int(sys.argv[1])
    with (
        LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        client.wait_for_workers(workers)
        client.run(import_engine)
        print(json.dumps({"address": cluster.scheduler_address}), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
