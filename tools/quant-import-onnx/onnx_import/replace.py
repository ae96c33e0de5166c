# ===- replace.py - The model with compiled linears ------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Writes the model with a node of the domain qlinear in place of each linear layer, for the
library of custom operators of integrations/onnxruntime."""

import os

import onnx
from onnx import external_data_helper, helper

from .graph import Linear
from .weights import Problem

DOMAIN, VERSION = "qlinear", 1
OPERATORS = {"f32": "LinearF32", "f16": "LinearF16", "bf16": "LinearBF16"}
# What protobuf writes in one message, less something for the rest of the model.
LARGEST = (1 << 31) - (1 << 24)


def _copy(message):
    return type(message).FromString(message.SerializeToString())


def _replace(graph, functions):
    """Replaces the linears of a graph and its subgraphs; functions: {id(linear): name}."""
    for inner in graph.subgraphs.values():
        _replace(inner, functions)
    nodes = []
    for item in graph.live_items():
        if not isinstance(item, Linear):
            nodes.append(_copy(item))
            continue
        w, name = item.weight, functions[id(item)]
        nodes.append(
            helper.make_node(
                OPERATORS[w.floats], [item.x], [item.output], item.node.name or name, domain=DOMAIN,
                function=name, N=w.n, K=w.k,
            )  # fmt: skip
        )
    del graph.proto.node[:]
    graph.proto.node.extend(nodes)


def _reads(proto):
    """Names that nodes of a graph and of those in it read, and its results."""
    names = {o.name for o in proto.output}
    for node in proto.node:
        names.update(node.input)
        for a in node.attribute:
            if a.type == onnx.AttributeProto.GRAPH:
                names |= _reads(a.g)
    return names


def _drop_unread(proto):
    """Removes initializers that nobody reads any more, and inputs that had them as defaults."""
    reads = _reads(proto)
    unread = {t.name for t in proto.initializer if t.name not in reads}
    for field in (proto.initializer, proto.input, proto.value_info):
        kept = [_copy(t) for t in field if t.name not in unread]
        del field[:]
        field.extend(kept)
    for node in proto.node:
        for a in node.attribute:
            if a.type == onnx.AttributeProto.GRAPH:
                _drop_unread(a.g)


def _initializers(proto):
    yield from proto.initializer
    for node in proto.node:
        for a in node.attribute:
            if a.type == onnx.AttributeProto.GRAPH:
                yield from _initializers(a.g)


def replaced(model, graph, functions, path):
    """The bytes of the model, to be written as `path`. The model and `graph` are changed."""
    _replace(graph, functions)
    _drop_unread(model.graph)
    if all(o.domain != DOMAIN for o in model.opset_import):
        model.opset_import.append(helper.make_opsetid(DOMAIN, VERSION))
    if os.path.realpath(os.path.dirname(path) or ".") != graph.base:
        for tensor in _initializers(model.graph):
            if external_data_helper.uses_external_data(tensor):
                external_data_helper.load_external_data_for_tensor(tensor, graph.base)
                del tensor.external_data[:]
                tensor.data_location = onnx.TensorProto.DEFAULT
    if model.ByteSize() > LARGEST:
        raise Problem(
            f"without its linears the model still has {model.ByteSize()} bytes, and an .onnx file "
            f"holds 2^31; write '{os.path.basename(path)}' into the folder of the model, "
            f"'{graph.base}', where it can refer to its data"
        )
    return model.SerializeToString()
