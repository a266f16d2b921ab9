"""LLVM's building blocks for kernels that work with whole vectors of pixels.

A tile of pixels goes through all classes in registers. A compiler that finds vectors in loops
would put what a pixel has gathered so far into memory after every few classes, and read the
bands of a long strip at once, faster than memory gives them.
"""

from __future__ import annotations

import inspect
import zlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

# Fused multiply-add may be used, nothing else is reordered; there are no NaNs and infinities.
FLOAT_RULES = ("contract", "nnan", "ninf", "nsz")
# Pixels of a tile; no fewer were faster with registers half as long either.
TILE = 32
BYTE, SHORT, INT, LONG = (ir.IntType(bits) for bits in (8, 16, 32, 64))
FLOAT, DOUBLE = ir.FloatType(), ir.DoubleType()
CODES = {"uint16": SHORT, "int32": INT}


def version(*parts: ModuleType | int) -> str:
    """Return a mark of the sources of modules and of numbers, for the names of kernels.

    Numba's disk cache looks for changes in the file of a kernel alone; what else is compiled into
    it is to be named here.
    """
    texts = [str(part) if isinstance(part, int) else inspect.getsource(part) for part in parts]
    return f"{zlib.crc32(' '.join(texts).encode()):08x}"


def instruction(function: Callable) -> Any:
    """Return what kernels can call, and a reader of types can make nothing of.

    ``bands`` is a tuple of as many entries as there are bands: its type tells their number.
    """
    return intrinsic(function)


def read_only(dtype: str, dimensions: int) -> types.Array:
    """Return the type of a contiguous array that a kernel reads only; those to write to match."""
    return types.Array(getattr(types, dtype), dimensions, "C", readonly=True)


def long(value: int) -> ir.Constant:
    """Return an int64."""
    return ir.Constant(LONG, value)


def constant(kind: ir.Type, value: float) -> ir.Constant:
    """Return a number in all lanes of a tile's vector."""
    return ir.Constant(ir.VectorType(kind, TILE), [value] * TILE)


def splat(builder, value, lanes):
    """Return a vector with a value in all lanes."""
    vector = ir.VectorType(value.type, lanes)
    single = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(INT, 0))
    places = ir.Constant(ir.VectorType(INT, lanes), [0] * lanes)
    return builder.shuffle_vector(single, ir.Constant(vector, ir.Undefined), places)


def spread(builder, vector, place, lanes):
    """Return one of the values of a vector in all lanes of another."""
    places = ir.Constant(ir.VectorType(INT, lanes), [place] * lanes)
    return builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), places)


def columns_of(builder, array):
    """Return the columns of a table."""
    return cgutils.unpack_tuple(builder, array.shape)[1]


def at(builder, array, index):
    """Return an element of an array whose elements are contiguous."""
    return builder.load(builder.gep(array.data, [index]))


def element(builder, array, kind, row, column):
    """Return the address of an element of an array whose rows are contiguous."""
    (stride, _) = cgutils.unpack_tuple(builder, array.strides)
    start = builder.bitcast(array.data, BYTE.as_pointer())
    row = long(row) if isinstance(row, int) else row
    plane = builder.gep(start, [builder.mul(stride, row)])
    return builder.gep(builder.bitcast(plane, kind.as_pointer()), [column])


def load(builder, address, vector):
    """Return a vector of a type from an address."""
    value = builder.load(builder.bitcast(address, vector.as_pointer()))
    value.align = 1
    return value


def store(builder, value, address):
    """Put a vector to an address."""
    builder.store(value, builder.bitcast(address, value.type.as_pointer())).align = 1


def reduce(builder, vector, operation):
    """Return what an operation makes of all the values of a vector."""
    count = vector.type.count
    while count > 1:
        count //= 2
        nothing, half = ir.Constant(vector.type, ir.Undefined), ir.VectorType(INT, count)
        places = [ir.Constant(half, list(range(i, i + count))) for i in (0, count)]
        vector = operation(*(builder.shuffle_vector(vector, nothing, part) for part in places))
    return builder.extract_element(vector, ir.Constant(INT, 0))


def smaller(builder, one, other):
    """Return the smaller of two floats, lane by lane."""
    is_lower = builder.fcmp_ordered("<", one, other, flags=FLOAT_RULES)
    return builder.select(is_lower, one, other)


def larger(builder, one, other):
    """Return the larger of two floats, lane by lane."""
    is_lower = builder.fcmp_ordered("<", one, other, flags=FLOAT_RULES)
    return builder.select(is_lower, other, one)
