# ===- frontends.py - Compiles modules as frontends write them -----*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
#
# Functions of one linear each, whose weight is computed from constants in the forms of
# raise_stored.py: dense ones, resources, splats; x of two to four dimensions, of which
# some are dynamic; a bias as torch-mlir and JAX write it. The module is compiled with
# --raise and run on x as it is, the first function by quant-run and the others by the
# Python package, and compared with the sum over the int8 activations in Python's floats.
#
# Usage: frontends.py RAISE_INPUTS DIRECTORY COUNT [SEED]

import json
import math
import random
import struct
import subprocess
import sys

sys.path.insert(0, sys.argv[1])

import numpy
import qlinear
import raise_stored
import raise_writer
import safetensors.numpy
import to_reference as ref
from raise_writer import nested, tensor

FORMATS = {"f32": "f", "f16": "e", "i8": "b", "i32": "i", "i64": "q"}


class Constants(raise_writer.Writer):
    """Of constants only, some of them resources."""

    resources: dict[str, str] = {}

    def constant(self, shape, element, at):
        type = tensor(shape, element)
        if element not in FORMATS or self.rng.random() < 0.5:
            return self.emit("arith.constant dense<%s> : %s" % (nested(shape, at), type)), type
        values = [at(*i) for i in numpy.ndindex(*shape)]
        data = struct.pack("<%d%s" % (len(values), FORMATS[element]), *values)
        key = self.new()[1:]
        align = struct.pack("<I", struct.calcsize(FORMATS[element]))
        self.resources[key] = "0x" + (align + data).hex().upper()
        return self.emit("arith.constant dense_resource<%s> : %s" % (key, type)), type


class Function(raise_stored.Stored):
    Writer = Constants

    def contract(self, weight, type, dims, values, what):
        rng, w, K, N = self.rng, self.w, self.K, len(values)
        M, element = rng.choice([2, 4, 6, 12]), rng.choice(["f32", "f32", "f16"])
        self.x = raise_stored.random_x(rng, M, K, element)
        lead = rng.choice([[M], [M], [1, M], [2, M // 2], [2, M // 2], [M // 2, 2, 1]])
        seen = lead if rng.random() < 0.3 else [rng.choice(["?", n]) for n in lead]
        x, rows = tensor([*seen, K], element), ["a", "b", "m"][-len(lead) :]
        sizes = []
        for i, n in enumerate(seen):
            if n == "?":
                index = w.emit("arith.constant %d : index" % i)
                sizes.append(w.emit("tensor.dim %%x, %s : %s" % (index, x)))
        out = tensor([*seen, N], "f32")

        def empty():
            return w.emit("tensor.empty(%s) : %s" % (", ".join(sizes), out))

        zero = w.emit("arith.constant 0.0 : f32")
        start = w.emit("linalg.fill ins(%s : f32) outs(%s : %s) -> %s" % (zero, empty(), out, out))

        def multiply(a, b, sum):
            a = raise_writer.convert(w, a, element, "f32")
            product = w.emit("arith.mulf %s, %s : f32" % (a, b))
            return w.emit("arith.addf %s, %s : f32" % (sum, product)), "f32"

        operands = [("%x", x, [*rows, "k"]), (weight, type, dims)]
        y = w.generic([*rows, "n", "k"], ["k"], operands, (start, out), [*rows, "n"], multiply)
        bias = [ref.f32(rng.uniform(-2, 2)) for _ in range(N)]
        kind = rng.choice(["none", "row", "broadcast", "named"])
        if kind != "none":
            b, dim = (*w.constant([N], "f32", lambda n: bias[n]), ["n"]), [*rows, "n"]
            if kind == "broadcast":
                b = w.generic(dim, [], [b], (empty(), out), dim, lambda v, _: (v, "f32")), out, dim
            elif kind == "named":
                text = "linalg.broadcast ins(%s : %s) outs(%s : %s) dimensions = [%s]"
                at = ", ".join(map(str, range(len(rows))))
                b = w.emit(text % (*b[:2], empty(), out, at)), out, dim

            def add(a, b, _):
                return w.emit("arith.addf %s, %s : f32" % (a, b)), "f32"

            if kind == "named":
                y = w.emit("arith.addf %s, %s : %s" % (y, b[0], out))
            else:
                y = w.generic(dim, [], [(y, out, dim), b], (empty(), out), dim, add)
        self.what, self.lead = "%s, x %s, bias %s" % (what, x, kind), lead
        self.text = "func.func @%s(%%x: %s) -> %s {\n%s\n    return %s : %s\n}" % (
            w.name, x, out, "\n".join(w.lines), y, out
        )  # fmt: skip
        bias = bias if kind != "none" else [0.0] * N
        self.expected, self.bound = [], []
        for row in map(ref.quantize, self.x):
            pairs = [list(zip(row, values[n], strict=True)) for n in range(N)]
            sums = [math.fsum(a * v for a, (v, _) in p) for p in pairs]
            bounds = [math.fsum(abs(a) * v for a, (_, v) in p) for p in pairs]
            self.expected.append([s + b for s, b in zip(sums, bias, strict=True)])
            self.bound.append([s + abs(b) for s, b in zip(bounds, bias, strict=True)])


def run(library, name, x, directory):
    """By quant-run."""
    paths = [directory + "/in.safetensors", directory + "/out.safetensors"]
    safetensors.numpy.save_file({"input0": x}, paths[0])
    command = ["quant-run", library, "-f", name, "--input", paths[0], "--output", paths[1]]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (y,) = safetensors.numpy.load_file(paths[1]).values()
    return y


def main():
    _, directory, count = sys.argv[1:4]
    seed = int(sys.argv[4]) if len(sys.argv) > 4 else random.randrange(1 << 30)
    print("seed %d" % seed)
    rng = random.Random(seed)
    functions = [Function(rng, "f%d" % i) for i in range(int(count))]
    resources = ",\n".join('%s: "%s"' % pair for pair in Constants.resources.items())
    module, library = directory + "/module.mlir", directory + "/module.so"
    with open(module, "w") as file:
        file.write("\n".join(f.text for f in functions))
        file.write("\n{-# dialect_resources: { builtin: {\n%s } } #-}\n" % resources)
    command = ["quant-compile", module, "--raise", "--target=cpu:portable", "-o", library]
    command += ["--save-temps=" + directory]
    compiled = subprocess.run(command, capture_output=True, text=True)
    if compiled.returncode:
        sys.exit("seed %d:\n%s" % (seed, compiled.stderr))
    with open(directory + "/manifest.json") as file:
        weights = json.load(file)["weights"]
    print("encodings:", sorted({w["encoding"] for w in weights}))
    loaded = qlinear.load(library)
    for i, f in enumerate(functions):
        type = "float16" if "f16" in f.what.split(", x ")[1] else "float32"
        x = numpy.array(f.x, type).reshape(*f.lead, -1)
        y = run(library, f.w.name, x, directory) if i == 0 else loaded[f.w.name](x)
        assert list(y.shape[:-1]) == f.lead, (f.what, y.shape)
        y = y.reshape(-1, y.shape[-1])
        # f32 rounds scales, sums of groups, and the sum of those.
        tolerance = [[2.0**-20 * (v + 1) for v in row] for row in f.bound]
        ref.check(f.what, y.astype(float).tolist(), f.expected, tolerance)
    if ref.failures:
        sys.exit("%d failures with seed %d" % (ref.failures, seed))


if __name__ == "__main__":
    main()
