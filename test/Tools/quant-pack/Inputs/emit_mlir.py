# ===- emit_mlir.py - The module that quant-pack writes --------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Which functions there are, for models that are known and others; what they compute is the
business of test/Tools/quant-compile/checkpoint.test."""

import json
import os
import re
import subprocess
import sys

import numpy as np
from checkpoints import blocks, fresh, quant_pack, report_of, write_gguf
from safetensors.numpy import save_file

fresh(sys.argv[1])
Q, K = "blk.{}.attn_{}.weight", 64


def block(number, v="Q8_0"):
    """The weights of a decoder's block."""
    return {
        Q.format(number, "q"): ("Q4_0", 64, K),
        Q.format(number, "k"): ("Q4_0", 32, K),
        Q.format(number, "v"): (v, 32, K),
        Q.format(number, "output"): ("Q4_0", 64, 64),
        f"blk.{number}.ffn_gate.weight": ("Q4_0", 96, K),
        f"blk.{number}.ffn_up.weight": ("Q4_0", 96, K),
        f"blk.{number}.ffn_down.weight": ("Q8_0", 64, 96),
        f"blk.{number}.attn_norm.weight": ("F32", 0, K),
    }


def functions(path):
    """{name: the rest of its first line}; the module has to be valid."""
    subprocess.run(["quant-opt", path, "-o", "/dev/null"], check=True)
    with open(path) as f:
        return dict(re.findall(r"^func\.func @(\w+)(.*)$", f.read(), re.M))


def emit(source, *options, status=0):
    out = quant_pack(source, "-o", "p.safetensors", "--emit-mlir", "p.mlir", *options,
                     status=status)  # fmt: skip
    return out[1] if status else functions("p.mlir")


PARTS = ["attn_output", "attn_qkv", "ffn_down", "ffn_gate_up"]
SINGLE = ["attn_k", "attn_output", "attn_q", "attn_v", "ffn_down", "ffn_gate", "ffn_up"]
weights = {
    **block(10),
    **block(2),
    "output.weight": ("Q8_0", 160, K),
    "token_embd.weight": ("Q8_0", 160, K),
}
HEADS = [("llama.attention.head_count", 4), ("llama.attention.head_count_kv", 2)]
write_gguf("llama.gguf", weights, metadata=HEADS)
made = ["-o", "llama.safetensors", "--emit-mlir", "llama.mlir", "--dtype", "bf16"]
quant_pack("llama.gguf", *made)
assert list(functions("llama.mlir")) == [
    *(f"blk_{n}_{part}" for n in (2, 10) for part in PARTS),
    "output",
]
# The same module each time, and from the archive.
with open("llama.mlir") as f:
    text = f.read()
quant_pack("llama.gguf", *made)
with open("llama.mlir") as f:
    assert f.read() == text
os.mkdir("again")
made[1] = "again/llama.safetensors"
quant_pack("llama.safetensors", *made)
with open("llama.mlir") as f:
    assert f.read() == text

# A dry run says the same and writes no archive.
quant_pack("llama.gguf", *made, "--report", "made.json")
os.rename("llama.mlir", "made.mlir")
os.remove("llama.safetensors")
quant_pack("llama.gguf", "--dry-run", *made[2:], "--report", "dry.json")
assert not os.path.exists("llama.safetensors")
reports = [report_of(name)[0] for name in ("made.json", "dry.json")]
assert reports[0]["tensors"] == reports[1]["tensors"]
assert reports[0]["totals"]["file_bytes"] > reports[1]["totals"]["file_bytes"] > 10000
with open("made.mlir") as f, open("llama.mlir") as g:
    assert f.read().splitlines()[1:] == g.read().splitlines()[1:]
os.rename("made.mlir", "llama.mlir")

# Without a head of its own, the embedding is one.
del weights["output.weight"]
write_gguf("tied.gguf", weights)
assert "token_embd" in emit("tied.gguf")
# transformers' names, of the same model.
named = list(emit("llama.gguf", "--names=hf"))
assert named[:5] == [
    "lm_head",
    "model_layers_2_mlp_down_proj",
    "model_layers_2_mlp_gate_up_proj",
    "model_layers_2_self_attn_o_proj",
    "model_layers_2_self_attn_qkv_proj",
], named
# One that is not packed leaves the others alone.
names = list(emit("llama.gguf", "--exclude", r"blk\.2\.attn_v|blk\.2\.ffn_up"))
assert names[:5] == ["blk_2_attn_k", "blk_2_attn_output", "blk_2_attn_q", "blk_2_ffn_down",
                     "blk_2_ffn_gate"], names  # fmt: skip


