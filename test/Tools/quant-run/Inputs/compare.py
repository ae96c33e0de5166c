# ===- compare.py - Compare results with what they should be -----*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""compare.py A B BOUND: prints |A - B| / |B| and fails above the bound.

A and B are .npy files of float32, or (A) a safetensors file with output0.
"""

import ast
import json
import math
import struct
import sys


def read(path):
    with open(path, "rb") as file:
        data = file.read()
    if path.endswith(".safetensors"):
        size = struct.unpack("<Q", data[:8])[0]
        tensor = json.loads(data[8 : 8 + size])["output0"]
        assert tensor["dtype"] == "F32"
        begin, end = (8 + size + o for o in tensor["data_offsets"])
        return tensor["shape"], struct.unpack(f"<{(end - begin) // 4}f", data[begin:end])
    assert data[:8] == b"\x93NUMPY\x01\x00"
    size = struct.unpack("<H", data[8:10])[0]
    assert (10 + size) % 64 == 0
    header = ast.literal_eval(data[10 : 10 + size].decode())
    assert header["descr"] == "<f4" and header["fortran_order"] is False
    values = data[10 + size :]
    return list(header["shape"]), struct.unpack(f"<{len(values) // 4}f", values)


(shape_a, a), (shape_b, b) = read(sys.argv[1]), read(sys.argv[2])
assert shape_a == shape_b, (shape_a, shape_b)
difference = math.sqrt(math.fsum((p - q) ** 2 for p, q in zip(a, b)))
error = difference / math.sqrt(math.fsum(q * q for q in b))
print(f"relative error {error:.3g}")
sys.exit(0 if error <= float(sys.argv[3]) else 1)
