# ===- declared.py - What lies beside a checkpoint decides -----*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Messages where the files beside a checkpoint contradict its tensors, what is carried over,
and what the report says was assumed."""

import json
import os
import sys

import numpy as np
from checkpoints import fresh, quant_pack, report_of
from conventions import NORM, affine, each, fails, pack, write
from safetensors.numpy import load_file

fresh(sys.argv[1])
os.mkdir("out")
rng = np.random.default_rng(3)
q, s, z = affine(16, 256, 64, 4, rng)
words = {"x.qweight": pack(q.T, 0, 4).view(np.int32), "x.scales": s.T.copy()}
v1 = words | {"x.qzeros": pack(z.T - 1, 1, 4).view(np.int32)}


def gptq(**more):
    return {"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 64} | more}


fails(v1, "says quant_method 'vptq', which is not known here", gptq(quant_method="VPTQ"))
fails(v1, "quant_method 'hqq', but its tensors are those of GPTQ or AWQ", gptq(quant_method="hqq"))
fails(v1, "are those of GPTQ, but", gptq(quant_method="awq"))
fails(v1 | {"x.theta": s}, "has 'x.theta', which is no part of GPTQ or AWQ", gptq())
fails(v1, "have 4 bits and 4 groups in K = 256, but bits = 8, group_size = 64", gptq(bits=8))
fails(v1, "but bits = 4, group_size = 128 (quantization_config", gptq(group_size=128))
fails(v1, "is '\"4\"'", gptq(bits="4"))
fails(v1, "says that it is not quantized, but it is", gptq(dynamic={"-:x": {}}))
fails(v1, "the regular expression '(' cannot be read", gptq(dynamic={"+:(": {"bits": 8}}))
fails(v1, "'rotation' of quantization_config of config.json: its", gptq(rotation="hadamard"))
fails(v1, "pack_dtype 'int8' in", gptq(pack_dtype="int8"))
fails(v1, "desc_act is true in quantization_config of config.json, but", gptq(desc_act=True))
fails(v1, "\"sym\" is true in quantization_config of config.json, but its zeros", gptq(sym=True))
fails(v1, "has no packing_format, which", gptq(quant_method="auto-round"))
fails(
    v1,
    "the layout 'auto_round:mx' of",
    gptq(quant_method="intel/auto-round", packing_format="auto_round:mx"),
)
fails(v1, "sym and zero_point of", gptq(sym=True, zero_point=True))
fails(v1, "act_bits = 8 in", gptq(act_bits=8))
fails(v1 | {"x.g_idx": np.zeros(256, np.float32)}, ".g_idx must be I32 of K = 256", gptq())
last = np.full((4, 16), 8)
last[-1, -1] = 9  # the last of all is another
fails(
    words | {"x.qzeros": pack(last, 1, 4).view(np.int32)},
    "its zeros are stored as different numbers, not all as 8",
    gptq(sym=True, checkpoint_format="gptq_v2"),
)
fails(v1, "the backend 'llm-awq' of", gptq(quant_method="awq", backend="llm-awq"))
fails(v1, "bits and w_bit of quantization_config of config.json contradict", gptq(w_bit=8))
fails(v1, "group_size and q_group_size of", gptq(q_group_size=128))
fails(v1, "bits and w_bit of '+:x' of", gptq(dynamic={"+:x": {"bits": 4, "w_bit": 8}}))
fails(
    v1,
    "data_type and mode of 'x' of",
    gptq(
        quant_method="auto-round",
        packing_format="auto_round",
        extra_config={"x": {"data_type": "mx_fp", "mode": "int"}},
    ),
)
# Keys of one meaning that differ, whichever comes first.
for first, second in (("gptq", "gptq_v2"), ("gptq_v2", "gptq"), ("gptq_v2", "marlin")):
    fails(
        v1,
        f"checkpoint_format ('{first}') and format ('{second}') of quantization_config of "
        "config.json contradict each other; keep the one that",
        gptq(checkpoint_format=first, format=second),
    )
marlin = {"is_marlin_format": True}
fails(v1, "and is_marlin_format ('marlin') of", gptq(checkpoint_format="gptq", **marlin))
fails(v1, "the layout 'marlin' of", gptq(**marlin))
fails(v1, "quant_method ('gptq') and method ('awq') of", gptq(method="awq"))
fails(
    v1,
    "checkpoint_format ('gemm') and version ('gemv') of",
    gptq(quant_method="awq", checkpoint_format="gemm", version="GEMV"),
)
fails(
    v1,
    "version ('gemm') and format ('gemv') of",
    gptq(quant_method="awq", format="gemv", version="GEMM"),
)
for packing, backend in (
    ("auto_round:auto_gptq", "auto_round:gptqmodel"),
    ("auto_round", "auto_round:auto_gptq"),
    ("auto_round:exllamav2", "auto_round:auto_awq"),
):
    fails(
        v1,
        f"packing_format ('{packing}') and backend ('{backend}') of",
        gptq(quant_method="auto-round", packing_format=packing, backend=backend),
    )
middle = words | {"x.qzeros": pack(np.full((4, 16), 8), 1, 4).view(np.int32)}
less = words | {"x.qzeros": pack(np.full((4, 16), 7), 1, 4).view(np.int32)}
fails(middle, "all its zeros are stored as 8, as in a symmetric model whose", {})
fails(less, "all its zeros are stored as 7, as in", gptq(checkpoint_format="gptq_v2"))
fails(less, "its zeros are stored as 7, not all as 8", gptq(sym=True, checkpoint_format="gptq_v2"))
fails(
    words,
    "may mean it, too; name the layer",
    {
        "quantization_config": {
            "quant_method": "auto-round",
            "packing_format": "auto_round",
            "bits": 4,
            "sym": True,
            "extra_config": {"model.x": {"bits": 8}},
        }
    },
)

# Layers whose codes are missing, in a checkpoint of which the rest is whole.
for lost, part in (
    ({n: t for n, t in v1.items() if n != "x.qweight"}, "has .qzeros, but no .qweight, its codes"),
    ({"x.g_idx": np.zeros(4, np.int32)}, "has .g_idx, but no .qweight, its codes"),
):
    fails(lost, part, gptq())
    fails({n.replace("x.", "y."): t for n, t in v1.items()} | lost, part, gptq())
write(NORM, gptq())
_, notes = quant_pack(".", "-o", "out/y.safetensors")
assert "says quant_method 'gptq', but no weight of it is here; tensors are" in notes, notes

# Two files that differ; one that adds what the other lacks.
write(v1, gptq())
with open("quantize_config.json", "w") as f:
    json.dump({"bits": 8}, f)
_, message = quant_pack(".", "-o", "out/y.safetensors", status=1)
assert "bits of quantization_config of config.json is '4', but '8' in quantize_conf" in message
with open("quantize_config.json", "w") as f:
    json.dump({"bits": 4, "checkpoint_format": "gptq_v2", "future": {"key": 1}}, f)
out, notes = quant_pack(".", "-o", "out/y.safetensors", "--report", "out/r.json")
where = "quantization_config of config.json and quantize_config.json"
assert f"1 weight taken for GPTQ v2 (gptq_v2), by {where}, zeros as stored" in out, out
assert f"quant-pack: note: {where} has 'future', which is not known here" in notes, notes
report, tensors = report_of("out/r.json")
assert tensors["x.weight"]["assumed"] == {
    "convention": "GPTQ v2",
    "version": "gptq_v2",
    "said_by": where,
    "zeros": "as stored",
}
assert report["notes"] == [notes[len("quant-pack: note: ") :].strip()], report["notes"]
os.remove("quantize_config.json")

# Names of layers are no keys, and what is off says nothing.
for config in (
    gptq(rotation=None, use_hadamard=False, smooth={}, act_bits=16),
    gptq(is_marlin_format=False, checkpoint_format="gptq"),
    {"quantization": {"bits": 4, "group_size": 64, "a.spinner": {"bits": 8, "group_size": 64}}},
):
    write(v1, config)
    assert "1 weight taken for GPTQ" in quant_pack(".", "-o", "out/y.safetensors")[0], config

# Keys of one meaning that agree, in several spellings; a kernel that is asked for.
for config, convention in (
    (gptq(checkpoint_format="gptq_v2", format="GPTQ_V2", method="GPTQ"), "GPTQ v2 (gptq_v2)"),
    (gptq(bits=4, w_bit=4, q_group_size=64, is_marlin_format=False), "GPTQ,"),
    (
        gptq(quant_method="auto-round", packing_format="auto_round", backend="auto_round:tritonv2"),
        "auto-round (auto_round)",
    ),
    (gptq(quant_method="auto-round", packing_format="auto_round", backend="auto"), "auto-round"),
):
    write(v1, config)
    out, _ = quant_pack(".", "-o", "out/y.safetensors")
    assert f"1 weight taken for {convention}" in out, (config, out)
# Two files: what one says by one key, the other by another; and rules for layers.
for inside, beside, problem in (
    ({"format": "gptq_v2"}, {"format": "gptq"}, "format of quantization_config of config.json is"),
    ({"format": "gptq_v2"}, {"checkpoint_format": "gptq"}, "checkpoint_format ('gptq') and format"),
    ({"dynamic": {"+:y": {}}}, {"dynamic": {"+:x": {"bits": 8}}}, "dynamic of quantization_config"),
    ({"dynamic": {}}, {"dynamic": {"+:x": {"bits": 8}}}, "'+:x' of"),
    ({}, {"method": "awq"}, "quant_method ('gptq') and method ('awq') of"),
    ({"rotation": "hadamard"}, {"rotation": None}, "'rotation' of quantization_config"),
):
    write(v1, gptq(**inside))
    with open("quantize_config.json", "w") as f:
        json.dump({"bits": 4, **beside}, f)
    _, message = quant_pack(".", "-o", "out/y.safetensors", status=1)
    assert problem in message, (problem, message)
write(v1, gptq(quant_method="GPTQ", checkpoint_format="GPTQ"))
with open("quantize_config.json", "w") as f:
    json.dump({"quant_method": "gptq", "checkpoint_format": "gptq"}, f)
assert "1 weight taken for GPTQ" in quant_pack(".", "-o", "out/y.safetensors")[0]
write(v1, {"method": "another thing", "model_type": "llama"})
with open("quantize_config.json", "w") as f:
    json.dump({"method": "gptq", "bits": 4, "group_size": 64}, f)
assert "1 weight taken for GPTQ," in quant_pack(".", "-o", "out/y.safetensors")[0]
os.remove("quantize_config.json")

# Zeros of the other version, which "sym" makes clear; and no file at all.
write(middle | NORM, gptq(sym=True, checkpoint_format="gptq"))
_, notes = quant_pack(".", "-o", "out/y.safetensors")
assert "note: zeros are stored as 8, as \"sym\": true says, though GPTQ stores" in notes, notes
write(v1 | NORM)
_, notes = quant_pack(".", "-o", "out/y.safetensors")
assert "note: no file beside the weights says how they were quantized; zeros are" in notes, notes

# compressed-tensors.
rows = {
    "x.weight_packed": pack(q, 1, 4).view(np.int32),
    "x.weight_scale": s,
    "x.weight_shape": np.array([16, 256], np.int64),
}


def scheme(more=(), targets=("Linear",), **config):
    weights = {"num_bits": 4, "type": "int", "symmetric": True, "group_size": 64} | dict(more)
    group = {"targets": list(targets), "weights": weights}
    return {
        "quantization_config": {
            "quant_method": "compressed-tensors",
            "format": "pack-quantized",
            "config_groups": {"group_0": group},
        }
        | config
    }


one = "'group_0' of quantization_config of config.json says "
fails(rows, one + "num_bits = 8, but its codes are packed as 4", scheme({"num_bits": 8}))
fails(rows, one + "symmetric = false, but it has no zero", scheme({"symmetric": False}))
fails(rows, one + "group_size = 32, but it has 4 groups in", scheme({"group_size": 32}))
fails(rows, one + "strategy 'channel', but it has 4", scheme({"strategy": "channel"}))
fails(rows, one + "codes of type 'float'", scheme({"type": "float"}))
fails(rows, one + "actorder, but it has no weight_g_idx", scheme({"actorder": "group"}))
fails(rows, one + "the format 'marlin-24'", scheme(format="marlin-24"))
fails(rows, "no group of config_groups of", scheme(targets=["re:y.*"]))
fails(rows, "ignore of quantization_config of config.json has 're:x'", scheme(ignore=["re:x"]))
apply = [{"targets": ["Linear"], "location": "input"}]
rotated = {"config_groups": {"R1": {"type": "hadamard", "apply": apply}}}
fails(rows, "has the transform 'R1' (hadamard) at its input", scheme(transform_config=rotated))
fails(rows | {"x.bitmask": s}, "has 'x.bitmask', which is no part of", scheme())
unset = {"x.weight_g_idx": np.full(256, -1, np.int32)}
write(rows | unset, scheme({"actorder": "weight"}))
quant_pack(".", "-o", "out/y.safetensors")
for order in (np.arange(256) // 64 % 2, np.where(np.arange(256) == 255, -1, np.arange(256) // 64)):
    turned = {"x.weight_g_idx": order.astype(np.int32)}
    fails(rows | turned, "its columns are reordered", scheme({"actorder": "group"}))
apply[0]["location"] = "weight_input"
write(rows, scheme(transform_config=rotated))
quant_pack(".", "-o", "out/y.safetensors")
stack = {name.replace("x.", "e."): np.stack([t, t]) for name, t in rows.items()}
write(rows | stack, scheme())
quant_pack(".", "-o", "out/y.safetensors", "--report", "out/r.json")
_, tensors = report_of("out/r.json")
for name, reason in (("e", "a stack of 2 weights"),):
    entry = tensors[f"{name}.weight_packed"]
    assert entry["action"] == "carried" and reason in entry["reason"], entry
assert tensors["x.weight"]["action"] == "packed"
for part in ("shape", "scale"):
    lost = {f"x.weight_{part}": rows[f"x.weight_{part}"]}
    fails(lost, f"has .weight_{part}, but no .weight_packed, its codes; check", scheme())
few = {
    "x.weight_packed": np.zeros((16, 3), np.int32),
    "x.weight_scale": s[:, :1].copy(),
    "x.weight_shape": np.array([16, 16], np.int64),
}
fails(few, "3 words for K = 16 may be codes of 5 or 6 bits; keep the config.json")
# Six codes of 5 bits in a word take as many words here as a stream of them; of 6 bits, five
# would take more.
narrow = {"num_bits": 5, "group_size": 16}
fails(few, "3 words for K = 16 codes of 5 bits may have gaps; quantize", scheme(narrow))
write(few, scheme(narrow | {"num_bits": 6}))
quant_pack(".", "-o", "out/y.safetensors")
# Four codes of 7 bits in a word take the room of four of 8: without a file that says which, the
# upper bits tell, also where the last word of a row has room left.
wide = rows | {"x.weight_packed": np.full((16, 64), 0x01020304, np.int32)}
odd = {
    "x.weight_packed": np.full((16, 8), 0x01020304, np.int32),
    "x.weight_scale": s[:, :1].copy(),
    "x.weight_shape": np.array([16, 30], np.int64),
}
for words in (wide, odd):
    fails(words, "the upper 4 bits of all its words are 0, as of codes of 7 bits")
    seven, eight = ({"num_bits": bits, "group_size": None} for bits in (7, 8))
    fails(words, one + "num_bits = 7, but its codes are packed as 8", scheme(seven))
    write(words, scheme(eight))
    quant_pack(".", "-o", "out/y.safetensors")
words["x.weight_packed"][-1, -1] |= 0x10000000  # the last code of all needs its bits
write(words)
quant_pack(".", "-o", "out/y.safetensors")
# Codes of 4 bits may leave the upper ones unused.
write(rows | {"x.weight_packed": rows["x.weight_packed"] & 0x0FFFFFFF})
quant_pack(".", "-o", "out/y.safetensors")
# Codes in bytes may need less than 8 bits, but not more.
bytes_ = {"x.weight": q.astype(np.int8), "x.weight_scale": s}
for bits in (7, 8):
    write(bytes_, scheme({"num_bits": bits}, format="int-quantized"))
    quant_pack(".", "-o", "out/y.safetensors")
large = scheme({"num_bits": 9}, format="int-quantized")
fails(bytes_, one + "num_bits = 9, but its codes are packed as at most 8 bits are", large)

# MLX: the same shapes for 4 bits in groups of 64 and 8 bits in groups of 32.
bytes_ = rng.integers(0, 256, (16, 256))
mlx = {"a.layers.0.up.weight": pack(bytes_, 1, 8), "a.layers.0.up.scales": s[:, :4].repeat(2, 1)}
mlx["a.layers.0.up.biases"] = mlx["a.layers.0.up.scales"]
other = {"b.layers.0.up": {"bits": 8, "group_size": 32}}
whole = {"bits": 4, "group_size": 64}
fails(mlx, "may be this layer under another prefix", {"quantization": whole | other})
# Two that say the same do not contradict each other.
write(mlx, {"quantization": other["b.layers.0.up"] | other})
quant_pack(".", "-o", "out/y.safetensors")
# Shapes that rounding down would make fit: 5 bits are 128 columns in no 5 groups of 25, and 19
# columns do not end with a word.
for shape, groups, group in (((16, 20), 5, 25), ((16, 3), 1, 19)):
    ones = np.ones((16, groups), np.float16)
    rounded = {"x.weight": np.zeros(shape, np.uint32), "x.scales": ones, "x.biases": ones}
    numbers = {"bits": 5, "group_size": group}
    fails(rounded, f"do not go with bits = 5, group_size = {group}", {"quantization": numbers})
for part in ({"bits": 4}, {"group_size": 64}):
    fails(mlx, "config.json has no 'quantization' with 'bits' and", {"quantization": part})
whole = {"bits": 8, "group_size": 32, "a.layers.0.up": False}
fails(mlx, "says that it is not quantized", {"quantization": whole})
# A rule for a layer that is there is not one for another of the same end.
both = mlx | {n.replace("a.", "b.", 1): t for n, t in mlx.items()}
both["a.layers.0.up.scales"] = both["a.layers.0.up.biases"] = s[:, :4].repeat(2, 1)
write(both, {"quantization": {"bits": 4, "group_size": 64, **other}})
out, _ = quant_pack(".", "-o", "out/y.safetensors", "--report", "out/r.json")
sources = [t["source"] for n, t in sorted(report_of("out/r.json")[1].items())]
assert sources == ["MLX u4:64", "MLX u8:32"], sources
lost = {n: t for n, t in mlx.items() if not n.endswith(".weight")}
fails(lost, "has .biases, but no .weight, its codes; check", {"quantization": whole})
write(mlx, {"quantization": {"bits": 6, "group_size": 64} | other})
quant_pack(".", "-o", "out/y.safetensors", "--dequantize", "f32", "--report", "out/r.json")
scales = each(mlx["a.layers.0.up.scales"], 32)
floats = load_file("out/y.safetensors")["a.layers.0.up.weight"]
assert (floats == (scales * bytes_ + scales).astype(np.float32)).all()
said_by = report_of("out/r.json")[1]["a.layers.0.up.weight"]["assumed"]["said_by"]
assert "'b.layers.0.up' of" in said_by, said_by

# Conv1D: what names alone say is not enough, and asked for by name it is an error.
write({"h.0.attn.c_proj.weight": rng.normal(size=(64, 64)).astype(np.float32)})
quant_pack(".", "-o", "out/y.safetensors", "--quantize", "int8:32", "--report", "out/r.json")
_, tensors = report_of("out/r.json")
assert "it may be a Conv1D of transformers" in tensors["h.0.attn.c_proj.weight"]["reason"]
include = ("--quantize", "int8:32", "--include", "c_proj")
_, message = quant_pack(".", "-o", "out/y.safetensors", *include, status=1)
assert "it may be a Conv1D of transformers, [inputs, outputs]; keep the config.json" in message
print("declared: passed")
