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
import numpy as np
from checkpoints import fresh, quant_pack, report_of
from safetensors.numpy import load_file, save_file

fresh(sys.argv[1])
rng = np.random.default_rng(0)
AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7]


def pack(values, axis, bits, order=None):
    """Integers into int32 words along an axis, lowest bits first."""
    values = np.moveaxis(np.asarray(values, np.uint64), axis, -1)
    per_word = 32 // bits
    groups = values.reshape(*values.shape[:-1], -1, per_word)
    words = np.zeros(groups.shape[:-1], np.uint64)
    for i in range(per_word):
        words |= groups[..., order[i] if order else i] << np.uint64(i * bits)
    return np.moveaxis(words.astype(np.uint32), -1, axis).copy()


def affine(n, k, group, bits):
    """Codes [n, k], and scales and integer zeros [n, groups]."""
    q = rng.integers(0, 2**bits, (n, k))
    s = (np.exp(rng.normal(size=(n, k // group)) * 0.3) * 0.01).astype(np.float16)
    z = rng.integers(1, 2**bits, (n, k // group))
    return q, s, z


def each(x, group):
    return np.repeat(np.asarray(x, np.float64), group, axis=1)


def check(tensors, expected, source, config=None, n_parts=None):
    """Packs the checkpoint, reads it back and compares every weight."""
    save_file(tensors, "model.safetensors")
    if config is None:
        if os.path.exists("config.json"):
            os.remove("config.json")
    else:
        with open("config.json", "w") as f:
            json.dump(config, f)
    for encoding in ("lossless", "auto"):
        quant_pack(".", "-o", "out/p.safetensors", "--encoding", encoding, "--report", "out/r.json")
        quant_pack("out/p.safetensors", "-o", "out/f.safetensors", "--dequantize", "f32")
        floats, (_, report) = load_file("out/f.safetensors"), report_of("out/r.json")
        for name, w in expected.items():
            entry = report[name]
            assert entry["source"] == source, entry
            assert floats[name].shape == w.shape
            differing = int((floats[name] != w.astype(np.float32)).sum())
            if encoding == "lossless":
                assert differing == 0, f"{source} {name}: {differing} of {w.size} differ"
            assert (differing == 0) == entry["quality"]["exact"], entry
            if not entry["quality"]["exact"]:
                noise = ((floats[name].astype(np.float64) - w) ** 2).sum()
                snr = 10 * np.log10((w**2).sum() / noise)
                assert snr >= 45 and abs(snr - entry["quality"]["tensor_snr_db"]) < 0.1, (
                    snr,
                    entry,
                )
        assert set(floats) == set(expected) | {"norm.weight"}, set(floats)


os.mkdir("out")
NORM = {"norm.weight": np.ones(8, np.float16)}
for n, k, group, bits in [(40, 256, 128, 4), (16, 512, 64, 4), (24, 256, 32, 8), (8, 384, 384, 4)]:
    name = f"u{bits}:{'row' if group == k else group}"
    q, s, z = affine(n, k, group, bits)
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

    # MLX: w = s q + b.
    if group != k:
        b = (rng.normal(size=s.shape) * 0.05).astype(np.float16)
        check(
            {"a.b.weight": pack(q, 1, bits), "a.b.scales": s, "a.b.biases": b} | NORM,
            {"a.b.weight": each(s, group) * q + each(b, group)},
            f"MLX {name}",
            {"quantization": {"group_size": group, "bits": bits}},
        )


def fails(tensors, part, config=None):
    save_file(tensors, "model.safetensors")
    with open("config.json", "w") as f:
        json.dump(config or {}, f)
    _, message = quant_pack(".", "-o", "out/x.safetensors", status=1)
    assert part in message, f"wanted {part!r}, got {message!r}"
    assert not os.path.exists("out/x.safetensors")


q, s, z = affine(16, 256, 64, 4)
good = {
    "x.qweight": pack(q.T, 0, 4).view(np.int32),
    "x.qzeros": pack(z.T, 1, 4).view(np.int32),
    "x.scales": s.T.copy(),
}
order = rng.permutation(np.arange(256) // 64).astype(np.int32)
fails(good | {"x.g_idx": order}, "'x': its columns are reordered (desc_act)")
fails(good | {"x.g_idx": order[:5].copy()}, "'x': .g_idx must be I32 of K = 256 elements")
fails({"x.qweight": good["x.qweight"]}, "'x': has .qweight, but not .qzeros and .scales")
fails(good | {"x.qzeros": good["x.qzeros"][:, :1].copy()}, "'x': codes of 2 bits")
fails(good | {"x.scales": s.T[:3].copy()}, "'x': the shapes of .qweight")
fails(good | {"x.scales": np.full_like(s.T, np.inf)}, "tensor 'x.weight': ")
fails(good | {"x.scales": np.zeros((4, 16), np.int32)}, ".scales a float matrix")
rows = {
    "x.weight_packed": pack(q, 1, 4).view(np.int32),
    "x.weight_scale": s,
    "x.weight_shape": np.array([16, 256], np.int64),
}
fails(
    rows | {"x.weight_shape": np.array([16, -256], np.int64)},
    "'x': .weight_packed has 32 words for K = ",
)
fails(
    rows | {"x.weight_shape": np.array([2**62, 256], np.int64)},
    "'x': .weight_packed must be an I32 matrix",
)
fails(rows | {"x.weight_scale": s[:, :3].copy()}, "'x': 3 groups of K = 256 columns")
fails(rows | {"x.weight_g_idx": order}, "'x': its columns are reordered")
fails(
    rows | {"x.weight_zero_point": np.zeros((3, 4), np.int32)},
    "'x': .weight_zero_point must be I32 of 2x4",
)
mlx = {"x.weight": pack(q, 1, 4), "x.scales": s, "x.biases": s}
fails(mlx, "config.json has no 'quantization'")
fails(mlx, "'bits' of 4 or 8", {"quantization": {"bits": 3, "group_size": 64}})
fails(mlx, "4 groups of K = 256 columns", {"quantization": {"bits": 4, "group_size": 32}})
print("importers: passed")
