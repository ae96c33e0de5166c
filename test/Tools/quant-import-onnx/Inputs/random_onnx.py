# ===- random_onnx.py - Random ONNX models ------------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""random_onnx.py DIRECTORY IMPORTER SEED COUNT: models of one layer whose weight is known. Those
that are as their operators say must be imported exactly; others, in which a node, a tensor or
an attribute is another one, must be an error, left with a note, or imported as they now are."""

import collections
import contextlib
import io
import os
import shutil
import sys

import numpy as np
import onnx
from checkpoints_onnx import packed_weights
from onnx import TensorProto, helper, numpy_helper

directory, importer, seed, count = sys.argv[1:]
shutil.rmtree(directory, ignore_errors=True)
os.makedirs(directory)
os.chdir(directory)
sys.path.insert(0, os.path.join(os.path.dirname(importer), "..", "share", "qlinear"))
sys.argv[0] = importer
from onnx_import.cli import main  # noqa: E402

OPSETS = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]


class Layer:
    """Nodes and initializers of a layer y = x W^T, and W [N, K]; None: it must not be read."""

    def __init__(self, rng):
        self.rng, self.nodes, self.tensors, self.valid = rng, [], {}, True
        self.what, self.weight = "", None
        self.n, self.k = 8 * int(rng.integers(1, 5)), 32 * int(rng.integers(1, 5))

    def choose(self, *values):
        return values[int(self.rng.integers(len(values)))]

    def node(self, kind, inputs, outputs, **attributes):
        self.nodes.append(helper.make_node(kind, inputs, outputs, kind, **attributes))
        return self.nodes[-1]

    def scales(self, *shape):
        return (np.exp(self.rng.normal(size=shape) * 0.3) * 0.01).astype(np.float32)

    def contradict(self, what):
        self.valid, self.what = False, what

    def moved(self, name):
        """The name of the same constant behind nodes that move its elements."""
        for step in range(int(self.rng.integers(0, 3))):
            t, out = self.tensors[name], f"{name}.{step}"
            kind = self.choose("Reshape", "Transpose", "Identity", "Unsqueeze")
            if name not in self.tensors or t.ndim == 0:
                return name
            # The initializer is what the node undoes.
            if kind == "Reshape":
                self.tensors[name + ".shape"] = np.array(t.shape, np.int64)
                self.tensors[name] = t.reshape(-1)
                self.node(kind, [name, name + ".shape"], [out])
            elif kind == "Transpose":
                self.tensors[name] = np.ascontiguousarray(t.T)
                self.node(kind, [name], [out])
            elif kind == "Unsqueeze":
                self.tensors[name + ".axes"] = np.array([0], np.int64)
                self.tensors[name + ".shape"] = np.array(t.shape, np.int64)
                self.node(kind, [name, name + ".axes"], [out + "u"])
                self.node("Reshape", [out + "u", name + ".shape"], [out])
            else:
                self.node(kind, [name], [out])
            return out
        return name


def nbits(c):
    block, bits = c.choose(16, 32), c.choose(4, 8)
    blocks = c.k // block
    q = c.rng.integers(0, 2**bits, (c.n, c.k), dtype=np.uint8)
    b = q[:, ::2] | q[:, 1::2] << 4 if bits == 4 else q
    s, z = c.scales(c.n, blocks), c.rng.integers(0, 2**bits, (c.n, blocks), dtype=np.uint8)
    even = np.pad(z, ((0, 0), (0, blocks % 2)))
    c.tensors = {"B": b.reshape(c.n, blocks, -1), "s": s}
    c.tensors["z"] = even[:, ::2] | even[:, 1::2] << 4 if bits == 4 else z
    attributes = {"N": c.n, "K": c.k, "bits": bits, "block_size": block}
    inputs = ["x", c.moved("B"), c.moved("s"), "z"]
    spread = lambda t: np.repeat(t.astype(np.float32), block, 1)
    if c.choose(True, False):
        inputs[3], z = "", np.full_like(s, 2 ** (bits - 1))
    c.weight = (q - spread(z)) * spread(s)
    if c.choose(True, False, False):
        c.contradict(c.choose("prepacked", "unknown", "g_idx", "computed", "bits", "scales"))
        if c.what == "prepacked":
            attributes["weight_prepacked"] = c.choose(1, 2)
        elif c.what == "unknown":
            attributes["rotation"] = 1
        elif c.what == "g_idx":
            c.tensors["g"] = c.rng.permutation(np.arange(c.k, dtype=np.int32) // block)
            inputs += ["g"]
        elif c.what == "computed":
            c.node("Abs", [inputs[2]], ["s.abs"])
            inputs[2] = "s.abs"
        elif c.what == "bits":
            attributes["bits"] = 2 if bits == 4 else 4
        else:
            c.tensors["t"], inputs[2] = c.scales(c.n, blocks + 1), "t"
        if not (c.what == "g_idx" and (c.tensors["g"] == np.arange(c.k) // block).all()):
            c.weight = None
    c.node("MatMulNBits", inputs, ["y"], domain="com.microsoft", **attributes)


def integer(c):
    kind = c.choose(np.int8, np.uint8)
    info = np.iinfo(kind)
    q = c.rng.integers(info.min, info.max + 1, (c.k, c.n)).astype(kind)
    width = c.choose(1, c.n)
    s, z = c.scales(width), c.rng.integers(info.min, info.max + 1, width).astype(kind)
    if width == 1 and c.choose(True, False):
        s, z = s.reshape(()), z.reshape(())
    c.tensors = {"W": q, "s": s, "z": z}
    has_zero = c.choose(True, True, False)
    zero = z if has_zero else kind(0)
    c.weight = ((q.astype(np.float32) - np.asarray(zero, np.float32)) * s).T
    what = c.choose("", "", "scale", "links", "cast", "static", "factor")
    to = TensorProto.FLOAT
    names = ["x.q", c.moved("W"), "x.z", "z" if has_zero else ""]
    factor = ["x.s", "s"][:: c.choose(1, -1)]
    if what:
        c.contradict(what)
        c.weight = None
    if what == "scale":
        c.tensors["s"] = c.scales(c.n + 1)
    elif what == "links":
        names[2] = "other.z"
        c.node("DynamicQuantizeLinear", ["h"], ["other.q", "other.s", "other.z"])
        c.tensors["h"] = np.ones(4, np.float32)
    elif what == "cast":
        to = TensorProto.FLOAT16
        c.tensors["s"] = np.asarray(s)
    elif what == "factor":
        factor = ["x.s", "x.s"]
    if what == "static":
        c.tensors["x.s"], c.tensors["x.z"] = np.float32(0.1), np.uint8(3)
        c.node("QuantizeLinear", ["x", "x.s", "x.z"], ["x.q"])
    else:
        c.node("DynamicQuantizeLinear", ["x"], ["x.q", "x.s", "x.z"])
    c.node("MatMulInteger", names[: 4 if has_zero else 3], ["p"])
    c.node("Cast", ["p"], ["f"], to=to)
    c.node("Mul", factor, ["scale"])
    c.node("Mul", ["f", "scale"][:: c.choose(1, -1)], ["y"])


def dequantized(c):
    kind = c.choose(np.int8, np.uint8)
    info = np.iinfo(kind)
    q = c.rng.integers(info.min, info.max + 1, (c.k, c.n)).astype(kind)
    s, z = c.scales(c.n), c.rng.integers(info.min, info.max + 1, c.n).astype(kind)
    c.tensors, axis = {"W": q, "s": s, "z": z}, 1
    c.weight = ((q.astype(np.float32) - z.astype(np.float32)) * s).T
    what = c.choose("", "", "axis", "alpha")
    product = {"alpha": 1.0}
    if what == "axis" and c.n != c.k:
        axis = 0
        c.tensors["s"], c.tensors["z"] = c.scales(c.k), np.resize(z, c.k)
    elif what == "alpha":
        product["alpha"] = 0.5
    if what:
        c.contradict(what)
        c.weight = c.weight if what == "axis" and c.n == c.k else None
    c.node("DequantizeLinear", [c.moved("W"), "s", "z"], ["w"], axis=axis)
    c.node("Gemm", ["x", "w"], ["y"], **product)


KINDS = [nbits, integer, dequantized]
outcomes = collections.Counter()
for i in range(int(seed), int(seed) + int(count)):
    case, kind = Layer(np.random.default_rng(i)), KINDS[i % len(KINDS)]
    kind(case)
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["M", case.k])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["M", case.n])]
    tensors = [numpy_helper.from_array(np.asarray(t), n) for n, t in case.tensors.items()]
    graph = helper.make_graph(case.nodes, "g", inputs, outputs, tensors)
    onnx.save(helper.make_model(graph, opset_imports=OPSETS, ir_version=10), "m.onnx")
    out = io.StringIO()
    command = "m.onnx -o m.mlir --weights w --only-linears --quiet -e lossless".split()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        code = main(command)
    where = f"seed {i}, {kind.__name__}, {case.what}: "
    assert code in (0, 1) and "Traceback" not in out.getvalue(), where + out.getvalue()
    if code:
        assert not case.valid and out.getvalue().startswith("quant-import-onnx: error: "), (
            where + out.getvalue()
        )
        outcome = "refused"
    else:
        assert case.weight is not None, where + "imported a weight that nobody knows"
        (w,) = packed_weights("w").values()
        assert w.shape == case.weight.shape and (w == case.weight).all(), where + "wrong weights"
        outcome = "exact"
    outcomes[f"{kind.__name__} {'valid' if case.valid else 'contradicting'}: {outcome}"] += 1
for line, times in sorted(outcomes.items()):
    print(times, line)
print(f"{count} models, 0 weights wrong")
