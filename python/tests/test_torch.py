# ===- test_torch.py - qlinear.nn and torch tensors ----------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
import concurrent.futures
import copy
import json
import os
import pathlib
import pickle
import re

import layers
import numpy as np
import pytest
import qlinear
import reference

torch = pytest.importorskip("torch")
import decoder  # noqa: E402
import qlinear.nn  # noqa: E402
from qlinear.archive import PackedWeight, write_archive  # noqa: E402

DEVICES = ["cpu", "emulated"]
DTYPES = [torch.float32, torch.float16, torch.bfloat16]
NAMES = {torch.float32: "f32", torch.float16: "f16", torch.bfloat16: "bf16"}
ROW_U8 = layers.ENCODINGS[0]


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def float_linear(k=96, n=40, bias=True, dtype=torch.float32):
    return torch.nn.Linear(k, n, bias=bias, dtype=dtype)


def packed_values(layer):
    """By the decoder of the tests."""
    return reference.dequantize(
        layer.packed.cpu().numpy(), layer.encoding, layer.out_features, layer.in_features
    )


def packed_weight(layer, name="fc.weight"):
    n, k = layer.out_features, layer.in_features
    return PackedWeight(name, layer.encoding, n, k, "", layer.packed.numpy())


def assert_layer(layer, x, y):
    """y = layer(x), against float64."""
    bias = None if layer.bias is None else layer.bias.detach().double().numpy()
    assert y.dtype == x.dtype and y.shape == (*x.shape[:-1], layer.out_features)
    k = layer.in_features
    reference.assert_linear(
        y.detach().double().numpy().reshape(-1, layer.out_features),
        x.float().numpy().reshape(-1, k),
        packed_values(layer),
        bias,
        NAMES[x.dtype],
        device=qlinear._ops._host,
    )


# ===------------------------------------------------------------------------===#
# Compiled functions on tensors
# ===------------------------------------------------------------------------===#


def test_functions_on_tensors(tmp_path):
    archive = layers.pack(tmp_path, layers.MIXED_WEIGHTS)
    module = qlinear.load(layers.compiled(layers.MIXED, "cpu"), archive)
    x = torch.randn(5, 96, dtype=torch.float16)
    results = module.qkv(x)
    assert [y.dtype for y in results] == [torch.float16, torch.float32, torch.bfloat16]
    for have, want in zip(results, module.qkv(x.numpy())):
        np.testing.assert_array_equal(have.float().numpy(), want.astype(np.float32))
    # Mixed: a numpy bias, and a result that is written where it is asked for.
    x, res = torch.randn(3, 96).bfloat16(), torch.randn(3, 40).bfloat16()
    out = torch.empty(3, 40)
    assert module.gated(x, np.zeros(40, np.float32), res, out=out) is out
    assert torch.equal(out, module.gated(x, torch.zeros(40), res))
    with pytest.raises(qlinear.ArgumentError, match="input 0 of 'qkv' is bf16.*compiled for f16"):
        module.qkv(x)
    with pytest.raises(qlinear.ArgumentError, match="requires a gradient.*x.detach"):
        module.one(torch.randn(1, 96, requires_grad=True))
    with pytest.raises(
        qlinear.ArgumentError, match="input 0 of 'one' is a torch.strided tensor on m"
    ):
        module.one(torch.randn(1, 96, device="meta"))
    with pytest.raises(qlinear.ArgumentError, match="input 0 of 'one' is not contiguous"):
        module.one(torch.randn(1, 192)[:, ::2])


# ===------------------------------------------------------------------------===#
# nn.Linear
# ===------------------------------------------------------------------------===#


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_from_float(device, dtype):
    linear = float_linear(dtype=dtype)
    layer = qlinear.nn.Linear.from_float(linear, "row-u8")
    with qlinear.nn.host_device(device):
        for shape in ((96,), (1, 96), (3, 96), (2, 5, 96), (2, 0, 96)):
            x = torch.randn(shape, dtype=dtype)
            assert_layer(layer, x, layer(x))
        # Strides and addresses that kernels do not take are copied.
        for x in (torch.randn(96, 4).T, torch.randn(4, 192)[:, ::2], torch.randn(97)[1:]):
            assert_layer(layer, x.to(dtype), layer(x.to(dtype)))


