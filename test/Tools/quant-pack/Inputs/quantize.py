# ===- quantize.py - Quantizing float checkpoints -------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""--quantize on F32, F16 and BF16: what is picked, and how good it is, by numpy."""

import sys

import ml_dtypes
import numpy as np
from checkpoints import fresh, quant_pack, report_of
from safetensors.numpy import load_file, save_file

fresh(sys.argv[1])
rng = np.random.default_rng(0)
LINEARS = {
    "model.layers.0.q_proj.weight": rng.normal(size=(48, 512)) * 0.02,
    "model.layers.0.up_proj.weight": rng.standard_t(4, size=(33, 256)) * 0.05,
    "lm_head.weight": rng.normal(size=(100, 256)),
}
OTHERS = {
    "model.embed_tokens.weight": rng.normal(size=(100, 256)),
    "model.layers.0.input_layernorm.weight": rng.normal(size=256),
    "position_embeddings.weight": rng.normal(size=(64, 256)),
    "conv.weight": rng.normal(size=(4, 32, 32)),
    "model.layers.0.q_proj.bias": rng.normal(size=48),
    "odd.weight": rng.normal(size=(8, 100)),
}


def snr(exact, approximation):
    noise = ((exact - approximation) ** 2).sum()
    return 10 * np.log10((exact**2).sum() / noise)


def minmax(w, bits, group, symmetric):
    """The SNR that plain min-max quantization has, by its definition."""
    g = w.reshape(w.shape[0], -1, group)
    if symmetric:
        s = np.abs(g).max(-1, keepdims=True) / (2 ** (bits - 1) - 1)
        back = np.clip(np.rint(g / s), -(2 ** (bits - 1)), 2 ** (bits - 1) - 1) * s
    else:
        low, high = np.minimum(g.min(-1, keepdims=True), 0), np.maximum(g.max(-1, keepdims=True), 0)
        s = (high - low) / (2**bits - 1)
        zero = np.rint(-low / s)
        back = (np.clip(np.rint(g / s) + zero, 0, 2**bits - 1) - zero) * s
    return snr(g, back)


for dtype in (np.float32, np.float16, ml_dtypes.bfloat16):
    checkpoint = {k: v.astype(dtype) for k, v in (LINEARS | OTHERS).items()}
    save_file(checkpoint, "a.safetensors", {"format": "pt"})
    for spec, bits, group in [
        ("int4:32", 4, 32),
        ("int5:32", 5, 32),
        ("int6:16", 6, 16),
        ("int8:32", 8, 32),
        ("int4:128", 4, 128),
    ]:
        found = {}
        for search in ("--minmax", "--search"):
            quant_pack(
                "a.safetensors",
                "-o",
                "p.safetensors",
                "--quantize",
                spec,
                search,
                "--encoding",
                "lossless",
                "--report",
                "r.json",
                "--exclude",
                "^odd",
            )
            quant_pack("p.safetensors", "-o", "f.safetensors", "--dequantize", "f32")
            floats, (_, tensors) = load_file("f.safetensors"), report_of("r.json")
            assert {n for n, t in tensors.items() if t["action"] == "packed"} == set(LINEARS)
            for name in OTHERS:
                assert floats[name].tobytes() == checkpoint[name].tobytes(), name
                assert tensors[name]["reason"]
            for name in LINEARS:
                exact = checkpoint[name].astype(np.float64)
                measured = snr(exact, floats[name].astype(np.float64))
                assert abs(measured - tensors[name]["float_snr_db"]) < 0.01, (
                    name,
                    measured,
                    tensors[name],
                )
                plain = minmax(exact, bits, group, symmetric=bits in (6, 8))
                assert measured > plain - 0.5, (name, spec, search, measured, plain)
                found[name, search] = measured
        for name in LINEARS:
            # A search can't be worse than min-max, up to the rounding of scales.
            assert found[name, "--search"] > found[name, "--minmax"] - 0.05, (name, spec, found)

# What does not fit is carried over with a reason, or an error where it was asked for by name.
quant_pack("a.safetensors", "-o", "p.safetensors", "--quantize", "int4:32", "--report", "r.json")
_, tensors = report_of("r.json")
assert "100 is not a multiple of the group size 32" in tensors["odd.weight"]["reason"]
_, message = quant_pack(
    "a.safetensors", "-o", "q.safetensors", "--quantize", "int4:32", "--include", "odd", status=1
)
assert (
    "'odd.weight'" in message and "100 is not a multiple of the group size 32" in message
), message

# The first expression that finds a name decides; names can be asked for.
quant_pack(
    "a.safetensors",
    "-o",
    "p.safetensors",
    "--quantize",
    "int4:32",
    "--quantize",
    "lm_head=int6:16",
    "--quantize",
    "lm=int8:32",
    "--encoding",
    "row-u8",
    "-e",
    "up_proj=bf16",
    "--report",
    "r.json",
)
_, tensors = report_of("r.json")
assert tensors["lm_head.weight"]["encoding"].startswith("i6, group = 16, symmetric")
assert tensors["model.layers.0.up_proj.weight"]["encoding_name"] == "bf16"
assert (
    tensors["model.layers.0.q_proj.weight"]["encoding"]
    == "u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>"
)
quant_pack(
    "a.safetensors",
    "-o",
    "p.safetensors",
    "--quantize",
    "int4:32",
    "--include",
    "embed_tokens",
    "--report",
    "r.json",
)
_, tensors = report_of("r.json")
assert [n for n, t in tensors.items() if t["action"] == "packed"] == ["model.embed_tokens.weight"]

# NaN and infinity are errors that name tensor, row and group.
for value in (np.nan, np.inf, -np.inf):
    broken = {"w.weight": LINEARS["lm_head.weight"].astype(np.float32)}
    broken["w.weight"][7, 65] = value
    save_file(broken, "n.safetensors")
    _, message = quant_pack(
        "n.safetensors", "-o", "q.safetensors", "--quantize", "int4:32", status=1
    )
    assert "'w.weight'" in message and "row 7" in message and "group 2" in message, message
print("quantize: passed")
