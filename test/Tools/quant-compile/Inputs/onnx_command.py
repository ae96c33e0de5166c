# ===- onnx_command.py - quant-compile on an ONNX model ---------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""onnx_command.py DIRECTORY ISA"""

import json
import os
import subprocess
import sys

import numpy as np
import onnx
from onnx_layers import Model

directory, isa = sys.argv[1:]
os.chdir(directory)
model = Model()
model.nbits("wide", 48, 96, 4, 32)
model.nbits("deep", 16, 160, 8, 32)
onnx.save(model.model(), "m.onnx")


def compile_(*arguments, **environment):
    return subprocess.run(
        ["quant-compile", *arguments, f"--target=cpu:{isa}", "--activations=float"],
        capture_output=True, text=True, check=False, env={**os.environ, **environment},
    )  # fmt: skip


for options, base in (((), "m"), (("--encoding=row-u8", "-o", "row.so"), "row")):
    done = compile_("m.onnx", *options)
    assert done.returncode == 0 and "2 functions" in done.stdout, done.stdout + done.stderr
    with open(f"{base}.functions.json") as f:
        functions = json.load(f)
    assert functions["weights"] == f"{base}.packed.safetensors", functions
    for function in functions["functions"]:
        (weight,) = function["weights"]
        (name,) = (n for n in model.layers if n in weight["name"])
        exact, _ = model.layers[name]
        assert (weight["n"], weight["k"]) == exact.shape
        assert ("8 * row<bf16>" in weight["encoding"]) == (base == "row"), weight
        x = np.random.default_rng(1).normal(size=(3, exact.shape[1])).astype("f4")
        np.save("x.npy", x)
        subprocess.run(
            ["quant-run", f"{base}.so", "-w", f"{base}.packed.safetensors", "-f", function["name"],
             "-i", "x.npy", "-o", "y.npy", "--verify"], check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        want = x @ exact.T
        error = np.linalg.norm(np.load("y.npy") - want) / np.linalg.norm(want)
        assert error < (0.02 if base == "row" else 0.005), (base, name, error)

# What cannot be, leaves nothing.
with open("bad.onnx", "wb") as f:
    f.write(b"\x08\x07")
listing = sorted(os.listdir("."))
for part, arguments, environment in (
    ("'bad.onnx' cannot be imported: quant-import-onnx: error: 'bad.onnx'", ["bad.onnx"], {}),
    ("--quantize is of checkpoints of floats", ["m.onnx", "--quantize=int4:32"], {}),
    ("cannot run 'none'", ["m.onnx"], {"QLINEAR_PYTHON": "none"}),
):
    done = compile_(*arguments, "-o", "n.so", **environment)
    assert done.returncode == 1 and part in done.stderr, (arguments, done.stderr)
    assert sorted(os.listdir(".")) == listing, os.listdir(".")
print("onnx: passed")
