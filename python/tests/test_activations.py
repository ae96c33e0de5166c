# ===- test_activations.py - What layers multiply their weights with -*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""activations="float": against float64, what keeps the choice, and what says it."""

import copy
import functools
import io
import json
import os
import pickle
import re

import layers
import pytest
import qlinear
import reference

torch = pytest.importorskip("torch")
import decoder  # noqa: E402
import qlinear.nn  # noqa: E402
from qlinear.archive import PackedWeight, write_archive  # noqa: E402

NAMES = {torch.float32: "f32", torch.float16: "f16", torch.bfloat16: "bf16"}
ROW_U8, Q4_K = layers.ENCODINGS[:2]
I6, I8 = layers.ENCODINGS[5:7]
CHOICES = "'int8' .x is quantized per 32 columns. and 'float' .x is multiplied as it is. are poss"


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def float_linear(k=96, n=40, bias=True, dtype=torch.float32):
    return torch.nn.Linear(k, n, bias=bias, dtype=dtype)


def make(activations="float", encoding=ROW_U8, **options):
    linear = float_linear(**options)
    return qlinear.nn.Linear.from_float(linear, encoding, activations=activations)


def spread(shape, dtype=torch.float32):
    """Numbers whose 32 columns share a few that are a thousand times the rest: int8 keeps
    nothing of the small ones."""
    x = torch.randn(shape)
    x[..., 5::32] *= 1000
    return x.to(dtype)


@functools.cache
def values_of(packed, *about):
    return reference.dequantize(torch.frombuffer(bytearray(packed), dtype=torch.uint8), *about)


def values(layer):
    packed = layer.packed.numpy().tobytes()
    return values_of(packed, layer.encoding, layer.out_features, layer.in_features)


def errors(layer, x, y, activations=None):
    """Of y = layer(x), row by row, against float64 of the decoder of the tests."""
    n, k = layer.out_features, layer.in_features
    assert y.dtype == x.dtype and y.shape == (*x.shape[:-1], n)
    return reference.errors(
        y.detach().double().numpy().reshape(-1, n),
        x.double().numpy().reshape(-1, k),
        values(layer),
        None if layer.bias is None else layer.bias.detach().double().numpy(),
        activations or layer.activations,
    )


def assert_layer(layer, x, y, rows=None):
    """`rows` are those of the call, where x and y are some of them."""
    rows = rows or x.numel() // layer.in_features
    bound, activations = reference.definition(
        NAMES[x.dtype], layer.activations, rows, qlinear._ops._host
    )
    assert errors(layer, x, y, activations).max() <= bound


# ===------------------------------------------------------------------------===#
# Against float64
# ===------------------------------------------------------------------------===#


@pytest.mark.parametrize("device", ["cpu", "emulated"])
@pytest.mark.parametrize(
    "dtype, encoding",
    [
        (torch.float32, ROW_U8),
        (torch.float32, Q4_K),
        (torch.float32, I8),
        (torch.float16, I6),
        (torch.bfloat16, ROW_U8),
    ],
)
def test_against_float64(device, dtype, encoding):
    """K with a tail, N that fills no tile, several launches on the emulated device."""
    layer = make(encoding=encoding, k=288, n=51, dtype=dtype)
    with qlinear.nn.host_device(device):
        for shape in ((288,), (1, 288), (3, 288), (8, 288), (3, 3, 288), (2, 0, 288)):
            for x in (torch.randn(shape).to(dtype), spread(shape, dtype)):
                y = layer(x)
                if x.numel():
                    assert_layer(layer, x, y)
                else:
                    assert y.shape == (2, 0, 51)


@pytest.mark.parametrize("device", ["cpu", "emulated"])
def test_small_numbers(device):
    """Chunks that int8 takes for zero."""
    linear = float_linear(bias=False)
    with torch.no_grad():
        linear.weight *= 100
    layer = qlinear.nn.Linear.from_float(linear, ROW_U8, activations="float")
    x = torch.randn(3, 96) * 2.0**-121
    with qlinear.nn.host_device(device):
        assert_layer(layer, x, layer(x))
        layer.activations = "int8"
        assert not layer(x).any()


