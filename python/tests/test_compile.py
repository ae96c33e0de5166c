# ===- test_compile.py - torch.compile(backend="qlinear") -----------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Compared with the same model whose linears swap_linears() has replaced, bit for bit."""

import copy
import warnings

import pytest
import qlinear
import qlinear.nn
import torch
from qlinear import _dynamo
from torch import nn

OPTIONS = {"encoding": "row-u8", "inner": "eager"}


class Block(nn.Module):
    def __init__(self, seed, bias=True):
        super().__init__()
        torch.manual_seed(seed)
        self.up, self.down = nn.Linear(64, 96, bias=bias), nn.Linear(96, 64, bias=bias)

    def forward(self, x):
        return x + self.down(torch.nn.functional.gelu(self.up(x)))


def compiled(model, **options):
    torch._dynamo.reset()
    return torch.compile(model, backend="qlinear", options={**OPTIONS, **options})


def swapped(model, **options):
    model = copy.deepcopy(model)
    report = qlinear.nn.swap_linears(model, "row-u8", **options)
    assert all(s.layer is not None for s in report)
    return model


def quiet(call, *arguments):
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        return call(*arguments)


@pytest.mark.parametrize("activations", ["int8", "float"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_equals_swapped_layers(activations, dtype):
    model = Block(1).to(dtype)
    before = {k: (v.data_ptr(), v.clone()) for k, v in model.state_dict().items()}
    fast = compiled(model, activations=activations, bits=8)
    want = swapped(model, activations=activations, bits=8)
    for shape in ((1, 64), (3, 64), (2, 5, 64)):
        x = torch.randn(shape, dtype=dtype)
        y = quiet(fast, x)
        assert y.dtype == dtype and torch.equal(y, quiet(want, x))
        assert not torch.equal(y, quiet(model, x))  # it did quantize
        assert (y - quiet(model, x)).norm() < 0.02 * y.norm()
    for name, tensor in model.state_dict().items():
        assert tensor.data_ptr() == before[name][0] and torch.equal(tensor, before[name][1])


def test_other_backends_around():
    model, x = Block(2), torch.randn(3, 64)
    y = quiet(compiled(model, inner="aot_eager"), x)
    torch.testing.assert_close(y, quiet(swapped(model), x))


def test_weights_that_change():
    model, x = Block(3), torch.randn(4, 64)
    fast = compiled(model)
    quiet(fast, x)
    with torch.no_grad():
        model.up.weight.mul_(-2)
    assert torch.equal(quiet(fast, x), quiet(swapped(model), x))
    model.load_state_dict(Block(4).state_dict())
    assert torch.equal(quiet(fast, x), quiet(swapped(model), x))
    model.down.weight = nn.Parameter(torch.randn(64, 96))
    assert torch.equal(quiet(fast, x), quiet(swapped(model), x))


def test_one_graph_for_several_layers(monkeypatch):
    """Layers of a stack share what was compiled for the first; weights of another encoding, too."""
    layers = [Block(i, bias=False) for i in range(3)]
    with torch.no_grad():
        layers[2].up.weight[0, 0] = 9
    real = _dynamo.quantize

    def quantize(weights, rule):
        other = _dynamo.Rule("bf16", 4, 32, None, None, True)
        return {
            name: real({name: w}, other if w[0, 0] == 9 else rule)[name]
            for name, w in weights.items()
        }

    monkeypatch.setattr(_dynamo, "quantize", quantize)
    torch._dynamo.reset()
    step = torch.compile(lambda layer, x: layer(x), backend="qlinear", options=OPTIONS)
    x, found = torch.randn(2, 64), set()
    for layer in layers:
        want = copy.deepcopy(layer)
        if layer.up.weight[0, 0] == 9:
            qlinear.nn.swap_linears(want, "bf16", select=lambda name, _: name == "up")
        qlinear.nn.swap_linears(want, "row-u8")
        found.add(want.up.encoding)
        assert torch.equal(quiet(step, layer, x), quiet(want, x))
    assert len(found) == 2


def test_what_stays(recwarn):
    model, x = Block(5), torch.randn(3, 64)

    def stays(call, why, model=model, count=2):
        recwarn.clear()
        y = call()
        (warning,) = [w for w in recwarn if "stay as they are" in str(w.message)]
        assert why in str(warning.message) and f"{count} linears" in str(warning.message)
        return y

    fast = compiled(model)
    y = stays(lambda: fast(x), "its weight is trained")
    assert torch.equal(y, model(x))
    y.sum().backward()
    assert model.up.weight.grad is not None
    with torch.no_grad():
        y = stays(lambda: compiled(model, group=256)(x), "not a multiple of the group size 256")
        assert torch.equal(y, model(x))
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(stays(lambda: compiled(model)(x), "autocast is on"), model(x))
        tied = Block(6, bias=False)
        tied.down.weight = nn.Parameter(torch.randn(64, 96))
        use = compiled(lambda x: tied(x) + tied.up.weight.sum())
        y = stays(lambda: use(x), "something else uses its weight", count=1)
        want = copy.deepcopy(tied)
        qlinear.nn.swap_linears(want, "row-u8", select=lambda name, _: name == "down")
        assert torch.equal(y, want(x) + tied.up.weight.sum())
        # Not weights: both factors are values.
        free = compiled(torch.nn.functional.linear)
        assert torch.equal(free(x, x), torch.nn.functional.linear(x, x))
        # Frozen weights have gradients of x, as swapped layers have.
    frozen = Block(7).requires_grad_(False)
    x.requires_grad_()
    compiled(frozen)(x).square().sum().backward()
    have, x.grad = x.grad, None
    swapped(frozen)(x).square().sum().backward()
    torch.testing.assert_close(have, x.grad)


def test_options():
    model, x = Block(8), torch.randn(3, 64)
    chosen = compiled(model, select=lambda w: w.shape == (96, 64))
    want = copy.deepcopy(model)
    qlinear.nn.swap_linears(want, "row-u8", select=lambda name, _: name == "up")
    assert torch.equal(quiet(chosen, x), quiet(want, x))
    for options, message in (
        ({"encodings": 1}, "unknown options"),
        ({"activations": "int4"}, "activations is 'int4'"),
        ({"encoding": "row"}, "unknown encoding 'row'; known are auto, "),
    ):
        with pytest.raises(Exception, match=message):
            quiet(compiled(model, **options), x)
    with pytest.raises(Exception, match="mode='max-autotune' is inductor's"):
        torch.compile(model, backend="qlinear", mode="max-autotune")(x)
