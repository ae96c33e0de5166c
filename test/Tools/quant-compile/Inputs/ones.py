# ===- ones.py - Input and expected results of constant.mlir ------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""One file: writes the input, 2 x 32 ones. Two: checks the results in each."""

import struct
import sys

if len(sys.argv) == 2:
    text = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 32), }"
    text = text.ljust(117) + "\n"
    with open(sys.argv[1], "wb") as f:
        f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode())
        f.write(struct.pack("<64f", *[1.0] * 64))
else:
    for path in sys.argv[1:]:
        with open(path, "rb") as f:
            data = f.read()
        assert b"(2, 4)" in data, data
        result = struct.unpack("<8f", data[-32:])
        for value, expected in zip(result, [32, 33, 34, 35] * 2):
            assert abs(value - expected) < 1e-4, (path, result)