def test_quantization_follows_the_options():
    linear = float_linear(k=256)
    cases = [
        ({}, r"u4, group = 32, zero, "),
        ({"encoding": "row-u8"}, r"u4, group = 32, zero, scale = u8 \* row<bf16>"),
        ({"encoding": "bf16", "bits": 6, "group": 16}, r"i6, group = 16, symmetric, scale = bf16$"),
        (
            {"encoding": "f16", "bits": 5, "group": "row", "form": "min"},
            "u5, group = row, min, scale = f16, offset = f16",
        ),
        (
            {"encoding": "u4, group = 64, centred, scale = bf16, offset = bf16"},
            "u4, group = 64, centred, scale = bf16, offset = bf16",
        ),
    ]
    weight = linear.weight.detach().double().numpy()
    for options, encoding in cases:
        layer = qlinear.nn.Linear.from_float(linear, **options)
        assert re.match(encoding, layer.encoding), layer.encoding
        values = packed_values(layer)
        error = np.linalg.norm(values - weight) / np.linalg.norm(weight)
        assert error < {4: 0.12, 5: 0.09, 6: 0.03}[options.get("bits", 4)]
        np.testing.assert_array_equal(layer.dequantize().numpy(), values.astype(np.float32))
        assert layer.bits_per_weight == pytest.approx(layer.report["bpw_after"])
    coarse = qlinear.nn.Linear.from_float(linear, search=False).report["float_snr_db"]
    assert coarse < qlinear.nn.Linear.from_float(linear).report["float_snr_db"]


def test_from_packed(tmp_path):
    linear, other = float_linear(bias=True), float_linear(bias=False)
    from qlinear.archive import write_tensors

    tensors = {"fc.weight": linear.weight, "fc.bias": linear.bias, "head.weight": other.weight}
    write_tensors(
        tmp_path / "floats",
        {k: ("F32", tuple(v.shape), v.detach().numpy()) for k, v in tensors.items()},
    )
    qlinear.pack(tmp_path / "floats", tmp_path / "packed", quantize="int4:32", encoding="row-u8")
    fc = qlinear.nn.Linear.from_packed(tmp_path / "packed", "fc", dtype=torch.bfloat16)
    same = qlinear.nn.Linear.from_float(linear, "row-u8")
    assert torch.equal(fc.packed, same.packed) and fc.encoding == same.encoding
    assert fc.bias.dtype == torch.bfloat16
    archive = qlinear.Archive(tmp_path / "packed")
    head = qlinear.nn.Linear.from_packed(archive, "head.weight")
    assert head.bias is None
    x = torch.randn(4, 96)
    assert_layer(head, x, head(x))
    with pytest.raises(qlinear.Error, match="no weight 'body'; it has 2: fc.weight, head.weight"):
        qlinear.nn.Linear.from_packed(archive, "body")
    with pytest.raises(qlinear.ArgumentError, match=r"bias has the shape \(3,\).*has 40 outputs"):
        qlinear.nn.Linear.from_packed(archive, "fc", bias=torch.zeros(3))


def test_state_dict(tmp_path):
    layer = qlinear.nn.Linear.from_float(float_linear(), "auto")
    x = torch.randn(3, 96)
    y = layer(x)
    torch.save(layer.state_dict(), tmp_path / "state.pt")
    # Into an empty layer, into one of another encoding, and assigned from a mapped file.
    for other, options in (
        (qlinear.nn.Linear(96, 40), {}),
        (qlinear.nn.Linear.from_float(float_linear(), "f32", bits=8), {}),
        (qlinear.nn.Linear(96, 40, device="meta"), {"assign": True}),
    ):
        state = torch.load(tmp_path / "state.pt", weights_only=True, mmap=bool(options))
        other.load_state_dict(state, **options)
        assert other.encoding == layer.encoding
        assert torch.equal(other(x), y)
    from safetensors.torch import load_file, save_file

    save_file(layer.state_dict(), tmp_path / "state.safetensors")
    other = qlinear.nn.Linear(96, 40)
    other.load_state_dict(load_file(tmp_path / "state.safetensors"), assign=True)
    assert torch.equal(other(x), y)
    clone = copy.deepcopy(layer)
    assert torch.equal(clone(x), y) and clone.packed.data_ptr() != layer.packed.data_ptr()
    with pytest.raises(RuntimeError, match=r"packed is a 40 x 96 weight, but the layer is 40 x 64"):
        qlinear.nn.Linear(64, 40).load_state_dict(layer.state_dict())
    with pytest.raises(RuntimeError, match="weight is a float weight, but the layer is packed"):
        layer.load_state_dict(float_linear().state_dict())
    with pytest.raises(RuntimeError, match="Missing key.*packed.*layout"):
        layer.load_state_dict({"bias": layer.bias})


