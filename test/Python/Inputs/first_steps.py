# ===- first_steps.py - Packs, compiles and calls one layer --------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""usage: first_steps.py DIRECTORY PREFIX

Packs a weight into DIRECTORY, compiles a layer for it and compares with floats. The
package, its library and quant-pack have to lie below PREFIX."""

import os
import pathlib
import sys

import numpy as np
import qlinear
from qlinear.archive import write_tensors

TEXT = """
#e = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = u4>
qlinear.parameter @w : !qlinear.weight<48x96, #e>
func.func @linear(%x: tensor<?x96xf32>) -> tensor<?x48xf32> {
  %w = qlinear.load @w : !qlinear.weight<48x96, #e>
  %y = qlinear.linear %x, %w
      : (tensor<?x96xf32>, !qlinear.weight<48x96, #e>) -> tensor<?x48xf32>
  return %y : tensor<?x48xf32>
}
"""


def main():
    directory, prefix = (os.path.realpath(p) for p in sys.argv[1:])
    folder = pathlib.Path(directory)
    folder.mkdir(exist_ok=True)
    weight = np.random.default_rng(0).standard_normal((48, 96)).astype(np.float32)
    write_tensors(folder / "floats.safetensors", {"w": ("F32", weight.shape, weight)})
    encoding = "u4, group = 32, zero, scale = bf16, offset = u4"
    packed = folder / "packed.safetensors"
    qlinear.pack(
        folder / "floats.safetensors", packed, quantize="int4:32", encoding=encoding, include="."
    )
    module = qlinear.load(qlinear.compile(TEXT, "cpu:portable"), packed, "cpu:portable")
    x = np.random.default_rng(1).standard_normal((3, 96)).astype(np.float32)
    y, want = module.linear(x), x @ weight.T
    assert np.linalg.norm(y - want) < 0.12 * np.linalg.norm(want)
    with open("/proc/self/maps") as f:
        libraries = {line.split()[-1] for line in f if "libQLinearRuntime.so" in line}
    for path in (qlinear.__file__, qlinear.find_tool("quant-pack"), *libraries):
        assert os.path.realpath(path).startswith(prefix + os.sep), path
    assert len(libraries) == 1, libraries


if __name__ == "__main__":
    main()
