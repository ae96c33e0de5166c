#!/usr/bin/env python3
# ===- bench.py - Linears on this CPU beside other projects' ------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Times compiled linears beside ggml's and onnxruntime's, in one process and in turn.

    pip install gguf numpy llama-cpp-python onnx onnxruntime
    benchmarks/cpu/bench.py --prefix build/release -o results.json

All have the same random weights, quantized by ggml (for onnxruntime by rule: int4 or int8
of blocks of 32), f32 activations and results, and their own quantization of activations
inside of what is timed. Copies of a weight rotate past the caches. Memory of all is on huge
pages, as far as the system gives them. Before anything is timed, each one's result is
compared with float64. A figure is the median over rounds of the ratio of our time to the
peer's in the same round.

A peer that is not installed is left out, and so are the peers of an encoding that they lack.
"""

import argparse
import json
import math
import os
import pathlib
import statistics
import sys
import time

import numpy as np
from ours import Ours
from peers import Ggml, OnnxRuntime

# Ours, and the GGUF type whose weights both have.
ENCODINGS = {
    "Q4_K": ("Q4_K", None),
    "Q6_K": ("Q6_K", None),
    "Q4_0": ("Q4_0", None),
    "Q5_0": ("Q5_0", None),
    "Q8_0": ("Q8_0", None),
    "row-u8": ("Q4_K", "row-u8"),
}
SHAPES = "4096x4096,14336x4096,4096x14336"
ROWS = "1,2,4,8,16,32,128,512"


def with_huge_pages():
    """Runs this program again, with the heap on huge pages."""
    tunable = "glibc.malloc.hugetlb=1"
    if tunable not in os.environ.get("GLIBC_TUNABLES", ""):
        os.environ["GLIBC_TUNABLES"] = tunable
        os.execv(sys.executable, [sys.executable, *sys.argv])


def check(peers, copy, want, where):
    """The relative errors of all results; ends where int8 activations don't explain one."""
    errors = {}
    for peer, call in peers.items():
        y = getattr(call, "result", call)(copy)
        exact = getattr(call, "want", want)
        errors[peer] = float(np.linalg.norm(y - exact) / np.linalg.norm(exact))
        if not errors[peer] < 0.02:
            sys.exit(f"{peer}: relative error {errors[peer]:.2e} against float64, {where}")
    return errors


def measure(peers, copies, rounds, seconds):
    """The median seconds of a call of each peer, per round; peers take turns."""
    times = {name: [] for name in peers}
    for _ in range(rounds):
        for name, call in peers.items():
            taken, start = [], time.perf_counter()
            while len(taken) < copies or time.perf_counter() - start < seconds:
                before = time.perf_counter()
                call(len(taken) % copies)
                taken.append(time.perf_counter() - before)
            times[name].append(statistics.median(taken))
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prefix", required=True, type=pathlib.Path, help="build or installation")
    parser.add_argument("--encodings", default=",".join(ENCODINGS))
    parser.add_argument("--shapes", default=SHAPES, help=f"N x K; default {SHAPES}")
    parser.add_argument("--rows", default=ROWS, help=f"default {ROWS}")
    parser.add_argument("--threads", default=1, type=int)
    parser.add_argument("--rounds", default=5, type=int)
    parser.add_argument("--seconds", default=0.2, type=float, help="of each peer in a round")
    parser.add_argument("--megabytes", default=96, type=int, help="that copies rotate through")
    parser.add_argument("--target", default="cpu", help="as of quant-compile")
    parser.add_argument("--ggml", type=pathlib.Path, help="folder of libggml*.so")
    parser.add_argument("-o", "--output", type=pathlib.Path, help="all figures as JSON")
    args = parser.parse_args()
    with_huge_pages()

    ggml = Ggml.find(args.ggml, args.threads)
    if ggml is None:
        sys.exit("there is no ggml, which quantizes the weights: pip install llama-cpp-python")
    rng = np.random.default_rng(1)
    report = []
    print("ours / the peer's time; less is better")
    for name in args.encodings.split(","):
        gguf_type, encoding = ENCODINGS[name]
        for shape in args.shapes.split(","):
            n, k = map(int, shape.split("x"))
            weights = rng.standard_normal((n, k), dtype=np.float32) * 0.02
            blocks = ggml.quantize(weights, gguf_type)
            exact = ggml.dequantize(blocks, gguf_type, n, k)
            ours = Ours(args.prefix, args.target, args.threads, blocks, gguf_type, encoding, n, k)
            for rows in map(int, args.rows.split(",")):
                # Of many rows, the time that a weight takes to be read is no matter.
                megabytes = args.megabytes if rows <= 8 else args.megabytes / 4
                copies = max(2, math.ceil(megabytes * 2**20 / ours.weight_bytes))
                x = rng.standard_normal((rows, k), dtype=np.float32)
                peers = {"ours": ours.calls(x, copies)}
                peers |= ggml.calls(blocks, gguf_type, n, k, x, copies)
                peers |= OnnxRuntime.calls(weights, gguf_type, x, copies, args.threads)
                want = x.astype(np.float64) @ exact.T
                where = f"{name} {shape} M {rows}"
                errors = check(peers, 0, want, where)
                times = measure(peers, copies, args.rounds, args.seconds)
                check(peers, copies - 1, want, where + ", after the timing")
                ratios = {
                    peer: statistics.median(a / b for a, b in zip(times["ours"], times[peer]))
                    for peer in peers if peer != "ours"
                }
                us = statistics.median(times["ours"]) * 1e6
                report.append({
                    "encoding": name, "n": n, "k": k, "rows": rows, "threads": args.threads,
                    "target": ours.target, "bytes": ours.weight_bytes, "us": us,
                    "seconds": times, "ratios": ratios, "errors": errors,
                })
                print(f"{name:7} {shape:12} M {rows:4}  {us:9.0f} us  "
                      f"{ours.weight_bytes / us / 1e3:5.1f} GB/s  "
                      f"{2e-3 * n * k * rows / us:6.1f} Gop/s  "
                      + "  ".join(f"{peer} {ratio:.2f}" for peer, ratio in ratios.items()),
                      flush=True)
                del peers
    if args.output:
        args.output.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
