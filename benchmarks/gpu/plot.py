#!/usr/bin/env python3
# ===- plot.py - Plots of a benchmark's report ----------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Draws the report of qlinear-gpu-bench: gpu-chain.svg, gpu-shapes.svg.

    plot.py gpu.json --out docs/images
"""
import argparse
import json
import pathlib

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def chain(report, out):
    """Milliseconds per token at each M, and the read ceiling of the same bytes."""
    rows = sorted(report["chains"], key=lambda r: -r["us"].get("1", 0))
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
    axes.margins(x=0.18)
    axes.set_title(report["device"])
    figure.tight_layout()
    figure.savefig(out / "gpu-chain.svg")


def shapes(report, out):
    """Share of the dependent read's bandwidth that each implementation gets."""
    names = list(dict.fromkeys(r["implementation"] for r in report["shapes"]))
    figure, axes = plt.subplots(figsize=(9, 5))
    for name in names:
        rows = [r for r in report["shapes"]
                if r["implementation"] == name and "1" in r.get("us", {})]
        rows.sort(key=lambda r: r["bytes"])
        axes.plot([r["bytes"] / 1e6 for r in rows],
                  [r["read_us"]["dependent"] / r["us"]["1"] for r in rows],
                  marker="o", label=name)
        if name == names[0]:
            for r in rows:
                axes.annotate(r["shape"], (r["bytes"] / 1e6, 0.02), rotation=90,
                              fontsize=8, color="gray")
    axes.axhline(1, color="black", linewidth=1)
    axes.set(xscale="log", xlabel="MB of weights", ylim=(0, 1.1),
             ylabel="share of the dependent read's bandwidth, M = 1")
    axes.legend(fontsize=8)
    axes.set_title(report["device"])
    figure.tight_layout()
    figure.savefig(out / "gpu-shapes.svg")


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
    if report.get("shapes"):
        shapes(report, args.out)


if __name__ == "__main__":
    main()
