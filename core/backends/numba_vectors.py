"""Vector instructions for the kernels of the parallel backend, written for LLVM itself.

A tile of pixels goes through all classes in registers. A compiler that finds vectors in loops
would put what a pixel has gathered so far into memory after every few classes, and read the
bands of a long strip at once, faster than memory gives them.
"""

from __future__ import annotations

import inspect
import sys
import zlib
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

# Fused multiply-add may be used, nothing else is reordered; there are no NaNs and infinities.
FLOAT_RULES = ("contract", "nnan", "ninf", "nsz")
# Pixels of a tile; no fewer were faster with registers half as long either.
TILE = 32
LANES = 16
FARTHEST = 3e38
"""Score, float32, of a row that is there to fill a vector: above that of any class."""

_BYTE, _INT, _LONG = ir.IntType(8), ir.IntType(32), ir.IntType(64)
_FLOAT = ir.FloatType()
_CODES = {"uint16": ir.IntType(16), "int32": _INT}

# Numba's disk cache looks for changes in the file of a kernel alone, so kernels bear this name.
VERSION = f"{zlib.crc32(inspect.getsource(sys.modules[__name__]).encode()):08x}"


def _instruction(function: Callable) -> Any:
    """Return what kernels can call, and a reader of types can make nothing of.

    ``bands`` is a tuple of as many entries as there are bands: its type tells their number.
    """
    return intrinsic(function)


@_instruction
def lowest_bit(context, word):
    """Return the place of the lowest bit of a uint64 that is set; 64 if none is."""

    def generate(context, builder, signature, arguments):
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), generate


@_instruction
def count_bits(context, word):
    """Return how many bits of a uint64 are set."""

    def generate(context, builder, signature, arguments):
        return builder.ctpop(arguments[0])

    return types.int64(types.uint64), generate


@_instruction
def unlike(context, labels, place, label):
    """Return which pixels of the tile at ``place`` have another label, as bits."""

    def generate(context, builder, signature, arguments):
        labels = context.make_array(signature.args[0])(context, builder, arguments[0])
        start = builder.gep(labels.data, [arguments[1]])
        known = _load(builder, start, ir.VectorType(_BYTE, TILE))
        is_other = builder.icmp_unsigned("!=", known, _splat(builder, arguments[2]))
        return builder.zext(builder.bitcast(is_other, ir.IntType(TILE)), _LONG)

    return types.uint64(labels, place, label), generate


@_instruction
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
        code = _CODES[given[1].dtype.name]
        offsets = []
        for band in range(bands.count):
            first = _element(builder, codes, code, band, place)
            values = _load(builder, first, ir.VectorType(code, TILE))
            if code is not _INT:
                values = builder.zext(values, ir.VectorType(_INT, TILE))
            middle = _splat(builder, _at(builder, midpoints, _long(band)))
            values = builder.sub(values, middle)
            offsets.append(builder.sitofp(values, ir.VectorType(_FLOAT, TILE)))

        kinds = [ir.VectorType(kind, TILE) for kind in (_FLOAT, _FLOAT, _INT)]
        names = "word", "classes", "next", "scored"
        entry = builder.block
        word, loop, following, after = (builder.append_basic_block(name) for name in names)
        builder.branch(word)

        builder.position_at_end(word)
        number = builder.phi(_LONG)
        held = [builder.phi(kind) for kind in kinds]
        row = builder.add(builder.mul(tile, count), number)
        whole = _at(builder, words, row)
        empty = builder.icmp_unsigned("==", whole, _long(0))
        builder.cbranch(empty, following, loop)

        builder.position_at_end(loop)
        bits = builder.phi(_LONG)
        best, second, nearest = carried = [builder.phi(kind) for kind in kinds]
        bit = builder.cttz(bits, ir.Constant(ir.IntType(1), 1))
        own = builder.add(builder.mul(number, _long(64)), bit)
        first = builder.mul(own, _long(bands.count))
        result = _splat(builder, _at(builder, n, own))
        for band, offset in enumerate(offsets):
            factor = _splat(builder, _at(builder, q, builder.add(first, _long(band))))
            product = builder.fmul(factor, offset, flags=FLOAT_RULES)
            result = builder.fsub(result, product, flags=FLOAT_RULES)
        is_lower = builder.fcmp_ordered("<", result, best, flags=FLOAT_RULES)
        scored = (
            _smaller(builder, result, best),
            _smaller(builder, second, _larger(builder, result, best)),
            builder.select(is_lower, _splat(builder, builder.trunc(own, _INT)), nearest),
        )
        left = builder.and_(bits, builder.sub(bits, _long(1)))
        bits.add_incoming(whole, word)
        bits.add_incoming(left, loop)
        for phi, before_, result in zip(carried, held, scored):
            phi.add_incoming(before_, word)
            phi.add_incoming(result, loop)
        builder.cbranch(builder.icmp_unsigned("!=", left, _long(0)), loop, following)

        builder.position_at_end(following)
        gathered = [builder.phi(kind) for kind in kinds]
        for phi, before_, result in zip(gathered, held, scored):
            phi.add_incoming(before_, word)
            phi.add_incoming(result, loop)
        further = builder.add(number, _long(1))
        number.add_incoming(_long(0), entry)
        number.add_incoming(further, following)
        far = _constant(_FLOAT, FARTHEST)
        for phi, start, result in zip(held, (far, far, _constant(_INT, 0)), gathered):
            phi.add_incoming(start, entry)
            phi.add_incoming(result, following)
        builder.cbranch(builder.icmp_signed("<", further, count), word, after)

        builder.position_at_end(after)
        best, second, nearest = gathered
        labels = builder.trunc(nearest, ir.VectorType(_BYTE, TILE))
        known = _load(builder, builder.gep(before.data, [place]), labels.type)
        _store(builder, labels, builder.gep(found.data, [builder.mul(tile, _long(TILE))]))
        difference = builder.fsub(second, best, flags=FLOAT_RULES)
        flags = (
            builder.icmp_unsigned("!=", labels, known),
            builder.fcmp_ordered("<=", difference, _splat(builder, gap), flags=FLOAT_RULES),
        )
        whole = [builder.zext(builder.bitcast(w, ir.IntType(TILE)), _LONG) for w in flags]
        return context.make_tuple(builder, signature.return_type, whole)

    return types.UniTuple(types.uint64, 2)(*given), generate


