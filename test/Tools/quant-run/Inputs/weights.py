# ===- weights.py - Damaged weights, and those of another model -*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""weights.py DIRECTORY BIN: two models of one shape, archives that are damaged, archives
without checksums."""

import json
import os
import shutil
import struct
import subprocess
import sys

import numpy as np
from safetensors.numpy import save_file

directory, tools = sys.argv[1:]
shutil.rmtree(directory, ignore_errors=True)
os.makedirs(directory)
os.chdir(directory)


def run(tool, *arguments, status=0, **env):
    command = [os.path.join(tools, tool), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False,
                          env={**os.environ, **env})  # fmt: skip
    assert done.returncode == status, (command, done.stdout, done.stderr)
    return done.stderr if status else done.stdout


def header_of(path):
    with open(path, "rb") as f:
        (size,) = struct.unpack("<Q", f.read(8))
        return 8 + size, json.loads(f.read(size))


ENCODING = "u4, group = 32, zero, scale = bf16, offset = u4"
with open("m.mlir", "w") as f:
    f.write(
        f"""#e = #qlinear.encoding<{ENCODING}>
qlinear.parameter @a : !qlinear.weight<16x64, #e> from "a.weight"
qlinear.parameter @b : !qlinear.weight<16x64, #e> from "b"
func.func @f(%x: tensor<?x64xf32>) -> (tensor<?x16xf32>, tensor<?x16xf32>) {{
  %a = qlinear.load @a : !qlinear.weight<16x64, #e>
  %b = qlinear.load @b : !qlinear.weight<16x64, #e>
  %y:2 = qlinear.linear %x, %a, %b
      {{schedule = #qlinear.schedule<kernels = [#qlinear.cpu_gemv<rows = 1>]>}}
      : (tensor<?x64xf32>, !qlinear.weight<16x64, #e>, !qlinear.weight<16x64, #e>)
      -> (tensor<?x16xf32>, tensor<?x16xf32>)
  return %y#0, %y#1 : tensor<?x16xf32>, tensor<?x16xf32>
}}
"""
    )
for seed, name in enumerate(("one", "two")):
    rng = np.random.default_rng(seed)
    weights = {f"{w}.weight": rng.normal(size=(16, 64)).astype(np.float32) for w in "abc"}
    save_file(weights, f"{name}.floats")
    run("quant-pack", f"{name}.floats", "-o", name, "--quantize", "int4:32", "--encoding", ENCODING,
        "--report", f"{name}.json")  # fmt: skip
sums = {
    name: w["xxh3"]
    for name, w in json.loads(header_of("one")[1]["__metadata__"]["qlinear"])["weights"].items()
}
with open("one.json") as f:
    reported = {t["name"]: t["xxh3"] for t in json.load(f)["tensors"]}
assert sums == reported and len(set(sums.values())) == 3, sums
try:  # another implementation of it
    import xxhash
except ImportError:
    pass
else:
    start, header = header_of("one")
    with open("one", "rb") as f:
        data = f.read()
    for name, value in sums.items():
        begin, end = header[name]["data_offsets"]
        assert xxhash.xxh3_64(data[start + begin : start + end]).hexdigest() == value, name

# The archive alone.
assert run("quant-pack", "--check", "one").startswith("3 weights, ")
shutil.copy("one", "damaged")
start, header = header_of("damaged")
with open("damaged", "r+b") as f:
    f.seek(start + header["b.weight"]["data_offsets"][1] - 7)
    byte = f.read(1)[0]
    f.seek(-1, 1)
    f.write(bytes([byte ^ 0x10]))
message = run("quant-pack", "--check", "damaged", status=1)
assert "weight 'b.weight' is damaged" in message and "'a.weight'" not in message, message
# Packing it again, or back to floats, does not hide the damage.
for more in ((), ("--dequantize", "f32"), ("--encoding", "row-u8")):
    message = run("quant-pack", "damaged", "-o", "again", *more, status=1)
    assert "weight 'b.weight' is damaged" in message and not os.path.exists("again")
# An archive of before: no checksums.
start, header = header_of("one")
about = json.loads(header["__metadata__"]["qlinear"])
for w in about["weights"].values():
    del w["xxh3"]
header["__metadata__"]["qlinear"] = json.dumps(about)
text = json.dumps(header).encode()
text += b" " * (start - 8 - len(text))
with open("one", "rb") as f:
    f.seek(start)
    body = f.read()
with open("old", "wb") as f:
    f.write(struct.pack("<Q", len(text)) + text + body)
message = run("quant-pack", "--check", "old", status=1)
assert "'a.weight' has no checksum; pack it again" in message, message
run("quant-pack", "old", "-o", "again", "--encoding", "lossless")
run("quant-pack", "--check", "again")
message = run("quant-pack", "--check", "one.floats", status=1)
assert "is not a packed archive" in message, message
for broken in (7, "short"):
    about["weights"]["a.weight"]["xxh3"] = broken
    header["__metadata__"]["qlinear"] = json.dumps(about)
    text = json.dumps(header).encode()
    assert len(text) <= start - 8
    text += b" " * (start - 8 - len(text))
    with open("bad", "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + body)
    assert "hexadecimal digits" in run("quant-pack", "--check", "bad", status=1)

# Artifacts: of any archive that fits, and bound to the first.
target = ("m.mlir", "--target=cpu:portable")
run("quant-compile", *target, "-o", "any.so")
run("quant-compile", *target, "-o", "bound.so", "--params", "one")
run("quant-compile", *target, "-o", "unbound.so", "--params", "old")
OTHER = "is another than the artifact was compiled for"
for artifact, archive, problem in (
    ("any.so", "one", ""),
    ("any.so", "two", ""),
    ("any.so", "damaged", "weight 'b.weight' is damaged"),
    ("any.so", "old", "has no checksum"),
    ("bound.so", "one", ""),
    ("bound.so", "two", OTHER),
    ("bound.so", "damaged", "weight 'b.weight' is damaged"),
    ("bound.so", "old", "has no checksum"),
    ("unbound.so", "two", ""),
):
    where = (f"./{artifact}", "-w", archive)
    run("quant-run", *where)  # nobody asked
    for ask, env in (
        (("--verify",), {}),
        (("--check-weights",), {}),
        ((), {"QLINEAR_CHECK_WEIGHTS": "1"}),
    ):
        # Verifying needs no checksums, unless the artifact is bound to an archive.
        expected = "" if (artifact, archive, ask) == ("any.so", "old", ("--verify",)) else problem
        said = run("quant-run", *where, *ask, status=1 if expected else 0, **env)
        assert expected in said, (artifact, archive, ask, said)
# Bound anew.
run("quant-compile", *target, "-o", "bound.so", "--params", "two")
run("quant-run", "bound.so", "-w", "two", "--verify")
assert OTHER in run("quant-run", "bound.so", "-w", "one", "--verify", status=1)
print("weights: passed")
