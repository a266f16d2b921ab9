"""What happened to each pixel of a series: changes of class, the last one, and their variety."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

_STRIP = 1 << 20  # counts held at a time
_COMPARED = 24  # up to so many classes, comparing with each is faster than looking places up


@dataclass(frozen=True)
class Changes:
    """Per pixel, (height, width): what its classes did from each valid date to the next.

    ``valid`` and ``count`` are uint16: dates with a class, and how often it changed. ``last``,
    int32, is the index of the first date on which the pixel had its last class; -1: always had.
    """

    valid: np.ndarray
    count: np.ndarray
    last: np.ndarray


def changes_of(ranks: np.ndarray) -> Changes:
    """Return the changes of pixels with classes ``ranks``, uint8 (dates, height, width), 0 none."""
    shape = ranks.shape[1:]
    valid, count = np.zeros(shape, np.uint16), np.zeros(shape, np.uint16)
    last, former = np.full(shape, -1, np.int32), np.zeros(shape, np.uint8)
    for index, plane in enumerate(ranks):
        here = plane > 0
        changed = here & (former > 0) & (plane != former)
        valid += here
        count += changed
        last[changed] = index
        np.copyto(former, plane, where=here)
    return Changes(valid, count, last)


def entropy_of(ranks: np.ndarray, classes: int) -> np.ndarray:
    """Return the entropy of each pixel's classes in bits, float32 (height, width).

    H = −Σ p log2 p over the shares p of its valid dates (Shannon 1948): 0 where it always had one
    class, log2(m) where m classes came equally often. NaN without a valid date.
    """
    dates = len(ranks)
    counts = np.arange(dates + 1, dtype=np.float64)
    table = counts * np.log2(np.maximum(counts, 1.0))
    flat, found = _flat(ranks), []
    for strip in _frequencies(flat, classes):
        spread = np.zeros(strip.shape[1])
        for row in strip:  # one order of summing, whatever the windows
            spread += table[row]
        total = strip.sum(axis=0, dtype=np.int64)
        with np.errstate(invalid="ignore"):
            found.append(((table[total] - spread) / total).astype(np.float32))
    return np.concatenate(found).reshape(ranks.shape[1:])


def majority_of(ranks: np.ndarray, classes: int) -> np.ndarray:
    """Return the most frequent class of each pixel, uint8 (height, width), 0 without a valid date.

    Of classes that are equally frequent, it is the lowest.
    """
    found = []
    for strip in _frequencies(_flat(ranks), classes):
        best = strip.argmax(axis=0).astype(np.uint8) + np.uint8(1)
        best[~strip.any(axis=0)] = 0
        found.append(best)
    return np.concatenate(found).reshape(ranks.shape[1:])


def _flat(ranks: np.ndarray) -> np.ndarray:
    return ranks.reshape(len(ranks), -1)


def _frequencies(flat: np.ndarray, classes: int) -> Iterator[np.ndarray]:
    """Yield how often pixels have each class, uint16 (classes, pixels), strip by strip."""
    width = max(1, _STRIP // (classes + 1))
    for start in range(0, flat.shape[1], width):
        strip = flat[:, start : start + width]
        counts = np.zeros((classes + 1, strip.shape[1]), np.uint16)
        places = np.arange(strip.shape[1])
        for plane in strip:
            if classes > _COMPARED:
                counts[plane, places] += 1
                continue
            for number in range(1, classes + 1):
                counts[number] += plane == number
        yield counts[1:]
