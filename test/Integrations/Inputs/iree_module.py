# ===- iree_module.py - Compiled functions in modules of IREE -*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""iree_module.py DIRECTORY GENERATOR ISA: functions with our object code on IREE's CPU devices,
their weights from our archive, against float64 and bit for bit against the runtime; and one with
our PTX, compiled by IREE for CUDA."""

import pathlib
import shutil
import subprocess
import sys

import numpy as np
import qlinear

tests = pathlib.Path(__file__).resolve().parents[3] / "python" / "tests"
sys.path.insert(0, str(tests))
import layers  # noqa: E402
import reference  # noqa: E402

work, generator, isa = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
bin_folder = pathlib.Path(sys.executable).parent
shutil.rmtree(work, ignore_errors=True)
work.mkdir(parents=True)
E = layers.MIXED_ENCODING
W = "!qlinear.weight<{}, #e>"
MODULE = f"""
#e = #qlinear.encoding<{E}>
qlinear.parameter @up : {W.format("80x96")}
qlinear.parameter @gate : {W.format("80x96")}
func.func @one(%x: tensor<?x96xf32>) -> tensor<?x80xf32> {{
  %w = qlinear.load @up : {W.format("80x96")}
  %y = qlinear.linear %x, %w : (tensor<?x96xf32>, {W.format("80x96")}) -> tensor<?x80xf32>
  return %y : tensor<?x80xf32>
}}
func.func @gated(%x: tensor<?x96xf32>, %bias: tensor<80xf32>, %res: tensor<?x80xf32>)
    -> tensor<?x80xf32> {{
  %g = qlinear.load @gate : {W.format("80x96")}
  %u = qlinear.load @up : {W.format("80x96")}
  %y = qlinear.linear %x, %g, %u extras(%bias, %res)
      : (tensor<?x96xf32>, {W.format("80x96")}, {W.format("80x96")}, tensor<80xf32>,
         tensor<?x80xf32>) -> tensor<?x80xf32> {{
  ^bb0(%a: f32, %b: f32, %c: f32, %r: f32):
    %0 = arith.addf %a, %c : f32
    %1 = arith.mulf %0, %b : f32
    %2 = arith.addf %1, %r : f32
    qlinear.yield %2 : f32
  }}
  return %y : tensor<?x80xf32>
}}
"""
(work / "layers.mlir").write_text(MODULE)
archive = layers.pack(work, {"up": (E, 80, 96), "gate": (E, 80, 96)})
w = {
    name: reference.dequantize(p.blob, p.encoding, p.n, p.k)
    for name, p in qlinear.Archive(archive).weights.items()
}
rng = np.random.default_rng(4)


def run(*command, **more):
    return subprocess.run(list(map(str, command)), check=True, cwd=work, **more)


def generate(name, folder, *options, **more):
    command = (sys.executable, generator, "layers.mlir", "--function", name, "-o", folder, *options)
    if more:
        return subprocess.run(list(map(str, command)), cwd=work, **more)
    run(*command)
    run(bin_folder / "iree-compile", f"{folder}/{name}.mlir", "-o", f"{folder}/module.vmfb",
        f"--iree-hal-executable-object-search-path={folder}")  # fmt: skip


def called(folder, name, inputs, device):
    options = []
    for i, array in enumerate(inputs):
        np.save(work / f"x{i}.npy", array)
        options.append(f"--input=@x{i}.npy")
    run(bin_folder / "iree-run-module", f"--device={device}", f"--module={folder}/module.vmfb",
        f"--function={name}", f"--parameters=model={archive}", *options, "--output=@y.npy",
        stdout=subprocess.DEVNULL)  # fmt: skip
    return np.load(work / "y.npy")


for name in ("one", "gated"):
    generate(name, name, f"--target=cpu:{isa}")
    module = qlinear.load(work / name / "layers.so", archive)
    # More rows than the kernels' variants, and devices with one and with several threads.
    for rows, device in ((1, "local-sync"), (3, "local-task"), (300, "local-task")):
        x = layers.random(rng, (rows, 96))
        inputs, want = [x], reference.quantize_activations(x) @ w["up"].T
        if name == "gated":
            bias, res = layers.random(rng, 80), layers.random(rng, (rows, 80))
            inputs += [bias, res]
            want = (reference.quantize_activations(x) @ w["gate"].T + bias) * want + res
        y = called(name, name, inputs, device)
        np.testing.assert_array_equal(y, module[name](*inputs))
        assert np.linalg.norm(y - want) <= 1e-5 * np.linalg.norm(want)
print("functions agree on IREE's CPU devices")

generate("gated", "cuda", "--target=cuda:sm_90", "--rows=4")
text = (work / "cuda" / "gated.mlir").read_text()
assert '"hal.dispatch.extern"' in text and "kernels.ptx" in text
assert b"sm_90" in (work / "cuda" / "module.vmfb").read_bytes()
print("IREE compiles the module for CUDA")

for options, message in (
    (("--target=cuda:sm_90",), "give --rows"),
    (("--function=none",), "there is no function 'none'; the module has one, gated"),
):
    failed = generate("gated", "failed", *options, capture_output=True, text=True)
    assert failed.returncode == 1 and message in failed.stderr, failed.stderr
print("errors name what is wrong")
