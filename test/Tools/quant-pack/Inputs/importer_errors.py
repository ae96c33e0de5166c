# ===- importer_errors.py - Checkpoints that cannot be read ---*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""What is said of damaged and foreign checkpoints: weight, numbers, rule and way out."""

import json
import os
import sys

import numpy as np
from checkpoints import fresh, quant_pack
from conventions import affine, fails, pack, write
from safetensors.numpy import save_file

fresh(sys.argv[1])
os.mkdir("out")
rng = np.random.default_rng(0)

# GPTQ and AWQ.
q, s, z = affine(16, 256, 64, 4, rng)
good = {
    "x.qweight": pack(q.T, 0, 4).view(np.int32),
    "x.qzeros": pack(z.T, 1, 4).view(np.int32),
    "x.scales": s.T.copy(),
}
order = rng.permutation(np.arange(256) // 64).astype(np.int32)
fails(good | {"x.g_idx": order}, "'x': its columns are reordered (desc_act): columns of one")
fails(
    good | {"x.g_idx": order[:5].copy()},
    "'x': .g_idx must be I32 of K = 256 elements, not I32 of 5",
)
fails({"x.qweight": good["x.qweight"]}, "'x': has .qweight, but neither .qzeros nor .scales")
no_zeros = {key: t for key, t in good.items() if key != "x.qzeros"}
fails(no_zeros, "'x': has .qweight, but no .qzeros (")
fails({key: t for key, t in good.items() if key != "x.scales"}, "but no .scales (")
symmetric = {"quantization_config": {"sym": True, "bits": 5}}
fails(
    no_zeros,
    "'x': codes of 5 bits by bits = 5 (quantization_config of config.json); 2, 3, 4 and 8 are",
    symmetric,
)
symmetric["quantization_config"]["bits"] = 4
fails(
    no_zeros | {"x.scales": s.T[:, :8].copy()},
    "'x': the shapes (.qweight 32x16, .qzeros absent, .scales 4x8) do not go together",
    symmetric,
)
fails(
    good | {"x.qzeros": np.repeat(good["x.qzeros"], 3, 1)},
    "'x': codes of 12 bits (.qweight 32x16, .qzeros 4x6, .scales 4x16); 2, 3, 4 and 8 are read",
)
fails(
    good | {"x.qzeros": np.repeat(good["x.qzeros"][:, :1], 3, 1), "x.scales": np.repeat(s.T, 2, 1)},
    "'x': the shapes (.qweight 32x16, .qzeros 4x3, .scales 4x32) do not go together",
)
fails(
    good | {"x.scales": s.T[:3].copy()},
    "'x': the shapes (.qweight 32x16, .qzeros 4x2, .scales 3x16) do not go together",
)
three = {key: t[:3].copy() for key, t in good.items() if key != "x.qweight"}
fails(good | three, "'x': 3 groups of K = 256 columns; groups of 16, 32, 64, 128, 256 or")
fails(good | {"x.scales": np.zeros((4, 16), np.int32)}, "not I32, I32 and I32 (.qweight 32x16")
fails(
    {
        "x.qweight": pack(q, 1, 4).view(np.int32),
        "x.qzeros": good["x.qzeros"],
        "x.scales": good["x.scales"],
    },
    "'x': the layout 'gemv' of quantization_config of config.json; save the model again as",
    {"quantization_config": {"quant_method": "awq", "version": "gemv"}},
)
fails(good, "'x': the layout 'marlin' of", {"checkpoint_format": "marlin"})
# Found only when the weight is read.
write(good | {"x.scales": np.full_like(s.T, np.inf)})
_, message = quant_pack(".", "-o", "out/x.safetensors", status=1)
assert "tensor 'x.weight': scale is inf at row 0, group 0" in message, message

# One weight that cannot be read does not keep the others.
both = good | {key.replace("x.", "y."): t for key, t in good.items()} | {"y.g_idx": order}
write(both)
_, message = quant_pack(".", "-o", "out/x.safetensors", status=1)
assert "weight 'y': its columns are reordered" in message, message
quant_pack(".", "-o", "out/x.safetensors", "--exclude", "^y")
listed, _ = quant_pack("--list", ".")
for line in (
    "x.qweight  I32   32x16  GPTQ u4:64",
    "of x.weight, 16x256",
    "weight 'y': its columns are reordered",
    "2 quantized weights (1 GPTQ or AWQ, cannot be read, 1 GPTQ u4:64): 7 tensors",
):
    assert line in listed, listed
os.remove("out/x.safetensors")

# compressed-tensors.
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
    "must be an I32 matrix of N = 4611686018427387904 rows, but is I32 of 16x32",
)
fails(
    rows | {"x.weight_shape": np.array([16.0, 256.0])},
    "'x': .weight_shape must be two I64, N and K, but is F64 of 2",
)
fails(rows | {"x.weight_scale": s[:, :3].copy()}, "'x': 3 groups of K = 256 columns")
fails(
    rows | {"x.weight_scale": s[:5].copy()},
    "'x': .weight_scale must be a float matrix of N = 16 rows, but is F16 of 5x4",
)
no_scale = {key: t for key, t in rows.items() if key != "x.weight_scale"}
fails(no_scale, "rows, but is absent")
fails(rows | {"x.weight_g_idx": order}, "'x': its columns are reordered (.weight_g_idx)")
fails(
    rows | {"x.weight_zero_point": np.zeros((3, 4), np.int32)},
    "'x': .weight_zero_point must be I32 of 2x4, but is I32 of 3x4",
)
fails(
    {"x.weight": q.astype(np.int8), "x.weight_scale": s[:, :3].copy()},
    "'x': scales of 16x3 do not divide codes of 16x256 into blocks",
)

