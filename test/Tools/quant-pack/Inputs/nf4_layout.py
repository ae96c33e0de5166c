# ===- nf4_layout.py - NF4 as bitsandbytes stores it ----------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Random weights in the tensors that transformers saves for bitsandbytes' NF4, and what they
are by bitsandbytes' formulas."""

import json

import numpy as np

# The quantiles of a normal distribution that bitsandbytes has for NF4, as f32.
VALUES = np.array(
    [-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
     -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
     0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
     0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0], np.float32)


def layer(name, n, k, block, nested, rng, blocksize=256):
    """Tensors of a layer, and its weights [n, k] in float64."""
    q = rng.integers(0, 16, n * k, np.uint8)
    count = n * k // block
    state = {"quant_type": "nf4", "blocksize": block, "dtype": "bfloat16", "shape": [n, k]}
    tensors = {
        f"{name}.weight": (q[::2] << 4 | q[1::2]).reshape(-1, 1),
        f"{name}.weight.quant_map": VALUES,
    }
    if nested:
        absmax = rng.integers(0, 256, count, np.uint8)
        table = np.sort(rng.normal(size=256)).astype(np.float32)
        scales = (np.abs(rng.normal(size=-(-count // blocksize))) + 0.01).astype(np.float32)
        offset = np.float32(0.04)
        state |= {"nested_blocksize": blocksize, "nested_dtype": "float32",
                  "nested_offset": float(offset)}
        tensors |= {
            f"{name}.weight.absmax": absmax,
            f"{name}.weight.nested_quant_map": table,
            f"{name}.weight.nested_absmax": scales,
        }
        s = table[absmax] * np.repeat(scales, blocksize)[:count] + offset
    else:
        s = np.abs(rng.normal(size=count)).astype(np.float32) * np.float32(0.1)
        tensors[f"{name}.weight.absmax"] = s
    text = json.dumps(state).encode()
    tensors[f"{name}.weight.quant_state.bitsandbytes__nf4"] = np.frombuffer(text, np.uint8)
    assert s.dtype == np.float32
    return tensors, (np.repeat(s.astype(np.float64), block) * VALUES[q]).reshape(n, k)
