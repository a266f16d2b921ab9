"""Starts the scripts that are measured as processes of their own, and reads what they print."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from settings import ROOT


def run_script(
    script: str, *arguments: object, environment: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Run a script of this folder with JSON as its last line of output, and return that."""
    command = [sys.executable, str(ROOT / script), *map(str, arguments)]
    done = subprocess.run(  # noqa: S603 - this interpreter, a script of this folder
        command, check=False, capture_output=True, text=True, env=environment
    )
    if done.returncode:
        raise RuntimeError(f"{script} failed:\n{done.stderr.strip()[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def run_engine(
    scenes: Sequence[Path], output: Path, threads: int, **options: object
) -> dict[str, Any]:
    """Run ``engine_run.py``; ``options`` are its, such as strategy or memory_mb."""
    given = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    return run_script(
        "engine_run.py", f"--output={output}", f"--threads={threads}", *given, *scenes
    )
