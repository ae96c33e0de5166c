# ===- experts.py - Layers of mixtures of experts -------------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Layers whose tokens choose experts: every kind of extra, of encoding and of activations,
pieces of x of one chunk and of units with a tail, one choice and several.

usage: experts.py write DIRECTORY QUANT-PACK
       experts.py check DIRECTORY ROWS ARTIFACT DEVICE COMMAND...

write: layer.mlir, all.mlir and weights.safetensors. For each function that chooses, all.mlir
has one that multiplies with all experts, a plain linear, so that check has something to choose
from that knows nothing of choices: it runs both, that of ARTIFACT on DEVICE and that of
all.so on the CPU, on ids that it draws, of which some are of no expert and some out of range,
and compares the products, and what the epilogue makes of them. COMMAND stands before that of
the first.
"""

import random
import subprocess
import sys

import matrix

# (name, encoding, experts, rows of each, K, T, x, result, whether x has pieces)
ROW = "u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>"
BLOCK = "u4, group = 32, min, scale = u6 * block<256, f16>, offset = u6 * block<256, f16>"
SIX = "i6, group = 16, symmetric, scale = i8 * block<256, f16>"
FLOAT = "u4, group = row, zero, scale = f32, offset = f32"
CASES = [
    ("rows", ROW, 5, 48, 352, 3, "bf16", "bf16", False),
    ("blocks", BLOCK, 3, 80, 512, 2, "f32", "f32", False),
    ("six", SIX, 6, 32, 96, 4, "f16", "f16", True),
    ("pieces", ROW, 4, 64, 288, 3, "bf16", "f32", True),
    ("one", BLOCK, 7, 16, 320, 1, "bf16", "f32", False),
    ("single", ROW, 1, 32, 64, 2, "f32", "bf16", False),
    ("group", FLOAT, 3, 16, 96, 5, "bf16", "f32", True),
    ("float_bf16", ROW, 4, 48, 352, 3, "bf16", "f32", False),
    ("float_f32", SIX, 3, 16, 288, 2, "f32", "f32", True),
    ("many", ROW, 128, 16, 64, 8, "f16", "f32", False),
]


def types_of(case):
    name, encoding, experts, n, k, choices, x, y, pieces = case
    return {
        "w": f"!qlinear.weight<{experts * n}x{k}, #qlinear.encoding<{encoding}>>",
        "x": f"tensor<?x{k * choices if pieces else k}x{x}>",
        "ids": f"tensor<?x{choices}xi32>",
        "y": f"tensor<?x{choices * n}x{y}>",
        "sums": f"tensor<?x{choices * n}xf32>",
        "all": f"tensor<?x{experts * n}xf32>",
    }


def functions(case):
    """Without an epilogue, of two weights; with one that uses every kind of extra."""
    name, _, experts, n, _, choices, _, y, _ = case
    t = types_of(case)
    loads = "".join(f"  %{w} = qlinear.load @{name}_{w} : {t['w']}\n" for w in "gu")
    floats = f" {{{matrix.FLOAT}}}" if name.startswith("float") else ""
    yield name, [("x", t["x"]), ("ids", t["ids"])], [t["sums"], t["sums"]], (
        f"{loads}  %a, %b = qlinear.grouped_linear %x by %ids, %g, %u experts = {experts}{floats}\n"
        f"      : ({t['x']}, {t['ids']}, {t['w']}, {t['w']}) -> ({t['sums']}, {t['sums']})\n"
        f"  return %a, %b : {t['sums']}, {t['sums']}\n")
    extras = [("scale", "tensor<1xf32>"), ("column", f"tensor<{n}xf32>"),
              ("bias", f"tensor<{experts * n}xf32>"), ("factor", f"tensor<?x{choices}xf32>"),
              ("added", f"tensor<?x{choices * n}xf32>")]
    values = ", ".join(f"%{n}" for n, _ in extras)
    kinds = ", ".join(k for _, k in extras)
    narrow = "" if y == "f32" else f"    %r = arith.truncf %6 : f32 to {y}\n"
    yield f"{name}_extras", [("x", t["x"]), ("ids", t["ids"]), *extras], [t["y"]], (
        f"{loads}  %y = qlinear.grouped_linear %x by %ids, %g, %u experts = {experts} "
        f"extras({values}){floats}\n"
        f"      : ({t['x']}, {t['ids']}, {t['w']}, {t['w']}, {kinds}) -> {t['y']} {{\n"
        "  ^bb0(%a: f32, %b: f32, %s: f32, %c: f32, %e: f32, %f: f32, %m: f32):\n"
        "    %0 = arith.addf %a, %e : f32\n    %1 = math.tanh %0 : f32\n"
        "    %2 = arith.mulf %1, %b : f32\n    %3 = arith.mulf %2, %s : f32\n"
        "    %4 = arith.addf %3, %c : f32\n    %5 = arith.mulf %4, %f : f32\n"
        f"    %6 = arith.addf %5, %m : f32\n{narrow}"
        f"    qlinear.yield {'%6' if y == 'f32' else '%r'} : {y}\n  }}\n"
        f"  return %y : {t['y']}\n")


def plain(case):
    """All experts at once, of one row of x each time."""
    name, _, _, _, k, _, x, _, _ = case
    t = types_of(case)
    rows = f"tensor<?x{k}x{x}>"
    loads = "".join(f"  %{w} = qlinear.load @{name}_{w} : {t['w']}\n" for w in "gu")
    floats = f" {{{matrix.FLOAT}}}" if name.startswith("float") else ""
    return f"all_{name}", [("x", rows)], [t["all"], t["all"]], (
        f"{loads}  %a, %b = qlinear.linear %x, %g, %u{floats}\n"
        f"      : ({rows}, {t['w']}, {t['w']}) -> ({t['all']}, {t['all']})\n"
        f"  return %a, %b : {t['all']}, {t['all']}\n")


COMBINE = """func.func @combine_{x}(%x: tensor<?x{columns}x{x}>, %s: tensor<?x{t}x{s}>,
                             %r: tensor<?x{n}x{s}>)
    -> (tensor<?x{n}x{s}>, tensor<?x{n}xf32>) {{
  %a = qlinear.combine %x by %s extras(%r)
      : (tensor<?x{columns}x{x}>, tensor<?x{t}x{s}>, tensor<?x{n}x{s}>) -> tensor<?x{n}x{s}> {{
  ^bb0(%sum: f32, %e: {s}):
{body}
  }}
  %b = qlinear.combine %x by %s : (tensor<?x{columns}x{x}>, tensor<?x{t}x{s}>) -> tensor<?x{n}xf32>
  return %a, %b : tensor<?x{n}x{s}>, tensor<?x{n}xf32>
}}
"""


def combines():
    """Pieces of no multiple of a vector, too."""
    for x, s, t, n in [("f32", "bf16", 8, 48), ("bf16", "f32", 3, 37), ("f16", "f16", 1, 100)]:
        body = ("    %0 = arith.addf %sum, %e : f32\n    qlinear.yield %0 : f32" if s == "f32" else
                f"    %0 = arith.truncf %sum : f32 to {s}\n    %1 = arith.addf %0, %e : {s}\n"
                f"    qlinear.yield %1 : {s}")
        yield x, COMBINE.format(x=x, s=s, t=t, n=n, columns=t * n, body=body)


def write(directory, quant_pack):
    random.seed("experts")
    module, packing, tensors = [text for _, text in combines()], [], []
    parameters, plains = [], []
    for case in CASES:
        name, encoding, experts, n, k = case[:5]
        for w in "gu":
            parameters.append(f"qlinear.parameter @{name}_{w} : {types_of(case)['w']}\n")
            tensors.append((f"{name}_{w}", experts * n, k))
            packing += matrix.pack_arguments(f"{name}_{w}", encoding)
        for to, (function, arguments, results, body) in [
                *((module, f) for f in functions(case)), (plains, plain(case))]:
            inputs = ", ".join(f"%{n}: {kind}" for n, kind in arguments)
            to.append(f"func.func @{function}({inputs}) -> ({', '.join(results)}) {{\n{body}}}\n")
    matrix.write_source(f"{directory}/source.safetensors", tensors)
    matrix.write_layer(directory, parameters + module, quant_pack, packing)
    with open(f"{directory}/all.mlir", "w") as f:
        f.write("\n".join(parameters + plains))


def compare(what, got, want, ids, experts, tolerance):
    """`want` has a piece for each id, used where there is this expert."""
    import numpy as np

    ids = ids[:, :, None]
    want = np.where(ids < 0, 0.0, np.where(ids >= experts, np.nan, want)).reshape(got.shape)
    assert (np.isnan(got) == np.isnan(want)).all(), (what, "NaN")
    size = np.nanmax(np.abs(want), initial=1e-30)
    off = np.nanmax(np.abs(got - want), initial=0.0) / size
    assert off <= tolerance, (what, off)


def check(directory, rows, artifact, device, *command):
    import ml_dtypes
    import numpy as np
    from safetensors.numpy import load_file, save_file

    types = {"bf16": ml_dtypes.bfloat16, "f16": np.float16, "f32": np.float32}
    draw = np.random.default_rng(rows)

    def outputs(function, inputs, artifact=artifact, device=device, command=command):
        path = f"{directory}/inputs.safetensors"
        save_file({f"input{i}": np.ascontiguousarray(v) for i, v in enumerate(inputs)}, path)
        result = f"{directory}/outputs.safetensors"
        subprocess.run([*command, "quant-run", artifact, "-w", f"{directory}/weights.safetensors",
                        "--device", device, "--function", function, "--input", path,
                        "--output", result], check=True, stdout=subprocess.DEVNULL)
        out = load_file(result)
        return [out[f"output{i}"].astype(np.float64) for i in range(len(out))]

    for case in CASES:
        name, _, experts, n, k, choices, x_type, y_type, pieces = case
        x = draw.standard_normal((rows, k * choices if pieces else k)).astype(types[x_type])
        ids = draw.integers(0, experts, (rows, choices), dtype=np.int32)
        odd = draw.permutation(ids.size)
        for place, value in zip(odd[: ids.size // 3],
                                [-1, experts, -(2**31), 2**31 - 1, experts + 1] * ids.size):
            ids.flat[place] = value
        # Of all experts those that are chosen.
        single = x.reshape(-1, k) if pieces else np.repeat(x, choices, 0)
        products = []
        for all_experts in outputs(f"all_{name}", [single], f"{directory}/all.so", "cpu", []):
            parts = all_experts.reshape(rows, choices, experts, n)
            chosen = np.take_along_axis(parts, ids.clip(0, experts - 1)[:, :, None, None], 2)
            products.append(chosen[:, :, 0])

        for got, want in zip(outputs(name, [x, ids]), products):
            compare(name, got, want, ids, experts, 4e-6)
        scale, column = draw.standard_normal(1), draw.standard_normal(n)
        bias = draw.standard_normal(experts * n)
        factor, added = (draw.standard_normal((rows, c)) for c in (choices, choices * n))
        extras = [v.astype(np.float32) for v in (scale, column, bias, factor, added)]
        s, c, e, f, m = (v.astype(np.float64) for v in extras)
        g, u = products
        e = e.reshape(experts, n)[ids.clip(0, experts - 1)]
        want = ((np.tanh(g + e) * u * s + c) * f[:, :, None] + m.reshape(rows, choices, n))
        (got,) = outputs(f"{name}_extras", [x, ids, *extras])
        tolerance = {"f32": 1e-5, "f16": 1e-3, "bf16": 8e-3}[y_type]
        compare(f"{name}_extras", got, want, ids, experts, tolerance)


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(*sys.argv[2:])
    else:
        check(sys.argv[2], int(sys.argv[3]), *sys.argv[4:])
