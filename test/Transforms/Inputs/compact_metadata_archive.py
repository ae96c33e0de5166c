# ===- compact_metadata_archive.py - Its checkpoints -----------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Checkpoints of random weights for compact-metadata-archive.test.

usage: compact_metadata_archive.py DIRECTORY
       compact_metadata_archive.py DIRECTORY REWRITTEN

The first form writes DIRECTORY/a.gguf (one tensor is Q4_K, one Q8_0) and
DIRECTORY/floats.safetensors. The second compares what DIRECTORY/packed.safetensors and
REWRITTEN stand for, both unpacked to floats by quant-pack.
"""

import json
import os
import random
import struct
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "Tools", "quant-pack", "Inputs"))


def floats(directory, archive):
    path = f"{directory}/unpacked.safetensors"
    subprocess.run(
        ["quant-pack", archive, "-o", path, "--dequantize", "f32", "--quiet"], check=True
    )
    with open(path, "rb") as f:
        blob = f.read()
    (size,) = struct.unpack("<Q", blob[:8])
    header, data = json.loads(blob[8 : 8 + size]), blob[8 + size :]
    values = {}
    for name, tensor in header.items():
        if name != "__metadata__":
            raw = data[slice(*tensor["data_offsets"])]
            values[name] = struct.unpack(f"<{len(raw) // 4}f", raw)
    return values


def write(directory):
    from checkpoints import write_gguf

    write_gguf(
        f"{directory}/a.gguf",
        {"blk.0.ffn_gate.weight": ("Q4_K", 48, 512), "blk.0.ffn_up.weight": ("Q8_0", 32, 256)},
    )
    header, data = {}, b""
    for name, n, k in [("gate.weight", 33, 96), ("up.weight", 16, 512), ("lm_head.weight", 8, 64)]:
        start = len(data)
        data += struct.pack(f"<{n * k}f", *(random.gauss(0, 0.05) for _ in range(n * k)))
        header[name] = {"dtype": "F32", "shape": [n, k], "data_offsets": [start, len(data)]}
    text = json.dumps(header).encode()
    with open(f"{directory}/floats.safetensors", "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)


def compare(directory, rewritten):
    before = floats(directory, f"{directory}/packed.safetensors")
    after = floats(directory, rewritten)
    assert before.keys() == after.keys(), (before.keys(), after.keys())
    for name, want in before.items():
        error = sum((a - b) ** 2 for a, b in zip(want, after[name]))
        norm = sum(a * a for a in want)
        # 40 dB for 8-bit scales and zeros; the float tensor is carried over.
        limit = 0 if name == "lm_head.weight" else norm * 10**-4
        assert len(want) == len(after[name]) and error <= limit, (name, error, norm)


if len(sys.argv) == 2:
    write(sys.argv[1])
else:
    compare(*sys.argv[1:])
