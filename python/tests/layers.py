# ===- layers.py - Modules and archives for the tests -------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""MLIR of small layers, and archives of random weights for them."""

import functools

import ml_dtypes
import numpy as np
import qlinear
from qlinear.archive import write_tensors

ENCODINGS = [
    "u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>",
    "u4, group = 32, min, scale = u6 * block<256, f16>, offset = u6 * block<256, f16>",
    "u4, group = 32, zero, scale = delta10 * row<bf16>, offset = u4",
    "u4, group = row, centred, scale = log8 * row<f32>, offset = i8 * row<bf16>",
    "u5, group = 128, min, scale = f16, offset = f32",
    "i6, group = 16, symmetric, scale = i8 * block<256, f16>",
    "i8, group = 32, symmetric, scale = f16",
]
NUMPY = {"f32": np.float32, "f16": np.float16, "bf16": ml_dtypes.bfloat16}


def random(rng, shape, dtype="f32"):
    return rng.standard_normal(shape).astype(NUMPY[dtype])


def quantize_option(encoding):
    code, group, form = (p.strip() for p in encoding.split(",")[:3])
    return f"int{code[1:]}:{group.split('=')[1].strip()}:{form}"


def pack(folder, weights):
    """Packs {name: (encoding, n, k)} of random floats; returns the archive's path."""
    rng = np.random.default_rng(len(weights))
    floats = {name: ("F32", (n, k), random(rng, (n, k))) for name, (_, n, k) in weights.items()}
    source, output = folder / "floats.safetensors", folder / "weights.safetensors"
    write_tensors(source, floats)
    qlinear.pack(
        source,
        output,
        include=".",
        encoding={f"^{name}$": e for name, (e, _, _) in weights.items()},
        quantize={f"^{name}$": quantize_option(e) for name, (e, _, _) in weights.items()},
    )
    return output


def linear(name, weight, encoding, n, k, x="bf16", y="f32"):
    """A function `name` for any number of rows."""
    w = f"!qlinear.weight<{n}x{k}, #qlinear.encoding<{encoding}>>"
    return f"""
qlinear.parameter @{weight} : {w}
func.func @{name}(%x: tensor<?x{k}x{x}>) -> tensor<?x{n}x{y}> {{
  %w = qlinear.load @{weight} : {w}
  %y = qlinear.linear %x, %w : (tensor<?x{k}x{x}>, {w}) -> tensor<?x{n}x{y}>
  return %y : tensor<?x{n}x{y}>
}}
"""


# q, k and v of an attention block, a gated product with a bias, a matvec, and int8 in.
MIXED_ENCODING = ENCODINGS[0]
MIXED_WEIGHTS = {
    "q": (MIXED_ENCODING, 48, 96),
    "k": (MIXED_ENCODING, 16, 96),
    "v": (MIXED_ENCODING, 16, 96),
    "gate": (MIXED_ENCODING, 40, 96),
    "up": (MIXED_ENCODING, 40, 96),
}
MIXED = f"""
#e = #qlinear.encoding<{MIXED_ENCODING}>
qlinear.parameter @q : !qlinear.weight<48x96, #e>
qlinear.parameter @k : !qlinear.weight<16x96, #e>
qlinear.parameter @v : !qlinear.weight<16x96, #e>
qlinear.parameter @gate : !qlinear.weight<40x96, #e>
qlinear.parameter @up : !qlinear.weight<40x96, #e>
func.func @qkv(%x: tensor<?x96xf16>) -> (tensor<?x48xf16>, tensor<?x16xf32>, tensor<?x16xbf16>) {{
  %q = qlinear.load @q : !qlinear.weight<48x96, #e>
  %k = qlinear.load @k : !qlinear.weight<16x96, #e>
  %v = qlinear.load @v : !qlinear.weight<16x96, #e>
  %a, %b, %c = qlinear.linear %x, %q, %k, %v
      : (tensor<?x96xf16>, !qlinear.weight<48x96, #e>, !qlinear.weight<16x96, #e>,
         !qlinear.weight<16x96, #e>) -> (tensor<?x48xf16>, tensor<?x16xf32>, tensor<?x16xbf16>)
  return %a, %b, %c : tensor<?x48xf16>, tensor<?x16xf32>, tensor<?x16xbf16>
}}
func.func @gated(%x: tensor<?x96xbf16>, %bias: tensor<40xf32>, %res: tensor<?x40xbf16>)
    -> tensor<?x40xf32> {{
  %g = qlinear.load @gate : !qlinear.weight<40x96, #e>
  %u = qlinear.load @up : !qlinear.weight<40x96, #e>
  %y = qlinear.linear %x, %g, %u extras(%bias, %res)
      : (tensor<?x96xbf16>, !qlinear.weight<40x96, #e>, !qlinear.weight<40x96, #e>,
         tensor<40xf32>, tensor<?x40xbf16>) -> tensor<?x40xf32> {{
  ^bb0(%gate: f32, %up: f32, %b: f32, %r: bf16):
    %0 = arith.addf %gate, %b : f32
    %1 = arith.mulf %0, %up : f32
    %2 = arith.extf %r : bf16 to f32
    %3 = arith.addf %1, %2 : f32
    qlinear.yield %3 : f32
  }}
  return %y : tensor<?x40xf32>
}}
func.func @one(%x: tensor<1x96xf32>) -> tensor<1x48xf32> {{
  %q = qlinear.load @q : !qlinear.weight<48x96, #e>
  %y = qlinear.linear %x, %q : (tensor<1x96xf32>, !qlinear.weight<48x96, #e>) -> tensor<1x48xf32>
  return %y : tensor<1x48xf32>
}}
func.func @codes(%x: tensor<?x96xf32>) -> !qlinear.activations<?x96> {{
  %a = qlinear.quantize_activations %x : tensor<?x96xf32> -> !qlinear.activations<?x96>
  return %a : !qlinear.activations<?x96>
}}
func.func @of_codes(%a: !qlinear.activations<?x96>) -> tensor<?x48xf32> {{
  %q = qlinear.load @q : !qlinear.weight<48x96, #e>
  %y = qlinear.linear %a, %q
      : (!qlinear.activations<?x96>, !qlinear.weight<48x96, #e>) -> tensor<?x48xf32>
  return %y : tensor<?x48xf32>
}}
"""

DEVICES = {"cpu": "cpu:portable", "emulated": "cuda:emulated"}


@functools.cache
def compiled(text, device):
    """The artifact of a module for a device of the tests. One instruction set, not
    three: what differs between them is tested elsewhere."""
    target = qlinear.device("cpu").target if device == "cpu" else DEVICES[device]
    return qlinear.compile(text, target)
