# ===- export.py - A packed model as a package of AOTInductor -------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""export.py FOLDER: writes model.pt2, kernels/, x.bin, and what the model makes of that, y.bin."""

import os
import pathlib
import sys

folder = pathlib.Path(sys.argv[1]).absolute()
folder.mkdir(parents=True, exist_ok=True)
os.environ["QLINEAR_CACHE"] = str(folder / "kernels")

import qlinear.nn  # noqa: E402
import torch  # noqa: E402

torch.manual_seed(0)
model = torch.nn.Sequential(
    torch.nn.Linear(256, 512), torch.nn.SiLU(), torch.nn.Linear(512, 40, bias=False)
)
qlinear.nn.swap_linears(model, "row-u8")
model.requires_grad_(False)
x = torch.randn(4, 256)
program = torch.export.export(model, (x,), dynamic_shapes=({0: torch.export.Dim("rows")},))
torch._inductor.aoti_compile_and_package(program, package_path=str(folder / "model.pt2"))

# What runs the package takes kernels from here; those of other machines are made by targets=.
qlinear.nn.prepare(model)
x = torch.randn(7, 256)
x.numpy().tofile(folder / "x.bin")
with torch.no_grad():
    model(x).numpy().tofile(folder / "y.bin")