@_instruction
def enclose_tile(context, bands, codes, place, weights, centres, tile):
    """Put the middle of the tile at ``place`` into row ``tile`` of ``centres``, codes.

    Returns the largest squared distance of a pixel from it, float32, differences of codes
    being multiplied by ``weights``, float32, (bands,).
    """
    given = (bands, codes, place, weights, centres, tile)
    code = _CODES[codes.dtype.name]

    def generate(context, builder, signature, arguments):
        codes, weights, centres = (
            context.make_array(signature.args[i])(context, builder, arguments[i]) for i in (1, 3, 4)
        )
        place, tile = arguments[2], arguments[5]
        squares = _constant(_FLOAT, 0.0)
        shift = ir.Constant(_INT, TILE.bit_length() - 1)
        for band in range(bands.count):
            address = _element(builder, codes, code, band, place)
            values = _load(builder, address, ir.VectorType(code, TILE))
            if code is not _INT:
                values = builder.zext(values, ir.VectorType(_INT, TILE))
            # The mean, rounded down; in two parts, for a sum of wide codes may not fit.
            upper = builder.ashr(values, _splat(builder, shift))
            lower = builder.and_(values, ir.Constant(values.type, [TILE - 1] * TILE))
            centre = builder.add(
                _reduce(builder, upper, builder.add),
                builder.ashr(_reduce(builder, lower, builder.add), shift),
            )
            narrow = centre if code is _INT else builder.trunc(centre, code)
            builder.store(narrow, _element(builder, centres, code, tile, _long(band)))
            apart = builder.sub(values, _splat(builder, centre))
            apart = builder.sitofp(apart, ir.VectorType(_FLOAT, TILE))
            weight = _splat(builder, _at(builder, weights, _long(band)))
            apart = builder.fmul(apart, weight, flags=FLOAT_RULES)
            square = builder.fmul(apart, apart, flags=FLOAT_RULES)
            squares = builder.fadd(squares, square, flags=FLOAT_RULES)
        return _reduce(builder, squares, lambda one, other: _larger(builder, one, other))

    return types.float32(*given), generate


@_instruction
def near_classes(context, bands, q, n, offsets, distances, row, radius, level, first):
    """Return which of the LANES classes from ``first`` on may be near a ball, as bits.

    They have a score of at most ``level + distances[row] · radius`` at ``offsets``,
    float32, (bands,). ``q`` is (bands, classes), ``n`` (classes,), all float32.
    """
    given = (bands, q, n, offsets, distances, row, radius, level, first)

    def generate(context, builder, signature, arguments):
        q, n, offsets, distances = (
            context.make_array(signature.args[i])(context, builder, arguments[i])
            for i in range(1, 5)
        )
        row, radius, level, first = arguments[5:]
        vector = ir.VectorType(_FLOAT, LANES)

        def part(start):
            return _load(builder, start, vector)

        result = part(builder.gep(n.data, [first]))
        for band in range(bands.count):
            factor = part(_element(builder, q, _FLOAT, band, first))
            offset = _splat(builder, _at(builder, offsets, _long(band)), LANES)
            product = builder.fmul(factor, offset, flags=FLOAT_RULES)
            result = builder.fsub(result, product, flags=FLOAT_RULES)
        apart = part(_element(builder, distances, _FLOAT, row, first))
        apart = builder.fmul(apart, _splat(builder, radius, LANES), flags=FLOAT_RULES)
        limit = builder.fadd(_splat(builder, level, LANES), apart, flags=FLOAT_RULES)
        is_near = builder.fcmp_ordered("<=", result, limit, flags=FLOAT_RULES)
        return builder.zext(builder.bitcast(is_near, ir.IntType(LANES)), _LONG)

    return types.uint64(*given), generate


