# ===- docstrings.py - Arguments in docstrings as lists ------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""An extension of griffe, which reads the package for mkdocstrings: our docstrings say what an
argument is in a line that begins with its name, and that is a list in Markdown."""

import re

import griffe

NAMED = re.compile(r"^([*\w]+(?:, [*\w]+)*)((?: \([^)]*\))?): ")


def as_lists(text):
    lines, inside = [], False
    for line in text.split("\n"):
        starts = NAMED.match(line) and (inside or not lines or not lines[-1].strip())
        inside = bool(starts) or (inside and line.startswith("    "))
        lines.append(NAMED.sub(r"- `\1`\2: ", line) if starts else line)
    return "\n".join(lines)


class ArgumentLists(griffe.Extension):
    def on_object(self, *, obj, **kwargs):
        if obj.docstring:
            obj.docstring.value = as_lists(obj.docstring.value)
