# ===- fuse.py - What fused activations compute ---------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Writes gated MLPs as frontends spell them, on constant weights, with a main that
prints what they compute, and compares with numpy's float64.

    fuse.py write MODULE SEED
    fuse.py check OUTPUT SEED
"""
import math
import re
import sys

import numpy as np

ROWS, K, N = 5, 64, 48
T, B = f"tensor<?x{N}xf32>", f"tensor<{N}xf32>"
ENCODING = "#qlinear.encoding<i8, group = 32, symmetric, scale = f32>"
W = f"!qlinear.weight<{N}x{K}, {ENCODING}>"

erf = np.vectorize(math.erf)


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def splat(name, value):
    return f"""%{name}_c = arith.constant {value:.9e} : f32
  %{name} = tensor.splat %{name}_c[%m] : {T}"""


def fill(name, value):
    return f"""%{name}_c = arith.constant {value:.9e} : f32
  %{name}_e = tensor.empty(%m) : {T}
  %{name} = linalg.fill ins(%{name}_c : f32) outs(%{name}_e : {T}) -> {T}"""


def op(result, name, *operands):
    return f"%{result} = {name} {', '.join('%' + o for o in operands)} : {T}"


# name: (code from %g, %u and %bias to results, those results, the same in numpy)
FORMS = {
    # The gate has two users, one of them far away.
    "silu": ([splat("one", 1), op("n", "arith.negf", "g"), op("e", "math.exp", "n"),
              op("d", "arith.addf", "e", "one"), op("s", "arith.divf", "one", "d"),
              op("h", "arith.mulf", "g", "s"), op("y", "arith.mulf", "h", "u")],
             ["y"], lambda g, u, b: [g * sigmoid(g) * u]),
    # The activated gate is a result as well.
    "silu_kept": ([fill("one", 1), op("n", "arith.negf", "g"), op("e", "math.exp", "n"),
                   op("d", "arith.addf", "one", "e"), op("h", "arith.divf", "g", "d"),
                   op("y", "arith.mulf", "u", "h")],
                  ["h", "y"], lambda g, u, b: [g * sigmoid(g), g * sigmoid(g) * u]),
    "gelu_tanh": ([fill("half", 0.5), splat("one", 1), fill("a", 0.044715),
                   splat("c", math.sqrt(2 / math.pi)), op("g2", "arith.mulf", "g", "g"),
                   op("g3", "arith.mulf", "g2", "g"), op("ag", "arith.mulf", "a", "g3"),
                   op("i", "arith.addf", "g", "ag"), op("ci", "arith.mulf", "c", "i"),
                   op("t", "math.tanh", "ci"), op("t1", "arith.addf", "t", "one"),
                   op("gh", "arith.mulf", "g", "half"), op("h", "arith.mulf", "gh", "t1"),
                   op("y", "arith.mulf", "h", "u")],
                  ["y"], lambda g, u, b: [0.5 * g * (1 + np.tanh(
                      math.sqrt(2 / math.pi) * (g + 0.044715 * g**3))) * u]),
    "gelu_erf": ([splat("r", math.sqrt(0.5)), splat("half", 0.5), splat("one", 1),
                  op("i", "arith.mulf", "g", "r"), op("f", "math.erf", "i"),
                  op("f1", "arith.addf", "f", "one"), op("gf", "arith.mulf", "g", "f1"),
                  op("h", "arith.mulf", "gf", "half"), op("y", "arith.mulf", "h", "u")],
                 ["y"], lambda g, u, b: [g * 0.5 * (1 + erf(g * math.sqrt(0.5))) * u]),
    # One operation of linalg, which reads the gate twice, and a broadcast bias.
    "generic": ([f"""%e0 = tensor.empty(%m) : {T}
  %br = linalg.broadcast ins(%bias : {B}) outs(%e0 : {T}) dimensions = [0]
  %ub = arith.addf %u, %br : {T}
  %y = linalg.generic {{indexing_maps = [affine_map<(m, n) -> (m, n)>, affine_map<(m, n) -> (m, n)>,
      affine_map<(m, n) -> (m, n)>], iterator_types = ["parallel", "parallel"]}}
      ins(%g, %ub : {T}, {T}) outs(%e0 : {T}) {{
  ^bb0(%a: f32, %b: f32, %o: f32):
    %one = arith.constant 1.0 : f32
    %n = arith.negf %a : f32
    %e = math.exp %n : f32
    %d = arith.addf %e, %one : f32
    %s = arith.divf %a, %d : f32
    %p = arith.mulf %s, %b : f32
    linalg.yield %p : f32
  }} -> {T}"""], ["y"], lambda g, u, b: [g * sigmoid(g) * (u + b)]),
    # q, k and v each with a bias of their own.
    "biases": ([splat("two", 2), f"%e0 = tensor.empty(%m) : {T}",
                f"%br = linalg.broadcast ins(%bias : {B}) outs(%e0 : {T}) dimensions = [0]",
                op("q", "arith.addf", "g", "br"), op("k", "arith.mulf", "u", "two"),
                op("v", "arith.addf", "k", "br")],
               ["q", "v"], lambda g, u, b: [g + b, 2 * u + b]),
}


def make(seed):
    rng = np.random.default_rng(seed)
    weights = [(rng.integers(-128, 128, (N, K)),
                rng.uniform(0.5, 1, (N, K // 32)).astype(np.float32) / 512) for _ in "gu"]
    return weights, rng.standard_normal((ROWS, K)).astype(np.float32), \
        rng.standard_normal(N).astype(np.float32)


def expected(seed):
    weights, x, bias = make(seed)
    chunks = x.reshape(ROWS, -1, 32)
    largest = np.abs(chunks).max(2, keepdims=True)
    codes = np.rint(chunks * (np.float32(127) / largest))
    x = ((largest / np.float32(127)).astype(np.float64) * codes).reshape(x.shape)
    g, u = (x @ (q * np.repeat(s.astype(np.float64), 32, 1)).T for q, s in weights)
    return {name: compute(g, u, bias.astype(np.float64))
            for name, (_, _, compute) in FORMS.items()}


def dense(array):
    return re.sub(r"\s", "", str(array.tolist())).replace(",", ", ")


def module(seed):
    weights, x, bias = make(seed)
    text = ("func.func private @printMemrefF32(tensor<*xf32>) "
            "attributes {llvm.emit_c_interface}\n")
    for name, (code, results, _) in FORMS.items():
        types = ", ".join([T] * len(results))
        text += f"""func.func private @{name}(%x: tensor<?x{K}xf32>) -> ({types}) {{
  %c0 = arith.constant 0 : index
  %bias = arith.constant dense<{dense(bias)}> : {B}
"""
        for w, (q, s) in zip("gu", weights):
            scales = f"tensor<{N}x{K // 32}xf32>"
            text += f"""  %{w}q = arith.constant dense<{dense(q)}> : tensor<{N}x{K}xi8>
  %{w}s = arith.constant dense<{dense(s)}> : {scales}
  %w{w} = qlinear.pack %{w}q, %{w}s : (tensor<{N}x{K}xi8>, {scales}) -> {W}
  %{w} = qlinear.linear %x, %w{w} : (tensor<?x{K}xf32>, {W}) -> {T}
"""
        text += f"  %m = tensor.dim %g, %c0 : {T}\n  " + "\n  ".join(code)
        text += f"\n  return {', '.join('%' + r for r in results)} : {types}\n}}\n"
    text += f"""func.func @main() {{
  %d = arith.constant dense<{dense(x)}> : tensor<{ROWS}x{K}xf32>
  %x = tensor.cast %d : tensor<{ROWS}x{K}xf32> to tensor<?x{K}xf32>
"""
    for name, (_, results, _) in FORMS.items():
        values, types = [f"%{name}{i}" for i in range(len(results))], ", ".join([T] * len(results))
        text += f"  {', '.join(values)} = call @{name}(%x) : (tensor<?x{K}xf32>) -> ({types})\n"
        for v in values:
            text += f"""  {v}_any = tensor.cast {v} : {T} to tensor<*xf32>
  call @printMemrefF32({v}_any) : (tensor<*xf32>) -> ()
"""
    return text + "  return\n}\n"


def main():
    command, path, seed = sys.argv[1], sys.argv[2], int(sys.argv[3])
    if command == "write":
        with open(path, "w") as f:
            f.write(module(seed))
        return
    with open(path) as f:
        printed = f.read().split("data =")[1:]
    wanted = [(name, value) for name, values in expected(seed).items() for value in values]
    assert len(printed) == len(wanted), (len(printed), len(wanted))
    failed = False
    for text, (name, want) in zip(printed, wanted):
        numbers = re.findall(r"-?\d[\d.e+-]*|nan|inf", text.split("Unranked")[0])
        actual = np.array([float(n) for n in numbers]).reshape(ROWS, N)
        # printMemref prints 6 digits.
        error = np.abs(actual - want).max() / np.abs(want).max()
        print(f"{name}: relative error {error:.2e}")
        failed |= not error < 2e-5
    sys.exit(failed)


if __name__ == "__main__":
    main()
