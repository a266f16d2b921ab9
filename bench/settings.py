"""What a benchmark run is asked for, and where it keeps its files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent
SERIES = ROOT / "series"
OUTPUTS = ROOT / "outputs"
RESULTS = ROOT / "results"


@dataclass(frozen=True)
class Settings:
    """``peers`` are names in ``peers.PEERS``; the lines measured are chosen in ``run.py``."""

    scenes: int
    size: int
    large_size: int
    threads: int
    repeats: int
    peers: tuple[str, ...]
