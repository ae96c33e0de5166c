# ===- folding.py - What constants become in a graph -----*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Values that a graph makes of constants by moving or casting their elements: a weight that
a linear layer shares with an embedding comes to it through a Reshape."""

import numpy as np
from onnx import TensorProto, helper

# Types that numpy casts as ONNX does.
CASTS = {
    TensorProto.FLOAT,
    TensorProto.FLOAT16,
    TensorProto.BFLOAT16,
    TensorProto.DOUBLE,
    TensorProto.INT8,
    TensorProto.UINT8,
    TensorProto.INT32,
    TensorProto.INT64,
}
# Nodes one after the other: more is a damaged graph.
DEEPEST = 32


class Folded:
    """A constant that a node makes of others: as an initializer, it has dims and data_type."""

    def __init__(self, array, data_type):
        self.array, self.data_type = array, data_type
        self.dims = list(array.shape)


def fold(graph, name, depth=0):
    """The Folded that the value is, or None."""
    node = graph.producer(name)
    if node is None or node.domain not in ("", "ai.onnx") or depth == DEEPEST:
        return None
    if node.op_type not in FOLDS or not node.input or list(node.output) != [name]:
        return None
    inputs = []
    for i in node.input:
        tensor = graph.initializer(i) if i else None
        if tensor is not None:
            inputs.append(Folded(graph.constant(i), tensor.data_type))
        else:
            inputs.append(fold(graph, i, depth + 1) if i else None)
            if i and inputs[-1] is None:
                return None
    a = {x.name: helper.get_attribute_value(x) for x in node.attribute}
    try:
        return FOLDS[node.op_type](inputs, a)
    except (ValueError, IndexError, TypeError, KeyError, AttributeError):
        return None  # a damaged node makes nothing


def _same(inputs, array):
    return Folded(array, inputs[0].data_type)


def _reshape(inputs, a):
    x, shape = inputs[0].array, [int(d) for d in inputs[1].array]
    if not a.get("allowzero", 0):
        shape = [x.shape[i] if d == 0 else d for i, d in enumerate(shape)]
    return _same(inputs, x.reshape(shape))


def _transpose(inputs, a):
    return _same(inputs, np.transpose(inputs[0].array, a.get("perm")))


def _cast(inputs, a):
    to = int(a["to"])
    if to not in CASTS or inputs[0].data_type not in CASTS:
        return None
    kind = helper.tensor_dtype_to_np_dtype(to)
    return Folded(inputs[0].array.astype(kind), to)


def _axes(inputs, a):
    given = inputs[1].array if len(inputs) > 1 and inputs[1] is not None else a.get("axes")
    return None if given is None else tuple(int(x) for x in np.reshape(given, -1))


def _squeeze(inputs, a):
    return _same(inputs, np.squeeze(inputs[0].array, _axes(inputs, a)))


def _unsqueeze(inputs, a):
    return _same(inputs, np.expand_dims(inputs[0].array, _axes(inputs, a)))


def _flatten(inputs, a):
    x, axis = inputs[0].array, int(a.get("axis", 1))
    rows = int(np.prod(x.shape[:axis] if axis else (), dtype=np.int64))
    return _same(inputs, x.reshape(rows, -1))


FOLDS = {
    "Identity": lambda inputs, a: inputs[0],
    "Reshape": _reshape,
    "Transpose": _transpose,
    "Cast": _cast,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Flatten": _flatten,
}
