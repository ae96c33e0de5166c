#!/usr/bin/env python3
# ===- suite.py - The GPU suite's layers, compiled and packed ------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Compiles the layers of the GPU suite and writes what run.py needs: suite.json, an
artifact and an archive per entry, and the results of the emulated device.

usage: suite.py DIRECTORY --bin DIR [--target cuda:sm_90] [--only REGEX]
       suite.py DIRECTORY --bin DIR --weights ENTRY      what run.py does for large ones

The entries and their kinds are in entries.py.
"""

import argparse
import array
import concurrent.futures
import json
import lzma
import os
import random
import re
import struct
import subprocess
import sys
import zipfile

import matrix
from entries import EXTREMES_K, ROWS, entries

# ===------------------------------------------------------------------------===#
# Weights and integers
# ===------------------------------------------------------------------------===#


def write_weights(name, weights, arguments, directory, quant_pack):
    """Random weights of an entry, packed; the same for the same name. Returns the path."""
    random.seed(name)
    source, packed = f"{directory}/{name}.source.safetensors", f"{directory}/{name}.safetensors"
    matrix.write_source(source, [(w, n, k) for w, _, n, k in weights])
    subprocess.run(
        [quant_pack, source, "-o", packed, "--include", ".", "--quiet", "--minmax", *arguments],
        check=True,
    )
    os.remove(source)
    return packed


def write_floats(path, tensors):
    """A safetensors file of F32 matrices: tensors is [(name, rows of numbers)]."""
    header, data = {}, b""
    for name, rows in tensors:
        values = array.array("f", [v for row in rows for v in row]).tobytes()
        shape = [len(rows), len(rows[0])]
        offsets = [len(data), len(data) + len(values)]
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": offsets}
        data += values
    text = json.dumps(header).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)


def integers(rows, columns, least, most):
    """Random integers with both bounds in every 32 columns: a scale of 1."""
    matrix_ = [[random.randint(least, most) for _ in range(columns)] for _ in range(rows)]
    for row in matrix_:
        for k in range(0, columns, 32):
            row[k], row[k + 1] = least, most
    return matrix_


def extreme_tokens(rows, first):
    """Tokens of normal numbers; in token i, as kind first + i has it, some are others."""
    nan, inf = float("nan"), float("inf")
    kinds = [{7: nan}, {}, {600: inf}, {1055: -inf, 0: nan},
             dict.fromkeys(range(32, 64), 1e-37), dict.fromkeys(range(EXTREMES_K), -1e-37),
             dict.fromkeys(range(EXTREMES_K), 1e-42), {100: 1e-40, 333: -1e-44},
             {64: 30000.0}, dict.fromkeys(range(EXTREMES_K), 0.0)]
    tokens = []
    for i in range(rows):
        token = [random.gauss(0, 1) for _ in range(EXTREMES_K)]
        for k, value in kinds[(first + i) % len(kinds)].items():
            token[k] = value
        tokens.append(token)
    return tokens, len(kinds)


def write_extremes(entry, directory, quant_pack):
    """The weights, and for each M as many inputs as it takes to have every kind of token;
    their names are in the entry."""
    write_weights(entry.name, entry.weights, entry.pack_arguments(), directory, quant_pack)
    names = []
    with zipfile.ZipFile(f"{directory}/{entry.name}.zip", "w", zipfile.ZIP_DEFLATED) as z:
        for m in ROWS:
            first, kinds = 0, 1
            while first < kinds:
                tokens, kinds = extreme_tokens(m, first)
                names.append([m, f"input.{m}.{first}.safetensors"])
                write_floats(f"{directory}/{names[-1][1]}", [("input0", tokens)])
                z.write(f"{directory}/{names[-1][1]}", names[-1][1])
                os.remove(f"{directory}/{names[-1][1]}")
                first += m
    return names


def write_exact(entry, directory, expected, quant_pack):
    """Integers as weights and inputs, and the results as a dot product of each."""
    random.seed(entry.name)
    weights = {}
    for name, encoding, n, k in entry.weights:
        half = 1 << (int(encoding[1]) - 1)
        weights[name] = integers(n, k, -half, half - 1)
    source = f"{directory}/{entry.name}.source.safetensors"
    write_floats(source, list(weights.items()))
    subprocess.run(
        [quant_pack, source, "-o", f"{directory}/{entry.name}.safetensors",
         "--include", ".", "--quiet", "--minmax", *entry.pack_arguments()],
        check=True,
    )
    os.remove(source)
    for m in ROWS:
        x = integers(m, entry.weights[0][3], -127, 127)
        write_floats(f"{directory}/{entry.name}.input.{m}.safetensors", [("input0", x)])
        for function, w in zip(entry.functions, weights.values()):
            y = [[sum(a * b for a, b in zip(row, column)) for column in w] for row in x]
            write_floats(f"{expected}/{function}.{m}.safetensors", [("output0", y)])


# ===------------------------------------------------------------------------===#
# Packing
# ===------------------------------------------------------------------------===#


def compile_runtime(entry, directory, work, options):
    """The layers for this target and for others, modules lowered by upstream's pipeline,
    and the names of the tests."""
    files = f"{work}/{entry.name}"
    os.makedirs(files, exist_ok=True)
    module = f"{work}/{entry.name}.mlir"
    write_weights(entry.name, entry.weights, entry.pack_arguments(), files,
                  f"{options.bin}/quant-pack")

    def compiled(target, path):
        subprocess.run([f"{options.bin}/quant-compile", module, f"--target={target}",
                        "-o", f"{files}/{path}"], check=True)

    compiled(options.target, "runtime.so")
    if options.target.startswith("cuda:sm_"):
        chip = int(re.match(r"cuda:sm_(\d+)", options.target)[1])
        if chip // 10 > 8:
            compiled("cuda:sm_80", "other.older.so")
        compiled("cuda:sm_121" if chip < 121 else "cuda:sm_90a", "other.newer.so")
        subprocess.run(
            [sys.executable, f"{os.path.dirname(os.path.abspath(__file__))}/mgpu.py", files,
             "--bin", options.bin, "--target", options.target, "--linear", module],
            check=True,
        )
    with zipfile.ZipFile(f"{directory}/{entry.name}.zip", "w", zipfile.ZIP_DEFLATED) as z:
        for name in sorted(os.listdir(files)):
            z.write(f"{files}/{name}", name)
    listed = subprocess.run([f"{directory}/gpu-runtime-tests", "--gtest_list_tests"],
                            capture_output=True, text=True, check=True).stdout
    tests, suite = [], ""
    for line in listed.splitlines():
        if not line.startswith("  "):
            suite = line.strip()
        elif not line.startswith("  DISABLED_"):
            tests.append(suite + line.strip())
    return tests


def compile_entry(entry, directory, work, options):
    """The artifact, the archive, the expected results; the entry of suite.json."""

    def compiled(target, path):
        parameters = list(entry.options)
        if entry.kind not in ("generated", "stress"):
            parameters += ["--params", f"{directory}/{entry.name}.safetensors"]
        subprocess.run(
            [f"{options.bin}/quant-compile", f"{work}/{entry.name}.mlir", f"--target={target}",
             *parameters, "-o", path],
            check=True,
        )

    with open(f"{work}/{entry.name}.mlir", "w") as f:
        f.write("\n".join(entry.module))
    if entry.kind == "runtime":
        tests = compile_runtime(entry, directory, work, options)
        print(f"{entry.name}: {len(tests)} tests", flush=True)
        return {"name": entry.name, "kind": entry.kind, "functions": tests}
    expected = f"{work}/{entry.name}"
    os.makedirs(expected, exist_ok=True)
    quant_pack = f"{options.bin}/quant-pack"
    if entry.kind == "extremes":
        inputs = write_extremes(entry, directory, quant_pack)
    elif entry.kind == "exact":
        write_exact(entry, directory, expected, quant_pack)
    elif entry.kind in ("random", "invariant"):
        write_weights(entry.name, entry.weights, entry.pack_arguments(), directory, quant_pack)
    compiled(options.target, f"{work}/{entry.name}.so")
    with open(f"{work}/{entry.name}.so", "rb") as f:
        code = f.read()
    with lzma.open(f"{directory}/{entry.name}.so.xz", "wb", preset=2) as f:
        f.write(code)
    if entry.kind == "random":
        compiled("cuda:emulated", f"{work}/{entry.name}.so")
        ran = subprocess.run(
            [f"{options.bin}/quant-run", f"{work}/{entry.name}.so", "--device", "emulated",
             "-w", f"{directory}/{entry.name}.safetensors", "--output", expected, "--json",
             "-M", ",".join(map(str, entry.rows or ROWS))],
            stdout=subprocess.DEVNULL,
        )
        if ran.returncode:
            sys.exit(f"suite.py: error: the emulated device failed on '{entry.name}'")
    if entry.kind in ("random", "exact"):
        with zipfile.ZipFile(f"{directory}/{entry.name}.zip", "w", zipfile.ZIP_DEFLATED) as z:
            for name in sorted(os.listdir(expected)):
                z.write(f"{expected}/{name}", name)
    print(f"{entry.name}: {len(entry.functions)} functions", flush=True)
    described = {"name": entry.name, "kind": entry.kind, "functions": entry.functions}
    if entry.rows:
        described["rows"] = entry.rows
    if entry.kind == "extremes":
        described["inputs"] = inputs
    if entry.kind == "generated":
        described |= {"weights": entry.weights, "arguments": entry.pack_arguments()}
    return described


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("directory")
    parser.add_argument("--bin", required=True, help="where quant-compile lies")
    parser.add_argument("--target", default="cuda:sm_90")
    parser.add_argument("--only", default="", metavar="REGEX", help="entries to take")
    parser.add_argument("--weights", metavar="ENTRY", help="only the weights of this entry (JSON)")
    options = parser.parse_args()
    if options.weights:
        entry = json.loads(options.weights)
        write_weights(entry["name"], entry["weights"], entry["arguments"], options.directory,
                      f"{options.bin}/quant-pack")
        return
    wanted = [e for e in entries() if re.search(options.only, e.name)]
    if not wanted:
        sys.exit(f"suite.py: error: no entry matches '{options.only}'; there are "
                 + ", ".join(e.name for e in entries()))
    work = f"{options.directory}/work"
    os.makedirs(work, exist_ok=True)
    # Random numbers have one state: what draws them runs in a process of its own.
    with concurrent.futures.ProcessPoolExecutor(os.cpu_count()) as pool:
        jobs = [pool.submit(compile_entry, e, options.directory, work, options) for e in wanted]
        described = [job.result() for job in jobs]
    with open(f"{options.directory}/suite.json", "w") as f:
        json.dump({"target": options.target, "rows": ROWS, "entries": described}, f, indent=1)


if __name__ == "__main__":
    main()
