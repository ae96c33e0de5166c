# ===- weights.py - Quantized weights of ONNX models -----*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""How ONNX stores the weights of linear layers: MatMulNBits, and DequantizeLinear."""

import numpy as np
from onnx import AttributeProto, TensorProto, helper

GROUPS = (256, 128, 64, 32, 16)
FLOATS = {TensorProto.FLOAT: "f32", TensorProto.FLOAT16: "f16", TensorProto.BFLOAT16: "bf16"}
CODES = {
    TensorProto.INT4: "i4",
    TensorProto.UINT4: "u4",
    TensorProto.INT8: "i8",
    TensorProto.UINT8: "u8",
}


# Attributes of MatMulNBits.
NBITS = {"K", "N", "bits", "block_size", "accuracy_level", "weight_prepacked"}


class Problem(Exception):
    """What to say before exiting with 1."""


class Declined(Exception):
    """Why a node is no linear that can be imported; it is left as it is."""


def name_of(enum, number):
    """The name of an enumeration's value, which newer versions of ONNX may have more of."""
    try:
        return enum.Name(number)
    except ValueError:
        return f"number {number}"


def attributes(node):
    found = {}
    for a in node.attribute:
        try:
            found[a.name] = helper.get_attribute_value(a)
        except ValueError:
            found[a.name] = None
        if found[a.name] is None:
            raise Problem(
                f"{title(node)}: its attribute '{a.name}' is of a kind that this version of onnx "
                f"does not know ({name_of(AttributeProto.AttributeType, a.type)}); update onnx, "
                "or export the model again"
            )
    return found


def title(node):
    """How messages name a node."""
    return f"node '{node.name or ' '.join(node.output)}' ({node.op_type})"


class Weight:
    """An N x K weight: `read` gives its codes [N, K] (of 4 bits also packed as [N, K / 2],
    the even column low, signed ones as two's complement), scales [N, G] and zeros [N, G] or
    None, for groups of K / G columns."""

    def __init__(self, key, n, k, codes, source, floats, read, parts=()):
        """parts: names of its scales and zeros, by which weights of one key differ."""
        self.key, self.n, self.k, self.codes, self.source = key, n, k, codes, source
        self.parts = tuple(parts)
        self.floats, self.read = floats, read  # type of the scales and the activations


def group_for(k, block, where, error=Problem):
    """The columns of a group: a block, or, where K or the kernels ask for less, the
    largest part of one that fits; 0 for the whole row."""
    if block >= k:
        return 0
    for group in GROUPS:
        if block % group == 0 and k % group == 0:
            return group
    raise error(
        f"{where}: blocks of {block} columns in K = {k}; K and the block must be multiples "
        "of 16, or one block must span the row: pad K, or quantize again"
    )


