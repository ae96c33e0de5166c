# ===- compare_onnx.py - Imported layers against onnxruntime --*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""compare_onnx.py DIRECTORY IMPORTER SEED TYPE COUNT: layers of every form, imported; their
weights against the operators' definitions, exactly. COUNT of them are compiled and run,
against onnxruntime and against float64.

The kernels quantize activations to int8 per 32 columns, which moves x by at most d / 2,
d = max|x| / 127 of the 32: so |y - exact| <= sum |w| d / 2, and what rounding adds."""

import os
import shutil
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
from onnx_layers import Model, all_forms
from safetensors.numpy import load_file

directory, importer, seed, dtype, count = sys.argv[1:]
shutil.rmtree(directory, ignore_errors=True)
os.makedirs(directory)
os.chdir(directory)


def run(*command):
    subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)


def imported(forms):
    m = Model(int(seed), dtype)
    for add in forms:
        add(m)
    onnx.save(m.model(), "m.onnx")
    command = [sys.executable, importer, "m.onnx", "-o", "m.mlir", "--weights", "w.safetensors"]
    run(*command, "--only-linears", "--encoding", "lossless")
    return m


def theirs(m, rows):
    """Inputs of so many rows, and onnxruntime's outputs."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # Else it quantizes activations to int8 as well, where it fuses the dequantization.
    level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.graph_optimization_level = level
    session = onnxruntime.InferenceSession("m.onnx", options, ["CPUExecutionProvider"])
    x = {
        i.name: m.rng.normal(size=(rows, i.shape[1])).astype(m.numpy) for i in session.get_inputs()
    }
    return x, dict(zip([o.name for o in session.get_outputs()], session.run(None, x)))


def exact(m, name, x):
    """The product in float64, and the sum of the magnitudes of its terms."""
    w, bias = m.layers[name]
    a, b = x[f"x_{name}"].astype(np.float64), 0 if bias is None else bias.astype(np.float64)
    return a @ w.T + b, np.abs(a) @ np.abs(w).T + np.abs(b)


# Of f32 sums in another order; of f16 weights and results.
rounding = {"f32": 2e-6, "f16": 2e-3}[dtype]
rng = np.random.default_rng(int(seed))
forms = all_forms(rng)

m = imported(forms.values())
run("quant-pack", "w.safetensors", "-o", "f.safetensors", "--dequantize", "f32")
floats, different = load_file("f.safetensors"), 0
for name, (w, _) in m.layers.items():
    (key,) = [k for k in floats if k.startswith((name + ".B", name + ".q"))]
    assert floats[key].shape == w.shape, (name, floats[key].shape, w.shape)
    different += int((floats[key] != w.astype(np.float32)).sum())
assert different == 0, f"{different} weights differ"
# onnxruntime agrees on what the models mean.
x, y = theirs(m, 3)
for name in m.layers:
    product, size = exact(m, name, x)
    off = np.abs(y[f"y_{name}"].astype(np.float64) - product)
    assert (off <= rounding * size).all(), (name, (off / size).max())
print(f"{len(m.layers)} layers imported, 0 weights differ")

m = imported(rng.choice(list(forms.values()), int(count), replace=False))
run("quant-compile", "m.mlir", "--target=cpu:portable", "-o", "m.so")
worst = 0
for rows in (1, 5):
    x, y = theirs(m, rows)
    for name, (w, _) in m.layers.items():
        np.save("x.npy", x[f"x_{name}"])
        weights = ("--weights", "w.safetensors")
        run("quant-run", "m.so", *weights, "-f", name, "-i", "x.npy", "-o", "y.npy", "--verify")
        ours = np.load("y.npy").astype(np.float64)
        product, size = exact(m, name, x)
        k = w.shape[1]
        a = np.abs(np.pad(x[f"x_{name}"].astype(np.float64), ((0, 0), (0, -k % 32))))
        step = np.repeat(a.reshape(rows, -1, 32).max(-1), 32, 1)[:, :k] / 127
        bound = step / 2 @ np.abs(w).T + rounding * size
        for other in (product, y[f"y_{name}"].astype(np.float64)):
            off = np.abs(ours - other)
            assert (off <= bound + rounding * size).all(), (name, rows, (off / bound).max())
        # The bound is of the worst case; errors of rounding are random.
        worst = max(worst, np.linalg.norm(ours - product) / np.linalg.norm(product))
assert worst < 0.02, worst
print(f"{len(m.layers)} layers agree with onnxruntime and float64")
