# ===- make_archive.py - The archive of layer.c ------------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Writes w.safetensors, x.npy (3 x 64), bias.npy, and y.npy as it should come out.

The packed weight is laid out from the description in docs/encodings.md: no code of
the project takes part.
"""

import json
import math
import os
import random
import struct
import sys
from fractions import Fraction

N, K = 48, 64


def f32(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


def npy(path, shape, values):
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    with open(path, "wb") as file:
        file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)))
        file.write(header.encode() + struct.pack(f"<{len(values)}f", *values))


def pack(codes, scales):
    blob = bytearray()
    for tile in range(N // 16):
        unit = bytearray(1152)
        for row in range(16):
            for k in range(K):
                c, half, i = k // 32, k % 32 // 16, k % 16
                unit[half * 512 + (row * 2 + c) * 16 + i] = codes[tile * 16 + row][k] + 128
            for c in range(2):
                at = 1024 + (row % 4 * 2 + c) * 16 + row // 4 * 4
                unit[at : at + 4] = struct.pack("<f", scales[tile * 16 + row][c])
        blob += unit
    return bytes(blob)


def linear(x, codes, scales):
    """x W^T with x quantized to int8 per 32 columns."""
    y = []
    for row in x:
        quantized = []
        for c in range(K // 32):
            chunk = row[32 * c : 32 * c + 32]
            largest = max(abs(v) for v in chunk)
            inverse = f32(127 / largest)
            d = f32(largest / 127)
            quantized += [d * round(Fraction(v) * Fraction(inverse)) for v in chunk]
        y += [
            math.fsum(quantized[k] * codes[n][k] * scales[n][k // 32] for k in range(K))
            for n in range(N)
        ]
    return y


def main():
    folder = sys.argv[1]
    rng = random.Random(3)
    codes = [[rng.randrange(-128, 128) for _ in range(K)] for _ in range(N)]
    scales = [[f32(rng.uniform(0.001, 0.01)) for _ in range(2)] for _ in range(N)]
    blob = pack(codes, scales)
    info = {"encoding": "i8, group = 32, symmetric, scale = f32", "n": N, "k": K}
    meta = json.dumps({"version": 2, "weights": {"w": {**info, "source": "test"}}})
    header = {
        "__metadata__": {"qlinear": meta},
        "w": {"dtype": "U8", "shape": [len(blob)], "data_offsets": [0, len(blob)]},
    }
    text = json.dumps(header)
    text += " " * (-(len(text) + 8) % 128)
    with open(os.path.join(folder, "w.safetensors"), "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text.encode() + blob)

    x = [[f32(rng.gauss(0, 1)) for _ in range(K)] for _ in range(3)]
    bias = [f32(rng.gauss(0, 1)) for _ in range(N)]
    npy(os.path.join(folder, "x.npy"), (3, K), [v for row in x for v in row])
    npy(os.path.join(folder, "bias.npy"), (N,), bias)
    npy(os.path.join(folder, "want.npy"), (3, N), linear(x, codes, scales))


main()