def sum_columns(bands: int) -> int:
    """Return the columns of a table of sums for :func:`move_pixel`."""
    return -(-(bands + 1) // 8) * 8


@_instruction
def move_pixel(context, bands, codes, place, sums, new, old):
    """Take a pixel from the class ``old``, none if it is negative, to the class ``new``.

    Its codes, and 1 in the column after them, are added to row ``new`` of ``sums``, int64,
    (rows, sum_columns), and taken from row ``old``.
    """
    width = bands.count
    columns = sum_columns(width)
    code = _CODES[codes.dtype.name]

    def generate(context, builder, signature, arguments):
        codes = context.make_array(signature.args[1])(context, builder, arguments[1])
        sums = context.make_array(signature.args[3])(context, builder, arguments[3])
        parts = []
        for first in range(0, columns, 8):
            ones = [int(column == width) for column in range(first, first + 8)]
            values = ir.Constant(ir.VectorType(_INT, 8), ones)
            for band in range(first, min(first + 8, width)):
                value = builder.load(_element(builder, codes, code, band, arguments[2]))
                if code is not _INT:
                    value = builder.zext(value, _INT)
                values = builder.insert_element(values, value, ir.Constant(_INT, band - first))
            parts.append(builder.sext(values, ir.VectorType(_LONG, 8)))

        def change(row, operation):
            for number, part in enumerate(parts):
                start = builder.add(builder.mul(row, _long(columns)), _long(8 * number))
                address = builder.gep(sums.data, [start])
                _store(builder, operation(_load(builder, address, part.type), part), address)

        new, old = arguments[4:]
        change(new, builder.add)
        with builder.if_then(builder.icmp_signed(">=", old, _long(0))):
            change(old, builder.sub)
        return context.get_dummy_value()

    return types.none(bands, codes, place, sums, new, old), generate


def _long(value: int) -> ir.Constant:
    return ir.Constant(_LONG, value)


def _constant(kind: ir.Type, value: float) -> ir.Constant:
    return ir.Constant(ir.VectorType(kind, TILE), [value] * TILE)


def _splat(builder, value, lanes=TILE):
    vector = ir.VectorType(value.type, lanes)
    single = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(_INT, 0))
    places = ir.Constant(ir.VectorType(_INT, lanes), [0] * lanes)
    return builder.shuffle_vector(single, ir.Constant(vector, ir.Undefined), places)


def _at(builder, array, index):
    return builder.load(builder.gep(array.data, [index]))


def _element(builder, array, kind, row, column):
    """Return the address of an element of an array whose rows are contiguous."""
    (stride, _) = cgutils.unpack_tuple(builder, array.strides)
    start = builder.bitcast(array.data, _BYTE.as_pointer())
    row = _long(row) if isinstance(row, int) else row
    plane = builder.gep(start, [builder.mul(stride, row)])
    return builder.gep(builder.bitcast(plane, kind.as_pointer()), [column])


def _load(builder, address, vector):
    value = builder.load(builder.bitcast(address, vector.as_pointer()))
    value.align = 1
    return value


def _store(builder, value, address):
    builder.store(value, builder.bitcast(address, value.type.as_pointer())).align = 1


def _reduce(builder, vector, operation):
    """Return what an operation makes of all the values of a vector."""
    count = vector.type.count
    while count > 1:
        count //= 2
        nothing, half = ir.Constant(vector.type, ir.Undefined), ir.VectorType(_INT, count)
        places = [ir.Constant(half, list(range(i, i + count))) for i in (0, count)]
        vector = operation(*(builder.shuffle_vector(vector, nothing, part) for part in places))
    return builder.extract_element(vector, ir.Constant(_INT, 0))


def _smaller(builder, one, other):
    is_lower = builder.fcmp_ordered("<", one, other, flags=FLOAT_RULES)
    return builder.select(is_lower, one, other)


def _larger(builder, one, other):
    is_lower = builder.fcmp_ordered("<", one, other, flags=FLOAT_RULES)
    return builder.select(is_lower, other, one)