def regroup(blocks, k, block, group):
    """Numbers [N, blocks] as numbers per group."""
    if group == 0:
        return blocks[:, :1]
    return np.repeat(blocks, block // group, axis=1)[:, : k // group]


def unpack_bits(packed, bits):
    """Integers of 4 or 8 bits, the low nibble first, along the last dimension."""
    if bits == 8:
        return packed
    return np.stack([packed & 15, packed >> 4], -1).reshape(*packed.shape[:-1], -1)


def matmul_nbits(graph, node):
    """The weight of com.microsoft.MatMulNBits."""
    where, a = title(node), attributes(node)
    for name in sorted(a.keys() - NBITS):
        raise Problem(
            f"{where}: the attribute {name}, which is not known here: its weight may have "
            "another layout"
        )
    if a.get("weight_prepacked", 0):
        raise Problem(
            f"{where}: weight_prepacked = {a['weight_prepacked']}: its weight is in the order of "
            "one kernel of onnxruntime; write the model without prepacked weights"
        )
    n, k, bits, block = (int(a.get(name, 0)) for name in ("N", "K", "bits", "block_size"))
    bits = bits or 4
    if bits not in (4, 8):
        raise Problem(f"{where}: bits = {bits}; 4 and 8 are read: quantize the model with one")
    if n < 1 or k < 1 or block < 16 or block & (block - 1):
        raise Problem(
            f"{where}: N = {n}, K = {k}, block_size = {block}; N and K must be positive, "
            "block_size a power of two from 16 on"
        )
    names = list(node.input) + [""] * (6 - len(node.input))
    if names[4]:
        index = graph.value(names[4])
        if index is None or not np.array_equal(index, np.arange(k) // block):
            raise Problem(
                f"{where}: g_idx reorders the columns, so that those of one group do not lie "
                "together; quantize the model without act-order"
            )
    for position, what in ((1, "B"), (2, "scales"), (3, "zero_points")):
        if names[position] and graph.tensor(names[position]) is None:
            raise Problem(
                f"{where}: {what} ('{names[position]}') is computed in the graph; only "
                "weights that are initializers can be packed"
            )
    count = -(-k // block)
    sizes = {1: n * count * block * bits // 8, 2: n * count}
    zeros = graph.tensor(names[3]) if names[3] else None
    if zeros is not None:
        is_packed = zeros.data_type == TensorProto.UINT8
        sizes[3] = n * -(-count * bits // 8) if is_packed else n * count
    for position, size in sizes.items():
        tensor = graph.tensor(names[position])
        if np.prod(tensor.dims, dtype=np.int64) != size:
            raise Problem(
                f"{where}: '{names[position]}' has shape {list(tensor.dims)}, but N = {n}, "
                f"K = {k}, bits = {bits}, block_size = {block} take {size} elements"
            )
    scales = graph.tensor(names[2])
    if scales.data_type not in FLOATS:
        raise Problem(f"{where}: scales must be f32, f16 or bf16")
    group = group_for(k, block, where)

    def read():
        q = graph.value(names[1]).reshape(n, -1)
        # Whole bytes stay as they are: the archive has the even column low, too.
        is_packed_k = bits == 4 and k % 2 == 0
        q = q[:, : k // 2] if is_packed_k else unpack_bits(q, bits)[:, :k]
        s = regroup(graph.value(names[2]).reshape(n, count), k, block, group)
        if zeros is None:  # they are in the middle
            if is_packed_k:
                return q ^ 0x88, s, None
            return (q.astype(np.int16) - (1 << (bits - 1))).astype(np.int8), s, None
        z = graph.value(names[3]).reshape(n, -1)
        z = unpack_bits(z, bits)[:, :count] if is_packed else z
        return q, s, regroup(z, k, block, group)

    codes = f"{'i' if zeros is None else 'u'}{bits}"
    kind = FLOATS[scales.data_type]
    return Weight(names[1], n, k, codes, "MatMulNBits", kind, read, (*names[2:4], n, k, block))


def dequantized(graph, name, transposed):
    """The weight W [N, K] that the value `name` is the transpose of, or (`transposed`)
    is itself: a DequantizeLinear of a constant, maybe transposed."""
    node = graph.producer(name)
    while node is not None and node.op_type in ("Transpose", "Identity"):
        if node.op_type == "Transpose":
            if list(attributes(node).get("perm", (1, 0))) != [1, 0]:
                raise Declined("its weight is permuted in more than two dimensions")
            transposed = not transposed
        name = node.input[0]
        node = graph.producer(name)
    if node is None or node.op_type != "DequantizeLinear":
        raise Declined("")  # floats, or activations: nothing to say
    tensors = [graph.tensor(i) if i else None for i in node.input]
    if tensors[0] is None or tensors[1] is None:
        raise Declined("what it dequantizes is computed in the graph")
    q, scale = tensors[:2]
    zero = tensors[2] if len(tensors) > 2 else None
    if len(node.input) > 2 and node.input[2] and zero is None:
        raise Declined("its zero point is computed in the graph")
    if q.data_type not in CODES or scale.data_type not in FLOATS:
        types = " by ".join(name_of(TensorProto.DataType, t.data_type) for t in (q, scale))
        raise Declined(f"it dequantizes {types}; INT4, UINT4, INT8 and UINT8 by floats are read")
    if len(q.dims) != 2:
        raise Declined(f"its weight has {len(q.dims)} dimensions, not 2")
    a = attributes(node)
    axis, block = int(a.get("axis", 1)) % 2, int(a.get("block_size", 0))
    columns = 1 if transposed else 0  # the dimension of q along which K runs
    n, k = q.dims[1 - columns], q.dims[columns]
    shape, zero_shape = list(scale.dims), list(zero.dims if zero is not None else scale.dims)
    if set(shape + zero_shape) <= {1}:
        expected, zero_shape, block = shape, shape, k
    elif block == 0:
        if axis == columns:
            raise Declined("it has a scale per input column, which no output shares")
        expected, block = [n], k
    else:
        if axis != columns:
            raise Declined(f"its blocks of {block} run along the outputs")
        expected = [n, -(-k // block)] if transposed else [-(-k // block), n]
    if shape != expected or zero_shape != expected:
        raise Declined(
            f"scales {shape} and zeros {zero_shape} do not fit its weight {list(q.dims)}, "
            f"axis = {axis} and block_size = {block}: {expected} does"
        )
    group = group_for(k, block, "its weight", Declined)
    codes, names = CODES[q.data_type], list(node.input)

    def per_group(name):
        values = graph.value(name)
        if len(expected) == 2:
            return regroup(values if transposed else values.T, k, block, group)
        return np.broadcast_to(values.reshape(-1, 1), (n, 1))

    def read():
        as_bytes = np.int8 if codes[0] == "i" else np.uint8
        values = graph.value(names[0]).astype(as_bytes)
        z = per_group(names[2]).astype(as_bytes) if zero is not None else None
        if z is None and codes[0] == "u":
            z = np.zeros((n, 1 if group == 0 else k // group), np.uint8)
        return values if transposed else values.T, per_group(names[1]), z

    # The same codes read the other way are another weight.
    key = names[0] + ("" if transposed else "^T")
    parts = (*names[1:], axis, block)
    return Weight(key, n, k, codes, "DequantizeLinear", FLOATS[scale.data_type], read, parts)
