# ===- parts.py - Parts of packed weights -------------------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Packed weights cut along rows (outputs) or columns (inputs), and put together again,
without decoding them; and the values of some rows."""

import ctypes
import itertools

import numpy

from ._abi import ArgumentError, Blob, library
from .archive import verify

#: Axis: its number in the C ABI, where the layout can be cut by copying, and the fields of a
#: PackedWeight along it and across.
_AXES = {"rows": (0, 16, "n", "k"), "columns": (1, 256, "k", "n")}


def packed_bytes(encoding, n, k):
    """Bytes of a packed weight of n x k (outputs x inputs) in `encoding`, a spelling as
    archives have it. An impossible shape or encoding is an ArgumentError."""
    size = ctypes.c_size_t()
    library().qlr_packed_bytes(encoding.encode(), n, k, size)
    return size.value


def split(weight, parts, axis="rows"):
    """Cuts a PackedWeight into PackedWeights, in their order.

    parts: how many, as even as units of the layout allow; or their sizes, which add up to the
    weight's. axis: "rows" (outputs; sizes are multiples of 16, but for the last) or
    "columns" (inputs; multiples of 256, or of the group, where the encoding has no steps per
    block). The parts have the weight's name."""
    _, _, along, _ = _axis(axis)
    size = getattr(weight, along)
    if isinstance(parts, int):
        parts = even(size, parts, axis, f"{size} {axis} of '{weight.name}'")
    if sum(parts) != size:
        raise ArgumentError(
            f"parts of {', '.join(map(str, parts))} {axis} are {sum(parts)}, and "
            f"'{weight.name}' has {size}",
            "INVALID_ARGUMENT",
        )
    verify(weight)
    ends = list(itertools.accumulate(parts))
    return [cut(weight, begin, end, axis) for begin, end in zip([0, *ends], ends)]


def even(size, parts, axis, what):
    """The sizes of `parts` parts, as even as cuts at the multiples of 16 rows or 256 columns
    are; `what` is cut, for the error where there are too few."""
    step = _axis(axis)[1]
    cuts = -(-size // step)
    if not 1 <= parts <= cuts:
        raise ArgumentError(
            f"{what} cannot be cut into {parts} parts; every part "
            f"but the last has a multiple of {step}, so there can be 1 to {cuts}",
            "INVALID_ARGUMENT",
        )
    ends = [min(size, i * cuts // parts * step) for i in range(parts + 1)]
    return [end - begin for begin, end in zip(ends, ends[1:])]


def cut(weight, begin, end, axis="rows"):
    """Rows or columns begin .. end - 1 of a PackedWeight, as a PackedWeight without a checksum.
    No other bytes of a mapped archive are read, and so none is checked."""
    _, _, along, _ = _axis(axis)
    whole = numpy.ascontiguousarray(weight.blob)
    ranges = {"n": (0, weight.n), "k": (0, weight.k), along: (begin, end)}
    made = weight._replace(**{along: end - begin}, checksum="")
    blob = numpy.empty(packed_bytes(made.encoding, made.n, made.k), numpy.uint8)
    library().qlr_packed_slice(
        weight.encoding.encode(), weight.n, weight.k, _blob(whole),
        *ranges["n"], *ranges["k"], blob.ctypes.data, blob.nbytes,
    )  # fmt: skip
    return made._replace(blob=blob)


def merge(weights, axis="rows", name=None):
    """Puts PackedWeights of one encoding one after the other along `axis`: the inverse of
    split. Along columns, they have to share the constants of their rows, as parts of one
    weight do. The result has `name`, or the first one's."""
    number, _, along, across = _axis(axis)
    weights = list(weights)
    if not weights:
        raise ArgumentError("there are no weights to merge", "INVALID_ARGUMENT")
    first = weights[0]
    other = getattr(first, across)
    for weight in weights[1:]:
        if weight.encoding != first.encoding or getattr(weight, across) != other:
            raise ArgumentError(
                f"'{weight.name}' is {weight.n} x {weight.k} in '{weight.encoding}' and "
                f"'{first.name}' {first.n} x {first.k} in '{first.encoding}'; to be put together "
                f"along {axis}, weights need one encoding and the same "
                f"{'columns' if axis == 'rows' else 'rows'}",
                "INVALID_ARGUMENT",
            )
    for weight in weights:
        verify(weight)
    blobs = [numpy.ascontiguousarray(weight.blob) for weight in weights]
    sizes = [getattr(weight, along) for weight in weights]
    made = first._replace(**{along: sum(sizes)}, checksum="")
    whole = numpy.empty(packed_bytes(made.encoding, made.n, made.k), numpy.uint8)
    library().qlr_packed_concat(
        first.encoding.encode(), number, other, (ctypes.c_int64 * len(sizes))(*sizes),
        (Blob * len(blobs))(*map(_blob, blobs)), len(blobs), whole.ctypes.data, whole.nbytes,
    )  # fmt: skip
    return made._replace(name=first.name if name is None else name, blob=whole)


def rows(weight, which):
    """The values of rows `which` of a PackedWeight, a float32 array of len(which) x k: a
    lookup in an embedding that is packed, as one tied to a head is."""
    which = numpy.ascontiguousarray(which, numpy.int64)
    whole = numpy.ascontiguousarray(weight.blob)
    values = numpy.empty((len(which), weight.k), numpy.float32)
    library().qlr_packed_rows(
        weight.encoding.encode(), weight.n, weight.k, _blob(whole),
        which.ctypes.data_as(ctypes.POINTER(ctypes.c_int64)), len(which), values.ctypes.data,
    )  # fmt: skip
    return values


def _axis(axis):
    if axis not in _AXES:
        raise ArgumentError(f"axis is {axis!r}; it is 'rows' or 'columns'", "INVALID_ARGUMENT")
    return _AXES[axis]


def _blob(array):
    return Blob(array.ctypes.data, array.nbytes)
