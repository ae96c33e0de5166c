#!/usr/bin/env python3
# ===- count_tests.py - Counts of a lit run -----------------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Prints `N passed, N failed, N skipped` from the log of a lit run.

lit's own summary is read, since its JSON report leaves out skipped tests. The
exit status is 0 if tests passed and none failed.
"""

import re
import sys

PASSED = {"Passed", "Passed With Retry", "Expectedly Failed"}
SKIPPED = {"Unsupported", "Skipped", "Excluded"}


def main(path):
    with open(path, errors="replace") as f:
        log = f.read()
    total, counts = 0, {}
    if found := re.search(r"^Total Discovered Tests: (\d+)\n((?:  .*\n)*)", log, re.M):
        total = int(found[1])
        for name, n in re.findall(r"^  (.+?) *: +(\d+)", found[2], re.M):
            counts[name] = int(n)
    passed = sum(n for name, n in counts.items() if name in PASSED)
    skipped = sum(n for name, n in counts.items() if name in SKIPPED)
    failed = total - passed - skipped  # whatever lit calls the others
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 0 if passed and not failed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
