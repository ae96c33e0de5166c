# ===- close.py - Two arrays are nearly the same --------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""close.py A.npy B.npy BOUND: fails where |A - B| / |B| is beyond the bound."""

import sys

import numpy as np

a, b = (np.load(path).astype(np.float64) for path in sys.argv[1:3])
assert a.shape == b.shape, (a.shape, b.shape)
error = np.linalg.norm(a - b) / np.linalg.norm(b)
assert error <= float(sys.argv[3]), error
print(f"relative error {error:.3g}")