def test_state_dicts_that_disagree():
    """What says how to read the bytes comes with them, or nothing is taken."""
    layer = qlinear.nn.Linear.from_float(float_linear(), "bf16")
    other = qlinear.nn.Linear.from_float(float_linear(), "f16")
    assert layer.packed.shape == other.packed.shape  # only the layout tells them apart
    x = torch.randn(2, 96)
    y = other(x)
    state = layer.state_dict()
    for name in ("packed", "layout"):
        part = {key: value for key, value in state.items() if key != name}
        with pytest.raises(RuntimeError, match=f"and no {name}: one says how to read the other"):
            other.load_state_dict(part, strict=False)
    text = b'{"version": 1, "n": 40, "k": 96, "encoding": ""}'
    old = {**state, "layout": torch.frombuffer(bytearray(text), dtype=torch.uint8)}
    with pytest.raises(RuntimeError, match="packed has version 1 of the layout.*reads 2; pack"):
        other.load_state_dict(old)
    with pytest.raises(RuntimeError, match="packed has a layout that is no text of qlinear"):
        other.load_state_dict({**state, "layout": torch.zeros(7, dtype=torch.uint8)})
    for key in ("packed", "layout"):
        for dtype in (torch.bfloat16, torch.float32, torch.int8):
            cast = {**state, key: state[key].to(dtype)}
            with pytest.raises(RuntimeError, match=f"{key} is {dtype}, and a packed.*torch.uint8"):
                other.load_state_dict(cast)
    with pytest.raises(qlinear.Error, match="0.layout is torch.bfloat16, and a packed layer"):
        model = torch.nn.Sequential(float_linear())
        cast = {f"0.{key}": value.bfloat16() for key, value in state.items()}
        qlinear.nn.swap_linears(model, empty=cast)
    assert torch.equal(other(x), y)
    # Loaders that put tensors in place, without a word.
    for key, value in state.items():
        (other._parameters if key == "bias" else other._buffers)[key] = value.clone()
    other.bias = torch.nn.Parameter(other.bias)
    assert other.encoding == layer.encoding and torch.equal(other(x), layer(x))
    wrong = qlinear.nn.Linear(64, 40)
    wrong._buffers.update(packed=layer.packed, layout=layer.layout)
    with pytest.raises(qlinear.Error, match="the packed weight is a 40 x 96 weight, but the layer"):
        wrong(torch.randn(2, 64))


def test_weights_at_any_address():
    """As loaders that map a file place them."""
    layer = qlinear.nn.Linear.from_float(float_linear(k=288, n=51), "row-u8")
    x = torch.randn(3, 288)
    want = layer(x)
    memory = torch.empty(layer.packed.numel() + 64, dtype=torch.uint8)
    for offset in (1, 4, 8, 16, 32, 63):
        moved = memory[offset : offset + layer.packed.numel()]
        moved.copy_(layer.packed)
        state = {**layer.state_dict(), "packed": moved}
        other = qlinear.nn.Linear(288, 51)
        other.load_state_dict(state, assign=True)
        assert other.packed.data_ptr() == moved.data_ptr() and moved.data_ptr() % 64 == offset
        assert torch.equal(other(x), want)
    with qlinear.nn.host_device("emulated"):
        with pytest.warns(UserWarning, match="emulated reads it at a multiple of 64.*once"):
            y = other(x)
        assert torch.equal(y, layer(x))
    strided = torch.stack([layer.packed, layer.packed], 1)[:, 0]
    y = torch.ops.qlinear.linear(x, strided, layer.bias, layer.encoding, 51)
    assert torch.equal(y, want)


