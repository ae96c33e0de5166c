# ===- messages_page.py - Every message of the tools ---------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""The reference page of all diagnostics: the literals of the statements that emit one."""

import re

AREAS = {
    "Dialect": ["lib/Dialect", "lib/CAPI"],
    "Encodings, archives, quant-pack": ["lib/Encoding", "tools/quant-pack"],
    "Passes": ["lib/Transforms", "lib/Conversion"],
    "Compiler": ["lib/Target", "tools/quant-compile", "tools/quant-translate"],
    "Running": ["runtime/src", "tools/quant-run", "tools/timing"],
    "quant-inspect": ["tools/quant-inspect"],
    "quant-bench": ["tools/quant-bench"],
    "quant-tune": ["tools/quant-tune"],
    "Emulated device": ["runtime/emulated"],
}
STRING = r'"((?:[^"\\]|\\.)*)"'
EMIT = re.compile(
    r"\bemit(?:Op|Optional)?(?:Error|Warning)\(|\b(?:report|fail|decline|problem|createStringError"
    r"|onError|notifyMatchFailure)\(|\b(?:return|=) (?:error|bad|Error\{)|\.bad\("
)


def statements(text):
    """From each call that emits a message to the end of its statement: line, text."""
    for match in EMIT.finditer(text):
        depth, at = 0, match.start()
        while at < len(text):
            if literal := re.compile(STRING).match(text, at):
                at = literal.end()
                continue
            depth += (text[at] in "([{") - (text[at] in ")]}")
            if (text[at] == ";" and depth <= 0) or depth < 0 or at - match.start() > 1200:
                break
            at += 1
        yield text.count("\n", 0, match.start()) + 1, text[match.start() : at]


def message(statement):
    """The literals of a statement as one text, with … for what comes between."""
    joined = re.sub(r'"\s*(?:<<)?\s*"', "", statement)
    text = "…".join(re.findall(STRING, joined))
    text = re.sub(r"\{[^{}]*\}|%[sdu]", "…", text.replace('\\"', '"').replace("\\n", ""))
    return re.sub(r"\s+", " ", text).strip(" ;:…")


def page(root):
    text = "# All messages\n\nEvery diagnostic, remark and error of the tools, with … for names "
    text += "and numbers. What is behind the common ones is in "
    text += "[Troubleshooting](../troubleshooting.md).\n"
    for area, folders in AREAS.items():
        text += f"\n## {area}\n"
        for folder in folders:
            for path in sorted((root / folder).rglob("*.cpp")):
                source = re.sub(r"//[^\n]*", "", path.read_text())
                found = {message(s): line for line, s in reversed(list(statements(source)))}
                items = [
                    f"- `{m.replace('`', chr(39))}` (line {line})\n"
                    for m, line in sorted(found.items(), key=lambda item: item[1])
                    if len(m.split()) > 2
                ]
                if items:
                    text += f"\n**{path.relative_to(root)}**\n\n" + "".join(items)
    return text
