# ===- wide_lines.py - Lines of a help that are too wide --------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""wide_lines.py TOOL: fails if a line of standard input is wider than 80 columns and could be
broken: it is no example, no usage and not LLVM's own, and has words to break it at."""

import sys

tool = sys.argv[1]
for line in sys.stdin.read().splitlines():
    shows = line.strip().lower().startswith((tool, "usage:", "--help", "--version"))
    if len(line) > 80 and not shows and len(line.split()) > 3:
        sys.exit(f"{tool} --help is wider than 80 columns: {line}")