def test_moves_and_types():
    layer = qlinear.nn.Linear.from_float(float_linear()).half()
    assert layer.bias.dtype == torch.float16 and layer.packed.dtype == torch.uint8
    x = torch.randn(2, 96)
    assert_layer(layer, x, layer(x))  # the type of x decides
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    assert repr(layer) == (
        "Linear(in_features=96, out_features=40, bias=True, "
        f"encoding=<{layer.encoding}>, activations=int8, "
        f"{layer.bits_per_weight:.4g} bits per weight)"
    )
    traced = torch.fx.symbolic_trace(torch.nn.Sequential(layer))
    assert torch.equal(traced(x), layer(x))
    assert layer.to("meta")(x.to("meta")).device.type == "meta"


def test_in_the_place_of_nn_linear():
    for bias in (True, False):
        linear = float_linear(bias=bias)
        layer = qlinear.nn.Linear.from_float(linear, "row-u8")
        x = torch.randn(2, 3, 1, 96)
        assert torch.equal(layer(input=x), layer(x))
        assert set(layer._parameters) == {"bias"} and (layer.bias is None) == (not bias)
    # A weight that would change nothing.
    for value in (linear.weight, linear.weight.detach()):
        with pytest.raises(AttributeError, match="takes no 'weight'.*put an nn.Linear in its pl"):
            layer.weight = value
    assert not hasattr(layer, "weight")
    pickled = pickle.loads(pickle.dumps(layer))
    assert torch.equal(pickled(x), layer(x)) and pickled.encoding == layer.encoding
    # What autocast does not cast.
    with torch.autocast("cpu", torch.bfloat16):
        for other in (x.double(), x.int()):
            with pytest.raises(qlinear.ArgumentError, match="x is torch.(float64|int32); float32,"):
                layer(other)


def test_default_device(tmp_path):
    """Bytes are of the CPU, whatever torch makes tensors on."""
    linear = float_linear()
    want = qlinear.nn.Linear.from_float(linear, "row-u8")
    write_archive(tmp_path / "packed", [packed_weight(want)])
    empty = torch.nn.Sequential(float_linear())
    with torch.device("meta"):
        made = qlinear.nn.Linear.from_float(linear, "row-u8")
        read = qlinear.nn.Linear.from_packed(tmp_path / "packed", "fc", bias=linear.bias)
        state = {f"0.{key}": value for key, value in want.state_dict().items()}
        qlinear.nn.swap_linears(empty, empty=state)
        empty.load_state_dict(state)
        floats = want.dequantize()
        assert qlinear.nn.Linear(96, 40).packed.is_meta
    x = torch.randn(3, 96)
    for layer in (made, read, empty[0]):
        assert torch.equal(layer(x), want(x))
    assert torch.equal(floats, want.dequantize())


