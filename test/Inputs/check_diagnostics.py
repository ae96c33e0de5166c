# ===- check_diagnostics.py - Every diagnostic has a test ----------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
#
# Finds the statements of C++ sources that emit a diagnostic and looks for the
# longest literal of each in the tests. A file of --unreached has those that no test can
# trigger: a literal on a line, after a # why. Each has to be in the sources, and in no
# test.
#
# Usage: check_diagnostics.py [--unreached FILE] SOURCE... -- TEST...
# A SOURCE or TEST may be a folder: of sources .cpp and .h count, of tests all text.

import os
import re
import sys

STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
EMIT = re.compile(r"\bemit(?:Op|Optional)?Error\(|\breport\(|\bexpected\(\)|\bproblem = ")


def statements(text):
    """From each call that emits an error to the end of its statement: the line and the
    literals, those side by side as one."""
    for match in EMIT.finditer(text):
        depth, at, literals, joins = 0, match.start(), [], False
        while at < len(text):
            literal = STRING.match(text, at)
            if literal:
                value = re.sub(r"\\(.)", r"\1", literal[0][1:-1])
                if joins:
                    literals[-1] += value
                else:
                    literals.append(value)
                at, joins = literal.end(), True
                continue
            if not text[at].isspace():
                joins = False
            if text[at] in "([{":
                depth += 1
            elif text[at] in ")]}":
                depth -= 1
            if (text[at] == ";" and depth <= 0) or depth < 0:
                break
            at += 1
        yield text.count("\n", 0, match.start()) + 1, literals


def files(paths, extensions=None):
    for path in paths:
        if not os.path.isdir(path):
            yield path
        for folder, _, names in os.walk(path):
            for name in sorted(names):
                if not extensions or os.path.splitext(name)[1] in extensions:
                    yield os.path.join(folder, name)


def read(path):
    with open(path, encoding="utf-8", errors="replace") as f:
        return f.read()


def main():
    arguments, unreached, listed = sys.argv[1:], {}, ""
    if arguments[0] == "--unreached":
        listed, why = os.path.realpath(arguments[1]), ""
        for line in read(arguments[1]).splitlines():
            if line.startswith("#"):
                why = line[1:].strip()
            elif line.strip():
                unreached[line.strip()] = why
        arguments = arguments[2:]
    split = arguments.index("--")
    tests = "\n".join(
        read(path)
        for path in files(arguments[split + 1 :])
        if os.path.realpath(path) != listed
    )
    missing = found = 0
    used = set()
    for path in files(arguments[:split], [".cpp", ".h"]):
        text = re.sub(r"//[^\n]*", lambda m: " " * len(m[0]), read(path))
        for line, literals in statements(text):
            longest = max(literals, key=len, default="").strip(" '\"")
            if len(longest) < 4:
                continue
            found += 1
            tested = longest in tests
            if longest in unreached:
                used.add(longest)
                if tested:
                    print(f"{path}:{line}: has a test, and is listed as unreached: {longest}")
                    missing += 1
            elif not tested:
                print(f"{path}:{line}: no test has: {longest}")
                missing += 1
    for gone in unreached.keys() - used:
        print(f"no source has what is listed as unreached: {gone}")
        missing += 1
    if not found:
        sys.exit("no diagnostic found: is the path right?")
    if missing:
        sys.exit(f"{missing} of {found} diagnostics have no test")
    print(f"{found} diagnostics, all tested")


if __name__ == "__main__":
    main()
