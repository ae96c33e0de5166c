# ===- gguf_names.py - GGUF's names and rows, and transformers' -*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Small models with grouped heads, written as llama.cpp's converter does: the archive says
what transformers calls each weight and which rows are in another order, and --names=hf gives
transformers' names and rows, exactly, of every type and through every way."""

import sys

import gguf
import numpy as np
from checkpoints import QUANTIZED, blocks, fresh, quant_pack, report_of
from conventions import write
from gguf import GGMLQuantizationType as Type
from safetensors import safe_open
from safetensors.numpy import load_file

fresh(sys.argv[1])
HEADS, KV, D, HIDDEN, LAYERS = 8, 2, 32, 256, 3
PERMUTED = ["llama", "granite", "smollm3", "minicpm", "olmo", "deepseek", "mistral3", "arcee"]
SHAPES = {
    "attn_q": ("self_attn.q_proj", HEADS * D, HIDDEN),
    "attn_k": ("self_attn.k_proj", KV * D, HIDDEN),
    "attn_v": ("self_attn.v_proj", KV * D, HIDDEN),
    "attn_output": ("self_attn.o_proj", HIDDEN, HEADS * D),
    "ffn_gate": ("mlp.gate_proj", 512, HIDDEN),
    "ffn_up": ("mlp.up_proj", 512, HIDDEN),
    "ffn_down": ("mlp.down_proj", HIDDEN, 512),
}
TYPES = [*QUANTIZED, "F16", "F32", "IQ3_S"]


