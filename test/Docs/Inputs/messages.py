# ===- messages.py - The messages of a page are in the sources -----*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
#
# Takes the messages of docs/troubleshooting.md, the code at the start of each item of a
# list, and looks for their parts (between "…") in the sources: in order, near each other.
#
# Usage: messages.py PAGE REPOSITORY

import pathlib
import re
import sys

FOLDERS = ("lib", "tools", "runtime", "cmake", "scripts", "include", "python/src")
KINDS = {".cpp", ".h", ".py", ".sh", ".cmake"}
NEAR = 600  # characters of source between two parts of a message


def normal(text):
    """Literals that are continued on the next line in one piece, without escapes."""
    text = re.sub(r'"\s*(?:<<|f)?\s*"', "", text)
    return re.sub(r"\s+", " ", text.replace('\\"', '"'))


def is_in(text, parts):
    """Whether the parts occur in order, each near the one before."""
    start = text.find(parts[0])
    while start >= 0:
        at = start + len(parts[0])
        for part in parts[1:]:
            found = text.find(part, at, at + NEAR + len(part))
            if found < 0:
                break
            at = found + len(part)
        else:
            return True
        start = text.find(parts[0], start + 1)
    return False


def main():
    page, root = pathlib.Path(sys.argv[1]).read_text(), pathlib.Path(sys.argv[2])
    files = [p for folder in FOLDERS for p in (root / folder).rglob("*") if p.suffix in KINDS]
    sources = [normal(path.read_text()) for path in [*files, root / "CMakeLists.txt"]]
    messages = [normal(m) for m in re.findall(r"^- `([^`]+)`$", page, re.M)]
    missing = 0
    for message in messages:
        # Short parts such as quotes and spaces are everywhere.
        parts = [p.strip(" '") for p in message.split("…")]
        parts = [p for p in parts if len(p) > 3]
        if not parts:
            sys.exit(f"'{message}' has no text to look for")
        if not any(is_in(text, parts) for text in sources):
            print(f"no source has: {message}")
            missing += 1
    if missing or len(messages) < 50:
        sys.exit(f"{missing} of {len(messages)} messages are not in the sources")
    print(f"{len(messages)} messages, all in the sources")


if __name__ == "__main__":
    main()
