# ===- matrix.py - Layers over every kind of encoding and odd shapes -*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Writes a module with two linears per case, one that quantizes its activations and one
that does not, and what quant-pack needs for it.

usage: matrix.py CODES DIRECTORY QUANT-PACK

CODES picks the cases: 2 (integers of 2 and 3 bits), 4, 5, 6, 8 or tables. DIRECTORY
gets layer.mlir, and weights.safetensors with random weights, packed by QUANT-PACK.
"""

import json
import os
import random
import struct
import subprocess
import sys

# Encoding and shapes (N, K). Between them: every form, group, storage and scope; K a
# multiple of the group only, tails of one to seven chunks, N of one row, of less than
# a tile, and past one.
CASES = [
    # 4 bits. The row-u8, Q4_K, Q4_1 and Q4_0 layouts first.
    (
        "u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>",
        [(33, 384), (1, 7392)],
    ),
    (
        "u4, group = 32, min, scale = u6 * block<256, f16>, offset = u6 * block<256, f16>",
        [(33, 384), (7, 7392)],
    ),
    ("u4, group = 32, min, scale = f16, offset = f16", [(33, 384)]),
    ("i4, group = 32, symmetric, scale = f16", [(7, 416)]),
    ("u4, group = 16, zero, scale = u8 * row<f16>, offset = u4", [(33, 400)]),
    ("u4, group = 32, zero, scale = bf16, offset = bf16", [(33, 96)]),
    (
        "u4, group = 32, zero, scale = u8 * block<256, f16>, offset = u8 * block<256, f16>",
        [(17, 608)],
    ),
    ("u4, group = 32, zero, scale = delta10 * row<bf16>, offset = u4", [(33, 384)]),
    ("u4, group = 32, zero, scale = delta12 * row<bf16>, offset = u4", [(16, 512)]),
    ("u4, group = 32, zero, scale = log8 * row<f32>, offset = u4", [(33, 384)]),
    ("u4, group = 32, centred, scale = log8 * row<f32>, offset = i8 * row<bf16>", [(33, 384)]),
    ("u4, group = 64, zero, scale = f32, offset = f32", [(33, 448)]),
    ("u4, group = 64, centred, scale = u8 * row<f32>, offset = i6 * block<256, bf16>", [(7, 832)]),
    ("u4, group = 128, zero, scale = bf16, offset = u4", [(33, 384)]),
    ("u4, group = 256, min, scale = u8 * block<256, f32>, offset = u8 * row<bf16>", [(33, 768)]),
    ("u4, group = row, zero, scale = f32, offset = f32", [(33, 100), (1, 32)]),
    ("u4, group = row, centred, scale = u8 * row<bf16>, offset = i8 * row<bf16>", [(7, 264)]),
    # 5 bits. Q5_K, Q5_1, Q5_0.
    (
        "u5, group = 32, min, scale = u6 * block<256, f16>, offset = u6 * block<256, f16>",
        [(33, 384), (7, 7392)],
    ),
    ("u5, group = 32, min, scale = f16, offset = f16", [(33, 416)]),
    ("i5, group = 32, symmetric, scale = f16", [(1, 384)]),
    ("u5, group = 16, zero, scale = bf16, offset = u6 * row<bf16>", [(33, 400)]),
    ("u5, group = 128, centred, scale = log8 * row<bf16>, offset = bf16", [(7, 896)]),
    ("u5, group = row, min, scale = f32, offset = f32", [(33, 70)]),
    # 6 bits. Q6_K, the 8-bit scales per row, offsets.
    ("i6, group = 16, symmetric, scale = i8 * block<256, f16>", [(33, 384), (7, 7392)]),
    ("i6, group = 16, symmetric, scale = i8 * row<bf16>", [(33, 400), (1, 2064)]),
    ("u6, group = 32, zero, scale = u8 * row<bf16>, offset = u6", [(33, 416)]),
    ("u6, group = 64, min, scale = f16, offset = f32", [(7, 448)]),
    ("i6, group = 256, symmetric, scale = f32", [(33, 512)]),
    ("i6, group = row, symmetric, scale = bf16", [(17, 100)]),
    # 8 bits. Q8_0.
    ("i8, group = 32, symmetric, scale = f16", [(33, 384), (7, 7392)]),
    ("i8, group = 16, symmetric, scale = u8 * block<256, bf16>", [(33, 400)]),
    ("u8, group = 128, zero, scale = bf16, offset = u8", [(33, 384)]),
    ("u8, group = 32, min, scale = u8 * row<f32>, offset = f16", [(1, 416)]),
    ("i8, group = row, symmetric, scale = f32", [(33, 100)]),
    # Codes of a table. IQ4_NL, IQ4_XS, MXFP4, NVFP4, NF4.
    ("iq4nl, group = 32, symmetric, scale = f16", [(33, 384), (7, 7392)]),
    ("iq4nl, group = 32, symmetric, scale = i6 * block<256, f16>", [(33, 416), (1, 7424)]),
    ("e2m1, group = 32, symmetric, scale = e8m0", [(33, 416), (7, 7392)]),
    ("e2m1, group = 16, symmetric, scale = e4m3 * row<f32>", [(33, 400), (7, 7392)]),
    ("e2m1, group = 16, symmetric, scale = e4m3", [(17, 272)]),
    ("e2m1, group = row, symmetric, scale = e8m0", [(33, 100)]),
    ("nf4, group = 64, symmetric, scale = f32", [(33, 448), (7, 7424)]),
    ("nf4, group = 16, symmetric, scale = u8 * row<bf16>", [(33, 400)]),
    ("nf4, group = row, symmetric, scale = f32", [(17, 100)]),
    ("example4, group = 16, symmetric, scale = u8 * row<bf16>", [(33, 400)]),
    ("example4, group = 128, symmetric, scale = log8 * row<f32>", [(17, 640)]),
    ("example4, group = row, symmetric, scale = f32", [(33, 100)]),
    ("example2, group = 32, symmetric, scale = bf16", [(17, 384)]),
    ("example3, group = 16, symmetric, scale = u8 * block<256, f16>", [(33, 400)]),
    ("example8, group = 32, symmetric, scale = f16", [(33, 416)]),
    ("example8, group = 16, symmetric, scale = i8 * row<bf16>", [(17, 272)]),
    ("example8, group = row, symmetric, scale = f32", [(33, 100)]),
    # 2 and 3 bits. Q2_K, Q3_K.
    (
        "u2, group = 16, min, scale = u4 * block<256, f16>, offset = u4 * block<256, f16>",
        [(33, 400), (7, 7424)],
    ),
    ("i3, group = 16, symmetric, scale = i6 * block<256, f16>", [(33, 400), (7, 7424)]),
    ("u2, group = 32, zero, scale = bf16, offset = u4", [(33, 416), (1, 7392)]),
    ("i2, group = 64, symmetric, scale = f16", [(17, 448)]),
    ("u2, group = 128, centred, scale = log8 * row<f32>, offset = bf16", [(33, 384)]),
    ("u2, group = row, min, scale = f32, offset = f32", [(33, 100)]),
    ("u3, group = 32, zero, scale = u8 * row<bf16>, offset = u4", [(33, 416), (1, 7392)]),
    ("u3, group = 64, centred, scale = bf16, offset = i8 * row<bf16>", [(17, 576)]),
    ("u3, group = 128, min, scale = f16, offset = f16", [(33, 384)]),
    ("i3, group = row, symmetric, scale = f32", [(33, 100)]),
]


def is_table(codes):
    """Whether such codes index a table: integers are spelled u4, i8, ..."""
    return len(codes) > 2


def kind_of(codes):
    """The CODES that such codes are among."""
    return "tables" if is_table(codes) else "2" if codes[1:] == "3" else codes[1:]


def quantization(encoding):
    """What --quantize of quant-pack says for an encoding's codes: int4:32:zero."""
    width, group, form = (word.strip() for word in encoding.split(",")[:3])
    kind = width if is_table(width) else "int" + width[1:]
    return f"{kind}:{group.removeprefix('group = ')}:{form}"


