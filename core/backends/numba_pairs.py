"""Vector instructions that score a tile of pixels in 16-bit integers, two bands at a time.

Differences from a tile's middle are small, so that coefficients rounded to 16 bits err as little
with them as float32 does with whole codes. Processors multiply such integers in pairs and add both
products to 32-bit sums in one or two instructions, where float32 takes one for each band.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types

from .numba_ir import (
    BYTE,
    INT,
    LONG,
    SHORT,
    TILE,
    at,
    columns_of,
    element,
    instruction,
    load,
    long,
    splat,
    store,
)

PAIRED_BANDS = 5
"""With fewer bands pairs are no faster (measured)."""
FARTHEST_START = 2.0**30
"""A score at a tile's middle, as an integer, goes no farther."""
FARTHEST_PRODUCT = 2.0**28
"""Products with differences from a tile's middle add up to no more, nor do limits of doubt."""

_MOST = 0x7FFFFFFF
# Unpacking works in parts of 128 bits: of each eight pixels the first four, then the others.
_GROUP = 4
# What multiplies pairs of 16-bit integers and adds the products: feature, lanes, instruction.
_MULTIPLIERS = (
    ("+avx512bw", 16, "llvm.x86.avx512.pmaddw.d.512"),
    ("+avx2", 8, "llvm.x86.avx2.pmadd.wd"),
    ("+sse2", 4, "llvm.x86.sse2.pmadd.wd"),
)


def are_paired(bands: int, dtype: str) -> bool:
    """Return whether tiles of codes of a dtype are scored in pairs of bands."""
    return dtype == "uint16" and bands >= PAIRED_BANDS


