# ===- api_pages.py - References of C and of Python -----------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""The references of the C ABI, from the headers' comments, and of the Python package, from its
docstrings, which mkdocstrings reads (without running the package)."""

import re
import textwrap

# Headers of C, and what they are for.
HEADERS = {
    "qlinear-runtime/runtime.h": "Run compiled functions",
    "qlinear-runtime/artifact.h": "Artifacts that are linked into a program",
    "qlinear-runtime/packed.h": "Parts of packed weights",
    "qlinear-runtime/program.h": "Modules that were lowered to machine code",
    "qlinear-runtime/torch.h": "PyTorch's operators without Python",
}
# Modules of Python, and the names of each; none: its __all__.
MODULES = {
    "qlinear": None,
    "qlinear.nn": None,
    "qlinear.archive": ["write_archive", "write_tensors"],
}
COMMENT = re.compile(r"/\*(.*?)\*/", re.S)
# What a declaration declares: a pointer to functions, a type, a macro, a function.
NAMES = [
    re.compile(p)
    for p in (r"\(\*(\w+)\)\(", r"\}\s*(\w+);$", r"#define (\w+)", r"(\w+)\s*\(", r"(\w+);$")
]


def prose(comment):
    """The words of a comment, without its frame."""
    lines = [re.sub(r"^\s*[|*]?\*?\|?\s?", "", line) for line in comment.strip("\n").split("\n")]
    lines = [re.sub(r"\s*\*\|$", "", line).rstrip(" *") for line in lines]
    return textwrap.dedent("\n".join(lines)).strip()


def introduction(text):
    """What the head of a header says: text, and lines that are indented, as a listing."""
    head = COMMENT.match(text)[1]
    words = prose(head).split("SPDX-License-Identifier", 1)[1].split("\n", 1)[1]
    words = re.sub(r"^=+-+=+$|^\\?\*?=+.*$", "", words, flags=re.M).strip("\n -=")
    return re.sub(r"((?:^  .*(?:\n|$))+)", r"```text\n\1```\n", escape(words), flags=re.M)


def escape(words):
    """Words of a comment are no HTML."""
    return re.sub(r"<(?=\w)", "&lt;", words)


def declarations(text):
    """(name, code, words) of all that a header declares, in its order. A comment is of what
    follows it, up to an empty line."""
    text = text.split('extern "C" {\n#endif\n', 1)[1].rsplit("\n#ifdef __cplusplus", 1)[0]
    text = re.sub(r"#if defined\(_WIN32\).*?#endif\n", "", text, flags=re.S)
    words, inside, block, depth = "", False, [], 0
    for line in re.split(r"\n", text):
        if inside or (not block and line.startswith("/*")):
            words = f"{words}\n{line}" if inside else line
            inside = "*/" not in line
        elif not block and not line.strip():
            words = ""
        else:
            block.append(line)
            depth += line.count("{") - line.count("}")
            code = re.sub(r"/\*.*?(\*/|$)", "", line).rstrip()
            is_macro = block[0].startswith("#define") and not code.endswith("\\")
            if depth == 0 and (is_macro or code.endswith(";")):
                code = "\n".join(block).replace("QLR_API ", "")
                name = next(m[1] for m in (n.search(COMMENT.sub("", code)) for n in NAMES) if m)
                yield name, textwrap.dedent(code), prose(COMMENT.match(words)[1]) if words else ""
                block = []
    assert not block, f"not understood: {block}"


def c_page(root):
    text = "# C\n\nWhat the headers of [the runtime](../../runtime/include/qlinear-runtime) say.\n"
    for header, title in HEADERS.items():
        source = (root / "runtime/include" / header).read_text()
        text += f"\n## {title}\n\n`#include <{header}>`\n\n{introduction(source)}\n"
        for name, code, words in declarations(source):
            text += f"\n### {name}\n\n```c\n{code}\n```\n\n{escape(words)}\n"
    return text


def python_page():
    text = "# Python\n\nWhat the docstrings say; [the guide](../python.md) shows how it is used.\n"
    for module, names in MODULES.items():
        text += f"\n## {module}\n\n::: {module}\n    options:\n      show_root_heading: false\n"
        text += "      show_root_toc_entry: false\n      heading_level: 3\n"
        if names:
            text += f"      members: [{', '.join(names)}]\n"
    return text
