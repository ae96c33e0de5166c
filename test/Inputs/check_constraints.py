# ===- check_constraints.py - Constraints, verifiers and tests agree -*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
#
# The description of an operation, attribute or type lists its constraints, (C1), (C2)
# and so on; a verifier's message ends with the one that is broken, and so does what a
# test expects: "(C3 of qlinear.linear)". This finds
#
#   in the reference   numbers that are not 1, 2, 3, ...
#   in the sources     messages that cite nothing, or what the reference does not have
#   in the tests       the same, and constraints of the reference that no test cites
#
# A test that passes has seen its message, so each constraint is one of a verifier.
#
# Usage: check_constraints.py REFERENCE.md SOURCE... -- TEST...
# The reference is what mlir-tblgen -gen-dialect-doc prints.

import re
import sys

from check_diagnostics import STRING, read, statements

HEADING = re.compile(r"^### (?:`[^`]*` \(\w+::)?(\w+?)(Op|Attr|Type)\b")
LISTED = re.compile(r"^- \(C(\d+)\)")
CITED = re.compile(r"\(C(\d+) of ([#!]?[\w.]+)\)")
IN_SOURCE = re.compile(r"\bcite(?:<(\w+)>)?\(((?:[^()]|\([^()]*\))*)\)")
SIGIL = {"Op": "", "Attr": "#", "Type": "!"}


def name_of(stem, kind):
    """`#qlinear.cpu_gemv` of "CpuGemv" and "Attr"."""
    return SIGIL[kind] + "qlinear." + re.sub(r"(?<=[a-z])(?=[A-Z])", "_", stem).lower()


def constraints_of(reference):
    found, name = {}, ""
    for line in reference.splitlines():
        if heading := HEADING.match(line):
            name = name_of(*heading.groups())
            found[name] = []
        elif listed := LISTED.match(line):
            found[name].append(int(listed[1]))
    return found


def citing_statements(path):
    """The line, the literals and the citation of each message of a verifier."""
    text = re.sub(r"//[^\n]*", lambda m: " " * len(m[0]), read(path))
    lines = STRING.sub(lambda m: "_" * len(m[0]), text).splitlines(keepends=True)
    for line, literals in statements(text):
        rest = "".join(lines[line - 1 :])
        if not re.match(r"[^;]*\bemit(OpError|Error\(\))", rest):
            continue  # of a parser
        # A diagnostic that is continued ends with the function that returns it.
        end = rest.index(";")
        if re.match(r"\s*InFlightDiagnostic diag\b", rest) or "diag =" in lines[line - 2]:
            end = rest.index("\n}", end)
        texts = [literal.strip(" '\"") for literal in literals] or [""]
        yield line, texts[0], max(texts, key=len), IN_SOURCE.findall(rest[:end])[:1]


def main():
    arguments = sys.argv[1:]
    split = arguments.index("--")
    listed = constraints_of(read(arguments[0]))
    problems, messages = [], 0
    for name, numbers in listed.items():
        if numbers != list(range(1, len(numbers) + 1)):
            problems.append(f"{name}: the constraints are numbered {numbers}")

    tests = [
        (f"{path}:{number}", line)
        for path in arguments[split + 1 :]
        for number, line in enumerate(read(path).splitlines(), 1)
    ]
    seen = set()
    for where, line in tests:
        for number, name in CITED.findall(line):
            seen.add((name, int(number)))
            if int(number) not in listed.get(name, []):
                problems.append(f"{where}: {name} has no constraint C{number}")
    for name, numbers in listed.items():
        for number in numbers:
            if (name, number) not in seen:
                problems.append(f"no test has (C{number} of {name})")

    expected = {}  # of the lines of tests: the numbers that their messages can have
    for path in arguments[1:split]:
        for line, first, longest, cited in citing_statements(path):
            messages += 1
            where = f"{path}:{line}"
            if not cited:
                problems.append(f"{where}: cites no constraint: {longest}")
                continue
            owner, argument = cited[0]
            number = argument.split()[-1]
            kind = re.fullmatch(r"(\w+?)(Op|Attr|Type)", owner)
            if kind and number.isdigit():
                name = name_of(*kind.groups())
                if int(number) not in listed.get(name, []):
                    problems.append(f"{where}: {name} has no constraint C{number}")
            if len(longest) < 10:  # tells no message from others
                continue
            for test in tests:
                if first in test[1] and longest in test[1]:
                    expected.setdefault(test, set()).add(number if number.isdigit() else "")
    for (where, text), numbers in expected.items():
        got = {number for number, _ in CITED.findall(text)}
        if not got & numbers and not (got and "" in numbers):
            problems.append(f"{where}: does not have (C{'|C'.join(sorted(numbers))} of ...)")
    for problem in problems:
        print(problem)
    if not messages or not seen:
        sys.exit("no message or no citation was found: are the paths right?")
    if problems:
        sys.exit(f"{len(problems)} problems")
    print(f"{sum(map(len, listed.values()))} constraints, {messages} messages, all tested")


if __name__ == "__main__":
    main()
