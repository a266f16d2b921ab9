"""Vector instructions that find the nearest class of each pixel of a tile, and move pixels."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils

from .numba_ir import (
    BYTE,
    CODES,
    DOUBLE,
    FLOAT,
    FLOAT_RULES,
    INT,
    LONG,
    TILE,
    at,
    constant,
    element,
    instruction,
    larger,
    load,
    long,
    reduce,
    smaller,
    splat,
    store,
)

FARTHEST = 3e38
"""Score of a row that is there to fill a vector: above that of any class."""
EXACT_LANES = 8


@instruction
def lowest_bit(context, word):
    """Return the place of the lowest bit of a uint64 that is set; 64 if none is."""

    def generate(context, builder, signature, arguments):
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), generate


@instruction
def count_bits(context, word):
    """Return how many bits of a uint64 are set."""

    def generate(context, builder, signature, arguments):
        return builder.ctpop(arguments[0])

    return types.int64(types.uint64), generate


@instruction
def unlike(context, labels, place, label):
    """Return which pixels of the tile at ``place`` have another label, as bits."""

    def generate(context, builder, signature, arguments):
        labels = context.make_array(signature.args[0])(context, builder, arguments[0])
        start = builder.gep(labels.data, [arguments[1]])
        known = load(builder, start, ir.VectorType(BYTE, TILE))
        is_other = builder.icmp_unsigned("!=", known, splat(builder, arguments[2], TILE))
        return builder.zext(builder.bitcast(is_other, ir.IntType(TILE)), LONG)

    return types.uint64(labels, place, label), generate


@instruction
def score_tile(
    context, bands, codes, place, before, q, n, midpoints, gap, words, tile, count, found
):  # fmt: skip
    """Find the nearest class of each pixel of the tile at ``place``; row ``tile`` of ``found``.

    The classes looked at are those whose bits are set in row ``tile``, ``count`` long, of
    ``words``, uint64; their coefficients are ``q``, (classes, bands), and ``n``, (classes,), in
    float32. Returns two words of bits: which pixels have another class than ``before``, uint8,
    and which have two best scores that are no more than ``gap`` apart.
    """
    given = (bands, codes, place, before, q, n, midpoints, gap, words, tile, count, found)

    def generate(context, builder, signature, arguments):
        argument_types = signature.args
        codes, before, q, n, midpoints, words, found = (
            context.make_array(argument_types[i])(context, builder, arguments[i])
            for i in (1, 3, 4, 5, 6, 8, 11)
        )
        place, gap, tile, count = (arguments[i] for i in (2, 7, 9, 10))
        code = CODES[given[1].dtype.name]
        offsets = []
        for band in range(bands.count):
            first = element(builder, codes, code, band, place)
            values = load(builder, first, ir.VectorType(code, TILE))
            if code is not INT:
                values = builder.zext(values, ir.VectorType(INT, TILE))
            middle = splat(builder, at(builder, midpoints, long(band)), TILE)
            values = builder.sub(values, middle)
            offsets.append(builder.sitofp(values, ir.VectorType(FLOAT, TILE)))

        kinds = [ir.VectorType(kind, TILE) for kind in (FLOAT, FLOAT, INT)]
        names = "word", "classes", "next", "scored"
        entry = builder.block
        word, loop, following, after = (builder.append_basic_block(name) for name in names)
        builder.branch(word)

        builder.position_at_end(word)
        number = builder.phi(LONG)
        held = [builder.phi(kind) for kind in kinds]
        row = builder.add(builder.mul(tile, count), number)
        whole = at(builder, words, row)
        empty = builder.icmp_unsigned("==", whole, long(0))
        builder.cbranch(empty, following, loop)

        builder.position_at_end(loop)
        bits = builder.phi(LONG)
        best, second, nearest = carried = [builder.phi(kind) for kind in kinds]
        bit = builder.cttz(bits, ir.Constant(ir.IntType(1), 1))
        own = builder.add(builder.mul(number, long(64)), bit)
        first = builder.mul(own, long(bands.count))
        result = splat(builder, at(builder, n, own), TILE)
        for band, offset in enumerate(offsets):
            factor = splat(builder, at(builder, q, builder.add(first, long(band))), TILE)
            product = builder.fmul(factor, offset, flags=FLOAT_RULES)
            result = builder.fsub(result, product, flags=FLOAT_RULES)
        is_lower = builder.fcmp_ordered("<", result, best, flags=FLOAT_RULES)
        scored = (
            smaller(builder, result, best),
            smaller(builder, second, larger(builder, result, best)),
            builder.select(is_lower, splat(builder, builder.trunc(own, INT), TILE), nearest),
        )
        left = builder.and_(bits, builder.sub(bits, long(1)))
        bits.add_incoming(whole, word)
        bits.add_incoming(left, loop)
        for phi, before_, result in zip(carried, held, scored):
            phi.add_incoming(before_, word)
            phi.add_incoming(result, loop)
        builder.cbranch(builder.icmp_unsigned("!=", left, long(0)), loop, following)

        builder.position_at_end(following)
        gathered = [builder.phi(kind) for kind in kinds]
        for phi, before_, result in zip(gathered, held, scored):
            phi.add_incoming(before_, word)
            phi.add_incoming(result, loop)
        further = builder.add(number, long(1))
        number.add_incoming(long(0), entry)
        number.add_incoming(further, following)
        far = constant(FLOAT, FARTHEST)
        for phi, start, result in zip(held, (far, far, constant(INT, 0)), gathered):
            phi.add_incoming(start, entry)
            phi.add_incoming(result, following)
        builder.cbranch(builder.icmp_signed("<", further, count), word, after)

        builder.position_at_end(after)
        best, second, nearest = gathered
        labels = builder.trunc(nearest, ir.VectorType(BYTE, TILE))
        known = load(builder, builder.gep(before.data, [place]), labels.type)
        store(builder, labels, builder.gep(found.data, [builder.mul(tile, long(TILE))]))
        difference = builder.fsub(second, best, flags=FLOAT_RULES)
        flags = (
            builder.icmp_unsigned("!=", labels, known),
            builder.fcmp_ordered("<=", difference, splat(builder, gap, TILE), flags=FLOAT_RULES),
        )
        whole = [builder.zext(builder.bitcast(w, ir.IntType(TILE)), LONG) for w in flags]
        return context.make_tuple(builder, signature.return_type, whole)

    return types.UniTuple(types.uint64, 2)(*given), generate


@instruction
def nearest_exactly(context, bands, codes, place, q, n, midpoints):
    """Return the nearest class of one pixel, of equal ones the first, by exact scores.

    ``q`` is (bands, classes), ``n`` (classes,), integers as float64; classes in whole vectors.
    """
    given = (bands, codes, place, q, n, midpoints)
    code = CODES[codes.dtype.name]

    def generate(context, builder, signature, arguments):
        codes, q, n, midpoints = (
            context.make_array(signature.args[i])(context, builder, arguments[i])
            for i in (1, 3, 4, 5)
        )
        offsets = []
        for band in range(bands.count):
            value = builder.load(element(builder, codes, code, band, arguments[2]))
            if code is not INT:
                value = builder.zext(value, INT)
            value = builder.sub(value, at(builder, midpoints, long(band)))
            offsets.append(splat(builder, builder.sitofp(value, DOUBLE), EXACT_LANES))
        vector = ir.VectorType(DOUBLE, EXACT_LANES)
        whole = ir.VectorType(LONG, EXACT_LANES)
        best = cgutils.alloca_once_value(builder, ir.Constant(vector, [FARTHEST] * EXACT_LANES))
        label = cgutils.alloca_once_value(builder, ir.Constant(whole, [0] * EXACT_LANES))
        lanes = ir.Constant(whole, list(range(EXACT_LANES)))
        classes = cgutils.unpack_tuple(builder, n.shape)[0]
        with cgutils.for_range_slice(builder, long(0), classes, long(EXACT_LANES)) as (first, _):
            result = load(builder, builder.gep(n.data, [first]), vector)
            for band, offset in enumerate(offsets):
                factor = load(builder, element(builder, q, DOUBLE, band, first), vector)
                result = builder.fsub(result, builder.fmul(factor, offset))
            is_lower = builder.fcmp_ordered("<", result, builder.load(best))
            own = builder.add(splat(builder, first, EXACT_LANES), lanes)
            builder.store(builder.select(is_lower, own, builder.load(label)), label)
            builder.store(builder.select(is_lower, result, builder.load(best)), best)
        lowest = reduce(builder, builder.load(best), lambda a, b: smaller(builder, a, b))
        lowest = splat(builder, lowest, EXACT_LANES)
        is_lowest = builder.fcmp_ordered("==", builder.load(best), lowest)
        none = ir.Constant(whole, [1 << 62] * EXACT_LANES)
        own = builder.select(is_lowest, builder.load(label), none)

        def first_of(one, other):
            return builder.select(builder.icmp_signed("<", one, other), one, other)

        return reduce(builder, own, first_of)

    return types.int64(*given), generate


def sum_columns(bands: int) -> int:
    """Return the columns of a table of sums for :func:`move_pixel`."""
    return -(-(bands + 1) // 8) * 8


@instruction
def move_pixel(context, bands, codes, place, sums, new, old):
    """Take a pixel from the class ``old``, none if it is negative, to the class ``new``.

    Its codes, and 1 in the column after them, are added to row ``new`` of ``sums``, int64,
    (rows, sum_columns), and taken from row ``old``.
    """
    width = bands.count
    columns = sum_columns(width)
    code = CODES[codes.dtype.name]

    def generate(context, builder, signature, arguments):
        codes = context.make_array(signature.args[1])(context, builder, arguments[1])
        sums = context.make_array(signature.args[3])(context, builder, arguments[3])
        parts = []
        for first in range(0, columns, 8):
            ones = [int(column == width) for column in range(first, first + 8)]
            values = ir.Constant(ir.VectorType(INT, 8), ones)
            for band in range(first, min(first + 8, width)):
                value = builder.load(element(builder, codes, code, band, arguments[2]))
                if code is not INT:
                    value = builder.zext(value, INT)
                values = builder.insert_element(values, value, ir.Constant(INT, band - first))
            parts.append(builder.sext(values, ir.VectorType(LONG, 8)))

        def change(row, operation):
            for number, part in enumerate(parts):
                start = builder.add(builder.mul(row, long(columns)), long(8 * number))
                address = builder.gep(sums.data, [start])
                store(builder, operation(load(builder, address, part.type), part), address)

        new, old = arguments[4:]
        change(new, builder.add)
        with builder.if_then(builder.icmp_signed(">=", old, long(0))):
            change(old, builder.sub)
        return context.get_dummy_value()

    return types.none(bands, codes, place, sums, new, old), generate
