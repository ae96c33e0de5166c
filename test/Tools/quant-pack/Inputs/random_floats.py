# ===- random_floats.py - Random checkpoints of 4-bit floats ---*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""More kinds of random_cases.py: codes of e2m1 and of nf4."""

import json

import ml_dtypes
import nf4_layout
import numpy as np
from conventions import each

E2M1, E4M3, E8M0 = (
    getattr(ml_dtypes, f"float{t}") for t in ("4_e2m1fn", "8_e4m3fn", "8_e8m0fnu")
)
UNKNOWN = ["paroquant", "vptq", "quark", "fp8"]


def floats4(c):
    """Codes of e2m1 in compressed-tensors' mxfp4 and nvfp4, and in ModelOpt's."""
    kind = c.choose("mxfp4", "nvfp4", "modelopt")
    group = 32 if kind == "mxfp4" else 16
    n, k = 8 * int(c.rng.integers(1, 5)), group * int(c.rng.integers(1, 9))
    q = c.rng.integers(0, 16, (n, k), np.uint8)
    s = c.rng.integers(*((110, 140) if kind == "mxfp4" else (0, 127)), (n, k // group), np.uint8)
    step = np.float32(c.choose(1, 0.25, 0.0123))
    scales = s.view(E8M0).astype(np.float32)
    if kind != "mxfp4":
        s = s.view(E4M3)
        factor = step if kind == "modelopt" else np.float32(1) / step
        scales = s.astype(np.float32) * factor
    c.weight = each(scales, group) * q.view(E2M1).astype(np.float64)
    codes = q[:, ::2] | q[:, 1::2] << 4
    weights = {"num_bits": 4, "type": "float", "symmetric": True, "group_size": group}
    weights["strategy"] = "group" if kind == "mxfp4" else "tensor_group"
    config = {"quant_method": "compressed-tensors", "format": f"{kind}-pack-quantized",
              "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}}}
    if kind == "modelopt":
        c.put(weight=codes, weight_scale=s, weight_scale_2=step.reshape(c.choose((), (1,))))
        config = {"quant_method": "modelopt", "quant_algo": "NVFP4", "group_size": 16}
        if c.chance():
            c.put(input_scale=np.ones((), np.float32))
    else:
        c.put(weight_packed=codes, weight_scale=s)
        if kind == "nvfp4":
            c.put(weight_global_scale=step.reshape(1))
    if c.chance(0.4):

        def spoil():
            bad = s.view(np.uint8).copy()
            bad[-1, -1] = 255
            c.put(weight_scale=bad if kind == "mxfp4" else bad.view(E4M3))

        def whole(value):
            part = "weight_scale_2" if kind == "modelopt" else "weight_global_scale"
            return lambda: c.put(**{part: np.asarray(value, np.float32)})

        mutations = {
            "a NaN among scales": spoil,
            "another tensor": lambda: c.put(pre_quant_scale=np.ones(k, np.float16)),
            "another method": lambda: config.update(quant_method=c.choose("gptq", "mlx")),
            "unknown method": lambda: config.update(quant_method=c.choose(*UNKNOWN)),
            "fewer scales": lambda: c.put(weight_scale=s[: n // 2]),
            "scales of no float": whole([[np.inf], [np.nan], [1, 1]][int(c.rng.integers(3))]),
        }
        if kind == "modelopt":
            mutations["another algorithm"] = lambda: config.update(quant_algo="FP8")
            mutations["another group"] = lambda: config.update(group_size=32)
        else:
            mutations["integers"] = lambda: weights.update(type="int")
            mutations["another format"] = lambda: config.update(format="pack-quantized")
            mutations["another group"] = lambda: weights.update(group_size=64)
        if kind == "mxfp4":
            del mutations["scales of no float"]
        if k == group:
            mutations.pop("another group")
        c.mutate(mutations)
    c.files["config.json"] = json.dumps({"quantization_config": config})


def nf4(c):
    block = c.choose(32, 64, 128)
    n, k = 8 * int(c.rng.integers(1, 5)), block * int(c.rng.integers(1, 5))
    nested = c.chance()
    c.tensors, c.weight = nf4_layout.layer(c.layer, n, k, block, nested, c.rng)
    state = f"{c.layer}.weight.quant_state.bitsandbytes__nf4"
    config = {"quant_method": "bitsandbytes", "bnb_4bit_quant_type": "nf4", "load_in_4bit": True}
    if c.chance(0.4):

        def say(**what):
            said = json.loads(c.tensors[state].tobytes()) | what
            c.tensors[state] = np.frombuffer(json.dumps(said).encode(), np.uint8)

        def values():
            table = c.tensors[f"{c.layer}.weight.quant_map"].copy()
            table[3] += 0.01
            c.tensors[f"{c.layer}.weight.quant_map"] = table

        mutations = {
            "other values": values,
            "another shape": lambda: say(shape=[n, k * 2]),
            "another block": lambda: say(blocksize=block * 2),
            "another type": lambda: say(quant_type="fp4"),
            "no JSON": lambda: c.tensors.update({state: np.frombuffer(b"{nf4", np.uint8)}),
            "another tensor": lambda: c.put(lora_a=np.ones((4, 4), np.float16)),
            "no absmax": lambda: c.tensors.pop(f"{c.layer}.weight.absmax"),
            "another method": lambda: config.update(quant_method="gptq"),
            "unknown method": lambda: config.update(quant_method=c.choose(*UNKNOWN)),
        }
        if nested:
            mutations["no table"] = lambda: c.tensors.pop(f"{c.layer}.weight.nested_quant_map")
            mutations["no offset"] = lambda: say(nested_offset=None)
        c.mutate(mutations)
    c.files["config.json"] = json.dumps({"quantization_config": config})
