"""Lines fitted to the pixels of each date that did not change from a reference."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from .harmonisation import LEAST_PIXELS, MOST_GAIN, Harmonisation, Harmonise, Reference
from .irmad import INVARIANT, LARGEST, Line, no_change, orthogonal_line
from .monitor import Monitor
from .pairing import PairedCodes, PairedReference
from .parallel import ordered_map

LEAST_CORRELATION = 0.9
# Pixels are compared in whole parts of the reference's spread.
_PARTS = 1024


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
    the median over the dates, at the gain and offset that the dates' medians are 1 and 0 (a
    median of dates has less noise, and so less spread, than each of them). It is returned, too.

    ``standard`` is the scenes' :func:`~.harmonise.standardise`, which is where the comparison
    starts, and what a scene falls back on that has fewer invariant pixels than 30 for each
    band, or 100; so does a band with a correlation below 0.9 or a gain beyond 0.1 to 10. Bands
    that are ``fixed`` are left alone. Raises Cancelled from the monitor.
    """
    scenes, bands = paired.codes.shape[:2]
    own = reference is None and itself is None
    if reference is None:
        reference = _median(paired, standard) if itself is None else paired.of_scene(itself)
    start = reference
    moving = [band for band in range(bands) if band not in fixed]

    def fit(rank: int) -> _Fit:
        return _fit(paired, standard, start, rank, moving)

    ranks = [rank for rank in range(scenes) if rank != itself]
    with ThreadPoolExecutor(threads) as pool:
        found = list(ordered_map(pool, fit, ranks, monitor or Monitor(), ahead=2 * threads))
    fits = dict(zip(ranks, found))
    if own:
        fits, reference = _levelled(fits, reference, standard.reference)
    return _assembled(standard, fits, itself), reference


def _median(paired: PairedCodes, standard: Harmonisation) -> PairedReference:
    """Return the median over the dates of each place's standardised codes, as whole codes."""
    bands, places = paired.codes.shape[1:]
    codes = np.zeros((bands, places), np.int32)
    counts = paired.valid.sum(axis=0)
    seen = counts > 0
    lower, upper = np.maximum(counts - 1, 0)[None] // 2, counts[None] // 2
    for band in range(bands):
        values = paired.codes[:, band] * standard.gains[:, band, None]
        values += standard.offsets[:, band, None]
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
    """Change the median's gain and offset so that the medians of the lines' are 1 and 0."""
    codes = median.codes.astype(np.float64)
    for band in range(len(codes)):
        lines = {rank: fit.lines[band] for rank, fit in fits.items() if band in fit.lines}
        if not lines:
            continue
        gain = float(np.median([line.gain for line in lines.values()]))
        offset = float(np.median([line.offset / line.gain for line in lines.values()])) * gain
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


def _assembled(standard: Harmonisation, fits: dict[int, _Fit], itself: int | None) -> Harmonisation:
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
            gains[rank, band] = line.gain * standard.gains[rank, band]
            # In this order a line of gain 1 and offset 0 changes no bit.
            offsets[rank, band] = line.gain * standard.offsets[rank, band] + (
                (1.0 - line.gain) * centre + line.offset * spread / _PARTS
            )
            pixels[rank, band] = found.pixels
            residuals[rank, band] = line.residual / _PARTS
    return Harmonisation(
        tuple(methods), gains, offsets, pixels, residuals, tuple(reasons), standard.reference
    )


@dataclass(frozen=True)
class _Fit:
    """The lines of one scene's bands, in parts of spreads about the reference's centres."""

    lines: dict[int, Line]
    pixels: int
    reason: str


def _fit(
    paired: PairedCodes,
    standard: Harmonisation,
    reference: PairedReference,
    rank: int,
    bands: Sequence[int],
) -> _Fit:
    both = paired.valid[rank] & reference.valid
    least = max(30 * len(bands), LEAST_PIXELS)
    if np.count_nonzero(both) < least:
        return _Fit({}, 0, f"{np.count_nonzero(both)} places in common, {least} are needed")
    first = np.zeros((len(bands), np.count_nonzero(both)), np.int64)
    second = np.zeros_like(first)
    for row, band in enumerate(bands):
        spread = standard.reference.spreads[band]
        if spread:
            codes = paired.codes[rank, band, both] * standard.gains[rank, band]
            first[row] = _parts(codes + standard.offsets[rank, band], standard.reference, band)
            second[row] = _parts(reference.codes[band, both], standard.reference, band)
    varied = [row for row in range(len(bands)) if np.ptp(first[row]) and np.ptp(second[row])]
    if not varied:
        return _Fit({}, 0, "")
    unchanged = no_change(first[varied], second[varied]) > INVARIANT
    count = int(np.count_nonzero(unchanged))
    if count < least:
        return _Fit({}, 0, f"{count} invariant pixels, {least} are needed")
    lines, poor = {}, []
    for row in varied:
        band = bands[row]
        line = orthogonal_line(first[row, unchanged], second[row, unchanged])
        correlation = line.correlation if line is not None else 0.0
        gain = line.gain * standard.gains[rank, band] if line is not None else 0.0
        if (
            line is None
            or correlation < LEAST_CORRELATION
            or not 1.0 / MOST_GAIN <= gain <= MOST_GAIN
        ):
            poor.append(f"band {band + 1} (correlation {correlation:.2f}, gain {gain:.3g})")
        else:
            lines[band] = line
    reason = f"no plausible line for {', '.join(poor)}" if poor else ""
    return _Fit(lines, count, reason)


def _parts(codes: np.ndarray, reference: Reference, band: int) -> np.ndarray:
    """Return codes as whole parts of the spread about the centre; far ones are cut off."""
    scaled = (codes - reference.centres[band]) * (_PARTS / reference.spreads[band])
    return np.clip(np.rint(scaled), -LARGEST, LARGEST).astype(np.int64)
