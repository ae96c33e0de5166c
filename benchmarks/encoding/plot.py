#!/usr/bin/env python3
# ===- plot.py - Bits per weight against SNR -----------------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Draws what `qlinear-encoding-table --json` wrote: a panel for each kind of source, the encodings
from the fewest bits to the most. The dot is the median over the families of weights, its line goes
down to the worst family; what auto chooses is filled.

    plot.py docs/data/encodings.json -o docs/figures/encodings.svg
"""

import argparse
import json
import pathlib
import statistics
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from figures import FAINT, GRID, INK, OURS, PAPER, plt, save  # noqa: E402

EXACT = 70  # dB, where exact encodings are drawn


def label(encoding):
    storages = encoding.split("scale = ")[-1].replace(", offset = ", ", ")
    return storages.replace("block<256, ", "block<")


def summary(row):
    """Bits per weight, and the SNR of the worst and of the median family."""
    values = [EXACT if v is None else v for v in row["snr_db"]]
    bits = statistics.median(row["bits_per_weight"])
    return bits, min(values), statistics.median_low(values)


def panel(axes, source):
    rows = sorted((r for r in source["encodings"] if r["encoding"] != "bf16"), key=summary)
    plain = next(r for r in source["encodings"] if r["encoding"] == "bf16")
    names = []
    for y, row in enumerate(rows):
        bits, worst, median = summary(row)
        auto = row["encoding"] == "auto"
        axes.axhline(y, color=GRID, linewidth=0.8, zorder=0)
        axes.plot([worst, median], [y, y], color=OURS, linewidth=2)
        axes.plot(median, y, "o", color=OURS, markersize=7, zorder=3,
                  markerfacecolor=OURS if auto else PAPER, markeredgewidth=1.6)  # fmt: skip
        names.append(f"{label(row['encoding'])} · {bits:.3f}")
    axes.set_yticks(range(len(rows)), names)
    for text, row in zip(axes.get_yticklabels(), rows):
        text.set_fontsize(8.5)
        if row["encoding"] == "auto":
            text.set_fontweight("bold")
    axes.axvline(EXACT, color=INK, linewidth=0.8, linestyle=":")
    title = f"{source['title']}; {summary(plain)[0]:.3f} bits with plain bf16"
    axes.set_title(" ", size=9)  # its room
    axes.annotate(title, (0, 1), xycoords=("figure fraction", "axes fraction"), xytext=(6, 4),
                  textcoords="offset points", weight="bold", size=9)  # fmt: skip
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(25, EXACT + 4)
    axes.set_xticks([30, 40, 50, 60, EXACT], ["30", "40", "50", "60 dB", "exact"])
    axes.spines[["left"]].set_visible(False)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("report", type=pathlib.Path)
    parser.add_argument("-o", "--output", type=pathlib.Path, required=True)
    args = parser.parse_args()
    sources = json.loads(args.report.read_text())["sources"]
    counts = [len(s["encodings"]) for s in sources]
    figure, grid = plt.subplots(
        len(sources), 1, figsize=(6.4, 0.26 * sum(counts) + 0.55 * len(sources)),
        gridspec_kw={"height_ratios": counts}, layout="constrained",
    )  # fmt: skip
    for axes, source in zip(grid, sources):
        panel(axes, source)
    grid[-1].set_xlabel("SNR; beside the names: bits per weight", color=FAINT)
    save(figure, args.output, "Bits per weight and SNR of encodings, for each kind of source")


if __name__ == "__main__":
    main()
