# ===- same_rows.py - Rows of results with and without others -------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Compares results of different numbers of rows: each has to have the bits of the first
rows of the one with the most.

usage: same_rows.py DIRECTORY

DIRECTORY has FUNCTION.M.safetensors, as `quant-run --output DIRECTORY` writes them. Prints
a line for each function, and ends with 1 if any differs.
"""

import collections
import os
import re
import sys

from safetensors.numpy import load_file


def main():
    (directory,) = sys.argv[1:]
    files = collections.defaultdict(dict)
    for name in os.listdir(directory):
        function, rows = re.fullmatch(r"(.*)\.(\d+)\.safetensors", name).groups()
        path = f"{directory}/{name}"
        files[function][int(rows)] = load_file(path)
    bad = False
    for function, results in sorted(files.items()):
        most = max(results)
        differing = []
        for rows, outputs in sorted(results.items()):
            for name, y in outputs.items():
                if y.tobytes() != results[most][name][:rows].tobytes():
                    differing.append(f"{name} of {rows}")
        bad |= bool(differing)
        print(f"{function}: {len(results)} numbers of rows up to {most},",
              f"different are {', '.join(differing)}" if differing else "the same bits")
    sys.exit(bad)


if __name__ == "__main__":
    main()
