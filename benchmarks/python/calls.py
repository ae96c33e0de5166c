#!/usr/bin/env python3
# ===- calls.py - What a call on numpy arrays costs ----------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Times calls of a 64 x 64 layer on one row, the smallest of many times; and checks that calls in
C++ and in Python have the same bits."""

import pathlib
import tempfile
import time

import numpy as np
import qlinear
from qlinear.archive import write_tensors

N = 64
ENCODING = "u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>"
LAYER = f"""
#e = #qlinear.encoding<{ENCODING}>
qlinear.parameter @w : !qlinear.weight<{N}x{N}, #e>
func.func @f(%x: tensor<?x{N}xf32>) -> tensor<?x{N}xf32> {{
  %w = qlinear.load @w : !qlinear.weight<{N}x{N}, #e>
  %y = qlinear.linear %x, %w
      : (tensor<?x{N}xf32>, !qlinear.weight<{N}x{N}, #e>) -> tensor<?x{N}xf32>
  return %y : tensor<?x{N}xf32>
}}
"""


def best(call, calls=1000, repeats=25):
    """Microseconds a call."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        for _ in range(calls):
            call()
        times.append((time.perf_counter() - began) / calls)
    return min(times) * 1e6


def main():
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as work:
        source, packed = pathlib.Path(work, "f.safetensors"), pathlib.Path(work, "p.safetensors")
        write_tensors(source, {"w": ("F32", (N, N), rng.standard_normal((N, N), np.float32))})
        qlinear.pack(source, packed, include=".", quantize="int4:32", encoding="row-u8")
        target = qlinear.device("cpu").target
        f = qlinear.load(qlinear.compile(LAYER, target), packed, "cpu:1").f
        x = rng.standard_normal((1, N), np.float32)
        y = f(x)
        print("| | µs | with `out=` |\n| --- | --- | --- |")
        native = f._fast
        for fast, name in ((native, "in C++"), (None, "in Python, by ctypes")):
            if name == "in C++" and fast is None:
                continue
            f._fast = fast
            np.testing.assert_array_equal(f(x), y)
            plain, given = best(lambda: f(x)), best(lambda: f(x, out=y))
            print(f"| {name} | {plain:.2f} | {given:.2f} |")


if __name__ == "__main__":
    main()
