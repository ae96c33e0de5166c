# ===- compare.py - Two memrefs that were printed ---------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
#
# Usage: compare.py ACTUAL EXPECTED    fails beyond the 6 digits that are printed

import re
import sys


def numbers(path):
    with open(path) as f:
        text = f.read().split("data =")[1]
    return [float(v) for v in re.findall(r"-?\d[\d.e+-]*|nan|inf", text)]


actual, expected = map(numbers, sys.argv[1:])
largest = max(map(abs, expected))
pairs = list(zip(actual, expected, strict=True))
assert len(pairs) == 99 and largest > 1, (len(pairs), largest)
bad = [(a, e) for a, e in pairs if not abs(a - e) <= 2e-5 * largest]
print(f"{len(bad)} of {len(pairs)} differ", bad[:5])
sys.exit(bool(bad))
