# ===- layers.py - MLIR for the linear layers of an archive -------- -*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Writes a module with one function per weight of a packed archive.

    layers.py ARCHIVE [-o layers.mlir]

Each function takes `tensor<?xK>` and returns `x * W^T`. The weights stay in the
archive: the module has their names and encodings.
"""

import argparse
import json
import re
import struct
import sys


def packed_weights(archive):
    """{name: {"encoding": ..., "n": ..., "k": ...}} of a packed archive, from the
    `qlinear` entry of its safetensors header."""
    with open(archive, "rb") as f:
        (size,) = struct.unpack("<Q", f.read(8))
        header = json.loads(f.read(size))
    metadata = header.get("__metadata__", {})
    if "qlinear" not in metadata:
        raise ValueError(f"{archive} is not a packed archive: its metadata has no 'qlinear'")
    return json.loads(metadata["qlinear"])["weights"]


def symbol(name):
    """A function name for a weight: `encoder.layer.0.output.dense.weight` becomes
    `layer_0_output_dense`."""
    name = re.sub(r"^encoder\.|\.weight$", "", name)
    return re.sub(r"\W", "_", name)


def module(weights, dtype="f32"):
    encodings = {}  # spelling -> alias
    for weight in weights.values():
        encodings.setdefault(weight["encoding"], f"#e{len(encodings)}")
    lines = [f"{alias} = #qlinear.encoding<{text}>" for text, alias in encodings.items()]
    for name, weight in weights.items():
        n, k, f = weight["n"], weight["k"], symbol(name)
        x, y = f"tensor<?x{k}x{dtype}>", f"tensor<?x{n}x{dtype}>"
        w = f"!qlinear.weight<{n}x{k}, {encodings[weight['encoding']]}>"
        lines += [
            "",
            f'qlinear.parameter @{f}_weight : {w} from "{name}"',
            f"func.func @{f}(%x: {x}) -> {y} {{",
            f"  %w = qlinear.load @{f}_weight : {w}",
            f"  %y = qlinear.linear %x, %w : ({x}, {w}) -> {y}",
            f"  return %y : {y}",
            "}",
        ]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archive")
    parser.add_argument("-o", "--output", default="-")
    parser.add_argument("--dtype", default="f32", choices=["f32", "f16", "bf16"])
    args = parser.parse_args()
    text = module(packed_weights(args.archive), args.dtype)
    if args.output == "-":
        sys.stdout.write(text)
    else:
        with open(args.output, "w") as f:
            f.write(text)


if __name__ == "__main__":
    main()