@pytest.mark.parametrize("device", ["cpu", "emulated"])
def test_side_by_side(device):
    """One weight, both ways: each result is its own definition's, and far from the other's."""
    floats = make()
    codes = copy.deepcopy(floats)
    codes.activations = "int8"
    assert torch.equal(floats.packed, codes.packed) and floats.activations == "float"
    x = spread((8, 96))  # of more, GPUs quantize none
    with qlinear.nn.host_device(device):
        for _ in range(2):  # the second time, of kernels that are there
            results = codes(x), floats(x)
            assert_layer(codes, x, results[0])
            assert_layer(floats, x, results[1])
    # What a kernel that quantizes would give is no result of float activations.
    assert errors(codes, x, results[0], "float").min() > 100 * reference.FLOAT_BOUND["f32"]
    assert errors(floats, x, results[1], "int8").min() > 100 * reference.BOUND["f32"]


@pytest.mark.parametrize("device", ["cpu", "emulated"])
@pytest.mark.parametrize("dtype", list(NAMES))
def test_rows_that_are_not_finite(device, dtype):
    """An infinity or a NaN makes the results of its row not finite, and no others."""
    layer = make(dtype=dtype, encoding=I6)
    x = torch.randn(11, 96).to(dtype)
    x[1, 7], x[4, 95], x[9, 0] = float("inf"), float("nan"), float("-inf")
    with qlinear.nn.host_device(device), torch.no_grad():
        y = layer(x)
        bad = torch.zeros(11, dtype=torch.bool)
        bad[[1, 4, 9]] = True
        assert not y[bad].isfinite().any() and y[~bad].isfinite().all()
        assert_layer(layer, x[~bad], y[~bad], rows=11)


