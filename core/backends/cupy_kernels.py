"""The kernels of the cupy backend: their shapes, the records they read, how they are compiled."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..scores import NEVER, Scores
from .base import Yardstick

SOURCE = Path(__file__).with_name("cupy_kernels.cu")
ALIGNMENT = 16
"""Bytes that addresses, and codes that rows of planes, are multiples of."""

_THREADS = 256
_CHUNK = 1 << 13
# A thread keeps the float32 offsets of its pixels in registers: so many at most.
_MOST_OFFSETS = 48
_WIDEST_LOAD = 8
# Shared memory of a thread block, of the 48 KiB that every card has.
_COEFFICIENT_BYTES = 24 * 1024
_SUM_BYTES = 16 * 1024
_COPIED_BYTES = 4 * 1024
_UNIT_ROUNDOFF = 2.0**-24

BLOCK = np.dtype(
    [("codes", "i8"), ("labels", "i8"), ("stride", "i8"), ("pixels", "i4"), ("scene", "i4")]
)
CHUNK = np.dtype([("block", "i4"), ("first", "i4")])


@dataclass(frozen=True)
class KernelShape:
    """What kernels are compiled for.

    ``pixels`` a thread scores at a time, ``threads`` and ``chunk`` (pixels) of a thread block,
    ``copies`` of its sums in shared memory (0: none), whether coefficients are ``staged`` there,
    ``unroll`` classes of one loop body, ``resident`` thread blocks on a multiprocessor at least.
    """

    bands: int
    classes: int
    code_bytes: int
    pixels: int
    threads: int
    chunk: int
    copies: int
    staged: bool
    unroll: int
    resident: int

    @classmethod
    def of(cls, bands: int, classes: int, dtype: np.dtype) -> KernelShape:
        """Return the shape for a number of bands and classes and codes of uint16 or int32."""
        code_bytes = dtype.itemsize
        pixels = 4
        while pixels > 1 and (
            pixels * bands > _MOST_OFFSETS or pixels * code_bytes > 2 * _WIDEST_LOAD
        ):
            pixels //= 2
        sums = classes * (bands * (code_bytes // 2) + 1) * 4
        copies = 0 if sums > _SUM_BYTES else max(1, min(8, _COPIED_BYTES // sums))
        return cls(
            bands=bands,
            classes=classes,
            code_bytes=code_bytes,
            pixels=pixels,
            threads=_THREADS,
            chunk=_CHUNK,
            copies=copies,
            staged=classes * _row(bands) * 4 <= _COEFFICIENT_BYTES,
            unroll=4 if bands <= 16 else 1,
            resident=3 if pixels * bands <= 24 else 1,
        )

    def but(self, **changes: Any) -> KernelShape:
        """Return the shape with changes, for tests and to tune."""
        return replace(self, **changes)

    def options(self) -> tuple[str, ...]:
        """Return the compiler's options. Products may be fused with sums: the gap covers it."""
        macros = {
            "BANDS": self.bands,
            "CLASSES": self.classes,
            "CODE_BYTES": self.code_bytes,
            "PIXELS": self.pixels,
            "THREADS": self.threads,
            "CHUNK": self.chunk,
            "COPIES": self.copies,
            "STAGED": int(self.staged),
            "UNROLL": self.unroll,
            "RESIDENT": self.resident,
        }
        return ("-std=c++14", *(f"-D{name}={value}" for name, value in macros.items()))

    def scores_record(self) -> np.dtype:
        """Return the layout of a scene's scores on the card."""
        return _padded(
            ("coefficients", "f4", (self.classes, _row(self.bands))),
            ("q", "i8", (self.classes, self.bands)),
            ("n", "i8", (self.classes,)),
            ("midpoints", "i4", (self.bands,)),
            ("gap", "f4", ()),
        )

    def yardstick_record(self) -> np.dtype:
        """Return the layout of a scene's yardstick on the card."""
        return _padded(
            ("signatures", "f8", (self.classes, self.bands)),
            ("steps", "f8", (self.bands,)),
            ("distance_scale", "f8", ()),
            ("silhouette_scale", "f8", ()),
            ("midpoints", "i4", (self.bands,)),
        )

    def scores(self, scores: Scores, reaches: np.ndarray) -> np.ndarray:
        """Return the records of all scenes' scores; ``reaches`` as for :func:`doubtful_gaps`."""
        records = np.zeros(len(scores.q), self.scores_record())
        records["coefficients"][:, :, 0] = scores.n
        records["coefficients"][:, :, 1 : 1 + self.bands] = -scores.q
        records["q"], records["n"] = scores.q, scores.n
        records["midpoints"] = scores.midpoints
        records["gap"] = doubtful_gaps(scores, reaches)
        return records

    def yardstick(self, yardstick: Yardstick) -> np.ndarray:
        """Return the records of all scenes' yardsticks."""
        records = np.zeros(len(yardstick.signatures), self.yardstick_record())
        records["signatures"], records["steps"] = yardstick.signatures, yardstick.steps
        records["distance_scale"] = yardstick.distance_scale
        records["silhouette_scale"] = yardstick.silhouette_scale
        records["midpoints"] = yardstick.midpoints
        return records


