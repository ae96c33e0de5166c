# ===- ort_quantizer.py - What onnxruntime's quantizer writes -*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""ort_quantizer.py DIRECTORY IMPORTER: float models quantized by onnxruntime's own tools. Of
the identity matrix a layer makes its weight, in onnxruntime without any rounding: those
weights, and the imported ones, are the same."""

import logging
import os
import shutil
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from onnxruntime.quantization.quant_utils import QuantFormat
from safetensors.numpy import load_file

directory, importer = sys.argv[1:]
shutil.rmtree(directory, ignore_errors=True)
os.makedirs(directory)
os.chdir(directory)
logging.disable(logging.INFO)
rng = np.random.default_rng(0)
SIZES = {"up": (128, 64), "down": (96, 40)}  # K, N


def float_model():
    """Two layers side by side."""
    nodes, inputs, outputs, weights = [], [], [], []
    for name, (k, n) in SIZES.items():
        w = (rng.normal(size=(k, n)) * 0.1).astype(np.float32)
        weights.append(numpy_helper.from_array(w, f"{name}.w"))
        nodes.append(helper.make_node("MatMul", [f"x_{name}", f"{name}.w"], [f"y_{name}"], name))
        inputs.append(helper.make_tensor_value_info(f"x_{name}", TensorProto.FLOAT, ["M", k]))
        outputs.append(helper.make_tensor_value_info(f"y_{name}", TensorProto.FLOAT, ["M", n]))
    graph = helper.make_graph(nodes, "mlp", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def check(path):
    command = [sys.executable, importer, path, "-o", "m.mlir", "--weights", "w.safetensors"]
    subprocess.run(
        [*command, "--only-linears", "-e", "lossless"], check=True, stdout=subprocess.DEVNULL
    )
    command = ["quant-pack", "w.safetensors", "-o", "f.safetensors", "--dequantize", "f32"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    ours = load_file("f.safetensors")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])
    x = {f"x_{name}": np.eye(k, dtype=np.float32) for name, (k, _) in SIZES.items()}
    for name, y in zip(SIZES, session.run([f"y_{name}" for name in SIZES], x)):
        (w,) = [t for key, t in ours.items() if key.startswith(name + ".")]
        assert w.shape == y.T.shape and y.any()
        assert (w == y.T).all(), (path, name, np.abs(w - y.T).max())


count = 0
for form, bits in (("QOperator", 4), ("QOperator", 8), ("QDQ", 4)):
    for block in (16, 32, 64):  # 64 cuts the last block of 96
        for symmetric in (True, False):
            quantizer = MatMulNBitsQuantizer(
                float_model(),
                bits=bits,
                block_size=block,
                is_symmetric=symmetric,
                quant_format=getattr(QuantFormat, form),
            )
            quantizer.process()
            path = f"{form}_{bits}_{block}_{symmetric}.onnx"
            onnx.save(quantizer.model.model, path)
            check(path)
            count += 1
print(f"{count} quantized models, every weight the same")
