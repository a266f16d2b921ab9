"""The kernels of the parallel backend that measure how compact classes are, and how well apart.

Their float64 operations are those of the reference, one by one: nothing is fused or reordered.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from . import numba_ir
from .numba_ir import (
    BYTE,
    CODES,
    DOUBLE,
    INT,
    LONG,
    at,
    element,
    instruction,
    load,
    long,
    splat,
    store,
)

MOST_TERMS = 1 << 31
"""Pixels × classes × bands of one call that take well below a second."""
MEASURE_TILE = 16
"""Pixels measured at a time, in registers; a kernel wants no fewer."""

# Added to a number below 2^51, it leaves the number rounded to an integer in the lowest bits.
_ROUNDER = 1.5 * 2.0**52
_ROUNDER_BITS = 0x4338000000000000
# A class has several sums, taken in turn: neighbours are often of one class, and would wait.
_SUMS = 4
_VERSION = numba_ir.version(numba_ir)


@instruction
def measure_tile(
    context, bands, codes, place, skipped, labels, signatures, steps, midpoints, distance_scale,
    silhouette_scale, sums,
):  # fmt: skip
    """Measure the pixels of the tile at ``place`` but for the ``skipped`` first ones.

    Their distances and silhouettes, whole numbers, are added to ``sums``, int64, (classes ·
    _SUMS, 2). Other arguments are as in a :class:`~.base.Yardstick`, of one scene.
    """
    given = (
        bands, codes, place, skipped, labels, signatures, steps, midpoints, distance_scale,
        silhouette_scale, sums,
    )  # fmt: skip

    def generate(context, builder, signature, arguments):
        codes, labels, signatures, steps, midpoints, sums = (
            context.make_array(signature.args[i])(context, builder, arguments[i])
            for i in (1, 4, 5, 6, 7, 10)
        )
        place, skipped, distance_scale, silhouette_scale = (arguments[i] for i in (2, 3, 8, 9))
        (classes, _) = cgutils.unpack_tuple(builder, signatures.shape)
        start = builder.gep(labels.data, [place])
        found = load(builder, start, _vector(BYTE))
        values = [
            _values(builder, codes, CODES[given[1].dtype.name], place, steps, midpoints, band)
            for band in range(bands.count)
        ]
        own, other = _nearest(builder, values, found, signatures, classes)
        numbers = _whole_measures(builder, own, other, distance_scale, silhouette_scale)
        counted = builder.icmp_signed(
            ">=", ir.Constant(_vector(LONG), list(range(MEASURE_TILE))), _wide(builder, skipped)
        )
        numbers = [builder.select(counted, known, _all(LONG, 0)) for known in numbers]
        for i in range(MEASURE_TILE):
            pair = ir.Constant(ir.VectorType(INT, 2), [i, MEASURE_TILE + i])
            pair = builder.shuffle_vector(*numbers, pair)
            label = builder.zext(builder.load(builder.gep(start, [long(i)])), LONG)
            row = builder.add(builder.mul(label, long(_SUMS)), long(i % _SUMS))
            address = builder.gep(sums.data, [builder.mul(row, long(2))])
            store(builder, builder.add(load(builder, address, pair.type), pair), address)
        return context.get_dummy_value()

    return types.none(*given), generate


def _values(builder, codes, code, place, steps, midpoints, band):
    """Return where the tile's pixels lie in a band."""
    values = load(builder, element(builder, codes, code, band, place), _vector(code))
    if code is not INT:
        values = builder.zext(values, _vector(INT))
    values = builder.sub(values, _wide(builder, at(builder, midpoints, long(band))))
    values = builder.sitofp(values, _vector(DOUBLE))
    return builder.fmul(values, _wide(builder, at(builder, steps, long(band))))


