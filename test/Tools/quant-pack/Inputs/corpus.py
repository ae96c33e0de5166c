# ===- corpus.py - Seeds of the fuzzer ------------------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""corpus.py DIRECTORY: small checkpoints of each kind, in the form that checkpoint-fuzzer
reads: config.json, a zero byte, the file."""

import json
import os
import sys

import numpy as np
from checkpoints import fresh, quant_pack, write_gguf
from safetensors.numpy import save_file

fresh(sys.argv[1])
rng = np.random.default_rng(1)
integers = lambda *shape: rng.integers(-(2**31), 2**31, shape).astype(np.int32)
floats = lambda *shape: rng.normal(size=shape).astype(np.float16)


def seed(name, file, config=None):
    text = json.dumps(config) if config else ""
    with open(file, "rb") as f:
        data = text.encode() + b"\0" + f.read()
    os.remove(file)
    with open(f"{name}.seed", "wb") as f:
        f.write(data)


def tensors(name, values, config=None, metadata=None):
    save_file(values, "file", metadata)
    seed(name, "file", config)


write_gguf("file", {"a": ("Q4_K", 2, 256), "b": ("Q8_0", 2, 32), "c": ("F32", 2, 32)})
seed("gguf", "file")
write_gguf("file", {"a": ("Q2_K", 3, 256), "b": ("Q3_K", 2, 512)})
seed("gguf-k", "file")
values = {"a.weight": floats(2, 32), "b.weight": floats(3, 64).astype(np.float32)}
tensors("floats", values)
save_file(values, "floats")
delta = "u4, group = 32, zero, scale = delta12 * row<bf16>, offset = u4"
for encoding in ("auto", "row-u8", delta):
    quant_pack("floats", "-o", "file", "--quantize", "int4:32", "--encoding", encoding)
    seed(f"archive-{len(encoding)}", "file")
os.remove("floats")

quantized = {"bits": 4, "group_size": 32, "sym": False, "desc_act": False}
tensors(
    "gptq",
    {"a.qweight": integers(8, 8), "a.qzeros": integers(2, 1), "a.scales": floats(2, 8)},
    {"quantization_config": {"quant_method": "gptq", **quantized}},
)
tensors(
    "awq",
    {"a.qweight": integers(64, 1), "a.qzeros": integers(2, 1), "a.scales": floats(2, 8)},
    {"quantization_config": {"quant_method": "awq", "version": "gemm", "zero_point": True,
                             "bits": 4, "group_size": 32}},
)  # fmt: skip
tensors(
    "mlx",
    {
        "a.weight": integers(4, 8).view(np.uint32),
        "a.scales": floats(4, 2),
        "a.biases": floats(4, 2),
    },
    {"quantization": {"group_size": 32, "bits": 4}},
)
tensors(
    "compressed-tensors",
    {
        "a.weight_packed": integers(2, 4),
        "a.weight_scale": floats(2, 1),
        "a.weight_shape": np.array([2, 32]),
    },
    {
        "quantization_config": {
            "quant_method": "compressed-tensors",
            "format": "pack-quantized",
            "config_groups": {
                "group_0": {
                    "weights": {"num_bits": 4, "type": "int", "group_size": 32,
                                "strategy": "group", "symmetric": True},
                    "targets": ["Linear"],
                }
            },
        }
    },
)  # fmt: skip
tensors(
    "plain",
    {
        "a.codes": rng.integers(0, 16, (2, 32)).astype(np.uint8),
        "a.scales": floats(2, 1),
        "a.zeros": rng.integers(0, 16, (2, 1)).astype(np.uint8),
    },
    metadata={"a": json.dumps({"codes": "u4", "k": 32, "source": "corpus"})},
)
