#!/usr/bin/env python3
# ===- bench.py - The GPU benchmark in one command ------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Compiles the workload's layers, times them on a CUDA device, checks their results, and
draws and tabulates what was measured.

    bench.py -o results --peer executorch.so --peer llamacpp.so
    bench.py -o packed --pack       # for another machine: packed/run.sh -o results there

OUTPUT gets ENCODING.mlir and .so, gpu.json, the plots of plot.py and the tables of
tables.py (tables.md). Layers that are compiled already are taken as they are. With --pack
it gets all that a machine needs that has Python and the CUDA driver.
"""
import argparse
import lzma
import os
import pathlib
import re
import shutil
import subprocess
import sys

from layers import CHAINS, ENCODINGS, SHAPES

HERE = pathlib.Path(__file__).resolve().parent
PACKED = (HERE / "run.sh").exists()
ROOT = HERE if PACKED else HERE.parents[1]
SNR = ROOT / ("encodings.json" if PACKED else "docs/data/encodings.json")
LIBRARY = "libqlinear-gpu-bench.so"
# What every system has, or the driver brings.
SYSTEM = re.compile(r"/(libc|libm|libdl|librt|libpthread|libgcc_s|libstdc\+\+|ld-linux[^/]*)\.so")
RUN = """#!/bin/sh
# Runs the packed benchmark: run.sh -o RESULTS; run.sh --help. Needs Python 3.9.
here=$(cd "$(dirname "$0")" && pwd)
export LD_LIBRARY_PATH="$here${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
exec python3 "$here/bench.py" --bin "$here" "$@"
"""


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


def artifacts(args):
    """{name: (encoding, options of layers.py)} of what is compiled."""
    every = {"": [], **{f"-{name}": ["--schedule", text] for name, text in args.schedule}}
    return {encoding + end: (encoding, more)
            for encoding in args.encodings for end, more in every.items()}


def compile_layers(args):
    for name, (encoding, more) in artifacts(args).items():
        artifact = args.output / f"{name}.so"
        if artifact.exists():
            continue
        packed = HERE / f"{name}.so.xz"
        if packed.exists():
            artifact.write_bytes(lzma.decompress(packed.read_bytes()))
            continue
        source = args.output / f"{name}.mlir"
        more = more + (["--no-int8"] if args.no_int8 else [])
        script("layers.py", encoding, "--shapes", args.shapes, *more, output=source)
        print(f"compiling {artifact}", flush=True)
        compiler = tool(args.bin, "quant-compile", "ninja -C build/release quant-compile, or "
                        "bring compiled layers (--compile-only)")
        subprocess.run([compiler, source, f"--target={args.target}", "-o", artifact], check=True)


def pack(args):
    """All that measuring needs, into the output's folder."""
    bench = pathlib.Path(benchmark(args))
    for name in artifacts(args):
        artifact = args.output / f"{name}.so"
        (args.output / f"{name}.so.xz").write_bytes(
            lzma.compress(artifact.read_bytes(), preset=6))
        artifact.unlink()
        artifact.with_suffix(".mlir").unlink(missing_ok=True)
    listed = subprocess.run(["ldd", bench], check=True, capture_output=True, text=True).stdout
    libraries = re.findall(r"=> (/\S+)", listed)
    for path in [bench, *(lib for lib in libraries if not SYSTEM.search(lib)), SNR,
                 HERE.parent / "figures.py",
                 *(HERE / f"{name}.py" for name in ("bench", "layers", "plot", "tables"))]:
        shutil.copy(path, args.output)
    for name in (bench.name, LIBRARY):
        if (args.output / name).exists():
            subprocess.run(["strip", "-s", args.output / name], check=True)
    (args.output / "run.sh").write_text(RUN)
    os.chmod(args.output / "run.sh", 0o755)
    size = sum(f.stat().st_size for f in args.output.iterdir())
    print(f"{args.output}: {size / 2**20:.1f} MB; run {args.output}/run.sh -o RESULTS on the "
          "machine with the GPU")


def benchmark(args):
    return tool(args.bin, "qlinear-gpu-bench",
                "configure with -DQLINEAR_BUILD_BENCHMARKS=ON (it needs the CUDA toolkit)")


