# ===- invariant.py - Linears whose rows may not depend on others ---*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Writes linears of long rows with a tail, and their packed weights.

usage: invariant.py TARGET DIRECTORY QUANT-PACK

TARGET is cpu, where kernels are left to the compiler, or emulated, where each linear has
kernels for three numbers of rows.
"""

import os
import random
import sys

import matrix

K = 1504
ENCODINGS = [
    "u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>",
    "u4, group = 32, min, scale = u6 * block<256, f16>, offset = u6 * block<256, f16>",
    "i6, group = 16, symmetric, scale = i8 * block<256, f16>",
    "i8, group = 32, symmetric, scale = f16",
]
# (tokens, other fields) of kernels for up to 16, up to 35 and any number of rows.
KERNELS = {
    "wgmma": [(16, "warps = 4, tiles = 1"), (32, "warps = 8, tiles = 1"),
              (64, "warps = 4, tiles = 2")],
    "mma": [(16, "warps = 2, tiles = 1"), (32, "warps = 2, tiles = 2"),
            (64, "warps = 1, tiles = 1")],
}
SPLIT = {"wgmma": 1, "mma": 2}


def schedule(dot):
    kernels = [
        f"#qlinear.gemm<rows = {rows}, tokens = {tokens}, dot = {dot}, copy = bulk, grid = 4, "
        f"{fields}, stages = 2, split_k = {SPLIT[dot]}>"
        for rows, (tokens, fields) in zip([16, 35, "any"], KERNELS[dot])
    ]
    return f"schedule = #qlinear.schedule<kernels = [{', '.join(kernels)}]>"


def main():
    target, directory, quant_pack = sys.argv[1:]
    random.seed("invariant")
    os.makedirs(directory, exist_ok=True)
    module, arguments, tensors = [], [], []
    for i, encoding in enumerate(ENCODINGS):
        n = 50 + 40 * i
        weight = f"!qlinear.weight<{n}x{K}, #qlinear.encoding<{encoding}>>"
        module.append(f"qlinear.parameter @w{i} : {weight}\n")
        tensors.append((f"w{i}", n, K))
        arguments += matrix.pack_arguments(f"w{i}", encoding)
        if target == "cpu":
            ways = {"int8": "", "float": matrix.FLOAT}
        else:
            ways = {dot: schedule(dot) for dot in KERNELS}
        for j, (way, fields) in enumerate(ways.items()):
            x = f"tensor<?x{K}x{matrix.INPUTS[(i + j) % 3]}>"
            attributes = f" {{{fields}}}" if fields else ""
            y = f"tensor<?x{n}xf32>"
            module.append(matrix.linear(f"{way}{i}", f"w{i}", weight, x, y, attributes))
    matrix.write_source(f"{directory}/source.safetensors", tensors)
    matrix.write_layer(directory, module, quant_pack, arguments)


if __name__ == "__main__":
    main()
