# ===- loop_size.py - Instructions of the innermost loop ----------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
#
# Prints, per kernel in the PTX on standard input, the number of PTX instructions
# in the block that multiplies a unit with the activations.

import re
import sys

kernel = None
blocks = []  # [instructions, products] of each basic block of the kernel


def report():
    if kernel:
        hot = max(blocks, key=lambda block: block[1])
        print(f"{kernel}: {hot[0]} instructions, {hot[1]} products")


for line in sys.stdin:
    line = line.strip()
    entry = re.match(r"\.visible \.entry (\w+)", line)
    if entry:
        report()
        kernel, blocks = entry[1], [[0, 0]]
    elif line.startswith("$L"):
        blocks.append([0, 0])
    elif kernel and line.endswith(";") and not line.startswith((".", "//")):
        blocks[-1][0] += 1
        blocks[-1][1] += line.startswith(("dp4a", "mma.sync"))
report()
