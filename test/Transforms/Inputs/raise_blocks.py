# ===- raise_blocks.py - Random linears in blocks, in linalg ------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
#
# Forms of raise.py that have more structure than one group: Q4_K's super-blocks, sums
# that are scaled per block, and named operations on flat matrices.

import raise_writer
import to_reference as ref
from raise_writer import tensor


class Blocks:
    """A linear with `w[n][k]` as its weight and `x[m][k]`; `result` is M x N in f32."""

    runs_unraised = True

    def finish(self, w, x, value, name, roundings=8):
        """Sets what is expected; `w` gives the weight and its magnitude."""
        M, N, K = len(x), len(w), len(w[0])
        self.result = (value, tensor([M, N], "f32"), (M, N))
        self.what = name
        self.expected = [[sum(a * row[k][0] for k, a in enumerate(xs)) for row in w] for xs in x]
        magnitude = [[sum(abs(a) * row[k][1] for k, a in enumerate(xs)) for row in w] for xs in x]
        self.tolerance = [[(K + roundings) * 2.0**-24 * (v + 1) for v in row] for row in magnitude]


def random_x(rng, M, K, element):
    return [[ref.ROUND[element](rng.gauss(0, 1)) for _ in range(K)] for _ in range(M)]


class Q4K(Blocks):
    """d and dmin per 256 weights, six-bit codes per 32 in parts of two and four bits."""

    def __init__(self, rng, name):
        w = self.w = raise_writer.Writer(rng, name)
        N, S, M = rng.choice([1, 2, 3]), rng.choice([1, 2]), rng.choice([1, 2])
        K = 256 * S
        step, x_type = rng.choice(["f16", "bf16", "f32"]), rng.choice(["f32", "f16"])
        q = [[rng.randrange(16) for _ in range(K)] for _ in range(N)]
        d, dmin = (
            [[ref.ROUND[step](rng.uniform(0.001, 0.1)) for _ in range(S)] for _ in range(N)]
            for _ in range(2)
        )
        scales, mins = (
            [[rng.randrange(64) for _ in range(8 * S)] for _ in range(N)] for _ in range(2)
        )
        x = random_x(rng, M, K, x_type)

        block, group = ["n", "s"], ["n", "s", "g"]
        inputs = [
            (
                *w.constant([N, S, 8, 32], "i4", lambda n, s, g, k: q[n][256 * s + 32 * g + k]),
                ["n", "s", "g", "k"],
            ),
            (*w.constant([N, S], step, lambda n, s: d[n][s]), block),
            (*w.constant([N, S], step, lambda n, s: dmin[n][s]), block),
        ]
        for codes in (scales, mins):
            inputs += [
                (
                    *w.constant([N, S, 8], "i2", lambda n, s, g, c=codes: c[n][8 * s + g] >> 4),
                    group,
                ),
                (
                    *w.constant([N, S, 8], "i4", lambda n, s, g, c=codes: c[n][8 * s + g] & 15),
                    group,
                ),
            ]
        wide = rng.choice(["i8", "i32"])

        def code(high, low):
            high = w.emit("arith.extui %s : i2 to %s" % (high, wide))
            low = w.emit("arith.extui %s : i4 to %s" % (low, wide))
            four = w.emit("arith.constant 4 : " + wide)
            high = w.emit("arith.shli %s, %s : %s" % (high, four, wide))
            operation = rng.choice(["ori", "addi", "xori"])
            both = w.emit("arith.%s %s, %s : %s" % (operation, *w.swap(high, low), wide))
            return w.emit("arith.uitofp %s : %s to f32" % (both, wide))

        def mul(a, b):
            return w.emit("arith.mulf %s, %s : f32" % w.swap(a, b))

        def weight(q, d, dmin, sh, sl, mh, ml):
            scale = mul(raise_writer.convert(w, d, step, "f32"), code(sh, sl))
            least = mul(raise_writer.convert(w, dmin, step, "f32"), code(mh, ml))
            q = w.emit("arith.uitofp %s : i4 to f32" % q)
            return w.emit("arith.subf %s, %s : f32" % (mul(q, scale), least))

        dims = ["n", "s", "g", "k"]
        fused = rng.random() < 0.5
        if not fused:
            type = tensor([N, S, 8, 32], "f32")
            empty = w.emit("tensor.empty() : " + type)
            value = w.generic(
                dims, [], inputs, (empty, type), dims, lambda *a: (weight(*a[:-1]), "f32")
            )
            inputs = [(value, type, dims)]
        xs = (
            *w.constant([M, S, 8, 32], x_type, lambda m, s, g, k: x[m][256 * s + 32 * g + k]),
            ["m", "s", "g", "k"],
        )
        out = tensor([M, N], "f32")
        start = w.emit("arith.constant dense<0.0> : " + out)

        def multiply(a, *rest):
            factor = weight(*rest[:-1]) if fused else rest[0]
            product = mul(raise_writer.convert(w, a, x_type, "f32"), factor)
            return w.emit("arith.addf %s, %s : f32" % w.swap(rest[-1], product)), "f32"

        loops = dims + ["m"]
        rng.shuffle(loops)
        y = w.generic(loops, dims[1:], [xs, *inputs], (start, out), ["m", "n"], multiply)

        def at(n, k):
            s, m = d[n][k // 256] * scales[n][k // 32], dmin[n][k // 256] * mins[n][k // 32]
            return s * q[n][k] - m, s * q[n][k] + m

        values = [[at(n, k) for k in range(K)] for n in range(N)]
        self.finish(values, x, y, "Q4_K, %s, step %s" % ("fused" if fused else "in steps", step))


class PostScale(Blocks):
    """Sums over the blocks, then scaled and added up."""

    def __init__(self, rng, name):
        w = self.w = raise_writer.Writer(rng, name)
        N, G, B, M = (
            rng.choice([1, 3]),
            rng.choice([2, 3]),
            rng.choice([16, 32]),
            rng.choice([1, 2]),
        )
        K, signed, zero = G * B, rng.random() < 0.5, rng.random() < 0.5
        q = [
            [rng.randrange(-8, 8) if signed else rng.randrange(16) for _ in range(K)]
            for _ in range(N)
        ]
        s = [[ref.f32(rng.uniform(0.01, 1)) for _ in range(G)] for _ in range(N)]
        z = [[rng.randrange(8) for _ in range(G)] for _ in range(N)]
        x = random_x(rng, M, K, "f32")
        inputs = [
            (*w.constant([M, G, B], "f32", lambda m, g, k: x[m][g * B + k]), ["m", "g", "k"]),
            (*w.constant([N, G, B], "i4", lambda n, g, k: q[n][g * B + k]), ["n", "g", "k"]),
        ]
        if zero:
            inputs.append((*w.constant([N, G], "i8", lambda n, g: z[n][g]), ["n", "g"]))
        extend = "ext" + ("si" if signed else "ui")

        def partial(x, q, *rest):
            code = w.emit("arith.%s %s : i4 to i32" % (extend, q))
            if zero:
                wide = w.emit("arith.extsi %s : i8 to i32" % rest[0])
                code = w.emit("arith.subi %s, %s : i32" % (code, wide))
            code = w.emit("arith.sitofp %s : i32 to f32" % code)
            product = w.emit("arith.mulf %s, %s : f32" % w.swap(x, code))
            return w.emit("arith.addf %s, %s : f32" % w.swap(rest[-1], product)), "f32"

        dims = ["m", "n", "g"]
        rng.shuffle(dims)
        sizes = {"m": M, "n": N, "g": G}
        type = tensor([sizes[i] for i in dims], "f32")
        start = w.emit("arith.constant dense<0.0> : " + type)
        loops = dims + ["k"]
        rng.shuffle(loops)
        sums = w.generic(loops, ["k"], inputs, (start, type), dims, partial)
        scales = (*w.constant([N, G], "f32", lambda n, g: s[n][g]), ["n", "g"])
        out = tensor([M, N], "f32")
        start = w.emit("arith.constant dense<0.0> : " + out)

        def total(a, scale, sum):
            product = w.emit("arith.mulf %s, %s : f32" % w.swap(a, scale))
            return w.emit("arith.addf %s, %s : f32" % w.swap(sum, product)), "f32"

        y = w.generic(dims, ["g"], [(sums, type, dims), scales], (start, out), ["m", "n"], total)
        offset = z if zero else [[0] * G for _ in range(N)]
        values = [
            [(s[n][k // B] * (q[n][k] - offset[n][k // B]), s[n][k // B] * 24) for k in range(K)]
            for n in range(N)
        ]
        self.finish(values, x, y, "scaled sums, %s" % ("zero" if zero else "no zero"))


class Named(Blocks):
    """linalg.matmul, matvec or batch_matmul on flat matrices; f16 or bf16 sums too."""

    def __init__(self, rng, name):
        w = self.w = raise_writer.Writer(rng, name)
        N, G, B = rng.choice([1, 2, 5]), rng.choice([1, 2, 3]), rng.choice([16, 32])
        K, kind = G * B, rng.choice(["matmul", "matvec", "vecmat", "batch_matmul"])
        M = 1 if kind in ("matvec", "vecmat") else rng.choice([2, 4])
        element = rng.choice(["f32", "f16", "bf16"])
        scalar = rng.random() < 0.3  # one scale for all
        q = [[rng.randrange(-8, 8) for _ in range(K)] for _ in range(N)]
        s = [[ref.ROUND[element](rng.uniform(0.1, 0.5)) for _ in range(G)] for _ in range(N)]
        if scalar:
            s = [[s[0][0]] * G for _ in range(N)]
        x = random_x(rng, M, K, element)
        k_major = kind != "matvec"
        dims = ["k", "n"] if k_major else ["n", "k"]
        shape = [K, N] if k_major else [N, K]
        codes = w.constant(shape, "i4", lambda a, b: q[b][a] if k_major else q[a][b])
        if scalar:
            scale = (*w.constant([], element, lambda: s[0][0]), [])
        else:
            scale = (*w.constant([N, G], element, lambda n, g: s[n][g]), ["n", "k floordiv %d" % B])
        type = tensor(shape, element)
        empty = w.emit("tensor.empty() : " + type)

        def dequantize(q, s, _):
            q = w.emit("arith.sitofp %s : i4 to %s" % (q, element))
            return w.emit("arith.mulf %s, %s : %s" % (*w.swap(q, s), element)), element

        weight = w.generic(dims, [], [(*codes, dims), scale], (empty, type), dims, dequantize)
        if kind == "batch_matmul":
            wide = tensor([2, K, N], element)
            empty = w.emit("tensor.empty() : " + wide)
            weight = w.emit(
                "linalg.broadcast ins(%s : %s) outs(%s : %s) dimensions = [0]"
                % (weight, type, empty, wide)
            )
            x_value, x_type = w.constant(
                [2, M // 2, K], element, lambda b, m, k: x[b * (M // 2) + m][k]
            )
            out, type = tensor([2, M // 2, N], element), wide
        elif kind == "matmul":
            x_value, x_type = w.constant([M, K], element, lambda m, k: x[m][k])
            out = tensor([M, N], element)
        else:
            x_value, x_type = w.constant([K], element, lambda k: x[0][k])
            out = tensor([N], element)
        start = w.emit("arith.constant dense<0.0> : " + out)
        operands = [(x_value, x_type), (weight, type)]
        if kind == "matvec":
            operands.reverse()
        y = w.emit(
            "linalg.%s ins(%s, %s : %s, %s) outs(%s : %s) -> %s"
            % (
                kind,
                operands[0][0],
                operands[1][0],
                operands[0][1],
                operands[1][1],
                start,
                out,
                out,
            )
        )
        result = tensor([M, N], element)
        if kind == "batch_matmul":
            y = w.emit("tensor.collapse_shape %s [[0, 1], [2]] : %s into %s" % (y, out, result))
        elif kind != "matmul":
            y = w.emit(
                "tensor.expand_shape %s [[0, 1]] output_shape [1, %d] : %s into %s"
                % (y, N, out, result)
            )
        if element != "f32":
            y = w.emit("arith.extf %s : %s to %s" % (y, result, tensor([M, N], "f32")))
        values = [[(s[n][k // B] * q[n][k], s[n][k // B] * 8) for k in range(K)] for n in range(N)]
        self.finish(values, x, y, "linalg.%s in %s" % (kind, element))
        # Each product and partial sum is rounded to the element type.
        scale = {"f32": 1, "f16": 2.0**13, "bf16": 2.0**16}[element]
        self.tolerance = [[t * scale for t in row] for row in self.tolerance]


FORMS = [Q4K, PostScale, Named]