def write_as(path, architecture, biases=(), parts=None, more=0):
    """A block of a model of this architecture."""
    import gguf

    rng = np.random.default_rng(5)
    writer = gguf.GGUFWriter(path, architecture)
    for name, (kind, n, k) in (parts or block(0)).items():
        if kind != "F32":
            value = blocks(kind, n, k, rng)
            writer.add_tensor(name, value, raw_dtype=gguf.GGMLQuantizationType[kind])
        if name.split(".")[2] in biases:
            writer.add_tensor(name.replace(".weight", ".bias"), np.ones(n + more, "f4"))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


# An architecture that is not known: nobody says that they share their input.
write_as("other.gguf", "nobodys-model")
assert list(emit("other.gguf")) == [f"blk_0_{part}" for part in SINGLE]
write_as("gemma.gguf", "gemma2")
assert list(emit("gemma.gguf")) == [f"blk_0_{part}" for part in PARTS]
with open("p.mlir") as f:
    assert "math.tanh" in f.read()
# Biases are inputs, in the order of the weights.
write_as("bias.gguf", "qwen2", ["attn_q", "attn_v", "ffn_up"])
names = emit("bias.gguf")
assert names["blk_0_attn_qkv"].startswith(
    "(%x: tensor<?x64xf32>, %b0: tensor<64xf32>, %b2: tensor<32xf32>) -> "
), names
assert "%b1: tensor<96xf32>" in names["blk_0_ffn_gate_up"], names
# What is called bias, and has another length, is none.
write_as("bias.gguf", "qwen2", ["attn_q"], more=1)
assert "%b" not in emit("bias.gguf")["blk_0_attn_qkv"]
# gate and up that do not fit.
parts = block(0) | {"blk.0.ffn_up.weight": ("Q4_0", 64, K)}
write_as("odd.gguf", "llama", parts=parts)
assert "blk_0_ffn_gate" in emit("odd.gguf") and "blk_0_ffn_up" in emit("odd.gguf")

# transformers' models by config.json, which an archive remembers.
rng = np.random.default_rng(7)
BLOCK = "model.layers.0."
hf = {
    BLOCK + name: rng.normal(size=(n, K)).astype("f4")
    for name, n in {
        "self_attn.q_proj.weight": 64,
        "self_attn.k_proj.weight": 32,
        "self_attn.v_proj.weight": 32,
        "mlp.gate_proj.weight": 96,
        "mlp.up_proj.weight": 96,
    }.items()
}
save_file(hf, "model.safetensors")


def config(**values):
    with open("config.json", "w") as f:
        json.dump(values, f)
    return [name.removeprefix("model_layers_0_") for name in emit("model.safetensors",
            "--quantize", "int4:32")]  # fmt: skip


GROUPED = ["mlp_gate_up_proj", "self_attn_qkv_proj"]
assert config(model_type="llama", hidden_act="silu") == GROUPED
with open("p.mlir") as f:
    text = f.read()
os.mkdir("elsewhere")
os.rename("p.safetensors", "elsewhere/p.safetensors")
assert len(emit("elsewhere/p.safetensors")) == 2
with open("p.mlir") as f:
    assert f.read() == text
assert config(model_type="gemma", hidden_act="gelu") == GROUPED
with open("p.mlir") as f:
    assert "math.tanh" in f.read()
assert config(text_config={"model_type": "qwen3", "hidden_act": "silu"}) == GROUPED
APART = ["mlp_gate_proj", "mlp_up_proj"]
assert config(model_type="llama", hidden_act="relu") == [*APART, "self_attn_qkv_proj"]
KVQ = ["self_attn_k_proj", "self_attn_q_proj", "self_attn_v_proj"]
assert config(model_type="falcon_h1", hidden_act="silu") == [*APART, *KVQ]
assert config(model_type=3) == [*APART, *KVQ]
os.remove("config.json")

# Names that are no identifiers, and such as would be the same one.
odd = ["a.b.weight", "a_b.weight", "1.weight", 'say "x"\\\n.weight', "é.weight", "w", "w.weight"]
save_file({name: rng.normal(size=(8, K)).astype("f4") for name in odd}, "odd.safetensors")
names = list(emit("odd.safetensors", "--quantize", "int4:32", "--include", "."))
assert sorted(names) == ["_1", "__", "a_b", "a_b_2", "say__x___", "w", "w_2"], names

# Nothing to write.
assert "no weight is packed" in emit("model.safetensors", status=1)
assert "--emit-mlir" in quant_pack("llama.gguf", "-o", "o", "--dtype", "f16", status=2)[1]
assert "excludes" in emit("llama.gguf", "--dequantize", "f32", status=2)
assert "two outputs" in quant_pack(
    "llama.gguf", "-o", "o", "--emit-mlir", "o", status=1)[1]  # fmt: skip
assert not os.path.exists("o")
print("emit mlir: passed")
