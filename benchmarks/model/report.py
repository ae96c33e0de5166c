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

ORDER = ["bf16", "tinygemm", "bf16-metadata", "row-u8", "block-u8", "k-quant", "auto"]
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
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    out.mkdir(parents=True, exist_ok=True)

    def lines(file, axis, chosen, x, logs):
        figure, axes = plt.subplots(1, len(models), figsize=(6 * len(models), 4.2), squeeze=False)
        for panel, (model, records) in zip(axes[0], models.items()):
            for label, record in records.items():
                points = sorted(
                    (x(c, b), record["decode"][f"{c}x{b}"]["tokens_per_s"])
                    for c, b in cells({label: record}, "decode")
                    if chosen(c, b) and "skipped" not in record["decode"][f"{c}x{b}"]
                )
                if points:
                    name = label.replace("`", "")
                    panel.plot(*zip(*points), marker="o", markersize=3, label=name)
            panel.set(title=TITLES.get(model, model), xlabel=axis, ylabel="tokens/s")
            panel.set_xscale("log", base=2)
            if logs:
                panel.set_yscale("log")
            panel.set_ylim(bottom=None if logs else 0)
        axes[0][0].legend(fontsize=7)
        figure.tight_layout()
        figure.savefig(out / file)

    lines("models-tokens.svg", "tokens of context, batch 1", lambda c, b: b == 1,
          lambda c, b: c, logs=False)
    least = min(c for records in models.values() for c, _ in cells(records, "decode"))
    lines("models-batches.svg", f"sequences, context {least}", lambda c, b: c == least,
          lambda c, b: b, logs=True)

    figure, axes = plt.subplots(1, len(models), figsize=(6 * len(models), 4.2), squeeze=False)
    for panel, (model, records) in zip(axes[0], models.items()):
        found = {
            label.replace("`", ""): kinds
            for label, record in records.items()
            if (kinds := (record["decode"].get(f"{least}x1") or {}).get("kinds_ms"))
        }
        left = [0.0] * len(found)
        for kind in KINDS:
            widths = [kinds[kind] for kinds in found.values()]
            panel.barh(list(found), widths, left=left, label=kind)
            left = [a + b for a, b in zip(left, widths)]
        panel.invert_yaxis()
        panel.set(title=f"{TITLES.get(model, model)}, context {least}", xlabel="ms of a token")
    axes[0][0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(out / "models-kinds.svg")


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
