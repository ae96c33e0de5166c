#!/usr/bin/env python3
# ===- plot.py - Bits per weight against SNR -----------------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Draws what `qlinear-encoding-table --json` wrote: a panel for each kind of source. A marker
is the median over the families of weights, its line goes down to the worst family; the star is
what auto chooses. Green: bf16 deltas; purple: log codes; orange: a step per 256 weights; blue: a
step per row.

    plot.py docs/data/encodings.json -o docs/figures/encodings.svg
"""

import argparse
import json
import pathlib
import statistics

import matplotlib

matplotlib.use("Agg")
matplotlib.rcParams["svg.hashsalt"] = "qlinear"  # the same file each time
matplotlib.rcParams["svg.fonttype"] = "none"
import matplotlib.pyplot as plt  # noqa: E402

EXACT = 70  # dB, where exact encodings are drawn
KINDS = {  # what a spelling of the scales has
    "delta": "tab:green",
    "log": "tab:purple",
    "block": "tab:orange",
    "row": "tab:blue",
    "auto": "tab:red",
}


def kind(encoding):
    scale = encoding.split("scale = ")[-1].split(", offset")[0]
    return next(k for k in KINDS if k in scale)


def label(encoding):
    storages = encoding.split("scale = ")[-1].replace(", offset = ", ", ")
    return storages.replace("block<256, ", "block<")


def summary(row):
    """Bits per weight, and the SNR of the worst and of the median family."""
    values = [EXACT if v is None else v for v in row["snr_db"]]
    bits = statistics.median(row["bits_per_weight"])
    return bits, min(values), statistics.median_low(values)


def panel(axes, legend, source):
    """The encodings that compete, numbered; plain floats are a line of the legend."""
    rows = sorted((r for r in source["encodings"] if r["encoding"] != "bf16"), key=summary)
    previous = None
    for number, row in enumerate(rows, 1):
        bits, worst, median = summary(row)
        colour = KINDS[kind(row["encoding"])]
        star = row["encoding"] == "auto"
        axes.plot([bits, bits], [worst, median], color=colour, linewidth=2, alpha=0.5)
        axes.plot(bits, median, "*" if star else "o", color=colour, zorder=3 if star else 2,
                  markersize=14 if star else 7)  # fmt: skip
        # Neighbours have their numbers on either side.
        near = previous and abs(previous[0] - bits) < 0.012 and abs(previous[1] - median) < 6
        axes.annotate(str(number), (bits, median), xytext=(-13 if near else 7, 3), fontsize=9,
                      textcoords="offset points", color=colour, weight="bold")  # fmt: skip
        previous = None if near else (bits, median)
        y = 1 - (number - 0.5) / 11
        legend.text(0, y, str(number), color=colour, weight="bold", va="center", fontsize=9)
        snr = "exact" if median == EXACT else f"{median:.1f} dB"
        text = f"{label(row['encoding'])}:  {bits:.3f} bits, {snr}"
        legend.text(0.05, y, text, va="center", fontsize=9)
    plain = next(r for r in source["encodings"] if r["encoding"] == "bf16")
    text = f"before, with plain bf16: {summary(plain)[0]:.3f} bits"
    legend.text(0.05, 1 - (len(rows) + 0.5) / 11, text, va="center", fontsize=9, color="tab:gray")
    axes.axhline(EXACT, color="black", linewidth=0.6, linestyle=":")
    axes.set_title(source["title"], fontsize=11, loc="left")
    axes.set_ylim(25, EXACT + 6)
    axes.set_yticks([30, 40, 50, 60, EXACT], ["30", "40", "50", "60", "exact"])
    axes.margins(x=0.15)
    axes.grid(alpha=0.25)
    axes.set_ylabel("SNR, dB")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("report", type=pathlib.Path)
    parser.add_argument("-o", "--output", type=pathlib.Path, required=True)
    args = parser.parse_args()
    sources = json.loads(args.report.read_text())["sources"]
    figure, grid = plt.subplots(len(sources), 2, figsize=(10, 2.9 * len(sources)))
    for (axes, legend), source in zip(grid, sources):
        legend.axis("off")
        panel(axes, legend, source)
    grid[-1][0].set_xlabel("bits per weight, everything counted")
    figure.tight_layout()
    figure.savefig(args.output, metadata={"Date": None})


if __name__ == "__main__":
    main()
