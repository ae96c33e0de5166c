#!/usr/bin/env python3
# ===- kernel_page.py - One linear, followed to machine code -------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Makes the listings of docs/kernel.md with the real tools.

    kernel_page.py --bin BUILD/bin [-o OUTPUT]     default: docs/kernel.md itself

A fence after <!-- made: NAME --> is replaced by what the maker NAME gives; the layer is the
page's own block with the title layer.mlir. PTX becomes machine code where ptxas is on PATH,
and that becomes text where nvdisasm (of the CUDA toolkit) is; where one is not, what the page
shows already stays.
"""

import argparse
import collections
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/kernel.md"
MADE = re.compile(r"(<!-- made: (\w+) -->\n)```([\w+]+)\n(.*?)^```$", re.M | re.S)


class Listing:
    """Assembly of one kind: where blocks begin, what an instruction reads and writes."""

    def __init__(self, label, dot, accumulate, instruction, writes):
        self.label, self.dot, self.accumulate = label, dot, accumulate
        self.instruction, self.writes = instruction, writes

    def heart(self, text):
        """The lines of the basic block with the most dot products."""
        blocks, current = [], []
        for line in text.splitlines():
            if re.match(self.label, line):
                current = []
                blocks.append(current)
            elif line.strip():
                current.append(line)
        return max(blocks, key=lambda lines: sum(self.dot in line for line in lines))

    def parse(self, line):
        """What the instruction of a line writes and reads."""
        match = re.match(self.instruction, line)
        if not match:
            return set(), set()
        return self.writes(match)

    def slice(self, lines, end):
        """The lines on which the result of line `end` depends."""
        wanted, kept = self.parse(lines[end])[1], [lines[end]]
        for line in reversed(lines[:end]):
            writes, reads = self.parse(line)
            if writes & wanted:
                wanted = wanted - writes | reads
                kept.append(line)
        return kept[::-1]

    def one_row(self, text):
        """Of the heart, what one row of the weight takes: its 8 dot products and all that
        they need and feed."""
        lines = self.heart(text)
        best = []
        for i, line in enumerate(lines):
            if re.search(self.accumulate, line):
                kept = self.slice(lines, i)
                if sum(self.dot in k for k in kept) == 8 and len(kept) > len(best):
                    best = kept
        return best


def registers(pattern):
    return lambda text: set(re.findall(pattern, text))


def ptx_writes(match):
    regs = registers(r"%\w+")
    if match["op"].startswith(("st", "bra")):
        return set(), regs(match["to"] + match["rest"])
    return regs(match["to"]), regs(match["rest"])


def sass_writes(match):
    regs = registers(r"\bU?R\d+")
    first = match["to"].strip()
    reads = regs(match["rest"])
    if match["op"].startswith("ST") or not re.fullmatch(r"U?R\d+", first):
        return set(), reads
    count = {"LDS.128": 4, "LDS.64": 2}.get(match["op"], 1)
    number = int(re.search(r"\d+", first)[0])
    return {f"{first[: first.index('R') + 1]}{number + i}" for i in range(count)}, reads


def llvm_writes(match):
    regs = registers(r"%[\w.]+")
    return regs(match["to"]), regs(match["rest"])


LLVM = Listing(r"[\w.]+:", "idp4a", r"@llvm\.fma",
               r" *(?P<to>%[\w.]+) = (?P<rest>.*)", llvm_writes)  # fmt: skip
PTX = Listing(r"\$L\w+:", "dp4a", r"^\s*fma",
              r"\s*(?P<op>[\w.:]+)\s+(?P<to>\{[^}]*\}|[^,]*),(?P<rest>.*)", ptx_writes)  # fmt: skip
SASS = Listing(r"\.L_\w+:", "IDP.4A", r"FFMA",
               r" */\*\w+\*/ +(?:@\S+ +)?(?P<op>[\w.]+) (?P<to>[^,]*),(?P<rest>.*)",
               sass_writes)  # fmt: skip


def tidy(lines):
    """Without indentation, attributes and metadata."""
    text = []
    for line in lines:
        line = re.sub(r", !tbaa !\d+|(?<=\)) #\d+|\bnoundef ", "", line.strip())
        text.append(re.sub(r"[ \t]+", " ", line))
    return "\n".join(text)


def wrap(line, width=96):
    """A long line in several, the rest indented."""
    indent = len(line) - len(line.lstrip()) + 4
    return textwrap.fill(line, width, subsequent_indent=" " * indent, break_long_words=False)


class Makers:
    def __init__(self, bin_dir, work, layer):
        self.bin, self.work = bin_dir, work
        (work / "layer.mlir").write_text(layer)
        self.lowered = self.tool("quant-opt", "--pass-pipeline=builtin.module(qlinear-cuda)")
        self.temps = work / "temps"
        self.tool("quant-compile", "--target=cuda:sm_90", "-o", "layer.so",
                  f"--save-temps={self.temps}")  # fmt: skip
        self.llvm_text = self.tool("quant-compile", "--target=cuda:sm_90", "--emit=llvm", "-o", "-")
        self.ptx_text = (self.temps / "cuda-sm_90.ptx").read_text()

    def tool(self, name, *options):
        run = subprocess.run([self.bin / name, "layer.mlir", *options], cwd=self.work, text=True,
                             capture_output=True, check=False)  # fmt: skip
        if run.returncode:
            sys.exit(f"{name} {' '.join(options)}: {run.stderr}")
        return run.stdout

    def schedule(self):
        text = self.tool("quant-opt", "--mlir-print-local-scope",
                         "--qlinear-schedule=target=cuda:sm_90")  # fmt: skip
        head, kernel, tail = re.search(
            r"(#qlinear\.schedule<kernels = \[)(#qlinear\.gemv<[^>]*>)(\],[^>]*>)", text
        ).groups()
        # Lines end between fields.
        kernel = wrap("    " + kernel.replace(" = ", "\u00a0=\u00a0")).replace("\u00a0", " ")
        return f"{head}\n{kernel}{tail[:2]}\n    {tail[2:].strip()}"

    def launch(self):
        launch = re.search(r"%0 = (qlinear\.launch .*)", self.lowered)[1]
        launch = re.sub(r" (weights\(|: \()", r"\n  \1", launch)
        return "\n".join(map(wrap, launch.splitlines()))

    def skeleton(self):
        kernel = re.search(r"^    gpu\.func @linear0_m1.*?^    }$", self.lowered, re.M | re.S)[0]
        lines = [re.sub(r"^    ", "", line) for line in kernel.splitlines()]
        # The types of calls say nothing that the arguments do not.
        lines = [re.sub(r"(call @\w+\(.*?\)) : .*", r"\1", line) for line in lines]
        return "\n".join(wrap(line) for line in lines if "arith.constant" not in line)

    def micro(self):
        source = (ROOT / "kernels/cuda/Unit.h").read_text()
        return re.search(r"^/// Adds row j's share.*?^}$", source, re.M | re.S)[0]

    def llvm(self):
        return tidy(LLVM.one_row(self.llvm_text))

    def ptx(self):
        return tidy(PTX.one_row(self.ptx_text))

    def disassembly(self):
        cubin = self.temps / "cuda-sm_90.cubin"
        if not cubin.exists() or not shutil.which("nvdisasm"):
            return None
        run = ["nvdisasm", "-c", cubin]
        return subprocess.run(run, capture_output=True, text=True, check=True).stdout

    def sass(self):
        text = self.disassembly()
        if text is None:
            return None
        lines = (re.sub(r"/\*\w+\*/ *|;", "", line) for line in SASS.one_row(text))
        return tidy(line.replace(".reuse", "").rstrip() for line in lines)

    def counts(self):
        text = self.disassembly()
        if text is None:
            return None
        lines = SASS.heart(text)
        ops = (re.match(r" */\*\w+\*/ +(?:@\S+ +)?([A-Z0-9]+)", line) for line in lines)
        counts = collections.Counter(op[1] for op in ops if op)
        total = sum(counts.values())
        table = "  ".join(f"{op} {n}" for op, n in counts.most_common())
        return f"{total} instructions for 4 rows x 32 columns = 128 weights\n{table}"

    def resources(self):
        log = self.temps / "cuda-sm_90.ptxas.txt"
        if not log.exists():
            return None
        pattern = r"(?:Used \d+ registers|\d+ bytes stack frame).*"
        return "\n".join(re.findall(pattern, log.read_text()))


def make(page, bin_dir):
    """The page with its listings made anew."""
    layer = re.search(r'^```mlir title="layer\.mlir"\n(.*?)^```$', page, re.M | re.S)[1]
    with tempfile.TemporaryDirectory() as work:
        makers = Makers(bin_dir.resolve(), pathlib.Path(work), layer)

        def replace(match):
            text = getattr(makers, match[2])()
            if text is None:
                return match[0]
            if not text.strip():
                sys.exit(f"nothing was found for the listing '{match[2]}' of docs/kernel.md")
            return f"{match[1]}```{match[3]}\n{text}\n```"

        return MADE.sub(replace, page)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", type=pathlib.Path, required=True, help="where the tools are")
    parser.add_argument("-o", "--output", type=pathlib.Path, default=PAGE)
    args = parser.parse_args()
    text = make(PAGE.read_text(), args.bin)
    temporary = args.output.with_suffix(".tmp")
    temporary.write_text(text)
    os.replace(temporary, args.output)


if __name__ == "__main__":
    main()
