# ===- models.py - Models of known sizes with random weights ------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Models of transformers' classes at the sizes of Llama-3 8B and gemma4-31B, with random weights
that are made on the device, and their linears in each of the benchmark's forms."""

import contextlib
import pathlib
import sys

import qlinear
import qlinear.nn
import torch
from qlinear import _embedding
from qlinear.archive import PackedWeight
from transformers import (
    Gemma4ForCausalLM,
    Gemma4TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
)

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "gpu"))
from layers import INT4, INT6  # noqa: E402

_LLAMA = LlamaConfig, LlamaForCausalLM, {"tie_word_embeddings": False, "eos_token_id": None}
_GEMMA = (
    Gemma4TextConfig,
    Gemma4ForCausalLM,
    {
        "tie_word_embeddings": True,
        "attention_k_eq_v": True,
        "hidden_size_per_layer_input": 0,
        "final_logit_softcapping": 30.0,
        "eos_token_id": None,
    },
)
MODELS = {
    "8b": (*_LLAMA, dict(
        hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32,
        num_key_value_heads=8, head_dim=128, vocab_size=128256, max_position_embeddings=131072,
    )),
    "31b": (*_GEMMA, dict(
        hidden_size=5376, intermediate_size=21504, num_hidden_layers=60, num_attention_heads=32,
        num_key_value_heads=16, head_dim=256, global_head_dim=512, num_global_key_value_heads=4,
        sliding_window=1024, vocab_size=262144, max_position_embeddings=262144,
    )),
    "tiny-llama": (*_LLAMA, dict(
        hidden_size=256, intermediate_size=512, num_hidden_layers=3, num_attention_heads=8,
        num_key_value_heads=2, head_dim=32, vocab_size=512, max_position_embeddings=4096,
        initializer_range=0.1,
    )),
    "tiny-gemma": (*_GEMMA, dict(
        hidden_size=256, intermediate_size=512, num_hidden_layers=6, num_attention_heads=8,
        num_key_value_heads=4, head_dim=32, global_head_dim=64, num_global_key_value_heads=2,
        sliding_window=8, vocab_size=512, max_position_embeddings=4096, initializer_range=0.1,
        # A tied head finds the last token best, whatever was before it.
        tie_word_embeddings=False,
    )),
}  # fmt: skip
#: What the linears are. Of "tinygemm" the head is bfloat16 where it is tied to the embedding.
FLOAT, TINYGEMM = "bf16", "tinygemm"
#: "bf16-metadata" is what there was before compact metadata: scales and offsets in bf16.
ENCODINGS = {
    name: (INT4[of], INT6[of])
    for name, of in [("bf16-metadata", "bf16")]
    + [(name, name) for name in ("row-u8", "block-u8", "k-quant", "auto")]
}
VARIANTS = (FLOAT, TINYGEMM, *ENCODINGS)
#: Rows that are packed for each K; larger weights repeat them.
_POOL = 1024
_LINEARS = {
    "self_attn": ("q_proj", "k_proj", "v_proj", "o_proj"),
    "mlp": ("gate_proj", "up_proj", "down_proj"),
}


@contextlib.contextmanager
def _linears_on_meta():
    """While it is entered, nn.Linear has no memory."""
    init = torch.nn.Linear.__init__

    def on_meta(self, *args, **kwargs):
        init(self, *args, **{**kwargs, "device": "meta"})

    torch.nn.Linear.__init__ = on_meta
    try:
        yield
    finally:
        torch.nn.Linear.__init__ = init


def build(name, device, attention, *, dtype=torch.bfloat16, linears=True, **sizes):
    """A model of MODELS, or with other `sizes`. Without `linears` these are on the meta device,
    but for a head that is the embedding."""
    kind, model_class, options, own = MODELS[name]
    config = kind(**{**options, **own, **sizes}, attn_implementation=attention)
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device), contextlib.ExitStack() as stack:
            if not linears:
                stack.enter_context(_linears_on_meta())
            model = model_class(config)
    finally:
        torch.set_default_dtype(before)
    return model.eval().requires_grad_(False)


def of_each_kind(name):
    """Options of build() for one layer of each kind, and few tokens."""
    own = MODELS[name][3]
    if "sliding_window" not in own:
        return {"num_hidden_layers": 1, "vocab_size": 512}
    kinds = ["sliding_attention", "full_attention"]
    return {"num_hidden_layers": 2, "layer_types": kinds, "vocab_size": 512}


