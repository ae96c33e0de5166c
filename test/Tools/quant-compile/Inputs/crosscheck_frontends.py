# ===- crosscheck_frontends.py - What PyTorch and JAX export ------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
#
# Exports linears with packed weights by torch.export and torch-mlir, or by jax.export and
# IREE's compiler, compiles what they write, runs it, and compares with the framework. Each 32
# activations are integers of which one is 127, so that quantizing them changes nothing.
#
# Usage: crosscheck_frontends.py torch|jax DIRECTORY

import json
import subprocess
import sys

import numpy

N, K, GROUP = 24, 128, 32
rng = numpy.random.default_rng(7)


def activations(*shape):
    x = rng.integers(-127, 128, shape)
    x[..., ::32] = 127 * rng.choice([-1, 1], x[..., ::32].shape)
    return x.astype("float32")


def weights():
    """Codes, scales and zeros of groups, and a bias."""
    q = rng.integers(0, 16, (N, K))
    s = rng.uniform(0.01, 0.02, (N, K // GROUP)).astype("float32")
    z = rng.integers(0, 16, (N, K // GROUP))
    return q, s, z, rng.uniform(-1, 1, N).astype("float32")


def words(codes, axis):
    """Eight codes in an int32, the first in the lowest bits."""
    codes = numpy.moveaxis(codes, axis, -1)
    codes = codes.reshape(*codes.shape[:-1], -1, 8).astype("uint32")
    packed = sum(codes[..., i] << numpy.uint32(4 * i) for i in range(8))
    return numpy.ascontiguousarray(numpy.moveaxis(packed, -1, axis)).view("int32")


def run(directory, name, text, x, expected, tolerance, bits):
    """Compiles and runs, with x as it is."""
    paths = [directory + "/" + name + end for end in (".mlir", ".so", ".in.npy", ".out.npy")]
    with open(paths[0], "w") as file:
        file.write(text)
    command = ["quant-compile", paths[0], "--raise", "--target=cpu:portable", "-o", paths[1]]
    compiled = subprocess.run(
        command + ["--save-temps=" + directory], capture_output=True, text=True
    )
    if compiled.returncode:
        sys.exit("%s does not compile:\n%s" % (name, compiled.stderr))
    with open(directory + "/manifest.json") as file:
        manifest = json.load(file)
    (weight,) = manifest["weights"]
    assert int(weight["encoding"][1]) == bits, (name, weight)
    numpy.save(paths[2], x)
    command = ["quant-run", paths[1], "--input", paths[2], "--output", paths[3]]
    ran = subprocess.run(command, capture_output=True, text=True)
    if ran.returncode:
        sys.exit("%s does not run:\n%s" % (name, ran.stderr))
    y = numpy.load(paths[3]).astype("float64")
    assert y.shape == expected.shape, (name, y.shape)
    error = numpy.abs(y - expected).max()
    error /= numpy.abs(expected).max()
    if not error < tolerance:
        sys.exit("%s: relative error %g, at most %g" % (name, error, tolerance))
    print("%s: %s, relative error %.1e" % (name, weight["encoding"], error))


def torch_models():
    import torch
    from torch import bitwise_right_shift as right_shift  # >> is not lowered
    from torch.nn.functional import linear, silu

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            q, s, z, b = weights()
            tensors = {
                "int8": (rng.integers(-128, 128, (N, K))).astype("int8"),
                "signed": (q - 8).astype("int8"),
                "bytes": (q[:, ::2] | q[:, 1::2] << 4).astype("uint8"),
                "z": z.astype("uint8"),
                "along_k": words(q.T, 0),
                "along_n": words(q.T, 1),
                "zeros_along_n": words(z.T, 1),
                "s": s,
                "row": s[:, 0].copy(),
                "b": b,
            }
            for name, value in tensors.items():
                self.register_buffer(name, torch.from_numpy(value))

    class ScaleAfter(Model):
        bits = 8

        def forward(self, x):
            return x @ self.int8.to(x.dtype).t() * self.row + self.b

    class Pairs(Model):
        bits = 4

        def forward(self, x):
            q = torch.stack([self.bytes & 15, self.bytes >> 4], -1).reshape(N, -1, GROUP)
            w = (q.to(x.dtype) - self.z[..., None].to(x.dtype)) * self.s[..., None]
            return linear(x, w.reshape(N, K), self.b)

    class Bytes(Model):
        bits = 4

        def forward(self, x):
            q = self.signed.view(N, -1, GROUP).to(x.dtype)
            w = q * self.s[..., None].to(x.dtype)
            return silu(linear(x, w.view(N, K)))

    class AlongN(Model):
        bits = 4

        def forward(self, x):
            shifts = torch.arange(0, 32, 4)
            q = right_shift(self.along_n[:, :, None], shifts).reshape(K, N) & 15
            z = right_shift(self.zeros_along_n[:, :, None], shifts).reshape(-1, N) & 15
            w = (q - z.repeat_interleave(GROUP, 0)).to(x.dtype)
            return x @ (w * self.s.t().repeat_interleave(GROUP, 0))

    class AlongK(Model):
        bits = 4

        def forward(self, x):
            shifts = torch.arange(0, 32, 4, dtype=torch.int32)
            q = right_shift(self.along_k[:, None, :], shifts[None, :, None]) & 15
            w = (q.reshape(-1, GROUP, N) - 8).to(x.dtype) * self.s.t()[:, None, :]
            return x @ w.reshape(K, N)

    return [ScaleAfter, Pairs, Bytes, AlongN, AlongK]


def check_torch(directory):
    import torch
    from torch_mlir import fx

    for model in torch_models():
        for shape, dynamic in [
            ((3,), ()), ((3,), (0,)), ((2, 3), ()), ((1, 3), (1,)), ((2, 3), (0,)),
            ((2, 3), (0, 1)), ((2, 3, 4), (0, 1, 2)),
        ]:  # fmt: skip
            # A view of several dynamic dimensions would be a cast that takes them for 1.
            options = {"decomposition_table": {}} if len(dynamic) > 1 else {}
            x = torch.from_numpy(activations(*shape, K))
            module = model().eval()
            sizes = ({d: torch.export.Dim("m%d" % d, min=2) for d in dynamic},) if dynamic else None
            program = torch.export.export(module, (x,), dynamic_shapes=sizes)
            text = str(fx.export_and_import(program, output_type="linalg-on-tensors", **options))
            name = "_".join(map(str, [model.__name__, *shape, "dynamic", *dynamic]))
            run(directory, name, text, x.numpy(), module(x).numpy(), 1e-5, model.bits)


def check_jax(directory):
    import jax
    import jax.numpy as jnp

    q, s, z, b = weights()
    s, z, b = map(jnp.asarray, (s, z, b))
    codes = jnp.asarray((q - 8).astype("int8"))

    def scaled(q):
        return q.reshape(N, -1, GROUP).astype("float32") * s[..., None]

    def pairs(x):
        packed = jnp.asarray((q[:, ::2] | q[:, 1::2] << 4).astype("uint8"))
        unpacked = jnp.stack([packed & 15, packed >> 4], -1).reshape(N, -1, GROUP)
        w = (unpacked.astype("float32") - z[..., None].astype("float32")) * s[..., None]
        return x @ w.reshape(N, K).T + b

    def halves(x):
        packed = jnp.asarray((q[:, : K // 2] | q[:, K // 2 :] << 4).astype("uint8"))
        parts = [(p.astype("int8") - 8) for p in (packed & 15, packed >> 4)]
        return jax.nn.relu(x @ scaled(jnp.concatenate(parts, -1)).reshape(N, K).T + b)

    def k_major(x):
        w = codes.T.reshape(-1, GROUP, N).astype("int4").astype("float32") * s.T[:, None, :]
        return x @ w.reshape(K, N)

    def batched(x):
        return jnp.einsum("btk,nk->btn", x, scaled(codes.astype("int4")).reshape(N, K))

    import iree.compiler as iree

    for function, shape in [(pairs, (3,)), (halves, (3,)), (k_major, (3,)), (batched, (2, 3))]:
        x = activations(*shape, K)
        exported = jax.export.export(jax.jit(function))(x).mlir_module()
        text = iree.compile_str(
            exported,
            input_type="stablehlo",
            extra_args=["--compile-to=input", "--mlir-print-op-generic"],
        ).decode()
        run(directory, function.__name__, text, x, numpy.asarray(function(x)), 1e-5, 4)


{"torch": check_torch, "jax": check_jax}[sys.argv[1]](sys.argv[2])
