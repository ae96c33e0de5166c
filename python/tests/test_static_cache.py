# ===- test_static_cache.py - Caches that functions write ----------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Optimized models with transformers' static caches, against models that are not optimized."""

import copy
import functools

import numpy as np
import pytest
import qlinear

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
import qlinear.nn  # noqa: E402
from qlinear import _blocks, _cache  # noqa: E402
from test_models import IDS  # noqa: E402
from test_optimize import ROTATES, gemma4, off, packed  # noqa: E402
from transformers import cache_utils  # noqa: E402

GREEDY = {"max_new_tokens": 12, "do_sample": False, "eos_token_id": None}
STATIC = {**GREEDY, "cache_implementation": "static"}


@pytest.fixture
def writes(monkeypatch):
    """The numbers of tokens that functions have written into caches, and "update" for each layer
    that an attention has updated."""
    made = []
    block, update = _blocks.block_into, cache_utils.StaticLayer.update
    window = cache_utils.StaticSlidingWindowLayer.update
    monkeypatch.setattr(
        _blocks, "block_into", lambda *rest: (made.append(rest[0][0].shape[1]), block(*rest))[1]
    )
    for kind, known in (("StaticLayer", update), ("StaticSlidingWindowLayer", window)):
        monkeypatch.setattr(
            getattr(cache_utils, kind), "update",
            lambda *a, known=known, **k: (made.append("update"), known(*a, **k))[1],
        )  # fmt: skip
    return made


def both(name, **options):
    """An optimized model, and the same one that is not."""
    model = gemma4(**options) if name == "Gemma4" else packed(name, **options)
    plain = copy.deepcopy(model)
    qlinear.nn.optimize(model)
    return model, plain


def caches_of(models, length=16):
    return [transformers.StaticCache(config=m.config, max_cache_len=length) for m in models]


@torch.no_grad()
def check_steps(models, parts, length=16):
    """Logits, caches and their counts are the same, after some tokens at a time."""
    caches, done = caches_of(models, length), 0
    for ids in parts:
        have, want = (
            m(ids, past_key_values=c, use_cache=True).logits for m, c in zip(models, caches)
        )
        assert off(have, want) < 1e-5
        done += ids.shape[1]
        for a, b in zip(caches[0].layers, caches[1].layers):
            assert off(a.keys, b.keys) < 1e-5 and off(a.values, b.values) < 1e-5
            assert int(a.cumulative_length) == int(b.cumulative_length) == done
    return caches


@pytest.mark.parametrize("name", ROTATES)
def test_generate(name, writes):
    model, plain = both(name)
    want = plain.generate(IDS, **STATIC)
    writes.clear()
    assert torch.equal(model.generate(IDS, **STATIC), want)
    assert writes == [5] * 2 + [1] * 2 * 11  # two layers; no update
    assert torch.equal(model.generate(IDS, **GREEDY), want)


@pytest.mark.parametrize("name", ["Llama", "Qwen3", "Gemma3"])
def test_some_tokens_at_a_time(name, writes):
    models = both(name)
    ids = torch.randint(3, 120, (3, 16), generator=torch.Generator().manual_seed(8))
    writes.clear()
    check_steps(models, ids.split([7, 1, 3, 5], dim=1))
    assert writes[::4] == [7, 1, 3, 5] and writes[2::4] == ["update"] * 4


@pytest.mark.skipif(not hasattr(transformers, "Gemma4TextConfig"), reason="transformers is older")
@pytest.mark.parametrize(
    "options", [{}, {"attention_k_eq_v": True}, {"num_kv_shared_layers": 2}]
)
def test_gemma4(options, writes):
    model, plain = both("Gemma4", **options)
    want = plain.generate(IDS, **STATIC)
    writes.clear()
    assert torch.equal(model.generate(IDS, **STATIC), want)
    layers = 2 if "num_kv_shared_layers" in options else 4
    assert writes == [5] * layers + [1] * layers * 11
    check_steps((model, plain), IDS.split([2, 3], dim=1))


def test_a_window_that_moves_on(writes):
    """Then the attention updates the cache."""
    types = ["sliding_attention", "full_attention"]
    model, plain = both("Gemma3", sliding_window=8, layer_types=types)
    want = plain.generate(IDS, **STATIC)
    writes.clear()
    assert torch.equal(model.generate(IDS, **STATIC), want)
    assert writes.count("update") == 8 and writes.count(1) == 3 + 11


@pytest.mark.parametrize("cache", [{"num_beams": 3}, {"num_return_sequences": 2, "num_beams": 2}])
def test_beams(cache):
    model, plain = both("Llama")
    have, want = (m.generate(IDS, **STATIC, **cache) for m in (model, plain))
    assert torch.equal(have, want)


def test_padding():
    model, plain = both("Llama")
    mask = torch.ones_like(IDS)
    mask[0, :3] = 0
    have, want = (m.generate(IDS, attention_mask=mask, **STATIC) for m in (model, plain))
    assert torch.equal(have, want)


