# ===- importers.py - Checkpoints of other quantizers ---------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Small checkpoints in the exact layouts of GPTQ, AWQ, compressed-tensors and MLX,
packed without loss, against the formula that each format's documentation gives."""

import json
import os
import sys

import ml_dtypes
import nf4_layout
import numpy as np
from checkpoints import fresh
from conventions import NORM, affine, check, each, pack

fresh(sys.argv[1])
os.mkdir("out")
rng = np.random.default_rng(0)
AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7]

SHAPES = [(40, 256, 128, 4), (16, 512, 64, 4), (24, 256, 32, 8), (8, 384, 384, 4), (32, 384, 32, 2),
          (48, 256, 64, 2), (64, 384, 128, 3), (32, 160, 32, 3), (32, 96, 96, 3)]
for n, k, group, bits in SHAPES:
    name = f"u{bits}:{'row' if group == k else group}"
    q, s, z = affine(n, k, group, bits, rng)
    w = each(s, group) * (q - each(z, group))

    # GPTQ: qweight packs along K, qzeros along N; version 1 stores z - 1.
    layer = {"a.b.qweight": pack(q.T, 0, bits).view(np.int32), "a.b.scales": s.T.copy()}
    index = {"a.b.g_idx": (np.arange(k) // group).astype(np.int32)}
    v1 = {"a.b.qzeros": pack(z.T - 1, 1, bits).view(np.int32)}
    v2 = {"a.b.qzeros": pack(z.T, 1, bits).view(np.int32)}
    check(layer | v1 | index | NORM, {"a.b.weight": w}, f"GPTQ {name}")
    check(
        layer | v1 | NORM,
        {"a.b.weight": w},
        f"GPTQ {name}",
        {"quantization_config": {"bits": bits, "checkpoint_format": "gptq"}},
    )
    check(
        layer | v2 | index | NORM,
        {"a.b.weight": w},
        f"GPTQ v2 {name}",
        {"quantization_config": {"bits": bits, "checkpoint_format": "gptq_v2"}},
    )

    # AWQ: both pack along N, in an order of its own.
    if bits == 4:
        check(
            {
                "a.b.qweight": pack(q.T, 1, 4, AWQ_ORDER).view(np.int32),
                "a.b.qzeros": pack(z.T, 1, 4, AWQ_ORDER).view(np.int32),
                "a.b.scales": s.T.copy(),
            }
            | NORM,
            {"a.b.weight": w},
            f"AWQ {name}",
        )

    # MLX: w = s q + b.
    if group != k:
        b = (rng.normal(size=s.shape) * 0.05).astype(np.float16)
        check(
            {"a.b.weight": pack(q, 1, bits), "a.b.scales": s, "a.b.biases": b} | NORM,
            {"a.b.weight": each(s, group) * q + each(b, group)},
            f"MLX {name}",
            {"quantization": {"group_size": group, "bits": bits}},
        )

    if bits < 4:
        continue
    # compressed-tensors: rows packed along K, biased by half the range.
    half = 2 ** (bits - 1)
    scale = s.astype(ml_dtypes.bfloat16)
    common = {
        "a.b.weight_packed": pack(q, 1, bits).view(np.int32),
        "a.b.weight_scale": scale,
        "a.b.weight_shape": np.array([n, k], np.int64),
    }
    signed = q - half
    check(
        common | NORM,
        {"a.b.weight": each(scale, group) * signed},
        f"compressed-tensors i{name[1:]}",
    )
    check(
        common | {"a.b.weight_zero_point": pack(z, 0, bits).view(np.int32)} | NORM,
        {"a.b.weight": each(scale, group) * (signed - each(z - half, group))},
        f"compressed-tensors {name}",
    )

# Symmetric GPTQ: zeros in the middle are no zeros, whether stored (8 - 1) or left out.
for bits in (2, 4, 8):
    q, s, _ = affine(32, 256, 64, bits, rng)
    middle = 2 ** (bits - 1)
    layer = {"a.b.qweight": pack(q.T, 0, bits).view(np.int32), "a.b.scales": s.T.copy()}
    zeros = {"a.b.qzeros": pack(np.full((4, 32), middle - 1), 1, bits).view(np.int32)}
    w = {"a.b.weight": each(s, 64) * (q - middle)}
    check(layer | zeros | NORM, w, f"GPTQ u{bits}:64", form="symmetric")
    config = {"quantization_config": {"quant_method": "gptq", "bits": bits, "sym": True}}
    check(layer | NORM, w, f"GPTQ i{bits}:64", config, form="symmetric")
    # One group per row, as group_size = -1 writes it.
    row = {"a.b.qweight": pack(q.T, 0, bits).view(np.int32), "a.b.scales": s[:, :1].T.copy()}
    config["quantization_config"]["group_size"] = -1
    check(
        row | NORM, {"a.b.weight": each(s[:, :1], 256) * (q - middle)}, f"GPTQ i{bits}:row", config
    )

# The bias and the other tensors of a layer stay beside its weight.
q, s, z = affine(16, 128, 32, 4, rng)
bias = rng.normal(size=16).astype(np.float16)
floats = check(
    {
        "a.b.qweight": pack(q.T, 1, 4, AWQ_ORDER).view(np.int32),
        "a.b.qzeros": pack(z.T, 1, 4, AWQ_ORDER).view(np.int32),
        "a.b.scales": s.T.copy(),
        "a.b.bias": bias,
    },
    {"a.b.weight": each(s, 32) * (q - each(z, 32))},
    "AWQ u4:32",
    {"quantization_config": {"quant_method": "awq", "version": "gemm", "zero_point": True}},
)
assert floats["a.b.bias"].tobytes() == bias.tobytes()

# 5 and 6 bits cross words in compressed-tensors and MLX; rows and columns may be odd.
for n, k, group, bits in [(16, 64, 32, 5), (19, 96, 16, 6), (7, 100, 100, 5), (33, 52, 52, 4)]:
    q, s, z = affine(n, k, group, bits, rng)
    half, name = 2 ** (bits - 1), f"{bits}:{'row' if group == k else group}"
    common = {
        "a.b.weight_packed": pack(q, 1, bits).view(np.int32),
        "a.b.weight_scale": s,
        "a.b.weight_shape": np.array([n, k], np.int64),
    }
    # As written when no order was chosen.
    unset = {"a.b.weight_g_idx": np.full(k, -1, np.int32)}
    w = {"a.b.weight": each(s, group) * (q - half)}
    check(common | unset | NORM, w, f"compressed-tensors i{name}")
    zeros = {"a.b.weight_zero_point": pack(z, 0, bits).view(np.int32)}
    w = {"a.b.weight": each(s, group) * (q - each(z, group))}
    check(common | zeros | NORM, w, f"compressed-tensors u{name}")
    if k * bits % 32 == 0 and group != k:
        b = (rng.normal(size=s.shape) * 0.05).astype(np.float16)
        check(
            {"a.b.weight": pack(q, 1, bits), "a.b.scales": s, "a.b.biases": b} | NORM,
            {"a.b.weight": each(s, group) * q + each(b, group)},
            f"MLX u{name}",
            # The layer's own numbers win.
            {
                "quantization": {
                    "group_size": 64,
                    "bits": 4,
                    "a.b": {"group_size": group, "bits": bits},
                }
            },
        )

# compressed-tensors, int-quantized: bytes, with scales per row, group or tensor.
q = rng.integers(-128, 128, (12, 96)).astype(np.int8)
for shape, group in (((12, 1), 96), ((12, 3), 32), ((1,), 96), ((), 96)):
    s = (rng.uniform(0.5, 1, shape) * 0.01).astype(ml_dtypes.bfloat16)
    z = rng.integers(-20, 20, shape).astype(np.int8)
    scale = np.broadcast_to(np.asarray(s, np.float64), shape if len(shape) == 2 else (12, 1))
    zero = np.broadcast_to(np.asarray(z, np.float64), scale.shape)
    layer = {"a.b.weight": q, "a.b.weight_scale": np.asarray(s)}
    name = "row" if group == 96 else group
    w = {"a.b.weight": each(scale, group) * q}
    check(layer | NORM, w, f"compressed-tensors i8:{name}", form="symmetric")
    layer["a.b.weight_zero_point"] = np.asarray(z)
    w = {"a.b.weight": each(scale, group) * (q - each(zero, group))}
    check(layer | NORM, w, f"compressed-tensors u8:{name}")
# The plain form: what a quantizer of one's own writes.
for bits, signed, zero_type in [
    (4, False, np.uint8),
    (4, True, None),
    (5, False, np.float32),
    (6, True, np.int8),
    (8, False, np.float16),
    (8, True, None),
]:
    low = -(2 ** (bits - 1)) if signed else 0
    q = rng.integers(low, low + 2**bits, (12, 96))
    s = (rng.uniform(0.5, 1, (12, 3)) * 0.01).astype(np.float16)
    z = rng.normal(size=s.shape) + low + 2 ** (bits - 1) if zero_type else np.zeros(s.shape)
    z = z.astype(zero_type or np.int8)
    w = each(s, 32) * (q - each(z, 32))
    about = {"codes": f"{'i' if signed else 'u'}{bits}", "k": 96, "source": "mine"}
    layer = {"a.b.codes": q.astype(np.int8 if signed else np.uint8), "a.b.scales": s}
    if zero_type:
        layer["a.b.zeros"] = z
    for codes in (layer["a.b.codes"], q[:, ::2] & 15 | (q[:, 1::2] & 15) << 4)[
        : 2 if bits == 4 else 1
    ]:
        layer["a.b.codes"] = codes.astype(np.uint8) if codes.shape[1] == 48 else codes
        source = f"mine {about['codes']}:32"
        check(layer | NORM, {"a.b": w}, source, metadata={"a.b": json.dumps(about), "x": "y"})

# Floats of 4 bits, two to a byte, the even column low, as ml_dtypes decodes them.
FP4 = {"quant_method": "compressed-tensors", "config_groups": {"group_0": {"targets": ["Linear"]}}}


def floats4(n, k, group, scale_type):
    """Codes, scales, and the weights that they are without other factors."""
    q = rng.integers(0, 16, (n, k), np.uint8)
    s = rng.integers(100, 140, (n, k // group), np.uint8)
    if scale_type == ml_dtypes.float8_e4m3fn:
        s = rng.integers(0, 127, (n, k // group), np.uint8)
    values = q.view(ml_dtypes.float4_e2m1fn).astype(np.float64)
    scales = s.view(scale_type).astype(np.float32)
    return q, s, values, scales


for n, k in [(24, 96), (16, 512), (40, 2304)]:
    half = lambda q: q[:, ::2] | q[:, 1::2] << 4
    # compressed-tensors: mxfp4, and nvfp4 with a divisor, of which readers take the reciprocal.
    q, s, values, scales = floats4(n, k, 32, ml_dtypes.float8_e8m0fnu)
    weights = {"num_bits": 4, "type": "float", "strategy": "group", "group_size": 32,
               "symmetric": True}
    config = json.loads(json.dumps(FP4)) | {"format": "mxfp4-pack-quantized"}
    config["config_groups"]["group_0"]["weights"] = weights
    layer = {"a.b.weight_packed": half(q), "a.b.weight_scale": s}
    w = each(scales, 32) * values
    floats = check(layer | NORM, {"a.b.weight": w}, "compressed-tensors e2m1:32",
                   {"quantization_config": config}, form="symmetric")
    q, s, values, scales = floats4(n, k, 16, ml_dtypes.float8_e4m3fn)
    layer = {"a.b.weight_packed": half(q), "a.b.weight_scale": s.view(ml_dtypes.float8_e4m3fn)}
    for divisor in (np.float32(256), np.float32(1234.5)):
        whole = {"a.b.weight_global_scale": divisor.reshape(1)}
        step = np.float32(1) / divisor
        w = each(scales * step, 16) * values
        config["format"] = "nvfp4-pack-quantized"
        weights |= {"strategy": "tensor_group", "group_size": 16}
        check(layer | whole | NORM, {"a.b.weight": w}, "compressed-tensors e2m1:16",
              {"quantization_config": config}, form="symmetric")
        # ModelOpt's factor multiplies.
        mine = {"a.b.weight": half(q), "a.b.weight_scale": s.view(ml_dtypes.float8_e4m3fn),
                "a.b.weight_scale_2": np.asarray(step), "a.b.input_scale": np.asarray(step)}
        said = {"quant_method": "modelopt", "quant_algo": "NVFP4", "group_size": 16}
        check(mine | NORM, {"a.b.weight": w}, "ModelOpt e2m1:16",
              {"quantization_config": said}, form="symmetric")
    # bitsandbytes: the first code of a byte is the high one; absmax as floats, and coded again.
    for block in (64, 128) if k % 128 == 0 else (32,):
        for nested in (False, True):
            tensors, w = nf4_layout.layer("a.b", n, k, block, nested, rng)
            said = {"quant_method": "bitsandbytes", "bnb_4bit_quant_type": "nf4",
                    "load_in_4bit": True}
            check(tensors | NORM, {"a.b.weight": w}, f"bitsandbytes nf4:{block}",
                  {"quantization_config": said}, form="symmetric")
print("importers: passed")
