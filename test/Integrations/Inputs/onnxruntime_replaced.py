# ===- onnxruntime_replaced.py - A model on our kernels -------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""onnxruntime_replaced.py DIRECTORY IMPORTER LIBRARY TARGET TYPE: a model whose layers have all
forms that onnxruntime's quantizers write, run by onnxruntime as it is and with its layers
replaced. Both are compared with float64, the weights decoded here by the operators'
definitions."""

import concurrent.futures
import os
import shutil
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, external_data_helper, helper, numpy_helper

directory, importer, library, target, dtype = sys.argv[1:]
shutil.rmtree(directory, ignore_errors=True)
os.makedirs(directory)
os.chdir(directory)
NUMPY = {"f32": np.float32, "f16": np.float16}[dtype]
FLOAT = {"f32": TensorProto.FLOAT, "f16": TensorProto.FLOAT16}[dtype]
rng = np.random.default_rng(7)
constants = []


def run(*command):
    subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)


def constant(name, array, kind=None):
    if kind is None:
        constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
    else:
        constants.append(helper.make_tensor(name, kind, array.shape, array.ravel()))
    return name


def nbits(name, x, y, n, k, bits, block, bias=False):
    """A MatMulNBits with packed zero points; (node, weight, bias)."""
    count = k // block
    q = rng.integers(0, 1 << bits, (n, count, block), dtype=np.uint8)
    z = rng.integers(0, 1 << bits, (n, count), dtype=np.uint8)
    s = (np.exp(rng.normal(size=(n, count))) * 0.02 / (1 << bits)).astype(NUMPY)
    b = rng.normal(size=n).astype(NUMPY) if bias else None

    def pack(codes):
        if bits == 8:
            return codes
        odd = np.zeros((*codes.shape[:-1], codes.shape[-1] % 2), np.uint8)
        even = np.concatenate([codes, odd], -1)
        return even[..., ::2] | even[..., 1::2] << 4

    parts = {"B": pack(q), "s": s, "z": pack(z)}
    inputs = [x, *(constant(f"{name}.{part}", array) for part, array in parts.items())]
    inputs += ["", constant(f"{name}.b", b)] if bias else []
    node = helper.make_node("MatMulNBits", inputs, [y], name, domain="com.microsoft",
                            N=n, K=k, bits=bits, block_size=block)  # fmt: skip
    w = (q.astype(np.float64) - z[..., None]) * s.astype(np.float64)[..., None]
    return node, w.reshape(n, k), 0 if b is None else b.astype(np.float64)


# x [A, B, 96] * gain -> a 64 -> relu -> b 48 with a bias -> if flag: c 48 + itself, else itself
#   -> d 40 of a DequantizeLinear, and a bias in an Add -> e 32, dynamically quantized (f32 only)
gain = (1 + rng.random(96)).astype(NUMPY)
nodes, weights = [helper.make_node("Mul", ["x", constant("gain", gain)], ["louder"])], {}
node, *weights["a"] = nbits("a", "louder", "a", 64, 96, 4, 32)
nodes += [node, helper.make_node("Relu", ["a"], ["relu"])]
node, *weights["b"] = nbits("b", "relu", "b", 48, 64, 8, 16, bias=True)
nodes.append(node)
node, *weights["c"] = nbits("c", "b", "c.product", 48, 48, 4, 16)
branches = {
    "then_branch": helper.make_graph(
        [node, helper.make_node("Add", ["c.product", "b"], ["c.then"])], "then", [],
        [helper.make_tensor_value_info("c.then", FLOAT, None)],
    ),
    "else_branch": helper.make_graph(
        [helper.make_node("Identity", ["b"], ["c.else"])], "else", [],
        [helper.make_tensor_value_info("c.else", FLOAT, None)],
    ),
}  # fmt: skip
nodes.append(helper.make_node("If", ["flag"], ["c"], "choice", **branches))
q, s = rng.integers(-8, 8, (48, 40)), (rng.random(40) * 0.1).astype(NUMPY)
bias = rng.normal(size=40).astype(NUMPY)
weights["d"] = [(q * s.astype(np.float64)).T, bias.astype(np.float64)]
constant("d.q", q, TensorProto.INT4)
constant("d.s", s)
constant("d.bias", bias)
nodes += [
    helper.make_node("DequantizeLinear", ["d.q", "d.s"], ["d.w"], axis=1),
    helper.make_node("MatMul", ["c", "d.w"], ["d.product"], "d"),
    helper.make_node("Add", ["d.product", "d.bias"], ["d"]),
]
last, size = "d", 40
if dtype == "f32":
    q, s, z = rng.integers(0, 256, (40, 32), dtype=np.uint8), np.float32(0.01), np.uint8(117)
    weights["e"] = [((q.astype(np.float64) - z) * s).T, 0]
    constant("e.q", q)
    constant("e.s", np.array(s))
    constant("e.z", np.array(z))
    nodes += [
        helper.make_node("DynamicQuantizeLinear", ["d"], ["e.x", "e.xs", "e.xz"]),
        helper.make_node("MatMulInteger", ["e.x", "e.q", "e.xz", "e.z"], ["e.product"], "e"),
        helper.make_node("Cast", ["e.product"], ["e.float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["e.xs", "e.s"], ["e.scale"]),
        helper.make_node("Mul", ["e.float", "e.scale"], ["e"]),
    ]
    last, size = "e", 32
graph = helper.make_graph(
    nodes, "chain",
    [helper.make_tensor_value_info("x", FLOAT, ["A", "B", 96]),
     helper.make_tensor_value_info("flag", TensorProto.BOOL, [])],
    [helper.make_tensor_value_info(last, FLOAT, ["A", "B", size]),
     helper.make_tensor_value_info("d" if last == "e" else "b", FLOAT, None)],
    constants,
)  # fmt: skip
opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
onnx.save(model, "model.onnx", save_as_external_data=True, location="data", size_threshold=0)


def exact(x, flag):
    product = lambda v, name: v @ weights[name][0].T + weights[name][1]
    louder = (x * gain).astype(np.float64)
    b = product(np.maximum(product(louder, "a"), 0), "b")
    d = product(product(b, "c") + b if flag else b, "d")
    return (product(d, "e"), d) if last == "e" else (d, b)


def session(model, **entries):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    for key, value in entries.items():
        options.add_session_config_entry(f"qlinear.{key}", value)
    if model == "model.onnx":
        # Else onnxruntime fuses a dequantization with its product, and quantizes activations.
        level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.graph_optimization_level = level
    else:
        options.register_custom_ops_library(library)
    return onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])


def error(have, want):
    return max(
        np.linalg.norm(h.astype(np.float64) - w) / np.linalg.norm(w.astype(np.float64))
        for h, w in zip(have, want)
    )


def fails(part, call):
    try:
        call()
    except Exception as e:  # onnxruntime's classes of errors have no common base
        assert part in str(e), str(e)
        return
    raise AssertionError(f"no error has '{part}'")


os.mkdir("ours")
run(sys.executable, importer, "model.onnx", "-o", "layers.mlir", "--weights", "w.safetensors",
    "--encoding", "lossless", "--replace", "ours/model.onnx", "--quiet")  # fmt: skip
ours = onnx.load("ours/model.onnx")
kinds = [n.op_type for n in ours.graph.node]
ours_is = f"Linear{dtype.upper()}"
expected = ["Mul", ours_is, "Relu", ours_is, "If", ours_is] + [ours_is] * (dtype == "f32")
assert kinds == expected, kinds
(then,) = [a.g for a in ours.graph.node[4].attribute if a.name == "then_branch"]
assert [n.op_type for n in then.node] == [ours_is, "Add"]
# What is still needed came along into the other folder; in the same one it is where it was.
assert [t.name for t in ours.graph.initializer] == ["gain"]
assert not external_data_helper.uses_external_data(ours.graph.initializer[0])
run(sys.executable, importer, "model.onnx", "-o", "again.mlir", "--weights", "again.safetensors",
    "--encoding", "lossless", "--replace", "beside.onnx", "--quiet")  # fmt: skip
beside = onnx.load("beside.onnx", load_external_data=False)
assert external_data_helper.uses_external_data(beside.graph.initializer[0])
assert {(o.domain, o.version) for o in ours.opset_import} >= {("qlinear", 1), ("", 21)}

for form in ("float", "int8"):
    run("quant-compile", "layers.mlir", f"--target={target}", f"--activations={form}",
        "-o", f"{form}.so")  # fmt: skip
theirs = session("model.onnx")
files = {form: dict(artifact=f"{form}.so", weights="w.safetensors") for form in ("float", "int8")}
mine = {form: session("ours/model.onnx", **files[form]) for form in files}
rounding = 2e-6 if dtype == "f32" else 2e-3
for shape in ((1, 1), (2, 3), (3, 0), (5, 8)):
    for flag in (True, False):
        feed = {"x": rng.normal(size=(*shape, 96)).astype(NUMPY), "flag": np.array(flag)}
        want = exact(feed["x"], flag)
        reference = theirs.run(None, feed)
        results = {form: s.run(None, feed) for form, s in mine.items()}
        for have in (reference, *results.values()):
            assert [h.shape for h in have] == [w.shape for w in want]
            assert all(h.dtype == NUMPY for h in have)
        if 0 in shape:
            continue
        # The dynamic quantization of onnxruntime has one scale for all activations.
        assert error(reference[1:], want[1:]) <= rounding, error(reference[1:], want[1:])
        assert error(results["float"], want) <= rounding, (shape, error(results["float"], want))
        assert error(results["float"][1:], reference[1:]) <= 2 * rounding
        off = error(results["int8"], want)
        assert rounding < off <= 0.03, off  # activations of 8 bits
print("replaced layers agree with onnxruntime's and float64")

# Two artifacts in one process, and calls of one session at once, each with rows of its own.
feeds = [
    {"x": rng.normal(size=(1, rows, 96)).astype(NUMPY), "flag": np.array(True)}
    for rows in (1, 7, 2, 19, 3, 5, 11, 1)
]
wanted = [mine["float"].run(None, f) for f in feeds]
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    for have, want in zip(pool.map(lambda f: mine["float"].run(None, f), feeds * 4), wanted * 4):
        for h, w in zip(have, want):
            np.testing.assert_array_equal(h, w)
one = session("ours/model.onnx", **files["float"], device="cpu:1")
for have, want in zip(one.run(None, feeds[3]), wanted[3]):
    np.testing.assert_array_equal(have, want)
print("threads and devices agree")

fails("qlinear.artifact' names no artifact", lambda: session("ours/model.onnx"))
fails("cannot open", lambda: session("ours/model.onnx", artifact="none.so"))
fails("use cpu", lambda: session("ours/model.onnx", **files["float"], device="cuda:0"))
fails("is none of cpu", lambda: session("ours/model.onnx", **files["float"], device="gpu"))
bare = session("ours/model.onnx", artifact="float.so")
fails("load the module with an archive", lambda: bare.run(None, feeds[0]))
# The layers of another model: none of its functions, and the shape of another.
other = onnx.load("ours/model.onnx")
(function,) = [a for a in other.graph.node[1].attribute if a.name == "function"]
function.s = b"other"
onnx.save(other, "other.onnx")
fails("has no function 'other'", lambda: session("other.onnx", **files["float"]))
function.s = b"d"
onnx.save(other, "other.onnx")
shaped = session("other.onnx", **files["float"])
fails("input 0 of 'd' has the shape [1, 96]", lambda: shaped.run(None, feeds[0]))
# Another artifact in the place of the first is another one.
shutil.copy("int8.so", "float.so.new")
os.replace("float.so.new", "float.so")
changed = session("ours/model.onnx", **files["float"])
for have, want in zip(changed.run(None, feeds[1]), mine["int8"].run(None, feeds[1])):
    np.testing.assert_array_equal(have, want)
print("errors name what is wrong")
