# ===- say.py - An artifact that says another thing than it does --*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""usage: say.py int8|float FROM TO

Copies an artifact. The linears of the copy say that their activations are quantized, or
that they are not; its kernels are the same."""

import pathlib
import sys

# As long as what it replaces: a member with the name "int9" means nothing.
replace = {
    "int8": (b'"int8":false', b'"int8":true '),
    "float": (b'"int8":true', b'"int9":true'),
}
format_, source, target = sys.argv[1:]
old, new = replace[format_]
data = pathlib.Path(source).read_bytes()
assert old in data and len(old) == len(new)
pathlib.Path(target).write_bytes(data.replace(old, new))
