# ===- use_wheel.py - All that a wheel with the compiler promises ---*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""usage: use_wheel.py DIRECTORY

For a Python in which only the wheel and numpy are installed, with a PATH that has nothing but the
wheel's commands: packs a weight, compiles it for CPUs, as PTX and for the emulated GPU, verifies
it against float64, and calls it from numpy; measures it; and, where there is the package onnx,
takes a layer of an ONNX model. Prints how long each step took."""

import importlib.util
import json
import os
import pathlib
import re
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
TOOLS = "bench", "compile", "import-onnx", "inspect", "opt", "pack", "run", "tune"
PACKAGE = pathlib.Path(qlinear.__file__).resolve().parent
LIBRARIES = "libQLinearOnnxruntime.so", "libQLinearRuntime.so.1", "qlinear_call.abi3.so"


def run(*command):
    began = time.monotonic()
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert not done.returncode, f"{' '.join(command)}:\n{done.stdout}{done.stderr}"
    print(f"{time.monotonic() - began:6.2f} s  {' '.join(command)}", flush=True)
    return done.stdout


def call_from_numpy(weight):
    os.environ["QLINEAR_CALLS"] = "native"  # an error where the extension cannot be loaded
    began = time.monotonic()
    module = qlinear.load(qlinear.compile(TEXT, "cpu:native"), "packed.safetensors", "cpu:1")
    x = np.random.default_rng(1).standard_normal((3, 256)).astype(np.float32)
    y, want = module.linear(x), x.astype(np.float64) @ weight.T
    off = np.linalg.norm(y - want) / np.linalg.norm(want)
    assert 0 < off < 0.12, off
    print(f"{time.monotonic() - began:6.2f} s  from Python: off by {off:.3f} of its norm")
    times = []
    for _ in range(1000):
        began = time.perf_counter()
        module.linear(x[:1], out=y[:1])
        times.append(time.perf_counter() - began)
    print(f"{min(times) * 1e6:6.1f} us a call of one row")


def import_onnx():
    """A linear layer of an ONNX model, by way of quant-compile."""
    import onnx
    from onnx import helper, numpy_helper

    rng = np.random.default_rng(2)
    codes, scales = rng.integers(0, 256, (64, 3, 16), np.uint8), rng.random((64, 3), np.float32)
    node = helper.make_node(
        *("MatMulNBits", ["x", "B", "s"], ["y"], "layer"), domain="com.microsoft",
        K=96, N=64, bits=4, block_size=32, accuracy_level=4,
    )  # fmt: skip
    float32 = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        *([node], "model", [helper.make_tensor_value_info("x", float32, ["rows", 96])]),
        [helper.make_tensor_value_info("y", float32, ["rows", 64])],
        [numpy_helper.from_array(codes, "B"), numpy_helper.from_array(scales, "s")],
    )
    imports = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=imports), "model.onnx")
    run("quant-compile", "model.onnx", "--target=cpu:native", "-o", "model.so")
    module = qlinear.load("model.so", "model.packed.safetensors", "cpu")
    (name,) = module.functions
    x = rng.standard_normal((3, 96), np.float32)
    low, high = codes & 15, codes >> 4
    values = np.stack([low, high], -1).reshape(64, 3, 32) - 8.0
    want = x.astype(np.float64) @ (values * scales[..., None]).reshape(64, 96).T
    off = np.linalg.norm(getattr(module, name)(x) - want) / np.linalg.norm(want)
    assert 0 < off < 0.02, off


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    for tool in ("cc", "gcc", "clang", "ld", "ld.lld", "ld.lld-22", "ptxas"):
        assert not shutil.which(tool), f"{tool} is on PATH"
    for tool in TOOLS:
        assert f"QLinear {qlinear.__version__}" in run(f"quant-{tool}", "--version")
    assert qlinear.runtime_version() == qlinear.__version__
    for library in LIBRARIES:
        assert (PACKAGE / "lib" / library).exists(), library

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
    run("quant-compile", "layer.mlir", "--target=cpu", "-o", "cpu.so", "--header=layer.h")
    included = re.findall(r"<(qlinear-runtime/\S+)>", pathlib.Path("layer.h").read_text())
    assert included and all((PACKAGE / "include" / name).exists() for name in included), included
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

    call_from_numpy(weight)
    report = run("quant-bench", "256x512", "--encoding", "row-u8,Q4_K", "--rows", "1", "--json")
    assert len(json.loads(report)["results"]) == 2
    if importlib.util.find_spec("onnx"):
        import_onnx()


if __name__ == "__main__":
    main()
