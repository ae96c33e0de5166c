# ===- _qlinear_tools.py - The compiler's tools as commands of pip --*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""What `quant-compile` and the other commands of a wheel with the compiler run: the program of
that name in the package. It is no part of the package, whose import would take longer than most
tools."""

import os
import pathlib
import sys


def main():
    name = pathlib.Path(sys.argv[0]).name
    tool = str(pathlib.Path(__file__).resolve().parent / "qlinear" / "bin" / name)
    # What these programs run in Python finds the packages of this one.
    os.environ.setdefault("QLINEAR_PYTHON", sys.executable)
    with open(tool, "rb") as file:
        in_python = file.read(2) == b"#!"
    program = [os.environ["QLINEAR_PYTHON"]] if in_python else []
    os.execvp([*program, tool][0], [*program, tool, *sys.argv[1:]])