def is_tied(model):
    return model.config.tie_word_embeddings


class TinyGemm(torch.nn.Module):
    """PyTorch's own product with int4, groups of 32 with scale and zero in bf16: 5 bits."""

    def __init__(self, n, k, packed, scales):
        super().__init__()
        self.in_features, self.out_features = k, n
        self.register_buffer("packed", packed)
        self.register_buffer("scales", scales)

    def forward(self, x):
        rows = x.reshape(-1, self.in_features)
        y = torch.ops.aten._weight_int4pack_mm(rows, self.packed, 32, self.scales)
        return y.reshape(*x.shape[:-1], self.out_features)


class _TinyGemms:
    """Makes linears of tinygemm: one of each shape, and copies of it."""

    def __init__(self, device):
        self.device, self.made = device, {}

    def __call__(self, n, k):
        if (n, k) not in self.made:
            codes = torch.randint(0, 256, (n, k // 2), dtype=torch.uint8, device=self.device)
            scales = torch.rand(k // 32, n, 2, device=self.device) * 0.01
            packed = torch.ops.aten._convert_weight_to_int4pack(codes, 8)
            self.made[n, k] = packed, scales.bfloat16()
        return TinyGemm(n, k, *(tensor.clone() for tensor in self.made[n, k]))


class _Packed:
    """Makes packed linears of an encoding. Of each K a few rows are quantized, and a weight is
    these again and again, in memory of its own. `filled`: False for sizes alone."""

    def __init__(self, encoding, device, filled=True):
        self.encoding, self.device, self.filled = encoding, device, filled
        self.pools, self.made = {}, {}

    def __call__(self, n, k):
        linear = qlinear.nn.Linear(k, n, bias=False, encoding=self.encoding, device=self.device)
        if not self.filled:
            size = qlinear.packed_bytes(self.encoding, n, k)
            linear.packed = torch.zeros(size, dtype=torch.uint8, device=self.device)
            return linear
        if (n, k) not in self.made:
            blob = torch.from_numpy(self._rows(n, k).blob)
            self.made[n, k] = blob.to(self.device)
        linear.packed = self.made[n, k].clone()
        return linear

    def _rows(self, n, k):
        if k not in self.pools:
            floats = torch.nn.Linear(k, _POOL, bias=False)
            torch.nn.init.normal_(floats.weight, std=0.02)
            made = qlinear.nn.Linear.from_float(floats, self.encoding, search=False)
            blob = made.packed.numpy()
            self.pools[k] = PackedWeight("pool", made.encoding, _POOL, k, "", blob)
        pool, times, rest = self.pools[k], n // _POOL, n % _POOL
        parts = [pool] * times
        if rest:
            parts.append(qlinear.split(pool, [rest, _POOL - rest])[0])
        return qlinear.merge(parts)


def makers(variant, device, filled=True):
    """(makes a linear of the layers, makes the head) of (n, k)."""
    if variant == TINYGEMM:
        made = _TinyGemms(device)
        return made, made
    return tuple(_Packed(encoding, device, filled) for encoding in ENCODINGS[variant])


def linears_of(model):
    """(owner, name, n, k) of each linear of the decoder layers."""
    for layer in model.model.layers:
        for part, names in _LINEARS.items():
            owner = getattr(layer, part)
            for name in names:
                linear = getattr(owner, name)
                if linear is not None:
                    yield owner, name, linear.out_features, linear.in_features


def replace(model, variant, device, *, filled=True, tokens=None):
    """Makes the linears of a model those of a variant. Heads have 6 bits, as swap_linears gives
    them, for as many tokens as the model has, or others; that of tinygemm is left alone where it
    is tied."""
    make, make_head = makers(variant, device, filled)
    for owner, name, n, k in list(linears_of(model)):
        setattr(owner, name, make(n, k))
    if variant == TINYGEMM and is_tied(model):
        return
    head = model.lm_head
    model.lm_head = make_head(tokens or head.out_features, head.in_features)
    if variant != TINYGEMM and is_tied(model):
        _embedding.of_checkpoint(
            model, {"model.embed_tokens": "lm_head"}, {"lm_head": model.lm_head}
        )


def bytes_of(model):
    """Of parameters and buffers, each once."""
    tensors = [*model.parameters(), *model.buffers()]
    return sum({t.data_ptr(): t.numel() * t.element_size() for t in tensors}.values())
