# ===- blocks.py - Random weights for the parameters of a module ---*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""blocks.py MODULE.mlir OUT.safetensors: floats under the parameters' names."""

import re
import sys

import numpy as np
from safetensors.numpy import save_file

PARAMETER = r"qlinear\.parameter @\w+ : !qlinear\.weight<(\d+)x(\d+),.*from \"(\w+)\""

module, out = sys.argv[1:]
random = np.random.default_rng(0)
weights = {}
with open(module) as f:
    for n, k, name in re.findall(PARAMETER, f.read()):
        # Results about as large as what they are of, so that a residual hides nothing.
        weight = random.standard_normal((int(n), int(k))) / int(k) ** 0.5
        weights[f"{name}.weight"] = weight.astype(np.float32)
save_file(weights, out)
