"""Labels that stay: the likeliest sequence of classes along each pixel's dates, in integers.

A hidden Markov model (Rabiner 1989, doi 10.1109/5.18626): the states are the classes, their
chances of following each other are learnt in the series, and the evidence of a date is how
much farther a pixel lies from each signature than from the nearest. The Viterbi algorithm
(Viterbi 1967, doi 10.1109/TIT.1967.1054010) on costs in whole parts of a natural unit (nat) is
exact: no order of adding matters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

PARTS = 256
"""Costs are whole numbers, so many to a nat."""
MOST_STRENGTH = 100.0

# What one date can say at most. More would let one cloud outvote the dates around it.
_MOST_EVIDENCE = 4 * PARTS
_CHUNK = 1 << 13
_CLASS_BITS = 8
_CLASS_MASK = (1 << _CLASS_BITS) - 1


@dataclass(frozen=True)
class EvidenceScale:
    """What turns differences of integer scores into costs.

    A difference of ``score`` is worth one nat: for normal classes of one spread in every band,
    twice the mean squared distance to the own signature, by band.
    """

    score: int

    @classmethod
    def of(cls, scale: float, inertia: float, pixels: int, bands: int) -> EvidenceScale:
        """Return that of a fit whose squared distances, of all ``pixels``, add up to ``inertia``.

        A score is such a squared distance times ``scale``, less what all classes share.
        """
        variance = inertia / max(pixels, 1) / bands
        return cls(max(1, round(min(2.0 * variance * scale, 2.0**53))))

    def costs(self, scores: np.ndarray) -> np.ndarray:
        """Return costs, int32, of scores below 2^53 either way, int64 (classes, pixels).

        The nearest class costs 0, others their distance beyond it, at most four nats.
        """
        farthest = -(-self.score * _MOST_EVIDENCE // PARTS)
        excess = np.minimum(scores - scores.min(axis=0), farthest)
        parts = (excess * PARTS + self.score // 2) // self.score
        return np.minimum(parts, _MOST_EVIDENCE).astype(np.int32)


def count_transitions(labels: np.ndarray, classes: int) -> np.ndarray:
    """Count how often each class follows each on successive valid dates: int64 (from, to).

    ``labels`` are classes from 1, 0 where masked: (dates, pixels), by date. A class between two
    dates of one other class is a flip, and counts as that other: what is counted is what lasts.
    The sums of the parts of a series are those of the whole.
    """
    counts = np.zeros(classes * classes, np.int64)
    for start in range(0, labels.shape[1], _CHUNK):
        steady = _without_flips(_closed_up(labels[:, start : start + _CHUNK]))
        before, after = steady[:-1].astype(np.int64), steady[1:].astype(np.int64)
        seen = (before > 0) & (after > 0)
        pairs = (before[seen] - 1) * classes + after[seen] - 1
        counts += np.bincount(pairs, minlength=classes * classes)
    return counts.reshape(classes, classes)


def transition_costs(counts: np.ndarray, strength: float) -> np.ndarray:
    """Return what it costs to go from one class to another: int32 (from, to).

    −ln of the share of each transition among those from a class, with one added to each count,
    times ``strength``.
    """
    if not 0.0 <= strength <= MOST_STRENGTH:
        raise ValueError(f"strength is {strength}; expected 0 to {MOST_STRENGTH:g}.")
    classes = len(counts)
    costs = np.zeros((classes, classes), np.int32)
    for row, followers in enumerate(counts.tolist()):
        total = sum(followers) + classes
        for column, count in enumerate(followers):
            chance = (count + 1) / total
            costs[row, column] = round(PARTS * strength * -math.log(chance))
    return costs


def smooth(costs: np.ndarray, valid: np.ndarray, transitions: np.ndarray) -> np.ndarray:
    """Return the cheapest sequence of classes of each pixel: uint8 (dates, pixels), from 1.

    ``costs`` are evidence, int32 (dates, classes, pixels), ``valid`` (dates, pixels) says where
    there is any; elsewhere the label is 0, and a pixel's valid dates follow each other.
    ``transitions``, int32 (from, to). Of equal sequences, the one whose last class has the
    lowest number, then the one before it, and so on.
    """
    labels = np.zeros(valid.shape, np.uint8)
    for start in range(0, valid.shape[1], _CHUNK):
        part = slice(start, start + _CHUNK)
        labels[:, part] = _cheapest(costs[:, :, part], valid[:, part], transitions)
    return labels


def _cheapest(costs: np.ndarray, valid: np.ndarray, transitions: np.ndarray) -> np.ndarray:
    dates, classes, pixels = costs.shape
    came_from = np.empty((dates, classes, pixels), np.uint8)
    stay = np.arange(classes, dtype=np.uint8)[:, None]
    # Costs times 256, and the class they are of: the least has the lowest class of the cheapest.
    steps = transitions.astype(np.int64) << _CLASS_BITS
    total = np.repeat(stay.astype(np.int64), pixels, axis=1)
    reached, way = np.empty_like(total), np.empty(pixels, np.int64)
    begun = np.zeros(pixels, bool)
    for date, seen in enumerate(valid):
        for row in range(classes):
            best = reached[row]
            np.add(total[0], steps[0, row], out=best)
            for other in range(1, classes):
                np.add(total[other], steps[other, row], out=way)
                np.minimum(best, way, out=best)
        follows = seen & begun
        came_from[date] = np.where(follows, reached & _CLASS_MASK, stay)
        reached += stay - (reached & _CLASS_MASK)
        np.copyto(total, reached, where=follows)
        total += np.where(seen, costs[date], 0).astype(np.int64) << _CLASS_BITS
        begun |= seen
    labels = np.zeros((dates, pixels), np.uint8)
    places = np.arange(pixels)
    last = np.argmin(total, axis=0)
    for date in range(dates - 1, -1, -1):
        labels[date] = np.where(valid[date], last + 1, 0)
        last = came_from[date, last, places]
    return labels


def _closed_up(labels: np.ndarray) -> np.ndarray:
    """Move each pixel's valid labels to its first dates, in their order."""
    if labels.all():
        return labels
    order = np.argsort(labels == 0, axis=0, kind="stable")
    return np.take_along_axis(labels, order, axis=0)


def _without_flips(labels: np.ndarray) -> np.ndarray:
    """Return labels (dates, pixels) in which single ones between two equal others are as they.

    From the first date on, so that of 1 2 1 2 1 all become 1.
    """
    steady = labels.copy()
    for date in range(1, len(labels) - 1):
        flip = (steady[date - 1] == labels[date + 1]) & (labels[date + 1] > 0)
        steady[date, flip] = labels[date + 1, flip]
    return steady