def pack_arguments(name, encoding):
    """Options of quant-pack for a weight of an encoding."""
    return ["--quantize", f"^{name}$={quantization(encoding)}",
            "--encoding", f"^{name}$={encoding}"]


def linear(function, name, weight, x, y, attributes=""):
    """A function with one linear of x, of a parameter `name` of type `weight`."""
    return (
        f"func.func @{function}(%x: {x}) -> {y} {{\n"
        f"  %w = qlinear.load @{name} : {weight}\n"
        f"  %y = qlinear.linear %x, %w{attributes} : ({x}, {weight}) -> {y}\n"
        f"  return %y : {y}\n}}\n"
    )


def write_layer(directory, module, quant_pack, arguments):
    """layer.mlir of the pieces of a module, and weights.safetensors of source.safetensors."""
    with open(f"{directory}/layer.mlir", "w") as f:
        f.write("\n".join(module))
    subprocess.run(
        [quant_pack, f"{directory}/source.safetensors", "-o", f"{directory}/weights.safetensors",
         "--include", ".", "--quiet", *arguments],
        check=True,
    )


def schedule(rows, fields, more=""):
    """A schedule attribute: a kernel for each of `rows`, all with the same fields."""
    kernels = ", ".join(f"#qlinear.gemv<rows = {r}, {fields}>" for r in rows)
    return f" {{schedule = #qlinear.schedule<kernels = [{kernels}]{more}>}}"


