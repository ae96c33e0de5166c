#!/usr/bin/env python3
# ===- plot.py - Plots of a benchmark's report ----------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Draws the report of qlinear-gpu-bench: gpu-chain.svg, gpu-rows.svg, gpu-shapes.svg and
gpu-roofline.svg; of one with many numbers of rows gpu-many.svg.

    plot.py gpu.json --out docs/images
"""
import argparse
import json
import pathlib

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from layers import SHAPES
from tables import layer_sums, token

SHAPE = "gate_up"  # of the roofline


def chain(report, out):
    """Milliseconds per token at M = 1, and the read ceiling of the same bytes."""
    rows = sorted((r for r in token(report) if "1" in r.get("us", {})),
                  key=lambda r: -r["us"]["1"])
    if not rows:
        return
    figure, axes = plt.subplots(figsize=(9, 0.55 * len(rows) + 1.2))
    for y, row in enumerate(rows):
        ours = row["implementation"].startswith("qlinear")
        ms = row["us"]["1"] / 1e3
        axes.barh(y, ms, color="tab:blue" if ours else "tab:gray", height=0.6)
        read = row["read_us"]["dependent"] / 1e3
        axes.plot([read, read], [y - 0.36, y + 0.36], color="black", linewidth=2)
        axes.text(ms, y, f" {ms:.2f} ms, {ms / read:.3f}x", va="center")
    labels = [f"{r['implementation']}\n{r['bytes'] / 1e9:.2f} GB" for r in rows]
    axes.set_yticks(range(len(rows)), labels)
    axes.set_xlabel("ms per token at M = 1; black: dependent read of the same bytes")
    axes.margins(x=0.2, y=0.02)
    axes.set_title(report["device"])
    figure.tight_layout()
    figure.savefig(out / "gpu-chain.svg")


def shapes(report, out):
    """Share of the dependent read's bandwidth that each implementation gets, per shape:
    of ours the first two artifacts, and the first with int8 activations."""
    times = {}
    for r in report["shapes"]:
        if "1" in r.get("us", {}):
            times.setdefault(r["implementation"], {})[r["shape"]] = r
    ours = [name for name in times if name.startswith("qlinear")]
    plain = [name for name in ours if not name.endswith("(int8 in)")][:2]
    if not plain:
        return
    peers = [name for name in times if name not in ours]
    chosen = plain + [name for name in ours if name == f"{plain[0]} (int8 in)"] + peers
    first = times[chosen[0]]
    order = sorted(first, key=lambda shape: first[shape]["bytes"])
    figure, axes = plt.subplots(figsize=(9, 5))
    width = 0.8 / len(chosen)
    for i, name in enumerate(chosen):
        of = times[name]
        share = [of[s]["read_us"]["dependent"] / of[s]["us"]["1"] if s in of else 0
                 for s in order]
        axes.bar([x + (i - (len(chosen) - 1) / 2) * width for x in range(len(order))], share,
                 width, label=name, color=f"C{i}" if name in ours else ("gray", "silver")[i % 2])
    axes.axhline(1, color="black", linewidth=1)
    labels = [f"{s}\n{first[s]['bytes'] / 1e6:.0f} MB" for s in order]
    axes.set_xticks(range(len(order)), labels)
    axes.set(ylim=(0, 1.3), ylabel="share of the dependent read's bandwidth, M = 1")
    axes.legend(fontsize=8, ncols=3, loc="upper center")
    axes.set_title(report["device"])
    figure.tight_layout()
    figure.savefig(out / "gpu-shapes.svg")


def rows(report, out):
    """Milliseconds per token at M = 1, 2, 4, 8, activations quantized inside."""
    figure, axes = plt.subplots(figsize=(9, 4))
    for r in token(report):
        name = r["implementation"]
        if name.endswith("(int8 in)") or not r.get("us"):
            continue
        m = sorted(map(int, r["us"]))
        axes.plot(m, [r["us"][str(i)] / 1e3 for i in m], marker="o", label=name,
                  linestyle="-" if name.startswith("qlinear") else "--")
    axes.set(xscale="log", yscale="log", xlabel="M, tokens at once", ylabel="ms per step")
    axes.set_xticks([1, 2, 4, 8], ["1", "2", "4", "8"])
    axes.set_yticks([4, 6, 8, 12, 20, 40], ["4", "6", "8", "12", "20", "40"])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    axes.set_title(report["device"])
    figure.tight_layout()
    figure.savefig(out / "gpu-rows.svg")


def roofline(report, out):
    """Operations per second over those per byte of weights at M = 1, 2, 4, 8, for the
    shape with the most bytes in the chain; the roof is the dependent read."""
    ours = ("qlinear row-u8", "qlinear row-u8 (int8 in)", "qlinear k-quant")
    chosen = [r for r in report["shapes"] if r["shape"] == SHAPE and r.get("us")
              and (r["implementation"] in ours or not r["implementation"].startswith("qlinear"))]
    if not chosen:
        return
    figure, axes = plt.subplots(figsize=(9, 5))
    n, k, _ = SHAPES[SHAPE]
    span = []
    for r in chosen:
        points = {i: (2 * n * k * i / r["bytes"], 2 * n * k * i / r["us"][str(i)] / 1e6)
                  for i in sorted(map(int, r["us"]))}
        axes.plot(*zip(*points.values()), marker="o", label=r["implementation"],
                  linestyle="-" if r["implementation"] in ours else "--")
        if r["implementation"] == "qlinear row-u8 (int8 in)":
            for i, point in points.items():
                axes.annotate(f"M = {i}", point, xytext=(-14, 8), textcoords="offset points")
        span += [x for x, _ in points.values()]
    span = [min(span), max(span)]
    bandwidth = max(r["bytes"] / r["read_us"]["dependent"] for r in chosen)  # MB/s
    axes.plot(span, [x * bandwidth / 1e6 for x in span], color="black", linewidth=1,
              label=f"dependent read, {bandwidth / 1e3:.0f} GB/s")
    axes.set(xscale="log", yscale="log", xlabel="operations per byte of weights",
             ylabel="10^12 operations per second")
    axes.set_xticks([4, 8, 16, 32], ["4", "8", "16", "32"])
    axes.set_yticks([5, 10, 20, 40, 80, 160], ["5", "10", "20", "40", "80", "160"])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    axes.set_title(f"{report['device']}, {SHAPE} {n} x {k}")
    figure.tight_layout()
    figure.savefig(out / "gpu-roofline.svg")


def many(report, out):
    """Microseconds of a layer's linears over M."""
    sums = {name: of for name, of in layer_sums(report).items() if len(of) > 20}
    if not sums:
        return
    figure, axes = plt.subplots(figsize=(9, 4.5))
    for name, of in sums.items():
        ours = name.startswith("qlinear")
        axes.plot(list(of), list(of.values()), label=name, linewidth=1.5,
                  color="tab:blue" if ours else "tab:gray")
        last = max(of)
        axes.annotate(name.removeprefix("qlinear "), (last, of[last]), xytext=(4, 0),
                      textcoords="offset points", va="center")
    axes.set(xlabel="M, rows of x", ylim=(0, None),
             ylabel="us for the four linears of a layer")
    axes.margins(x=0.1)
    axes.grid(alpha=0.3)
    axes.set_title(report["device"])
    figure.tight_layout()
    figure.savefig(out / "gpu-many.svg")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("."))
    args = parser.parse_args()
    report = json.loads(args.report.read_text())
    args.out.mkdir(parents=True, exist_ok=True)
    if report.get("chains"):
        chain(report, args.out)
        rows(report, args.out)
    if report.get("shapes"):
        shapes(report, args.out)
        roofline(report, args.out)
        many(report, args.out)


if __name__ == "__main__":
    main()
