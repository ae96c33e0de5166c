# ===- outputs.py - What the tools write to --------------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""outputs.py DIRECTORY BIN: each output of each tool goes to a new file, a file that others
may not read, a link, a fifo, names as long as can be, and (as root) a device that is full.
Names that are longer fail before any work. Standard output that cannot be written is an
error."""

import json
import os
import shutil
import stat
import subprocess
import sys
import threading

import numpy as np
from safetensors.numpy import save_file

directory, tools = sys.argv[1:]
shutil.rmtree(directory, ignore_errors=True)
os.makedirs(directory)
os.chdir(directory)

ENCODING = "u4, group = 32, zero, scale = bf16, offset = u4"
with open("m.mlir", "w") as f:
    f.write(
        f"""#e = #qlinear.encoding<{ENCODING}>
qlinear.parameter @w : !qlinear.weight<16x64, #e> from "w.weight"
func.func @f(%x: tensor<1x64xf32>) -> tensor<1x16xf32> {{
  %w = qlinear.load @w : !qlinear.weight<16x64, #e>
  %y = qlinear.linear %x, %w
      : (tensor<1x64xf32>, !qlinear.weight<16x64, #e>) -> tensor<1x16xf32>
  return %y : tensor<1x16xf32>
}}
"""
    )
save_file({"w.weight": np.random.default_rng(3).normal(size=(16, 64)).astype("f4")}, "floats")
with open("table.json", "w") as f:
    json.dump([], f)


# The same files with what only the work finds: an operation that is no part of a linear, and
# a weight that was damaged after it was packed.
BAD = {"m.mlir": "bad.mlir", "floats": "bad", "w.safetensors": "bad", "table.json": "bad.json",
       "auto": "no-such-encoding"}
with open("m.mlir") as source, open("bad.mlir", "w") as f:
    f.write(source.read().replace("return %y", "%z = \"other.op\"(%y) : "
                                  "(tensor<?x16xf32>) -> tensor<?x16xf32>\n  return %z"))
with open("bad.json", "w") as f:
    f.write("[{}]")


def run(tool, *arguments, **more):
    command = [os.path.join(tools, tool), *arguments]
    return subprocess.run(command, stderr=subprocess.PIPE, timeout=100, check=False, **more)


def made(done):
    assert done.returncode == 0, (done.args, done.stderr)


pack = ("quant-pack", "floats", "--quantize", "int4:32", "--encoding", ENCODING, "--quiet")
compiler = ("quant-compile", "m.mlir", "--target=cpu:portable")
made(run(*pack, "-o", "w.safetensors"))
made(run(*compiler, "-o", "m.so"))
with open("w.safetensors", "rb") as source, open("bad", "wb") as f:
    data = bytearray(source.read())
    data[-1] ^= 1
    f.write(data)
# A command, which is followed by the name of its output; which of them is quick.
OUTPUTS = {
    "quant-compile mlir": (*compiler, "--emit=mlir", "-o"),
    "quant-compile llvm": (*compiler, "--emit=llvm", "-o"),
    "quant-compile obj": (*compiler, "--emit=obj", "-o"),
    "quant-compile ptx": ("quant-compile", "m.mlir", "--target=cuda:sm_80", "--emit=ptx", "-o"),
    "quant-compile so": (*compiler, "-o"),
    "quant-compile header": (*compiler, "-o", "x.so", "--header"),
    "quant-pack": (*pack, "-o"),
    "quant-pack report": (*pack, "-o", "x.safetensors", "--report"),
    "quant-run": ("quant-run", "m.so", "--check-weights", "--weights", "w.safetensors", "--output"),
    "quant-tune": ("quant-tune", "merge", "table.json", "-o"),
}


def importer():
    """quant-import-onnx, where onnx is there."""
    sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../quant-import-onnx/Inputs"))
    import onnx
    from onnx_layers import Model

    model = Model()
    model.nbits("a", 16, 64, 4, 32, "packed")
    onnx.save(model.model(), "m.onnx")
    tool = ("quant-import-onnx", "m.onnx", "--only-linears", "--quiet", "-e", "auto")
    OUTPUTS["quant-import-onnx"] = (*tool, "--weights", "x.safetensors", "-o")
    OUTPUTS["quant-import-onnx weights"] = (*tool, "-o", "x.mlir", "--weights")


def to_fifo(command):
    os.mkfifo("fifo")
    got = []

    def read():
        with open("fifo", "rb") as f:
            got.append(f.read())

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    made(run(*command, "fifo"))
    thread.join(10)
    assert stat.S_ISFIFO(os.stat("fifo").st_mode), f"{command}: the fifo is gone"
    os.remove("fifo")
    return got[0]


def to_link(command):
    os.makedirs("elsewhere")
    os.symlink("elsewhere/real", "link")
    made(run(*command, "link"))
    assert os.path.islink("link"), f"{command}: the link is gone"
    with open("elsewhere/real", "rb") as f:
        data = f.read()
    shutil.rmtree("elsewhere")
    os.remove("link")
    return data


def to_private(command):
    with open("private", "w") as f:
        f.write("before")
    os.chmod("private", 0o600)
    made(run(*command, "private"))
    assert stat.S_IMODE(os.stat("private").st_mode) == 0o600, f"{command}: others may read it"
    with open("private", "rb") as f:
        data = f.read()
    os.remove("private")
    return data


LONGEST = os.pathconf(".", "PC_NAME_MAX")


def to_long_names(command):
    data = []
    for name in ("n" * LONGEST, "n" * 201, "é" * (LONGEST // 2)):
        made(run(*command, name))
        with open(name, "rb") as f:
            data.append(f.read())
        os.remove(name)
    return data[-1]


def too_long(command):
    """Inputs with which the work fails: it is not even begun."""
    command = [BAD.get(a, a) for a in command]
    done = run(*command, "new")
    assert done.returncode == 1 and b"too long" not in done.stderr, (command, done.stderr)
    cause = done.stderr
    assert not os.path.exists("new"), command
    for name in ("n" * (LONGEST + 1), "d/" * 2500 + "n"):
        done = run(*command, name)
        assert done.returncode == 1, (command, done.stderr)
        assert b"File name too long" in done.stderr, (command, done.stderr)
        assert cause not in done.stderr, (command, done.stderr)


def to_stdout(command):
    os.symlink("/proc/self/fd/1", "stdout")
    done = run(*command, "stdout", stdout=subprocess.PIPE)
    made(done)
    assert os.path.islink("stdout"), f"{command}: what /dev/stdout would be is gone"
    os.remove("stdout")
    return done.stdout


def to_full(command):
    os.mknod("full", stat.S_IFCHR | 0o666, os.makedev(1, 7))
    done = run(*command, "full")
    assert done.returncode == 1 and b"No space left" in done.stderr, (command, done.stderr)
    assert stat.S_ISCHR(os.stat("full").st_mode), f"{command}: the device is gone"
    os.remove("full")


def can_make_devices():
    try:
        os.mknod("null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        open("null", "w").close()
    except OSError:
        return False
    os.remove("null")
    return True


try:
    importer()
except ImportError:
    pass
ways = [to_fifo, to_link, to_private, to_stdout, to_long_names]
devices = can_make_devices()
for name, command in OUTPUTS.items():
    before = sorted(os.listdir("."))
    made(run(*command, "new"))
    with open("new", "rb") as f:
        wanted = f.read()
    os.remove("new")
    assert wanted, name
    # The shared library has its own name inside, the report its output's.
    same = name not in ("quant-compile so",)
    for way in ways if name.split()[-1] not in ("llvm", "mlir") else ways[:1]:
        data = way(command)
        assert data == wanted or (not same and data[:4] == wanted[:4]), (name, way.__name__)
    if devices:
        to_full(command)
    too_long(command)
    for extra in ("x.mlir", "x.so", "x.safetensors"):
        if os.path.exists(extra):
            os.remove(extra)
    left = sorted(set(os.listdir(".")) - set(before))
    assert left == [], f"{name} left {left}"

# Two outputs that are one, an output that is an input.
for command in (
    (*compiler, "-o", "both", "--header=both"),
    (*compiler, "-o", "both", "--header=./both"),
    (*compiler, "-o", "m.mlir"),
    (*compiler, "-o", "w.safetensors", "--params=w.safetensors"),
    (*pack, "-o", "both", "--report", "both"),
    ("quant-run", "m.so", "-w", "w.safetensors", "-o", "m.so"),
    ("quant-run", "m.so", "-w", "w.safetensors", "-o", "w.safetensors"),
):
    done = run(*command)
    assert done.returncode == 1 and b"error" in done.stderr, (command, done.stderr)
    assert b"the input" in done.stderr or b"two outputs" in done.stderr, done.stderr
    assert not os.path.exists("both"), command

# A second output that cannot be written: the first does not appear.
for command in (
    (*compiler, "-o", "first", "--header=none/h"),
    (*pack, "-o", "first", "--report", "none/r"),
):
    done = run(*command)
    assert done.returncode == 1 and b"none/" in done.stderr, (command, done.stderr)
    assert not os.path.exists("first"), command

# What is printed.
if os.path.exists("/dev/full"):
    for command in (
        ("quant-pack", "--list", "w.safetensors"),
        ("quant-pack", "--check", "w.safetensors"),
        ("quant-pack", "--help"),
        ("quant-run", "m.so", "-w", "w.safetensors"),
        ("quant-run", "m.so", "-w", "w.safetensors", "--json"),
        ("quant-tune", "--help"),
        (*compiler, "--emit=mlir", "-o", "-"),
    ):
        with open("/dev/full", "w") as full:
            done = run(*command, stdout=full)
        assert done.returncode == 1, (command, done.returncode)
        assert b"cannot write to standard output" in done.stderr, (command, done.stderr)
print("outputs: passed")