# Row variants and ways to fetch weights. The first leaves all to the cost model: every
# variant, which takes three times as long to compile as the others.
SCHEDULES = [
    "",
    schedule([1, 4], "warps = 4, stages = 3, copy = bulk", ", pdl = true"),
    schedule([2, 4], "warps = 2, copy = load", ", pdl = false"),
    schedule([1, 3], "warps = 4, stages = 2, copy = async", ", pdl = false"),
    schedule([4], "warps = 3, stages = 3, copy = bulk", ", quantize = separate, pdl = false"),
]
FLOAT = "activations = #qlinear.activation_format<float>"
INPUTS = ["bf16", "f16", "f32"]
RESULTS = ["f32", "bf16", "f16"]


def with_floats(schedule):
    """A schedule attribute with activations that stay floats."""
    return " {" + FLOAT + (f", {schedule[2:]}" if schedule else "}")


def random_bf16(count):
    """Numbers of both signs of magnitude 2^-8 to 2^-4, as BF16."""
    data = bytearray(2 * count)
    data[0::2] = random.randbytes(count)
    data[1::2] = random.randbytes(count).translate(
        bytes((b & 0x80) | 0x3C | (b & 1) for b in range(256))
    )
    return bytes(data)


def write_source(path, tensors):
    """A safetensors file with random BF16 matrices: tensors is [(name, N, K)]."""
    header, offset = {}, 0
    for name, n, k in tensors:
        data = [offset, offset + 2 * n * k]
        header[name] = {"dtype": "BF16", "shape": [n, k], "data_offsets": data}
        offset += 2 * n * k
    text = json.dumps(header).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for _, n, k in tensors:
            for _ in range(n):
                f.write(random_bf16(k))


def main():
    codes, directory, quant_pack = sys.argv[1:]
    random.seed(codes)
    os.makedirs(directory, exist_ok=True)
    module, arguments, tensors = [], [], []
    # Cases differ in types by their place in the whole list.
    cases = [(e, n, k) for e, shapes in CASES for n, k in shapes]
    for i, (encoding, n, k) in enumerate(cases):
        width = encoding.split(",")[0]
        if codes != kind_of(width):
            continue
        name = f"w{i}"
        x, y = INPUTS[i % 3], RESULTS[i // 3 % 3]
        weight = f"!qlinear.weight<{n}x{k}, #qlinear.encoding<{encoding}>>"
        module.append(f"qlinear.parameter @{name} : {weight}\n")
        floats = with_floats(SCHEDULES[(i + 2) % 5])
        for function, attributes in (f"f{i}", SCHEDULES[i % 5]), (f"g{i}", floats):
            types = f"tensor<?x{k}x{x}>", f"tensor<?x{n}x{y}>"
            module.append(linear(function, name, weight, *types, attributes))
        arguments += pack_arguments(name, encoding)
        tensors.append((name, n, k))
    write_source(f"{directory}/source.safetensors", tensors)
    write_layer(directory, module, quant_pack, arguments)


if __name__ == "__main__":
    main()
