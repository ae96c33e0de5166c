# ===- checkpoints.py - Checkpoints for the tests -------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Random valid GGUF and safetensors checkpoints, and quant-pack as a function."""

import json
import os
import subprocess

import numpy as np

QUANTIZED = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K",
             "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS", "MXFP4", "NVFP4"]
# Where the f16 floats of a block are.
FLOATS = {
    "Q4_0": [0],
    "Q4_1": [0, 2],
    "Q5_0": [0],
    "Q5_1": [0, 2],
    "Q8_0": [0],
    "Q2_K": [80, 82],
    "Q3_K": [108],
    "Q4_K": [0, 2],
    "Q5_K": [0, 2],
    "Q6_K": [208],
    "IQ4_NL": [0],
    "IQ4_XS": [0],
}


def blocks(name, n, k, rng):
    """Rows of blocks of random bits with finite floats, and the special cases."""
    from gguf import GGMLQuantizationType
    from gguf.constants import GGML_QUANT_SIZES

    weights, size = GGML_QUANT_SIZES[GGMLQuantizationType[name]]
    data = rng.integers(0, 256, (n * k // weights, size), dtype=np.uint8)
    for at in FLOATS.get(name, []):
        # All magnitudes: f16 normal and subnormal numbers of both signs, and zero.
        values = rng.choice([1e-7, 1e-5, 1e-3, 0.03, 1, 100], len(data))
        values *= rng.normal(size=len(data))
        values[rng.random(len(data)) < 0.05] = 0
        data[:, at : at + 2] = values.astype("<f2")[:, None].view(np.uint8)
    # NaN among the scales of 8 bits; ggml does not look at the sign of those of NVFP4.
    if name == "MXFP4":
        data[:, 0] = rng.choice([*range(100, 150), 0, 1, 2, 250], len(data))
    if name == "NVFP4":
        data[:, :4] = np.where(data[:, :4] % 128 == 127, 1, data[:, :4])
    data[0] = 0
    if name in ("Q4_K", "Q5_K") and len(data) > 2:
        # Scale codes 0 with min codes that are not.
        data[1, 4:8] = 0
        data[1, 8:12] = 63
        data[1, 12:16] = 0xF0
    if name == "Q2_K" and len(data) > 2:
        data[1, :16] = 0xF0  # the same
    if name in FLOATS and len(data) > 2:
        data[2, FLOATS[name][0] : FLOATS[name][0] + 2] = [1, 0]  # the least subnormal
    return data.reshape(n, -1)


def write_gguf(path, weights, seed=0, metadata=()):
    """weights: {name: (type, n, k)}; returns {name: raw blocks}."""
    import gguf

    rng = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(path, "llama")
    for key, value in metadata:
        writer.add_uint32(key, value)
    writer.add_array("tokenizer.ggml.tokens", ["a", "b", "c"])
    raw = {}
    for name, (kind, n, k) in weights.items():
        if kind in ("F32", "F16"):
            value = rng.normal(size=(n, k) if n else k).astype("<f4" if kind == "F32" else "<f2")
            writer.add_tensor(name, value)
        else:
            value = blocks(kind, n, k, rng)
            writer.add_tensor(name, value, raw_dtype=gguf.GGMLQuantizationType[kind])
        raw[name] = value
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return raw


def quant_pack(*args, status=0, **kwargs):
    """Runs it; checks the exit status; returns (stdout, stderr)."""
    done = subprocess.run(["quant-pack", *map(str, args)], capture_output=True, text=True, **kwargs)
    if done.returncode != status:
        raise AssertionError(
            f"{args}: status {done.returncode}, not {status}\n{done.stdout}{done.stderr}"
        )
    if status:
        lines = done.stderr.strip()
        assert lines, f"{args} fails without a word"
    return done.stdout, done.stderr


def report_of(path):
    with open(path) as f:
        report = json.load(f)
    return report, {t["name"]: t for t in report["tensors"]}


def fresh(directory):
    """An empty directory to work in."""
    import shutil

    shutil.rmtree(directory, ignore_errors=True)
    os.makedirs(directory)
    os.chdir(directory)
