#!/usr/bin/env python3
# ===- tables.py - Tables of a benchmark's report -------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Prints the tables of docs/performance.md from the report of qlinear-gpu-bench.

    tables.py docs/data/h200.json --encodings docs/data/encodings.json

The SNR of an encoding is the median over the weight families of the encodings' report.
"""
import argparse
import json
import pathlib
import statistics

from layers import CHAIN, INT4, SHAPES

# What an encoding is called, and in which of the encodings' sources its SNR is.
NAMES = {
    "bf16": ("bf16 metadata (before)", "bf16"),
    "row-u8": ("per-row steps (the mission's)", "row-u8"),
    "block-u8": ("steps per 256", "block-u8"),
    "k-quant": ("native Q4_K + Q6_K", None),
    "delta": ("delta12 + u4 zeros", INT4["delta"]),
    "log": ("log8 + u4 zeros", INT4["log"]),
    "auto": ("`auto` on integer zeros", INT4["auto"]),
}
INTEGER_ZEROS, FLOAT_ZEROS = "int4, group 32, integer zeros", "int4, group 32, float zeros"
ROWS = ("1", "2", "4", "8")
# The linears of a layer of the model, fused.
LAYER = ("qkv", "o", "gate_up", "down")


def row(*cells):
    print("| " + " | ".join(cells) + " |")


def header(*cells):
    row(*cells)
    row(*["---"] * len(cells))


def split(implementation):
    """"qlinear row-u8 (int8 in)" as (encoding, int8); peers as (name, False)."""
    name = implementation.removeprefix("qlinear ")
    return name.removesuffix(" (int8 in)"), name.endswith("(int8 in)")


def token(report):
    """The chains in the model's order, fused: those that a token takes."""
    return [r for r in report.get("chains", []) if r.get("chain", "interleaved") == "interleaved"]


def chain(report):
    header("", "GB", "read ms", *(f"M = {m}" for m in ROWS))
    for r in token(report):
        read = r["read_us"]["dependent"]
        name, int8 = split(r["implementation"])
        us = r.get("us", {})
        times = [f"{us[m] / 1e3:.3f} ({us[m] / read:.3f})" if m in us else "–" for m in ROWS]
        row(name + (", int8 activations in" if int8 else ""), f"{r['bytes'] / 1e9:.2f}",
            f"{read / 1e3:.3f}", *times)


def orders(report):
    """Chains in several orders, over the sum of their shapes by themselves; where the report
    has such."""
    rows = [r for r in report.get("chains", []) if r.get("sum_us")]
    if not rows:
        return
    print()
    header("", "chain", "read ms", *(f"M = {m}, ms (of sum)" for m in ROWS))
    for r in rows:
        name, int8 = split(r["implementation"])
        times = [f"{r['us'][m] / 1e3:.3f} ({r['us'][m] / r['sum_us'][m]:.3f})"
                 if m in r["sum_us"] and m in r["us"] else "–" for m in ROWS]
        row(name + (", int8 activations in" if int8 else ""), r["chain"],
            f"{r['read_us']['dependent'] / 1e3:.3f}", *times)


def shapes(report):
    wanted = ["row-u8", "k-quant", "row-u8 (int8 in)", "executorch", "llama.cpp"]
    times = {}
    for r in report.get("shapes", []):
        times.setdefault(r["shape"], {})[r["implementation"].removeprefix("qlinear ")] = r
    header("shape", "N x K", "MB", "dependent read", "row-u8", "Q4_K / Q6_K",
           "row-u8, int8 in (of read)", "ExecuTorch", "llama.cpp")
    for shape, of in times.items():
        n, k, _ = SHAPES[shape]
        of = {w: of[w] for w in wanted if "1" in of.get(w, {}).get("us", {})}
        if not of:
            continue
        first = next(iter(of.values()))
        cells = [f"{of[w]['us']['1']:.2f}" if w in of else "–" for w in wanted]
        if int8 := of.get("row-u8 (int8 in)"):
            cells[2] += f" ({int8['read_us']['dependent'] / int8['us']['1']:.0%})"
        row(shape, f"{n} x {k}", f"{first['bytes'] / 1e6:.1f}",
            f"{first['read_us']['dependent']:.2f}", *cells)


def layer_sums(report):
    """{implementation: {M: microseconds of a layer's linears}}, where all were measured."""
    times = {}
    for r in report.get("shapes", []):
        for m, us in r.get("us", {}).items():
            times.setdefault(r["implementation"], {}).setdefault(int(m), {})[r["shape"]] = us
    return {name: {m: sum(of[s] for s in LAYER) for m, of in sorted(by.items())
                   if all(s in of for s in LAYER)}
            for name, by in times.items()}


def many(report):
    """A layer's linears for more rows than decoding has, with the clock in MHz."""
    sums = {name: of for name, of in layer_sums(report).items() if any(m > 8 for m in of)}
    if not sums:
        return
    rows = sorted(set().union(*sums.values()))
    first, *others = sums
    print()
    header("us (MHz)", *(f"M = {m}" for m in rows))
    for name in sums:
        for r in report["shapes"]:
            if r["implementation"] != name or r["shape"] not in LAYER:
                continue
            cells = [f"{r['us'][str(m)]:.1f} ({r['mhz'][str(m)]:.0f})"
                     if str(m) in r["us"] else "–" for m in rows]
            row(f"{name}, {r['shape']}", *cells)
        row(f"{name}, sum", *(f"{sums[name][m]:.0f}" if m in sums[name] else "–" for m in rows))
    for name in others:
        row(f"{first} / {name}", *(f"{sums[first][m] / sums[name][m]:.2f}"
                                   if m in sums[first] and m in sums[name] else "–"
                                   for m in rows))


def snr(encodings, source, encoding):
    for s in encodings["sources"]:
        for e in s["encodings"]:
            if s["title"] == source and e["encoding"] == encoding:
                values = [v for v in e["snr_db"] if v is not None]
                exact = len(values) < len(e["snr_db"])
                return "exact" if exact else f"{statistics.median(values):.1f}"
    return "–"


def before_and_after(report, encodings):
    """Bits, memory, time and SNR of each encoding against bf16 metadata, where the report
    has that for one token."""
    chains = {split(r["implementation"])[0]: r for r in token(report)
              if not r["implementation"].endswith("(int8 in)") and "1" in r.get("us", {})}
    weights = sum(SHAPES[s][0] * SHAPES[s][1] * count for s, count in CHAIN.items())
    before = chains.get("bf16")
    header("encoding", "bits/weight", "GiB", "ms/token", "memory", "tokens/s",
           "SNR dB, integer zeros", "SNR dB, float zeros")
    for name, (title, key) in NAMES.items():
        r = chains.get(name)
        if not r or not before:
            continue
        ms, was = r["us"]["1"] / 1e3, before["us"]["1"] / 1e3
        levels = (["exact for K-quants"] * 2 if key is None else
                  [snr(encodings, s, key) for s in (INTEGER_ZEROS, FLOAT_ZEROS)])
        row(title, f"{8 * r['bytes'] / weights:.3f}", f"{r['bytes'] / 2**30:.2f}", f"{ms:.3f}",
            f"{r['bytes'] / before['bytes'] - 1:+.1%}", f"{was / ms - 1:+.1%}", *levels)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=pathlib.Path)
    parser.add_argument("--encodings", type=pathlib.Path, required=True)
    args = parser.parse_args()
    report = json.loads(args.report.read_text())
    chain(report)
    print()
    shapes(report)
    print()
    before_and_after(report, json.loads(args.encodings.read_text()))
    orders(report)
    many(report)


if __name__ == "__main__":
    main()
