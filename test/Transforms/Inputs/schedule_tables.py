#!/usr/bin/env python3
# ===- schedule_tables.py - Tables with one thing wrong each -------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Runs qlinear-schedule with tables that are wrong in one way each, and prints what it
says.

usage: schedule_tables.py QUANT-OPT MODULE DIRECTORY
"""
import copy
import json
import subprocess
import sys


def schedule(kernel):
    return f"#qlinear.schedule<kernels = [#qlinear.{kernel}]>"


Q8 = "i8, group = 32, symmetric, scale = f16"
GOOD = {"target": "cuda:sm_90", "weights": [{"encoding": Q8, "n": 96, "k": 256}],
        "schedule": schedule("gemv<rows = 1, copy = bulk>")}


def changed(**changes):
    entry = copy.deepcopy(GOOD)
    for key, value in changes.items():
        holder = entry["weights"][0] if key in ("encoding", "n", "k") else entry
        if value is None:
            del holder[key]
        else:
            holder[key] = value
    return [copy.deepcopy(GOOD), entry]


TABLES = {
    "not-json": "[{",
    "deep": "[" * 200000,
    "not-a-list": {"target": "cuda:sm_90"},
    "no-weights": changed(weights=None),
    "no-n": changed(n=None),
    "negative": changed(n=-96),
    "target": changed(target="gpu:9"),
    "m": changed(m=1),
    "activations": changed(activations="int4"),
    "encoding": changed(encoding="u4, group = 31, zero, scale = bf16, offset = bf16"),
    "shape": changed(encoding="i8, group = 128, symmetric, scale = f16", k=416),
    "schedule": changed(schedule=schedule("gemv<rows = 1, warps = 99>")),
    "no-schedule": changed(schedule="bulk"),
    "cpu": changed(schedule=schedule("cpu_gemv<rows = 1>")),
    "gpu": [{**GOOD, "target": "cpu:avx2"}],
    "bulk": [{**GOOD, "target": "cuda:sm_80"}],
    "async": [{**GOOD, "target": "cuda:sm_75",
               "schedule": schedule("gemv<rows = 1, copy = async>")}],
    "pdl": [{**GOOD, "target": "cuda:sm_80",
             "schedule": "#qlinear.schedule<pdl = true>"}],
    "other-target": [{**GOOD, "target": "cuda:sm_100"}],
}

tool, module, directory = sys.argv[1:]
for name, table in TABLES.items():
    path = f"{directory}/{name}.json"
    with open(path, "w") as f:
        f.write(table if isinstance(table, str) else json.dumps(table))
    target = {"bulk": "cuda:sm_80", "pdl": "cuda:sm_80", "async": "cuda:sm_75",
              "gpu": "cpu:avx2"}.get(
        name, "cuda:sm_90")
    ran = subprocess.run([tool, module, f"--qlinear-schedule=target={target} table={path}"],
                         capture_output=True, text=True)
    print(f"{name}: {ran.returncode}: {ran.stderr.replace(directory + '/', '').strip()}")
