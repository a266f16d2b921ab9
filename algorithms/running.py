"""What a run may use: engine, cluster, threads and memory, none of which changes a result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from qgis.core import (
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingParameterNumber,
    QgsProcessingParameterString,
)

from ..core.backends.base import ENGINES, resolve_engine
from ..core.parallel import thread_count
from ..core.scratch import memory_limit
from .base import IikmcAlgorithm, enum_parameter, tr


@dataclass(frozen=True)
class RunOptions:
    """What ENGINE, SCHEDULER, THREADS and MEMORY_MB say."""

    engine: str
    scheduler: str | None
    threads: int
    memory_mb: int

    def check(self) -> None:
        """Raise EngineError or ParameterError where a run would."""
        resolve_engine(self.engine, client=self.scheduler)
        thread_count(self.threads)
        memory_limit(self.memory_mb)


def add_run_parameters(algorithm: IikmcAlgorithm) -> None:
    """Declare ENGINE, SCHEDULER, THREADS and MEMORY_MB."""
    integer = QgsProcessingParameterNumber.Type.Integer
    algorithm.add(
        enum_parameter(
            "ENGINE",
            tr("Engine"),
            [
                tr("Auto: the fastest that is installed"),
                tr("NumPy"),
                tr("Numba"),
                tr("CuPy: NVIDIA GPU"),
                tr("Dask: a cluster"),
            ],
        ),
        tr("What does the arithmetic. All give exactly the same classes."),
        advanced=True,
    )
    algorithm.add(
        QgsProcessingParameterString(
            "SCHEDULER", tr("Dask scheduler"), defaultValue="", optional=True
        ),
        tr(
            "Address of a Dask scheduler, such as tcp://192.0.2.1:8786, or the file that it wrote. "
            "Its workers read the scenes and write the layers, so paths have to mean the same "
            "there. Empty, with the engine Dask: threads of this computer."
        ),
        advanced=True,
    )
    algorithm.add(
        QgsProcessingParameterNumber("THREADS", tr("Threads (0: all cores)"), integer, 0, False, 0),
        tr("How many processor threads to use; 0: as many as there are cores."),
        advanced=True,
    )
    algorithm.add(
        QgsProcessingParameterNumber(
            "MEMORY_MB", tr("Memory for pixels (MB)"), integer, 0, False, 0
        ),
        tr(
            "Pixels beyond it go to a scratch file in the temporary folder, which is slower but "
            "gives the same classes; 0: half of the memory that is free. On a cluster: of each "
            "worker."
        ),
        advanced=True,
    )


def take_run(
    algorithm: QgsProcessingAlgorithm, parameters: dict[str, Any], context: QgsProcessingContext
) -> RunOptions:
    """Return what a run may use as plain data."""
    return RunOptions(
        engine=ENGINES[algorithm.parameterAsEnum(parameters, "ENGINE", context)],
        scheduler=algorithm.parameterAsString(parameters, "SCHEDULER", context).strip() or None,
        threads=algorithm.parameterAsInt(parameters, "THREADS", context),
        memory_mb=algorithm.parameterAsInt(parameters, "MEMORY_MB", context),
    )
