"""The pixels of a series along their dates: strips of ground, all scenes at once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from .monitor import Monitor
from .pairing import common_places, paired_codes, place_count
from .parallel import ordered_map
from .pixels import Block, Labelled, PixelStore, RowPixels
from .scores import Scores
from .smoothing import EvidenceScale, count_transitions, smooth, transition_costs

# Bytes for each thread: what is made of a strip's pixels on all dates at once.
_STRIP_BYTES = 1 << 26
# Of these places transitions are learnt, until of a thousand labels at most one changes.
_LEARNT_PLACES = 1 << 14
_MOST_ROUNDS = 12
_SETTLED = 1000


@dataclass(frozen=True)
class Stretch:
    """The valid pixels of one block that lie in a strip.

    ``places`` are where they lie in the strip, counted row by row, int64 (pixels,).
    """

    index: int
    block: Block
    pixels: RowPixels
    places: np.ndarray


class Timelines:
    """Cuts a store into strips of rows and finds each scene's pixels of a strip."""

    def __init__(self, store: PixelStore, bytes_per_pixel: int) -> None:
        """Make strips so low that ``bytes_per_pixel`` for each place and date stay in bounds."""
        self._width, self._height = store.grid.width, store.grid.height
        self._scenes = store.scene_count
        row_bytes = self._width * store.scene_count * bytes_per_pixel
        self._rows = max(1, min(self._height, _STRIP_BYTES // max(1, row_bytes)))
        self._blocks = list(enumerate(store.blocks))

    def strips(self) -> list[tuple[int, int]]:
        """Return the first row of each strip, and the row after its last."""
        return [
            (top, min(top + self._rows, self._height)) for top in range(0, self._height, self._rows)
        ]

    def places(self, strip: tuple[int, int]) -> int:
        """Return the number of places in a strip."""
        return (strip[1] - strip[0]) * self._width

    def stretches(self, strip: tuple[int, int]) -> Iterator[Stretch]:
        """Yield what lies in a strip, scene by scene."""
        top, bottom = strip
        for index, block in self._blocks:
            window = block.window
            first, last = max(top - window.row, 0), min(bottom - window.row, window.height)
            if first >= last:
                continue
            pixels = block.rows(first, last)
            rows, columns = pixels.rows + window.row - top, pixels.columns + window.column
            yield Stretch(index, block, pixels, rows * self._width + columns)


@dataclass(frozen=True)
class Evidence:
    """What the scores of a fit say of a pixel's class on each date.

    ``inertia_per_pixel`` is the mean squared distance of the fit.
    """

    scores: Scores
    inertia_per_pixel: float

    def costs(self, scene: int, codes: np.ndarray) -> np.ndarray:
        """Return costs, int32 (classes, pixels), from a scene's codes (bands, pixels)."""
        scores = self.scores
        scale = EvidenceScale.of(
            float(scores.scales[scene]), self.inertia_per_pixel, 1, scores.q.shape[2]
        )
        # Whole numbers below 2^53: exact in float64, whatever BLAS does.
        offsets: np.ndarray = codes - scores.midpoints[:, None].astype(np.float64)
        found = scores.n[scene][:, None] - scores.q[scene].astype(np.float64) @ offsets
        return scale.costs(found.astype(np.int64))


def transitions(
    store: PixelStore, evidence: Evidence, seed: int, threads: int, monitor: Monitor
) -> np.ndarray:
    """Learn how pixels go from class to class along their dates: int64 counts (from, to).

    Viterbi training of the transitions alone (as the segmental k-means of Juang & Rabiner 1990,
    IEEE Trans. Acoust. Speech Signal Process. 38, 1639): what is counted in the labels of some
    16,384 places, as they are, smooths these labels, which are counted anew, until at most one
    in a thousand of them changes. Labels as they are change far more often than the ground does,
    for each flip is two changes. Raises Cancelled from the monitor.
    """
    classes, scenes = evidence.scores.classes, store.scene_count
    ground = store.grid.height * store.grid.width
    # More places where much is masked, as far as their codes fit.
    wanted = -(-_LEARNT_PLACES * ground * scenes // max(1, store.pixels))
    count = min(wanted, place_count(scenes, len(store.code_grids)))
    drawn = common_places(seed, store.grid.height, store.grid.width, count)
    paired = paired_codes(store, drawn, threads, monitor)
    places = max(1, _STRIP_BYTES // (scenes * (4 * classes + 8)))
    parts = [slice(start, start + places) for start in range(0, len(drawn), places)]
    labels = np.zeros(paired.valid.shape, np.uint8)
    steps = np.zeros((classes, classes), np.int32)  # at first a change costs nothing

    def relabel(part: slice) -> tuple[int, np.ndarray]:
        valid = paired.valid[:, part]
        costs = [evidence.costs(rank, codes) for rank, codes in enumerate(paired.codes[:, :, part])]
        found = smooth(np.stack(costs), valid, steps)
        changed = int(np.count_nonzero(found != labels[:, part]))
        labels[:, part] = found
        return changed, count_transitions(found, classes)

    with ThreadPoolExecutor(threads) as pool:
        for _ in range(_MOST_ROUNDS):
            results = list(ordered_map(pool, relabel, parts, monitor, ahead=threads))
            counts = np.sum([of_part for _, of_part in results], axis=0)
            changed = sum(of_part for of_part, _ in results)
            if changed * _SETTLED <= np.count_nonzero(paired.valid):
                break
            steps = transition_costs(counts, 1.0)
    return np.asarray(counts, np.int64)


def smoothed(
    store: PixelStore,
    labelled: Labelled,
    evidence: Evidence,
    costs: np.ndarray,
    threads: int,
    monitor: Monitor,
) -> Labelled:
    """Return labels smoothed along the dates; see :mod:`.smoothing`.

    ``evidence`` is of the scores of ``labelled``, ``costs`` those of transitions, int32
    (from, to). The sums of the result are of its counts only: code sums stay those of the
    nearest signatures. Raises Cancelled from the monitor.
    """
    classes = labelled.scores.classes
    labels = tuple(of_block.copy() for of_block in labelled.labels)
    timelines = Timelines(store, 4 * classes + 8)

    def smooth_strip(strip: tuple[int, int]) -> np.ndarray:
        shape = store.scene_count, classes, timelines.places(strip)
        found, valid = np.zeros(shape, np.int32), np.zeros((shape[0], shape[2]), bool)
        parts = list(timelines.stretches(strip))
        for part in parts:
            scene = part.block.scene
            codes = part.pixels.of(part.block.codes)
            found[scene][:, part.places] = evidence.costs(scene, codes)
            valid[scene, part.places] = True
        steady = smooth(found, valid, costs)
        counts = np.zeros((store.scene_count, classes), np.int64)
        for part in parts:
            chosen = steady[part.block.scene, part.places] - np.uint8(1)
            part.pixels.put(chosen, labels[part.index])
            counts[part.block.scene] += np.bincount(chosen, minlength=classes)
        return counts

    total = np.zeros((store.scene_count, classes), np.int64)
    strips = timelines.strips()
    with ThreadPoolExecutor(threads) as pool:
        results = ordered_map(pool, smooth_strip, strips, monitor, ahead=threads)
        for done, counts in enumerate(results, start=1):
            total += counts
            monitor.progress(done / len(strips))
    partials = replace(labelled.partials, counts=total)
    return Labelled(labelled.scores, labels, partials)
