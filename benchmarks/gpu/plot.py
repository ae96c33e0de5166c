#!/usr/bin/env python3
# ===- plot.py - Plots of a benchmark's report ----------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Draws the report of qlinear-gpu-bench: gpu-chain.svg, gpu-rows.svg, gpu-shapes.svg and
gpu-roofline.svg; of one with many numbers of rows gpu-many.svg. Peers come first, and of ours the
first encoding: the tables have all.

    plot.py gpu.json --out docs/images
"""
import argparse
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from figures import FAINT, GRID, INK, WIDTH, colour_of, label_ends, plt, save, shown
from layers import SHAPES
from tables import layer_sums, split, token

SHAPE = "gate_up"  # of the roofline


def chosen(entries):
    """[(name, entry)]: peers, the slowest first, and the first of ours with activations that
    are quantized inside."""
    entries = [e for e in entries if e.get("us", {}).get("1")]
    ours = [e for e in entries if e["implementation"].startswith("qlinear")]
    peers = sorted((e for e in entries if e not in ours), key=lambda e: -e["us"]["1"])
    ours = [e for e in ours if not split(e["implementation"])[1]][:1]
    return [(shown(e["implementation"].replace("qlinear ", "QLinear, ")), e)
            for e in peers + ours]


def colour(entry):
    return colour_of(entry["implementation"])


def chain(report, out):
    """Milliseconds per token at M = 1, and how long its bytes take to be read."""
    rows = chosen(token(report))
    if not rows:
        return
    name, ours = rows[-1]
    bars = [(name, r["us"]["1"] / 1e3, colour(r)) for name, r in rows]
    bars.append(("its bytes, read:\nthe memory's limit", ours["read_us"]["dependent"] / 1e3, None))
    figure, axes = plt.subplots(figsize=(WIDTH, 0.5 * len(bars) + 0.75), layout="constrained")
    for y, (_, ms, fill) in enumerate(bars):
        axes.barh(y, ms, color=fill or GRID, edgecolor=fill or FAINT, height=0.62)
        axes.annotate(f"{ms:.2f} ms", (ms, y), xytext=(5, 0), textcoords="offset points",
                      va="center", weight="bold" if fill else "normal")
    axes.set_yticks(range(len(bars)), [name for name, *_ in bars])
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.margins(x=0.16)
    axes.xaxis.set_visible(False)
    axes.spines[["bottom"]].set_visible(False)
    figure.suptitle(f"Time of a token's linear layers, {report['device']}", x=0.01, ha="left",
                    size=10, weight="bold")
    save(figure, out / "gpu-chain.svg",
         "Milliseconds per token: " + ", ".join(f"{n} {ms:.2f}" for n, ms, _ in bars))


def shapes(report, out):
    """Share of the dependent read's bandwidth that each implementation gets, per shape."""
    times = {}
    for r in report["shapes"]:
        if "1" in r.get("us", {}):
            times.setdefault(r["implementation"], {})[r["shape"]] = r
    implementations = chosen([next(iter(of.values())) for of in times.values()])
    if not implementations or "read_us" not in implementations[-1][1]:
        return
    first = times[implementations[-1][1]["implementation"]]
    order = sorted(first, key=lambda shape: -first[shape]["bytes"])
    figure, axes = plt.subplots(figsize=(WIDTH, 0.3 * len(order) + 1.1), layout="constrained")
    axes.axvline(100, color=INK, linewidth=1)
    for y, shape in enumerate(order):
        axes.axhline(y, color=GRID, linewidth=0.8, zorder=0)
        for name, entry in implementations:
            r = times[entry["implementation"]].get(shape)
            if r is None:
                continue
            share = 100 * r["read_us"]["dependent"] / r["us"]["1"]
            axes.plot(share, y, "o", color=colour(entry), markersize=7)
            if y == 0:
                ours = entry is implementations[-1][1]
                at, align = ((5, 20), "right") if ours else ((0, 9), "center")
                axes.annotate(name, (share, y), xytext=at, textcoords="offset points", size=9,
                              ha=align, color=colour(entry))
    labels = [f"{s}, {first[s]['bytes'] / 1e6:.0f} MB" for s in order]
    axes.set_yticks(range(len(order)), labels)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(order) - 0.5, -1.5)
    axes.set_xlim(0, 112)
    axes.set_xlabel("share of the read's bandwidth at one token, %")
    axes.spines[["left"]].set_visible(False)
    figure.suptitle(f"Single layers, {report['device']}", x=0.01, ha="left", size=10,
                    weight="bold")
    save(figure, out / "gpu-shapes.svg",
         "Share of the memory's bandwidth that each implementation reaches, per layer")


