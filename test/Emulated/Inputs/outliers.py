# ===- outliers.py - Rows of which one group is much larger --------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Writes a module of linears for many tokens whose rows have one group, anywhere, that is
100 times larger than the others, and their weights, packed.

usage: outliers.py DIRECTORY QUANT-PACK

Such a row's scales differ by far more than f16 has bits, so a kernel that keeps them in
f16 has to find a power of two for all of them: the many small groups must not be rounded
to steps that together matter beside the large one. K is that of a long row.
"""

import json
import os
import random
import struct
import sys

import matrix

ENCODINGS = [
    "u4, group = 32, zero, scale = bf16, offset = bf16",
    "u4, group = 32, zero, scale = delta12 * row<bf16>, offset = u4",
    "u4, group = 32, min, scale = u6 * block<256, f16>, offset = u6 * block<256, f16>",
    "u4, group = 32, zero, scale = log8 * row<f32>, offset = u4",
    "i6, group = 16, symmetric, scale = i8 * block<256, f16>",
    "i8, group = 32, symmetric, scale = f16",
]
SCHEDULES = [
    "tokens = 16, dot = mma, copy = bulk, warps = 2, tiles = 1, stages = 2",
    "tokens = 16, dot = wgmma, copy = bulk, warps = 4, tiles = 1, stages = 2",
]
N, K, GROUP, LARGE = 32, 20480, 32, 100


def row():
    """Floats: those of one group are LARGE times as large as the others."""
    at = random.randrange(K // GROUP) * GROUP
    return [
        random.uniform(-1, 1) * (LARGE if at <= k < at + GROUP else 1) for k in range(K)
    ]


def main():
    directory, quant_pack = sys.argv[1:]
    random.seed("outliers")
    os.makedirs(directory, exist_ok=True)
    module, arguments = [], []
    header, size = {}, 4 * N * K
    for i, encoding in enumerate(ENCODINGS):
        header[f"w{i}"] = {"dtype": "F32", "shape": [N, K],
                           "data_offsets": [i * size, (i + 1) * size]}
        arguments += matrix.pack_arguments(f"w{i}", encoding)
        weight = f"!qlinear.weight<{N}x{K}, #qlinear.encoding<{encoding}>>"
        module.append(f"qlinear.parameter @w{i} : {weight}\n")
        for j, fields in enumerate(SCHEDULES):
            kernel = f"#qlinear.gemm<rows = any, {fields}>"
            attributes = f" {{schedule = #qlinear.schedule<kernels = [{kernel}]>}}"
            types = f"tensor<?x{K}xf32>", f"tensor<?x{N}xf32>"
            module.append(matrix.linear(f"f{i}_{j}", f"w{i}", weight, *types, attributes))
    text = json.dumps(header).encode()
    with open(f"{directory}/source.safetensors", "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for _ in range(len(ENCODINGS) * N):
            f.write(struct.pack(f"<{K}f", *row()))
    matrix.write_layer(directory, module, quant_pack, ["--minmax", *arguments])


if __name__ == "__main__":
    main()
