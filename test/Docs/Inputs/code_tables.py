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

NUMBERS = r"-?[\d.]+f?(?:,\s*-?[\d.]+f?)*"


def numbers(text):
    return [float(n.strip().rstrip("f")) for n in text.split(",")]


def main():
    source, page = (open(path).read() for path in sys.argv[1:])
    tables = {}
    for name, values, unit, floats in re.findall(
        rf'\{{"(\w+)",\s*\d+,\s*\{{({NUMBERS})\}}(?:,\s*([\d.]+)f)?(?:,\s*(\w+))?\}}', source
    ):
        tables[name] = [v * float(unit or 1) for v in numbers(values)]
        if floats:
            [values] = re.findall(rf"{floats}\[16\] = \{{({NUMBERS})\}};", source)
            tables[name] = numbers(values)
    assert len(tables) > 4, "no tables found"
    # Of those by a formula there is at least a line.
    formulas = re.findall(r'^    \w+\("(\w+)"\),$', source, re.M)
    assert formulas, "no tables by a formula found"
    for name in formulas:
        if f"| `{name}` | " not in page:
            sys.exit(f"{name}: the page does not have it")
    shown = dict(re.findall(rf"^\| `(\w+)` \| ({NUMBERS}) at f = 0 to \d+", page, re.M))
    for name, values in tables.items():
        listed = numbers(shown.get(name, "0"))
        # The page has seven digits of what is no integer or half.
        if len(listed) != len(values) or any(abs(a - b) > 5e-8 for a, b in zip(listed, values)):
            sys.exit(f"{name}: the page has {shown.get(name)}, the source {values}")
    print(f"{len(tables) + len(formulas)} tables are the same")


if __name__ == "__main__":
    main()