def test_errors():
    layer = qlinear.nn.Linear.from_float(float_linear())
    x = torch.randn(2, 96)
    op = torch.ops.qlinear.linear
    of_ops = [
        (
            lambda: op(x, layer.packed[:-1], None, layer.encoding, 40),
            r"has \d+ bytes, but .*40 ?x ?96.* as <u4.*> has \d+",
        ),
        (lambda: op(x, layer.packed.float(), None, layer.encoding, 40), "a packed weight is a vec"),
        (
            lambda: op(x, layer.packed, torch.zeros(3), layer.encoding, 40),
            r"bias has the shape \(3,\), not \(40,\)",
        ),
        (
            lambda: op(x, layer.packed.to("meta"), None, layer.encoding, 40),
            r"x is on cpu, but packed is on meta; move one of them with .to\('cpu'\)",
        ),
        (lambda: op(x, layer.packed, None, "u4, group = 31", 40), "group"),
    ]
    cases = [
        (
            lambda: layer(torch.randn(2, 95)),
            r"x has the shape \(2, 95\), but the layer takes \(..., 96\)",
        ),
        (lambda: layer(x.double()), "x is torch.float64; float32, float16 and bfloat16 are possi"),
        (lambda: layer(x.sum()), r"x has the shape \(\), but the layer takes \(..., 96"),
        (lambda: layer(x.to_sparse()), "x is torch.sparse_coo, but the layer takes dense tensors"),
        (
            lambda: layer(torch.nested.nested_tensor([x, x[:1]], layout=torch.jagged)),
            r"x is nested, but .*dense tensors; pass x.to_dense\(\), or the values\(\)",
        ),
        (
            lambda: torch.func.vmap(
                lambda state: torch.func.functional_call(layer, state, (x,)), randomness="error"
            )(torch.func.stack_module_state([layer, layer])[1]),
            "layout is batched by vmap, and an encoding is of one layer",
        ),
        (lambda: qlinear.nn.Linear(96, 40)(x), "the layer is empty; fill it with load_state_dict"),
        (
            lambda: qlinear.nn.Linear.from_float(float_linear(k=100)),
            "100.*multiple of the group|group.*100",
        ),
        (
            lambda: qlinear.nn.Linear.from_float(float_linear(), "row-u9"),
            "unknown encoding 'row-u9'; known are auto, lossless, .*did you mean 'row-u8'",
        ),
        (lambda: qlinear.nn.swap_linears(float_linear()), "the model is itself a Linear"),
        (
            lambda: qlinear.nn.Linear.from_float(float_linear(dtype=torch.float64)),
            "is a torch.float64 tensor of 2 dimensions",
        ),
    ]
    for call, message in cases:
        with pytest.raises(qlinear.Error, match=message):
            call()
    for call, message in of_ops:  # C++ has no exceptions of this package
        with pytest.raises(RuntimeError, match=message):
            call()
    with pytest.raises(AttributeError, match="its weight is packed; use 'packed'"):
        _ = layer.weight
    with pytest.raises(AttributeError, match="nonsense"):
        _ = layer.nonsense


# ===------------------------------------------------------------------------===#
# The op, torch.compile, threads
# ===------------------------------------------------------------------------===#


@pytest.mark.parametrize("bias", [False, True])
def test_opcheck(bias):
    layer = qlinear.nn.Linear.from_float(float_linear(bias=bias))
    for shape in ((3, 96), (2, 2, 96)):
        torch.library.opcheck(
            torch.ops.qlinear.linear.default,
            (torch.randn(shape), layer.packed, layer.bias, layer.encoding, 40),
        )


def test_compile_without_graph_breaks():
    model = torch.nn.Sequential(float_linear(n=64), torch.nn.GELU(), float_linear(k=64))
    qlinear.nn.swap_linears(model, "row-u8")
    model.requires_grad_(False)
    x = torch.randn(4, 96)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager", dynamic=True)
    for rows in (4, 1, 7):
        x = torch.randn(rows, 96)
        torch.testing.assert_close(compiled(x), model(x))
    exported = torch.export.export(model, (x,))
    assert "torch.ops.qlinear.linear.default" in exported.graph_module.code
    torch.testing.assert_close(exported.module()(x), model(x))


def test_traced_after_a_loader():
    """Loaders set buffers without a word; the first call may be one that traces."""
    layer = qlinear.nn.Linear.from_float(float_linear(), "bf16")
    other = qlinear.nn.Linear.from_float(float_linear(), "f16")  # as many bytes
    x = torch.randn(2, 96)

    def filled(into):
        into._buffers.update({key: layer._buffers[key].clone() for key in ("packed", "layout")})
        into.bias = layer.bias
        return into

    for into in (qlinear.nn.Linear(96, 40), copy.deepcopy(other)):
        compiled = torch.compile(filled(into), fullgraph=True, backend="aot_eager")
        assert torch.equal(compiled(x), layer(x))
        into.load_state_dict(other.state_dict())
        assert torch.equal(compiled(x), other(x))
    into = filled(copy.deepcopy(other))
    with pytest.raises(qlinear.Error, match="put in place by a loader.*prepare.*before the export"):
        torch.export.export(into, (x,), strict=False)
    qlinear.nn.prepare(into)
    for strict in (False, True):
        program = torch.export.export(into, (x,), strict=strict)
        assert torch.equal(program.module()(x), layer(x))