@instruction
def score_pairs(
    context, bands, codes, place, before, middles, row, pairs, starts, classes, low, limit, words,
    tile, count, found,
):  # fmt: skip
    """Find the nearest class of each pixel of the tile at ``place``; row ``tile`` of ``found``.

    As ``score_tile``, in integers: a class's score is its start in row ``tile`` of ``starts``,
    int32, and the sum of the codes, less those in row ``row`` of ``middles``, times ``pairs``,
    int32 (classes, bands / 2), which hold two coefficients each. Row ``classes`` is one of a
    score above all others. ``low``, int64, are the bits of a class's number, which take the place
    of the score's; two best that are no more than ``limit``, int32, apart are in doubt.
    """
    given = (
        bands, codes, place, before, middles, row, pairs, starts, classes, low, limit, words, tile,
        count, found,
    )  # fmt: skip
    paired = are_paired(bands.count, codes.dtype.name)

    def generate(context, builder, signature, arguments):
        if not paired:
            return context.make_tuple(builder, signature.return_type, [long(0), long(0)])
        codes, before, middles, pairs, starts, words, found = (
            context.make_array(signature.args[i])(context, builder, arguments[i])
            for i in (1, 3, 4, 6, 7, 11, 14)
        )
        place, row, classes, low, limit, tile, count = (
            arguments[i] for i in (2, 5, 8, 9, 10, 12, 13)
        )
        low = builder.trunc(low, INT)
        lanes, multiply = _multiplier(context)
        terms, halves = -(-bands.count // 2), TILE // lanes
        offsets = [
            _offsets(builder, codes, place, middles, row, range(first, bands.count)[:2], lanes)
            for first in range(0, bands.count, 2)
        ]
        first_start = builder.mul(tile, columns_of(builder, starts))
        kept = builder.not_(splat(builder, low, lanes))

        def score(own, held):
            """Return the best and second best scores with one more class."""
            start = splat(builder, at(builder, starts, builder.add(first_start, own)), lanes)
            first = builder.mul(own, long(terms))
            factors = []
            for term in range(terms):
                factor = splat(builder, at(builder, pairs, builder.add(first, long(term))), lanes)
                factors.append(builder.bitcast(factor, ir.VectorType(SHORT, 2 * lanes)))
            mark = splat(builder, builder.trunc(own, INT), lanes)
            results = list(held)
            for part in range(halves):
                result = start
                for factor, parts in zip(factors, offsets):
                    result = builder.add(result, multiply(builder, parts[part], factor))
                result = builder.or_(builder.and_(result, kept), mark)
                best, second = held[part], held[halves + part]
                results[part] = _least(builder, best, result)
                results[halves + part] = _least(builder, second, _most(builder, result, best))
            return results

        kinds = [ir.VectorType(INT, lanes)] * (2 * halves)  # best of each part, then second best
        entry = builder.block
        names = "word", "classes", "next", "scored"
        word, loop, following, after = (builder.append_basic_block(name) for name in names)
        builder.branch(word)

        builder.position_at_end(word)
        number = builder.phi(LONG)
        held = [builder.phi(kind) for kind in kinds]
        whole = at(builder, words, builder.add(builder.mul(tile, count), number))
        base = builder.mul(number, long(64))
        builder.cbranch(builder.icmp_unsigned("==", whole, long(0)), following, loop)

        # Two classes at a time; one that is left over goes with the row after all classes.
        builder.position_at_end(loop)
        bits = builder.phi(LONG)
        carried = [builder.phi(kind) for kind in kinds]
        one = builder.add(base, builder.cttz(bits, ir.Constant(ir.IntType(1), 1)))
        others = builder.and_(bits, builder.sub(bits, long(1)))
        is_last = builder.icmp_unsigned("==", others, long(0))
        other = builder.add(base, builder.cttz(others, ir.Constant(ir.IntType(1), 0)))
        results = score(builder.select(is_last, classes, other), score(one, carried))
        left = builder.and_(others, builder.sub(others, long(1)))
        bits.add_incoming(whole, word)
        bits.add_incoming(left, loop)
        for phi, before_, result in zip(carried, held, results):
            phi.add_incoming(before_, word)
            phi.add_incoming(result, loop)
        builder.cbranch(builder.icmp_unsigned("!=", left, long(0)), loop, following)

        builder.position_at_end(following)
        gathered = [builder.phi(kind) for kind in kinds]
        for phi, before_, result in zip(gathered, held, results):
            phi.add_incoming(before_, word)
            phi.add_incoming(result, loop)
        further = builder.add(number, long(1))
        number.add_incoming(long(0), entry)
        number.add_incoming(further, following)
        for phi, result in zip(held, gathered):
            phi.add_incoming(ir.Constant(phi.type, [_MOST] * lanes), entry)
            phi.add_incoming(result, following)
        builder.cbranch(builder.icmp_signed("<", further, count), word, after)

        builder.position_at_end(after)
        known = builder.gep(before.data, [place])
        target = builder.gep(found.data, [builder.mul(tile, long(TILE))])
        flags = [long(0), long(0)]
        for part in range(0, halves, 2):
            labels, doubtful = [], []
            for best, second in zip(gathered[part:][:2], gathered[halves + part :][:2]):
                own = builder.and_(best, splat(builder, low, lanes))
                labels.append(builder.trunc(own, ir.VectorType(BYTE, lanes)))
                apart = builder.sub(second, best)
                close = builder.icmp_signed("<=", apart, splat(builder, limit, lanes))
                doubtful.append(builder.sext(close, ir.VectorType(BYTE, lanes)))
            first = long(part * lanes)
            ordered = _ordered(builder, labels)
            store(builder, ordered, builder.gep(target, [first]))
            old = load(builder, builder.gep(known, [first]), ordered.type)
            zeros = ir.Constant(ordered.type, [0] * (2 * lanes))
            both = (
                builder.icmp_unsigned("!=", ordered, old),
                builder.icmp_unsigned("!=", _ordered(builder, doubtful), zeros),
            )
            for i, which in enumerate(both):
                which = builder.zext(builder.bitcast(which, ir.IntType(2 * lanes)), LONG)
                flags[i] = builder.or_(flags[i], builder.shl(which, first))
        return context.make_tuple(builder, signature.return_type, flags)

    return types.UniTuple(types.uint64, 2)(*given), generate


def _multiplier(context):
    """Return how many pairs the processor multiplies at a time, and what generates that."""
    features = context.codegen().magic_tuple()[2].split(",")
    for feature, lanes, name in _MULTIPLIERS:
        if feature in features:
            return lanes, _instruction_for(lanes, name)
    return 4, _products


def _instruction_for(lanes, name):
    pairs = ir.VectorType(SHORT, 2 * lanes)
    kind = ir.FunctionType(ir.VectorType(INT, lanes), [pairs, pairs])

    def generate(builder, offsets, factors):
        call = builder.module.declare_intrinsic(name, (), kind)
        return builder.call(call, [offsets, factors])

    return generate


def _products(builder, offsets, factors):
    """Generate the sums of both products where no instruction makes them."""
    lanes = offsets.type.count // 2
    kind = ir.VectorType(INT, lanes)
    sixteen = ir.Constant(kind, [16] * lanes)
    one, other = (builder.bitcast(vector, kind) for vector in (offsets, factors))
    upper = builder.mul(builder.ashr(one, sixteen), builder.ashr(other, sixteen))
    one, other = builder.shl(one, sixteen), builder.shl(other, sixteen)
    return builder.add(upper, builder.mul(builder.ashr(one, sixteen), builder.ashr(other, sixteen)))


def _offsets(builder, codes, place, middles, row, bands, lanes):
    """Return the codes of one or two bands of a tile less its middle, as pairs, by parts."""
    planes = []
    for band in bands:
        start = element(builder, codes, SHORT, band, place)
        middle = builder.load(element(builder, middles, SHORT, row, long(band)))
        middle = splat(builder, middle, 2 * lanes)
        addresses = [builder.gep(start, [long(i)]) for i in range(0, TILE, 2 * lanes)]
        planes.append([builder.sub(load(builder, a, middle.type), middle) for a in addresses])
    if len(planes) == 1:
        planes.append([ir.Constant(part.type, [0] * (2 * lanes)) for part in planes[0]])
    return [_interleaved(builder, pair, half) for pair in zip(*planes) for half in (0, 1)]


def _interleaved(builder, planes, half):
    """Return pairs of two bands' values: the first or the second four of each eight pixels."""
    size = planes[0].type.count
    places = []
    for first in range(half * _GROUP, size, 2 * _GROUP):
        for place in range(first, first + _GROUP):
            places += [place, size + place]
    return builder.shuffle_vector(*planes, ir.Constant(ir.VectorType(INT, size), places))


def _ordered(builder, parts):
    """Return values of both parts of :func:`_interleaved` in the order of the pixels."""
    size = parts[0].type.count
    places = []
    for first in range(0, size, _GROUP):
        places += [*range(first, first + _GROUP), *range(size + first, size + first + _GROUP)]
    return builder.shuffle_vector(*parts, ir.Constant(ir.VectorType(INT, 2 * size), places))


def _least(builder, one, other):
    return builder.select(builder.icmp_signed("<", one, other), one, other)


def _most(builder, one, other):
    return builder.select(builder.icmp_signed("<", one, other), other, one)
