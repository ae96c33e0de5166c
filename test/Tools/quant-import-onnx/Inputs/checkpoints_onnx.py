# ===- checkpoints_onnx.py - Weights of packed archives -------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
import subprocess

from safetensors.numpy import load_file


def packed_weights(path):
    """{name: f32 weight} of the matrices of an archive."""
    command = ["quant-pack", path, "-o", f"{path}.f32", "--dequantize", "f32", "--quiet"]
    subprocess.run(command, check=True)
    return {name: t for name, t in load_file(f"{path}.f32").items() if t.ndim == 2}