def _nearest(builder, values, found, signatures, classes):
    """Return the squared distances to the own and to the nearest other signature."""
    entry = builder.block
    loop, after = (builder.append_basic_block(name) for name in ("classes", "measured"))
    builder.branch(loop)
    builder.position_at_end(loop)
    number = builder.phi(LONG)
    own, other = (builder.phi(_vector(DOUBLE)) for _ in range(2))
    first = builder.mul(number, long(len(values)))
    squares = None
    for band, value in enumerate(values):
        signature = _wide(builder, at(builder, signatures, builder.add(first, long(band))))
        difference = builder.fsub(signature, value)
        square = builder.fmul(difference, difference)
        squares = square if squares is None else builder.fadd(squares, square)
    is_own = builder.icmp_unsigned("==", found, _wide(builder, builder.trunc(number, BYTE)))
    is_nearer = builder.fcmp_ordered("<", squares, other)
    nearer = builder.select(is_nearer, squares, other)
    results = builder.select(is_own, squares, own), builder.select(is_own, other, nearer)
    further = builder.add(number, long(1))
    number.add_incoming(long(0), entry)
    number.add_incoming(further, loop)
    for phi, begin, result in zip((own, other), (0.0, np.inf), results):
        phi.add_incoming(_all(DOUBLE, begin), entry)
        phi.add_incoming(result, loop)
    builder.cbranch(builder.icmp_signed("<", further, classes), loop, after)
    builder.position_at_end(after)
    return results


def _whole_measures(builder, own, other, distance_scale, silhouette_scale):
    """Return distances and silhouettes, scaled and rounded to integers."""
    kind = ir.FunctionType(own.type, [own.type])
    root = builder.module.declare_intrinsic(f"llvm.sqrt.v{MEASURE_TILE}f64", fnty=kind)
    near, far = (builder.call(root, [squares]) for squares in (own, other))
    larger = builder.select(builder.fcmp_ordered(">", near, far), near, far)
    silhouettes = builder.fdiv(builder.fsub(far, near), larger)
    nothing = _all(DOUBLE, 0.0)
    is_apart = builder.fcmp_ordered(">", larger, nothing)
    silhouettes = builder.select(is_apart, silhouettes, nothing)
    numbers = []
    for measure, scale in ((near, distance_scale), (silhouettes, silhouette_scale)):
        scaled = builder.fmul(measure, _wide(builder, scale))
        rounded = builder.bitcast(builder.fadd(scaled, _all(DOUBLE, _ROUNDER)), _vector(LONG))
        numbers.append(builder.sub(rounded, _all(LONG, _ROUNDER_BITS)))
    return numbers


def _vector(kind: ir.Type) -> ir.VectorType:
    return ir.VectorType(kind, MEASURE_TILE)


def _wide(builder, value):
    return splat(builder, value, MEASURE_TILE)


def _all(kind: ir.Type, value: float) -> ir.Constant:
    return ir.Constant(_vector(kind), [value] * MEASURE_TILE)


@functools.cache
def measuring_kernel(bands: int, dtype: str) -> Callable[..., None]:
    """Return the kernel for so many bands, compiled or from the disk cache.

    ``measure(codes, labels, start, stop, signatures, steps, midpoints, distance_scale,
    silhouette_scale, sums)`` measures the pixels of a block, a tile or more, from ``start`` to
    before ``stop`` and adds to ``sums``, int64, (classes, 2), distances and silhouettes.
    """
    all_bands = (0,) * bands
    signature = (
        f"void({dtype}[:, ::1], uint8[::1], int64, int64, float64[:, ::1], float64[::1], "
        "int32[::1], float64, float64, int64[:, ::1])"
    )

    def kernel(
        codes, labels, start, stop, signatures, steps, midpoints, distance_scale,
        silhouette_scale, sums,
    ):  # fmt: skip
        several = np.zeros((sums.shape[0] * _SUMS, 2), np.int64)
        for first in range(start, stop, MEASURE_TILE):
            # What does not fill a tile is measured with pixels before it, which are left out.
            place = min(first, stop - MEASURE_TILE)
            measure_tile(
                all_bands, codes, place, first - place, labels, signatures, steps, midpoints,
                distance_scale, silhouette_scale, several,
            )  # fmt: skip
        for j in range(sums.shape[0]):
            for row in range(j * _SUMS, (j + 1) * _SUMS):
                for column in range(2):
                    sums[j, column] += several[row, column]

    # As in numba_assign.py: a module that is there when the disk cache looks for it, and a name
    # of its own.
    kernel.__module__ = numba.__name__
    kernel.__qualname__ = kernel.__name__ = f"measure_{dtype}_{bands}_bands_{_VERSION}"
    compiled: Callable[..., None] = numba.njit(
        signature, nogil=True, cache=True, error_model="numpy"
    )(kernel)
    return compiled
