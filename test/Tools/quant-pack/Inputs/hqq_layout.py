# ===- hqq_layout.py - Checkpoints of HQQ ---------------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""The state of HQQ's layers as safetensors, against w = (q - zero) scale."""

import os
import sys

import ml_dtypes
import numpy as np
from checkpoints import fresh, quant_pack
from conventions import NORM, check, fails, write

fresh(sys.argv[1])
os.mkdir("out")
rng = np.random.default_rng(0)


def text(value):
    return np.frombuffer(value.encode(), np.uint8)


def layer(n, k, group, bits, float_type=np.float16, axis=1, **other):
    """The state of layer a.b, and its weight."""
    q = rng.integers(0, 2**bits, (n * k // group, group)).astype(np.uint8)
    if axis == 0:
        q = q.T.copy()
    shape = (len(q), 1) if axis == 1 else (1, q.shape[1])
    scale = (np.exp(rng.normal(size=shape) * 0.3) * 0.01).astype(float_type)
    zero = (2 ** (bits - 1) + rng.normal(size=shape)).astype(float_type)
    half = len(q) // 2
    state = {
        "W_q": q[:half] << 4 | q[half:] if bits == 4 else q,
        "scale": scale,
        "zero": zero,
        "nbits": np.array(bits, np.int32),
        "group_size": np.array(group, np.int32),
        "axis": np.array(axis, np.int32),
        "shape": np.array([n, k], np.int64),
        "packing": text("4bit_u8" if bits == 4 else "8bit_u8"),
        "unpack_view_dtype": text("torch.uint8"),
        "compute_dtype": text("torch.float16"),
        "view_as_float": np.array(0, np.uint8),
        "channel_wise": np.array(1, np.uint8),
        "optimize": np.array(1, np.uint8),
        "round_zero": np.array(0, np.uint8),
        "offload_meta": np.array(0, np.uint8),
        "encoded_state_dict": np.array(1, np.uint8),
        "stores_quant_config": np.array(1, np.uint8),
    }
    w = (q - zero.astype(np.float64)) * scale.astype(np.float64)
    return {"a.b." + key: value for key, value in (state | other).items()}, w.reshape(n, k)


CONFIG = {"quantization_config": {"quant_method": "hqq", "quant_config": {}}}
bias = {"a.b.bias": np.ones(8, np.float16)}
for n, k, group, bits in [
    (16, 256, 64, 4),
    (10, 128, 32, 4),
    (6, 96, 96, 4),
    (9, 512, 64, 8),
    (16, 64, 16, 5),
    (32, 128, 128, 6),
]:
    name = "row" if group == k else group
    for float_type in (np.float16, ml_dtypes.bfloat16, np.float32):
        state, w = layer(n, k, group, bits, float_type)
        floats = check(state | bias | NORM, {"a.b.weight": w}, f"HQQ u{bits}:{name}", CONFIG)
        assert floats["a.b.bias"].tobytes() == bias["a.b.bias"].tobytes()
    # "view_as_float": the same bytes under another dtype.
    state, w = layer(n, k, group, bits)
    state["a.b.W_q"] = state["a.b.W_q"].view(np.float16)
    check(state | NORM, {"a.b.weight": w}, f"HQQ u{bits}:{name}")

# One scale for all, which no axis matters to.
state, _ = layer(8, 64, 64, 8, axis=0)
q = state["a.b.W_q"].reshape(8, 64)
state["a.b.scale"], state["a.b.zero"] = np.array(0.01, np.float16), np.array(127.5, np.float16)
w = (q - 127.5) * np.float64(state["a.b.scale"])
check(state | NORM, {"a.b.weight": w}, "HQQ u8:row")

good, _ = layer(8, 128, 32, 4)


def declines(part, **changes):
    state = good | {"a.b." + key: value for key, value in changes.items()}
    state = {key: value for key, value in state.items() if value is not None}
    fails(state | NORM, f"weight 'a.b': {part}", CONFIG)


declines("groups of 32 along axis 0, across the rows of the weight", axis=np.array(0, np.int32))
declines("codes of 3 bits; 4, 5, 6 and 8 are read", nbits=np.array(3, np.int32))
declines("codes of a fraction of bits", nbits=np.array(1.58, np.float32))
declines("has .W_q, but .nbits is absent, not one integer", nbits=None)
declines("has .W_q, but .group_size is I32 of 2, not one", group_size=np.array([32, 32], np.int32))
declines("has .W_q, but .shape is not two integers", shape=np.array([8], np.int64))
declines(".scale and .zero must be floats, but are F16 and absent", zero=None)
declines("a weight of 9x100 does not divide into groups of 32", shape=np.array([9, 100], np.int64))
declines("K = 80 is not a multiple of the group size 32", shape=np.array([8, 80], np.int64))
declines("a weight of 8x18446744073709551488 does not", shape=np.array([8, -128], np.int64))
declines(
    ".W_q has 512 bytes, but 16x128 codes of 4 bits take 1024",
    shape=np.array([16, 128], np.int64),
    scale=np.ones((64, 1), np.float16),
    zero=np.ones((64, 1), np.float16),
)
declines(
    ".scale 31x1 and .zero 32x1 must have one number for each of the 32 groups",
    scale=np.ones((31, 1), np.float16),
)
declines("packing '2bit_u8'; 4-bit codes are read as 4bit_u8", packing=text("2bit_u8"))

# Codes with more bits than they say show when the weight is read.
state, _ = layer(8, 64, 32, 5)
state["a.b.W_q"][3, 7] = 32
write(state)
_, message = quant_pack(".", "-o", "out/x.safetensors", status=1)
assert "the code 32 at row 1, column 39 has more than 5 bits" in message, message
print("hqq: passed")
