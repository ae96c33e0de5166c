#!/usr/bin/env python3
# ===- plot_bench.py - Draws a report of quant-bench ----------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""A row for each weight: bits per weight against SNR, and the time of a call against its rows.

plot_bench.py report.json -o bench.svg
"""

import argparse
import json

import matplotlib

matplotlib.use("Agg")
matplotlib.rcParams["svg.hashsalt"] = "qlinear"  # the same file each time
matplotlib.rcParams["svg.fonttype"] = "none"
import matplotlib.pyplot as plt  # noqa: E402


def accuracy(axes, methods):
    """Exact encodings lie on a line above the others."""
    finite = [lines[0]["snr_db"] for lines in methods.values() if lines[0]["snr_db"] is not None]
    top = max(finite, default=40) + 10
    for number, (method, lines) in enumerate(methods.items()):
        first = lines[0]
        snr = top if first["snr_db"] is None else first["snr_db"]
        axes.plot(first["bits_per_weight"], snr, "o", color=f"C{number}", label=method)
    if any(lines[0]["exact"] for lines in methods.values()):
        axes.axhline(top, color="gray", linewidth=0.6, linestyle=":")
        axes.annotate("exact", (1, top), xycoords=("axes fraction", "data"), xytext=(-4, 3),
                      textcoords="offset points", ha="right", color="gray")  # fmt: skip
    axes.set_xlabel("bits per weight")
    axes.set_ylabel("SNR, dB")
    axes.margins(0.15)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)


def speed(axes, methods, read):
    """`read`: GB/s of plain reading, whose time for the smallest encoding is the dotted line."""
    for number, (method, lines) in enumerate(methods.items()):
        times = [(line["rows"], line["us"]) for line in lines if line["us"] is not None]
        axes.plot(*zip(*times), "o-", color=f"C{number}", label=method)
    least = min(lines[0]["us"] * lines[0]["gb_per_s"] for lines in methods.values()) / read
    axes.axhline(least, color="gray", linewidth=0.6, linestyle=":")
    axes.annotate("its bytes, read", (1, least), xycoords=("axes fraction", "data"),
                  xytext=(-4, 3), textcoords="offset points", ha="right", color="gray")  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("rows of a call")
    axes.set_ylabel("microseconds")
    axes.grid(alpha=0.25, which="both")


def draw(report, path):
    weights = {}
    for line in report["results"]:
        methods = weights.setdefault((line["weight"], line["n"], line["k"]), {})
        methods.setdefault(line["method"], []).append(line)
    timed = report["read_gb_per_s"] is not None
    figure, grid = plt.subplots(
        len(weights), 1 + timed, figsize=(5 + 4.5 * timed, 3.6 * len(weights)), squeeze=False
    )
    for axes, ((name, n, k), methods) in zip(grid, weights.items()):
        accuracy(axes[0], methods)
        axes[0].set_title(f"{name}, {n} x {k}", loc="left", fontsize=10)
        if timed:
            speed(axes[1], methods, report["read_gb_per_s"])
            axes[1].set_title(report["device"], loc="left", fontsize=10)
    figure.tight_layout()
    metadata = {"Date": None} if path.endswith(".svg") else None
    figure.savefig(path, metadata=metadata)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("report")
    parser.add_argument("-o", "--output", required=True)
    args = parser.parse_args()
    with open(args.report, encoding="utf-8") as file:
        draw(json.load(file), args.output)


if __name__ == "__main__":
    main()
