"""Integer scores: exact in float64, below 2^53, and an ordering by distance."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from iikmc.core.codes import CodeGrid
from iikmc.core.scores import NEVER, FeatureSpace

CODE_GRIDS = st.one_of(
    st.builds(CodeGrid, st.integers(-40_000, 40_000), st.just(1.0)),
    st.builds(
        CodeGrid,
        st.integers(-(2**20), 2**20),
        st.integers(-40, 40).map(lambda power: 2.0**power),
        st.just(True),
    ),
)


@st.composite
def spaces(draw: st.DrawFn) -> FeatureSpace:
    """Draw a space of up to 64 bands with mid-points anywhere in their codes."""
    grids = draw(st.lists(CODE_GRIDS, min_size=1, max_size=4))
    middles = [draw(st.integers(grid.lowest, grid.highest)) for grid in grids]
    units = [draw(st.sampled_from([1.0, grid.step * 777.7])) for grid in grids]
    times = draw(st.sampled_from([1, 16]))
    return FeatureSpace(tuple(grids * times), tuple(middles * times), tuple(units * times))


@given(space=spaces(), data=st.data())
def test_every_partial_sum_of_every_code_stays_below_2_to_53(space, data):
    reach = np.array([grid.reach for grid in space.code_grids], np.float64)
    sign = data.draw(st.sampled_from([-1.0, 1.0]))
    scores = space.scores((sign * reach)[None] * 1.5, np.array([True]), 1)
    q, n = scores.q[0, 0].tolist(), int(scores.n[0, 0])
    total = abs(n) + sum(abs(a) * grid.reach for a, grid in zip(q, space.code_grids))
    assert total < 2**53
    assert total > 2**48  # the scale is the largest that is safe, so resolution is not wasted


@given(space=spaces(), data=st.data())
def test_scores_order_pixels_as_distances_do(space, data):
    """Two classes' scores differ as their squared distances do, up to the rounding of q and n."""
    bands = len(space.code_grids)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    codes = np.array([rng.integers(g.lowest, g.highest + 1) for g in space.code_grids])
    picks = rng.choice([0.0, 1.0, 0.5, rng.random()], (2, bands))
    low = np.array([grid.lowest for grid in space.code_grids]) - np.array(space.midpoints)
    centres = low + picks * np.array([grid.reach for grid in space.code_grids])
    scores = space.scores(centres, np.array([True, True]), 1)
    offsets = codes - np.array(space.midpoints)
    exact = [
        int(n) - sum(int(a) * int(x) for a, x in zip(q, offsets))
        for q, n in zip(scores.q[0], scores.n[0])
    ]
    in_floats = scores.n[0].astype(float) - scores.q[0].astype(float) @ offsets.astype(float)
    assert in_floats.tolist() == exact
    distances = [
        sum(
            Fraction(float(w)) * (int(x) - Fraction(float(c))) ** 2
            for w, x, c in zip(space.weights, offsets, centre)
        )
        for centre in centres
    ]
    scale = Fraction(float(scores.scales[0]))
    bound = 2 * (sum(abs(int(x)) for x in offsets) + bands + 2)
    assert abs((exact[0] - exact[1]) - scale * (distances[0] - distances[1])) <= bound


def test_a_dropped_class_loses_to_every_other():
    space = FeatureSpace((CodeGrid(0, 1.0),) * 2, (0, 65_535), (1.0, 1.0))
    centres = np.array([[65_535.0, -65_535.0], [0.0, 0.0]])
    scores = space.scores(centres, np.array([True, False]), 3)
    assert scores.q.shape == (3, 2, 2)
    assert (scores.n[:, 1] == NEVER).all()
    assert not scores.q[:, 1].any()
    worst = int(scores.n[0, 0]) + int(np.abs(scores.q[0, 0]).sum()) * 65_535
    assert worst < NEVER


def test_values_and_centres_are_inverse():
    grids = CodeGrid(-32_768, 1.0), CodeGrid(100, 2.0**-20, True)
    space = FeatureSpace(grids, (33_000, -5), (1.0, 2.5))
    values = np.array([[-20.0, 0.25], [1234.5, -0.125]])
    np.testing.assert_array_equal(space.values(space.centres(values)), values)