def test_gradients():
    """dx = dy W, as with int8 activations; transforms know the op with its last argument."""
    layer = make()
    weight = torch.tensor(values(layer))
    layer.bias.requires_grad_()
    x = torch.randn(3, 96, requires_grad=True)
    layer(x).square().sum().backward()
    want = 2 * (x.detach().double() @ weight.T + layer.bias.detach()).detach()
    torch.testing.assert_close(x.grad.double(), want @ weight, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(layer.bias.grad.double(), want.sum(0), rtol=1e-4, atol=1e-5)
    x, func = x.detach(), torch.func
    assert torch.equal(func.vmap(layer)(x), layer(x))
    each = func.vmap(func.grad(lambda x: layer(x).square().sum()))(x)
    torch.testing.assert_close(each.double(), want @ weight, rtol=1e-4, atol=1e-5)


# ===------------------------------------------------------------------------===#
# What keeps it
# ===------------------------------------------------------------------------===#


def test_saved_and_loaded(tmp_path):
    from safetensors.torch import load_file, save_file

    layer, x = make(), spread((3, 96))
    y = layer(x)
    torch.save(layer.state_dict(), tmp_path / "state.pt")
    save_file(layer.state_dict(), tmp_path / "state.safetensors")
    for state in (
        torch.load(tmp_path / "state.pt", weights_only=True),
        load_file(tmp_path / "state.safetensors"),
    ):
        for other in (
            qlinear.nn.Linear(96, 40),
            qlinear.nn.Linear(96, 40, activations="float"),
            qlinear.nn.Linear(96, 40, encoding="f32", activations="int8"),
            make("int8"),
        ):
            other.load_state_dict(state)
            assert other.activations == "float" and torch.equal(other(x), y)
        other = qlinear.nn.Linear(96, 40, device="meta")
        other.load_state_dict(state, assign=True)
        assert other.activations == "float" and torch.equal(other(x), y)
        # Loaders that put tensors in place, without a word.
        for other in (make("int8"), qlinear.nn.Linear(96, 40)):
            other._buffers.update(packed=state["packed"], layout=state["layout"])
            other.bias = layer.bias
            assert other.activations == "float" and torch.equal(other(x), y)
    whole = io.BytesIO()
    torch.save(layer, whole)
    whole.seek(0)
    for other in (
        copy.deepcopy(layer),
        copy.copy(layer),
        pickle.loads(pickle.dumps(layer)),
        torch.load(whole, weights_only=False),
        copy.deepcopy(layer).to("cpu", torch.bfloat16).to(torch.float32),
    ):
        assert other.activations == "float"
        assert_layer(other, x, other(x))
    assert copy.deepcopy(layer).to("meta").activations == "float"


def test_older_states():
    """What was saved before there was a choice means int8, and int8 is saved as it was."""
    layer, x = make("int8"), spread((3, 96))
    old = {"version": 2, "encoding": layer.encoding, "n": 40, "k": 96}
    assert json.loads(layer.layout.numpy().tobytes()) == old
    state = layer.state_dict()
    says = json.loads(make("float").layout.numpy().tobytes())
    assert says == {**old, "activations": "float"}
    for other in (make("float"), qlinear.nn.Linear(96, 40, activations="float")):
        other.load_state_dict(state)
        assert other.activations == "int8" and torch.equal(other(x), layer(x))
    # A pickled module, without the attribute.
    pickled = copy.deepcopy(layer)
    del pickled.__dict__["_activations"]
    pickled = pickle.loads(pickle.dumps(pickled))
    assert pickled.activations == "int8" and torch.equal(pickled(x), layer(x))
    text = json.dumps({**old, "activations": "int4"}).encode()
    other = {**state, "layout": torch.frombuffer(bytearray(text), dtype=torch.uint8)}
    with pytest.raises(RuntimeError, match=f"the activations of packed is 'int4'; {CHOICES}"):
        layer.load_state_dict(other)
    assert layer.activations == "int8"


def test_set():
    layer, x = make("int8"), spread((3, 96))
    before, want = layer(x), make("float")
    want.load_state_dict({**layer.state_dict(), "layout": want.layout})
    layer.activations = "float"
    assert torch.equal(layer.layout, want.layout) and torch.equal(layer(x), want(x))
    again = qlinear.nn.Linear(96, 40)
    again.load_state_dict(layer.state_dict())
    assert again.activations == "float" and torch.equal(again(x), want(x))
    layer.activations = "int8"
    assert torch.equal(layer(x), before)
    with torch.inference_mode():
        layer.activations = "float"
    layer.load_state_dict(again.state_dict())  # in place, into what was made there
    layer(x.requires_grad_()).sum().backward()
    assert x.grad is not None
    empty = qlinear.nn.Linear(96, 40)
    empty.activations = "float"
    assert empty.activations == "float" and empty.layout.numel() == 0


def test_traced():
    """torch.compile, export and fx keep it; a graph is made anew when it changes."""
    model = torch.nn.Sequential(make("int8", n=64), torch.nn.GELU(), make("float", k=64))
    model.requires_grad_(False)
    x = spread((4, 96))
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager", dynamic=True)
    seen = []
    for choices in (("int8", "float"), ("float", "float"), ("float", "int8")):
        model[0].activations, model[2].activations = choices
        want = model(x)
        assert torch.equal(compiled(x), want)
        assert all(not torch.equal(want, other) for other in seen)
        seen.append(want)
        for strict in (False, True):
            program = torch.export.export(model, (x,), strict=strict)
            assert torch.equal(program.module()(x), want)
            file = io.BytesIO()
            torch.export.save(program, file)
            file.seek(0)
            assert torch.equal(torch.export.load(file).module()(x), want)
        assert torch.equal(torch.fx.symbolic_trace(model)(x), want)
    # The first call after a loader may be one that traces.
    for layout in (make("float").layout, make("int8").layout):
        layer = make("int8")
        layer._buffers["layout"] = layout.clone()
        traced = torch.compile(layer, fullgraph=True, backend="aot_eager")
        with torch.no_grad():
            assert torch.equal(traced(x), layer(x))


@pytest.mark.parametrize("bias", [False, True])
def test_opcheck(bias):
    layer = make(bias=bias)
    arguments = torch.randn(3, 96), layer.packed, layer.bias, layer.encoding, 40
    op = torch.ops.qlinear.linear
    torch.library.opcheck(op.default, (*arguments, "float"))
    y = op(*arguments, activations="float")
    assert torch.equal(y, layer(arguments[0])) and not torch.equal(y, op(*arguments))
    assert torch.equal(op(*arguments), op(*arguments, "int8"))


# ===------------------------------------------------------------------------===#
# Whole models
# ===------------------------------------------------------------------------===#


@pytest.mark.parametrize("device", ["cpu", "emulated"])
def test_swapped_decoder(device):
    model = decoder.Decoder(blocks=1).eval()
    other = copy.deepcopy(model)
    report = qlinear.nn.swap_linears(model, "row-u8", activations="float", search=False)
    qlinear.nn.swap_linears(other, "row-u8", search=False)
    assert str(report).startswith("8 linears were packed, all with float activations: ")
    inputs = decoder.tokens(0, (2, 4))  # eight rows, of which GPUs quantize activations, too
    with qlinear.nn.host_device(device):
        qlinear.nn.prepare(model)
        assert decoder.check_layers(model, inputs) == 8
        error, allowed = decoder.check_model(model, inputs)
        assert allowed == 0 and error < 1e-5
        assert decoder.check_model(other, inputs)[0] > 100 * error
        # Half of each: prepare() and the reports tell them apart.
        for name in "qkv":
            model.blocks[0].get_submodule(name).activations = "int8"
        assert decoder.check_layers(model, inputs) == 8


def test_what_is_said(tmp_path):
    model = torch.nn.Sequential(float_linear(n=64), float_linear(k=64))
    write_archive(
        tmp_path / "packed",
        [
            PackedWeight(
                f"{i}.weight", v.encoding, v.out_features, v.in_features, "", v.packed.numpy()
            )
            for i, v in enumerate([make(n=64, encoding="bf16"), make(k=64)])
        ],
    )
    for options in ({"encoding": "bf16"}, {"archive": tmp_path / "packed"}):
        other = copy.deepcopy(model)
        report = qlinear.nn.swap_linears(other, **options, activations="float")
        assert [layer.activations for layer in other] == ["float", "float"]
        bits = f"{other[0].bits_per_weight:.2f} bits per weight"
        assert str(report[0]) == f"0: {bits}, float activations"
    assert "activations=float, " in repr(other[0])
    other[0].activations = "int8"
    assert str(report[0]) == f"0: {bits}"
    assert str(report).startswith("2 linears were packed, 1 with float activations: ")
    assert [shape[4] for shape in qlinear.nn.shapes(other)] == ["int8", "float"]
    # Empty layers take it from the checkpoint, one by one.
    for empty in (True, other.state_dict()):
        again = copy.deepcopy(model)
        report = qlinear.nn.swap_linears(again, empty=empty)
        if empty is not True:  # it has said so already
            assert [layer.activations for layer in again] == ["int8", "float"]
            assert "packed, 1 with float activations" in str(report)
        again.load_state_dict(other.state_dict())
        assert [layer.activations for layer in again] == ["int8", "float"]
        x = spread((2, 96))
        assert torch.equal(again(x), other(x))
    one = qlinear.nn.Linear.from_packed(tmp_path / "packed", "0", activations="float")
    assert one.activations == "float" and one.bias is None
    assert_layer(one, x, one(x))
    with pytest.raises(qlinear.ArgumentError, match="activations='float' says nothing of layers t"):
        qlinear.nn.swap_linears(model, empty=True, activations="float")
    assert type(model[0]) is torch.nn.Linear


def test_kernels_of_their_own(tmp_path, monkeypatch):
    """prepare() makes what the layer calls; the error of a kernel that is missing says which."""
    monkeypatch.setenv("QLINEAR_CACHE", str(tmp_path))
    layer = make(k=64, n=48, bias=False)
    codes = copy.deepcopy(layer)
    codes.activations = "int8"
    home, path, x = os.environ["QLINEAR_HOME"], os.environ["PATH"], torch.randn(2, 64)
    qlinear.nn.prepare(codes, targets=["cuda:emulated"])
    assert len(list(tmp_path.glob("*.so"))) == 1
    monkeypatch.setenv("QLINEAR_HOME", str(tmp_path / "empty"))
    monkeypatch.setenv("PATH", "/nonexistent")
    with qlinear.nn.host_device("emulated:3"):
        assert_layer(codes, x, codes(x))
        with pytest.raises(
            qlinear.Error, match="with activations in f32, multiplied as floats, on cuda:emulated"
        ) as caught:
            layer(x)
        monkeypatch.setenv("QLINEAR_HOME", home)
        monkeypatch.setenv("PATH", path)
        eval(re.search(r"(qlinear.nn.prepare\(.*?targets=\['.*?'\]\))", str(caught.value))[1])
        assert len(list(tmp_path.glob("*.so"))) == 2
        monkeypatch.setenv("QLINEAR_HOME", str(tmp_path / "empty"))
        monkeypatch.setenv("PATH", "/nonexistent")
        assert_layer(layer, x, layer(x))
    monkeypatch.setenv("QLINEAR_HOME", home)
    monkeypatch.setenv("PATH", path)
    shapes = json.loads(json.dumps(qlinear.nn.shapes(layer)))
    assert shapes == [[layer.encoding, 48, 64, None, "float"]]
    qlinear.nn.prepare(shapes, targets=["cuda:emulated"])  # it is there
    assert len(list(tmp_path.glob("*.so"))) == 2
    # The kernel of gradients is one for both, that of int8.
    qlinear.nn.prepare(shapes, targets=["cuda:emulated"], backward=True)
    assert len(list(tmp_path.glob("*.so"))) == 2
    monkeypatch.setenv("QLINEAR_CACHE", str(tmp_path / "gradients"))
    qlinear.nn.prepare(shapes, targets=["cuda:emulated"], backward=True)
    monkeypatch.setenv("QLINEAR_HOME", str(tmp_path / "empty"))
    monkeypatch.setenv("PATH", "/nonexistent")
    with qlinear.nn.host_device("emulated:2"):
        layer(x.requires_grad_()).sum().backward()
    assert x.grad is not None


def test_errors(tmp_path):
    layer, linear = make(), float_linear()
    write_archive(
        tmp_path / "packed", [PackedWeight("fc", layer.encoding, 40, 96, "", layer.packed.numpy())]
    )
    op, x = torch.ops.qlinear.linear, torch.randn(2, 96)

    def assign():
        layer.activations = "fp8"

    for call in (
        lambda: qlinear.nn.Linear(96, 40, activations="fp8"),
        lambda: qlinear.nn.Linear.from_float(linear, activations="fp8"),
        lambda: qlinear.nn.Linear.from_packed(tmp_path / "packed", "fc", activations="fp8"),
        lambda: qlinear.nn.swap_linears(torch.nn.Sequential(linear), activations="fp8"),
        lambda: qlinear.nn.prepare([(ROW_U8, 40, 96, None, "fp8")], targets="cpu:portable"),
        lambda: op(x.to("meta"), layer.packed.to("meta"), None, layer.encoding, 40, "fp8"),
        assign,
    ):
        with pytest.raises(qlinear.ArgumentError, match=f"activations is 'fp8'; {CHOICES}"):
            call()
    with pytest.raises(RuntimeError, match=f"activations is 'fp8'; {CHOICES}"):  # of C++
        op(x, layer.packed, None, layer.encoding, 40, "fp8")
    assert layer.activations == "float"


def test_of_transformers(tmp_path):
    transformers = pytest.importorskip("transformers", "4.50")
    import qlinear.transformers
    from test_models import logits, model_of

    model = model_of()
    model.save_pretrained(tmp_path / "floats")
    options = {"encoding": "row-u8", "search": False, "activations": "float"}
    load = transformers.AutoModelForCausalLM.from_pretrained
    config = qlinear.transformers.QLinearConfig(**options)
    packed = load(tmp_path / "floats", quantization_config=config)
    qlinear.nn.swap_linears(model, **options)
    assert torch.equal(logits(packed), logits(model))
    model.save_pretrained(tmp_path / "packed")
    again = load(tmp_path / "packed")
    found = [v.activations for v in again.modules() if isinstance(v, qlinear.nn.Linear)]
    assert len(found) > 6 and set(found) == {"float"}
    assert torch.equal(logits(again), logits(model))


def test_compile_takes_it():
    """qlinear.compile(activations=): of linears that do not say it themselves."""
    text = layers.linear("linear", "w", ROW_U8, 40, 96, x="f32")
    said = text.replace("%x, %w :", "%x, %w {activations = #qlinear.activation_format<int8>} :")
    packed = make().packed.numpy()
    weight = reference.dequantize(packed, ROW_U8, 40, 96)
    x = spread((3, 96)).numpy()
    for source, option, activations in (
        (text, "float", "float"),
        (text, "int8", "int8"),
        (text, None, "int8"),
        (said.replace("<int8>", "<int8, block = 32>"), "float", "int8"),
        (said.replace("<int8>", "<float>"), None, "float"),
    ):
        artifact = qlinear.compile(source, qlinear.device("cpu").target, activations=option)
        y = qlinear.load(artifact, {"w": packed}).linear(x)
        reference.assert_linear(y, x, weight, activations=activations)
        other = "int8" if activations == "float" else "float"
        assert reference.errors(y, x, weight, activations=other).min() > 1e-3
    with pytest.raises(qlinear.CompileError, match="fp8.*int8.*float"):
        qlinear.compile(text, "cpu:portable", activations="fp8")
