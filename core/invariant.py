"""Lines fitted to the pixels of each date that did not change from a reference."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from .harmonisation import LEAST_PIXELS, MOST_GAIN, Harmonisation, Harmonise, Reference, usual
from .irmad import INVARIANT, LARGEST, Line, no_change, orthogonal_line
from .monitor import Monitor
from .pairing import PairedCodes, PairedReference
from .parallel import ordered_map

# A line is trusted in part between these correlations, so that no date jumps at a limit.
LEAST_CORRELATION, FULL_CORRELATION = 0.5, 0.9
# Pixels are compared in whole parts of the reference's spread.
_PARTS = 1024
# The first median is of dates standardised by what each of them shows, the second of better ones.
_ROUNDS = 2
# Of all places, so many that are seen on most dates make the median.
_SEEN_SHARE = 4


def invariant(
    paired: PairedCodes,
    standard: Harmonisation,
    *,
    reference: PairedReference | None = None,
    itself: int | None = None,
    fixed: Collection[int] = (),
    threads: int = 1,
    monitor: Monitor | None = None,
) -> tuple[Harmonisation, PairedReference]:
    """Fit a line to the pixels of each scene and band that did not change from the reference.

    That is what a model has kept, or the scene of rank ``itself``, which stays as it is; None:
    the median over the dates, at the gain and offset that the dates' usual ones are 1 and 0 (a
    median of dates has less noise, and so less spread, than each of them). It is returned, too.

    ``standard`` is the scenes' :func:`~.harmonise.standardise`, which is where the comparison
    starts, and what a scene falls back on that has fewer invariant pixels than 30 for each
    band, or 100, or a band with a gain beyond 0.1 to 10; so does a band whose invariant pixels
    are correlated by less than 0.5. From there to 0.9 gain and offset go over to the line's.
    Bands that are ``fixed`` are left alone. Raises Cancelled from the monitor.
    """
    moving = [band for band in range(paired.codes.shape[1]) if band not in fixed]
    ranks = [rank for rank in range(len(paired.codes)) if rank != itself]
    monitor = monitor or Monitor()

    def fits(
        start: Harmonisation, target: PairedReference, before: dict[int, _Fit]
    ) -> dict[int, _Fit]:
        def fit(rank: int) -> _Fit:
            known = before[rank].unchanged if rank in before else None
            return _fit(paired, start, target, rank, moving, known)

        with ThreadPoolExecutor(threads) as pool:
            return dict(zip(ranks, ordered_map(pool, fit, ranks, monitor, ahead=2 * threads)))

    if reference is None and itself is not None:
        reference = paired.of_scene(itself)
    if reference is not None:
        return _assembled(standard, standard, fits(standard, reference, {}), itself), reference
    found, lines = standard, dict[int, _Fit]()
    for _ in range(_ROUNDS):
        median = _median(paired, found)
        lines, reference = _levelled(fits(found, median, lines), median, standard.reference)
        found = _assembled(standard, found, lines, None)
    assert reference is not None
    # Against the reference alone, as a date that comes later is: the same line for the same date.
    return _assembled(standard, standard, fits(standard, reference, {}), None), reference


def _median(paired: PairedCodes, start: Harmonisation) -> PairedReference:
    """Return the median over the dates of each place's harmonised codes, as whole codes.

    Of the quarter of the places that is seen on most dates, and all others seen as often: where
    different dates show different parts of the ground, what they have in common tells most.
    """
    bands, places = paired.codes.shape[1:]
    codes = np.zeros((bands, places), np.int32)
    counts = paired.valid.sum(axis=0)
    often = np.sort(counts)[places - 1 - places // _SEEN_SHARE] if places else 0
    seen = counts >= max(1, often)
    lower, upper = np.maximum(counts - 1, 0)[None] // 2, counts[None] // 2
    for band in range(bands):
        values = paired.codes[:, band] * start.gains[:, band, None]
        values += start.offsets[:, band, None]
        values[~paired.valid] = np.inf  # sorted to the end
        values.sort(axis=0)
        middle = np.take_along_axis(values, lower, axis=0)[0]
        even = seen & (counts % 2 == 0)
        middle[even] += np.take_along_axis(values, upper % len(values), axis=0)[0, even]
        middle[even] /= 2.0
        codes[band, seen] = np.rint(middle[seen]).astype(np.int32)
    return PairedReference(codes, seen)


def _levelled(
    fits: dict[int, _Fit], median: PairedReference, reference: Reference
) -> tuple[dict[int, _Fit], PairedReference]:
    """Change the median's gain and offset so that the lines' usual ones are 1 and 0."""
    codes = median.codes.astype(np.float64)
    for band in range(len(codes)):
        lines = {rank: fit.lines[band] for rank, fit in fits.items() if band in fit.lines}
        if not lines:
            continue
        gain = usual([line.gain for line in lines.values()])
        offset = usual([line.offset / line.gain for line in lines.values()]) * gain
        for rank, line in lines.items():
            fits[rank].lines[band] = Line(
                line.gain / gain,
                (line.offset - offset) / gain,
                line.correlation,
                line.residual / gain,
            )
        centre = reference.centres[band]
        moved = codes[band] - centre - offset * reference.spreads[band] / _PARTS
        codes[band] = moved / gain + centre
    limits = np.iinfo(np.int32)
    whole = np.clip(np.rint(codes), limits.min, limits.max).astype(np.int32)
    return fits, PairedReference(np.where(median.valid, whole, 0), median.valid)


def _assembled(
    standard: Harmonisation, start: Harmonisation, fits: dict[int, _Fit], itself: int | None
) -> Harmonisation:
    """Return ``start`` with the lines applied, and ``standard`` where there are none."""
    gains, offsets = standard.gains.copy(), standard.offsets.copy()
    pixels, residuals = standard.pixels.copy(), standard.residuals.copy()
    methods, reasons = list(standard.methods), list(standard.reasons)
    if itself is not None:
        gains[itself], offsets[itself], residuals[itself] = 1.0, 0.0, 0.0
        methods[itself], reasons[itself] = Harmonise.NONE, ""
    for rank, found in fits.items():
        if found.lines:
            methods[rank] = Harmonise.INVARIANT
        if found.reason:
            reasons[rank] = "; ".join(filter(None, [reasons[rank], found.reason]))
        for band, line in found.lines.items():
            centre, spread = standard.reference.centres[band], standard.reference.spreads[band]
            gain = line.gain * start.gains[rank, band]
            # In this order a line of gain 1 and offset 0 changes no bit.
            offset = line.gain * start.offsets[rank, band] + (
                (1.0 - line.gain) * centre + line.offset * spread / _PARTS
            )
            trust = _trust(line)
            gains[rank, band] += trust * (gain - gains[rank, band])
            offsets[rank, band] += trust * (offset - offsets[rank, band])
            pixels[rank, band] = found.pixels
            residuals[rank, band] = line.residual / _PARTS
    return Harmonisation(
        tuple(methods), gains, offsets, pixels, residuals, tuple(reasons), standard.reference
    )


@dataclass(frozen=True)
class _Fit:
    """The lines of one scene's bands, in parts of spreads about the reference's centres.

    ``unchanged`` are the no-change probabilities of all places, (places,), if there are any.
    """

    lines: dict[int, Line]
    pixels: int
    reason: str
    unchanged: np.ndarray | None = None


def _fit(
    paired: PairedCodes,
    start: Harmonisation,
    reference: PairedReference,
    rank: int,
    bands: Sequence[int],
    known: np.ndarray | None,
) -> _Fit:
    both = paired.valid[rank] & reference.valid
    least = max(30 * len(bands), LEAST_PIXELS)
    if np.count_nonzero(both) < least:
        return _Fit({}, 0, f"{np.count_nonzero(both)} places in common, {least} are needed")
    first = np.zeros((len(bands), np.count_nonzero(both)), np.int64)
    second = np.zeros_like(first)
    for row, band in enumerate(bands):
        spread = start.reference.spreads[band]
        if spread:
            codes = paired.codes[rank, band, both] * start.gains[rank, band]
            first[row] = _parts(codes + start.offsets[rank, band], start.reference, band)
            second[row] = _parts(reference.codes[band, both], start.reference, band)
    varied = [row for row in range(len(bands)) if np.ptp(first[row]) and np.ptp(second[row])]
    if not varied:
        return _Fit({}, 0, "")
    begin = None if known is None else known[both]
    found = no_change(first[varied], second[varied], begin)
    every = np.zeros(len(both))
    every[both] = found
    unchanged = found > INVARIANT
    count = int(np.count_nonzero(unchanged))
    if count < least:
        return _Fit({}, 0, f"{count} invariant pixels, {least} are needed", every)
    lines, why = {}, []
    for row in varied:
        band = bands[row]
        line = orthogonal_line(first[row, unchanged], second[row, unchanged])
        if line is None or not _trust(line):
            close = 0.0 if line is None else line.correlation
            why.append(f"band {band + 1}: correlation {close:.2f}, {LEAST_CORRELATION} is needed")
            continue
        gain = line.gain * start.gains[rank, band]
        if not 1.0 / MOST_GAIN <= gain <= MOST_GAIN:
            return _Fit({}, 0, f"band {band + 1} would need a gain of {gain:.3g}", every)
        lines[band] = line
    return _Fit(lines, count, "; ".join(why), every)


def _trust(line: Line) -> float:
    """Return how far a line is trusted: not at all, 0, to as it is, 1."""
    share = (line.correlation - LEAST_CORRELATION) / (FULL_CORRELATION - LEAST_CORRELATION)
    return min(max(share, 0.0), 1.0)


def _parts(codes: np.ndarray, reference: Reference, band: int) -> np.ndarray:
    """Return codes as whole parts of the spread about the centre; far ones are cut off."""
    scaled = (codes - reference.centres[band]) * (_PARTS / reference.spreads[band])
    return np.clip(np.rint(scaled), -LARGEST, LARGEST).astype(np.int64)
