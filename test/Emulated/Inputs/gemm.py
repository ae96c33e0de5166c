# ===- gemm.py - Layers of many tokens, every kind of encoding ------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Writes a module with a linear per case of matrix.py, whose kernels are for many
tokens, and layers of several weights; and what quant-pack needs for it.

usage: gemm.py CODES DIRECTORY QUANT-PACK

Arguments and files as of matrix.py.
"""

import os
import random
import sys

import matrix

# Rings of both kinds, one tile of a warp or several, fewer tiles than warps and more
# jobs than blocks, blocks that share K, tokens that are no power of two.
SCHEDULES = [
    "",
    "tokens = 16, dot = mma, copy = bulk, warps = 3, tiles = 2, stages = 2",
    "tokens = 32, dot = mma, copy = async, warps = 2, tiles = 1, stages = 3",
    "tokens = 16, dot = mma, copy = bulk, warps = 1, tiles = 4, stages = 2, grid = 1",
    "tokens = 64, dot = wgmma, copy = bulk, warps = 4, tiles = 2, stages = 2",
    "tokens = 16, dot = mma, copy = bulk, warps = 4, tiles = 1, split_k = 2, grid = 2",
    "tokens = 128, dot = wgmma, warps = 4, tiles = 2, stages = 2, grid = 3",
    "tokens = 256, dot = wgmma, warps = 8, tiles = 1, stages = 2, grid = 2, split_k = 1",
    "tokens = 48, dot = wgmma, warps = 4, tiles = 2, stages = 2, grid = 3",
    "tokens = 80, dot = mma, copy = bulk, warps = 2, tiles = 1, stages = 2",
    "tokens = 160, dot = wgmma, warps = 4, tiles = 1, stages = 2, grid = 2",
    "tokens = 112, dot = wgmma, warps = 8, tiles = 1, stages = 2",
]
BODY = """ {{
  ^bb0(%a: f32, %c: f32, %bias: f32, %more: {more}):
    %m = arith.maximumf %a, %c : f32
    %s = arith.addf %m, %bias : f32
    %e = arith.extf %more : {more} to f32
    %t = arith.addf %s, %e : f32
    qlinear.yield %t : f32
  }}"""


def attribute(fields, pdl):
    """A schedule with one kernel, for any number of rows."""
    kernel = "#qlinear.gemm<rows = any" + (f", {fields}" if fields else "") + ">"
    return f"{{schedule = #qlinear.schedule<kernels = [{kernel}], pdl = {str(bool(pdl)).lower()}>}}"


def main():
    codes, directory, quant_pack = sys.argv[1:]
    random.seed(codes)
    os.makedirs(directory, exist_ok=True)
    module, arguments, tensors = [], [], []
    count = 0

    def parameter(encoding, n, k):
        """A weight of the archive: its name and type."""
        name = f"w{len(tensors)}"
        weight = f"!qlinear.weight<{n}x{k}, #qlinear.encoding<{encoding}>>"
        module.append(f"qlinear.parameter @{name} : {weight}\n")
        arguments.extend(matrix.pack_arguments(name, encoding))
        tensors.append((name, n, k))
        return name, weight

    def several(encodings, n, k, fields, glu):
        """A linear of several weights, with an epilogue of two of them or none."""
        nonlocal count
        weights = [parameter(e, rows, k) for e, rows in zip(encodings, n)]
        loads = "".join(f"  %w{i} = qlinear.load @{w[0]} : {w[1]}\n"
                        for i, w in enumerate(weights))
        names = ", ".join(f"%w{i}" for i in range(len(weights)))
        types = ", ".join(w[1] for w in weights)
        x = f"tensor<?x{k}xbf16>"
        extras = [f"tensor<{n[0]}xf32>", f"tensor<?x{n[0]}xbf16>"] if glu else []
        results = [f"tensor<?x{n[0]}xf32>"] if glu else [f"tensor<?x{rows}xf16>" for rows in n]
        out = ", ".join(results)
        more = ", ".join(f"%e{i}: {e}" for i, e in enumerate(extras))
        use = f" extras({', '.join(f'%e{i}' for i in range(len(extras)))})" if glu else ""
        values = ", ".join(f"%y#{i}" if len(results) > 1 else "%y" for i in range(len(results)))
        bind = f"%y:{len(results)}" if len(results) > 1 else "%y"
        module.append(
            f"func.func @s{count}(%x: {x}{', ' + more if glu else ''}) -> ({out}) {{\n{loads}"
            f"  {bind} = qlinear.linear %x, {names}{use}"
            + f" {attribute(fields, count % 2)}"
            + f" : ({', '.join([x, types, *extras])}) -> ({out})"
            + (BODY.format(more="bf16") if glu else "")
            + "\n"
            f"  return {values} : {out}\n}}\n"
        )
        count += 1

    cases = [(e, n, k) for e, shapes in matrix.CASES for n, k in shapes]
    chosen = []
    for i, (encoding, n, k) in enumerate(cases):
        width = encoding.split(",")[0]
        if codes not in (width, matrix.kind_of(width)):
            continue
        chosen.append(encoding)
        fields = SCHEDULES[i % len(SCHEDULES)]
        if "split_k" in fields and k <= 256:
            fields = ""
        x, y = matrix.INPUTS[i % 3], matrix.RESULTS[i // 3 % 3]
        name, weight = parameter(encoding, n, k)
        taken = f"tensor<?x{k}x{x}>"
        quantize = ""
        if i % 4 == 3:
            quantize = (f"  %q = qlinear.quantize_activations %x : {taken}"
                        f" -> !qlinear.activations<?x{k}>\n")
        operand, type_ = ("%q", f"!qlinear.activations<?x{k}>") if quantize else ("%x", taken)
        module.append(
            f"func.func @f{i}(%x: {taken}) -> tensor<?x{n}x{y}> {{\n"
            f"  %w = qlinear.load @{name} : {weight}\n{quantize}"
            f"  %y = qlinear.linear {operand}, %w {attribute(fields, i % 2)}"
            f" : ({type_}, {weight}) -> tensor<?x{n}x{y}>\n"
            f"  return %y : tensor<?x{n}x{y}>\n}}\n"
        )
    plain = [e for e in chosen if "group = row" not in e and "256" not in e.split(",")[1]]
    first, other = plain[0], plain[1 % len(plain)]
    several([first, first], [50, 50], 640, SCHEDULES[1], glu=True)
    several([first, other], [50, 50], 640, SCHEDULES[1], glu=True)
    several([first, first, other], [70, 16, 33], 640, SCHEDULES[5], glu=False)
    groups = "tokens = 16, dot = wgmma, warps = 8, tiles = 1, stages = 2, grid = 3"
    several([first, first], [150, 150], 1088, groups, glu=True)
    several([first, first, other], [70, 16, 33], 1088, groups, glu=False)
    matrix.write_source(f"{directory}/source.safetensors", tensors)
    matrix.write_layer(directory, module, quant_pack, arguments)


if __name__ == "__main__":
    main()
