"""What travels to workers and back stays what it is, and parts can be made again anywhere."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable

import numpy as np
import pytest
from dask_clusters import scenes
from hypothesis import given
from hypothesis import strategies as st

from iikmc.core import Monitor, errors, open_series, reading
from iikmc.core.pixels import PixelStore
from iikmc.core.scene_space import SceneSpace
from iikmc.core.scores import FeatureSpace, Scores
from iikmc.core.scratch import Shelf
from iikmc.core.workers import plain, tasks
from iikmc.core.workers.link import Link
from iikmc.core.workers.part import Part, part_store


@pytest.fixture(scope="module")
def link():
    """The way to threads of this process."""
    found = Link.open(None, 2, Monitor())
    yield found
    found.close()


def scores_of(seed: int, scenes: int, classes: int = 3, bands: int = 3) -> Scores:
    rng = np.random.default_rng(seed)
    return Scores(
        rng.integers(-999, 999, (scenes, classes, bands)),
        rng.integers(-999, 999, (scenes, classes)),
        rng.integers(0, 99, bands),
        np.full(scenes, 2.0),
    )


@given(seed=st.integers(0, 99), count=st.integers(1, 5), alike=st.booleans())
def test_scores_come_back_as_they_went(seed, count, alike):
    scores = scores_of(seed, count)
    if alike:
        scores = Scores(
            np.repeat(scores.q[:1], count, 0),
            np.repeat(scores.n[:1], count, 0),
            scores.midpoints,
            scores.scales,
        )
    sent = plain.scores_out(scores)
    found = plain.scores_in(pickle.loads(pickle.dumps(sent)))
    for name in ("q", "n", "midpoints", "scales"):
        mine, theirs = getattr(scores, name), getattr(found, name)
        assert mine.dtype == theirs.dtype
        assert np.array_equal(mine, theirs)
    assert len(sent[2]) == (1 if alike else count)  # what all scenes share travels once


@given(st.data())
def test_scores_have_one_key_if_and_only_if_they_are_the_same(data):
    seeds = data.draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    counts = data.draw(st.tuples(st.integers(2, 3), st.integers(2, 3)))
    one, other = (plain.scores_out(scores_of(*given)) for given in zip(seeds, counts))
    assert (one[0] == other[0]) == ((seeds[0], counts[0]) == (seeds[1], counts[1]))


def answers(part: Part, before: Scores | None, after: Scores) -> tuple:
    given = None if before is None else plain.scores_out(before)
    found = part.step(given, plain.scores_out(after), Monitor())
    labels = part.labels(plain.scores_out(after), Monitor())
    return found.sums.tolist(), found.counts.tolist(), found.changed, [*map(bytes, labels)]


@pytest.fixture
def store(make_scene, monkeypatch) -> PixelStore:
    """Three dates in many blocks."""
    monkeypatch.setattr(reading, "BLOCK_PIXELS", 300)
    with open_series(scenes(make_scene)) as series:
        yield series.pixels(threads=1, engine="numpy")


@pytest.fixture
def part(store) -> Part:
    """All of the dates as one part."""
    nothing = np.zeros_like(store.left_out)
    facts = store.grid, store.scene_count, store.code_grids, (), nothing
    return Part(part_store(store.blocks, Shelf(0), *facts), {0: (1, 2)})


@pytest.fixture
def near(store) -> Callable[[int], Scores]:
    """Return a maker of scores of centres among the pixels."""
    features = FeatureSpace.of(store.code_grids, store.statistics)
    space = SceneSpace.plain(features, store.scene_count)
    codes = np.concatenate([block.codes.load() for block in store.blocks], axis=1)

    def scores(seed: int) -> Scores:
        drawn = np.random.default_rng(seed).integers(0, codes.shape[1], 4)
        return space.scores(codes[:, drawn].T.astype(float) - features.midpoints, np.ones(4, bool))

    return scores


def test_a_part_that_has_travelled_answers_as_before(part, near):
    one, two, three = (near(seed) for seed in (1, 2, 3))
    expected = [answers(part, None, one), answers(part, one, two), answers(part, two, three)]
    assert expected[1][2] > 0  # something had to change for this to tell
    gone = pickle.loads(pickle.dumps(part))
    # It has no labels: those of before come from the scores of before, in any order of asking.
    assert answers(gone, two, three) == expected[2]
    assert answers(gone, one, two) == expected[1]
    assert answers(gone, None, one) == expected[0]
    assert gone.tallies == part.tallies


def test_a_step_asked_twice_gives_the_same_twice(part, near):
    """As after a message that was lost, or a task that was given to another worker."""
    one, two = near(1), near(2)
    assert answers(part, None, one) == answers(part, None, one)
    first = answers(part, one, two)
    assert answers(part, one, two) == first
    assert answers(part, one, one)[2] == 0


def test_a_part_tells_its_size(part):
    codes = sum(block.codes.load().nbytes for block in part.store.blocks)
    assert codes <= sys.getsizeof(part) <= 3 * codes
    assert codes <= pytest.importorskip("dask.sizeof").sizeof(part)


@pytest.mark.parametrize("count", [1, 2, 16, 17, 40, 300])
def test_a_tree_adds_up_any_number_of_terms(count, link):
    terms = np.random.default_rng(count).integers(-(2**55), 2**55, (count, 2, 3))
    futures = [link.submit("add", [(term, term[0])]) for term in terms]
    found, row = link.total(futures, Monitor())
    assert np.array_equal(found, terms.sum(axis=0))
    assert np.array_equal(row, terms.sum(axis=0)[0])
    assert found.dtype == np.int64


def test_an_error_of_a_worker_comes_back_as_what_it_was(link):
    future = link.submit("pixels", "no part")
    with pytest.raises(errors.EngineError, match=r"The Dask cluster failed \(AttributeError"):
        link.value(future, Monitor())


def test_what_was_surveyed_travels_as_what_to_read_and_reads_nothing_on_its_way():
    """Workers unpack what arrives outside of any task, where an error would end no run."""
    given = ("key", {"paths": ["nowhere.tif"]}, ()), [(0, 0, 0, 1, 1)], (None, 1.0)
    found = pickle.loads(pickle.dumps(tasks.Surveyed(*given)))
    assert found.__reduce__() == (tasks.Surveyed, given)
