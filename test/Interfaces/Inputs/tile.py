# ===- tile.py - Tiled and bufferized linears compute the same --*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
#
# Random linears, run as they are, tiled along M and fused into the loop of their user
# by tile.transform.mlir, and after bufferization: all bits must be the same, since each
# element is computed by the same operations. What they compute is tested by
# to_reference.py; here the first element is, in Python's floats.
#
# Usage: tile.py [SEED]

import os
import random
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "Transforms", "Inputs"))
import to_reference as ref  # noqa: E402

TILE = [
    "--transform-preload-library=transform-library-paths="
    + os.path.join(HERE, "tile.transform.mlir"),
    "--transform-interpreter",
    "--canonicalize",
]
# Upstream lowers the loop of tile_using_forall on buffers only.
ref.PIPELINE.insert(2, "--scf-forall-to-for")
BUFFERIZE = [
    "--convert-elementwise-to-linalg",
    "--one-shot-bufferize=bufferize-function-boundaries",
    "--canonicalize",
    "--cse",
]


def main():
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else random.randrange(1 << 30)
    print("seed %d" % seed)
    rng = random.Random(seed)
    for M in (1, 3, 5, 6):
        N, K = 5, 96
        spelling = "u4, group = 32, zero, scale = bf16, offset = bf16"
        w = ref.Weight(rng, "w", spelling, N, K)
        x = [[ref.f32(rng.gauss(0, 1)) for _ in range(K)] for _ in range(M)]
        r = [[ref.f32(rng.gauss(0, 1)) for _ in range(N)] for _ in range(M)]
        xs, ws, ys = f"tensor<{M}x{K}xf32>", w.type(), f"tensor<{M}x{N}xf32>"
        body = f"""{w.ir()}
    %x = arith.constant {ref.dense(x)} : {xs}
    %r = arith.constant {ref.dense(r)} : {ys}
    %y = qlinear.linear %x, %w extras(%r) {{tile}} : ({xs}, {ws}, {ys}) -> {ys} {{
    ^bb0(%a: f32, %b: f32):
      %0 = arith.addf %a, %b : f32
      qlinear.yield %0 : f32
    }}
    %p = qlinear.linear %x, %w {{fuse}} : ({xs}, {ws}) -> {ys}
    %e = tensor.empty() : {ys}
    %z = linalg.generic {{indexing_maps = [affine_map<(m, n) -> (m, n)>,
        affine_map<(m, n) -> (m, n)>], iterator_types = ["parallel", "parallel"]}}
        ins(%p : {ys}) outs(%e : {ys}) attrs = {{tile}} {{
    ^bb0(%a: f32, %o: f32):
      %0 = arith.mulf %a, %a : f32
      linalg.yield %0 : f32
    }} -> {ys}"""
        results = [("%y", ys, (M, N)), ("%z", ys, (M, N))]
        plain = ref.run(body, results)
        first = sum(x[0][k] * w.value(0, k) for k in range(K)) + r[0][0]
        ref.check(f"M = {M}: first element", [[plain[0][0][0]]], [[first]], [[1e-5]])
        for what, passes in (
            ("tiled", TILE),
            ("bufferized", BUFFERIZE),
            ("tiled and bufferized", TILE + BUFFERIZE),
        ):
            for name, a, b in zip("yz", ref.run(body, results, passes=passes), plain, strict=True):
                ref.check(f"M = {M}: {name} {what}", a, b)
    if ref.failures:
        sys.exit("%d failures with seed %d" % (ref.failures, seed))


if __name__ == "__main__":
    main()
