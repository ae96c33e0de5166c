#!/usr/bin/env python3
# ===- report.py - Tables and plots of whole models ----------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Prints the tables of what bench.py measured, and draws it.

    report.py results                     # the tables, in Markdown
    report.py results --plots figures     # models-tokens.svg, models-batches.svg, models-kinds.svg
    report.py results --json models.json  # all records in one file, which it reads as well

Where folders have the same cell, the last counts."""

import argparse
import json
import pathlib
import sys

ORDER = ["bf16", "tinygemm", "bf16-metadata", "row-u8", "block-u8", "k-quant", "auto"]
DRAWN = ORDER[:4]  # as lines; the others lie on the last, and are in the tables
TITLES = {"8b": "Llama-3 8B", "31b": "gemma4-31B"}
LABELS = {
    "bf16": "bf16",
    "tinygemm": "tinygemm, int4 of 5.0 bits",
    "bf16-metadata": "bf16 metadata (before), 5.0 bits",
    "row-u8": "`row-u8`, 4.5 bits",
    "block-u8": "`block-u8`, 4.6 bits",
    "k-quant": "Q4_K and Q6_K, lossless",
    "auto": "`auto` of integer zeros",
}
KINDS = ["linears", "attention", "rest", "gaps"]


def load(paths):
    """{model: {label: record}}, in the order of the tables."""
    records = []
    for path in map(pathlib.Path, paths):
        files = sorted(path.glob("*.json")) if path.is_dir() else [path]
        for file in files:
            found = json.loads(file.read_text())
            records += found if isinstance(found, list) else [found]
    merged = {}
    for record in records:
        packed = record["variant"] not in ORDER[:2]
        key = record["model"], record["variant"], record["optimized"] or not packed
        known = merged.setdefault(key, {**record, "decode": {}, "prompt": {}})
        for group in ("decode", "prompt"):
            known[group].update(record[group])
    models = {}
    for (model, variant, optimized), record in sorted(
        merged.items(), key=lambda item: (item[0][0] != "8b", ORDER.index(item[0][1]), item[0][2])
    ):
        label = LABELS[variant] + ("" if optimized else ", linears alone packed")
        models.setdefault(model, {})[label] = record
    return models


def cells(records, group):
    """The sorted names of the cells that any record has: (context, batch), or lengths."""
    names = {name for record in records.values() for name in record[group]}
    if group == "prompt":
        return sorted(names, key=int)
    return sorted((tuple(map(int, name.split("x"))) for name in names), key=lambda n: (n[1], n[0]))


def tokens(n):
    return f"{n // 1024}k" if n >= 1024 and n % 1024 == 0 else str(n)


def row(*words):
    print("| " + " | ".join(words) + " |")


def header(*words):
    row(*words)
    row(*["---"] * len(words))


def value(record, group, name, show):
    cell = record[group].get(name)
    if cell is None:
        return ""
    return "no room" if "skipped" in cell else show(cell)


def times(cell):
    return f"{cell['ms']:.2f} ({cell['tokens_per_s']:.0f})"


def tables(models):
    for model, records in models.items():
        some = next(iter(records.values()))
        print(f"### {TITLES.get(model, model)}\n")
        print(f"{some['device']}, PyTorch {some['torch']}, transformers {some['transformers']}, "
              f"{some['date']}.\n")
        grid = cells(records, "decode")
        for batch in sorted({b for _, b in grid}):
            print(f"Batch {batch}: ms of a token of each sequence (tokens/s of all), by context\n")
            contexts = [c for c, b in grid if b == batch]
            header("", *map(tokens, contexts))
            for label, record in records.items():
                row(label, *(value(record, "decode", f"{c}x{batch}", times) for c in contexts))
            print()
        lengths = cells(records, "prompt")
        first = f"{grid[0][0]}x{grid[0][1]}" if grid else ""
        print("Prompts: ms (tokens/s), and memory\n")
        peak = lambda cell: f"{cell.get('peak_gb', 0):.2f}"  # noqa: E731
        header("", *lengths, "weights, GB", f"peak at {first.replace('x', ', batch ')}, GB")
        for label, record in records.items():
            row(label, *(value(record, "prompt", t, times) for t in lengths),
                f"{record['weights_gb']:.2f}", value(record, "decode", first, peak))
        print()
        ends = [f"{c}x1" for c in dict.fromkeys([c for c, b in grid if b == 1])]
        ends = [ends[0], ends[-1]] if len(ends) > 1 else ends
        for name in ends:
            if not any((r["decode"].get(name) or {}).get("kinds_ms") for r in records.values()):
                continue
            print(f"Where a token's time goes at {tokens(int(name[:-2]))}, ms (share)\n")
            header("", *KINDS)
            for label, record in records.items():
                found = (record["decode"].get(name) or {}).get("kinds_ms")
                if found:
                    total = sum(found.values())
                    row(label, *(f"{found[k]:.2f} ({found[k] / total:.0%})" for k in KINDS))
            print()


def plots(models, out):
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
    import figures
    from figures import FAINT, GRID, WIDTH, colour_of, label_ends, plt

    out.mkdir(parents=True, exist_ok=True)
    short = lambda label: label.replace("`", "").partition(",")[0]  # noqa: E731

    def panels(height):
        figure, axes = plt.subplots(
            len(models), 1, figsize=(WIDTH, height * len(models)), squeeze=False,
            layout="constrained",
        )  # fmt: skip
        return figure, axes[:, 0]

    def lines(file, title, axis, chosen, x, logs):
        figure, axes = panels(3.1)
        for panel, (model, records) in zip(axes, models.items()):
            ends, ticks = [], set()
            for label, record in records.items():
                if record["variant"] not in DRAWN:
                    continue
                points = sorted(
                    (x(c, b), record["decode"][f"{c}x{b}"]["tokens_per_s"])
                    for c, b in cells({label: record}, "decode")
                    if chosen(c, b) and "skipped" not in record["decode"][f"{c}x{b}"]
                )
                if not points:
                    continue
                name = short(label)
                colour = colour_of(name)
                panel.plot(*zip(*points), marker="o", markersize=4, color=colour, linewidth=2)
                ends.append((*points[-1], f"{name}, {points[-1][1]:.0f}", colour))
                ticks |= {point[0] for point in points}
            panel.set(title=f"{TITLES.get(model, model)}: tokens per second", xlabel=axis)
            panel.set_xscale("log", base=2)
            panel.set_xticks(sorted(ticks), [tokens(t) for t in sorted(ticks)])
            left, right = panel.get_xlim()
            panel.set_xlim(left, right * (right / left) ** 0.55)
            if logs:
                panel.set_yscale("log", base=2)
                panel.yaxis.set_major_formatter(lambda y, _: f"{y:.0f}")
            else:
                panel.set_ylim(bottom=0)
            panel.minorticks_off()
            panel.grid(axis="y")
            figure.canvas.draw()
            label_ends(panel, ends)
        figures.save(figure, out / file, title)

    lines("models-tokens.svg", "Tokens per second by tokens of context",
          "tokens of context, batch 1", lambda c, b: b == 1, lambda c, b: c, logs=False)
    least = min(c for records in models.values() for c, _ in cells(records, "decode"))
    lines("models-batches.svg", "Tokens per second by sequences at a time",
          f"sequences, {least} tokens of context", lambda c, b: c == least, lambda c, b: b,
          logs=True)

    figure, axes = panels(2.2)
    colours = dict(zip(KINDS, (figures.OURS, figures.BEFORE, figures.PEER, GRID)))
    for panel, (model, records) in zip(axes, models.items()):
        found = {
            short(label): kinds
            for label, record in records.items()
            if (kinds := (record["decode"].get(f"{least}x1") or {}).get("kinds_ms"))
        }
        left = [0.0] * len(found)
        for kind in KINDS:
            widths = [kinds[kind] for kinds in found.values()]
            panel.barh(list(found), widths, left=left, color=colours[kind], height=0.62)
            left = [a + b for a, b in zip(left, widths)]
        for y, total in enumerate(left):
            panel.annotate(f"{total:.1f} ms", (total, y), xytext=(5, 0), va="center",
                           textcoords="offset points", weight="bold")  # fmt: skip
        panel.set_ylim(len(found) - 0.5, -0.5)
        panel.set_title(f"{TITLES.get(model, model)}: a token at {least} tokens of context")
        # The words of the colours, below the last bar.
        for i, kind in enumerate(KINDS):
            panel.annotate(kind, (0.25 * i, 0), xycoords="axes fraction", xytext=(0, -14),
                           textcoords="offset points", weight="bold",
                           color=FAINT if kind == "gaps" else colours[kind])  # fmt: skip
        panel.tick_params(axis="y", length=0)
        panel.margins(x=0.16)
        panel.xaxis.set_visible(False)
        panel.spines[["bottom"]].set_visible(False)
    figures.save(figure, out / "models-kinds.svg", "Where a token's time goes")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", nargs="+", help="folders of bench.py, or files of --json")
    parser.add_argument("--plots", type=pathlib.Path, metavar="FOLDER")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE")
    options = parser.parse_args()
    models = load(options.results)
    if not models:
        parser.error(f"{', '.join(options.results)}: no records of bench.py")
    tables(models)
    if options.plots:
        plots(models, options.plots)
    if options.json:
        everything = [record for records in models.values() for record in records.values()]
        options.json.write_text(json.dumps(everything, indent=1))


if __name__ == "__main__":
    main()
