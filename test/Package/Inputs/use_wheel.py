# ===- use_wheel.py - All that a wheel with the compiler promises ---*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""usage: use_wheel.py DIRECTORY

For a Python in which only the wheel and numpy are installed, with a PATH that has nothing but the
wheel's commands: packs a weight, compiles it for CPUs, as PTX and for the emulated GPU, verifies
it against float64, and calls it from numpy. Prints how long each step took."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

import numpy as np
import qlinear
from qlinear.archive import write_tensors

TEXT = """
#e = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = u4>
qlinear.parameter @w : !qlinear.weight<512x256, #e>
func.func @linear(%x: tensor<?x256xf32>) -> tensor<?x512xf32> {
  %w = qlinear.load @w : !qlinear.weight<512x256, #e>
  %y = qlinear.linear %x, %w
      : (tensor<?x256xf32>, !qlinear.weight<512x256, #e>) -> tensor<?x512xf32>
  return %y : tensor<?x512xf32>
}
"""
TOOLS = "compile", "inspect", "opt", "pack", "run"


def run(*command):
    began = time.monotonic()
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert not done.returncode, f"{' '.join(command)}:\n{done.stdout}{done.stderr}"
    print(f"{time.monotonic() - began:6.2f} s  {' '.join(command)}", flush=True)
    return done.stdout


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    for tool in ("cc", "gcc", "clang", "ld", "ld.lld", "ld.lld-22", "ptxas"):
        assert not shutil.which(tool), f"{tool} is on PATH"
    for tool in TOOLS:
        assert f"QLinear {qlinear.__version__}" in run(f"quant-{tool}", "--version")
    assert qlinear.runtime_version() == qlinear.__version__

    weight = np.random.default_rng(0).standard_normal((512, 256)).astype(np.float32)
    write_tensors("floats.safetensors", {"w": ("F32", weight.shape, weight)})
    encoding = "u4, group = 32, zero, scale = bf16, offset = u4"
    run(
        *("quant-pack", "floats.safetensors", "-o", "packed.safetensors"),
        *("--quantize", "int4:32", "--encoding", encoding, "--include", "."),
    )
    pathlib.Path("layer.mlir").write_text(TEXT)
    assert "row<bf16>" in run(
        "quant-opt", "layer.mlir", "--qlinear-compact-metadata=encoding=row-u8"
    )
    run("quant-compile", "layer.mlir", "--target=cpu", "-o", "cpu.so")
    run("quant-compile", "layer.mlir", "--target=cuda:emulated", "-o", "emulated.so")
    run("quant-compile", "layer.mlir", "--target=cpu:arm64", "-o", "arm64.so")
    run("quant-compile", "layer.mlir", "--target=cuda:sm_90", "--emit=ptx", "-o", "layer.ptx")
    assert ".target sm_90" in pathlib.Path("layer.ptx").read_text()
    assert "linear" in json.dumps(json.loads(run("quant-inspect", "--json", "cpu.so")))
    for device in ("cpu", "emulated"):
        run(
            *("quant-run", f"{device}.so", "--weights", "packed.safetensors"),
            *("--device", device, "--verify", "-M", "1,9"),
        )

    began = time.monotonic()
    module = qlinear.load(qlinear.compile(TEXT, "cpu:native"), "packed.safetensors", "cpu")
    x = np.random.default_rng(1).standard_normal((3, 256)).astype(np.float32)
    y, want = module.linear(x), x.astype(np.float64) @ weight.T
    off = np.linalg.norm(y - want) / np.linalg.norm(want)
    assert 0 < off < 0.12, off
    print(f"{time.monotonic() - began:6.2f} s  from Python: off by {off:.3f} of its norm")


if __name__ == "__main__":
    main()
