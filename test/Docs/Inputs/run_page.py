# ===- run_page.py - The snippets of a page work -------------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Checks each fenced block of a page by its language, in order, in one empty folder.

    sh       is run, and has to succeed; the tools and $PREFIX are those of the package.
             A block whose first line is "# fails" has to fail.
    text     right after sh: what the commands print, numbers included; "..." stands for
             anything in a line, and on its own for any lines.
    console  is not run (it needs a GPU, a network, a model); the options it gives to our
             tools have to exist, and so have scripts of the repository.
    mlir     parses, unless it has "...", which makes it a sketch.
    c, c++   compiles, unless it is a sketch, or has a title: commands after it compile it.
    python, cmake, json    a sketch, or right by its own parser (cmake: if it has a title).

A block with title="NAME" is also written to that file, for the commands after it.

Usage: run_page.py PAGE... --work DIR --prefix PREFIX
"""

import argparse
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

FENCE = re.compile(
    r'^```(?P<language>[\w+-]*)(?: title="(?P<title>[^"]+)")?[^\n]*\n(?P<body>.*?)^```$',
    re.M | re.S,
)
ROOT = pathlib.Path(__file__).resolve().parents[3]
MADE = r"<!-- made: \w+ -->\n\Z"
LLVM_INCLUDE = "/usr/lib/llvm-22/include"


class Failure(Exception):
    pass


def as_pattern(expected):
    """A regular expression for the output that a `text` block shows."""
    pattern = ""
    for line in expected.rstrip().splitlines():
        if line.strip() == "...":
            pattern += r"(?:[^\n]*\n)*?"
            continue
        words = [re.escape(word).replace(r"\.\.\.", ".*?") for word in line.split()]
        pattern += r"[ \t]*" + r"[ \t]+".join(words) + r"[ \t]*\n"
    return pattern


class Page:
    def __init__(self, work, prefix):
        self.work = work
        self.env = {
            **os.environ,
            "PREFIX": str(prefix),
            "PATH": os.pathsep.join([
                str(prefix / "bin"), os.path.dirname(sys.executable), os.environ["PATH"],
                "/usr/lib/llvm-22/bin",
            ]),
            "LC_ALL": "C.UTF-8",
        }  # fmt: skip
        self.prefix = prefix
        self.output = None

    def run(self, command, text=None):
        return subprocess.run(
            command, cwd=self.work, env=self.env, input=text, text=True, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def must(self, command, text=None):
        run = self.run(command, text)
        if run.returncode != 0:
            words = shlex.join(map(str, command))
            raise Failure(f"{words}: exit status {run.returncode}\n{run.stdout}")
        return run.stdout

    def check(self, language, body, has_title):
        sketch = "..." in body
        output, self.output = self.output, None
        if language == "sh":
            fails = body.startswith("# fails")
            run = self.run(["bash", "-euo", "pipefail", "-c", body])
            if (run.returncode != 0) != fails:
                raise Failure(f"exit status {run.returncode}\n{run.stdout}")
            self.output = run.stdout
        elif language == "text" and output is not None:
            if not re.search(as_pattern(body), output + "\n"):
                raise Failure(f"the commands before print:\n{output}")
        elif language == "console":
            self.check_options(body)
        elif language == "mlir" and not sketch:
            self.must(["quant-opt", "--allow-unregistered-dialect", "-"], body)
        elif language in ("c", "c++") and not sketch and not has_title:
            c, cxx = ["clang-22", "-std=c11"], ["clang++-22", "-std=c++20"]
            compiler = c if language == "c" else cxx
            self.must([*compiler, "-x", language, "-fsyntax-only", "-Wall", "-Werror",
                       f"-I{self.work}", f"-I{self.prefix}/include", "-isystem", LLVM_INCLUDE, "-"],
                      body)  # fmt: skip
        elif language == "python" and not sketch:
            compile(body, "snippet", "exec")
        elif language == "json" and not sketch:
            json.loads(body)

    def check_options(self, body):
        """Of each command of ours, the options are in its help."""
        for line in body.replace("\\\n", " ").splitlines():
            words = line.split("#")[0].split()
            for word in words:
                if re.match(r"(scripts|benchmarks|examples)/", word) and not (ROOT / word).exists():
                    raise Failure(f"there is no {word}")
            is_tool = [bool(re.fullmatch(r"(?:\S*/)?quant-[a-z-]+", w)) for w in words]
            tools = [i for i, tool in enumerate(is_tool) if tool]
            for start, end in zip(tools, [*tools[1:], len(words)]):
                tool = os.path.basename(words[start])
                known = self.must([tool, "--help"])
                for word in words[start + 1 : end]:
                    if word in ("|", "&&", ";"):
                        break
                    option = re.match(r"--[a-zA-Z][\w-]*", word)
                    if option and not re.search(re.escape(option[0]) + r"(?![\w-])", known):
                        raise Failure(f"{tool} has no option {option[0]}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("pages", type=pathlib.Path, nargs="+")
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--prefix", type=pathlib.Path, required=True)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    count = 0
    for path in args.pages:
        page, text = Page(args.work, args.prefix), path.read_text()
        for block in FENCE.finditer(text):
            # Listings that docs/site/kernel_page.py makes are excerpts.
            if re.search(MADE, text[: block.start()]):
                continue
            count += 1
            if block["title"]:
                (args.work / block["title"]).write_text(block["body"])
            try:
                page.check(block["language"], block["body"], bool(block["title"]))
            except (Failure, SyntaxError, ValueError) as failure:
                line = text.count("\n", 0, block.start()) + 1
                sys.exit(f"{path}:{line}: {block['language']}: {failure}\n{block['body']}")
    if not count:
        sys.exit("no snippets")
    print(f"{count} snippets")


if __name__ == "__main__":
    main()
