"""Colours are the same for a class always, far apart, and safe for colour-blind readers."""

from __future__ import annotations

import hashlib
import itertools
import time

import numpy as np
import pytest

from iikmc.core import palette
from iikmc.core.errors import ParameterError

DIGEST = "5a518536f497f4d4dbde0e2b62499f6baed50d05a45ce5ee10884a17b0a9ce0e"
# Machado, Oliveira & Fernandes (2009), doi 10.1109/TVCG.2009.113, severity 1, on linear RGB.
VISION = {
    "normal": np.eye(3),
    "protan": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deutan": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritan": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}


def differences(colours, vision="normal"):
    """CIE76 differences of all pairs of colours, (colours, colours), as such eyes see them."""
    seen = np.clip(palette._linear(np.array(colours)) @ VISION[vision].T, 0, 1)
    lab = palette._lab(seen)
    return np.sqrt(((lab[:, None] - lab[None]) ** 2).sum(axis=2))


def pairs(table):
    return table[np.triu_indices(len(table), 1)]


@pytest.mark.parametrize(
    ("rgb", "expected"),
    [
        ((255, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 0, 255), (32.30, 79.19, -107.86)),
        ((128, 128, 128), (53.59, 0.0, 0.0)),
        ((2, 2, 2), (0.55, 0.0, 0.0)),
    ],
)
def test_lab_has_the_published_values(rgb, expected):
    lab = palette._lab(palette._linear(np.array([rgb])))
    assert lab[0] == pytest.approx(expected, abs=0.01)


def test_a_class_has_the_same_colour_for_any_count():
    longest = palette.colours(254)
    for count in range(1, 255):
        assert palette.colours(count) == longest[:count]


def test_colours_are_plain_bytes_and_all_distinct():
    colours = palette.colours(254)
    assert len(set(colours)) == 254
    for value in itertools.chain.from_iterable(colours):
        assert type(value) is int
        assert 0 <= value <= 255


@pytest.mark.parametrize("vision", VISION)
def test_the_first_eight_differ_for_all_kinds_of_colour_vision(vision):
    # 2.3 is just noticeable side by side; 15 is told apart across a map and its legend.
    assert pairs(differences(palette.colours(8), vision)).min() > 15


@pytest.mark.parametrize("vision", VISION)
def test_neighbouring_numbers_among_the_first_eight_differ_strongly(vision):
    table = differences(palette.colours(8), vision)
    assert min(table[i, i + 1] for i in range(7)) > 35


@pytest.mark.parametrize(("count", "least"), [(12, 25), (20, 25), (60, 20), (254, 11)])
def test_further_colours_stay_apart(count, least):
    assert pairs(differences(palette.colours(count))).min() > least


def test_no_colour_is_near_white_or_black():
    extremes = differences((*palette.colours(254), (255, 255, 255), (0, 0, 0)))
    assert extremes[:254, 254:].min() > 15


def test_colours_are_those_of_earlier_releases():
    colours = palette.colours(254)
    assert colours[:2] == ((0, 114, 178), (213, 94, 0))
    assert colours[8:12] == ((75, 30, 150), (225, 210, 165), (120, 15, 30), (105, 120, 0))
    assert hashlib.sha256(bytes(itertools.chain.from_iterable(colours))).hexdigest() == DIGEST


def test_no_rounding_hangs_on_the_last_bits_of_a_machine():
    # Lab is computed in floating point once, then rounded: nothing may lie near a half.
    axes = np.meshgrid(*[np.array(palette._LATTICE)] * 3, indexing="ij")
    lattice = np.stack(axes, axis=-1).reshape(-1, 3)
    for rgb in (lattice, np.array(palette._FIRST)):
        tenths = 10.0 * palette._lab(palette._linear(rgb))
        assert np.abs(np.abs(tenths - np.floor(tenths)) - 0.5).min() > 1e-8


def test_the_whole_sequence_takes_a_moment():
    times = []
    for _ in range(3):
        palette._sequence.cache_clear()
        start = time.perf_counter()
        palette.colours(254)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.2  # a few milliseconds; the rest is for a busy machine


@pytest.mark.parametrize("count", [-1, 0, 255])
def test_other_counts_are_refused(count):
    with pytest.raises(ParameterError, match=f"1 to 254 classes, not for {count}"):
        palette.colours(count)
