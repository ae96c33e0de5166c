# ===- every_pass.py - Every pass of ours in the distribution's mlir-opt -*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------------===#
#
# The names come from the sources and from quant-opt's help, so that a new pass is
# tested without being listed here. mlir-opt runs each on an empty module, prints what
# it ran with all its options, and runs that text again.
#
# Usage: every_pass.py MLIR-OPT PLUGIN SOURCES

import pathlib
import re
import subprocess
import sys

mlir_opt, plugin, sources = sys.argv[1:]
LOAD = [f"--load-dialect-plugin={plugin}", f"--load-pass-plugin={plugin}"]
MODULE = "module attributes {gpu.container_module} { gpu.module @kernels { } }\n"


def names_in_sources():
    names = set()
    for path in pathlib.Path(sources).glob("*/**/*"):
        if path.parts[len(pathlib.Path(sources).parts)] not in ("include", "lib", "tools"):
            continue
        if path.suffix not in (".td", ".cpp", ".h"):
            continue
        text = path.read_text()
        names.update(re.findall(r'Pass<"(qlinear-[\w-]+)"', text))
        argument = r'getArgument\(\) const override \{\s*return "(qlinear-[\w-]+)"'
        names.update(re.findall(argument, text))
        names.update(re.findall(r'\badd<\w+>\(\s*"(qlinear-[\w-]+)"', text))
        names.update(re.findall(r'registerPassPipeline\(\s*"(qlinear-[\w-]+)"', text))
    return names


def names_in_help():
    text = subprocess.run(["quant-opt", "--help"], capture_output=True, text=True, check=True)
    return set(re.findall(r"^ +--(qlinear-[\w-]+)", text.stdout, re.M))


def run(pipeline, *flags):
    command = [mlir_opt, *LOAD, f"--pass-pipeline={pipeline}", *flags, "-"]
    return subprocess.run(command, input=MODULE, capture_output=True, text=True)


def anchored(name):
    """The pass where it can run: on the module, or nested in it."""
    first = None
    for pipeline in (
        f"builtin.module({name})",
        f"builtin.module(gpu.module({name}))",
        f"builtin.module(func.func({name}))",
    ):
        ran = run(pipeline, "--dump-pass-pipeline")
        if not ran.returncode:
            return pipeline, ran.stderr
        first = first or ran.stderr
    sys.exit(f"mlir-opt cannot run {name}:\n{first}")


listed, found = names_in_sources(), names_in_help()
if listed != found:
    sys.exit(f"only in the sources: {listed - found}; only in quant-opt: {found - listed}")
for name in sorted(found):
    pipeline, dump = anchored(name)
    text = re.search(r"^\s*(builtin\.module\(.*\))\s*$", dump, re.M | re.S).group(1)
    text = re.sub(r"\s+", " ", text)
    again = run(text)
    if again.returncode:
        sys.exit(f"mlir-opt does not run what {name} prints itself as, {text}:\n{again.stderr}")
    options = " ".join(re.findall(r"\{[^{}]*\}", text))
    print(f"ok {name} {options}")
