# ===- torchao_layout.py - Checkpoints of torchao -------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""torchao's tensor subclasses, flattened as its safetensors support does it, against the
formula of each class."""

import json
import os
import sys

import ml_dtypes
import numpy as np
from checkpoints import fresh, quant_pack
from conventions import NORM, check, each, fails, write
from safetensors import safe_open

fresh(sys.argv[1])
os.mkdir("out")
rng = np.random.default_rng(0)


def dtype(name):
    return {"_type": "torch.dtype", "_data": name}


def flatten(cls, data, version=15, **attributes):
    """(tensors, metadata) of a.b.weight; version 14 names its tensors with a colon."""
    prefix = "a.b.weight:" if version == 14 else "a.b._weight_"
    tensors = {prefix + part: np.ascontiguousarray(t) for part, t in data.items()}
    description = {"_type": cls, "_data": attributes, "_tensor_data_names": list(data)}
    return tensors, {
        "a.b.weight": json.dumps(description),
        "norm.weight": json.dumps({"_type": "Tensor"}),
        "tensor_names": json.dumps(["a.b.weight", "norm.weight"]),
        "format": "pt",
    }


def scales(*shape):
    return (np.exp(rng.normal(size=shape) * 0.3) * 0.01).astype(ml_dtypes.bfloat16)


def passes(cls, data, w, source, version=15, form=None, **attributes):
    tensors, metadata = flatten(cls, data, version, **attributes)
    check(tensors | NORM, {"a.b.weight": w}, source, metadata=metadata, form=form)
    # What described the tensors went with them; the rest stays.
    kept = safe_open("out/p.safetensors", "np").metadata()
    assert "a.b.weight" not in kept and "tensor_names" not in kept and kept["format"] == "pt"


for n, k, group in [(16, 256, 128), (24, 128, 32), (9, 96, 96), (40, 512, 64)]:
    name, blocks = "row" if group == k else group, (n, k // group)
    size = {"block_size": [1, group], "shape": [n, k]}

    # Signed nibbles with float offsets; metadata is transposed.
    q = rng.integers(-8, 8, (n, k))
    s, z = scales(*blocks), (rng.normal(size=blocks) * 0.05).astype(ml_dtypes.bfloat16)
    nibbles = ((q[:, 1::2] << 4) | (q[:, ::2] & 15)).astype(np.int8)
    for version in (14, 15):
        passes(
            "Int4Tensor",
            {"qdata": nibbles, "scale": s.T, "zero_point": z.T},
            each(s, group) * q + each(z, group),
            f"torchao i4:{name}",
            version,
            **size,
            activation_dtype=dtype("bfloat16"),
        )

    # Unsigned nibbles in words with integer zeros.
    u = q + 8
    words = sum(u[:, i::8].astype(np.uint32) << (4 * i) for i in range(8)).view(np.int32)
    z = rng.integers(0, 16, blocks)
    passes(
        "Int4PlainInt32Tensor",
        {"qdata": words, "scale": s.T, "zero_point": z.T.astype(np.int8)},
        each(s, group) * (u - each(z, group)),
        f"torchao u4:{name}",
        **size,
    )

    # Bytes of any width, with integer zeros, float zeros, or zeros that are all 0.
    for bits in range(1, 9):
        code = {1: 2, 7: 8}.get(bits, bits)
        low, high = -(2 ** (bits - 1)), 2 ** (bits - 1)
        q = rng.integers(low, high, (n, k)).astype(np.int8)
        common = {"target_dtype": dtype(f"int{bits}"), "dtype": dtype("bfloat16")}
        zero = [
            rng.integers(low, high, blocks).astype(np.int8),
            rng.normal(size=blocks).astype(ml_dtypes.bfloat16),
            np.zeros(blocks, np.int8),
        ][(bits + n) % 3]
        passes(
            "IntxUnpackedToInt8Tensor",
            {"qdata": q, "scale": s, "zero_point": zero},
            each(s, group) * (q - each(zero, group)),
            f"torchao {'u' if zero.dtype == np.int8 else 'i'}{code}:{name}",
            form=None if zero.any() else "symmetric",
            block_size=[1, group],
            activation_quantization=None,
            **common,
        )

    # int8 per group, per row, and one scale for all.
    for block in ((1, group), (1, k), (n, k)):
        s = scales(n // block[0], k // block[1]).astype(np.float32)
        w = np.repeat(each(s, block[1]), block[0], axis=0) * q
        name = "row" if block[1] == k else group
        for data in ({}, {"zero_point": np.zeros(s.shape, np.int8)}):
            passes(
                "Int8Tensor",
                {"qdata": q, "scale": s} | data,
                w,
                f"torchao {'u' if data else 'i'}8:{name}",
                form="symmetric",
                block_size=list(block),
                dtype=dtype("bfloat16"),
                act_quant_kwargs=None,
            )

# A part in another shard, or another file altogether, is no error by itself.
tensors, metadata = flatten("Int8Tensor", {})
write({"other.weight": np.zeros((2, 32), np.float32)}, metadata=metadata)
quant_pack(".", "-o", "out/p.safetensors")


def declines(cls, data, part, **attributes):
    tensors, metadata = flatten(cls, data, **attributes)
    fails(tensors | NORM, f"weight 'a.b.weight': {part}", metadata=metadata)


n, k = 8, 64
q8 = np.zeros((n, k), np.int8)
s = scales(n, 2)
block = {"block_size": [1, 32]}
for cls in ("Int4TilePackedTo4dTensor", "Float8Tensor", "MXTensor", "Int4PreshuffledTensor"):
    declines(cls, {"qdata": q8, "scale": s}, f"{cls}: its codes are floats or in the order of")
four = {"qdata": np.zeros((n, k // 2), np.int8), "scale": s.T, "zero_point": s.T}
declines("Int4Tensor", four | {"act_pre_scale": s[0]}, "Int4Tensor: has act_pre_scale")
declines(
    "Int4Tensor",
    four | {"scale": s},
    "Int4Tensor: scale must be floats [groups, N = 8], but is BF16 of 8x2",
)
declines("Int4Tensor", {"scale": s.T}, "Int4Tensor: qdata must be an I8 matrix, but is absent")
declines(
    "Int4Tensor",
    four | {"qdata": np.zeros((2, n, k // 2), np.int8)},
    "Int4Tensor: qdata must be an I8 matrix, but is I8 of 2x8x32; only matrices",
)
declines(
    "Int4Tensor",
    four,
    "Int4Tensor: 2 groups of K = 64 columns, but block_size = [1, 16]",
    block_size=[1, 16],
)
declines(
    "Int4Tensor",
    {"qdata": four["qdata"], "scale": scales(3, n), "zero_point": scales(3, n)},
    "Int4Tensor: 3 groups of K = 64 columns; groups of 16, 32",
)
plain = {"qdata": np.zeros((n, k // 8), np.int32), "scale": s.T, "zero_point": s.T}
declines(
    "Int4PlainInt32Tensor",
    plain,
    "Int4PlainInt32Tensor: zero_point must be I8 of 2x8, but is BF16 of 2x8; the form for NPUs",
)
declines("Int8Tensor", {"qdata": q8}, "its scales must be floats, but are absent")
declines(
    "Int8Tensor",
    {"qdata": q8, "scale": scales(3, 2)},
    "scales of 3x2 do not divide codes of 8x64 into blocks",
)
declines(
    "Int8Tensor",
    {"qdata": q8, "scale": s},
    "scales of 8x2 do not divide codes of 8x64 into blocks of 64 columns",
    block_size=[1, 64],
)
declines(
    "Int8Tensor",
    {"qdata": q8, "scale": s, "zero_point": np.zeros((2, 2), np.int8)},
    "its zeros (2x2) must have the shape of its scales (8x2)",
)
declines(
    "Int8Tensor",
    {"qdata": np.zeros((2, n, k), np.int8), "scale": s},
    "its codes must be an I8 matrix, but are I8 of 2x8x64",
)
intx = {"qdata": q8, "scale": s, "zero_point": np.zeros((n, 2), np.int8)}
declines(
    "IntxUnpackedToInt8Tensor", intx, "IntxUnpackedToInt8Tensor: target_dtype '' of its metadata"
)
declines(
    "IntxUnpackedToInt8Tensor",
    intx,
    "IntxUnpackedToInt8Tensor: target_dtype 'int9'",
    target_dtype=dtype("int9"),
)

# Codes outside their type show when the weight is read.
intx["qdata"][3, 5] = -9
tensors, metadata = flatten("IntxUnpackedToInt8Tensor", intx, **block, target_dtype=dtype("int4"))
write(tensors, metadata=metadata)
_, message = quant_pack(".", "-o", "out/x.safetensors", status=1)
assert (
    "'a.b.weight': the code -9 at row 3, column 5 is not one of 4 bits (-8 to 7)" in message
), message
print("torchao: passed")
