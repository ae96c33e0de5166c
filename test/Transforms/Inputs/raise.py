# ===- raise.py - Runs random linears before and after raising -----*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
#
# Writes linears on dequantized weights, with random form, layout, types, loop and
# operand order, whole or in steps or fused: in linalg, here, in raise_blocks.py and in
# raise_stored.py, and in the operations of other dialects, in raise_frontends.py. Those
# in linalg are run by upstream's lowering as they are; all are run after qlinear-raise
# and qlinear-to-reference, and compared with the sum in Python's floats. All of them
# have to be raised.
#
# Usage: raise.py COUNT [SEED]

import random
import subprocess
import sys

import raise_blocks
import raise_frontends
import raise_stored
import to_reference as ref
from raise_writer import Writer, convert, tensor


class Linear:
    """One random linear in linalg: its IR, and its result in Python."""

    runs_unraised = True

    def __init__(self, rng, name):
        self.rng, self.w = rng, Writer(rng, name)
        w = self.w
        N, G, B = rng.choice([1, 2, 5, 8]), rng.choice([2, 3, 4]), rng.choice([16, 32])
        M, K = rng.choice([1, 2, 3]), G * B
        self.M, self.N = M, N
        bits, signed = rng.choice([4, 8]), rng.random() < 0.5
        zeros = ["zero", "integer zero", "converted zero", "constant zero"]
        form = rng.choice([*zeros, "none", "add min", "sub min"])
        scale_type, x_type = rng.choice(["f32", "f16", "bf16"]), rng.choice(["f32", "f16", "bf16"])
        low = -(1 << (bits - 1)) if signed else 0
        codes = [[rng.randrange(low, low + (1 << bits)) for _ in range(K)] for _ in range(N)]
        scales = [[ref.ROUND[scale_type](rng.uniform(0.01, 1)) for _ in range(G)] for _ in range(N)]
        integers = [[rng.randrange(low, low + (1 << bits)) for _ in range(G)] for _ in range(N)]
        floats = [[ref.ROUND[scale_type](rng.uniform(-3, 9)) for _ in range(G)] for _ in range(N)]
        x = [[ref.ROUND[x_type](rng.gauss(0, 1)) for _ in range(K)] for _ in range(M)]
        constant = rng.randrange(0, 9)

        # Index expressions of the components, by loop names.
        split = rng.random() < 0.5
        k_loops = ["g", "b"] if split else ["k"]
        group = "g" if split else "k floordiv %d" % B
        code_dims = ["n"] + k_loops
        rng.shuffle(code_dims) if not split else code_dims.sort(
            key=["n g b", "g b n", "g n b"][rng.randrange(3)].index
        )
        self.sizes = {"n": N, "g": G, "b": B, "k": K, "m": M}
        meta_dims = rng.choice([["n", group], [group, "n"], ["n", group, "0"]])

        def shape(dims):
            return [G if d == group else 1 if d == "0" else self.sizes[d] for d in dims]

        def meta(values, element):
            def at(*index):
                named = dict(zip(meta_dims, index, strict=True))
                return values[named["n"]][named[group]]

            return *w.constant(shape(meta_dims), element, at), meta_dims

        def code_at(*index):
            i = dict(zip(code_dims, index, strict=True))
            return codes[i["n"]][i["g"] * B + i["b"] if split else i["k"]]

        q = (*w.constant(shape(code_dims), "i%d" % bits, code_at), code_dims)
        inputs = [q, meta(scales, scale_type)]
        if form in ("integer zero", "converted zero"):
            inputs.append(meta(integers, "i%d" % bits))
        elif form in ("zero", "add min", "sub min"):
            inputs.append(meta(floats, scale_type))

        def value(n, k):
            s, c, g = scales[n][k // B], codes[n][k], k // B
            return {
                "zero": lambda: s * (c - floats[n][g]),
                "integer zero": lambda: s * (c - integers[n][g]),
                "converted zero": lambda: s * (c - integers[n][g]),
                "constant zero": lambda: s * (c - constant),
                "none": lambda: s * c,
                "add min": lambda: s * c + floats[n][g],
                "sub min": lambda: s * c - floats[n][g],
            }[form]()

        self.expected = [
            [sum(a * value(n, k) for k, a in enumerate(row)) for n in range(N)] for row in x
        ]
        # Of terms, each code and offset for itself: they may cancel.
        self.magnitude = [
            [
                sum(
                    abs(a) * (scales[n][k // B] * (abs(codes[n][k]) + 128) + 9)
                    for k, a in enumerate(row)
                )
                for n in range(N)
            ]
            for row in x
        ]

        extend, to_float = ("arith.extsi", "sitofp") if signed else ("arith.extui", "uitofp")

        def integer(v, wide="i32"):
            return w.emit("%s %s : i%d to %s" % (extend, v, bits, wide))

        def widen(v):
            return w.emit("arith.%s %s : i32 to f32" % (to_float, integer(v)))

        def binary(op, a, b):
            return w.emit("arith.%s %s, %s : f32" % (op, a, b))

        def either(op, a, b):
            return binary(op, *w.swap(a, b))

        def dequantize(c, s, o=None):
            s = convert(w, s, scale_type, "f32")
            if form == "integer zero":
                difference = w.emit("arith.subi %s, %s : i32" % (integer(c), integer(o)))
                return either("mulf", w.emit("arith.sitofp %s : i32 to f32" % difference), s)
            c = widen(c)
            if form == "converted zero":
                c = binary("subf", c, widen(o))
            elif form == "zero":
                c = binary("subf", c, convert(w, o, scale_type, "f32"))
            elif form == "constant zero":
                c = binary("subf", c, w.emit("arith.constant %s : f32" % ref.literal(constant)))
            c = either("mulf", c, s)
            if form in ("add min", "sub min"):
                o = convert(w, o, scale_type, "f32")
                c = either("addf", c, o) if form == "add min" else binary("subf", c, o)
            return c

        x_dims = ["m"] + k_loops
        if rng.random() < 0.3:
            x_dims = k_loops + ["m"]
        vector = M == 1 and rng.random() < 0.5
        if vector:
            x_dims = k_loops

        def x_at(*index):
            i = dict(zip(x_dims, index, strict=True))
            return x[i.get("m", 0)][i["g"] * B + i["b"] if split else i["k"]]

        activations = (*w.constant(shape(x_dims), x_type, x_at), x_dims)
        if not vector and rng.random() < 0.4:
            source = activations[1]
            at = x_dims.index("m")
            sizes = ["?" if i == at else n for i, n in enumerate(shape(x_dims))]
            type = tensor(sizes, x_type)
            cast = w.emit("tensor.cast %s : %s to %s" % (activations[0], source, type))
            activations = (cast, type, x_dims)

        fused = rng.random() < 0.4
        if not fused:
            loops = code_dims[:]
            rng.shuffle(loops)
            empty = w.emit("tensor.empty() : " + tensor(shape(code_dims), "f32"))
            output = (empty, tensor(shape(code_dims), "f32"))
            weight = w.generic(
                loops, [], inputs, output, code_dims, lambda *a: (dequantize(*a[:-1]), "f32")
            )
            dims = code_dims
            if len(dims) == 2 and rng.random() < 0.5:
                dims = dims[::-1]
                type = tensor(shape(dims), "f32")
                empty = w.emit("tensor.empty() : " + type)
                weight = w.emit(
                    "linalg.transpose ins(%s : %s) outs(%s : %s) permutation = [1, 0]"
                    % (weight, output[1], empty, type)
                )
                output = (empty, type)
            elif (
                split
                and dims.index("b") == dims.index("g") + 1
                and not vector
                and rng.random() < 0.5
            ):
                # To K, and back: the group is found through both.
                flat = [d if d == "n" else "k" for d in dims if d != "b"]
                groups = "[[0], [1, 2]]" if flat[0] == "n" else "[[0, 1], [2]]"
                type = tensor(shape(flat), "f32")
                weight = w.emit(
                    "tensor.collapse_shape %s %s : %s into %s" % (weight, groups, output[1], type)
                )
                sizes = ", ".join(map(str, shape(dims)))
                weight = w.emit(
                    "tensor.expand_shape %s %s output_shape [%s] : %s into %s"
                    % (weight, groups, sizes, type, output[1])
                )
            inputs = [(weight, output[1], dims)]

        out_dims = ["n"] if vector else rng.choice([["m", "n"], ["m", "n"], ["n", "m"]])
        self.bias = rng.uniform(-2, 2) if rng.random() < 0.3 else 0.0
        out_type = tensor(shape(out_dims), "f32")
        start = w.constant(shape(out_dims), "f32", lambda *_: ref.f32(self.bias))[0]
        loops = ["n"] + k_loops + ([] if vector else ["m"])
        rng.shuffle(loops)
        dynamic = "?" in activations[1]
        if dynamic:
            static = out_type
            sizes = ["?" if d == "m" else self.sizes[d] for d in out_dims]
            out_type = tensor(sizes, "f32")
            start = w.emit("tensor.cast %s : %s to %s" % (start, static, out_type))

        def multiply(a, *rest):
            factor = dequantize(*rest[:-1]) if fused else rest[0]
            product = either("mulf", convert(w, a, x_type, "f32"), factor)
            return either("addf", rest[-1], product), "f32"

        y = w.generic(loops, k_loops, [activations, *inputs], (start, out_type), out_dims, multiply)
        if dynamic:
            y = w.emit("tensor.cast %s : %s to %s" % (y, out_type, static))
            out_type = static
        if out_dims == ["n", "m"]:
            empty = w.emit("tensor.empty() : " + tensor([M, N], "f32"))
            y = w.emit(
                "linalg.transpose ins(%s : %s) outs(%s : %s) permutation = [1, 0]"
                % (y, out_type, empty, tensor([M, N], "f32"))
            )
        if vector:
            y = w.emit(
                "tensor.expand_shape %s [[0, 1]] output_shape [1, %d] : %s into %s"
                % (y, N, out_type, tensor([1, N], "f32"))
            )
        self.result = (y, tensor([M, N], "f32"), (M, N))
        self.what = "%s%d %s, %s%s, %s" % (
            "i" if signed else "u",
            bits,
            form,
            " x ".join(code_dims),
            ", fused" if fused else "",
            x_type,
        )
        self.expected = [[v + ref.f32(self.bias) for v in row] for row in self.expected]
        # f32 rounds each weight a few times, each product and each partial sum.
        self.tolerance = [[(K + 8) * 2.0**-24 * (v + 4) for v in row] for row in self.magnitude]


def main():
    count = int(sys.argv[1])
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 30)
    print("seed %d" % seed)
    rng = random.Random(seed)
    kinds = [Linear] * 6 + raise_blocks.FORMS * 2 + raise_stored.FORMS * 6
    kinds += raise_frontends.FORMS
    batch = 20
    for begin in range(0, count, batch):
        names = ["l%d" % i for i in range(begin, min(begin + batch, count))]
        linears = [rng.choice(kinds)(rng, name) for name in names]
        raise_and_run(linears, rng, seed)
    if ref.failures:
        sys.exit("%d failures with seed %d" % (ref.failures, seed))


def raise_and_run(linears, rng, seed):
    def body(some):
        return "\n".join(line for linear in some for line in linear.w.lines)

    globals = "\n".join(line for linear in linears for line in linear.w.globals)
    passes = ["--allow-unregistered-dialect", "--qlinear-raise"]
    if rng.random() < 0.3:
        passes.insert(1, "--linalg-fuse-elementwise-ops")
    uses = "\n".join('"test.use"(%s) : (%s) -> ()' % linear.result[:2] for linear in linears)
    module = "%s\nfunc.func @main() {\n%s\n%s\n    return\n}\n" % (globals, body(linears), uses)
    opt = subprocess.run(
        ["quant-opt", "-", *passes, "--remarks-filter=qlinear.*", "--mlir-print-op-generic"],
        input=module,
        capture_output=True,
        text=True,
    )
    raised = opt.stderr.count("[Passed] Raise")
    if opt.returncode or raised != len(linears):
        for linear in linears:
            print(linear.what)
        message = "%d of %d were raised, seed %d:\n%s"
        sys.exit(message % (raised, len(linears), seed, opt.stderr))
    runnable = [linear for linear in linears if linear.runs_unraised]
    results = [linear.result for linear in runnable]
    before = iter(ref.run(body(runnable), results, module=globals) if runnable else [])
    results = [linear.result for linear in linears]
    after = ref.run(body(linears), results, module=globals, passes=passes)
    for linear, raised in zip(linears, after, strict=True):
        if linear.runs_unraised:
            what = linear.what + ": as it is"
            ref.check(what, next(before), linear.expected, linear.tolerance)
        ref.check(linear.what + ": raised", raised, linear.expected, linear.tolerance)


if __name__ == "__main__":
    main()
