# ===- test_swap.py - Which linears are swapped, and what they keep -*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
import collections
import copy
import functools
import re

import pytest
import qlinear

torch = pytest.importorskip("torch")
import qlinear.nn  # noqa: E402
from torch.nn.utils import parametrizations, prune  # noqa: E402


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


class Block(torch.nn.Module):
    """Calls two linears; more come from the tests."""

    def __init__(self, **more):
        super().__init__()
        self.first, self.second = torch.nn.Linear(64, 96), torch.nn.Linear(96, 64, bias=False)
        for name, module in more.items():
            setattr(self, name, module)

    def forward(self, x):
        return self.second(torch.relu(self.first(x)))


def swap(model, *arguments, **options):
    return qlinear.nn.swap_linears(model, *arguments, search=False, **options)


def reason(model, name, **options):
    """Why `name` stays; it does, and works as before."""
    layer = model.get_submodule(name)
    found = {s.name: s.reason for s in swap(model, **options) if s.layer is None}
    assert model.get_submodule(name) is layer
    return found[name]


# ===------------------------------------------------------------------------===#
# What stays
# ===------------------------------------------------------------------------===#


def test_shared_weights_and_readers():
    class Reads(torch.nn.Module):
        """By a method, an attribute of an attribute, and a local variable."""

        def __init__(self):
            super().__init__()
            self.wo, self.called = torch.nn.Linear(64, 64), torch.nn.Linear(64, 64)
            self.inner, self.list = Block(), torch.nn.ModuleList([Block()])

        def helper(self, x):
            return x.to(self.wo.weight.dtype)

        def unused(self):
            return self.called.weight

        def forward(self, x):
            y = torch.nn.functional.linear(self.wo(self.helper(x)), self.inner.first.weight)
            for block in self.list:
                y = torch.nn.functional.linear(y, block.second.weight)
            return self.called(y)

    class Tied(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = torch.nn.Embedding(64, 96)
            self.odd = torch.nn.Linear(100, 96)
            self.body = torch.nn.Linear(96, 96)
            self.again = self.body
            self.attention = torch.nn.MultiheadAttention(96, 4)
            self.layer = torch.nn.TransformerEncoderLayer(96, 4, 64)
            self.decoder = torch.nn.TransformerDecoderLayer(96, 4, 64)
            self.reads = Reads()
            self.head = torch.nn.Linear(96, 64, bias=False)
            self.head.weight = self.embed.weight
            # The same memory, in a parameter of its own.
            self.copy = torch.nn.Linear(96, 64, bias=False)
            self.copy.weight = torch.nn.Parameter(self.embed.weight.data)

    model = Tied()
    report = swap(model)
    reasons = {s.name: s.reason for s in report if "parameter of" not in s.reason}
    subclass = "it is a NonDynamicallyQuantizableLinear, a subclass of nn.Linear"
    assert reasons == {
        "odd": "in_features = 100 is not a multiple of the group size 32",
        "body": "",
        "attention.out_proj": subclass,
        "layer.self_attn.out_proj": subclass,
        "layer.linear1": "a TransformerEncoderLayer reads its weight",
        "layer.linear2": "a TransformerEncoderLayer reads its weight",
        "decoder.self_attn.out_proj": subclass,
        "decoder.multihead_attn.out_proj": subclass,
        "decoder.linear1": "",
        "decoder.linear2": "",
        "reads.wo": "a Reads reads its weight",
        "reads.called": "",
        "reads.inner.first": "a Reads reads its weight",
        "reads.inner.second": "a Reads reads its weight",  # by the name of a local variable
        "reads.list.0.first": "",
        "reads.list.0.second": "a Reads reads its weight",
        "head": "its weight is also embed.weight, copy.weight",
        "copy": "its weight is also embed.weight, head.weight",
    }
    assert model.again is model.body and isinstance(model.body, qlinear.nn.Linear)
    with torch.no_grad():
        model.reads(torch.randn(2, 64))
        model.decoder(torch.randn(2, 5, 96), torch.randn(2, 5, 96))


class Doubled(torch.nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


class Renamed(torch.nn.Linear):
    pass


def two_states(layer):
    layer.register_state_dict_pre_hook(lambda module, prefix, keep: None)
    return layer


def patched(layer):
    layer.forward = lambda x: torch.zeros(x.shape[0], layer.out_features)
    return layer


def compiled(layer):
    layer.compile(backend="eager")
    return layer


def with_parameter(layer, parameter):
    layer.weight = parameter
    return layer


class Tagged(torch.Tensor):
    """A quantized subclass, for all that is known."""


@pytest.mark.parametrize(
    "make, why",
    [
        (lambda: Doubled(64, 64), "it is a Doubled, a subclass of nn.Linear, with a forward of"),
        (lambda: Renamed(64, 64), "it is a Renamed, a subclass of nn.Linear$"),
        (
            lambda: parametrizations.weight_norm(torch.nn.Linear(64, 64)),
            "parametrized; torch.nn.utils.parametrize.remove_parametrizations",
        ),
        (lambda: parametrizations.orthogonal(torch.nn.Linear(64, 64)), "parametrized"),
        pytest.param(
            lambda: torch.nn.utils.weight_norm(torch.nn.Linear(64, 64)),
            "it has weight_g, weight_v beside nn.Linear's parameters",
            marks=pytest.mark.filterwarnings("ignore"),
        ),
        (
            lambda: prune.l1_unstructured(torch.nn.Linear(64, 64), "weight", 0.5),
            "it has weight_mask, weight_orig beside",
        ),
        (lambda: torch.nn.Linear(64, 64, dtype=torch.float64), "it has torch.float64; float32, "),
        (
            lambda: with_parameter(
                torch.nn.Linear(64, 64),
                torch.nn.Parameter(torch.randn(64, 64).as_subclass(Tagged)),
            ),
            "its weight or bias is a Tagged, not a plain tensor",
        ),
        (lambda: two_states(torch.nn.Linear(64, 64)), "it has hooks on its state_dict"),
        (lambda: patched(torch.nn.Linear(64, 64)), "its forward is replaced in this object"),
        (lambda: compiled(torch.nn.Linear(64, 64)), "it is compiled by itself"),
        pytest.param(
            lambda: torch.nn.Linear(64, 0),
            "its weight is 0 x 64: there is nothing to pack",
            marks=pytest.mark.filterwarnings("ignore"),
        ),
    ],
)
def test_layers_that_are_not_plain(make, why):
    model = Block(other=make())
    x = torch.randn(2, 64)
    before = model.other(x.to(model.other.weight.dtype))
    assert re.search(why, reason(model, "other"))
    assert torch.equal(model.other(x.to(model.other.weight.dtype)), before)
    assert isinstance(model.first, qlinear.nn.Linear)


def test_compiled_alone():
    """torch.compile(layer) holds on to the layer that it was given."""
    model = torch.nn.Sequential(torch.compile(torch.nn.Linear(64, 64), backend="eager"), Block())
    assert "it is compiled by itself" in reason(model, "0._orig_mod")
    assert isinstance(model[1].first, qlinear.nn.Linear)


def test_modules_that_ask_for_a_parameter():
    """next(self.parameters()) says the type and the device of many models: there has to be one."""

    class Asks(torch.nn.Module):
        def __init__(self, bias=False):
            super().__init__()
            self.inner = torch.nn.ModuleDict(
                {"large": torch.nn.Linear(64, 96, False), "small": torch.nn.Linear(64, 64, bias)}
            )

        @property
        def dtype(self):
            return next(self.parameters()).dtype

        def forward(self, x):
            return self.inner["large"](self.inner["small"](x.to(self.dtype)))

    class AsksInner(Asks):
        def __init__(self):
            super().__init__()
            self.norm = torch.nn.LayerNorm(64)  # is not asked

        def forward(self, x):
            x = x.to(next(iter(self.inner.parameters())).device)
            return self.inner["large"](self.inner["small"](x).requires_grad_())

    class Silent(Asks):
        def forward(self, x):
            return self.inner["large"](self.inner["small"](x).requires_grad_())

    model = torch.nn.ModuleList([Asks(), AsksInner(), Asks(bias=True), Silent()])
    reasons = {s.name: s.reason for s in swap(model) if s.layer is None}
    assert reasons == {
        "0.inner.small": "a Asks asks for a parameter, and has no other",
        "1.inner.small": "a AsksInner asks for a parameter, and has no other",
    }
    for module in model:
        assert module(torch.randn(2, 64)).shape == (2, 96)


def test_wrappers_and_bare_layers_are_refused():
    with pytest.raises(qlinear.ArgumentError, match="the model is itself a Linear"):
        swap(torch.nn.Linear(64, 64))
    with pytest.raises(qlinear.ArgumentError, match="is a DataParallel.*first, and wrap then"):
        swap(torch.nn.DataParallel(Block()))
    with pytest.raises(qlinear.ArgumentError, match="'1' is a DataParallel"):
        swap(torch.nn.Sequential(Block(), torch.nn.DataParallel(Block())))


def test_weights_of_other_modules_are_in_the_report():
    class Experts(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.gate_up = torch.nn.Parameter(torch.randn(4, 96, 64))

    class Conv1D(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.randn(64, 96))
            self.bias = torch.nn.Parameter(torch.randn(96))

    model = Block(
        embed=torch.nn.Embedding(50, 64),
        norm=torch.nn.LayerNorm(64),
        conv=torch.nn.Conv2d(3, 8, 5),
        pair=torch.nn.Bilinear(8, 9, 10),
        column=Conv1D(),
        layers=torch.nn.ModuleList(Experts() for _ in range(3)),
    )
    report = swap(model, select=lambda name, layer: name != "second")
    found = {s.name: (s.bytes, s.reason) for s in report if s.layer is None}
    assert found == {
        "second": (4 * 64 * 96, "select() leaves it out"),
        "embed": (4 * 50 * 64, "a 50 x 64 parameter of Embedding, which is no nn.Linear"),
        "conv": (4 * 600, "a 8 x 3 x 5 x 5 parameter of Conv2d, which is no nn.Linear"),
        "pair": (
            4 * 720,
            "a 10 x 8 x 9 parameter of Bilinear, which is no nn.Linear",
        ),
        "column": (
            4 * 64 * 96,
            "a 64 x 96 parameter of Conv1D, which is no nn.Linear: its weight is [in, out]",
        ),
        **{
            f"layers.{i}.gate_up": (
                4 * 4 * 96 * 64,
                "a 4 x 96 x 64 parameter of Experts, which is no nn.Linear",
            )
            for i in range(3)
        },
    }
    others = sum(p.numel() for p in model.parameters() if p is not model.first.bias)
    assert report.packed_bytes == model.first.packed.numel()
    assert report.other_bytes == 4 * others
    text = str(report)
    assert text.startswith(
        f"1 linears were packed: {report.packed_bytes} bytes are packed, and {4 * others} bytes"
    )
    assert "\n  layers.*.gate_up (3): 294912 bytes: a 4 x 96 x 64 parameter of Experts" in text
    again = {s.name: s.reason for s in swap(model)}
    assert again["first"] == "it is packed already" and again["second"] == ""


# ===------------------------------------------------------------------------===#
# What is kept
# ===------------------------------------------------------------------------===#


def test_hooks_flags_and_attributes_move():
    model = Block()
    layer, seen = model.first, []
    handles = [
        layer.register_forward_pre_hook(lambda module, args: seen.append(("pre", module))),
        layer.register_forward_hook(
            lambda module, args, kwargs, y: seen.append(("forward", module)) or 2 * y,
            with_kwargs=True,
        ),
        layer.register_full_backward_hook(lambda module, dx, dy: seen.append(("back", module))),
        layer.register_full_backward_pre_hook(lambda module, dy: seen.append(("before", module))),
    ]
    layer.eval()
    layer.tag = "mine"
    layer.bias.requires_grad_(False)
    bias = layer.bias
    swap(model, "row-u8")
    packed = model.first
    assert packed.bias is bias and not bias.requires_grad  # what optimizers know stays
    assert packed.tag == "mine" and not packed.training and model.second.training
    x = torch.randn(2, 64, requires_grad=True)
    y = packed(x)
    y.sum().backward()
    assert seen == [(name, packed) for name in ("pre", "forward", "before", "back")]
    for handle in handles:
        handle.remove()
    assert torch.equal(2 * packed(x), y) and len(seen) == 4

    model = Block()
    swap(model)
    assert model.first.bias.requires_grad and model.first.training


def test_other_references_follow():
    """A layer that is also in a list, or called by a method that was kept."""

    Pair = collections.namedtuple("Pair", "left right")

    class Refers(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = torch.nn.Linear(64, 64), torch.nn.Linear(64, 64)
            self.list, self.dict = [self.a, (self.b, 1)], {"a": [self.a]}
            self.list.append(self.list)
            self.call, self.whole = self.b.forward, self.b.__call__
            self.same = (1, "two")
            self.pair = Pair(self.a, functools.partial(self.b, input=self.same))

        def forward(self, x):
            x = self.dict["a"][0](self.list[0](self.list[1][0](x)))
            return self.pair.right(input=self.pair.left(self.whole(self.call(x))))

    model = Refers()
    kept, same = model.list, model.same
    swap(model, "row-u8")
    a, b = model.a, model.b
    assert model.list is kept and kept[0] is a and kept[1] == (b, 1) and kept[2] is kept
    assert model.dict == {"a": [a]} and model.same is same
    x = torch.randn(2, 64)
    assert torch.equal(model(x), b(a(b(b(a(a(b(x))))))))


def test_sizes_are_the_weights():
    """A head whose weight was replaced, and not its out_features."""
    model = torch.nn.Sequential(torch.nn.Linear(64, 32))
    model[0].weight = torch.nn.Parameter(torch.randn(96, 128))
    model[0].bias = torch.nn.Parameter(torch.randn(96))
    again = copy.deepcopy(model)
    swap(model)
    swap(again, empty=model.state_dict())
    again.load_state_dict(model.state_dict())
    x = torch.randn(2, 128)
    assert torch.equal(again(x), model(x)) and model(x).shape == (2, 96)


def test_output_heads_have_more_bits():
    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.block0 = torch.nn.ModuleList([torch.nn.ModuleDict({"output": Block().first})])
            self.lm_head = torch.nn.Linear(64, 96, bias=False)
            self.predicts = torch.nn.Linear(64, 96, bias=False)

        def get_output_embeddings(self):
            return self.predicts

    def bits(model, *arguments, **options):
        report = swap(model, *arguments, **options)
        return {s.name: int(s.layer.encoding[1]) for s in report}, {s.name: s.note for s in report}

    note = "an output head: 6 bits, not 4 (head_bits)"
    want = {"block0.0.output": 4, "lm_head": 6, "predicts": 6}
    spelled = "u4, group = 32, zero, scale = bf16, offset = bf16"
    for encoding in ("auto", "row-u8", spelled):
        have, notes = bits(Model(), encoding)
        assert have == want
        assert notes == {"block0.0.output": "", "lm_head": note, "predicts": note}
    assert set(bits(Model(), bits=8)[0].values()) == {8}
    assert set(bits(Model(), head_bits=4)[0].values()) == {4}
    assert bits(Model(), bits=5, head_bits=8)[0]["lm_head"] == 8
    assert "lm_head: 7.00 bits per weight; an output head" in str(swap(Model(), "bf16"))


def test_meta_models_say_what_to_do(tmp_path):
    with torch.device("meta"):
        model = Block()
    with pytest.raises(qlinear.Error, match="weight of 'first' is on the meta device.*empty=True"):
        swap(model)
    assert type(model.first) is torch.nn.Linear
    # An archive has the weights, and biases.
    from safetensors.torch import save_file

    filled = Block()
    save_file(filled.state_dict(), tmp_path / "floats.safetensors")
    archive = tmp_path / "packed.safetensors"
    qlinear.pack(tmp_path / "floats.safetensors", archive, quantize="int8:32", encoding="f32")
    swap(model, archive=archive)
    swap(filled, archive=archive)
    x = torch.randn(3, 64)
    with torch.no_grad():
        assert torch.equal(model(x), filled(x))


def test_adapters_by_name_stay():
    class Lora(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.base = torch.nn.Linear(64, 64)
            self.lora_a, self.lora_b = torch.nn.Linear(64, 32), torch.nn.Linear(32, 64)

        def forward(self, x):
            return self.base(x) + self.lora_b(self.lora_a(x))

    model = torch.nn.Sequential(Lora())
    assert "it belongs to an adapter, by its name" in reason(model, "0.lora_a")
    model(torch.randn(2, 64)).sum().backward()
    assert model[0].lora_a.weight.grad is not None


def test_weights_in_parts(monkeypatch, tmp_path):
    """Each part is packed while the next is written; the bytes are those of all at once, and no
    file is left, also after an error."""
    from qlinear import _quantize

    monkeypatch.setattr(_quantize.tempfile, "tempdir", str(tmp_path))
    layers = [torch.nn.Linear(64, 16 * (i + 1)) for i in range(4)]
    whole = torch.nn.Sequential(*layers)
    parts = copy.deepcopy(whole)
    qlinear.nn.swap_linears(whole)
    monkeypatch.setattr(_quantize, "_BATCH_BYTES", 1)
    written = []
    write = _quantize._write
    monkeypatch.setattr(_quantize, "_write", lambda *of: (written.append(1), write(*of))[1])
    qlinear.nn.swap_linears(parts)
    assert len(written) == 4
    for one, other in zip(whole, parts):
        assert torch.equal(one.packed, other.packed)
    broken = copy.deepcopy(torch.nn.Sequential(*layers))
    broken[1].weight.data[3, 5] = float("inf")
    with pytest.raises(qlinear.Error, match="row 3"):
        qlinear.nn.swap_linears(broken)
    assert not list(tmp_path.iterdir())
