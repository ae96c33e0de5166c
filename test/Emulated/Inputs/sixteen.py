# ===- sixteen.py - Layers of 9 to 16 rows, every kind of encoding --*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Writes a module with a linear per case of matrix.py, whose kernel is one for 9 to 16 rows
of int8 activations, and layers of several weights; and what quant-pack needs for it.

usage: sixteen.py CODES DIRECTORY QUANT-PACK

Arguments and files as of matrix.py.
"""

import os
import random
import sys

import matrix

# Rings of several lengths, both kinds of copies, activations that are quantized before,
# K in phases and shared by blocks; a kernel for 12 rows, for which more are cut.
SCHEDULES = [
    matrix.schedule([16], "warps = 4, stages = 3, copy = bulk", ", pdl = true"),
    matrix.schedule([16], "warps = 2, stages = 2, copy = async", ", pdl = false"),
    matrix.schedule([16], "warps = 3, stages = 1", ", quantize = separate, pdl = true"),
    matrix.schedule([12], "grid = 2, warps = 3, stages = 2", ", pdl = false"),
]
PHASES = matrix.schedule([16], "grid = 2, warps = 3, phases = 2", ", pdl = true")
SPLIT = matrix.schedule([16], "grid = 4, warps = 3, stages = 3, split_k = 2", ", pdl = true")


def schedule_of(i, k):
    if k % 512 == 0:
        return SPLIT
    return PHASES if k > 512 and i % 2 else SCHEDULES[i % len(SCHEDULES)]


def gated(name, encodings, n, k):
    """A linear of weights with an epilogue, and its weights' names and types."""
    weights = [(f"{name}w{i}", f"!qlinear.weight<{n}x{k}, #qlinear.encoding<{e}>>")
               for i, e in enumerate(encodings)]
    x, b, y = f"tensor<?x{k}xbf16>", f"tensor<{n}xf32>", f"tensor<?x{n}xf32>"
    lines = [f"qlinear.parameter @{w} : {t}\n" for w, t in weights]
    lines.append(f"func.func @{name}(%x: {x}, %b: {b}) -> {y} {{\n")
    lines += [f"  %{w} = qlinear.load @{w} : {t}\n" for w, t in weights]
    lines.append(
        f"  %y = qlinear.linear %x, {', '.join('%' + w for w, _ in weights)} extras(%b)"
        f"{SCHEDULES[0]} : ({x}, {', '.join(t for _, t in weights)}, {b}) -> {y} {{\n"
        "  ^bb0(%p: f32, %q: f32, %bias: f32):\n"
        "    %0 = arith.maximumf %p, %q : f32\n"
        "    %1 = arith.addf %0, %bias : f32\n"
        "    qlinear.yield %1 : f32\n"
        f"  }}\n  return %y : {y}\n}}\n")
    return "".join(lines), [w for w, _ in weights]


def main():
    codes, directory, quant_pack = sys.argv[1:]
    random.seed(codes)
    os.makedirs(directory, exist_ok=True)
    module, arguments, tensors, chosen = [], [], [], []
    cases = [(e, n, k) for e, shapes in matrix.CASES for n, k in shapes]
    for i, (encoding, n, k) in enumerate(cases):
        width = encoding.split(",")[0]
        if codes != ("tables" if matrix.is_table(width) else width[1:]):
            continue
        name, chosen = f"w{i}", [*chosen, encoding]
        x, y = matrix.INPUTS[i % 3], matrix.RESULTS[i // 3 % 3]
        weight = f"!qlinear.weight<{n}x{k}, #qlinear.encoding<{encoding}>>"
        module.append(f"qlinear.parameter @{name} : {weight}\n")
        types = f"tensor<?x{k}x{x}>", f"tensor<?x{n}x{y}>"
        module.append(matrix.linear(f"f{i}", name, weight, *types, schedule_of(i, k)))
        arguments += matrix.pack_arguments(name, encoding)
        tensors.append((name, n, k))
    for name, encodings in ("alike", [chosen[0]] * 2), ("mixed", chosen[:2]):
        text, names = gated(name, encodings, 50, 672)
        module.append(text)
        for weight, encoding in zip(names, encodings):
            arguments += matrix.pack_arguments(weight, encoding)
            tensors.append((weight, 50, 672))
    matrix.write_source(f"{directory}/source.safetensors", tensors)
    matrix.write_layer(directory, module, quant_pack, arguments)


if __name__ == "__main__":
    main()
