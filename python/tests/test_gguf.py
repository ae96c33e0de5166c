# ===- test_gguf.py - Weights of GGUF files in models of transformers -*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""A small random Llama, written as transformers has it and as llama.cpp's converter does: its
names, and the rows of q and k in the order that its rotary embeddings want."""

import copy
import re

import numpy as np
import pytest
import qlinear
from test_models import logits, model_of

torch = pytest.importorskip("torch")
gguf = pytest.importorskip("gguf")
import qlinear.nn  # noqa: E402

PARTS = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
Q8_0 = gguf.GGMLQuantizationType.Q8_0


def gguf_name(name):
    if name == "lm_head":
        return "output"
    index, part = re.fullmatch(r".*layers\.(\d+)\.(.*)", name).groups()
    return f"blk.{index}.{PARTS[part]}"


def neighbours(weight, heads):
    """Rows of the two halves of each head, in turn."""
    halves = weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:])
    return halves.swapaxes(1, 2).reshape(weight.shape)


def write(path, model, architecture="llama", heads=4):
    """The linears of a model, in Q8_0; the vectors and the embedding as they are."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(model.config.num_hidden_layers)
    writer.add_head_count(heads)
    writer.add_head_count_kv(2)
    for name, layer in model.named_modules():
        if not isinstance(layer, torch.nn.Linear):
            continue
        weight = layer.weight.detach().numpy()
        if architecture == "llama" and name.endswith(("q_proj", "k_proj")):
            weight = neighbours(weight, 4 if name.endswith("q_proj") else 2)
        data = gguf.quants.quantize(np.ascontiguousarray(weight), Q8_0)
        writer.add_tensor(f"{gguf_name(name)}.weight", data, raw_dtype=Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def rounded(model):
    """The float model with Q8_0's weights: what the file stands for."""
    model = copy.deepcopy(model)
    for layer in model.modules():
        if isinstance(layer, torch.nn.Linear):
            data = gguf.quants.quantize(layer.weight.detach().numpy(), Q8_0)
            layer.weight.data = torch.from_numpy(gguf.quants.dequantize(data, Q8_0))
    return model


def packed(tmp_path, model, name="packed", options=(), **kinds):
    write(tmp_path / "model.gguf", model, **kinds)
    qlinear.pack(tmp_path / "model.gguf", tmp_path / name, options=options)
    return tmp_path / name


def test_rows_in_another_order_are_refused(tmp_path):
    model = model_of(tie_word_embeddings=False)
    archive = packed(tmp_path, model)
    with pytest.raises(qlinear.Error, match="attn_q.weight' .* order of llama.cpp.*names=\"auto\""):
        qlinear.nn.swap_linears(model, archive=archive, names=gguf_name)
    assert type(model.model.layers[0].self_attn.q_proj) is torch.nn.Linear
    # The others are the same in both.
    report = qlinear.nn.swap_linears(
        model,
        archive=archive,
        names=gguf_name,
        select=lambda name, layer: not name.endswith(("q_proj", "k_proj")),
    )
    assert sum(s.layer is not None for s in report) == 6

    class Own(torch.nn.Module):
        """Not of transformers: nobody knows which order it wants, so it is said."""

        def __init__(self):
            super().__init__()
            self.wq, self.wo = torch.nn.Linear(64, 64), torch.nn.Linear(64, 64)

    names = {"wq": "blk.0.attn_q", "wo": "blk.0.attn_output"}.get
    report = qlinear.nn.swap_linears(Own(), archive=archive, names=names)
    assert [s.note.startswith("its rows are in the order of llama.cpp") for s in report] == [
        True,
        False,
    ]


def test_a_llama_written_both_ways(tmp_path):
    model = model_of(tie_word_embeddings=False, num_hidden_layers=2)
    want = logits(rounded(model))
    archives = {
        "names of transformers": packed(tmp_path, model, "hf", options=["--names=hf"]),
        "names of llama.cpp": packed(tmp_path, model, "gguf"),
    }
    outputs = []
    for archive in archives.values():
        swapped = copy.deepcopy(model)
        report = qlinear.nn.swap_linears(swapped, archive=archive, names="auto")
        assert sum(s.layer is not None for s in report) == 15
        for name, layer in model.named_modules():
            if isinstance(layer, torch.nn.Linear):
                error = swapped.get_submodule(name).dequantize() - layer.weight
                assert error.norm() < 0.01 * layer.weight.norm(), name
        outputs.append(logits(swapped))
        error = (outputs[-1] - want).norm() / want.norm()
        assert error < 0.02  # int8 activations
    assert torch.equal(*outputs)
    # Under the names of wrappers, and a body without a head.
    wrapped = torch.nn.ModuleDict({"inner": copy.deepcopy(model)})
    qlinear.nn.swap_linears(wrapped, archive=archives["names of transformers"], names="auto")
    assert torch.equal(logits(wrapped["inner"]), outputs[0])
    body = copy.deepcopy(model).model
    report = qlinear.nn.swap_linears(body, archive=archives["names of llama.cpp"], names="auto")
    assert sum(s.layer is not None for s in report) == 14
    # Without names="auto" the archive with transformers' names is taken, too.
    swapped = copy.deepcopy(model)
    qlinear.nn.swap_linears(swapped, archive=archives["names of transformers"])
    assert torch.equal(logits(swapped), outputs[0])


def test_models_that_are_others(tmp_path):
    archive = packed(tmp_path, model_of(tie_word_embeddings=False))
    other = model_of(tie_word_embeddings=False, num_attention_heads=8, num_key_value_heads=2)
    with pytest.raises(qlinear.Error, match="heads = 4, but the model has num_attention_heads = 8"):
        qlinear.nn.swap_linears(other, archive=archive, names="auto")
    with pytest.raises(qlinear.Error, match="no weight of the model's 1 linears; it has lm_head"):
        qlinear.nn.swap_linears(
            torch.nn.Sequential(torch.nn.Linear(64, 64)), archive=archive, names="auto"
        )
    with pytest.raises(qlinear.ArgumentError, match="names is 'gguf'; it is a function"):
        qlinear.nn.swap_linears(other, archive=archive, names="gguf")


def test_an_architecture_without_another_order(tmp_path):
    model = model_of("Qwen2", tie_word_embeddings=False)
    archive = packed(tmp_path, model, architecture="qwen2")
    by_function, by_itself = copy.deepcopy(model), copy.deepcopy(model)
    qlinear.nn.swap_linears(by_function, archive=archive, names=gguf_name)
    qlinear.nn.swap_linears(by_itself, archive=archive, names="auto")
    want = logits(rounded(model))
    assert torch.equal(logits(by_function), logits(by_itself))
    assert (logits(by_itself) - want).norm() < 0.02 * want.norm()


def test_no_layer_takes_another_weight(tmp_path):
    """An archive whose names end each other, for a model inside of another."""
    from qlinear.archive import write_tensors

    weights = {n: torch.randn(64, 64) for n in ("up", "layers.1.up", "layers.11.up")}
    tensors = {f"{n}.weight": ("F32", (64, 64), w.numpy()) for n, w in weights.items()}
    write_tensors(tmp_path / "floats", tensors)
    archive = tmp_path / "packed"
    qlinear.pack(tmp_path / "floats", archive, quantize="int8:32", encoding="f32")

    def linear():
        return torch.nn.Linear(64, 64)

    blocks = {i: torch.nn.ModuleDict({"up": linear()}) for i in ("1", "11", "2")}
    inner = {"up": linear(), "layers": torch.nn.ModuleDict(blocks)}
    model = torch.nn.ModuleDict({"inner": torch.nn.ModuleDict(inner)})
    report = qlinear.nn.swap_linears(model, archive=archive, names="auto")
    assert {s.name: s.reason for s in report if s.reason} == {
        "inner.layers.2.up": "the archive has no weight 'layers.2.up'"
    }
    for name, weight in weights.items():
        layer = model.get_submodule(f"inner.{name}")
        assert (layer.dequantize() - weight).norm() < 0.01 * weight.norm()
