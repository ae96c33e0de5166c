# ===- code_tables.py - The tables that docs/encodings.md shows ----*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Compares the tables of codes in Fields.h with those of a page.

usage: code_tables.py FIELDS-H PAGE
"""

import re
import sys

NUMBERS = r"-?\d+(?:,\s*-?\d+)*"


def numbers(text):
    return [int(n) for n in text.split(",")]


def main():
    source, page = (open(path).read() for path in sys.argv[1:])
    tables = dict(re.findall(rf'\{{"(\w+)",\s*\d+,\s*\{{({NUMBERS})\}}\}}', source))
    assert tables, "no tables found"
    # Of those by a formula there is at least a line.
    formulas = re.findall(r'^    \w+\("(\w+)"\),$', source, re.M)
    assert formulas, "no tables by a formula found"
    for name in formulas:
        if f"| `{name}` | " not in page:
            sys.exit(f"{name}: the page does not have it")
    shown = dict(re.findall(rf"^\| `(\w+)` \| ({NUMBERS}) at f = 0 to \d+ \|$", page, re.M))
    for name, values in tables.items():
        if name not in shown or numbers(shown[name]) != numbers(values):
            sys.exit(f"{name}: the page has {shown.get(name)}, the source {values}")
    print(f"{len(tables) + len(formulas)} tables are the same")


if __name__ == "__main__":
    main()