class Rings:
    """A cache of another kind: the last tokens of each head, in rings, of a model whose layers are
    all alike. `own`: it says itself where they are."""

    is_compileable = True

    def __init__(self, model, slots, own):
        head = model.config.head_dim
        shape = len(model.model.layers), 2, 2, model.config.num_key_value_heads, slots, head
        self.tensors, self.slots, self.seen = torch.zeros(shape), slots, 0
        if own:
            self.qlinear_places = self.places

    def places(self, layer, x):
        batch, heads = self.tensors.shape[2:4]
        at = (self.seen + torch.arange(x.shape[1])) % self.slots
        first = torch.arange(batch * heads).view(batch, 1, heads) * self.slots
        return *self.tensors[layer], (first + at.view(1, -1, 1)).to(torch.int32)

    def update(self, keys, values, layer, *rest, **more):
        at = (self.seen + torch.arange(keys.shape[2])) % self.slots
        for mine, new in zip(self.tensors[layer], (keys, values)):
            mine.index_copy_(2, at, new)
        return tuple(self.tensors[layer])

    def get_seq_length(self, layer=0):
        return 0

    def get_mask_sizes(self, length, layer):
        return self.slots, 0


@torch.no_grad()
def test_a_cache_that_says_where():
    model, plain = both("Qwen3")
    caches = [Rings(model, 4, own=True), Rings(plain, 4, own=False)]
    caches[0].update = None  # it is not called
    everything = torch.ones(2, 1, 1, 4, dtype=torch.bool)
    for step in range(6):
        have, want = (
            m(
                IDS[:, :1] + step, past_key_values=c, attention_mask=everything,
                position_ids=torch.full((2, 1), step),
            ).logits
            for m, c in zip((model, plain), caches)
        )  # fmt: skip
        assert off(have, want) < 1e-5
        for c in caches:
            c.seen += 1
    assert off(caches[0].tensors, caches[1].tensors) < 1e-5
    caches[0].qlinear_places = lambda layer, x: None
    caches[0].update = functools.partial(Rings.update, caches[0])
    have, want = (
        m(IDS[:, :1], past_key_values=c, attention_mask=everything).logits
        for m, c in zip((model, plain), caches)
    )
    assert off(have, want) < 1e-5


@pytest.mark.parametrize("change", ["gradients", "kind", "type", "gaps", "dynamic"])
def test_caches_that_the_attention_updates(change, writes):
    """Where a function cannot write them, and they are right in any case."""
    models = both("Llama")
    caches = caches_of(models)
    if change == "kind":

        class Other(cache_utils.StaticLayer):
            def update(self, keys, values, *rest, **more):
                return super().update(keys * 1.5, values, *rest, **more)

        for cache in caches:
            cache.layers = [Other(16) for _ in cache.layers]
    elif change == "dynamic":
        caches = [transformers.DynamicCache(), transformers.DynamicCache()]
    elif change in ("type", "gaps"):
        for cache in caches:
            cache.early_initialization(2, 2, 16, torch.float32, "cpu")
            for layer in cache.layers:
                if change == "type":
                    layer.keys, layer.values = layer.keys.bfloat16(), layer.values.bfloat16()
                    layer.update = lambda k, v, *_, of=layer, **rest: tuple(
                        t.float() for t in type(of).update(of, k.bfloat16(), v.bfloat16())
                    )
                else:
                    layer.keys = torch.zeros(2, 2, 16, 32)[..., ::2]
    writes.clear()
    with torch.set_grad_enabled(change == "gradients"):
        if change == "gradients":
            for model in models:
                model.requires_grad_(False)
        have, want = (m(IDS, past_key_values=c).logits for m, c in zip(models, caches))
    assert off(have, want) < 1e-5
    assert 5 not in writes


def test_a_cache_that_is_full():
    model, _ = both("Llama")
    (cache,) = caches_of([model], 4)
    with torch.no_grad(), pytest.raises(qlinear.Error, match="of 4 tokens has 3, and gets 2 more"):
        model(IDS[:, :3], past_key_values=cache)
        model(IDS[:, 3:], past_key_values=cache)