def test_export_with_dynamic_shapes():
    model = torch.nn.Sequential(float_linear(n=64), torch.nn.GELU(), float_linear(k=64))
    qlinear.nn.swap_linears(model, "row-u8")
    model.requires_grad_(False)
    dims = {0: torch.export.Dim("batch"), 1: torch.export.Dim("tokens")}
    program = torch.export.export(model, (torch.randn(4, 7, 96),), dynamic_shapes=(dims,))
    for shape in ((1, 1), (2, 9), (5, 3)):
        x = torch.randn(*shape, 96)
        assert torch.equal(program.module()(x), model(x))


def test_threads():
    model = decoder.Decoder(blocks=1).eval()
    qlinear.nn.swap_linears(model, "row-u8")
    inputs = [decoder.tokens(i, (1, 3 + i)) for i in range(8)]
    with torch.no_grad():
        want = [model(x) for x in inputs]

        def work(i):
            with torch.no_grad():
                return all(torch.equal(model(inputs[i]), want[i]) for _ in range(3))

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            assert all(pool.map(work, range(8)))


# ===------------------------------------------------------------------------===#
# Whole models
# ===------------------------------------------------------------------------===#


@pytest.mark.parametrize("device", DEVICES)
def test_swapped_decoder(device):
    model = decoder.Decoder(blocks=1).eval()
    swaps = qlinear.nn.swap_linears(model, "row-u8", select=lambda name, layer: name != "head")
    packed = [s for s in swaps if s.layer is not None]
    assert {s.name for s in packed} == {f"blocks.0.{n}" for n in "q k v o gate up down".split()}
    assert all(s.layer.report["encoding_name"] == "row-u8" for s in packed)
    assert {s.name: s.reason for s in swaps if s.layer is None} == {
        "embed": "a 300 x 256 parameter of Embedding, which is no nn.Linear",
        "head": "select() leaves it out",
    }
    assert type(model.head) is torch.nn.Linear
    inputs = decoder.tokens(0, (2, 5))
    with qlinear.nn.host_device(device):
        qlinear.nn.prepare(model)
        assert decoder.check_layers(model, inputs) == 7
        decoder.check_model(model, inputs)


def test_swap_from_archive_and_empty(tmp_path):
    model = decoder.Decoder(blocks=1).eval()
    from safetensors.torch import save_file

    save_file(model.state_dict(), tmp_path / "floats.safetensors")
    qlinear.pack(
        tmp_path / "floats.safetensors",
        tmp_path / "packed.safetensors",
        quantize="int4:32",
        encoding="row-u8",
    )
    packed, swapped = copy.deepcopy(model), copy.deepcopy(model)
    qlinear.nn.swap_linears(packed, archive=tmp_path / "packed.safetensors")
    qlinear.nn.swap_linears(swapped, "row-u8", head_bits=4)
    inputs = decoder.tokens(1, (1, 4))
    with torch.no_grad():
        assert torch.equal(packed(inputs), swapped(inputs))
        restored = decoder.Decoder(blocks=1).eval()
        qlinear.nn.swap_linears(restored, empty=True)
        restored.load_state_dict(swapped.state_dict())
        assert torch.equal(restored(inputs), swapped(inputs))
    with pytest.raises(qlinear.Error, match="has no weight 'x.blocks.0.q'"):
        qlinear.nn.swap_linears(
            model, archive=tmp_path / "packed.safetensors", names=lambda name: f"x.{name}"
        )


