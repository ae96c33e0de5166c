# ===- partial_lowering.py - Linears among operations of others -*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
#
# Writes a module: blocks of a transformer in a loop, with norms and attention in
# linalg, a function that is called, and quantized linears of four encodings, or all of
# one type as in a model; and compares what it prints with the same in numpy's float64,
# with activations quantized to int8 per 32 columns as the kernels do.
#
# Usage: partial_lowering.py write MODULE ROWS SEED [alike]
#        partial_lowering.py check OUTPUT ROWS SEED [alike]

import re
import sys

import numpy as np

K, LAYERS = 64, 2
ENCODINGS = {  # name: (spelling, code type, signed, group, form, N)
    "q": ("u4, group = 32, zero, scale = f32, offset = f32", "i4", 16, 32),
    "k": ("i8, group = 16, symmetric, scale = f32", "i8", 256, 16),
    "v": ("u4, group = 64, min, scale = f32, offset = f32", "i4", 16, 64),
    "o": ("i8, group = 32, symmetric, scale = f32", "i8", 256, 32),
}


def make(seed, rows):
    rng = np.random.default_rng(seed)
    weights = {}
    for name, (spelling, _, levels, group) in ENCODINGS.items():
        signed = spelling.startswith("i")
        low = -levels // 2 if signed else 0
        codes = rng.integers(low, low + levels, (K, K))
        scales = rng.uniform(0.5, 1, (K, K // group)).astype(np.float32) / (levels * 4)
        offsets = rng.uniform(5, 9, (K, K // group)).astype(np.float32)
        if "min" in spelling:
            offsets = (offsets * scales).astype(np.float32)
        weights[name] = codes, scales, None if "symmetric" in spelling else offsets
    return weights, rng.standard_normal((rows, K)).astype(np.float32)


def dequantize(name, weight):
    codes, scales, offsets = (None if a is None else a.astype(np.float64) for a in weight)
    group = ENCODINGS[name][3]
    scales = np.repeat(scales, group, 1)
    if offsets is None:
        return scales * codes
    offsets = np.repeat(offsets, group, 1)
    return scales * codes - offsets if "min" in ENCODINGS[name][0] else scales * (codes - offsets)


def quantize(x):
    chunks = x.astype(np.float32).reshape(x.shape[0], -1, 32)
    largest = np.abs(chunks).max(2, keepdims=True)
    codes = np.rint(chunks * (np.float32(127) / largest))
    return ((largest / np.float32(127)).astype(np.float64) * codes).reshape(x.shape)


def expected(weights, x):
    floats = {n: dequantize(n, w) for n, w in weights.items()}
    linear = {n: (lambda a, w=w: quantize(a) @ w.T) for n, w in floats.items()}
    x = x.astype(np.float64)
    for _ in range(LAYERS):
        n = x / np.sqrt((x * x).mean(1, keepdims=True) + 1e-6)
        q, k, v = (linear[name](n) for name in "qkv")
        p = np.exp(q @ k.T / 64)
        x = linear["o"](p @ v / p.sum(1, keepdims=True)) + x
    return x * 0.5 + 1


def dense(array):
    rows = ("[" + ", ".join(repr(v.item()) for v in row) + "]" for row in array)
    return "dense<[" + ", ".join(rows) + "]>"


def module(weights, x):
    rows = x.shape[0]
    lines = ["func.func private @printMemrefF32(tensor<*xf32>) attributes {llvm.emit_c_interface}"]
    loads = []
    for name, (spelling, code, _, group) in ENCODINGS.items():
        type = f"!qlinear.weight<{K}x{K}, #qlinear.encoding<{spelling}>>"
        codes, scales, offsets = weights[name]
        shape = f"tensor<{K}x{K // group}xf32>"
        loads += [f"%{name}c = arith.constant {dense(codes)} : tensor<{K}x{K}x{code}>",
                  f"%{name}s = arith.constant {dense(scales)} : {shape}"]
        types = [f"tensor<{K}x{K}x{code}>", shape]
        extra = ""
        if offsets is not None:
            loads.append(f"%{name}z = arith.constant {dense(offsets)} : {shape}")
            extra, types = f" offsets(%{name}z)", types + [shape]
        loads.append(f"%w{name} = qlinear.pack %{name}c, %{name}s{extra}"
                     f" : ({', '.join(types)}) -> {type}")
    w = {n: f"!qlinear.weight<{K}x{K}, #qlinear.encoding<{e[0]}>>" for n, e in ENCODINGS.items()}
    t, s, v = f"tensor<?x{K}xf32>", "tensor<?x?xf32>", "tensor<?xf32>"
    id2, row = "(i, j) -> (i, j)", "(i, j) -> (i)"
    par = '["parallel", "parallel"]'
    red = '["parallel", "reduction"]'
    mm = '["parallel", "parallel", "reduction"]'

    def maps(*texts):
        return "[" + ", ".join(f"affine_map<{m}>" for m in texts) + "]"

    contraction = maps("(i, j, k) -> (i, k)", "(i, j, k) -> (j, k)", "(i, j, k) -> (i, j)")
    body = f"""
func.func private @halve(%x: {t}) -> {t} attributes {{no_inline}} {{
  %half = arith.constant 0.5 : f32
  %one = arith.constant 1.0 : f32
  %y = linalg.generic {{indexing_maps = {maps(id2)}, iterator_types = {par}}}
      outs(%x : {t}) {{
  ^bb0(%a: f32):
    %0 = arith.mulf %a, %half : f32
    %1 = arith.addf %0, %one : f32
    linalg.yield %1 : f32
  }} -> {t}
  return %y : {t}
}}

func.func @main() {{
  {chr(10).join("  " + line for line in loads)}
  %data = arith.constant {dense(x)} : tensor<{rows}x{K}xf32>
  %x0 = tensor.cast %data : tensor<{rows}x{K}xf32> to {t}
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %layers = arith.constant {LAYERS} : index
  %zero = arith.constant 0.0 : f32
  %m = tensor.dim %x0, %c0 : {t}
  %y = scf.for %i = %c0 to %layers step %c1 iter_args(%x = %x0) -> {t} {{
    %ve = tensor.empty(%m) : {v}
    %v0 = linalg.fill ins(%zero : f32) outs(%ve : {v}) -> {v}
    %square = linalg.generic {{indexing_maps = {maps(id2, row)}, iterator_types = {red}}}
        ins(%x : {t}) outs(%v0 : {v}) {{
    ^bb0(%a: f32, %o: f32):
      %0 = arith.mulf %a, %a : f32
      %1 = arith.addf %o, %0 : f32
      linalg.yield %1 : f32
    }} -> {v}
    %te = tensor.empty(%m) : {t}
    %n = linalg.generic {{indexing_maps = {maps(id2, row, id2)}, iterator_types = {par}}}
        ins(%x, %square : {t}, {v}) outs(%te : {t}) {{
    ^bb0(%a: f32, %b: f32, %o: f32):
      %size = arith.constant {float(K)} : f32
      %epsilon = arith.constant 1.0e-6 : f32
      %0 = arith.divf %b, %size : f32
      %1 = arith.addf %0, %epsilon : f32
      %2 = math.sqrt %1 : f32
      %3 = arith.divf %a, %2 : f32
      linalg.yield %3 : f32
    }} -> {t}
    %q = qlinear.linear %n, %wq : ({t}, {w["q"]}) -> {t}
    %k = qlinear.linear %n, %wk : ({t}, {w["k"]}) -> {t}
    %v = qlinear.linear %n, %wv : ({t}, {w["v"]}) -> {t}
    %se = tensor.empty(%m, %m) : {s}
    %s0 = linalg.fill ins(%zero : f32) outs(%se : {s}) -> {s}
    %scores = linalg.generic {{indexing_maps = {contraction}, iterator_types = {mm}}}
        ins(%q, %k : {t}, {t}) outs(%s0 : {s}) {{
    ^bb0(%a: f32, %b: f32, %o: f32):
      %0 = arith.mulf %a, %b : f32
      %1 = arith.addf %o, %0 : f32
      linalg.yield %1 : f32
    }} -> {s}
    %p = linalg.generic {{indexing_maps = {maps(id2)}, iterator_types = {par}}}
        outs(%scores : {s}) {{
    ^bb0(%a: f32):
      %scale = arith.constant {1 / 64} : f32
      %0 = arith.mulf %a, %scale : f32
      %1 = math.exp %0 : f32
      linalg.yield %1 : f32
    }} -> {s}
    %sum = linalg.generic {{indexing_maps = {maps(id2, row)}, iterator_types = {red}}}
        ins(%p : {s}) outs(%v0 : {v}) {{
    ^bb0(%a: f32, %o: f32):
      %0 = arith.addf %o, %a : f32
      linalg.yield %0 : f32
    }} -> {v}
    %pe = tensor.empty(%m) : {t}
    %p0 = linalg.fill ins(%zero : f32) outs(%pe : {t}) -> {t}
    %pv = linalg.matmul ins(%p, %v : {s}, {t}) outs(%p0 : {t}) -> {t}
    %a = linalg.generic {{indexing_maps = {maps(row, id2)}, iterator_types = {par}}}
        ins(%sum : {v}) outs(%pv : {t}) {{
    ^bb0(%b: f32, %o: f32):
      %0 = arith.divf %o, %b : f32
      linalg.yield %0 : f32
    }} -> {t}
    %l = qlinear.linear %a, %wo : ({t}, {w["o"]}) -> {t}
    %r = arith.addf %l, %x : {t}
    scf.yield %r : {t}
  }}
  %h = call @halve(%y) : ({t}) -> {t}
  %any = tensor.cast %h : {t} to tensor<*xf32>
  call @printMemrefF32(%any) : (tensor<*xf32>) -> ()
  return
}}
"""
    return "\n".join(lines) + body


def main():
    command, path, rows, seed = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    if sys.argv[5:] == ["alike"]:
        ENCODINGS.update(dict.fromkeys("kvo", ENCODINGS["q"]))
    weights, x = make(seed, rows)
    if command == "write":
        with open(path, "w") as f:
            f.write(module(weights, x))
        return
    with open(path) as f:
        text = f.read()
    numbers = re.findall(r"-?\d[\d.e+-]*|nan|inf", text.split("data =")[1])
    actual = np.array([float(n) for n in numbers]).reshape(rows, K)
    wanted = expected(weights, x)
    # printMemref prints 6 digits; a code of the activations at a tie may round the
    # other way in f32.
    error = np.abs(actual - wanted).max() / np.abs(wanted).max()
    print(f"relative error {error:.2e}")
    sys.exit(not error < 1e-4)


if __name__ == "__main__":
    main()
