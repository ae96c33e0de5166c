# ===- onnx_layers.py - Linear layers in ONNX -----------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Random models with one layer of each form that ONNX has, their weights decoded by the
operators' definitions."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

FLOAT = {"f32": TensorProto.FLOAT, "f16": TensorProto.FLOAT16}
INTEGER = {
    "i4": TensorProto.INT4,
    "u4": TensorProto.UINT4,
    "i8": TensorProto.INT8,
    "u8": TensorProto.UINT8,
}


class Model:
    """Layers side by side, each with an input x_NAME and an output y_NAME."""

    def __init__(self, seed=0, dtype="f32"):
        self.rng = np.random.default_rng(seed)
        self.dtype, self.numpy = dtype, {"f32": np.float32, "f16": np.float16}[dtype]
        self.nodes, self.initializers, self.inputs, self.outputs = [], [], [], []
        self.layers = {}  # name -> (weight [N, K] in float64, bias)

    def constant(self, name, array):
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def integers(self, name, kind, array):
        tensor = helper.make_tensor(name, INTEGER[kind], array.shape, array.astype(int).ravel())
        self.initializers.append(tensor)
        return name

    def scales(self, *shape):
        return (np.exp(self.rng.normal(size=shape) * 0.3) * 0.01).astype(self.numpy)

    def finish(self, name, w, bias=None):
        n, k = w.shape
        kind = FLOAT[self.dtype]
        self.inputs.append(helper.make_tensor_value_info(f"x_{name}", kind, ["M", k]))
        self.outputs.append(helper.make_tensor_value_info(f"y_{name}", kind, ["M", n]))
        self.layers[name] = (w.astype(np.float64), bias)

    def nbits(self, name, n, k, bits, block, zeros="default", bias=False, index=False):
        """MatMulNBits."""
        count = -(-k // block)
        q = self.rng.integers(0, 2**bits, (n, count * block), dtype=np.uint8)
        packed = q[:, ::2] | q[:, 1::2] << 4 if bits == 4 else q
        s = self.scales(n, count)
        inputs = [
            f"x_{name}",
            self.constant(f"{name}.B", packed.reshape(n, count, block * bits // 8)),
            self.constant(f"{name}.scales", s.ravel() if self.rng.random() < 0.5 else s),
        ]
        if zeros == "default":
            z = np.full((n, count), 2 ** (bits - 1))
        elif zeros == "packed":
            z = self.rng.integers(0, 2**bits, (n, count), dtype=np.uint8)
            even = np.concatenate([z, np.zeros((n, count % 2), np.uint8)], 1)
            p = z if bits == 8 else even[:, ::2] | even[:, 1::2] << 4
            inputs.append(self.constant(f"{name}.zeros", p))
        else:
            z = (2 ** (bits - 1) + self.rng.normal(size=(n, count))).astype(self.numpy)
            inputs.append(self.constant(f"{name}.zeros", z))
        b = None
        if index:
            inputs += [""] * (4 - len(inputs))
            inputs.append(self.constant(f"{name}.g_idx", np.arange(k, dtype=np.int32) // block))
        if bias:
            b = self.rng.normal(size=n).astype(self.numpy)
            inputs += [""] * (5 - len(inputs)) + [self.constant(f"{name}.bias", b)]
        self.nodes.append(
            helper.make_node(
                "MatMulNBits",
                inputs,
                [f"y_{name}"],
                name,
                domain="com.microsoft",
                N=n,
                K=k,
                bits=bits,
                block_size=block,
            )
        )
        repeat = lambda t: np.repeat(np.asarray(t, np.float64), block, 1)
        self.finish(name, ((q - repeat(z)) * repeat(s))[:, :k], b)

    def dequantized(
        self, name, n, k, kind, block=0, zeros=True, transposed=False, op="MatMul", bias=False
    ):
        """DequantizeLinear, maybe Transpose, and MatMul or Gemm. block: 0 for a scale per
        output, None for one for all."""
        low, high = {"i4": (-8, 8), "u4": (0, 16), "i8": (-128, 128), "u8": (0, 256)}[kind]
        rows = transposed  # whether the constant is [N, K]
        q = self.rng.integers(low, high, (n, k))
        shape = () if block is None else (n,) if block == 0 else (n, -(-k // block))
        s, z = self.scales(*shape), self.rng.integers(low, high, shape)
        each = lambda t: np.asarray(t, np.float64)
        if block == 0:
            each = lambda t: np.asarray(t, np.float64)[:, None]
        elif block:
            each = lambda t: np.repeat(np.asarray(t, np.float64), block, 1)[:, :k]
        turn = lambda t: t if rows or np.ndim(t) < 2 else t.T
        inputs = [
            self.integers(f"{name}.q", kind, turn(q)),
            self.constant(f"{name}.s", turn(s)),
        ]
        if zeros:
            inputs.append(self.integers(f"{name}.z", kind, turn(np.asarray(z))))
        axis = (1 if rows else 0) if block else (0 if rows else 1)
        self.nodes.append(
            helper.make_node(
                "DequantizeLinear",
                inputs,
                [f"{name}.w"],
                axis=axis if self.rng.random() < 0.5 else axis - 2,
                **({"block_size": block} if block else {}),
            )
        )
        weight, trans_b = f"{name}.w", rows
        if rows and (op == "MatMul" or self.rng.random() < 0.5):
            weight, trans_b = f"{name}.t", False
            self.nodes.append(helper.make_node("Transpose", [f"{name}.w"], [weight], perm=[1, 0]))
        b = self.rng.normal(size=n).astype(self.numpy) if bias else None
        if op == "Gemm":
            inputs = [f"x_{name}", weight]
            if bias:
                inputs.append(self.constant(f"{name}.b", b if n % 2 else b[None]))
            node = helper.make_node(op, inputs, [f"y_{name}"], name, transB=int(trans_b))
            self.nodes.append(node)
        else:
            product = f"{name}.p" if bias else f"y_{name}"
            self.nodes.append(helper.make_node(op, [f"x_{name}", weight], [product], name))
            if bias:
                pair = [product, self.constant(f"{name}.b", b)]
                self.nodes.append(
                    helper.make_node("Add", pair[:: 1 if n % 2 else -1], [f"y_{name}"])
                )
        self.finish(name, (q - (each(z) if zeros else 0)) * each(s), b)

    def model(self):
        graph = helper.make_graph(
            self.nodes, "layers", self.inputs, self.outputs, self.initializers
        )
        opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def all_forms(rng):
    """{name: what adds the layer to a model}."""
    forms = {}

    def nbits(name, *arguments, **more):
        forms[name] = lambda m: m.nbits(name, *arguments, **more)

    def dequantized(name, *arguments, **more):
        forms[name] = lambda m: m.dequantized(name, *arguments, **more)

    flip = lambda: bool(rng.random() < 0.5)
    for bits in (4, 8):
        for block in (16, 32, 64, 128, 256):
            for zeros in ("default", "packed", "float") if bits == 4 else ("default", "packed"):
                n = int(rng.integers(1, 60))
                nbits(f"nbits{bits}_{block}_{zeros}", n, 512, bits, block, zeros, flip())
    nbits("in_order", 16, 64, 4, 32, index=True)
    # A block longer than the row, a last block that is cut, and one that kernels lack.
    nbits("short_row", 24, 48, 4, 64, "packed")
    nbits("odd_row", 24, 35, 4, 64)
    nbits("cut_block", 24, 80, 4, 32, "packed")
    nbits("cut_block8", 24, 176, 8, 128, "default", True)
    nbits("large_block", 24, 1024, 4, 512, "packed")
    for kind in ("i4", "u4", "i8", "u8"):
        for block in (None, 0, 16, 32, 128):
            dequantized(
                f"dq_{kind}_{'tensor' if block is None else block or 'channel'}",
                int(rng.integers(2, 60)),
                256,
                kind,
                block,
                zeros=bool(rng.random() < 0.7),
                transposed=flip(),
                op="Gemm" if flip() else "MatMul",
                bias=flip(),
            )
    dequantized("odd", 23, 35, "u4", 0, op="Gemm", transposed=True, bias=True)
    return forms
