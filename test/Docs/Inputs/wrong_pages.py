# ===- wrong_pages.py - run_page.py finds what is wrong ------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
#
# Usage: wrong_pages.py --work DIR --prefix PREFIX

import os
import pathlib
import subprocess
import sys

WRONG = {
    "a command that fails": ("sh", "quant-opt none.mlir"),
    "a command that should fail": ("sh", "# fails\ntrue"),
    "other output": ("sh", "echo 3 weights\n```\n```text\n2 weights"),
    "another number": ("sh", "echo 4.51 bits\n```\n```text\n4.52 bits"),
    "MLIR that does not parse": ("mlir", "qlinear.parameter @w : !qlinear.weight<8x, #q>"),
    "C that does not compile": ("c", '#include "qlinear-c/Dialect.h"\nint x = mlirNone();'),
    "C++ that does not compile": ("c++", '#include "qlinear/Encoding/None.h"'),
    "Python that is none": ("python", "def f(:"),
    "JSON that is none": ("json", '{"a": }'),
    "a script that does not exist": ("console", "scripts/dance.sh"),
    "an option that does not exist": ("console", "quant-pack model.gguf --colour red"),
}
RIGHT = {
    "output": ("sh", "echo 3 weights, 4.51 bits\n```\n```text\n3 weights, 4.51 ..."),
    "an option": ("console", "quant-pack model.gguf -o x --encoding auto  # --not this"),
}


def main():
    args = sys.argv[1:]
    work = pathlib.Path(args[args.index("--work") + 1])
    work.mkdir(parents=True, exist_ok=True)
    for expected, pages in ((1, WRONG), (0, RIGHT)):
        for name, (language, body) in pages.items():
            page = work / "page.md"
            page.write_text(f"# Page\n\n```{language}\n{body}\n```\n")
            script = os.path.join(os.path.dirname(__file__), "run_page.py")
            run = subprocess.run([sys.executable, script, page, *args], capture_output=True,
                                 text=True, check=False)  # fmt: skip
            if run.returncode != expected:
                sys.exit(f"{name}: exit status {run.returncode}\n{run.stdout}{run.stderr}")


if __name__ == "__main__":
    main()