def test_a_cache_that_a_graph_overfills():
    """There is no number to look at while a graph is made, nor one on a GPU."""
    model, _ = both("Llama")
    step = torch.compile(model.forward, fullgraph=True, backend="aot_eager")
    (cache,) = caches_of([model], 4)
    with torch.no_grad():
        model(IDS[:, :3], past_key_values=cache)
        step(IDS[:, 3:4], past_key_values=cache)
        with pytest.raises(RuntimeError, match="more tokens than it has room for"):
            step(IDS[:, 4:], past_key_values=cache)


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_torch_compile(backend):
    """As generate() compiles a step: the whole of it, with the cache as its own."""
    model, plain = both("Llama")
    step = torch.compile(model.forward, fullgraph=True, backend=backend)
    caches = caches_of((model, plain))
    with torch.no_grad():
        for m, cache in zip((model, plain), caches):
            m(IDS, past_key_values=cache)
        for token in (IDS[:, :1], IDS[:, 2:3], IDS[:, 4:]):
            have = step(token, past_key_values=caches[0]).logits
            assert off(have, plain(token, past_key_values=caches[1]).logits) < 1e-5
    for a, b in zip(caches[0].layers, caches[1].layers):
        assert off(a.keys, b.keys) < 1e-5 and int(a.cumulative_length) == 8


def test_the_report_says_what_functions_do():
    reports = {name: qlinear.nn.optimize(packed(name))[0] for name in ("Qwen3", "Phi3")}
    has, stays = reports["Qwen3"].has, reports["Qwen3"].stays
    assert has[:4] == (
        "norm, q_proj, k_proj, v_proj", "norms of heads", "rotary embeddings",
        "writing static caches",
    ) and stays == ()  # fmt: skip
    assert reports["Phi3"].stays == ("rotary embeddings", "writing static caches")
    assert str(reports["Phi3"]).endswith("rotary embeddings, writing static caches: as before")


def test_shapes_have_functions_with_caches():
    model, _ = both("Llama")
    blocks = [shape for shape in qlinear.nn.shapes(model) if shape[0] == "projections"]
    assert [shape[-1] for shape in blocks] == [False, True]


@pytest.mark.parametrize("ops", ["native", "python"])
def test_the_op(ops):
    """qlinear::block_into against numpy, and what it refuses."""
    text = _blocks.Text("f32")
    x = text.argument(text.rows(32))
    text.rotary([x, x], [32, 32], 16, None, cached=1)
    text = text.finish([("%v1", "tensor<?x32xf32>")])
    run = torch.ops.qlinear.block_into if ops == "native" else _blocks._block_into
    x, table, cache = torch.randn(2, 3, 32), torch.randn(2, 2, 3, 16), torch.randn(2, 2, 5, 16)
    places = torch.tensor([[[0, 5], [9, -1], [7, 20]], [[10, 15], [12, 16], [1, 3]]])
    places = places.to(torch.int32)
    before = cache.clone()
    have = run([x, *table, places], [cache], [], text, 32)
    cos, sin = (t[..., None, :].numpy().astype(np.float64) for t in table)
    heads = x.numpy().astype(np.float64).reshape(2, 3, 2, 16)
    turned = np.concatenate([-heads[..., 8:], heads[..., :8]], -1)
    heads = heads * cos + turned * sin
    np.testing.assert_allclose(have.reshape(2, 3, 2, 16), heads, rtol=1e-5, atol=1e-5)
    want = before.numpy().astype(np.float64).reshape(20, 16)
    for place, head in zip(places.reshape(-1).tolist(), heads.reshape(-1, 16)):
        if 0 <= place < 20:
            want[place] = head
    np.testing.assert_allclose(cache.reshape(20, 16), want, rtol=1e-5, atol=1e-5)

    errors = (qlinear.Error, RuntimeError, ValueError)
    for caches, says in [
        ([], "cache|inputs"),
        ([torch.randn(2, 2, 5, 32)[..., ::2]], "gaps"),
        ([cache.half()], "f16|float16"),
        ([torch.randn(2, 2, 5, 8)], "shape"),
    ]:
        with pytest.raises(errors, match=says):
            run([x, *table, places], caches, [], text, 32)
    with pytest.raises(errors):
        run([x, *table, places.long()], [cache], [], text, 32)


def test_functions_of_modules(tmp_path):
    """Caches are arguments of a function that a call writes."""
    text = _blocks.Text("f32")
    x = text.argument(text.rows(16))
    text.rotary([x], [16], 16, None, cached=1)
    artifact = qlinear.compile(text.finish([]), target="cpu", output=tmp_path / "cache.so")
    function = qlinear.load(artifact).functions["block"]
    assert function.caches == [4] and "f32(R, 16)" in repr(function)
    x, one, zero = (np.full((2, 16), v, np.float32) for v in (3, 1, 0))
    cache = np.zeros((4, 16), np.float32)
    assert function(x, one, zero, np.array([[2], [0]], np.int32), cache) == ()
    assert cache[:, 0].tolist() == [3, 0, 3, 0]
    cache.flags.writeable = False
    with pytest.raises(qlinear.ArgumentError, match="input 4 of 'block' is read-only"):
        function(x, one, zero, np.array([[2], [0]], np.int32), cache)


def test_transformers_without_such_caches(monkeypatch):
    monkeypatch.setattr(_cache, "_known", None)
    model, plain = both("Llama")
    assert torch.equal(model.generate(IDS, **STATIC), plain.generate(IDS, **STATIC))
