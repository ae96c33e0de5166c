# ===- partial.py - Reports that lack something -----------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""partial.py REPORT FOLDER: parts of a report of qlinear-gpu-bench, as its options make
them."""
import json
import sys

report, folder = sys.argv[1:]


def write(name, keep, rows=None, chain=True):
    with open(report) as f:
        part = json.load(f)
    for kind in ("chains", "shapes"):
        part[kind] = [r for r in part[kind] if keep(r)]
        for r in part[kind]:
            r["us"] = {m: us for m, us in r["us"].items() if not rows or m in rows}
    if not chain:
        del part["chains"]
    with open(f"{folder}/{name}.json", "w") as f:
        json.dump(part, f)


def per_row(r):
    return r["implementation"].startswith("qlinear row-u8")


write("no-peers", per_row)
write("shape", lambda r: per_row(r) and r.get("shape") == "kv", chain=False)
write("rows", per_row, rows=["4"])