def measure(args):
    """Whether all results were right."""
    command = [benchmark(args)]
    scripts = [peer for peer in args.peer if peer.suffix == ".py"]
    if scripts:  # it loads the benchmark into its process
        libraries = [args.bin / LIBRARY, args.bin.parent / "lib" / LIBRARY]
        found = [path for path in libraries if path.exists()]
        if not found:
            fail(f"no '{libraries[1]}', which {scripts[0]} needs")
        command = [sys.executable, scripts[0], found[0]]
    for name in artifacts(args):
        command += ["--artifact", args.output / f"{name}.so"]
    for peer in args.peer:
        if peer not in scripts:
            command += ["--peer", peer.resolve()]
    command += ["--rows", args.rows, "--replays", str(args.replays), "--device", args.device,
                "--json", args.output / "gpu.json"]
    command += ["--chains", args.chains] if args.chains else ["--no-chain"]
    report = args.output / "gpu.json"
    report.unlink(missing_ok=True)
    status = subprocess.run(command).returncode
    if status and not report.exists():
        fail(f"qlinear-gpu-bench ended with {status}")
    return status == 0


def show(args):
    report = args.output / "gpu.json"
    script("tables.py", report, "--encodings", SNR, output=args.output / "tables.md")
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
                        help="comma-separated, of: " + ", ".join(ENCODINGS))
    parser.add_argument("--shapes", default=",".join(SHAPES), help="comma-separated names")
    parser.add_argument("--no-int8", action="store_true",
                        help="no layers of activations that are quantized already")
    parser.add_argument("--schedule", action="append", default=[], metavar="NAME=SCHEDULE",
                        help="every encoding once more, as ENCODING-NAME, with this schedule for "
                             "all layers; repeatable")
    parser.add_argument("--target", default="cuda:sm_90")
    parser.add_argument("--peer", type=pathlib.Path, action="append", default=[],
                        help="adapter of another project (peer.h), a library, or one that is a "
                             "script, such as humming_peer.py; repeatable")
    parser.add_argument("--rows", default="1,2,4,8", help="values of M")
    parser.add_argument("--replays", type=int, default=15, help="replays per figure")
    parser.add_argument("--chains", default=",".join(CHAINS), help="comma-separated, or ''")
    parser.add_argument("--device", default="cuda",
                        help="cuda, cuda:1; emulated checks results and measures nothing")
    parser.add_argument("--compile-only", action="store_true")
    parser.add_argument("--pack", action="store_true", help="for a machine without LLVM")
    args = parser.parse_args()
    args.encodings = args.encodings.split(",")
    for kind, names, known in (("encoding", args.encodings, ENCODINGS),
                               ("shape", args.shapes.split(","), SHAPES),
                               ("chain", args.chains.split(",") if args.chains else [], CHAINS)):
        for name in names:
            if name not in known:
                fail(f"unknown {kind} '{name}'; there are {', '.join(known)}")
    args.schedule = [text.partition("=")[::2] for text in args.schedule]
    for name, text in args.schedule:
        if not re.fullmatch(r"[\w-]+", name) or not text:
            fail("--schedule takes NAME=SCHEDULE, such as "
                 "'warps8=#qlinear.schedule<kernels = [#qlinear.gemm<rows = 16, warps = 8>]>'")
    for peer in args.peer:
        if not peer.exists():
            fail(f"no adapter '{peer}'; benchmarks/gpu/README.md says how to make one")
    if sum(peer.suffix == ".py" for peer in args.peer) > 1:
        fail("one script can be a peer in a run: the benchmark runs in its process")
    args.output.mkdir(parents=True, exist_ok=True)
    try:
        compile_layers(args)
        if args.pack:
            pack(args)
        elif not args.compile_only:
            right = measure(args)
            if args.device.startswith("cuda"):
                show(args)
            if not right:
                fail("results are wrong; see above")
    except subprocess.CalledProcessError as problem:
        fail(f"{pathlib.Path(problem.cmd[0]).name} ended with {problem.returncode}")


if __name__ == "__main__":
    main()
