# ===- bench.py - What quant-bench says --------------------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""bench.py make|gguf|floats DIRECTORY: makes the checkpoints; compares bits and SNR with what
quant-pack reports of the same, and the errors of calls with the SNR."""

import csv
import json
import os
import sys

import numpy as np
from safetensors.numpy import save_file

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../../quant-pack/Inputs"))
from checkpoints import quant_pack, report_of, write_gguf

os.chdir(sys.argv[2])


def check(line):
    """What holds for any line: the error is that of the encoding, and of activations as int8."""
    snr = 200 if line["exact"] in (True, "true") else float(line["snr_db"])
    noise, error = 10 ** (-snr / 20), float(line["error"])
    assert noise / 4 <= error <= 4 * noise + 0.02 and error > 1e-4, line
    assert float(line["kernel_error"]) < 1e-4 and int(line["checked_calls"]) >= 4, line


def make():
    write_gguf("m.gguf", {"blk.0.ffn_up.weight": ("Q4_K", 48, 512),
                          "blk.1.ffn_up.weight": ("Q6_K", 80, 512)})  # fmt: skip
    rng = np.random.default_rng(5)
    shapes = {"a.weight": (64, 256), "b.weight": (32, 256), "c.weight": (64, 256),
              "embed_tokens.weight": (128, 256)}  # fmt: skip
    save_file(
        {name: rng.normal(size=shape).astype("f4") for name, shape in shapes.items()},
        "f.safetensors",
    )


def gguf():
    with open("gguf.json") as f:
        results = json.load(f)["results"]
    methods = ["lossless", "bf16", "int8:32", "int4:32/row-u8",
               "i5, group = 32, symmetric, scale = f16"]  # fmt: skip
    assert [(r["method"], r["rows"]) for r in results] == [(m, n) for m in methods for n in (1, 5)]
    quant_pack("m.gguf", "-o", "floats.safetensors", "--dequantize", "f32")
    name = "blk.0.ffn_up.weight"
    for quantize, encoding, key, method in (
        (None, "bf16", "tensor_snr_db", "bf16"),
        ("int8:32", "auto", None, "int8:32"),
        ("int4:32", "row-u8", None, "int4:32/row-u8"),
    ):
        source = "floats.safetensors" if quantize else "m.gguf"
        quantizing = ("--quantize", quantize) if quantize else ()
        quant_pack(source, "-o", "x.safetensors", *quantizing, "--encoding", encoding,
                   "--report", "x.json")  # fmt: skip
        packed = report_of("x.json")[1][name]
        for line in (r for r in results if r["method"] == method):
            snr = packed["quality"][key] if key else packed["float_snr_db"]
            assert abs(line["snr_db"] - snr) < 1e-3, (line, snr)
            assert abs(line["bits_per_weight"] - packed["bpw_after"]) < 1e-9, line
            assert line["encoding"] == packed["encoding"], line
    for line in results:
        check(line)
        assert line["weight"] == name and (line["n"], line["k"]) == (48, 512)
        assert line["exact"] == (line["method"] == "lossless")
        assert line["us"] is None and line["gb_per_s"] is None and line["of_read"] is None
    assert results[0]["bits_per_weight"] == 4.5
    # On a CPU there are times, of the same.
    with open("cpu.json") as f:
        report = json.load(f)
    (line,) = report["results"]
    check(line)
    assert report["device"] == "cpu:portable, threads: 1"
    assert abs(line["snr_db"] - results[2]["snr_db"]) < 1e-9
    rate = line["n"] * line["k"] * line["bits_per_weight"] / 8 / line["us"] * 1e-3
    assert abs(line["gb_per_s"] / rate - 1) < 1e-6
    assert abs(line["of_read"] - line["gb_per_s"] / report["read_gb_per_s"]) < 1e-6


def floats():
    with open("floats.csv") as f:
        lines = list(csv.DictReader(f))
    # The two largest of different shapes, and no embedding.
    assert [(r["weight"], r["method"]) for r in lines] == [
        (w, m) for w in ("a.weight", "b.weight") for m in ("row-u8", "Q4_K")
    ], lines
    for line in lines:
        check(line)
        assert line["us"] == line["gb_per_s"] == line["of_read"] == ""
        assert 15 < float(line["snr_db"]) < 30 and float(line["bits_per_weight"]) < 6
        assert line["encoding"].startswith("u4, group = 32, ")
    assert "u6 * block<256, f16>" in lines[1]["encoding"]


{"make": make, "gguf": gguf, "floats": floats}[sys.argv[1]]()
