# ===- run_package.py - A package of AOTInductor in plain PyTorch ----*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""run_package.py FOLDER LIBRARY: runs what examples/aot-inductor/export.py wrote."""

import sys

import torch

folder, library = sys.argv[1:]
torch.ops.load_library(library)
model = torch._inductor.aoti_load_package(f"{folder}/model.pt2")
x, y = (torch.from_file(f"{folder}/{n}.bin", size=7 * k) for n, k in (("x", 256), ("y", 40)))
with torch.inference_mode():
    assert torch.equal(model(x.reshape(7, 256)), y.reshape(7, 40))
assert not [name for name in sys.modules if name.partition(".")[0] == "qlinear"]
