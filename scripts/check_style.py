#!/usr/bin/env python3
# ===- check_style.py - Rules that no formatter checks ------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Checks source files: the licence header, their length, unfinished work, and that each
layer includes only what docs/architecture.md lets it; in pages, links to files.

    scripts/check_style.py [FILE ...]      default: all files that git tracks
"""

import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
SPDX = "SPDX-" + "License-Identifier: Apache-2.0 WITH LLVM-exception"
CODE = {".h", ".c", ".cpp", ".cuh", ".cu", ".inc", ".td", ".py", ".sh"}
MAX_LINES = 600
MAX_COLUMNS = 100
UNFINISHED = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X|not " + r"implemented)\b", re.I)
HOME = re.compile(r"(?<![\w.])/(root|home/\w+|work)/")
# The layers of docs/architecture.md: their folders, and the other layers that they may
# include. LOW ones know neither MLIR nor LLVM.
LAYERS = {
    "Support": (["include/qlinear/Support/"], []),
    "Encoding": (["include/qlinear/Encoding/", "lib/Encoding/"], ["Support"]),
    "Dialect": (["include/qlinear/Dialect/", "lib/Dialect/"], ["Support", "Encoding"]),
    "Transforms": (
        ["include/qlinear/Transforms/", "lib/Transforms/"],
        ["Support", "Encoding", "Dialect", "contracts"],
    ),
    "Conversion": (
        ["include/qlinear/Conversion/", "lib/Conversion/"],
        ["Support", "Encoding", "Dialect", "Transforms", "contracts"],
    ),
    "Target": (
        ["include/qlinear/Target/", "lib/Target/"],
        ["Support", "Encoding", "Dialect", "contracts", "Transforms", "Conversion", "runtime ABI"],
    ),
    # What micro-kernels and the code around them agree on; neither includes the other.
    "contracts": (["include/qlinear/Kernels/"], ["Encoding"]),
    "kernels": (["kernels/"], ["Encoding", "contracts"]),
    "runtime ABI": (["runtime/include/"], []),
    "runtime": (["runtime/src/", "runtime/emulated/"], ["Support", "Encoding", "runtime ABI"]),
}
LOW = ("Support", "Encoding", "contracts", "kernels", "runtime ABI", "runtime")
ROOTS = {"qlinear/": "include/", "qlinear-c/": "include/", "qlinear-runtime/": "runtime/include/"}
INCLUDE = re.compile(r'\s*#\s*include\s*[<"]([^">]+)')


def layer_of(name):
    for layer, (folders, _) in LAYERS.items():
        if name.startswith(tuple(folders)):
            return layer
    return None


def wrong_include(name, target):
    """Why the file `name` must not include `target`, or nothing."""
    layer = layer_of(name)
    if layer is None:
        return None
    if target.startswith(("mlir/", "llvm/")):
        return "MLIR or LLVM" if layer in LOW else None
    root = next((root for start, root in ROOTS.items() if target.startswith(start)), None)
    path = root + target if root else os.path.normpath(f"{name}/../{target}")
    other = layer_of(path)
    if other in (None, layer, *LAYERS[layer][1]):
        return None
    return f"'{target}' of {other}"


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
        include = INCLUDE.match(line)
        if include and (wrong := wrong_include(name, include[1])):
            yield i, f"{layer_of(name)} must not include {wrong} (docs/architecture.md)"


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
