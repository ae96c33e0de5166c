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
