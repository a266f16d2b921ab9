"""Quality of a result: silhouettes, Davies-Bouldin and Calinski-Harabasz, the same everywhere.

What concerns all pixels is measured by the backend in one pass and comes back as integers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from .backends.base import Backend, Partials, Yardstick, is_usable
from .backends.numpy import assign
from .monitor import Monitor
from .parallel import beside, share_out
from .pixels import PixelStore
from .sampling import even_sample
from .scene_space import SceneSpace
from .seeding import squared_distances

SILHOUETTE_PIXELS = 4096
"""Size of the sample on which the silhouette itself is computed; each pixel meets each other."""

_ROWS = 16
_ROWS_AT_ONCE = 512


@dataclass(frozen=True)
class Quality:
    """How compact the classes are, and how well apart.

    ``simplified_silhouette`` is the mean over all pixels, ``class_silhouettes`` over those of
    each class. A pixel's is (b − a) / max(a, b), with its distances a to the own and b to the
    nearest other signature (Hruschka, Campello & de Castro 2006, doi 10.1016/j.ins.2005.07.015;
    Vendramin, Campello & Hruschka 2010, doi 10.1002/sam.10080). ``class_distances`` are the
    means of a, in the input's units or those of the scaling. A class without pixels has None.

    ``silhouette`` is that of a sample of ``silhouette_pixels``, see :func:`silhouette`; None if
    all of them have one class. ``calinski_harabasz`` is None if every pixel is where the mean of
    its class is.
    """

    simplified_silhouette: float
    class_silhouettes: tuple[float | None, ...]
    class_distances: tuple[float | None, ...]
    silhouette: float | None
    silhouette_pixels: int
    davies_bouldin: float
    calinski_harabasz: float | None

    @classmethod
    def of_json(cls, content: dict[str, Any], classes: int) -> Quality:
        """Return what was kept as JSON; raises an error of some kind if it is damaged."""
        by_class = ("class_silhouettes", "class_distances")
        values = {name: content[name] for name in content if name not in by_class}
        values.update((name, tuple(content[name])) for name in by_class)
        known = cls(**values)
        numbers = [known.simplified_silhouette, known.silhouette_pixels, known.davies_bouldin]
        lists = known.class_silhouettes, known.class_distances
        may_lack = [known.silhouette, known.calinski_harabasz, *lists[0], *lists[1]]
        numbers += [item for item in may_lack if item is not None]
        if not all(map(math.isfinite, numbers)) or {len(items) for items in lists} != {classes}:
            raise ValueError("bad quality")
        return known


def measure_quality(
    backend: Backend,
    store: PixelStore,
    space: SceneSpace,
    centres: np.ndarray,
    partials: Partials,
    seed: int,
    threads: int,
    monitor: Monitor,
) -> Quality | None:
    """Measure the labels that ``backend`` gave to the pixels of ``store`` in its last step.

    ``centres`` (classes, bands) and ``partials`` are those of that step; ``seed`` is for the
    sample. Classes without pixels are left out; with fewer than two others there is nothing to
    compare, and the result is None. Raises Cancelled from the monitor.
    """
    counts = partials.counts.sum(axis=0)
    used = np.flatnonzero(counts)
    if len(used) < 2:
        return None
    pixels = int(counts.sum())
    yardstick = _yardstick(space, centres, counts, store)
    measures = backend.measure(yardstick)
    monitor.progress(0.5)
    distances = _means(measures.distances, counts, yardstick.distance_scale)
    total = int(measures.silhouettes.sum()) / pixels / yardstick.silhouette_scale
    sample, labels = _sample(store, space, centres, seed, threads, monitor)
    monitor.progress(0.6)
    return Quality(
        simplified_silhouette=total,
        class_silhouettes=_means(measures.silhouettes, counts, yardstick.silhouette_scale),
        class_distances=distances,
        silhouette=silhouette(sample, labels, monitor.part(0.6, 1.0), threads),
        silhouette_pixels=len(labels),
        davies_bouldin=_davies_bouldin(space, centres[used], [distances[row] for row in used]),
        calinski_harabasz=_calinski_harabasz(space, partials, store),
    )


def _yardstick(
    space: SceneSpace, centres: np.ndarray, counts: np.ndarray, store: PixelStore
) -> Yardstick:
    steps, used = space.features.steps, counts > 0
    signatures = np.where(used[:, None], centres, np.inf)
    ends = np.array([(known.minimum, known.maximum) for known in space.spreads(store)])
    reaches = np.abs((ends - centres[used][:, :, None]) * steps[:, None]).max(axis=2)
    farthest = math.sqrt(max(math.fsum(row) for row in (reaches * reaches).tolist()))
    pixels = int(counts.sum())
    return Yardstick(
        signatures=(signatures - space.offsets[:, None]) * steps,
        steps=space.gains * steps,
        midpoints=np.array(space.features.midpoints, np.int64),
        distance_scale=_scale(farthest, pixels, 50, 62),
        silhouette_scale=_scale(1.0, pixels, 50, 62),
    )


def _scale(largest: float, terms: int, bits_of_one: int, bits_of_all: int) -> float:
    """Return the largest power of two that keeps one value, and the sum of all, within bits."""
    bits = min(bits_of_one, bits_of_all - terms.bit_length())
    return math.ldexp(1.0, bits - math.frexp(largest)[1])


def _means(totals: np.ndarray, counts: np.ndarray, scale: float) -> tuple[float | None, ...]:
    """Return the mean measure of each class, None where it is empty."""
    pairs = zip(totals.tolist(), counts.tolist())
    return tuple(total / count / scale if count else None for total, count in pairs)


def _sample(
    store: PixelStore,
    space: SceneSpace,
    centres: np.ndarray,
    seed: int,
    threads: int,
    monitor: Monitor,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw an even sample over scenes and places, of all pixels if they are few.

    Returns where they are, in the input's units from the mid-points, (bands, pixels), and their
    labels, by scene and place.
    """
    run = -(-store.pixels // SILHOUETTE_PIXELS)
    codes, scenes = even_sample(store, seed, run, threads, monitor)
    scores = space.scores(centres, np.ones(len(centres), bool))
    labels = np.empty(len(scenes), np.uint8)
    offsets = (codes - scores.midpoints[:, None]).astype(np.float64)
    for scene in np.unique(scenes):
        here = scenes == scene
        q, n = scores.q[scene].astype(np.float64), scores.n[scene].astype(np.float64)
        labels[here] = assign(q, n[:, None], offsets[:, here])
    return space.positions(codes, scenes) * space.features.steps[:, None], labels


def silhouette(
    positions: np.ndarray, labels: np.ndarray, monitor: Monitor, threads: int = 1
) -> float | None:
    """Return the mean silhouette (Rousseeuw 1987, doi 10.1016/0377-0427(87)90125-7) of pixels.

    A pixel's is (b − a) / max(a, b), with its mean distance a to the others of its class and the
    smallest mean distance b to those of another class; 0 where it is alone in its class.
    ``positions`` are float64, (bands, pixels), ``labels`` (pixels,). None with fewer than two
    classes. Distances are added up as integers, so the order of the pixels does not matter.
    """
    _, rows = np.unique(labels, return_inverse=True)
    if not rows.any():
        return None
    order = np.argsort(rows)
    positions, rows, sizes = positions[:, order], rows[order], np.bincount(rows)
    each = _silhouettes(_distance_sums(positions, sizes, threads, monitor), rows, sizes)
    return math.fsum(each.tolist()) / len(rows)


def _distance_sums(
    positions: np.ndarray, sizes: np.ndarray, threads: int, monitor: Monitor
) -> np.ndarray:
    """Return the sums of distances from each pixel to those of each class: (pixels, classes).

    The pixels come class by class. The sums are of whole numbers below 2^53, and so exact.
    """
    spans = positions.max(axis=1) - positions.min(axis=1)
    scale = _scale(math.sqrt(math.fsum((spans * spans).tolist())), positions.shape[1], 52, 52)
    if is_usable("numba"):
        return _sums_compiled(positions, sizes, scale, threads, monitor)
    return _sums(positions, sizes, scale, monitor)


def _sums_compiled(
    positions: np.ndarray, sizes: np.ndarray, scale: float, threads: int, monitor: Monitor
) -> np.ndarray:
    """Return what :func:`_sums` returns, sooner."""
    from .backends.numba_silhouette import summing_kernel

    add_up = beside(summing_kernel, monitor)
    positions, ends = np.ascontiguousarray(positions), np.cumsum(sizes)
    count = positions.shape[1]
    parts = -(-count // _ROWS_AT_ONCE)
    sums = np.empty((count, len(sizes)))

    def work(worker: int, part: int) -> None:
        start = part * _ROWS_AT_ONCE
        add_up(positions, ends, scale, start, min(start + _ROWS_AT_ONCE, count), sums)

    threads = min(threads, parts)
    with ThreadPoolExecutor(threads) as pool:
        share_out(pool, threads, work, parts, monitor)
    return sums


def _sums(positions: np.ndarray, sizes: np.ndarray, scale: float, monitor: Monitor) -> np.ndarray:
    """Return the sums of distances, times ``scale`` and rounded to integers; each pair once."""
    count, ends = positions.shape[1], np.cumsum(sizes)
    firsts = ends - sizes
    sums = np.zeros((count, len(sizes)))
    for row, (first, end) in enumerate(zip(firsts, ends)):
        for start in range(first, end, _ROWS):
            monitor.check()
            monitor.progress(start / count)
            stop = min(start + _ROWS, end)
            squares = np.zeros((stop - start, count - first))
            for plane in positions:
                difference = plane[start:stop, None] - plane[first:]
                difference *= difference
                squares += difference
            distances = np.rint(np.sqrt(squares) * scale)
            sums[start:stop, row:] += np.add.reduceat(distances, firsts[row:] - first, axis=1)
            sums[end:, row] += distances[:, end - first :].sum(axis=0)
    return sums


def _silhouettes(sums: np.ndarray, rows: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return the silhouette of each pixel from its sums of distances to the classes."""
    pixels = np.arange(len(rows))
    own = sums[pixels, rows] / np.maximum(sizes[rows] - 1, 1)
    means = sums / sizes
    means[pixels, rows] = np.inf
    other = means.min(axis=1)
    larger = np.maximum(own, other)
    larger[larger == 0.0] = 1.0
    return np.where(sizes[rows] == 1, 0.0, (other - own) / larger)


def _davies_bouldin(
    space: SceneSpace, centres: np.ndarray, distances: Sequence[float | None]
) -> float:
    """Return the index of Davies & Bouldin (1979, doi 10.1109/TPAMI.1979.4766909); 0 is best.

    The mean over the classes of the largest (S_i + S_j) / M_ij, with Euclidean mean distances S
    to the signatures and distances M between these. ``centres`` and ``distances`` are of
    classes with pixels; no two of them can have one and the same centre.
    """
    spreads = np.array(distances, np.float64)
    worst = []
    for row, centre in enumerate(centres):
        between = np.sqrt(squared_distances(space.weights, centres.T, centre))
        between[row] = np.inf
        worst.append(float(((spreads + spreads[row]) / between).max()))
    return math.fsum(worst) / len(worst)


def _calinski_harabasz(space: SceneSpace, partials: Partials, store: PixelStore) -> float | None:
    """Return the ratio of Calinski & Harabasz (1974, doi 10.1080/03610927408827101).

    (B / (k − 1)) / (W / (n − k)), with the sums B of squared distances between the means of the
    classes and of all pixels, and W between pixels and the means of their classes. None where W
    is 0.
    """
    counts = partials.counts.sum(axis=0)
    used, pixels = int(np.count_nonzero(counts)), int(counts.sum())
    between, within = space.between_and_within(partials, store.scene_statistics)
    return between / (used - 1) / within * (pixels - used) if within else None
