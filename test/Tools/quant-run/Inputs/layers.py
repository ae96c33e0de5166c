# ===- layers.py - Layers of a transformer, from floats to a module -*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Writes a float checkpoint, a module that uses its weights, and a table of schedules.

usage: layers.py TYPE DIRECTORY QUANT-PACK

DIRECTORY gets weights.safetensors, which QUANT-PACK makes of random floats, layers.mlir
with activations and results of TYPE (f32, f16, bf16), and schedules.json, which keeps the
emulated device's kernels few.
"""

import json
import os
import random
import struct
import subprocess
import sys

U4 = "u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>"
I6 = "i6, group = 16, symmetric, scale = i8 * row<bf16>"
I8 = "i8, group = 32, symmetric, scale = f16"
U8 = "u8, group = 32, min, scale = f32, offset = f32"
K = 160
# Layer: N, encoding, --quantize. The module says the layers, the checkpoint their
# tensors: LAYER.weight.
LAYERS = {
    "attn_q": (48, I6, "int6:16:symmetric"),
    "attn_k": (16, I6, "int6:16:symmetric"),
    "attn_v": (17, I8, "int8:32:symmetric"),
    "ffn_gate": (40, U4, "int4:32:zero"),
    "ffn_up": (40, U4, "int4:32:zero"),
    "attn_out": (33, I8, "int8:32:symmetric"),
}


def checkpoint(path):
    header, data = {}, b""
    for layer, (n, _, _) in LAYERS.items():
        floats = [random.gauss(0, 0.05) for _ in range(n * K)]
        start = len(data)
        data += struct.pack(f"<{n * K}f", *floats)
        header[f"blk.0.{layer}.weight"] = {
            "dtype": "F32",
            "shape": [n, K],
            "data_offsets": [start, len(data)],
        }
    text = json.dumps(header).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)


def weight(layer):
    n, encoding, _ = LAYERS[layer]
    return f"!qlinear.weight<{n}x{K}, #qlinear.encoding<{encoding}>>"


def rows(n, dtype):
    return f"tensor<?x{n}x{dtype}>"


def linear(result, layer, dtype):
    """Two lines: the weight is loaded, %x multiplied with it."""
    return (
        f"  %w_{layer} = qlinear.load @{layer} : {weight(layer)}\n"
        f"  %{result} = qlinear.linear %x, %w_{layer} : ({rows(K, DTYPE)}, {weight(layer)})"
        f" -> {rows(LAYERS[layer][0], dtype)}\n"
    )


def numbers(values, columns):
    """The text of a dense constant."""
    lines = [values[i : i + columns] for i in range(0, len(values), columns)]
    return f"dense<{lines}>"


def qkv():
    names = ["attn_q", "attn_k", "attn_v"]
    types = ", ".join(rows(LAYERS[n][0], DTYPE) for n in names)
    body = "".join(linear(n[-1], n, DTYPE) for n in names)
    return (
        f"func.func @qkv(%x: {rows(K, DTYPE)}) -> ({types}) {{\n"
        f"{body}  return %q, %k, %v : {types}\n}}\n"
    )


def gate_up():
    """silu(gate) * up in f32, rounded at the end."""
    t, y = rows(40, "f32"), rows(40, DTYPE)
    same = "affine_map<(m, n) -> (m, n)>"
    round_, result = "", "%p"
    if DTYPE != "f32":
        round_, result = f"    %r = arith.truncf %p : f32 to {DTYPE}\n", "%r"
    body = linear("g", "ffn_gate", "f32") + linear("u", "ffn_up", "f32")
    body += f"""  %y = linalg.generic {{
      indexing_maps = [{same}, {same}, {same}],
      iterator_types = ["parallel", "parallel"]}}
      ins(%g, %u : {t}, {t}) outs(%out : {y}) {{
  ^bb0(%a: f32, %b: f32, %o: {DTYPE}):
    %c1 = arith.constant 1.0 : f32
    %n = arith.negf %a : f32
    %e = math.exp %n : f32
    %d = arith.addf %e, %c1 : f32
    %s = arith.divf %a, %d : f32
    %p = arith.mulf %s, %b : f32
{round_}    linalg.yield {result} : {DTYPE}
  }} -> {y}
