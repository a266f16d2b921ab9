"""Smoothing: the cheapest sequence, flips removed, lasting changes kept, gaps passed over."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iikmc.core import smoothing
from iikmc.core.smoothing import (
    PARTS,
    EvidenceScale,
    count_transitions,
    smooth,
    transition_costs,
)

CLASSES = 4


def evidence(labels: np.ndarray, nats: float = 4.0, classes: int = CLASSES) -> np.ndarray:
    """Return costs that speak for these labels (dates, pixels), from 1, by so many nats."""
    costs = np.full((labels.shape[0], classes, labels.shape[1]), round(nats * PARTS), np.int32)
    np.put_along_axis(costs, np.maximum(labels.astype(np.int64) - 1, 0)[:, None], 0, axis=1)
    return costs


def steady(classes: int = CLASSES) -> np.ndarray:
    """Return costs of transitions where a class follows itself in nearly all cases."""
    return transition_costs(np.eye(classes, dtype=np.int64) * 10_000, 1.0)


def smoothed(labels: np.ndarray, nats: float = 4.0) -> np.ndarray:
    return smooth(evidence(labels, nats), labels > 0, steady())


@st.composite
def problems(draw):
    dates, classes = draw(st.integers(1, 5)), draw(st.integers(2, 3))
    numbers = st.integers(0, 6)  # few, so that ties are common
    costs = [[draw(numbers) for _ in range(classes)] for _ in range(dates)]
    valid = [draw(st.booleans()) for _ in range(dates)]
    transitions = [[draw(numbers) for _ in range(classes)] for _ in range(classes)]
    return np.array(costs, np.int32), np.array(valid), np.array(transitions, np.int32)


@given(problems())
def test_no_sequence_is_cheaper(problem):
    costs, valid, transitions = problem
    found = smooth(costs[:, :, None], valid[:, None], transitions)[:, 0]
    dates = np.flatnonzero(valid)
    assert (found[~valid] == 0).all()

    def price(sequence: tuple[int, ...]) -> int:
        own = sum(int(costs[date, row]) for date, row in zip(dates, sequence))
        return own + sum(int(transitions[pair]) for pair in zip(sequence, sequence[1:]))

    # The rule for ties compares sequences from their last class to their first.
    every = itertools.product(range(costs.shape[1]), repeat=len(dates))
    best = min(every, key=lambda sequence: (price(sequence), sequence[::-1]))
    assert found[dates].tolist() == [row + 1 for row in best]


def test_a_single_flip_goes_and_a_lasting_change_stays():
    labels = np.array([[1, 1, 1], [1, 1, 1], [3, 1, 1], [1, 2, 1], [1, 2, 1], [1, 2, 2]], np.uint8)
    found = smoothed(labels)
    assert found[:, 0].tolist() == [1] * 6
    assert found[:, 1].tolist() == [1, 1, 1, 2, 2, 2]
    assert found[:, 2].tolist() == [1] * 6  # one date alone is no lasting change yet


def test_masked_dates_say_nothing_and_stay_without_a_class():
    labels = np.array([[0, 1], [1, 1], [0, 1], [3, 0], [0, 0], [1, 2], [1, 2], [0, 2]], np.uint8)
    found = smoothed(labels)
    assert found[:, 0].tolist() == [0, 1, 0, 1, 0, 1, 1, 0]
    assert found[:, 1].tolist() == [1, 1, 1, 0, 0, 2, 2, 2]
    # However many dates are masked, the others follow each other.
    assert np.array_equal(smoothed(labels[[1, 3, 5, 6], :1])[:, 0], found[[1, 3, 5, 6], 0])


def test_a_pixel_that_is_never_valid_has_no_class():
    assert not smoothed(np.zeros((5, 3), np.uint8)).any()


def test_one_date_keeps_its_nearest_class_the_lowest_of_equal_ones():
    costs = np.array([[[5, 0], [0, 0], [0, 3]]], np.int32)
    assert smooth(costs, np.ones((1, 2), bool), steady(3)).tolist() == [[2, 1]]


def test_strength_zero_changes_no_label():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES + 1, (9, 500)).astype(np.uint8)
    found = smooth(evidence(labels), labels > 0, transition_costs(np.eye(CLASSES, dtype=int), 0.0))
    assert np.array_equal(found, labels)


def test_more_strength_leaves_fewer_changes():
    rng = np.random.default_rng(1)
    labels = rng.integers(1, CLASSES + 1, (20, 400)).astype(np.uint8)
    counts = np.eye(CLASSES, dtype=np.int64) * 10 + 1
    changes = [
        np.count_nonzero(np.diff(smooth(evidence(labels), labels > 0, costs).astype(int), axis=0))
        for costs in (transition_costs(counts, strength) for strength in (0.0, 0.5, 1.0, 4.0))
    ]
    assert changes == sorted(changes, reverse=True) and changes[0] > 4 * changes[-1]


@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_chunks_do_not_matter(chunk, monkeypatch):
    labels = np.random.default_rng(2).integers(0, CLASSES + 1, (12, 100)).astype(np.uint8)
    whole, counts = smoothed(labels, 1.5), count_transitions(labels, CLASSES)
    monkeypatch.setattr(smoothing, "_CHUNK", chunk)
    assert np.array_equal(smoothed(labels, 1.5), whole)
    assert np.array_equal(count_transitions(labels, CLASSES), counts)
    parts = [count_transitions(part, CLASSES) for part in np.array_split(labels, 5, axis=1)]
    assert np.array_equal(sum(parts), counts)


def test_counted_is_what_lasts_from_each_valid_date_to_the_next():
    labels = np.array([[1, 1, 0], [2, 0, 0], [1, 2, 3], [1, 2, 3], [3, 2, 0]], np.uint8)
    # 1 (2) 1 1 3: the flip counts as 1. 1 – 2 2 2. 3 3 once.
    assert count_transitions(labels, 3).tolist() == [[3, 1, 1], [0, 2, 0], [0, 0, 1]]
    assert count_transitions(np.array([[1], [2], [1], [2], [1]], np.uint8), 2).tolist() == [
        [4, 0],
        [0, 0],
    ]


def test_transition_costs_are_logarithms_of_shares():
    costs = transition_costs(np.array([[97, 0, 0], [0, 0, 0], [5, 3, 10]]), 2.0)
    shares = np.array([[98, 1, 1], [1, 1, 1], [6, 4, 11]]) / np.array([[100], [3], [21]])
    assert np.array_equal(costs, np.rint(-2.0 * PARTS * np.log(shares)))
    assert costs.dtype == np.int32
    for wrong in (-0.1, 101.0, float("nan")):
        with pytest.raises(ValueError, match="expected 0 to 100"):
            transition_costs(np.eye(3, dtype=int), wrong)


def test_evidence_is_the_normal_log_likelihood_and_is_bounded():
    # Two bands, a mean squared distance of 8 to the own signature: variance 4, scores times 2^20.
    scale = EvidenceScale.of(2.0**20, 8.0 * 1000, 1000, 2)
    squares = np.array([[9.0, 9.0], [17.0, 1.0], [10.0, 1000.0]])
    scores = np.rint((squares - 50.0) * 2.0**20).astype(np.int64)
    found = scale.costs(scores)
    expected = np.minimum((squares - squares.min(axis=0)) / (2 * 4.0), 4.0)
    assert np.array_equal(found, np.rint(expected * PARTS))
    assert found.dtype == np.int32


def test_evidence_of_extreme_scores_does_not_overflow():
    top = 1 << 53
    scores = np.array([[-top, top], [top, -top]])
    for inertia in (0.0, 1e-300, 1.0, 1e300):
        found = EvidenceScale.of(2.0**40, inertia, 10, 3).costs(scores)
        assert found.min() == 0 and 0 < found.max() <= 4 * PARTS


def noisy_series(seed: int, dates: int = 30, side: int = 100) -> tuple[np.ndarray, np.ndarray]:
    """Return true labels and costs of a series: a tenth changes for good, the rest stays.

    Each date has noise that turns some one label in fifteen, two haze dates far more, and clouds.
    """
    rng = np.random.default_rng(seed)
    pixels, signatures = side * side, np.array([0.0, 4.0, 8.0, 12.0])
    truth = np.repeat(rng.integers(0, 4, pixels)[None], dates, axis=0)
    changing = rng.choice(pixels, pixels // 10, replace=False)
    since = rng.integers(3, dates - 3, len(changing))
    other = (truth[0, changing] + rng.integers(1, 4, len(changing))) % 4
    truth[:, changing] = np.where(np.arange(dates)[:, None] < since, truth[:, changing], other)
    noise = np.full(dates, 1.1)
    noise[[7, 19]] = 3.0
    values = signatures[truth] + rng.normal(0.0, 1.0, truth.shape) * noise[:, None]
    scores = np.rint((values[:, None] - signatures[:, None]) ** 2 * 2.0**30).astype(np.int64)
    scale = EvidenceScale.of(2.0**30, 1.1**2 * truth.size, truth.size, 1)
    costs = np.stack([scale.costs(date) for date in scores])
    return truth + 1, costs


@pytest.mark.parametrize("seed", range(3))
def test_lasting_changes_are_found_within_a_date_and_few_others(seed):
    truth, costs = noisy_series(seed)
    valid = np.random.default_rng(seed).random(truth.shape) > 0.15
    plain = np.where(valid, costs.argmin(axis=1) + 1, 0)
    transitions = transition_costs(count_transitions(plain.astype(np.uint8), CLASSES), 1.0)
    found = smooth(costs, valid, transitions)
    assert (plain == truth)[valid].mean() < 0.94 < 0.995 < (found == truth)[valid].mean()
    lasting = np.flatnonzero(truth[0] != truth[-1])
    hits = 0
    for pixel in lasting:
        dates = np.flatnonzero(valid[:, pixel])
        labels, expected = found[dates, pixel], truth[dates, pixel]
        moved, should = np.flatnonzero(np.diff(labels)), np.flatnonzero(np.diff(expected))
        hits += any(abs(moved - should[0]) <= 1) if len(should) else 1
    assert hits / len(lasting) >= 0.95
    still = np.flatnonzero(truth[0] == truth[-1])
    ever = [len(np.unique(found[valid[:, pixel], pixel])) > 1 for pixel in still]
    assert np.mean(ever) <= 0.01
