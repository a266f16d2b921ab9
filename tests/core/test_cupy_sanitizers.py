"""The kernels on real threads, under sanitizers: no races, nothing beside memory or misaligned.

The shim of the other tests runs the threads of a block in turn, so it cannot see what two of them
touch at once; a card's own tools (compute-sanitizer) need a card.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import fake_cupy
import numpy as np
import pytest

from iikmc.core.backends.cupy_kernels import SOURCE, KernelShape

RACES, MEMORY = "thread", "address,undefined"
SHAPES = [(6, 8, "u2"), (3, 60, "i4"), (64, 254, "u2")]  # the last: no sums in shared memory


def run(source: str, sanitizer: str, shape: KernelShape, folder: Path) -> tuple[int, str]:
    """Compile and run the kernels with a sanitizer; return the exit status and what it said."""
    kernels, program = folder / "kernels.cu", folder / "drill"
    kernels.write_text(source)
    command = [
        fake_cupy.COMPILER, *shape.options(), f"-fsanitize={sanitizer}", "-fno-sanitize-recover",
        "-O1", "-g", "-pthread", "-DREAL_THREADS", f'-DKERNELS="{kernels}"',
        str(fake_cupy.SHIM / "drill.cpp"), "-o", str(program),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    done = subprocess.run([program], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def small(bands: int, classes: int, dtype: str) -> KernelShape:
    """Return a kernel's shape with few threads and pixels of a thread block."""
    return KernelShape.of(bands, classes, np.dtype(dtype)).but(threads=8, chunk=128)


@pytest.fixture(scope="module", autouse=True)
def sanitizers(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skip where there are no sanitizers that run."""
    if fake_cupy.COMPILER is None:
        pytest.skip(fake_cupy.NO_COMPILER)
    folder = tmp_path_factory.mktemp("empty")
    (folder / "empty.cpp").write_text("int main() {}")
    for sanitizer in (RACES, MEMORY):
        program = str(folder / "empty")
        command = [fake_cupy.COMPILER, f"-fsanitize={sanitizer}", f"{program}.cpp", "-o", program]
        for step in (command, [program]):
            if subprocess.run(step, capture_output=True).returncode:
                pytest.skip(f"programs with -fsanitize={sanitizer} are not made or do not run here")


@pytest.mark.parametrize("sanitizer", [RACES, MEMORY], ids=["races", "memory"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_kernels_run_clean(shape, sanitizer, tmp_path):
    status, text = run(SOURCE.read_text("utf-8"), sanitizer, small(*shape), tmp_path)
    assert (status, text) == (0, "all pixels are there\n")


@pytest.mark.parametrize(
    ("sanitizer", "right", "wrong", "words"),
    [
        (RACES, "atomicAdd(place + b, sign * code);", "place[b] += sign * code;", "data race"),
        (RACES, "    __syncthreads();\n\n    const Four", "    const Four", "data race"),
        (RACES, "    __syncthreads();\n    if (!changed)", "    if (!changed)", "data race"),
        (MEMORY, "i < COPIES * STRIDE;", "i <= COPIES * STRIDE;", "out of bounds"),
        (MEMORY, "+ chunk.first + turn;", "+ chunk.first + turn + 1;", "misaligned"),
    ],
)
def test_a_mistake_would_be_seen(sanitizer, right, wrong, words, tmp_path):
    source = SOURCE.read_text("utf-8")
    assert right in source
    shape = small(6, 8, "u2").but(copies=1)
    status, text = run(source.replace(right, wrong, 1), sanitizer, shape, tmp_path)
    assert status != 0 and words in text
