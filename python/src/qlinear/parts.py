# ===- parts.py - Parts of packed weights -------------------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Packed weights cut along rows (outputs) or columns (inputs), and put together again,
without decoding them."""

import ctypes

import numpy

from ._abi import ArgumentError, Blob, library
from .archive import PackedWeight, verify

#: Axis: its number in the C ABI, and where the layout can be cut.
_AXES = {"rows": (0, 16), "columns": (1, 256)}


def packed_bytes(encoding, n, k):
    """Bytes of a packed weight of n x k (outputs x inputs) in `encoding`, a spelling as
    archives have it. An impossible shape or encoding is an ArgumentError."""
    size = ctypes.c_size_t()
    library().qlr_packed_bytes(encoding.encode(), n, k, size)
    return size.value


def split(weight, parts, axis="rows"):
    """Cuts a PackedWeight into PackedWeights, in their order.

    parts: how many, as even as the layout can be cut; or their sizes, which add up to the
    weight's. axis: "rows" (outputs; sizes are multiples of 16, but for the last) or
    "columns" (inputs; multiples of 256). The parts have the weight's name."""
    _, step = _axis(axis)
    size = weight.n if axis == "rows" else weight.k
    if isinstance(parts, int):
        cuts = -(-size // step)
        if not 1 <= parts <= cuts:
            raise ArgumentError(
                f"{size} {axis} of '{weight.name}' cannot be cut into {parts} parts; every part "
                f"but the last has a multiple of {step}, so there can be 1 to {cuts}",
                "INVALID_ARGUMENT",
            )
        ends = [min(size, (i + 1) * cuts // parts * step) for i in range(parts)]
        parts = [end - begin for begin, end in zip([0, *ends], ends)]
    if sum(parts) != size:
        raise ArgumentError(
            f"parts of {', '.join(map(str, parts))} {axis} are {sum(parts)}, and "
            f"'{weight.name}' has {size}",
            "INVALID_ARGUMENT",
        )
    verify(weight)
    whole = numpy.ascontiguousarray(weight.blob)
    result, begin = [], 0
    for part in parts:
        end = begin + part
        rows, columns = (0, weight.n), (0, weight.k)
        rows, columns = ((begin, end), columns) if axis == "rows" else (rows, (begin, end))
        n, k = rows[1] - rows[0], columns[1] - columns[0]
        blob = numpy.empty(packed_bytes(weight.encoding, n, k), numpy.uint8)
        library().qlr_packed_slice(
            weight.encoding.encode(), weight.n, weight.k, _blob(whole), *rows, *columns,
            blob.ctypes.data, blob.nbytes,
        )  # fmt: skip
        result.append(weight._replace(n=n, k=k, blob=blob, checksum=""))
        begin = end
    return result


def merge(weights, axis="rows", name=None):
    """Puts PackedWeights of one encoding one after the other along `axis`: the inverse of
    split. Along columns, they have to share the constants of their rows, as parts of one
    weight do. The result has `name`, or the first one's."""
    number, _ = _axis(axis)
    weights = list(weights)
    if not weights:
        raise ArgumentError("there are no weights to merge", "INVALID_ARGUMENT")
    first = weights[0]
    other = first.k if axis == "rows" else first.n
    for weight in weights[1:]:
        across = weight.k if axis == "rows" else weight.n
        if weight.encoding != first.encoding or across != other:
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
    sizes = [weight.n if axis == "rows" else weight.k for weight in weights]
    total = sum(sizes)
    n, k = (total, other) if axis == "rows" else (other, total)
    whole = numpy.empty(packed_bytes(first.encoding, n, k), numpy.uint8)
    library().qlr_packed_concat(
        first.encoding.encode(), number, other, (ctypes.c_int64 * len(sizes))(*sizes),
        (Blob * len(blobs))(*map(_blob, blobs)), len(blobs), whole.ctypes.data, whole.nbytes,
    )  # fmt: skip
    return PackedWeight(
        first.name if name is None else name, first.encoding, n, k, first.source, whole
    )


def _axis(axis):
    if axis not in _AXES:
        raise ArgumentError(f"axis is {axis!r}; it is 'rows' or 'columns'", "INVALID_ARGUMENT")
    return _AXES[axis]


def _blob(array):
    return Blob(array.ctypes.data, array.nbytes)
