"""Tables as CSV files."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from .errors import OutputError


def write_csv(path: Path, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table to exactly ``path``, as a staged output; raises OutputError.

    UTF-8 with commas and a heading; None and not-a-number are empty cells.
    """
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(head)
            writer.writerows([_cell(value) for value in row] for row in rows)
    except OSError as error:
        raise OutputError(f"The table '{path}' cannot be written: {error.strerror}.") from error


def _cell(value: object) -> object:
    if isinstance(value, float):
        return f"{value:.10g}" if math.isfinite(value) else ""
    return "" if value is None else value
