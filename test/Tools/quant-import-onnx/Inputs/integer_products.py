# ===- integer_products.py - Products of integers and shared weights -*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""integer_products.py DIRECTORY IMPORTER: what onnxruntime's quantize_dynamic and its
optimizer write, and weights that reach a layer through nodes that only move or cast
constants. The imported weights are those of the initializers."""

import contextlib
import io
import logging
import os
import shutil
import sys

import numpy as np
import onnx
import onnxruntime
from checkpoints_onnx import packed_weights
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

directory, importer = sys.argv[1:]
shutil.rmtree(directory, ignore_errors=True)
os.makedirs(directory)
os.chdir(directory)
sys.path.insert(0, os.path.join(os.path.dirname(importer), "..", "share", "qlinear"))
sys.argv[0] = importer
from onnx_import.cli import main  # noqa: E402

logging.disable(logging.WARNING)
rng = np.random.default_rng(0)
OPSETS = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]


def value(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def save(path, nodes, initializers, inputs, outputs):
    tensors = [numpy_helper.from_array(t, name) for name, t in initializers.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, tensors)
    onnx.save(helper.make_model(graph, opset_imports=OPSETS, ir_version=10), path)


def run(path, *more, status=0):
    out = io.StringIO()
    command = [path, "-o", "m.mlir", "--weights", "w.safetensors", "-e", "lossless", *more]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        code = main(command)
    assert code == status, (path, code, out.getvalue())
    return out.getvalue()


def check(path, expected):
    """Both outputs; expected: [N, K] weights in the order of the model."""
    run(path)
    text = open("m.mlir").read()
    assert text.count("qlinear.linear") == len(expected), text[:3000]
    run(path, "--only-linears")
    ours = packed_weights("w.safetensors")
    assert len(ours) == len(expected), (list(ours), len(expected))
    for w in expected:
        same = [name for name, o in ours.items() if o.shape == w.shape and (o == w).all()]
        assert len(same) == 1, (path, w.shape, list(ours))
        del ours[same[0]]


def quantized(path):
    """The weights of a quantized model's initializers, by its operators' definition."""
    model = onnx.load(path)
    tensors = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    weights = []
    for node in model.graph.node:
        if node.op_type == "MatMulInteger":
            q, z = tensors[node.input[1]], tensors[node.input[3]]
            s = tensors[node.input[1].replace("_quantized", "_scale")]
        elif node.op_type in ("DynamicQuantizeMatMul", "MatMulIntegerToFloat"):
            at = 2 if node.op_type == "DynamicQuantizeMatMul" else 3
            zero = node.input[3 if at == 2 else 5]
            q, s, z = tensors[node.input[1]], tensors[node.input[at]], tensors[zero]
        else:
            continue
        weights.append(((q.astype(np.float32) - z.astype(np.float32)) * s).T)
    return weights


# Two layers on one x, a Gemm with a bias among them, and one after them.
def weight(k, n):
    return (rng.standard_normal((k, n)) * 0.05).astype(np.float32)


nodes = [
    helper.make_node("MatMul", ["x", "up.w"], ["up"], "up"),
    helper.make_node("Gemm", ["x", "gate.w", "gate.b"], ["gate"], "gate", transB=1),
    helper.make_node("Mul", ["up", "gate"], ["h"]),
    helper.make_node("MatMul", ["h", "down.w"], ["y"], "down"),
]
initializers = {"up.w": weight(96, 48), "gate.w": weight(96, 48).T.copy(), "down.w": weight(48, 96)}
initializers["gate.b"] = rng.standard_normal(48).astype(np.float32)
save("f.onnx", nodes, initializers, [value("x", ["M", 96])], [value("y", ["M", 96])])
count = 0
for kind in (QuantType.QInt8, QuantType.QUInt8):
    for per_channel in (False, True):
        path = f"dynamic_{kind}_{per_channel}.onnx"
        quantize_dynamic("f.onnx", path, weight_type=kind, per_channel=per_channel)
        expected = quantized(path)
        assert len(expected) == 3, expected
        check(path, expected)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.optimized_model_filepath = f"fused_{path}"
        onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])
        fused = quantized(f"fused_{path}")
        assert len(fused) == 3, "onnxruntime no longer fuses; this tests nothing"
        check(f"fused_{path}", fused)
        count += 2
print(f"{count} models of integer products, every weight the same")

# A weight shared with an embedding, which comes by way of nodes of constants.
n, k, block = 64, 128, 32
b = rng.integers(0, 256, (n, k // 2), dtype=np.uint8)
s = (rng.random((n, k // block)) * 0.02).astype(np.float32)
z = rng.integers(0, 256, (n, k // block // 2), dtype=np.uint8)
q = np.stack([b & 15, b >> 4], -1).reshape(n, k)
zeros = np.stack([z & 15, z >> 4], -1).reshape(n, -1)
spread = lambda t: np.repeat(np.asarray(t, np.float32), block, 1)
tied = (q - spread(zeros)) * spread(s)
attributes = {"K": k, "N": n, "bits": 4, "block_size": block}


def product(*inputs, **more):
    return helper.make_node(
        "MatMulNBits", ["e", *inputs], ["y"], "head", domain="com.microsoft", **attributes, **more
    )


gather = {"block_size": block, "gather_axis": 0, "quantize_axis": 1, "bits": 4}
embed = helper.make_node(
    "GatherBlockQuantized", ["B", "ids", "S", "Z"], ["e"], domain="com.microsoft", **gather
)
shape = np.array([n, 0, -1], np.int64)
given = {"B": b, "S": s, "Z": z, "shape": np.array([n, k // block, block // 2], np.int64)}
ids, y = [value("ids", ["M"], TensorProto.INT64)], [value("y", ["M", n])]
reshape = helper.make_node("Reshape", ["B", "shape"], ["B3"])
save("tied.onnx", [embed, reshape, product("B3", "S", "Z")], given, ids, y)
run("tied.onnx", "--only-linears")
assert (list(packed_weights("w.safetensors").values())[0] == tied).all()
x = [value("e", ["M", k])]
turned = given | {"B": b.T.copy(), "S": s.astype(np.float16), "axes": np.array([0], np.int64)}
nodes = [
    helper.make_node("Transpose", ["B"], ["B1"], perm=[1, 0]),
    helper.make_node("Unsqueeze", ["B1", "axes"], ["B2"]),
    helper.make_node("Reshape", ["B2", "shape"], ["B3"]),
    helper.make_node("Cast", ["S"], ["S1"], to=TensorProto.FLOAT),
    helper.make_node("Flatten", ["S1"], ["S2"], axis=1),
]
save("moved.onnx", [*nodes, product("B3", "S2", "Z")], turned, x, y)
run("moved.onnx", "--only-linears")
want = (q - spread(zeros)) * spread(s.astype(np.float16))
assert (list(packed_weights("w.safetensors").values())[0] == want).all()
# The same codes with other scales are another weight.
twice = given | {"T": s * 2}
second = product("B3", "T", "Z")
second.output[0], second.name = "y2", "other"
both = [*y, value("y2", ["M", n])]
save("twice.onnx", [reshape, product("B3", "S", "Z"), second], twice, x, both)
check("twice.onnx", [tied, tied * 2])

# Layouts of one kernel, attributes of a later version, and products with a static scale.
for more, part in (
    ({"weight_prepacked": 1}, "weight_prepacked = 1: its weight is in the order of"),
    ({"layout_hint": 3}, "the attribute layout_hint, which is not known here"),
):
    save("bad.onnx", [reshape, product("B3", "S", "Z", **more)], given, x, y)
    assert f"node 'head' (MatMulNBits): {part}" in run("bad.onnx", status=1)
one = {"s": np.float32(0.1), "z": np.int8(0), "w": rng.integers(-9, 9, (k, n)).astype(np.int8)}
a = [value("e", ["M", k], TensorProto.INT8)]
node = helper.make_node("QLinearMatMul", ["e", "s", "z", "w", "s", "z", "s", "z"], ["y"], "static")
save("static.onnx", [node], one, a, [value("y", ["M", n], TensorProto.INT8)])
said = run("static.onnx", status=1)
assert "has no quantized linear layer that can be read, but others:" in said, said
assert "node 'static' (QLinearMatMul) is left as it is: its result is quantized" in said, said


def left(part, change):
    """quantize_dynamic's model after a change is left as it is, with a note."""
    model = onnx.load("dynamic_QInt8_False.onnx")
    change(model.graph)
    onnx.save(model, "left.onnx")
    said = run("left.onnx", "--only-linears")
    assert part in said and "2 linear layers" in said, said


def node_of(graph, kind):
    return [n for n in graph.node if n.op_type == kind][0]


def scales_of_three(graph):
    (t,) = [t for t in graph.initializer if t.name == "up.w_scale"]
    t.CopyFrom(numpy_helper.from_array(np.ones(3, np.float32), t.name))


left("its scale has 3 numbers; one, or one for each of 48", scales_of_three)
left(
    "are not those of their codes",
    lambda g: node_of(g, "MatMulInteger").input.__setitem__(2, "up.w_zero_point"),
)
left(
    "its result must be cast to",
    lambda g: node_of(g, "Cast").attribute[0].__setattr__("i", TensorProto.FLOAT16),
)
print("integer products: passed")
