#!/usr/bin/env python3
# ===- layers.py - The benchmark's layers as MLIR -------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Writes the MLIR of the workload's layers in one encoding.

    layers.py row-u8 > row-u8.mlir
    quant-compile row-u8.mlir --target=cuda:sm_90 -o row-u8.so

For each shape of Workload.h a function of that name takes bf16 activations, and
one with the suffix _i8 takes activations that a producer has quantized. With -float after
the encoding the first multiplies them as they are.
"""
import argparse

SHAPES = {  # name: (N, K, code bits), as in Workload.h
    "qkv": (16384, 5376, 4), "o": (5376, 8192, 4),
    "gate_up": (43008, 5376, 4), "down": (5376, 21504, 4),
    "qk": (18432, 5376, 4), "o_global": (5376, 16384, 4),
    "kv": (4096, 5376, 4), "lm_head": (262144, 5376, 6), "q": (8192, 5376, 4),
    "gate": (21504, 5376, 4), "k_global": (2048, 5376, 4),
}
# How often a token uses each, fused (chainOf in Workload.h).
CHAIN = {"qkv": 50, "o": 50, "qk": 10, "o_global": 10, "gate_up": 60, "down": 60, "lm_head": 1}
# The orders of them (kChains in Workload.h).
CHAINS = ["interleaved", "grouped", "unfused", "unfused-grouped"]
INT4 = {
    "bf16": "u4, group = 32, zero, scale = bf16, offset = bf16",
    "row-u8": "u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>",
    "block-u8": "u4, group = 32, zero, scale = u8 * block<256, f16>, "
                "offset = u8 * block<256, f16>",
    "k-quant": "u4, group = 32, min, scale = u6 * block<256, f16>, "
               "offset = u6 * block<256, f16>",
    "delta": "u4, group = 32, zero, scale = delta12 * row<bf16>, offset = u4",
    "log": "u4, group = 32, zero, scale = log8 * row<f32>, offset = u4",
    # What `auto` takes for integer zeros and bf16 scales: exact.
    "auto": "u4, group = 32, zero, scale = delta10 * row<bf16>, offset = u4",
}
# Formats of checkpoints, of other bits, too, in the place of 4; the head is as with "k-quant".
FORMATS = {
    "q2-k": "u2, group = 16, min, scale = u4 * block<256, f16>, offset = u4 * block<256, f16>",
    "q3-k": "i3, group = 16, symmetric, scale = i6 * block<256, f16>",
    "q5-k": "u5, group = 32, min, scale = u6 * block<256, f16>, offset = u6 * block<256, f16>",
    "q8-0": "i8, group = 32, symmetric, scale = f16",
    "iq4-nl": "iq4nl, group = 32, symmetric, scale = f16",
    "iq4-xs": "iq4nl, group = 32, symmetric, scale = i6 * block<256, f16>",
    "mxfp4": "e2m1, group = 32, symmetric, scale = e8m0",
    "nvfp4": "e2m1, group = 16, symmetric, scale = e4m3 * row<f32>",
    "nf4": "nf4, group = 64, symmetric, scale = f32",
}
INT6 = {
    "bf16": "i6, group = 16, symmetric, scale = bf16",
    "row-u8": "i6, group = 16, symmetric, scale = i8 * row<bf16>",
    "block-u8": "i6, group = 16, symmetric, scale = i8 * block<256, f16>",
    "k-quant": "i6, group = 16, symmetric, scale = i8 * block<256, f16>",
    "delta": "i6, group = 16, symmetric, scale = i8 * row<bf16>",
    "log": "i6, group = 16, symmetric, scale = i8 * row<bf16>",
    "auto": "i6, group = 16, symmetric, scale = delta10 * row<bf16>",
}
ENCODINGS = [name + end for end in ("", "-float") for name in (*INT4, *FORMATS)]
FLOAT = "activations = #qlinear.activation_format<float>"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("encoding", choices=ENCODINGS, metavar="ENCODING",
                        help=", ".join(ENCODINGS))
    parser.add_argument("--shapes", default=",".join(SHAPES), help="comma-separated names")
    parser.add_argument("--no-int8", action="store_true", help="no layers of int8 activations")
    parser.add_argument("--schedule", help="a #qlinear.schedule for all layers")
    args = parser.parse_args()
    encoding = args.encoding.removesuffix("-float")
    fields = [] if encoding == args.encoding else [FLOAT]
    fields += [f"schedule = {args.schedule}"] if args.schedule else []
    print(f"#int4 = #qlinear.encoding<{(INT4 | FORMATS)[encoding]}>")
    print(f"#int6 = #qlinear.encoding<{INT6.get(encoding, INT6['k-quant'])}>")
    for name in args.shapes.split(","):
        n, k, bits = SHAPES[name]
        weight = f"!qlinear.weight<{n}x{k}, #int{bits}>"
        print(f'qlinear.parameter @{name}_weight : {weight} from "{name}"')
        inputs = {"": f"tensor<?x{k}xbf16>", "_i8": f"!qlinear.activations<?x{k}>"}
        for suffix, x in inputs.items():
            if suffix and args.no_int8:
                continue
            listed = [f for f in fields if not suffix or f != FLOAT]
            format_ = f" {{{', '.join(listed)}}}" if listed else ""
            y = f"tensor<?x{n}xbf16>"
            print(f"func.func @{name}{suffix}(%x: {x}) -> {y} {{")
            print(f"  %w = qlinear.load @{name}_weight : {weight}")
            print(f"  %y = qlinear.linear %x, %w{format_} : ({x}, {weight}) -> {y}")
            print(f"  return %y : {y}\n}}")


if __name__ == "__main__":
    main()
