# ===- decoder.py - A small decoder, and what its linears should give -*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""A transformer's decoder in PyTorch, and checks of one with swapped linears, on any
device. Shared by the tests and the GPU suite."""

import copy

import qlinear.nn
import torch
from reference import definition
from torch.nn import functional as F

HIDDEN, HEADS, INNER, VOCABULARY = 256, 4, 512, 300


class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = torch.nn.LayerNorm(HIDDEN), torch.nn.LayerNorm(HIDDEN)
        self.q, self.k, self.v = (torch.nn.Linear(HIDDEN, HIDDEN) for _ in range(3))
        self.o = torch.nn.Linear(HIDDEN, HIDDEN, bias=False)
        self.gate = torch.nn.Linear(HIDDEN, INNER, bias=False)
        self.up = torch.nn.Linear(HIDDEN, INNER, bias=False)
        self.down = torch.nn.Linear(INNER, HIDDEN, bias=False)

    def forward(self, x):
        h = self.norm1(x)
        q, k, v = (
            layer(h).unflatten(-1, (HEADS, -1)).transpose(-2, -3)
            for layer in (self.q, self.k, self.v)
        )
        h = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.o(h.transpose(-2, -3).flatten(-2))
        h = self.norm2(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


class Decoder(torch.nn.Module):
    def __init__(self, blocks=2):
        super().__init__()
        self.embed = torch.nn.Embedding(VOCABULARY, HIDDEN)
        self.blocks = torch.nn.Sequential(*(Block() for _ in range(blocks)))
        self.norm = torch.nn.LayerNorm(HIDDEN)
        self.head = torch.nn.Linear(HIDDEN, VOCABULARY, bias=False)

    def forward(self, tokens):
        return self.head(self.norm(self.blocks(self.embed(tokens))))


def tokens(seed, shape, device="cpu"):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(VOCABULARY, shape, generator=generator).to(device)


def quantized(x):
    """What x stands for as int8 per 32 columns, in float64."""
    chunks = x.detach().float().unflatten(-1, (-1, 32))
    largest = chunks.abs().amax(-1, keepdim=True)
    # A division: `127 / tensor` multiplies by the reciprocal, which rounds twice.
    inverse = torch.div(torch.full_like(largest, 127), largest)
    inverse = torch.where(largest > 0, inverse, torch.zeros_like(largest))
    codes = torch.round(chunks.double() * inverse.double())  # of the exact product
    return (codes * (largest / 127).double()).flatten(-2)


class Reference(torch.nn.Module):
    """A linear of dequantized weights, in float64; activations quantized or not."""

    def __init__(self, layer, int8):
        super().__init__()
        self.weight, self.int8 = layer.dequantize().double(), int8
        self.bias = None if layer.bias is None else layer.bias.detach().cpu().double()

    def forward(self, x):
        x = quantized(x).to(x.device) if self.int8 else x
        return F.linear(x, self.weight, self.bias)


def reference(model, int8):
    """The model in float64 on the CPU, its packed layers dequantized; with `int8`, those that
    quantize their activations do so."""
    model = copy.deepcopy(model).cpu().double()
    for module in list(model.modules()):
        for key, child in module._modules.items():
            if isinstance(child, qlinear.nn.Linear):
                module._modules[key] = Reference(child, int8 and child.activations == "int8")
    return model


NAMES = {torch.float32: "f32", torch.float16: "f16", torch.bfloat16: "bf16"}


def check_layers(model, inputs):
    """Runs the model, and compares every packed layer with float64 on its own input.
    Returns the number of layers."""
    seen = []
    hooks = [
        layer.register_forward_hook(lambda layer, args, y: seen.append((layer, args[0], y)))
        for layer in model.modules()
        if isinstance(layer, qlinear.nn.Linear)
    ]
    with torch.no_grad():
        model(inputs)
    for hook in hooks:
        hook.remove()
    for layer, x, y in seen:
        device = "cuda" if x.is_cuda else qlinear._ops._host
        bound, activations = definition(
            NAMES[y.dtype], layer.activations, x.numel() // layer.in_features, device
        )
        int8 = activations == "int8"
        x = x.cpu() if int8 and x.dtype != torch.float64 else x.cpu().double()
        want = Reference(layer, int8)(x)
        error = (y.cpu().double() - want).norm(dim=-1) / want.norm(dim=-1)
        assert error.max() <= bound, f"{layer}: a row is off by {error.max():.3g}"
    return len(seen)


def check_model(model, inputs):
    """The whole model against float64 of its dequantized weights: its error is that of
    the definition, int8 activations where layers have them, not more than half as much again."""
    with torch.no_grad():
        y = model(inputs).cpu().double()
        exact = reference(model, int8=False)(inputs.cpu())
        defined = reference(model, int8=True)(inputs.cpu())
    rounding = {torch.float32: 1e-5, torch.float16: 2.0**-8, torch.bfloat16: 2.0**-5}
    if inputs.is_cuda and inputs.numel() > 8:  # GPUs' kernels for many rows multiply f16
        rounding[torch.float32] = 2e-3
    error, allowed = (y - exact).norm() / exact.norm(), (defined - exact).norm() / exact.norm()
    dtype = next(p.dtype for p in model.parameters() if p.is_floating_point())
    assert error <= 1.5 * allowed + rounding[dtype], f"{error:.3g}, int8 alone gives {allowed:.3g}"
    return float(error), float(allowed)