def doubtful_gaps(scores: Scores, reaches: np.ndarray) -> np.ndarray:
    """Return, for each scene, the gap between two float32 scores that leaves their order open.

    Rounding q, x and n to float32 and adding up B products, fused or not, errs by at most
    γ(|n| + Σ|q||x|) with γ = (B + 3)u / (1 − (B + 3)u), u = 2^-24 (Higham 2002, Accuracy and
    Stability of Numerical Algorithms, section 3.1). ``reaches``, int64 (scenes, 2, bands), are a
    scene's lowest and highest codes and bound |x|. Float32, (scenes,).
    """
    steps = (scores.q.shape[2] + 3) * _UNIT_ROUNDOFF
    reach = np.abs(reaches - scores.midpoints).max(axis=1).astype(np.float64)
    products = np.abs(scores.q).astype(np.float64) @ reach[:, :, None]
    sizes = np.abs(scores.n).astype(np.float64) + products[:, :, 0]
    sizes[scores.n == NEVER] = 0.0  # a dropped class's score is exact
    error = steps / (1.0 - steps) * sizes.max(axis=1)
    # Twice the error of one score; a little more covers rounding here and of the gap itself.
    gaps = (2.0 * error * (1.0 + 2.0**-18)).astype(np.float32)
    return np.asarray(np.nextafter(gaps, np.float32(np.inf)))


def chunks_of(pixels: list[int], size: int) -> np.ndarray:
    """Return the chunks of blocks with so many pixels, each of ``size`` pixels at most."""
    parts = [-(-count // size) for count in pixels]
    chunks = np.zeros(sum(parts), CHUNK)
    chunks["block"] = np.repeat(np.arange(len(parts)), parts)
    ends = np.cumsum(parts)
    chunks["first"] = (np.arange(len(chunks)) - np.repeat(ends - parts, parts)) * size
    return chunks


def stride_of(pixels: int) -> int:
    """Return how many codes apart the planes of so many pixels lie on a card."""
    return -(-pixels // ALIGNMENT) * ALIGNMENT


def compiled(cupy: Any, shape: KernelShape) -> Any:
    """Return the module of a shape's kernels, compiled or from CuPy's cache on disk."""
    return cupy.RawModule(code=_source(), options=shape.options())


@functools.cache
def _source() -> str:
    return SOURCE.read_text("utf-8")


def _row(bands: int) -> int:
    """Return the coefficients of a class, n first, padded to what is loaded at once."""
    return -(-(bands + 1) // 4) * 4


def _padded(*fields: tuple[str, str, tuple[int, ...]]) -> np.dtype:
    """Return a record of fields, which leave no gaps, as a multiple of the alignment."""
    record = np.dtype([field for field in fields])
    rest = -record.itemsize % ALIGNMENT
    return np.dtype([*fields, ("padding", "u1", (rest,))]) if rest else record
