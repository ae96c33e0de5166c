# ===- failures.py - How quant-pack fails ---------------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Usage errors exit with 2, failures with 1, and nothing is left behind."""

import os
import resource
import sys

import numpy as np
from checkpoints import fresh, quant_pack, write_gguf
from safetensors.numpy import save_file

fresh(sys.argv[1])
write_gguf("a.gguf", {"w": ("Q4_K", 64, 1024), "n": ("F32", 0, 64)})
save_file({"w.weight": np.zeros((4, 64), np.float32)}, "f.safetensors")


def fails(status, part, *args, **kwargs):
    before = sorted(os.listdir("."))
    _, message = quant_pack(*args, status=status, **kwargs)
    assert part in message, f"{args}: wanted {part!r}, got {message!r}"
    assert sorted(os.listdir(".")) == before, f"{args} left {sorted(os.listdir('.'))}"


# Usage.
fails(2, "IN is required")
fails(2, "no output", "a.gguf")
fails(2, "--nonsense", "a.gguf", "-o", "o", "--nonsense")
fails(2, "unknown encoding 'rowu8'; known are auto,", "a.gguf", "-o", "o", "--encoding", "rowu8")
fails(2, "did you mean 'row-u8'?", "a.gguf", "-o", "o", "--encoding", "down=rowu8")
fails(2, "found '7' at character 13", "a.gguf", "-o", "o",
      "--encoding", "u4, group = 7, zero, scale = bf16")  # fmt: skip
fails(2, "'(' is not a regular expression", "a.gguf", "-o", "o", "--encoding", "(=auto")
fails(2, "'[' is not a regular expression", "a.gguf", "-o", "o", "--include", "[")
for spec in ("int7:32", "int4", "int4:33", "int4:32:odd", "", "int4:0"):
    fails(2, "is not CODES:GROUP[:FORM]", "f.safetensors", "-o", "o", "--quantize", spec)
fails(1, "weights are quantized to iq4nl in the symmetric form only", "f.safetensors", "-o", "o",
      "--quantize", "iq4nl:32:zero")
for snr in ("-1", "nan", "inf", "-inf", "201", "1e999"):
    fails(2, "is not a number of dB from 0 to 200", "a.gguf", "-o", "o", "--min-snr", snr)
for snr in ("x", ""):
    fails(2, "--min-snr", "a.gguf", "-o", "o", "--min-snr", snr)
fails(2, "--dequantize", "a.gguf", "-o", "o", "--dequantize", "i8")
fails(2, "--threads", "a.gguf", "-o", "o", "--threads", "0")
fails(2, "--list", "--list", "a.gguf", "-o", "o")
fails(2, "--dry-run", "--dry-run", "a.gguf", "-o", "o")

# Inputs and outputs that cannot be.
fails(1, "cannot open 'none.gguf': No such file", "none.gguf", "-o", "o")
fails(1, "the output 'a.gguf' is the input", "a.gguf", "-o", "a.gguf")
os.link("a.gguf", "same.gguf")
fails(1, "is the input", "a.gguf", "-o", "same.gguf")
fails(1, "No such file or directory", "a.gguf", "-o", "none/o")
fails(1, "Is a directory", "a.gguf", "-o", ".")
fails(1, "neither model.safetensors.index.json nor model.safetensors", ".", "-o", "o")
fails(1, "'o' is given for two outputs", "a.gguf", "-o", "o", "--report", "o")
fails(1, "is the input", "a.gguf", "-o", "o", "--report", "a.gguf")
assert not os.path.exists("o")
if os.geteuid() != 0:
    os.mkdir("locked", 0o500)
    fails(1, "Permission denied", "a.gguf", "-o", "locked/o")

# A disk that is full: as a limit of the file size, which needs no mount.
open("o", "w").write("before")
limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
fails(1, "cannot write", "a.gguf", "-o", "o", preexec_fn=limit)
assert open("o").read() == "before"

# Damage that shows only when a tensor is read.
data = bytearray(open("a.gguf", "rb").read())
start = len(data) - 64 * 4 - 64 * 576
data[start + 100 * 144 + 2 : start + 100 * 144 + 4] = b"\x00\x7c"  # dmin of block 100
open("inf.gguf", "wb").write(data)
fails(
    1,
    f"tensor 'w': the Q4_K block at offset {start + 14400} (row 25, group 0)",
    "inf.gguf",
    "-o",
    "o",
)
assert open("o").read() == "before"
for size in (0, 3, 100, len(data) - 1):
    open("short.gguf", "wb").write(data[:size])
    fails(1, "short.gguf", "short.gguf", "-o", "o")

# A report that cannot be written is an error before the work.
fails(1, "cannot write 'none/r.json'", "a.gguf", "-o", "o", "--report", "none/r.json")
assert open("o").read() == "before"
print("failures: passed")