def test_prepare_for_another_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("QLINEAR_CACHE", str(tmp_path))
    model = torch.nn.Sequential(float_linear(dtype=torch.bfloat16))
    qlinear.nn.swap_linears(model, "row-u8")
    qlinear.nn.prepare(model, targets=["cuda:emulated"])
    (artifact,) = tmp_path.glob("*.so")
    assert qlinear.Artifact(artifact).targets == ["cuda:emulated"]
    # There, without a compiler.
    monkeypatch.setenv("QLINEAR_HOME", str(tmp_path / "empty"))
    monkeypatch.setenv("PATH", "/nonexistent")
    x = torch.randn(2, 96, dtype=torch.bfloat16)
    with qlinear.nn.host_device("emulated:1"):
        assert_layer(model[0], x, model(x))


def test_a_kernel_that_is_missing(tmp_path, monkeypatch):
    """The error says which, and how to make it elsewhere; as it says, it works."""
    model = torch.nn.Sequential(float_linear(k=64, n=48), float_linear(k=48, n=80, bias=False))
    qlinear.nn.swap_linears(model, "row-u8", group=16)
    shapes = qlinear.nn.shapes(model)
    assert shapes == [
        (model[0].encoding, 48, 64, "f32", "int8"),
        (model[1].encoding, 80, 48, None, "int8"),
    ]
    home, path = os.environ["QLINEAR_HOME"], os.environ["PATH"]
    x = torch.randn(2, 64, requires_grad=True)
    targets = []
    for step in range(3):
        monkeypatch.setenv("QLINEAR_CACHE", str(tmp_path))
        monkeypatch.setenv("QLINEAR_HOME", str(tmp_path / "empty"))
        monkeypatch.setenv("PATH", "/nonexistent")
        with pytest.raises(qlinear.Error, match="there is no kernel for a") as caught:
            model(x).sum().backward()
        text = str(caught.value)
        assert str(tmp_path) in text and "quant-compile was not found" in text
        assert ["48 x 64", "80 x 48", "48 x 64"][step] in text
        call, target = re.search(r"(qlinear.nn.prepare\(.*?targets=\['(.*?)'\]\))", text).groups()
        targets.append(target)
        monkeypatch.setenv("QLINEAR_HOME", home)
        monkeypatch.setenv("PATH", path)
        eval(call)
    model(x).sum().backward()
    assert set(targets) == {qlinear.device("cpu").target}
    # All at once, from the shapes alone; "cpu" is what any CPU looks for.
    monkeypatch.setenv("QLINEAR_CACHE", str(tmp_path / "all"))
    plain = json.loads(json.dumps([shape[:4] for shape in shapes[1:]]))  # as before activations
    qlinear.nn.prepare(plain, torch.bfloat16, targets="cpu", backward=True)
    made = [qlinear.Artifact(p).targets for p in (tmp_path / "all").glob("*.so")]
    assert sorted(made) == sorted(2 * [[t] for t in qlinear.nn._instruction_sets("cpu")])


def test_page(tmp_path, monkeypatch):
    """The snippets of docs/python.md, one after the other."""
    page = pathlib.Path(__file__).resolve().parents[2] / "docs" / "python.md"
    section = page.read_text().split("\n## PyTorch\n")[1].split("\n## ")[0]
    snippets = re.findall(r"^```python\n(.*?)^```$", section, re.M | re.S)
    assert len(snippets) >= 7
    monkeypatch.chdir(tmp_path)
    names = {}
    for snippet in snippets:
        exec(compile(snippet, str(page), "exec"), names)
    assert not isinstance(names["decoder"]["head"], torch.nn.Linear)


@pytest.mark.parametrize("device", DEVICES)
def test_batch_invariant(device):
    layer = qlinear.nn.Linear.from_float(float_linear(k=800))
    x = torch.randn(40, 800)
    with qlinear.nn.host_device(device):
        alone = [layer(row) for row in x]
        qlinear.nn.set_batch_invariant()
        try:
            y = layer(x)
            assert_layer(layer, x, y)
            for rows in (1, 2, 8, 9, 33):
                assert torch.equal(layer(x[:rows]), y[:rows])
            assert torch.equal(layer(x.flip(0)), y.flip(0))
        finally:
            qlinear.nn.set_batch_invariant(False)
        # The fastest kernels for a row are others.
        assert not torch.equal(torch.stack(alone), y)
        assert torch.equal(layer(x[0]), alone[0])
