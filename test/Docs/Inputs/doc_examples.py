# ===- doc_examples.py - The examples of the reference parse -------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
#
# Parses the fenced `mlir` examples of .td files. An example may use values and the
# encodings below without defining them; one with "..." is a sketch and is skipped.
# A comment that ends in "becomes" separates two modules.
#
# Usage: doc_examples.py FILE.td...

import re
import subprocess
import sys
import textwrap

PRELUDE = {
    "#q4": "<u4, group = 32, zero, scale = bf16, offset = bf16>",
    "#q4_row": "<u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>>",
    "#q4_k": "<u4, group = 32, min, scale = u6 * block<256, f16>, offset = u6 * block<256, f16>>",
}


def complete(example):
    """The example as a module: attributes and types become attributes of one."""
    lines = [line for line in example.splitlines() if not line.strip().startswith("//")]
    text = textwrap.dedent("\n".join(lines)).strip()
    if re.match(r"[#!]qlinear\.", text):
        items = re.split(r"\n(?=[#!]qlinear\.)", text)
        text = "".join(f"module attributes {{example.a = {item}}} {{}}\n" for item in items)
    aliases = "".join(
        f"{name} = #qlinear.encoding{spelling}\n"
        for name, spelling in PRELUDE.items()
        if re.search(name + r"\b", text) and not re.search(f"^{name} =", text, re.M)
    )
    return aliases + text


def main():
    parsed = failed = 0
    for path in sys.argv[1:]:
        with open(path, encoding="utf-8") as f:
            source = f.read()
        for match in re.finditer(r"```mlir\n(.*?)```", source, re.S):
            if "..." in match[1]:
                continue
            line = source.count("\n", 0, match.start()) + 1
            parts = re.split(r"^ *//.* becomes\n", match[1], flags=re.M)
            text = "// -----\n".join(map(complete, parts))
            command = ["quant-opt", "-", "--split-input-file", "--allow-unregistered-dialect"]
            run = subprocess.run(command, input=text, capture_output=True, text=True)
            errors = re.findall(r"error: (.*)", run.stderr)
            unknown = [e for e in errors if "use of undeclared SSA value name" not in e]
            if unknown or run.returncode not in (0, 1):
                print(f"{path}:{line}: {run.stderr}{text}")
                failed += 1
            parsed += 1
    if failed or not parsed:
        sys.exit(f"{failed} of {parsed} examples do not parse")
    print(f"{parsed} examples")


if __name__ == "__main__":
    main()