"""
    body = (
        f"  %zero = arith.constant 0 : index\n  %m = tensor.dim %x, %zero : {rows(K, DTYPE)}\n"
        f"  %out = tensor.empty(%m) : {y}\n" + body
    )
    return f"func.func @gate_up(%x: {rows(K, DTYPE)}) -> {y} {{\n{body}  return %y : {y}\n}}\n"


def extend(value, name):
    """The scalar `value` of DTYPE as the f32 %name."""
    if DTYPE == "f32":
        return f"    %{name} = arith.addf {value}, %zero : f32\n"
    return f"    %{name} = arith.extf {value} : {DTYPE} to f32\n"


def bias_residual(name, load, w, n):
    """x W^T + bias + residual; `load` defines %w and %bias, or %bias is an argument."""
    y = rows(n, DTYPE)
    arguments = f"%x: {rows(K, DTYPE)}, %r: {y}"
    if "%bias" not in load:
        arguments += f", %bias: tensor<{n}xf32>"
    round_ = "" if DTYPE == "f32" else f"    %t = arith.truncf %s1 : f32 to {DTYPE}\n"
    result = "%s1" if DTYPE == "f32" else "%t"
    return f"""func.func @{name}({arguments}) -> {y} {{
{load}  %y = qlinear.linear %x, %w extras(%bias, %r)
      : ({rows(K, DTYPE)}, {w}, tensor<{n}xf32>, {y}) -> {y} {{
  ^bb0(%p: f32, %b: f32, %res: {DTYPE}):
    %zero = arith.constant 0.0 : f32
{extend("%res", "e")}    %s0 = arith.addf %p, %b : f32
    %s1 = arith.addf %s0, %e : f32
{round_}    qlinear.yield {result} : {DTYPE}
  }}
  return %y : {y}
}}
"""


def constants():
    """A weight and a bias that are constants of the module."""
    n, groups = 24, K // 32
    w = f"!qlinear.weight<{n}x{K}, #qlinear.encoding<{U8}>>"
    codes = numbers([random.randrange(256) - 128 for _ in range(n * K)], K)
    scales = numbers([random.uniform(0.001, 0.01) for _ in range(n * groups)], groups)
    mins = numbers([random.uniform(-1, -0.1) for _ in range(n * groups)], groups)
    bias = [random.gauss(0, 1) for _ in range(n)]
    load = f"""  %codes = arith.constant {codes} : tensor<{n}x{K}xi8>
  %scales = arith.constant {scales} : tensor<{n}x{groups}xf32>
  %mins = arith.constant {mins} : tensor<{n}x{groups}xf32>
  %bias = arith.constant dense<{bias}> : tensor<{n}xf32>
  %w = qlinear.pack %codes, %scales offsets(%mins)
      : (tensor<{n}x{K}xi8>, tensor<{n}x{groups}xf32>, tensor<{n}x{groups}xf32>) -> {w}
"""
    return bias_residual("constants", load, w, n)


def schedules(path):
    table = []
    kernels = [f"#qlinear.gemv<rows = {r}, grid = 2, warps = 4, stages = 3>" for r in (1, 4)]
    for layers in (["attn_q", "attn_k", "attn_v"], ["ffn_gate", "ffn_up"], ["attn_out"]):
        weights = [{"encoding": LAYERS[n][1], "n": LAYERS[n][0], "k": K} for n in layers]
        entry = {
            "target": "cuda:emulated",
            "weights": weights,
            "schedule": f"#qlinear.schedule<kernels = [{', '.join(kernels)}]>",
        }
        table += [entry, {**entry, "activations": "float"}]
    with open(path, "w") as f:
        json.dump(table, f, indent=1)


DTYPE, directory, quant_pack = sys.argv[1:]
random.seed(DTYPE)
os.makedirs(directory, exist_ok=True)
checkpoint(f"{directory}/floats.safetensors")
arguments = []
for layer_, (_, encoding_, quantize_) in LAYERS.items():
    arguments += ["--quantize", f"{layer_}={quantize_}", "--encoding", f"{layer_}={encoding_}"]
subprocess.run(
    [quant_pack, f"{directory}/floats.safetensors", "-o", f"{directory}/weights.safetensors"]
    + ["--include", ".", "--quiet", *arguments],
    check=True,
)
with open(f"{directory}/layers.mlir", "w") as f:
    for layer_ in LAYERS:
        f.write(f'qlinear.parameter @{layer_} : {weight(layer_)} from "blk.0.{layer_}"\n')
    f.write(qkv())
    f.write(gate_up())
    load_ = f"  %w = qlinear.load @attn_out : {weight('attn_out')}\n"
    f.write(bias_residual("bias_residual", load_, weight("attn_out"), 33))
with open(f"{directory}/constants.mlir", "w") as f:
    f.write(constants())
schedules(f"{directory}/schedules.json")
