# ===- plot.py - Bits per weight against SNR ------------------------ -*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Plots the reports of quant-pack: bits per weight against SNR, per encoding."""

import collections
import math


def plot(rows, title, paths):
    """`rows` are (codes, encoding, bits per weight, SNR in dB or inf), one per tensor.
    Returns False if matplotlib is not there. Exact tensors (infinite SNR) are drawn
    on a line of their own above the others."""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    finite = [snr for *_, snr in rows if math.isfinite(snr)]
    exact = (max(finite) if finite else 50) + 6
    groups = collections.defaultdict(list)
    for codes, encoding, bits, snr in rows:
        groups[(codes, encoding)].append((bits, snr if math.isfinite(snr) else exact))

    figure, axes = plt.subplots(figsize=(9, 5))
    encodings = list(dict.fromkeys(encoding for _, encoding in groups))
    codes = list(dict.fromkeys(c for c, _ in groups))
    for (c, encoding), points in groups.items():
        axes.scatter(
            *zip(*points),
            s=18,
            alpha=0.6,
            color=f"C{encodings.index(encoding)}",
            marker="os^D"[codes.index(c) % 4],
            label=f"{c}, {encoding}",
        )
    axes.axhline(45, color="grey", lw=0.8, ls="--")
    axes.annotate("floor of auto, 45 dB", (axes.get_xlim()[0], 45), va="bottom")
    if any(not math.isfinite(snr) for *_, snr in rows):
        axes.axhline(exact, color="grey", lw=0.8)
        axes.annotate("exact", (axes.get_xlim()[0], exact), va="bottom")
    axes.set_xlabel("bits per weight, everything counted")
    axes.set_ylabel("SNR of the re-encoded metadata, dB")
    axes.set_title(title)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))
    figure.tight_layout()
    for path in paths:
        figure.savefig(path, dpi=120)
    plt.close(figure)
    return True
