"""Vector instructions for balls around tiles: middles, radii, and which classes are near."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils

from .numba_ir import (
    BYTE,
    CODES,
    FLOAT,
    FLOAT_RULES,
    INT,
    LONG,
    TILE,
    at,
    columns_of,
    constant,
    element,
    instruction,
    larger,
    load,
    long,
    reduce,
    smaller,
    splat,
    spread,
    store,
)
from .numba_pairs import FARTHEST_START
from .numba_vectors import FARTHEST

LANES = 16
"""Classes of a vector."""
# What a processor reads from memory at a time.
_LINE_BITS = 512


def middle_columns(bands: int) -> int:
    """Return the columns of tables of tiles' middles."""
    return -(-bands // 8) * 8


@instruction
def enclose_tile(context, bands, codes, place, weights, middles, tile):
    """Put the middle of the tile at ``place`` into row ``tile`` of ``middles``, codes.

    Returns the largest squared distance of a pixel from it, float32, differences of codes
    being multiplied by ``weights``, float32, (bands,).
    """
    given = (bands, codes, place, weights, middles, tile)
    code = CODES[codes.dtype.name]

    def generate(context, builder, signature, arguments):
        codes, weights, middles = (
            context.make_array(signature.args[i])(context, builder, arguments[i]) for i in (1, 3, 4)
        )
        place, tile = arguments[2], arguments[5]
        squares = constant(FLOAT, 0.0)
        shift = ir.Constant(INT, TILE.bit_length() - 1)
        for band in range(bands.count):
            address = element(builder, codes, code, band, place)
            values = load(builder, address, ir.VectorType(code, TILE))
            if code is not INT:
                values = builder.zext(values, ir.VectorType(INT, TILE))
            # The mean, rounded down; in two parts, for a sum of wide codes may not fit.
            upper = builder.ashr(values, splat(builder, shift, TILE))
            lower = builder.and_(values, ir.Constant(values.type, [TILE - 1] * TILE))
            middle = builder.add(
                reduce(builder, upper, builder.add),
                builder.ashr(reduce(builder, lower, builder.add), shift),
            )
            narrow = middle if code is INT else builder.trunc(middle, code)
            builder.store(narrow, element(builder, middles, code, tile, long(band)))
            apart = builder.sub(values, splat(builder, middle, TILE))
            apart = builder.sitofp(apart, ir.VectorType(FLOAT, TILE))
            weight = splat(builder, at(builder, weights, long(band)), TILE)
            apart = builder.fmul(apart, weight, flags=FLOAT_RULES)
            square = builder.fmul(apart, apart, flags=FLOAT_RULES)
            squares = builder.fadd(squares, square, flags=FLOAT_RULES)
        return reduce(builder, squares, lambda one, other: larger(builder, one, other))

    return types.float32(*given), generate


@instruction
def score_middle(context, bands, q, n, middles, row, midpoints, scores, tile):
    """Score the middle of a tile, codes in row ``row`` of ``middles``, for all classes.

    ``q`` is (bands, classes), ``n`` (classes,), both float32, ``midpoints`` int32; ``middles``
    and ``midpoints`` have :func:`middle_columns`. Row ``tile`` of ``scores``, float32, is filled,
    and the lowest of them returned.
    """
    given = (bands, q, n, middles, row, midpoints, scores, tile)
    code = CODES[middles.dtype.name]
    columns = middle_columns(bands.count)

    def generate(context, builder, signature, arguments):
        q, n, middles, midpoints, scores = (
            context.make_array(signature.args[i])(context, builder, arguments[i])
            for i in (1, 2, 3, 5, 6)
        )
        start = element(builder, middles, code, arguments[4], long(0))
        middle = load(builder, start, ir.VectorType(code, columns))
        if code is not INT:
            middle = builder.zext(middle, ir.VectorType(INT, columns))
        middle = builder.sub(middle, load(builder, midpoints.data, middle.type))
        middle = builder.sitofp(middle, ir.VectorType(FLOAT, columns))
        offsets = [spread(builder, middle, band, LANES) for band in range(bands.count)]
        vector = ir.VectorType(FLOAT, LANES)
        lowest = cgutils.alloca_once_value(builder, ir.Constant(vector, [FARTHEST] * LANES))
        with cgutils.for_range_slice(
            builder, long(0), columns_of(builder, scores), long(LANES)
        ) as (first, _):
            result = load(builder, builder.gep(n.data, [first]), vector)
            for band, offset in enumerate(offsets):
                factor = load(builder, element(builder, q, FLOAT, band, first), vector)
                product = builder.fmul(factor, offset, flags=FLOAT_RULES)
                result = builder.fsub(result, product, flags=FLOAT_RULES)
            store(builder, result, element(builder, scores, FLOAT, arguments[7], first))
            builder.store(smaller(builder, builder.load(lowest), result), lowest)
        return reduce(builder, builder.load(lowest), lambda a, b: smaller(builder, a, b))

    return types.float32(*given), generate


@instruction
def near_classes(
    context, scores, tile, reference, distances, radius, gap, lowest, scale, starts, near, words
):  # fmt: skip
    """Find the classes that may be near a ball around the middle of a tile, and count them.

    Their scores, in row ``tile`` of ``scores``, are at most that of the class ``reference``
    and ``gap + distances[reference] · radius``. Row ``tile`` of ``near``, ``words`` long, gets
    them as bits, and row ``tile`` of ``starts``, int32, the scores less ``lowest``, times
    ``scale``, up to FARTHEST_START.
    """
    given = (scores, tile, reference, distances, radius, gap, lowest, scale, starts, near, words)

    def generate(context, builder, signature, arguments):
        scores, distances, starts, near = (
            context.make_array(signature.args[i])(context, builder, arguments[i])
            for i in (0, 3, 8, 9)
        )
        tile, reference, radius, gap, lowest, scale, words = (
            arguments[i] for i in (1, 2, 4, 5, 6, 7, 10)
        )
        vector = ir.VectorType(FLOAT, LANES)
        level = builder.load(element(builder, scores, FLOAT, tile, reference))
        limit = splat(builder, builder.fadd(level, gap, flags=FLOAT_RULES), LANES)
        lowest, radius, scale = (splat(builder, x, LANES) for x in (lowest, radius, scale))
        most = ir.Constant(vector, [FARTHEST_START] * LANES)
        count = cgutils.alloca_once_value(builder, long(0))
        target = builder.gep(near.data, [builder.mul(tile, words)])
        target = builder.bitcast(target, ir.IntType(LANES).as_pointer())
        with cgutils.for_range_slice(
            builder, long(0), columns_of(builder, scores), long(LANES)
        ) as (first, _):
            score = load(builder, element(builder, scores, FLOAT, tile, first), vector)
            apart = load(builder, element(builder, distances, FLOAT, reference, first), vector)
            apart = builder.fmul(apart, radius, flags=FLOAT_RULES)
            highest = builder.fadd(limit, apart, flags=FLOAT_RULES)
            is_near = builder.fcmp_ordered("<=", score, highest, flags=FLOAT_RULES)
            bits = builder.bitcast(is_near, ir.IntType(LANES))  # lowest first, as bytes are
            builder.store(bits, builder.gep(target, [builder.udiv(first, long(LANES))]))
            ones = builder.zext(builder.ctpop(bits), LONG)
            builder.store(builder.add(builder.load(count), ones), count)
            start = builder.fsub(score, lowest, flags=FLOAT_RULES)
            start = smaller(builder, builder.fmul(start, scale, flags=FLOAT_RULES), most)
            start = builder.fptosi(start, ir.VectorType(INT, LANES))
            store(builder, start, element(builder, starts, INT, tile, first))
        return builder.load(count)

    return types.int64(*given), generate


@instruction
def fetch_tile(context, bands, codes, place):
    """Ask for the codes of the tile at ``place``, which will be read soon."""
    given = (bands, codes, place)
    code = CODES[codes.dtype.name]

    def generate(context, builder, signature, arguments):
        codes = context.make_array(signature.args[1])(context, builder, arguments[1])
        pointer = BYTE.as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [pointer, INT, INT, INT])
        fetch = builder.module.declare_intrinsic("llvm.prefetch", (pointer,), kind)
        flags = [ir.Constant(INT, flag) for flag in (0, 3, 1)]  # to read, to keep, data
        for band in range(bands.count):
            start = element(builder, codes, code, band, arguments[2])
            for first in range(0, TILE, _LINE_BITS // code.width):
                address = builder.gep(start, [long(first)])
                builder.call(fetch, [builder.bitcast(address, pointer), *flags])
        return context.get_dummy_value()

    return types.none(*given), generate
