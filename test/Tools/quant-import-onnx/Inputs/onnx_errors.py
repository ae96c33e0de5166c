# ===- onnx_errors.py - What cannot be imported ---------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""onnx_errors.py DIRECTORY IMPORTER: messages say which node, the numbers and the way out;
what is no linear is left with a note; a failure writes nothing."""

import contextlib
import io
import os
import shutil
import subprocess
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx_layers import Model

directory, importer = sys.argv[1:]
shutil.rmtree(directory, ignore_errors=True)
os.makedirs(directory)
os.chdir(directory)


# In this process, which has loaded onnx already.
sys.path.insert(0, os.path.join(os.path.dirname(importer), "..", "share", "qlinear"))
sys.argv[0] = importer
from onnx_import.cli import main  # noqa: E402


def run(*arguments, status=0):
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            code = main(arguments)
        except SystemExit as e:
            code = e.code
    assert code == status, (arguments, code, out.getvalue())
    return out.getvalue()


def fails(part, model=None, arguments=("m.onnx", "-o", "m.mlir", "--weights", "w.safetensors")):
    if model is not None:
        onnx.save(model, "m.onnx")
    before = sorted(os.listdir("."))
    for more in ((), ("--only-linears",)):
        message = run(*arguments, *more, status=1)
        assert message.startswith("quant-import-onnx: error: "), message
        assert part in message, f"wanted {part!r}, got {message!r}"
        assert "Traceback" not in message, message
    assert sorted(os.listdir(".")) == before, os.listdir(".")


def nbits(change=None, **more):
    """A model of one MatMulNBits, N = 16, K = 64, 4 bits, blocks of 32, after `change`."""
    m = Model()
    m.nbits("a", 16, 64, 4, 32, "packed", **more)
    model = m.model()
    if change:
        change(model.graph)
    return model


def attribute(name, value):
    def change(graph):
        for a in graph.node[0].attribute:
            if a.name == name:
                a.i = value

    return nbits(change)


def tensor(name, array, **more):
    def change(graph):
        for t in graph.initializer:
            if t.name == name:
                t.CopyFrom(numpy_helper.from_array(array, name))

    return nbits(change, **more)


# MatMulNBits: asked for, so what is wrong with it is an error.
order = np.random.default_rng(0).permutation(np.arange(64, dtype=np.int32) // 32)
fails("node 'a' (MatMulNBits): g_idx reorders the columns", tensor("a.g_idx", order, index=True))
fails("node 'a' (MatMulNBits): bits = 2; 4 and 8 are read", attribute("bits", 2))
fails(
    "block_size = 24; N and K must be positive, block_size a power of", attribute("block_size", 24)
)
fails("'a.B' has shape [16, 2, 16], but N = 17, K = 64, bits = 4,", attribute("N", 17))
fails("'a.B' has shape [16, 2, 16], but N = 16, K = 128, bits = 4,", attribute("K", 128))
fails("'a.scales' has shape [3], but", tensor("a.scales", np.ones(3, np.float32)))
fails("'a.zeros' has shape [32], but", tensor("a.zeros", np.ones(32, np.uint8)))
fails("scales must be f32, f16 or bf16", tensor("a.scales", np.ones(32, np.float64)))
fails(
    "its bias must be an initializer of N = 16", tensor("a.bias", np.ones(8, np.float32), bias=True)
)


def as_input(graph):
    (t,) = [t for t in graph.initializer if t.name == "a.B"]
    graph.input.append(helper.make_tensor_value_info(t.name, t.data_type, t.dims))
    graph.initializer.remove(t)


fails("node 'a' (MatMulNBits): B ('a.B') is computed in the graph", nbits(as_input))
m = Model()
m.nbits("cut", 16, 50, 4, 32, "packed")
fails("node 'cut' (MatMulNBits): blocks of 32 columns in K = 50; K and the block", m.model())


# Dequantized products: one that is no linear is left as it is, with a note.
def left(reason, change, **more):
    m = Model(1)
    m.dequantized("a", 32, 64, "i8", **more)
    dequantize, *_, product = m.nodes
    change(m, dequantize, product)
    fails("has no quantized linear layer", m.model())
    assert reason in run(*"m.onnx -o m.mlir --weights w.safetensors".split(), status=1), reason
    # Beside a layer that can be imported it is a note.
    m.nbits("b", 16, 64, 4, 32)
    onnx.save(m.model(), "m.onnx")
    said = run("m.onnx", "-o", "m.mlir", "--weights", "w.safetensors")
    assert "1 linear layers, " in said and reason in said, said
    text = open("m.mlir").read()
    assert '"onnx.DequantizeLinear"' in text and f'"onnx.{product.op_type}"' in text
    for name in ("m.mlir", "w.safetensors"):
        os.remove(name)


def set_axis(axis, scales, **more):
    def change(m, dequantize, _):
        del dequantize.attribute[:]
        dequantize.attribute.extend(
            helper.make_attribute(k, v) for k, v in (more | {"axis": axis}).items()
        )
        for t in m.initializers:
            if t.name == "a.s":
                t.CopyFrom(numpy_helper.from_array(np.ones(scales, np.float32), "a.s"))

    return change


def of_product(name, value):
    def change(_, __, product):
        kept = [a for a in product.attribute if a.name != name]
        del product.attribute[:]
        product.attribute.extend([*kept, helper.make_attribute(name, value)])

    return change


def computed(m, dequantize, _):
    m.nodes.insert(0, helper.make_node("Abs", ["a.s"], ["a.s2"]))
    dequantize.input[1] = "a.s2"


note = "node 'a' (MatMul) is left as it is: "
left(note + "it has a scale per input column", set_axis(0, 64), zeros=False)
left(
    note + "its blocks of 16 run along the outputs",
    set_axis(1, (64, 2), block_size=16),
    zeros=False,
)
left(
    note + "scales [3] and zeros [3] do not fit its weight [64, 32], axis = 1",
    set_axis(1, 3),
    zeros=False,
)
left(
    note + "its weight: blocks of 8 columns in K = 64",
    set_axis(0, (8, 32), block_size=8),
    zeros=False,
)
left(note + "what it dequantizes is computed in the graph", computed)
gemm = "node 'a' (Gemm) is left as it is: "
left(gemm + "transA and alpha must be 0 and 1", of_product("alpha", 0.5), op="Gemm")
left(
    gemm + "C must be an initializer of N = 32, and beta 1",
    of_product("beta", 0.5),
    op="Gemm",
    bias=True,
)

# Files.
fails(
    "cannot read 'none.onnx': No such file or directory",
    None,
    ("none.onnx", "-o", "a", "--weights", "b"),
)
open("text.onnx", "w").write("no model")
fails("'text.onnx' is not an ONNX model", None, ("text.onnx", "-o", "a", "--weights", "b"))
onnx.save(nbits(), "m.onnx")
fails("'m.onnx' is the model; write to", None, ("m.onnx", "-o", "m.onnx", "--weights", "b"))
fails("'a' is both --output and --weights", None, ("m.onnx", "-o", "a", "--weights", "a"))
both = ("m.onnx", "-o", "a", "--weights", "b", "--replace")
fails("'./m.onnx' is the model; write to", None, (*both, "./m.onnx"))
fails("'a' is both --output and --replace", None, (*both, "a"))
fails("'b' is both --replace and --weights", None, (*both, "b"))
fails("cannot write 'none/c.onnx'", None, (*both, "none/c.onnx"))
os.mkdir("folder")
device = "cannot write 'folder': Is a directory"
fails(device, None, ("m.onnx", "-o", "folder", "--weights", "b"))
fails(device, None, ("m.onnx", "-o", "a", "--weights", "folder"))
fails("none", None, ("m.onnx", "-o", "none/a", "--weights", "b"))
fails("none", None, ("m.onnx", "-o", "a", "--weights", "none/b"))
fails(
    "cannot run 'nowhere': No such file or directory; name it with --quant-pack",
    None,
    ("m.onnx", "-o", "a", "--weights", "b", "--quant-pack", "nowhere"),
)
shutil.copy(shutil.which("false"), "refuses")
refusing = ("m.onnx", "-o", "a", "--weights", "b", "--quant-pack", "./refuses")
fails("quant-pack failed (exit status 1)", None, refusing)
run("m.onnx", status=2)
run("m.onnx", "-o", "a", status=2)
# External data that is not there, or not long enough.
onnx.save(nbits(), "e.onnx", save_as_external_data=True, location="e.data", size_threshold=16)
os.truncate("e.data", 100)
fails("initializer 'a.B': ", None, ("e.onnx", "-o", "a", "--weights", "b"))
os.remove("e.data")
fails("e.data", None, ("e.onnx", "-o", "a", "--weights", "b"))

# A whole graph needs to know the input of a layer; a layer by itself does not.
m = Model()
m.nbits("a", 16, 64, 4, 32)
m.nodes[0].input[0] = "h"
m.nodes.insert(0, helper.make_node("Unknown", ["x_a"], ["h"], domain="my.ops"))
onnx.save(m.model(), "m.onnx")
message = run("m.onnx", "-o", "m.mlir", "--weights", "w.safetensors", status=1)
assert "node 'a' (MatMulNBits): its input is tensor<*x!onnx.Unknown>, but must be f32" in message
assert not os.path.exists("m.mlir") and not os.path.exists("w.safetensors")
run("m.onnx", "-o", "m.mlir", "--weights", "w.safetensors", "--only-linears")

# What a newer ONNX may have: types and kinds of attributes that have no name yet.
def whole(change, part):
    m = Model()
    m.nbits("a", 16, 64, 4, 32)
    m.nodes.append(helper.make_node("My Op", ["y_a"], ["z"], name="n", domain='my "ops"', k=1))
    model = m.model()
    change(model.graph)
    onnx.save(model, "new.onnx")
    arguments = ("new.onnx", "-o", "new.mlir", "--weights", "new.safetensors")
    if not part:
        run(*arguments, "--quiet")
        with open("new.mlir", encoding="ascii") as f:
            return f.read()
    message = run(*arguments, status=1)
    assert message.startswith("quant-import-onnx: error: ") and part in message, message
    return None


def output(graph, name):
    graph.output.append(helper.make_empty_tensor_value_info(name))


def constant(graph):
    graph.initializer.append(numpy_helper.from_array(np.ones(4, np.float32), "t"))
    graph.initializer[-1].data_type = 177
    graph.node[1].input.append("t")
    output(graph, "z")


def no_kind(graph):
    graph.node[1].attribute[0].type = 0
    output(graph, "z")


def tensor_attribute(graph):
    graph.node[1].attribute.append(helper.make_attribute("t", numpy_helper.from_array(order)))
    graph.node[1].attribute[-1].t.data_type = 177
    output(graph, "z")


def scale(graph):
    for t in graph.initializer:
        if t.name == "a.scales":
            t.data_type = 177



whole(constant, "177")
whole(no_kind, "attribute 'k' (UNDEFINED) has no form in MLIR")
whole(tensor_attribute, "attribute 't' (TENSOR) has no form in MLIR")
whole(scale, "scales must be f32, f16 or bf16")
m = Model(1)
m.dequantized("a", 32, 64, "i8", zeros=False)
for t in m.initializers:
    t.data_type = 177 if t.data_type == TensorProto.INT8 else t.data_type
fails("number 177", m.model())
data = nbits().SerializeToString()
with open("kind.onnx", "wb") as f:  # attributes of type 2, an integer, become of type 99
    f.write(data.replace(b"\xa0\x01\x02", b"\xa0\x01\x63"))
fails("is of a kind that", None, ("kind.onnx", "-o", "a", "--weights", "b"))


# Names are text: none of them breaks the module's.
def odd(graph):
    graph.node[1].attribute[0].name = 'a "b" = 1, c'
    output(graph, "z")


text = whole(odd, "")
assert text.count('"my \\"ops\\".My Op"') == 1, text
with open("odd.mlir", "w", encoding="ascii") as f:
    f.write(text)
parsed = subprocess.run(
    [os.path.join(os.path.dirname(importer), "quant-opt"), "--allow-unregistered-dialect",
     "odd.mlir"],
    capture_output=True, text=True, check=False,
)  # fmt: skip
assert parsed.returncode == 0, parsed.stderr

# Damaged models: imported, or an error that fits on a line.
random = np.random.default_rng(11)
good = nbits().SerializeToString()
for _ in range(300):
    damaged = bytearray(good)
    for at in random.integers(0, len(damaged), random.integers(1, 4)):
        damaged[at] = random.integers(0, 256)
    with open("damaged.onnx", "wb") as f:
        f.write(damaged)
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        status = main(["damaged.onnx", "-o", "damaged.mlir", "--weights", "d.safetensors",
                       "--only-linears", "--quiet", "--quant-pack", "./refuses"])  # fmt: skip
    assert status == 1 and said.getvalue().startswith("quant-import-onnx: error: "), said.getvalue()
    assert "Traceback" not in said.getvalue(), said.getvalue()

# The program itself.
command = [sys.executable, importer, "none.onnx", "-o", "a", "--weights", "b"]
done = subprocess.run(command, capture_output=True, text=True, check=False)
assert done.returncode == 1 and done.stderr.startswith("quant-import-onnx: error: cannot read")
print("errors: passed")
