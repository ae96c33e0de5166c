# ===- check_diagnostics.py - Every diagnostic has a test ----------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
#
# Finds the statements of C++ sources that emit a diagnostic and looks for the
# longest literal of each in the tests.
#
# Usage: check_diagnostics.py SOURCE... -- TEST...

import re
import sys

STRING = r'"(?:[^"\\]|\\.)*"'
EMIT = re.compile(r"\bemit(?:Op|Optional)?Error\(|\breport\(|\bexpected\(\)|\bproblem = ")


def statements(text):
    """From each call that emits an error to the end of its statement."""
    for match in EMIT.finditer(text):
        depth, at = 0, match.start()
        while at < len(text):
            literal = re.match(STRING, text[at:])
            if literal:
                at += literal.end()
                continue
            if text[at] in "([{":
                depth += 1
            elif text[at] in ")]}":
                depth -= 1
            if (text[at] == ";" and depth <= 0) or depth < 0:
                break
            at += 1
        yield text.count("\n", 0, match.start()) + 1, text[match.start() : at]


def main():
    split = sys.argv.index("--")
    tests = ""
    for path in sys.argv[split + 1 :]:
        with open(path, encoding="utf-8") as f:
            tests += f.read()
    missing = found = 0
    for path in sys.argv[1:split]:
        with open(path, encoding="utf-8") as f:
            text = f.read()
        text = re.sub(r"//[^\n]*", "", text)
        for line, statement in statements(text):
            joined = re.sub(r'"\s*\n?\s*"', "", statement)
            literals = re.findall(STRING, joined)
            longest = max((literal[1:-1] for literal in literals), key=len, default="").strip()
            if len(longest) < 4:
                continue
            found += 1
            if longest not in tests:
                print("%s:%d: no test has: %s" % (path, line, longest))
                missing += 1
    if not found:
        sys.exit("no diagnostic found: is the path right?")
    if missing:
        sys.exit("%d of %d diagnostics have no test" % (missing, found))
    print("%d diagnostics, all tested" % found)


if __name__ == "__main__":
    main()
