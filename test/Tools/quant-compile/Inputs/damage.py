# ===- damage.py - Damages the entries of a cache ----------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""damage.py HOW FOLDER: all of them."""

import pathlib
import sys

how, folder = sys.argv[1:]
entries = sorted(pathlib.Path(folder).glob("llvmcache-*"))
entries = [e for e in entries if e.suffix != ".timestamp"]
assert len(entries) > 5, entries
whole = [e.read_bytes() for e in entries]
for i, (entry, data) in enumerate(zip(entries, whole)):
    if how == "flip":  # one bit, each time elsewhere
        at = (i * 7919) % len(data)
        data = data[:at] + bytes([data[at] ^ 1 << i % 8]) + data[at + 1 :]
    elif how == "cut":
        data = data[: (i * 7919) % len(data)]
    elif how == "empty":
        data = b""
    elif how == "swap":
        data = whole[i - 1]
    else:
        data = b"\x7fELF" * 100
    entry.write_bytes(data)