def to_gguf(rows, heads):
    """What llama.cpp's converter does to the rows of q_proj and k_proj: heads, halves, pairs."""
    shape = rows.shape
    return rows.reshape(heads, 2, shape[0] // heads // 2, *shape[1:]).swapaxes(1, 2).reshape(shape)


def model(path, architecture, rng, heads=True, extra=()):
    """Writes it; {name in transformers: (raw rows as transformers has them, type)}."""
    writer = gguf.GGUFWriter(path, architecture)
    if heads:
        writer.add_head_count(HEADS)
        writer.add_head_count_kv(KV)
    expected = {}

    def add(name, hf, value, kind, order=0):
        stored = to_gguf(value, order) if order and architecture in PERMUTED else value
        writer.add_tensor(name, np.ascontiguousarray(stored), raw_dtype=Type[kind])
        expected[hf] = (value, kind)

    def rows(kind, n, k):
        if kind in ("F16", "F32"):
            return rng.normal(size=(n, k)).astype("<f2" if kind == "F16" else "<f4")
        return blocks(kind, n, k, rng)

    add("token_embd.weight", "model.embed_tokens.weight", rows("Q8_0", 64, HIDDEN), "Q8_0")
    add("output_norm.weight", "model.norm.weight", rows("F32", 1, HIDDEN)[0], "F32")
    for layer in range(LAYERS):
        for part, (hf, n, k) in SHAPES.items():
            heads_of = {"attn_q": HEADS, "attn_k": KV}.get(part, 0)
            kind = TYPES[int(rng.integers(len(TYPES)))]
            name, full = f"blk.{layer}.{part}", f"model.layers.{layer}.{hf}"
            add(f"{name}.weight", f"{full}.weight", rows(kind, n, k), kind, heads_of)
            if part in ("attn_q", "attn_k", "attn_v"):
                bias = rng.normal(size=n).astype(np.float32)
                add(f"{name}.bias", f"{full}.bias", bias, "F32", heads_of)
        norm = rng.normal(size=HIDDEN).astype(np.float32)
        hf = f"model.layers.{layer}.input_layernorm.weight"
        add(f"blk.{layer}.attn_norm.weight", hf, norm, "F32")
    for name, value in extra:
        writer.add_tensor(name, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return expected


def floats_of(value, kind):
    if kind in ("F16", "F32"):
        return value.astype(np.float32)
    return gguf.quants.dequantize(value, Type[kind])


def check(path, expected, *options):
    """The packed file has transformers' weights, and its carried tensors."""
    quant_pack(path, "-o", "f.safetensors", "--dequantize", "f32", *options)
    floats, packed = load_file("f.safetensors"), load_file(path) if not options else None
    assert set(floats) == set(expected), set(floats) ^ set(expected)
    for name, (value, kind) in expected.items():
        if kind == "IQ3_S":
            assert floats[name].tobytes() == value.tobytes(), name
        else:
            want = floats_of(value, kind)
            assert floats[name].shape == want.shape, (name, floats[name].shape)
            assert (floats[name] == want).all(), (name, kind)
    return packed


def about(path):
    import json

    return json.loads(safe_open(path, "np").metadata()["qlinear"])


for seed, architecture in enumerate(["llama", "llama", "granite", "qwen2"]):
    rng = np.random.default_rng(seed)
    expected = model("m.gguf", architecture, rng)
    out, _ = quant_pack("m.gguf", "-o", "hf.safetensors", "--names=hf", "--report", "r.json")
    check("hf.safetensors", expected)
    entry = about("hf.safetensors")["model"]
    assert entry["names"] == "hf" and entry["architecture"] == architecture
    entries = about("hf.safetensors")["weights"].values()
    assert not any("hf" in w or "permuted" in w for w in entries)
    # Straight to floats; with another encoding of a float weight; by way of an archive.
    check("m.gguf", expected, "--names=hf")
    quant_pack("m.gguf", "-o", "p.safetensors")
    said = about("p.safetensors")
    is_permuted = architecture in PERMUTED
    assert said["model"] == {
        "architecture": architecture,
        "names": "gguf",
        "heads": HEADS,
        "kv_heads": KV,
        "permuted": is_permuted,
    }, said["model"]
    for name, w in said["weights"].items():
        assert w["hf"] in expected, (name, w)
        part = name.split(".")[2] if name.startswith("blk.") else ""
        heads = {"attn_q": HEADS, "attn_k": KV}.get(part) if is_permuted else None
        assert w.get("permuted") == heads, (name, w)
    quant_pack("p.safetensors", "-o", "q.safetensors", "--names=hf")
    check("q.safetensors", expected)
    ours, theirs = load_file("q.safetensors"), load_file("hf.safetensors")
    assert {n: t.tobytes() for n, t in ours.items()} == {n: t.tobytes() for n, t in theirs.items()}
    # Encoded anew, rows keep their own constants.
    quant_pack("m.gguf", "-o", "a.safetensors", "--encoding", "row-u8")
    quant_pack("a.safetensors", "-o", "b.safetensors", "--names=hf")
    quant_pack("m.gguf", "-o", "c.safetensors", "--encoding", "row-u8", "--names=hf")
    ours, theirs = load_file("b.safetensors"), load_file("c.safetensors")
    assert {n: t.tobytes() for n, t in ours.items()} == {n: t.tobytes() for n, t in theirs.items()}
    # Names and rows that are right already stay.
    quant_pack("hf.safetensors", "-o", "d.safetensors", "--names=hf")
    check("d.safetensors", expected)
    # What is said.
    _, tensors = report_of("r.json")
    q = tensors["model.layers.0.self_attn.q_proj.weight"]
    assert q["source_name"] == "blk.0.attn_q.weight"
    assert ("rows" in q) == is_permuted and "rows" not in tensors["model.norm.weight"]
    count = 4 * LAYERS if is_permuted else 0
    assert f"{len(expected)} tensors have transformers' names; the rows of {count} were" in out, out

# Experts of Mixtral, a tensor each; a tensor that has no counterpart keeps its name.
rng = np.random.default_rng(9)
small = rng.normal(size=(8, 32)).astype(np.float32)
names = {"blk.1.ffn_down.5.weight": "model.layers.1.block_sparse_moe.experts.5.w2.weight"}
names["rope_freqs.weight"] = "rope_freqs.weight"
model("m.gguf", "llama", rng, extra=[(name, small) for name in names])
quant_pack("m.gguf", "-o", "hf.safetensors", "--names=hf")
for name in names.values():
    assert (load_file("hf.safetensors")[name] == small).all(), name

# Norms that llama.cpp adds 1 to keep their names.
model("m.gguf", "gemma2", rng)
quant_pack("m.gguf", "-o", "hf.safetensors", "--names=hf", "--report", "r.json")
_, tensors = report_of("r.json")
assert "adds 1 to the norms" in tensors["output_norm.weight"]["reason"]
assert "model.layers.0.mlp.up_proj.weight" in tensors


def fails(part, path="m.gguf"):
    _, message = quant_pack(path, "-o", "none", "--names=hf", status=1)
    assert part in message, message


model("m.gguf", "falcon", rng)
fails("there is no map of the names of general.architecture 'falcon'; there is of llama, ")
model("m.gguf", "llama", rng, heads=False)
fails("blk.0.attn_q.weight': its rows are in llama.cpp's order, but llama.attention.head_count")
write({"x.weight": small})
fails("--names=hf is for GGUF and archives of it", "model.safetensors")
print("gguf names: passed")
