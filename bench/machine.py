"""Which machine, and which versions, a result belongs to."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

from settings import ROOT

PACKAGES = (
    "numpy",
    "numba",
    "rasterio",
    "scikit-learn",
    "scikit-learn-intelex",
    "faiss-cpu",
    "dask",
    "distributed",
    "dask-ml",
)


def describe() -> dict[str, str]:
    """Return names and values, in the order to print them."""
    import rasterio

    import iikmc

    found = {
        "processor": _processor(),
        "cores": f"{os.cpu_count()}",
        "memory": _memory(),
        "system": _system(),
        "Python": platform.python_version(),
        "iikmc": f"{iikmc.__version__} {_commit()}".strip(),
        "GDAL": rasterio.__gdal_version__,
    }
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def load() -> str:
    """Return how many processes wanted to run in the last minute; more than 0.3 spoils times."""
    try:
        return f"{os.getloadavg()[0]:.1f}"
    except (OSError, AttributeError):
        return "unknown"


def _processor() -> str:
    table = Path("/proc/cpuinfo")
    if not table.exists():
        return platform.processor() or platform.machine()
    named = {}
    for line in table.read_text().splitlines():
        key, _, value = line.partition(":")
        named.setdefault(key.strip(), value.strip())
    name = named.get("model name", platform.machine())
    vectors = [flag for flag in ("avx2", "avx512f") if flag in named.get("flags", "").split()]
    family = f"family {named['cpu family']}" if "cpu family" in named else ""
    return ", ".join(filter(None, [name, family, *vectors]))


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.platform(terse=True)


def _memory() -> str:
    try:
        return f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.1f} GiB"
    except (ValueError, OSError, AttributeError):
        return "unknown"


def _commit() -> str:
    git = ["git", "-C", str(ROOT.parent), "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(git, capture_output=True, text=True, check=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()
