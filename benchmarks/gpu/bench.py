#!/usr/bin/env python3
# ===- bench.py - The GPU benchmark in one command ------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Compiles the workload's layers, times them on a CUDA device, and draws and tabulates
the result.

    bench.py -o results --peer executorch.so --peer llamacpp.so
    bench.py -o results --compile-only       # where the GPU's machine has no compiler

OUTPUT gets ENCODING.mlir and .so, gpu.json, the plots of plot.py and the tables of
tables.py (tables.md). Layers that are compiled already are taken as they are.
"""
import argparse
import pathlib
import subprocess
import sys

from layers import INT4, SHAPES

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def fail(message):
    sys.exit(f"bench.py: error: {message}")


def tool(folder, name, hint):
    path = folder / name
    if not path.exists():
        fail(f"'{path}' is not built; {hint}")
    return str(path)


def script(name, *args, output=None):
    """Runs a script of this folder, with its output in a file."""
    made = subprocess.run([sys.executable, HERE / name, *map(str, args)], text=True,
                          stdout=subprocess.PIPE if output else None)
    if made.returncode:
        fail(f"{name} ended with {made.returncode}")
    if output:
        output.write_text(made.stdout)


def compile_layers(args):
    for encoding in args.encodings:
        artifact = args.output / f"{encoding}.so"
        if artifact.exists():
            continue
        source = args.output / f"{encoding}.mlir"
        script("layers.py", encoding, "--shapes", args.shapes, output=source)
        print(f"compiling {artifact}", flush=True)
        compiler = tool(args.bin, "quant-compile", "ninja -C build/release quant-compile, or "
                        "bring compiled layers (--compile-only)")
        subprocess.run([compiler, source, f"--target={args.target}", "-o", artifact], check=True)


def measure(args):
    command = [tool(args.bin, "qlinear-gpu-bench",
                    "configure with -DQLINEAR_BUILD_BENCHMARKS=ON (it needs the CUDA toolkit)")]
    for encoding in args.encodings:
        command += ["--artifact", args.output / f"{encoding}.so"]
    for peer in args.peer:
        command += ["--peer", peer.resolve()]
    command += ["--rows", args.rows, "--replays", str(args.replays),
                "--json", args.output / "gpu.json"]
    subprocess.run(command, check=True)


def show(args):
    report = args.output / "gpu.json"
    script("tables.py", report, "--encodings", ROOT / "docs/data/encodings.json",
           output=args.output / "tables.md")
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        print(f"no plots without matplotlib; where it is: {HERE / 'plot.py'} {report} "
              f"--out {args.output}")
        return
    script("plot.py", report, "--out", args.output)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=pathlib.Path, required=True, help="folder")
    parser.add_argument("--bin", type=pathlib.Path, default=ROOT / "build/release/bin",
                        help="where quant-compile and qlinear-gpu-bench are (build/release/bin)")
    parser.add_argument("--encodings", default="row-u8,k-quant,block-u8,delta,log,auto,bf16",
                        help="comma-separated, of: " + ", ".join(sorted(INT4)))
    parser.add_argument("--shapes", default=",".join(SHAPES), help="comma-separated names")
    parser.add_argument("--target", default="cuda:sm_90")
    parser.add_argument("--peer", type=pathlib.Path, action="append", default=[],
                        help="adapter of another project (peer.h); repeatable")
    parser.add_argument("--rows", default="1,2,4,8", help="values of M")
    parser.add_argument("--replays", type=int, default=15, help="replays per figure")
    parser.add_argument("--compile-only", action="store_true")
    args = parser.parse_args()
    args.encodings = args.encodings.split(",")
    for kind, names, known in (("encoding", args.encodings, INT4),
                               ("shape", args.shapes.split(","), SHAPES)):
        for name in names:
            if name not in known:
                fail(f"unknown {kind} '{name}'; there are {', '.join(known)}")
    for peer in args.peer:
        if not peer.exists():
            fail(f"no adapter '{peer}'; benchmarks/gpu/README.md says how to make one")
    args.output.mkdir(parents=True, exist_ok=True)
    try:
        compile_layers(args)
        if not args.compile_only:
            measure(args)
            show(args)
    except subprocess.CalledProcessError as problem:
        fail(f"{pathlib.Path(problem.cmd[0]).name} ended with {problem.returncode}")


if __name__ == "__main__":
    main()
