# ===- demo.py - From a real model's weights to layers that run -----*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Quantizes, packs, compiles and runs the linear layers of all-MiniLM-L6-v2.

    demo.py --bin DIR -o DIR

Run by scripts/demo.sh. Every command is printed as it could be typed.
"""

import argparse
import json
import math
import pathlib
import shlex
import subprocess
import sys
import time

import layers
import model
import plot

# What is packed for the table, and beside it for the plot.
TABLE = [("int4:32", "row-u8"), ("int4:32", "auto")]
PLOT = [("int4:32", "bf16"), ("int4:32", "block-u8"), ("int5:32", "row-u8"), ("int5:32", "auto"),
        ("int6:16", "row-u8"), ("int6:16", "auto"), ("int8:32", "row-u8"), ("int8:32", "auto")]


class Demo:
    def __init__(self, tools, output):
        self.tools, self.output = tools, output
        self.started = time.monotonic()

    def say(self, text):
        print(f"\n== [{time.monotonic() - self.started:4.0f} s] {text}", flush=True)

    def run(self, tool, *args, capture=False):
        """Runs a tool of ours; a failure ends the demo. Its messages are shown, its
        output too unless it is captured and returned."""
        print(f"$ {tool} " + shlex.join(str(a) for a in args), flush=True)
        command = [str(self.tools / tool), *map(str, args)]
        done = subprocess.run(command, cwd=self.output, text=True,
                              stdout=subprocess.PIPE if capture else None)
        if done.returncode != 0:
            if capture:
                sys.stderr.write(done.stdout)
            sys.exit(f"error: {tool} failed with status {done.returncode}")
        return done.stdout

    def load(self, name):
        return json.loads((self.output / name).read_text())

    def pack(self, source, codes, encoding):
        """Packs the linear layers of `source`; returns (archive, report)."""
        stem = f"{codes.replace(':', '-')}-{encoding}"
        self.run("quant-pack", source, "-o", f"{stem}.safetensors", "--quantize", codes,
                 "--include", model.LINEARS, "--encoding", encoding,
                 "--report", f"{stem}.json", "--quiet")
        return f"{stem}.safetensors", self.load(f"{stem}.json")

    def compile_and_run(self, archive):
        """Compiles the layers of an archive for this CPU, runs them; returns
        {function: measurements}."""
        stem = archive.removesuffix(".safetensors")
        weights = layers.packed_weights(self.output / archive)
        (self.output / f"{stem}.mlir").write_text(layers.module(weights))
        self.run("quant-compile", f"{stem}.mlir", "--target=cpu", "-o", f"{stem}.so")
        measured = self.run("quant-run", f"{stem}.so", "--weights", archive, "--device", "cpu",
                            "--verify", "--bench", "--json", capture=True)
        (self.output / f"{stem}-run.json").write_text(measured)
        return {run["function"]: run for run in json.loads(measured)}


def packed(report):
    return [t for t in report["tensors"] if t["action"] == "packed"]


def snr(tensor):
    """SNR in dB of the re-encoded metadata, infinite if no weight differs."""
    quality = tensor["quality"]
    return math.inf if quality["exact"] else quality["tensor_snr_db"]


def print_table(report, plain, runs):
    """One line per weight. `plain` is the report with bf16 scales and offsets: the
    bits before the metadata was re-encoded."""
    before = {t["name"]: t["bpw_after"] for t in packed(plain)}
    rows = [("tensor", "shape", "encoding", "bits before", "after", "SNR dB", "vs float",
             "error vs f64", "us/call")]
    for t in packed(report):
        run = runs[layers.symbol(t["name"])]
        rows.append((
            layers.symbol(t["name"]), "x".join(map(str, t["shape"])), t["encoding_name"],
            f"{before[t['name']]:.3f}", f"{t['bpw_after']:.3f}",
            "exact" if math.isinf(snr(t)) else f"{snr(t):.2f}", f"{t['float_snr_db']:.2f}",
            f"{run['verify']['outputs'][0]['error']:.1e}", f"{run['bench']['median_us']:.1f}",
        ))
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        print("  ".join(c.ljust(w) if i < 3 else c.rjust(w)
                        for i, (c, w) in enumerate(zip(row, widths))).rstrip())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", type=pathlib.Path, required=True, help="folder of the tools")
    parser.add_argument("-o", "--output", type=pathlib.Path, required=True)
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    demo = Demo(args.bin.resolve(), args.output.resolve())

    source = model.installed()
    if source:
        demo.say(f"Model: all-MiniLM-L6-v2, {source}")
    else:
        source = model.generate(demo.output / "generated.safetensors")
        demo.say(f"NOTICE: the Python package '{model.PACKAGE}' is not installed (no network?); "
                 f"using generated weights of the same shapes, {source}")

    points, results = [], []
    for codes, encoding in TABLE:
        demo.say(f"Quantize to {codes}, pack with {encoding}")
        archive, report = demo.pack(source, codes, encoding)
        demo.say(f"Compile for this CPU, run, compare with float64 ({encoding})")
        results.append((encoding, archive, report, demo.compile_and_run(archive)))
        points += [(codes, encoding, report)]

    demo.say("The same for a GPU: one layer to PTX for sm_90")
    name, weight = next(iter(layers.packed_weights(demo.output / results[0][1]).items()))
    (demo.output / "layer.mlir").write_text(layers.module({name: weight}))
    demo.run("quant-compile", "layer.mlir", "--target=cuda:sm_90", "--emit=ptx", "-o", "layer.ptx")
    ptx = (demo.output / "layer.ptx").read_text().splitlines()
    entries = sum(line.startswith((".visible .entry", ".entry")) for line in ptx)
    dp4a = sum("dp4a" in line for line in ptx)
    # The inner loop: where they are densest.
    start = max(range(len(ptx)), key=lambda i: sum("dp4a" in line for line in ptx[i:i + 24]))
    print(f"{len(ptx)} lines, {entries} kernels, {dp4a} dp4a instructions; from the inner loop:")
    print("\n".join(ptx[start:start + 24]))

    demo.say("Other encodings, for the plot")
    for codes, encoding in PLOT:
        points.append((codes, encoding, demo.pack(source, codes, encoding)[1]))
    rows = [(codes, encoding, t["bpw_after"], snr(t))
            for codes, encoding, report in points for t in packed(report)]
    plain = next(r for codes, encoding, r in points if (codes, encoding) == PLOT[0])
    pictures = [demo.output / f"bits-against-snr.{kind}" for kind in ("png", "svg")]
    drawn = plot.plot(rows, "Linear layers of all-MiniLM-L6-v2", pictures)

    for encoding, archive, report, runs in results:
        demo.say(f"{archive}: 4-bit codes in groups of 32, metadata '{encoding}'. SNR is of the "
                 "re-encoded metadata; 'bits before' are those of bf16 scales and offsets")
        print_table(report, plain, runs)
    print()
    print(f"plot: {pictures[0]}" if drawn else "no plot: matplotlib is not installed")
    print(f"everything that was made: {demo.output}")


if __name__ == "__main__":
    main()
