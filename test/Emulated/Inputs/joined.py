# ===- joined.py - Norms that are launched with a linear ------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Writes norms before linears: all types of x, tails of 8 to 32 columns, rows of one round of a
block and of several, one weight or two with an epilogue, with and without the residual; and
their packed weights.

usage: joined.py DIRECTORY QUANT-PACK
"""

import random
import sys

import matrix

INT4 = "u4, group = {}, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>"
# (type, K, N, group, kind of norm)
CASES = [("bf16", 264, 40, "row", "rms"), ("f16", 1312, 33, "32", "layer"),
         ("f32", 8, 16, "row", "layer"), ("bf16", 9248, 16, "32", "rms")]


def functions(t, k, n, kind, weights, weight, attributes=""):
    """(suffix of the name, arguments, results, body) of a linear, and of one of two weights
    whose norm also has the sum. `weights` are the names of two parameters of type `weight`."""
    rows, result, scale = f"tensor<?x{k}x{t}>", f"tensor<?x{n}xf32>", f"tensor<{k}xf32>"
    bias = f"tensor<{n}xf32>"
    load = "".join(f"  %{w} = qlinear.load @{w} : {weight}\n" for w in weights)
    w, u = (f"%{name}" for name in weights)

    def narrow(value, name):
        return "" if t == "f32" else f"    {name} = arith.truncf {value} : f32 to {t}\n"

    value, total = ("%0", "%sum") if t == "f32" else ("%1", "%s")
    scaled = ("  ^bb0(%norm: f32, %sum: f32, %scale: f32):\n"
              f"    %0 = arith.mulf %norm, %scale : f32\n{narrow('%0', '%1')}")
    yield "one", [("x", rows), ("g", scale)], [result], (
        f"{load}  %n = qlinear.norm {kind} %x extras(%g) epsilon = 1.0e-05\n"
        f"      : ({rows}, {scale}) -> {rows} {{\n{scaled}"
        f"    qlinear.yield {value} : {t}\n  }}\n"
        f"  %y = qlinear.linear %n, {w}{attributes} : ({rows}, {weight}) -> {result}\n"
        f"  return %y : {result}\n")
    arguments = [("x", rows), ("r", rows), ("g", scale), ("b", bias)]
    yield "two", arguments, [rows, result], (
        f"{load}  %n, %t = qlinear.norm {kind} %x, %r extras(%g) epsilon = 1.0e-05\n"
        f"      : ({rows}, {rows}, {scale}) -> ({rows}, {rows}) {{\n"
        f"{scaled}{narrow('%sum', '%s')}"
        f"    qlinear.yield {value}, {total} : {t}, {t}\n  }}\n"
        f"  %y = qlinear.linear %n, {w}, {u} extras(%b){attributes}\n"
        f"      : ({rows}, {weight}, {weight}, {bias}) -> {result} {{\n"
        "  ^bb0(%v: f32, %up: f32, %bias: f32):\n"
        "    %h = math.tanh %v : f32\n    %p = arith.mulf %h, %up : f32\n"
        "    %q = arith.addf %p, %bias : f32\n    qlinear.yield %q : f32\n  }\n"
        f"  return %t, %y : {rows}, {result}\n")


def main():
    directory, quant_pack = sys.argv[1:]
    random.seed("joined")
    module, packing, tensors = [], [], []
    for i, (t, k, n, group, kind) in enumerate(CASES):
        encoding = INT4.format(group)
        kernels = [f"#qlinear.gemv<rows = 8, dot = {['dp4a', 'mma'][i % 2]}>",
                   "#qlinear.gemm<rows = any, tokens = 16>"]
        attributes = (f" {{schedule = #qlinear.schedule<kernels = [{', '.join(kernels)}], "
                      "quantize = norm>}")
        weight = f"!qlinear.weight<{n}x{k}, #qlinear.encoding<{encoding}>>"
        names = [f"w{i}", f"u{i}"]
        for name in names:
            module.append(f"qlinear.parameter @{name} : {weight}\n")
            tensors.append((name, n, k))
            packing += matrix.pack_arguments(name, encoding)
        for name, arguments, results, body in functions(t, k, n, kind, names, weight, attributes):
            inputs = ", ".join(f"%{n}: {kind}" for n, kind in arguments)
            module.append(
                f"func.func @{name}{i}({inputs}) -> ({', '.join(results)}) {{\n{body}}}\n")
    matrix.write_source(f"{directory}/source.safetensors", tensors)
    matrix.write_layer(directory, module, quant_pack, packing)


if __name__ == "__main__":
    main()
