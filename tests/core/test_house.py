"""The house rules that code can hold: imports point one way, and each door has one keeper."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import iikmc

ROOT = Path(iikmc.__file__).parent
FLOORS = ("iikmc_plugin", "algorithms", "core")
OPTIONAL = {"numba", "cupy", "dask", "distributed", "matplotlib", "tqdm", "sklearn"}


def modules(folder: str) -> list[Path]:
    """Return the Python files of a folder."""
    found = sorted((ROOT / folder).rglob("*.py"))
    assert found, f"no module in {folder}"
    return found


def imports(path: Path) -> list[tuple[str, bool]]:
    """Return what a module imports, as absolute names, and whether at its top level."""
    tree = ast.parse(path.read_text("utf-8"))
    package = path.relative_to(ROOT).parts[:-1]
    found = []
    for node in ast.walk(tree):
        top = node in tree.body
        if isinstance(node, ast.Import):
            found += [(alias.name, top) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            name = ".".join((*base, *filter(None, [node.module])))
            found += [(f"{name}.{alias.name}".strip("."), top) for alias in node.names]
    return found


def test_imports_point_from_plugin_to_algorithms_to_core():
    for place, floor in enumerate(FLOORS):
        above = FLOORS[:place]
        for path in modules(floor):
            for name, _ in imports(path):
                assert name.split(".")[0] not in above, f"{path} imports {name}"


def test_core_never_imports_qgis():
    for path in modules("core"):
        for name, _ in imports(path):
            assert name.split(".")[0] not in {"qgis", "osgeo", "processing", "PyQt5", "PyQt6"}, path


def test_only_the_raster_module_imports_rasterio():
    users = {
        path.relative_to(ROOT).as_posix()
        for floor in FLOORS
        for path in modules(floor)
        for name, _ in imports(path)
        if name.split(".")[0] == "rasterio"
    }
    assert {str(Path(user).parent) for user in users} == {"core/raster"}


def test_importing_the_engine_loads_no_optional_package():
    code = "import sys, iikmc.core; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not OPTIONAL & set(done.stdout.split())
    assert "iikmc" in done.stdout.split()


def test_nothing_the_plugin_site_refuses_is_called():
    for floor in FLOORS:
        for path in modules(floor):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                    assert node.func.id not in {"exec", "eval", "print"}, path
            assert not {"pickle", "subprocess"} & {name for name, _ in imports(path)}, path
