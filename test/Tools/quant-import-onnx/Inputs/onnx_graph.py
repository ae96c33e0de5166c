# ===- onnx_graph.py - A model with linears among other nodes -*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""onnx_graph.py DIRECTORY: writes graph.onnx, with external data, and chain.onnx, which
consists of linears only, with input.npy and what onnxruntime makes of it, output.npy."""

import os
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx_layers import Model


def value(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def save(path, nodes, initializers, inputs, outputs, external=False, known=()):
    graph = helper.make_graph(
        nodes, "block.0", inputs, outputs, initializers, value_info=list(known)
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    onnx.save(model, path, save_as_external_data=external, size_threshold=64)


os.makedirs(sys.argv[1], exist_ok=True)
os.chdir(sys.argv[1])

# Two layers that share x with a bias each, one of them added by a node; a vector; an If
# with a layer and a plain product; constants and attributes of every kind.
m = Model(7)
m.nbits("q", 32, 64, 4, 32, "packed", bias=True)
m.nbits("k", 32, 64, 4, 32, "packed")
m.nbits("in_if", 16, 32, 8, 32)
m.dequantized("vector", 16, 32, "i8", 0, zeros=False)
nodes = {node.name: node for node in m.nodes if node.name}
for name, x, y in (("q", "h", "q"), ("k", "h", "k0"), ("in_if", "a", "t"), ("vector", "v", "u")):
    nodes[name].input[0], nodes[name].output[0] = x, y
bias = numpy_helper.from_array(np.ones((1, 32), np.float32), "k.bias")
then = helper.make_graph([nodes.pop("in_if")], "then", [], [value("t", ["B", "S", 16])])
# More elements than a text should have.
wide = helper.make_node("MatMul", ["a", "large"], ["wide"], "wide")
cast = helper.make_node("Cast", ["plain.half"], ["plain.w"], "cast", to=TensorProto.FLOAT)
plain = helper.make_node("MatMul", ["a", "plain.w"], ["e0"], "plain")
last = helper.make_node("MySum", ["e0", "wide"], ["e"], "last", domain="my.ops")
other = helper.make_graph([cast, plain, wide, last], "else", [], [value("e", ["B", "S", 16])])
save(
    "graph.onnx",
    [
        # Types that ONNX itself cannot infer.
        helper.make_node(
            "SkipSimplifiedLayerNormalization",
            ["x", "x", "gamma"],
            ["h0", "", "", "skip"],
            "norm",
            domain="com.microsoft",
        ),
        helper.make_node("Add", ["h0", "skip"], ["h"], "sum"),
        nodes["q"],
        nodes["k"],
        helper.make_node("Add", ["k.bias", "k0"], ["k"], "add"),
        helper.make_node(
            "Attention",
            ["q", "k", "", "mask"],
            ["a"],
            'odd "name"\n',
            domain="my.ops",
            scale=0.125,
            heads=4,
            mode="causal",
            sizes=[1, 2],
            rates=[1e-5, float("inf")],
            names=["a", "b"],
        ),
        helper.make_node("Constant", [], ["flag"], value=numpy_helper.from_array(np.array(True))),
        helper.make_node("If", ["flag"], ["r"], "if", then_branch=then, else_branch=other),
        helper.make_node("Reshape", ["r", "shape"], ["z"], "reshape"),
        next(n for n in m.nodes if n.op_type == "DequantizeLinear"),
        nodes["vector"],
        helper.make_node("Cast", ["half"], ["dead"], "dead", to=TensorProto.FLOAT),
    ],
    m.initializers
    + [
        bias,
        numpy_helper.from_array(np.array([-1, 16]), "shape"),
        numpy_helper.from_array(np.ones(64, np.float32), "gamma"),
        numpy_helper.from_array(np.array([[True, False]]), "mask"),
        numpy_helper.from_array(np.float16([1, 2]), "half"),
        numpy_helper.from_array(np.ones((32, 16), np.float16), "plain.half"),
        numpy_helper.from_array(np.ones((32, 1024), np.float32), "large"),
    ],
    [value("x", ["B", "S", 64]), value("v", [32])],
    [value("z", ["R", 16]), value("u", [16])],
    external=True,
    known=[value("a", ["B", "S", 32])],  # which no inference finds
)

m = Model(8)
m.nbits("up", 96, 64, 4, 32, "packed", bias=True)
m.dequantized("down", 40, 96, "i8", 32, zeros=False, transposed=True, op="Gemm", bias=True)
up, down = (next(n for n in m.nodes if n.name == name) for name in ("up", "down"))
up.input[0], up.output[0], down.input[0], down.output[0] = "x", "h", "h", "y"
save("chain.onnx", m.nodes, m.initializers, [value("x", ["M", 64])], [value("y", ["M", 40])])
import onnxruntime  # noqa: E402  (only the chain needs it)

options = onnxruntime.SessionOptions()
options.log_severity_level = 3
options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
session = onnxruntime.InferenceSession("chain.onnx", options, ["CPUExecutionProvider"])
x = m.rng.normal(size=(3, 64)).astype(np.float32)
np.save("input.npy", x)
np.save("output.npy", session.run(None, {"x": x})[0])
