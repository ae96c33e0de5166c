# ===- to_reference_archive.py - The reference of an archive -------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
#
# Packs random weights, and compares what qlinear-to-reference reads from the
# archive with what quant-pack unpacks: no code is shared above the codec, and
# values must be equal.
#
# Usage: to_reference_archive.py OUT (writes OUT.safetensors, the archive)

import json
import random
import struct
import subprocess
import sys

import to_reference

SHAPES = {
    "blk.0.up": ("int4:32:zero", "row-u8", 21, 160),
    "blk.0.down": ("int6:16", "lossless", 5, 272),
    "blk.1.up": ("int8:32", "bf16", 1, 64),
    "blk.1.gate": ("int5:64:min", "block-u8", 17, 320),
    "blk.1.down": ("iq4nl:32", "row-u8", 19, 288),
    "blk.2.up": ("example2:16", "row-u8", 17, 48),
    "blk.2.gate": ("example3:64", "bf16", 3, 320),
    "blk.2.down": ("example8:32", "block-u8", 18, 544),
    "blk.3.up": ("mxfp4", "auto", 17, 96),
    "blk.3.down": ("nvfp4", "auto", 18, 272),
}


def write(path, tensors):
    header, data = {}, b""
    for name, rows in tensors.items():
        raw = b"".join(struct.pack(f"<{len(row)}f", *row) for row in rows)
        offsets = [len(data), len(data) + len(raw)]
        shape = [len(rows), len(rows[0])]
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": offsets}
        data += raw
    text = json.dumps(header).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)


def read(path):
    """The header, and the tensors' bytes by name."""
    with open(path, "rb") as f:
        blob = f.read()
    (size,) = struct.unpack("<Q", blob[:8])
    header, data = json.loads(blob[8 : 8 + size]), blob[8 + size :]
    return header, {
        name: data[slice(*t["data_offsets"])] for name, t in header.items() if name[0] != "_"
    }


def main():
    out = sys.argv[1]
    seed = random.randrange(1 << 30)
    print("seed", seed)
    rng = random.Random(seed)
    source, packed, plain = out + ".source", out + ".safetensors", out + ".plain"
    shapes = {name: (N, K) for name, (_, _, N, K) in SHAPES.items()}
    floats = {
        name: [[rng.gauss(0.01, 0.05) for _ in range(K)] for _ in range(N)]
        for name, (N, K) in shapes.items()
    }
    write(source, floats)
    pack = ["quant-pack", "--quiet", source, "-o", packed]
    for name, (codes, encoding, _, _) in SHAPES.items():
        pack += ["--quantize", f"^{name}$={codes}", "--encoding", f"^{name}$={encoding}"]
    subprocess.run(pack, check=True)
    command = ["quant-pack", "--quiet", packed, "-o", plain, "--dequantize", "f32"]
    subprocess.run(command, check=True)

    header, _ = read(packed)
    weights = json.loads(header["__metadata__"]["qlinear"])["weights"]
    _, unpacked = read(plain)
    for name, (N, K) in shapes.items():
        type = f"!qlinear.weight<{N}x{K}, #qlinear.encoding<{weights[name]['encoding']}>>"
        tensor = f"tensor<{N}x{K}xf32>"
        body = f"""%w = qlinear.load @w : {type}
            %d = qlinear.dequantize %w : {type} -> {tensor}"""
        module = f'qlinear.parameter @w : {type} from "{name}"'
        results = [("%d", tensor, (N, K))]
        (actual,) = to_reference.run(body, results, "weights=" + packed, module)
        values = struct.unpack(f"<{N * K}f", unpacked[name])
        expected = [list(values[n * K : (n + 1) * K]) for n in range(N)]
        to_reference.check(f"{name}: {weights[name]['encoding']}", actual, expected)
    if to_reference.failures:
        sys.exit(f"{to_reference.failures} failures with seed {seed}")


if __name__ == "__main__":
    main()