def rows(report, out):
    """Milliseconds per step of M = 1, 2, 4, 8 tokens, activations quantized inside."""
    lines = chosen(token(report))
    if not lines:
        return
    figure, axes = plt.subplots(figsize=(WIDTH, 3.2), layout="constrained")
    ends = []
    for name, r in lines:
        points = [(m, r["us"][str(m)] / 1e3) for m in sorted(map(int, r["us"]))]
        axes.plot(*zip(*points), marker="o", markersize=5, color=colour(r), linewidth=2)
        ends.append((*points[-1], f"{name}, {points[-1][1]:.1f} ms", colour(r)))
    axes.set_xticks([1, 2, 4, 8], ["1", "2", "4", "8"])
    axes.set(xlabel="tokens at once", ylabel="ms per step", ylim=(0, None))
    axes.set_xlim(right=11.6)
    axes.grid(axis="y")
    figure.suptitle(f"Linear layers of a step, {report['device']}", x=0.01, ha="left", size=10,
                    weight="bold")
    figure.canvas.draw()
    label_ends(axes, ends)
    save(figure, out / "gpu-rows.svg", "Milliseconds per step at 1 to 8 tokens")


def roofline(report, out):
    """Operations per second over those per byte of weights at M = 1, 2, 4, 8, for the
    shape with the most bytes in the chain; the roof is the dependent read."""
    lines = chosen([r for r in report["shapes"] if r["shape"] == SHAPE])
    if not lines or "read_us" not in lines[-1][1]:
        return
    figure, axes = plt.subplots(figsize=(WIDTH, 3.6), layout="constrained")
    n, k, _ = SHAPES[SHAPE]
    span, ends = [], []
    for name, r in lines:
        points = {i: (2 * n * k * i / r["bytes"], 2 * n * k * i / r["us"][str(i)] / 1e6)
                  for i in sorted(map(int, r["us"]))}
        axes.plot(*zip(*points.values()), marker="o", markersize=5, linewidth=2, color=colour(r))
        ends.append((*list(points.values())[-1], name, colour(r)))
        if (name, r) == lines[-1]:
            for i, point in points.items():
                axes.annotate(f"{i} token{'s' * (i > 1)}", point, xytext=(-6, 6), ha="right",
                              textcoords="offset points", color=FAINT)
        span += [x for x, _ in points.values()]
    span = [min(span), max(span)]
    bandwidth = max(r["bytes"] / r["read_us"]["dependent"] for _, r in lines)  # MB/s
    roof = [x * bandwidth / 1e6 for x in span]
    axes.plot(span, roof, color=INK, linewidth=1, linestyle="--")
    axes.set(xscale="log", yscale="log", xlabel="operations per byte of weights",
             ylabel="10¹² operations per second")
    axes.set_xticks([4, 8, 16, 32], ["4", "8", "16", "32"])
    axes.set_yticks([5, 10, 20, 40, 80, 160], ["5", "10", "20", "40", "80", "160"])
    axes.minorticks_off()
    axes.set_xlim(span[0] / 1.5, span[1] * 2.4)
    axes.grid(alpha=0.7)
    figure.suptitle(f"{SHAPE}, {n} x {k}, {report['device']}", x=0.01, ha="left", size=10,
                    weight="bold")
    figure.canvas.draw()
    ends.append((span[1], roof[1], "the memory's limit", INK))
    label_ends(axes, ends)
    save(figure, out / "gpu-roofline.svg",
         "Operations per second against operations per byte of weights")


def many(report, out):
    """Microseconds of a layer's linears over M."""
    sums = {name: of for name, of in layer_sums(report).items() if len(of) > 20}
    if not sums:
        return
    figure, axes = plt.subplots(figsize=(WIDTH, 3.4), layout="constrained")
    ends = []
    for name, of in sums.items():
        ours = name.startswith("qlinear")
        axes.plot(list(of), list(of.values()), linewidth=2 if ours else 1.2,
                  color=colour_of(name))
        last = max(of)
        text = name.replace("qlinear ", "QLinear,\n").replace("cublas", "cuBLAS,\n")
        ends.append((last, of[last], text, colour_of(name)))
    axes.set(xlabel="rows (tokens)", ylabel="µs of a layer's four linears")
    axes.set_xlim(0, 1.22 * max(end[0] for end in ends))
    axes.set_ylim(0, 1.1 * max(end[1] for end in ends))
    axes.grid(axis="y")
    figure.suptitle(f"Many tokens, {report['device']}", x=0.01, ha="left", size=10,
                    weight="bold")
    figure.canvas.draw()
    label_ends(axes, ends, gap=26)
    save(figure, out / "gpu-many.svg", "Time of a layer's four linears over the number of rows")


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
    if any(len(r.get("us", {})) > 20 for r in report.get("shapes", [])):
        many(report, args.out)
    elif report.get("shapes"):
        shapes(report, args.out)
        roofline(report, args.out)


if __name__ == "__main__":
    main()
