"""The engine cupy on a real card, where there is one: the same bits as NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import land_cover
from test_cupy_kernels import INT32, UINT16, answer, assert_same, problem

from iikmc.core import Monitor, cluster, open_series
from iikmc.core.backends import cupy_cards
from iikmc.core.backends.cupy import CupyBackend
from iikmc.core.backends.cupy_found import trouble
from iikmc.core.backends.numpy import NumpyBackend

WHY = trouble()
pytestmark = pytest.mark.skipif(WHY is not None, reason=f"no card to test with: {WHY}")


@pytest.mark.parametrize("grid", [UINT16, INT32], ids=["uint16", "int32"])
@pytest.mark.parametrize(
    ("bands", "classes"), [(1, 2), (1, 254), (3, 8), (6, 8), (10, 50), (20, 9), (64, 254)]
)
def test_a_card_agrees_with_numpy(bands, classes, grid):
    task = problem(bands * 1000 + classes, bands, classes, grid, (100_003, 1, 0, 20_000))
    assert_same(answer(CupyBackend(3), task), answer(NumpyBackend(1), task))


def test_blocks_that_pass_through_a_card_agree_with_numpy(monkeypatch):
    monkeypatch.setattr(cupy_cards, "_LANE_BYTES", 1 << 16)
    task = problem(1, 6, 8, UINT16, [30_000] * 40)
    backend = CupyBackend(3, limit=2 << 20)
    backend.prepare(task.blocks, task.scenes, Monitor())
    assert 0 < backend._inner.resident < len(task.blocks)
    backend.close()
    found = answer(CupyBackend(3, limit=2 << 20), task)
    assert_same(found, answer(NumpyBackend(1), task))


def test_a_whole_fit_on_a_card_agrees_with_numpy(make_scene):
    scenes = [make_scene(f"s_2020-0{month}-01", land_cover(month)) for month in (1, 2)]
    models = []
    for engine in ("cupy", "numpy"):
        with open_series(scenes) as series:
            models.append(cluster(series, classes=5, engine=engine))
    np.testing.assert_array_equal(models[0].signatures, models[1].signatures)
