"""Kernels of other processors than this one give the same bits: compiled for them, run here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba")

HERE = Path(__file__).parent
# The boundaries between classes tell whether an instruction errs by more than it may.
STEPS = """
import sys
import numpy as np
sys.path.insert(0, sys.argv[1])
from test_kernel_boundaries import make_blocks, make_case, run_course
from iikmc.core.backends import numba_pairs
if sys.argv[2] == "none":
    numba_pairs._MULTIPLIERS = ()
for kind in ("spread", "far", "ends"):
    rng = np.random.default_rng(7)
    case = make_case(rng, kind, 6, 20, False, kind == "far")
    run_course(rng, case, make_blocks(rng, case, [513, 700, 40], True), 2)
print("the same")
"""
X86 = "+64bit,+cmov,+cx16,+fxsr,+mmx,+sse,+sse2,+sse3,+ssse3,+sse4.1,+sse4.2,+popcnt"
FEATURES = {"avx2": f"{X86},+avx,+avx2,+bmi,+bmi2,+fma,+lzcnt", "sse2": X86, "none": ""}


@pytest.mark.parametrize("name", list(FEATURES))
def test_instructions_of_other_processors_find_the_same_classes(name, tmp_path):
    from numba.core.registry import cpu_target

    triple, _, features = cpu_target.target_context.codegen().magic_tuple()
    wanted = FEATURES[name].split(",") if FEATURES[name] else []
    if wanted and not (triple.startswith("x86_64") and set(wanted) <= set(features.split(","))):
        pytest.skip(f"this processor has not all of {name}")
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    if wanted:
        environment |= {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": FEATURES[name]}
    command = [sys.executable, "-c", STEPS, str(HERE), name]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.stdout == "the same\n", done.stderr