# MLX.
mlx = {"x.weight": pack(q, 1, 4), "x.scales": s, "x.biases": s}
fails(mlx, "config.json has no 'quantization'")
fails(
    mlx,
    "codes of 7 bits ('quantization' of config.json); 2, 3, 4, 5, 6 and 8 are read",
    {"quantization": {"bits": 7, "group_size": 64}},
)
fails(
    mlx,
    ".weight 16x32 and .scales 16x4 do not go with bits = 4, group_size = 32 (quantization of",
    {"quantization": {"bits": 4, "group_size": 32}},
)
fails(
    mlx,
    "MLX's mode 'mxfp8'; only \"affine\"",
    {"quantization": {"bits": 4, "group_size": 64, "mode": "mxfp8"}},
)

# The plain form.
codes = {"x.codes": q.astype(np.uint8), "x.scales": s, "x.zeros": z.astype(np.uint8)}


def plain_fails(part, tensors, codes="u4", k=256):
    fails(tensors, f"weight 'x': {part}", metadata={"x": json.dumps({"codes": codes, "k": k})})


plain_fails("its metadata needs 'codes', of u4, u5, u6,", codes, codes="u7")
plain_fails("its metadata needs 'codes'", codes, k="256")
plain_fails(".codes are U8 of 16x256; u4 codes are U8 [N, k = 128] or U8 [N, 64]", codes, k=128)
plain_fails(".codes are U8 of 16x256; i5 codes are I8 [N, k = 256]", codes, codes="i5")
no_zeros = {key: t for key, t in codes.items() if key != "x.zeros"}
plain_fails("unsigned codes need .zeros; only signed ones are symmetric", no_zeros)
plain_fails(
    ".scales must be floats of N = 16 rows, but are F16 of 3x4", codes | {"x.scales": s[:3].copy()}
)
plain_fails(
    ".zeros must be floats, I8 or U8 of 16x4, but are U8 of 16x2",
    codes | {"x.zeros": np.zeros((16, 2), np.uint8)},
)
codes["x.codes"][2, 3] = 16
write(codes, metadata={"x": json.dumps({"codes": "u4", "k": 256})})
_, message = quant_pack(".", "-o", "out/x.safetensors", status=1)
assert "'x': the code 16 at row 2, column 3 is not one of u4 (0 to 15)" in message, message

# Methods that are not known, and files of another kind.
foreign = {"x.weight": np.zeros((64, 1), np.uint8)}
fails(
    foreign,
    "config.json beside it says quant_method 'quark', of which no weight is known; gptq,",
    {"quantization_config": {"quant_method": "quark"}},
)
for config in ({"quantization_config": {"quant_method": "gptq"}}, {"quantization_config": 1}, {}):
    write(foreign, config)
    quant_pack(".", "-o", "out/x.safetensors")
os.remove("out/x.safetensors")
open("config.json", "w").write("{")
_, message = quant_pack(".", "-o", "out/x.safetensors", status=1)
assert "config.json beside './model.safetensors': " in message, message
os.remove("config.json")
open("model.bin", "wb").write(b"PK\x03\x04" + bytes(100))
_, message = quant_pack("model.bin", "-o", "out/x.safetensors", status=1)
assert "'model.bin' is a zip file as torch.save writes it" in message, message
os.rename("model.bin", "model.onnx")
open("model.onnx", "wb").write(b"\x08\x0a")
_, message = quant_pack("model.onnx", "-o", "out/x.safetensors", status=1)
assert "'model.onnx' is an ONNX model by its name; quant-import-onnx" in message, message

# Cut anywhere, a file is an error that names it.
save_file(good, "model.safetensors")
data = open("model.safetensors", "rb").read()
for size in [0, 3, 8, 100, len(data) // 2, len(data) - 1]:
    open("cut.safetensors", "wb").write(data[:size])
    _, message = quant_pack("cut.safetensors", "-o", "out/x.safetensors", status=1)
    assert "'cut.safetensors'" in message, message
assert not os.path.exists("out/x.safetensors")
print("importer errors: passed")
