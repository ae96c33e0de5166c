# ===- test_torchao.py - Tensors of torchao on compiled kernels ------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
import warnings

import pytest
import torch
from torch import nn

pytest.importorskip("torchao")
import qlinear  # noqa: E402
import qlinear.torchao  # noqa: E402
from torchao.quantization import (  # noqa: E402
    Int4Tensor,
    Int8WeightOnlyConfig,
    IntxWeightOnlyConfig,
    PerGroup,
    PerRow,
    quantize_,
)

N, K, GROUP = 48, 128, 32


@pytest.fixture(autouse=True)
def restored():
    yield
    qlinear.torchao.disable()


def int4_tensor(seed, dtype=torch.bfloat16):
    """torchao quantizes these on devices only: codes from -8 on, times a scale, plus a zero point.
    Returns the tensor, and in float64 what it means."""
    g = torch.Generator().manual_seed(seed)
    q = torch.randint(-8, 8, (N, K), generator=g)
    packed = ((q[:, 1::2] << 4) | (q[:, ::2] & 15)).to(torch.int8)
    s = (torch.rand(K // GROUP, N, generator=g) * 0.01 + 0.001).to(dtype)
    z = (torch.randn(K // GROUP, N, generator=g) * 0.05).to(dtype)
    each = lambda t: t.double().T.repeat_interleave(GROUP, 1)
    weight = Int4Tensor(packed, s, z, [1, GROUP], torch.Size((N, K)))
    return weight, q * each(s) + each(z)


def with_weight(weight, dtype):
    layer = nn.Linear(K, N, dtype=dtype)
    layer.weight = nn.Parameter(weight, requires_grad=False)
    return layer


def error(have, want):
    return ((have.double() - want).norm() / want.norm()).item()


def quiet(call, *arguments):
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("error", UserWarning)
        return call(*arguments)


CONFIGS = {
    "int4": IntxWeightOnlyConfig(weight_dtype=torch.int4, granularity=PerGroup(GROUP)),
    "int6": IntxWeightOnlyConfig(weight_dtype=torch.int6, granularity=PerGroup(GROUP)),
    "int8": Int8WeightOnlyConfig(granularity=PerRow(), version=2),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_quantized_models(name):
    """Nothing of the model changes but what computes its linears."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(K, 96), nn.ReLU(), nn.Linear(96, N, bias=False))
    quantize_(model, CONFIGS[name])
    weights = [model[i].weight for i in (0, 2)]
    first, second = (w.dequantize().double() for w in weights)
    x = torch.randn(2, 5, K)
    want = (x.double() @ first.T + model[0].bias.double()).relu() @ second.T
    theirs = quiet(model, x)
    qlinear.torchao.enable(activations="float")
    ours = quiet(model, x)
    assert ours.dtype == x.dtype and ours.shape == theirs.shape
    assert error(ours, want) < 2e-6
    assert not torch.equal(ours, theirs)  # another order of sums: these are our kernels
    qlinear.torchao.enable()
    assert 1e-4 < error(quiet(model, x), want) < 0.02  # x of 8 bits
    assert [model[i].weight for i in (0, 2)] == weights or all(
        model[i].weight is w for i, w in zip((0, 2), weights)
    )
    qlinear.torchao.disable()
    assert torch.equal(quiet(model, x), theirs)


def test_int4_tensors():
    """What torchao itself runs on some devices only."""
    weight, exact = int4_tensor(2)
    layer = with_weight(weight, torch.bfloat16)
    x = torch.randn(3, K, dtype=torch.bfloat16)
    want = x.double() @ exact.T + layer.bias.double()
    qlinear.torchao.enable(activations="float")
    assert error(quiet(layer, x), want) < 4e-3  # the result is bf16
    # Changed in place, and replaced.
    with torch.no_grad():
        layer.weight.qdata.zero_()
        offsets = weight.zero_point.double().T.repeat_interleave(GROUP, 1)
    want = x.double() @ offsets.T + layer.bias.double()
    assert error(quiet(layer, x), want) < 4e-3
    other, exact = int4_tensor(3)
    layer.weight = nn.Parameter(other, requires_grad=False)
    assert error(quiet(layer, x), x.double() @ exact.T + layer.bias.double()) < 4e-3


def test_gradients_and_compile():
    weight, exact = int4_tensor(4, torch.float32)
    layer = with_weight(weight, torch.float32)
    qlinear.torchao.enable(activations="float")
    x = torch.randn(3, K, requires_grad=True)
    layer(x).sum().backward()
    assert error(x.grad, torch.ones(3, N).double() @ exact) < 1e-2
    torch._dynamo.reset()
    compiled = torch.compile(lambda x: layer(x).relu(), backend="eager")
    assert torch.equal(quiet(compiled, x), quiet(layer, x).relu())


def test_traced_calls_are_torchaos():
    """A graph of the operations below has no place for a call of ours, and none of its fakes."""
    torch.manual_seed(6)
    model = nn.Sequential(nn.Linear(K, N))
    quantize_(model, CONFIGS["int4"])
    x = torch.randn(3, K)
    want = quiet(model, x)
    qlinear.torchao.enable()
    torch._dynamo.reset()
    assert torch.equal(quiet(torch.compile(model, backend="aot_eager"), x), want)
    assert not torch.equal(quiet(model, x), want)


def test_what_torchao_computes():
    torch.manual_seed(5)
    model = nn.Sequential(nn.Linear(K, N))
    quantize_(model, IntxWeightOnlyConfig(weight_dtype=torch.int4, granularity=PerGroup(8)))
    x = torch.randn(3, K)
    want = model(x)
    qlinear.torchao.enable()
    with pytest.warns(UserWarning, match=r"a IntxUnpackedToInt8Tensor of \(48, 128\) is computed"):
        assert torch.equal(model(x), want)
    assert torch.equal(quiet(model, x), want)  # once is enough
    with pytest.raises(qlinear.ArgumentError, match="activations is 'fp8'"):
        qlinear.torchao.enable(activations="fp8")
