# ===- siblings.py - Many linears on one input ----------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Writes a function of several linears on the same input.

    siblings.py kinds    of encodings that need five kinds of sums of activations
    siblings.py many     33 of them, of one encoding
    siblings.py biases   five with a bias each
    siblings.py sum      one epilogue that adds the products of all kinds
    siblings.py extras   the same, and 58 tensors besides
"""
import sys

N, K = 32, 128
CODES = {  # by what the kernels need of activations besides their codes
    "u4, group = 32, zero, scale = f32, offset = f32": 32,
    "u4, group = 16, zero, scale = f32, offset = f32": 16,
    "i4, group = 32, symmetric, scale = f32": 32,
    "i8, group = 32, symmetric, scale = f32": 32,
    "i6, group = 16, symmetric, scale = f32": 16,
}
X = f"tensor<?x{K}xf32>"
Y = f"tensor<?x{N}xf32>"


def weight(i, spelling):
    group = CODES[spelling]
    bits = int(spelling[1])
    signed = spelling[0] == "i"
    code = f"i{bits}"
    low = -(1 << bits - 1) if signed else 0
    values = [[(7 * i + 3 * n + k * (k + i)) % (1 << bits) + low for k in range(K)]
              for n in range(N)]
    scales = [[0.01 + 0.001 * ((n + g + i) % 7) for g in range(K // group)] for n in range(N)]
    type = f"!qlinear.weight<{N}x{K}, #qlinear.encoding<{spelling}>>"
    meta = f"tensor<{N}x{K // group}xf32>"
    codes = f"tensor<{N}x{K}x{code}>"
    text = f"""  %c{i} = arith.constant dense<{values}> : {codes}
  %s{i} = arith.constant dense<{scales}> : {meta}
"""
    if signed:
        return type, text + f"""  %w{i} = qlinear.pack %c{i}, %s{i} : ({codes}, {meta}) -> {type}
"""
    return type, text + f"""  %z{i} = arith.constant dense<7.5> : {meta}
  %w{i} = qlinear.pack %c{i}, %s{i} offsets(%z{i}) : ({codes}, {meta}, {meta}) -> {type}
"""


def main():
    what = sys.argv[1]
    spellings = list(CODES)
    if what == "many":
        spellings = spellings[2:3] * 33
    elif what == "biases":
        spellings = spellings[3:4] * 5
    types, text = [], ""
    for i, spelling in enumerate(spellings):
        type, code = weight(i, spelling)
        types.append(type)
        text += code
    count = len(types)
    tensors = {"biases": count, "extras": 58}.get(what, 0)
    biases = "".join(f", %b{i}: tensor<{N}xf32>" for i in range(tensors))
    if what in ("sum", "extras"):
        weights = ", ".join(f"%w{i}" for i in range(count))
        arguments = ", ".join([f"%p{i}: f32" for i in range(count)]
                              + [f"%e{i}: f32" for i in range(tensors)])
        extras = ""
        if tensors:
            extras = f" extras({', '.join(f'%b{i}' for i in range(tensors))})"
            types += [f"tensor<{N}xf32>"] * tensors
        text += f"  %y = qlinear.linear %x, {weights}{extras}\n"
        text += f"      : ({X}, {', '.join(types)}) -> {Y} {{\n"
        text += f"  ^bb0({arguments}):\n"
        last = "p0"
        for i in [f"p{i}" for i in range(1, count)] + [f"e{i}" for i in range(tensors)]:
            text += f"    %a{i} = arith.addf %{last}, %{i} : f32\n"
            last = f"a{i}"
        text += f"    qlinear.yield %{last} : f32\n  }}\n"
        results = ["%y"]
    else:
        results = [f"%y{i}" for i in range(count)]
        for i, type in enumerate(types):
            if what != "biases":
                text += f"  %y{i} = qlinear.linear %x, %w{i} : ({X}, {type}) -> {Y}\n"
                continue
            text += f"""  %y{i} = qlinear.linear %x, %w{i} extras(%b{i})
      : ({X}, {type}, tensor<{N}xf32>) -> {Y} {{
  ^bb0(%p: f32, %b: f32):
    %0 = arith.addf %p, %b : f32
    qlinear.yield %0 : f32
  }}
"""
    print(f"func.func @f(%x: {X}{biases}) -> ({', '.join([Y] * len(results))}) {{")
    print(text, end="")
    print(f"  return {', '.join(results)} : {', '.join([Y] * len(results))}\n}}")


if __name__ == "__main__":
    main()
