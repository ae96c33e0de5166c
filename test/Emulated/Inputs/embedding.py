# ===- embedding.py - Rows of weights of every kind of encoding -----*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Writes a module with an embedding for each case of matrix.py, and its weights.

usage: embedding.py DIRECTORY QUANT-PACK
"""

import sys

import matrix


def function(name, parameter, weight, k, dtype):
    rows = f"tensor<?x{k}x{dtype}>"
    return (
        f"func.func @{name}(%i: tensor<?x1xi32>) -> {rows} {{\n"
        f"  %w = qlinear.load @{parameter} : {weight}\n"
        f"  %y = qlinear.embedding %i of %w : (tensor<?x1xi32>, {weight}) -> {rows}\n"
        f"  return %y : {rows}\n}}\n"
    )


def main():
    directory, quant_pack = sys.argv[1:]
    module, tensors, arguments = [], [], []
    cases = [(encoding, *shape) for encoding, shapes in matrix.CASES for shape in shapes]
    for i, (encoding, n, k) in enumerate(cases):
        name = f"w{i}"
        weight = f"!qlinear.weight<{n}x{k}, #qlinear.encoding<{encoding}>>"
        tensors.append((name, n, k))
        arguments += matrix.pack_arguments(name, encoding)
        module.append(f"qlinear.parameter @{name} : {weight}\n")
        module.append(function(f"f{i}", name, weight, k, matrix.RESULTS[i % 3]))
    matrix.write_source(f"{directory}/source.safetensors", tensors)
    matrix.write_layer(directory, module, quant_pack, arguments)
    print(len(cases))


if __name__ == "__main__":
    main()
