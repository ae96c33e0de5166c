# ===- expert_reference.py - What qlinear-to-reference makes of experts ---*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""expert_reference.py [SEED]: products with chosen experts, with every kind of extra, and sums
of choices, run by mlir-runner and compared with the same arithmetic written here."""

import math
import random
import sys

import to_reference as reference
from to_reference import Weight, bf16, check, dense, f32, literal, quantize, run

ROW = "u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>"
CASES = [  # experts, rows of each, K, choices, whether x has pieces, options
    (3, 16, 64, 2, False, ""),
    (2, 32, 32, 3, True, "int8=true"),
    (5, 16, 96, 1, False, "int8=true"),
    (1, 16, 64, 2, True, ""),
]


def compare(rng, E, N, K, T, pieces, options):
    def draw(rows, columns):
        return [[f32(rng.gauss(0, 1)) for _ in range(columns)] for _ in range(rows)]

    M, what = rng.choice([3, 5]), f"{E} experts of {N} x {K}, {T} choices {options}"
    g, u = (Weight(rng, name, ROW, E * N, K) for name in "gu")
    x = draw(M, T * K if pieces else K)
    ids = [[rng.randrange(E) for _ in range(T)] for _ in range(M)]
    ids[0][0], ids[1][T - 1], ids[2][0] = -1, E, -(2**31)
    bias, factor, added = draw(1, E * N)[0], draw(M, T), draw(M, T * N)
    column = draw(1, N)[0]
    xs, ys = f"tensor<?x{len(x[0])}xf32>", f"tensor<?x{T * N}xf32>"
    vectors = [("b", bias), ("c", column), ("o", [2.0])]
    constants = "\n".join(
        f"%{n} = arith.constant dense<[{', '.join(map(literal, v))}]> : tensor<{len(v)}xf32>"
        for n, v in vectors)
    matrices = [("x", x, xs), ("f", factor, f"tensor<?x{T}xf32>"), ("a", added, ys)]
    constants += "\n" + "\n".join(
        f"%{n}0 = arith.constant {dense(v)} : tensor<{M}x{t[9:]}\n"
        f"%{n} = tensor.cast %{n}0 : tensor<{M}x{t[9:]} to {t}" for n, v, t in matrices)
    body = f"""{g.ir()}
        {u.ir()}
        {constants}
        %i0 = arith.constant {dense(ids, str)} : tensor<{M}x{T}xi32>
        %i = tensor.cast %i0 : tensor<{M}x{T}xi32> to tensor<?x{T}xi32>
        %p, %q = qlinear.grouped_linear %x by %i, %g, %u experts = {E}
            : ({xs}, tensor<?x{T}xi32>, {g.type()}, {u.type()}) -> ({ys}, {ys})
        %r = qlinear.grouped_linear %x by %i, %g, %u experts = {E} extras(%b, %c, %o, %f, %a)
            : ({xs}, tensor<?x{T}xi32>, {g.type()}, {u.type()}, tensor<{E * N}xf32>,
               tensor<{N}xf32>, tensor<1xf32>, tensor<?x{T}xf32>, {ys}) -> tensor<?x{T * N}xbf16> {{
        ^bb0(%1: f32, %2: f32, %3: f32, %4: f32, %5: f32, %6: f32, %7: f32):
          %8 = arith.addf %1, %3 : f32
          %9 = arith.mulf %8, %2 : f32
          %10 = arith.addf %9, %4 : f32
          %11 = arith.mulf %10, %5 : f32
          %12 = arith.mulf %11, %6 : f32
          %13 = arith.addf %12, %7 : f32
          %14 = arith.truncf %13 : f32 to bf16
          qlinear.yield %14 : bf16
        }}
        %s = qlinear.combine %a by %f : ({ys}, tensor<?x{T}xf32>) -> tensor<?x{N}xf32>"""
    results = [("%p", ys, (M, T * N)), ("%q", ys, (M, T * N)),
               ("%r", f"tensor<?x{T * N}xbf16>", (M, T * N)),
               ("%s", f"tensor<?x{N}xf32>", (M, N))]
    p, q, r, s = run(body, results, options)

    def product(weight, m, t, n):
        row = x[m][t * K : (t + 1) * K] if pieces else x[m]
        row = quantize(row) if options else row
        e = ids[m][t]
        if not 0 <= e < E:
            return 0.0 if e < 0 else math.nan
        return f32(sum(a * weight.value(e * N + n, k) for k, a in enumerate(row)))

    def after(m, t, n):
        e = ids[m][t]
        if not 0 <= e < E:
            return 0.0 if e < 0 else math.nan
        v = f32(product(g, m, t, n) + bias[e * N + n])
        v = f32(f32(v * product(u, m, t, n)) + column[n])
        return bf16(f32(f32(f32(v * 2.0) * factor[m][t]) + added[m][t * N + n]))

    def each(value):
        return [[value(m, t, n) for t in range(T) for n in range(N)] for m in range(M)]

    check(what + ": first", p, each(lambda *at: product(g, *at)))
    check(what + ": second", q, each(lambda *at: product(u, *at)))
    check(what + ": epilogue", r, each(after))
    check(what + ": sums", s, [
        [f32(sum(factor[m][t] * added[m][t * N + n] for t in range(T))) for n in range(N)]
        for m in range(M)])


def main():
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else random.randrange(1 << 30)
    print("seed %d" % seed)
    rng = random.Random(seed)

    for case in CASES:
        compare(rng, *case)
    if reference.failures:
        sys.exit("%d failures with seed %d" % (reference.failures, seed))


if __name__ == "__main__":
    main()
