# ===- integer.py - Products of integers -----------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Linear layers whose activations are quantized when they run, as onnxruntime's
quantize_dynamic writes them:

  q, s, z = DynamicQuantizeLinear(x)
  y = Cast(MatMulInteger(q, W, z, zero)) * (s * scale)

and what onnxruntime fuses of it, DynamicQuantizeMatMul and MatMulIntegerToFloat."""

import numpy as np
from onnx import TensorProto

from .weights import CODES, FLOATS, Declined, Weight, attributes

# Products of quantized matrices that are not read, and why.
STATIC = {
    "QLinearMatMul": "its result is quantized with a scale of its own; quantize the model with "
    "QuantFormat.QDQ, or dynamically",
    "QGemm": "its result is quantized with a scale of its own; quantize the model with "
    "QuantFormat.QDQ, or dynamically",
    "QAttention": "its product is a part of attention; quantize the model before "
    "onnxruntime's optimizer fuses attention",
    "DynamicQuantizeLSTM": "only matrix products are linear layers",
    "ConvInteger": "only matrix products are linear layers",
}


def weight_of(graph, codes, scale, zero, source):
    """The weight of constants [K, N], one scale and zero for all or for each output."""
    q, s = graph.tensor(codes), graph.tensor(scale)
    z = graph.tensor(zero) if zero else None
    if q is None or s is None or (zero and z is None):
        raise Declined("its weight is computed in the graph")
    if len(q.dims) != 2 or not all(q.dims):
        raise Declined(f"its weight has {len(q.dims)} dimensions, not 2")
    if q.data_type not in (TensorProto.INT8, TensorProto.UINT8) or s.data_type not in FLOATS:
        raise Declined("its weight must be INT8 or UINT8, and its scale a float")
    if z is not None and z.data_type != q.data_type:
        raise Declined("its zero point must have the type of its weight")
    k, n = q.dims
    for what, t in (("scale", s), ("zero point", z)):
        count = 1 if t is None else int(np.prod(t.dims, dtype=np.int64))
        if count not in (1, n):
            raise Declined(f"its {what} has {count} numbers; one, or one for each of {n} outputs")
    kind = CODES[q.data_type]

    def read():
        def row(name):
            return np.broadcast_to(graph.value(name).reshape(-1, 1), (n, 1))

        values = graph.value(codes).T
        zeros = row(zero) if z is not None else None
        if zeros is None and kind[0] == "u":
            zeros = np.zeros((n, 1), np.uint8)
        return values, row(scale), zeros

    # With another scale or zero the same codes are another weight.
    key = f"{codes}^T"
    return Weight(key, n, k, kind, source, FLOATS[s.data_type], read, (scale, zero))


def quantized_input(graph, codes, scale, zero):
    """The x that a DynamicQuantizeLinear makes these three of."""
    node = graph.producer(codes)
    if node is None or node.op_type != "DynamicQuantizeLinear":
        raise Declined("its activations are not quantized by a DynamicQuantizeLinear")
    outputs = list(node.output) + [""] * 3
    if outputs[0] != codes or outputs[1] != scale or outputs[2] != zero:
        raise Declined("scale and zero point of its activations are not those of their codes")
    return node.input[0]


def from_product(graph, node):
    """The product, x and the weight, where `node` is the Mul that ends it; None if it is not."""
    if node.op_type != "Mul" or len(node.input) != 2:
        return None
    for cast_name, factor_name in (node.input, reversed(node.input)):
        cast, factor = graph.producer(cast_name), graph.producer(factor_name)
        if cast is None or cast.op_type != "Cast" or factor is None or factor.op_type != "Mul":
            continue
        product = graph.producer(cast.input[0])
        if product is None or product.op_type != "MatMulInteger":
            continue
        names = list(product.input) + [""] * 2
        scales = [i for i in factor.input if graph.tensor(i) is not None]
        others = [i for i in factor.input if graph.tensor(i) is None]
        if len(scales) != 1 or len(others) != 1:
            raise Declined("one factor after it must be the scale of its weight, a constant")
        weight = weight_of(graph, names[1], scales[0], names[3], "MatMulInteger")
        if int(attributes(cast).get("to", 0)) not in FLOATS:
            raise Declined("its result must be cast to a float")
        if FLOATS[int(attributes(cast)["to"])] != weight.floats:
            raise Declined("its result must be cast to the type of its scale")
        return product, quantized_input(graph, names[0], others[0], names[2]), weight, None
    return None


def from_fused(graph, node):
    """The same of onnxruntime's fused operators, with a bias; None if it is none."""
    if node.domain != "com.microsoft":
        return None
    names = list(node.input) + [""] * 8
    if node.op_type == "DynamicQuantizeMatMul":
        x, codes, scale, zero, bias = names[:5]
        return node, x, weight_of(graph, codes, scale, zero, node.op_type), bias or None
    if node.op_type == "MatMulIntegerToFloat":
        q, codes, x_scale, scale, x_zero, zero, bias = names[:7]
        weight = weight_of(graph, codes, scale, zero, node.op_type)
        return node, quantized_input(graph, q, x_scale, x_zero), weight, bias or None
    return None
