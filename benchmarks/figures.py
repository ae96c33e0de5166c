# ===- figures.py - How the figures of docs/ look ------------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""What the plots of benchmarks have in common: narrow enough to be read on a telephone, lines
that are labelled where they end, and a background of their own, light or dark as the reader's
system is."""

import re

import matplotlib

matplotlib.use("Agg")
matplotlib.rcParams.update(
    {
        "svg.hashsalt": "qlinear",  # the same file each time
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans", "Helvetica", "Arial"],
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlelocation": "left",
        "axes.titlesize": 10,
        "axes.titleweight": "bold",
        "axes.axisbelow": True,
    }
)
import matplotlib.pyplot as plt  # noqa: E402

WIDTH = 5.6  # inches
# Colours in a light and in a dark figure. Ours is one that stands out, peers are not.
PAPER, INK, FAINT, GRID = "#fffffe", "#1f2328", "#5a636c", "#dfe3e8"
OURS, BEFORE, PEER, OTHER = "#0a6fc2", "#c2570a", "#5f6870", "#8c96a0"
DARK = {
    PAPER: "#1e2129",
    INK: "#e6edf3",
    FAINT: "#a9b2bc",
    GRID: "#3a414b",
    OURS: "#4da3ff",
    BEFORE: "#f0883e",
    PEER: "#a0a9b3",
    OTHER: "#78828d",
}
matplotlib.rcParams.update(
    {
        "figure.facecolor": PAPER,
        "axes.facecolor": "none",
        "savefig.facecolor": PAPER,
        "text.color": INK,
        "axes.edgecolor": FAINT,
        "axes.labelcolor": INK,
        "xtick.color": FAINT,
        "ytick.color": FAINT,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "grid.color": GRID,
        "grid.linewidth": 0.8,
    }
)


def colour_of(name):
    """Of an implementation or a variant, by how its name begins."""
    if name.startswith(("qlinear", "row-u8")):
        return OURS
    if name.startswith("bf16 metadata"):
        return BEFORE
    return OTHER if name.startswith(("executorch", "ExecuTorch", "tinygemm")) else PEER


def shown(name):
    """How a peer calls itself."""
    return {"executorch": "ExecuTorch"}.get(name, name)


def label_ends(axes, ends, gap=12):
    """Texts behind the last points of lines, (x, y, text, colour), moved apart where they would
    overlap: `gap` points, from the lowest up."""
    place = axes.transData.transform
    scale = axes.figure.dpi / 72
    lowest = None
    for x, y, text, colour in sorted(ends, key=lambda end: place(end[:2])[1]):
        at = place((x, y))[1] / scale
        moved = at if lowest is None else max(at, lowest + gap)
        lowest = moved
        axes.annotate(text, (x, y), xytext=(6, moved - at), textcoords="offset points",
                      va="center", color=colour, annotation_clip=False)  # fmt: skip


def save(figure, path, title):
    """Writes an SVG with a <title>, whose colours are those of DARK where pages are dark."""
    figure.savefig(path, format="svg", metadata={"Date": None, "Title": title})
    plt.close(figure)
    rules = "".join(
        f'[style*="{kind}: {light}"]{{{kind}:{dark}!important}}'
        for light, dark in DARK.items()
        for kind in ("fill", "stroke")
    )
    style = f"<style>@media (prefers-color-scheme: dark){{{rules}}}</style>"
    text = path.read_text()
    text, count = re.subn(r"(</title>)", rf"\1\n {style}", text, count=1)
    assert count == 1, "matplotlib writes no title"
    path.write_text(text)
