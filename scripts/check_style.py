#!/usr/bin/env python3
# ===- check_style.py - Rules that no formatter checks ------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Checks source files: the licence header, their length, unfinished work, and that
the lower layers include neither MLIR nor LLVM; in pages, links to files.

    scripts/check_style.py [FILE ...]      default: all files that git tracks
"""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
SPDX = "SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception"
CODE = {".h", ".c", ".cpp", ".cuh", ".cu", ".inc", ".td", ".py", ".sh"}
MAX_LINES = 600
MAX_COLUMNS = 100
UNFINISHED = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X|not " + r"implemented)\b", re.I)
HOME = re.compile(r"(?<![\w.])/(root|home/\w+|work)/")
# Folders that know neither MLIR nor LLVM, as docs/architecture.md says.
LOW = ("include/qlinear/Encoding/", "include/qlinear/Support/", "lib/Encoding/", "runtime/",
       "kernels/")


def broken_links(path):
    """Links of a page to files that are not there."""
    for i, line in enumerate(path.read_text().splitlines(), 1):
        for target in re.findall(r"\]\(([^)#\s]+)", line):
            if "://" not in target and not (path.parent / target).exists():
                yield i, f"link to '{target}', which does not exist"


def problems(name):
    path = ROOT / name
    if path.suffix == ".md" and path.is_file():
        yield from broken_links(path)
    if path.suffix not in CODE or not path.is_file():
        return
    text = path.read_text(errors="replace")
    lines = text.splitlines()
    if SPDX not in "\n".join(lines[:12]):
        yield 1, f"no licence header with '{SPDX}'"
    if len(lines) > MAX_LINES:
        yield len(lines), f"{len(lines)} lines; split files above {MAX_LINES}"
    for i, line in enumerate(lines, 1):
        if len(line) > MAX_COLUMNS and path.suffix != ".sh":  # long messages
            yield i, f"{len(line)} columns, at most {MAX_COLUMNS}"
        if found := UNFINISHED.search(line):
            yield i, f"unfinished work ('{found[0]}')"
        if found := HOME.search(line):
            yield i, f"path of one machine ('{found[0]}')"
        if name.startswith(LOW) and re.match(r'\s*#\s*include\s*[<"](mlir|llvm)/', line):
            yield i, "this layer must not include MLIR or LLVM (docs/architecture.md)"


def main(names):
    if not names:
        git = ["git", "ls-files"]
        names = subprocess.run(
            git, cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.splitlines()
    bad = 0
    for name in names:
        for line, message in problems(name):
            print(f"{name}:{line}: {message}")
            bad += 1
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
