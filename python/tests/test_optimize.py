# ===- test_optimize.py - Decoder layers as compiled functions -----*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Small random models of transformers before and after qlinear.nn.optimize()."""

import concurrent.futures
import copy
import inspect
import json

import pytest
import qlinear

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
import qlinear.nn  # noqa: E402
import qlinear.transformers  # noqa: E402
from qlinear import _blocks, _rotary  # noqa: E402
from test_models import IDS, SIZES, dequantized, logits, model_of, swap  # noqa: E402

NAMES = ["Llama", "Mistral", "Qwen2", "Qwen3", "Phi3", "Gemma", "Gemma2", "Gemma3"]


def packed(name="Llama", dtype=torch.float32, activations="float", **options):
    """A model with two layers, whose scales of norms and biases are not what they begin as."""
    if name == "Gemma3":
        config = transformers.Gemma3TextConfig(**{**SIZES, "num_hidden_layers": 2, **options})
        torch.manual_seed(0)
        model = transformers.Gemma3ForCausalLM(config).eval()
    else:
        model = model_of(name, num_hidden_layers=2, **options)
    return changed_and_packed(model, dtype, activations)


def changed_and_packed(model, dtype, activations):
    """The model, packed, with other scales of norms and other biases."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    model = model.to(dtype)
    swap(model, activations=activations)
    return model


def off(have, want):
    return ((have.double() - want.double()).norm() / want.double().norm()).item()


@pytest.fixture
def calls(monkeypatch):
    """The number of calls of compiled blocks, in a list."""
    made = []
    block = _blocks.block
    monkeypatch.setattr(_blocks, "block", lambda *rest: (made.append(1), block(*rest))[1])
    return made


@pytest.mark.parametrize("name", NAMES)
def test_logits(name, calls):
    model = packed(name)
    want = logits(dequantized(model).double())
    before = logits(model)
    report = qlinear.nn.optimize(model)
    assert [entry.reason for entry in report] == [None, None]
    assert "2 of 2 decoder layers" in str(report)
    calls.clear()
    after = logits(model)
    assert len(calls) == (6 if name == "Phi3" else 4)  # of two layers
    assert off(before, want) < 1e-5
    assert off(after, want) < 1e-5
    assert not torch.equal(after, before)  # roundings differ, or nothing was done


@pytest.mark.parametrize("name", NAMES)
def test_layers_by_themselves(name):
    model = packed(name)
    before = logits(model)
    for layer in model.model.layers:
        assert [entry.reason for entry in qlinear.nn.optimize(layer)] == [None]
    assert off(logits(model), before) < 1e-5


@pytest.mark.parametrize("name", ["Llama", "Gemma3"])
def test_bf16_with_int8_activations(name):
    model = packed(name, torch.bfloat16, "int8")
    before = logits(model)
    qlinear.nn.optimize(model)
    assert off(logits(model), before) < 0.05


@pytest.mark.parametrize("rows", [1, 4, 60])
def test_any_number_of_rows(rows):
    model = packed()
    ids = torch.randint(3, 120, (1, rows), generator=torch.Generator().manual_seed(rows))
    with torch.no_grad():
        want = dequantized(model).double()(ids).logits
        qlinear.nn.optimize(model)
        assert off(model(ids).logits, want) < 1e-5


#: All but Phi3, whose q, k and v are one.
ROTATES = [name for name in NAMES if name != "Phi3"]


@pytest.mark.parametrize("name", NAMES)
def test_rotary_embeddings(name, monkeypatch):
    """Those of q and k, and the norms before them, are part of the first function; the attention
    applies them where it is called by itself, and where somebody has replaced its forward or a
    norm's."""
    model = packed(name)
    attention = model.model.layers[0].self_attn
    names, counted = inspect.unwrap(type(attention).forward).__globals__, []
    known = names["apply_rotary_pos_emb"]
    counting = lambda *given, **rest: (counted.append(1), known(*given, **rest))[1]
    monkeypatch.setitem(names, "apply_rotary_pos_emb", counting)
    want, plain = logits(model), copy.deepcopy(attention)
    qlinear.nn.optimize(model)
    counted.clear()
    assert off(logits(model), want) < 1e-5
    assert len(counted) == (0 if name in ROTATES else 2)
    assert [bool(layer._qlinear.rotary) for layer in model.model.layers] == [name in ROTATES] * 2
    assert off(logits(copy.deepcopy(model)), want) < 1e-5

    x, tables = torch.randn(1, 3, 64), torch.randn(2, 1, 3, attention.head_dim)
    with torch.no_grad():
        alone = [a(x, position_embeddings=tuple(tables), attention_mask=None)[0]
                 for a in (attention, plain)]
    assert off(*alone) < 1e-5 and len(counted) > 1
    norms = _rotary.norms_of(attention)
    assert len(norms) == (2 if name in ("Qwen3", "Gemma3") else 0)
    for module in (*norms[1:], attention) if name in ROTATES else ():
        kept = module.__dict__.pop("forward")  # of the first layer of two
        counted.clear()
        assert off(logits(model), want) < 1e-5 and len(counted) == 1
        module.forward = kept
    if norms:  # a norm of its own
        norms[0].forward = lambda x: 2 * type(norms[0]).forward(norms[0], x)
        assert off(logits(model), want) > 1e-3
        with torch.no_grad():
            norms[0].weight.div_(2).sub_(0.5 if name == "Gemma3" else 0)
        assert off(logits(model), want) < 1e-5


#: What models of Gemma 4 have, and the columns of heads that are rotated in each layer's function.
GEMMA4 = {
    "dense": ({}, [16, 32, 16, 32]),
    "values that are keys": ({"attention_k_eq_v": True}, [16, 32, 16, 32]),
    "inputs for each layer": ({"hidden_size_per_layer_input": 32}, [16, 32, 16, 32]),
    "shared keys": (
        {"num_kv_shared_layers": 2, "use_double_wide_mlp": True, "hidden_size_per_layer_input": 32},
        [16, 32, None, None],
    ),
}


def gemma4(**options):
    config = transformers.Gemma4TextConfig(
        **SIZES | {
            "num_hidden_layers": 4,
            "global_head_dim": 32,
            "layer_types": ["sliding_attention", "full_attention"] * 2,
            "hidden_size_per_layer_input": 0,
            "vocab_size_per_layer_input": SIZES["vocab_size"],
        } | options
    )
    torch.manual_seed(0)
    model = transformers.Gemma4ForCausalLM(config).eval()
    for layer in model.model.layers:
        layer.layer_scalar.fill_(0.7)
    return changed_and_packed(model, torch.float32, "float")


@pytest.mark.skipif(not hasattr(transformers, "Gemma4TextConfig"), reason="transformers is older")
@pytest.mark.parametrize("options, heads", GEMMA4.values(), ids=GEMMA4)
def test_gemma4(options, heads, calls, monkeypatch):
    model, norms = gemma4(**options), []
    kind = type(model.model.norm)
    norm = kind._norm
    monkeypatch.setattr(kind, "_norm", lambda *given: (norms.append(1), norm(*given))[1])
    plain, before = copy.deepcopy(model), logits(model)
    want = logits(dequantized(model).double())
    report = qlinear.nn.optimize(model)
    assert [entry.reason for entry in report] == [None] * 4
    assert [(layer._qlinear.rotary or [None])[0] for layer in model.model.layers] == heads
    calls.clear()
    norms.clear()
    after = logits(model)
    assert len(calls) == 8  # of four layers
    if None not in heads and not options.get("hidden_size_per_layer_input"):
        assert len(norms) == 1  # the last: those of values are in the functions, too
    assert off(before, want) < 2e-5 and off(after, want) < 2e-5
    assert not torch.equal(after, before)
    assert off(logits(copy.deepcopy(model)), want) < 2e-5
    count = {"max_new_tokens": 9, "do_sample": False, "eos_token_id": None}
    assert torch.equal(model.generate(IDS, **count), plain.generate(IDS, **count))
    # The scale of a layer is part of the last norm, unless other inputs come before it.
    folded = None if options.get("hidden_size_per_layer_input") else "f32"
    assert {layer._qlinear.times for layer in model.model.layers} == {folded}
    with torch.no_grad():  # is read in each call
        for each in (model, plain):
            each.model.layers[2].layer_scalar.fill_(1.4)
    assert off(logits(model), logits(plain)) < 1e-5


@pytest.mark.skipif(not hasattr(transformers, "Gemma4TextConfig"), reason="transformers is older")
@pytest.mark.parametrize("when", ["before", "after"])
def test_norms_of_values_that_are_others(when):
    model = gemma4(attention_k_eq_v=True)
    plain = copy.deepcopy(model)
    if when == "after":
        qlinear.nn.optimize(model)
    for each in (model, plain):
        for layer in each.model.layers[:2]:
            layer.self_attn.v_norm.forward = lambda x: x * 2
    if when == "before":
        qlinear.nn.optimize(model)
    assert off(logits(model), logits(plain)) < 1e-5


@pytest.mark.skipif(not hasattr(transformers, "Gemma4TextConfig"), reason="transformers is older")
def test_gemma4_with_experts():
    model = gemma4(
        enable_moe_block=True, num_experts=4, top_k_experts=2, moe_intermediate_size=32
    )
    before = logits(model)
    report = qlinear.nn.optimize(model)
    assert {entry.reason for entry in report} == {"it has experts beside its MLP"}
    assert torch.equal(logits(model), before)


@pytest.mark.parametrize("change", ["epsilon", "kind", "hook", "forward"])
def test_norms_of_heads_that_are_others(change):
    """Two norms that differ, and norms that are more than one, stay what they are."""
    model = packed("Qwen3")
    for layer in model.model.layers:
        norm = layer.self_attn.q_norm
        if change == "epsilon":
            norm.variance_epsilon = 0.3
        elif change == "kind":
            layer.self_attn.q_norm = torch.nn.LayerNorm(len(norm.weight))
        elif change == "forward":
            norm.forward = lambda x: x * 2
        else:
            norm.register_forward_hook(lambda module, given, result: result * 1.5)
    want = logits(model)
    report = qlinear.nn.optimize(model)
    assert off(logits(model), want) < 1e-5
    reasons = [entry.reason for entry in report]
    assert all(reasons) if change == "hook" else reasons == [None, None]


def test_norms_of_heads_after_training():
    """Scales are read in each call."""
    model = packed("Gemma3")
    plain = copy.deepcopy(model)
    qlinear.nn.optimize(model)
    for each in (model, plain):
        with torch.no_grad():
            each.model.layers[1].self_attn.k_norm.weight.mul_(3)
    assert off(logits(model), logits(plain)) < 1e-5


def test_rotary_embeddings_of_a_batch():
    """Whose tables have one row of the batch for all."""
    model = packed()
    ids = torch.randint(3, 120, (3, 7), generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        want = model(ids, position_ids=torch.arange(4, 11)[None]).logits
        qlinear.nn.optimize(model)
        have = model(ids, position_ids=torch.arange(4, 11)[None]).logits
    assert off(have, want) < 1e-5


def test_rotary_tables():
    """Only whole heads, of the type of x and for its rows, go into the function."""
    attention = packed().model.layers[0].self_attn
    x, table = torch.randn(2, 5, 64), torch.randn(1, 5, attention.head_dim)
    heads = _rotary.heads_of(attention, None)
    head = attention.head_dim
    assert heads == (head, None, None)
    tables = lambda *given: _rotary.tables_of(heads, x, attention, given)
    assert tables(table, table) == ()  # the attention would rotate again
    _rotary.install(attention, heads)
    assert [t.shape for t in tables(table, table)] == [(2, 5, head)] * 2
    for wrong in (table.double(), table[..., :-2], table[:, :4], table[0], None):
        assert tables(table, wrong) == () and tables(wrong, table) == ()
    assert _rotary.tables_of(heads, x, attention, None) == ()
    assert _rotary.tables_of(None, x, attention, (table, table)) == ()


@pytest.mark.parametrize("change", ["interleaved", "scaled"])
def test_rotary_embeddings_that_are_others(change, monkeypatch):
    model = packed()
    names = inspect.unwrap(type(model.model.layers[0].self_attn).forward).__globals__
    known = names["apply_rotary_pos_emb"]

    def other(q, k, cos, sin, **rest):
        if change == "interleaved":
            q, k = (x.unflatten(-1, (-1, 2)).transpose(-1, -2).flatten(-2) for x in (q, k))
        q, k = known(q, k, cos, sin, **rest)
        return (q, k * 1.001) if change == "scaled" else (q, k)

    monkeypatch.setitem(names, "apply_rotary_pos_emb", other)
    want = logits(model)
    qlinear.nn.optimize(model)
    assert [layer._qlinear.rotary for layer in model.model.layers] == [None, None]
    assert off(logits(model), want) < 1e-5


def test_generate():
    model = packed()
    plain = copy.deepcopy(model)
    qlinear.nn.optimize(model)
    options = {"max_new_tokens": 12, "do_sample": False, "eos_token_id": None}
    for cache in ({}, {"cache_implementation": "static"}, {"num_beams": 3}):
        have, want = (m.generate(IDS, **options, **cache) for m in (model, plain))
        assert torch.equal(have, want)


def test_modules_and_the_state_stay(tmp_path):
    model = packed()
    modules, state = dict(model.named_modules()), model.state_dict()
    qlinear.nn.optimize(model)
    want = logits(model)
    assert dict(model.named_modules()) == modules
    assert all(torch.equal(v, state[key]) for key, v in model.state_dict().items())
    assert torch.equal(logits(copy.deepcopy(model)), want)
    assert [entry.reason for entry in qlinear.nn.optimize(model)] == [None, None]
    assert torch.equal(logits(model), want)

    model.save_pretrained(tmp_path)
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    qlinear.nn.optimize(again)
    assert torch.equal(logits(again), want)


def test_activations_that_are_set_later():
    model = packed(activations="int8")
    want = logits(dequantized(model).double())
    qlinear.nn.optimize(model)
    int8 = logits(model)
    for module in model.modules():
        if isinstance(module, qlinear.nn.Linear):
            module.activations = "float"
    assert off(int8, want) > 1e-4
    assert off(logits(model), want) < 1e-5


def test_torch_compile():
    model = packed()
    qlinear.nn.optimize(model)
    compiled = torch.compile(model.model, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        have = compiled(IDS, use_cache=False).last_hidden_state
        want = model.model(IDS, use_cache=False).last_hidden_state
    torch.testing.assert_close(have, want)


def test_prepare_by_shapes():
    model = packed()
    qlinear.nn.optimize(model)
    needs = json.loads(json.dumps(qlinear.nn.shapes(model)))
    assert {shape[0] for shape in needs} >= {"projections", "mlp"}
    qlinear.nn.prepare([s for s in needs if s[0] in ("projections", "mlp")], torch.float32)
    qlinear.nn.prepare(model)


def test_batch_invariant():
    model = packed()
    qlinear.nn.optimize(model)
    qlinear.nn.set_batch_invariant()
    try:
        one = torch.randint(3, 120, (9, 1), generator=torch.Generator().manual_seed(3))
        with torch.no_grad():
            layer = model.model.layers[0]
            x = model.model.embed_tokens(one)
            whole = layer._qlinear.mlp(layer, x, x)
            assert torch.equal(layer._qlinear.mlp(layer, x[:2], x[:2]), whole[:2])
    finally:
        qlinear.nn.set_batch_invariant(False)


def reasons(model):
    return [entry.reason for entry in qlinear.nn.optimize(model)]


def test_layers_that_stay():
    model = packed()
    first, second = model.model.layers
    first.mlp.act_fn = torch.nn.ReLU()
    second.input_layernorm.register_forward_hook(lambda *_: None)
    want = logits(model)
    report = qlinear.nn.optimize(model)
    assert [entry.reason for entry in report] == [
        "the activation of its mlp is none of SiLU and GELU",
        "input_layernorm has hooks, which would not be called",
    ]
    assert "0 of 2 decoder layers" in str(report) and "none of SiLU" in str(report)
    assert torch.equal(logits(model), want)

    model = packed()
    first, second = model.model.layers
    first.self_attn.k_proj = torch.nn.Linear(64, 32, bias=False)
    second.mlp.up_proj.activations = "int8"
    assert reasons(model) == [
        "its k_proj is not packed, but a Linear",
        "gate_proj and up_proj and down_proj have different activations",
    ]

    model = packed()
    first, second = model.model.layers
    first.post_attention_layernorm = torch.nn.LayerNorm(64)
    second.forward = second.forward
    assert reasons(model) == [
        "its post_attention_layernorm is no RMS norm that is known",
        "its forward is replaced in this object",
    ]

    model = packed(mlp_bias=True)
    assert reasons(model) == ["its gate_proj has a bias"] * 2
    assert "no decoder layer is of a kind" in str(qlinear.nn.optimize(torch.nn.Linear(3, 3)))


def test_a_layer_that_computes_something_else():
    """Of the name of a known class, with another forward: seen by the logits."""
    from transformers.models.llama.modeling_llama import LlamaDecoderLayer as Known

    class LlamaDecoderLayer(Known):
        def forward(self, hidden_states, **kwargs):
            return 0.5 * super().forward(hidden_states, **kwargs)

    model = packed()
    for layer in model.model.layers:
        layer.__class__ = LlamaDecoderLayer
    want = logits(model)
    with pytest.raises(qlinear.Error, match="differ by .* from those before optimize"):
        qlinear.nn.optimize(model)
    assert torch.equal(logits(model), want)


def test_an_attention_that_changes_its_input():
    model = packed()
    qlinear.nn.optimize(model)
    attention = model.model.layers[0].self_attn
    inner = attention.forward
    plain = dequantized(packed()).model.layers[0].self_attn
    attention.forward = lambda hidden_states, **rest: inner(hidden_states + 0, **rest)
    with pytest.raises(qlinear.Error, match="another tensor than it got"):
        logits(model)
    del attention.forward
    # By itself it is what it was.
    with torch.no_grad():
        x = torch.randn(1, 3, 64)
        torch.testing.assert_close(attention.q_proj(x), plain.q_proj(x))


@pytest.mark.parametrize("name", ["Llama", "Gemma2"])
def test_the_last_linear_of_the_attention(name):
    """It is part of what follows, with its bias, unless it has to stay by itself."""
    model = packed(name, attention_bias=True)
    assert model.model.layers[0].self_attn.o_proj.bias is not None
    model.model.layers[0].self_attn.o_proj.activations = "int8"
    want, seen = logits(model), []
    model.model.layers[1].self_attn.o_proj.register_forward_hook(lambda *_: seen.append(1))
    assert reasons(model) == [None, None]
    taken = [layer._qlinear.takes_out for layer in model.model.layers]
    assert taken == [True, False] and len(seen) == 2  # before and after
    assert off(logits(model), want) < 0.01 and len(seen) == 3

    model = packed(name)
    model.model.layers[0].self_attn.o_proj = torch.nn.Linear(64, 64, bias=False)
    want = logits(model)
    assert reasons(model) == [None, None]
    assert off(logits(model), want) < 1e-5


def test_an_attention_that_changes_its_output():
    model = packed()
    qlinear.nn.optimize(model)
    attention = model.model.layers[0].self_attn
    inner = attention.forward
    attention.forward = lambda **given: (inner(**given)[0] * 2, None)
    with pytest.raises(qlinear.Error, match="returns another tensor than its o_proj gave"):
        logits(model)
    # By itself it is what it was.
    with torch.no_grad():
        x = torch.randn(1, 3, 64)
        want = dequantized(packed()).model.layers[0].self_attn.o_proj(x)
        torch.testing.assert_close(attention.o_proj(x), want)


def test_a_linear_that_is_replaced_later():
    model = packed()
    qlinear.nn.optimize(model)
    model.model.layers[1].mlp.up_proj = torch.nn.Linear(64, 96, bias=False)
    with pytest.raises(qlinear.Error, match="up_proj of an optimized layer has become a Linear"):
        logits(model)


def test_threads():
    model = packed()
    qlinear.nn.optimize(model)
    batches = [torch.randint(3, 120, (1, rows)) for rows in (1, 2, 3, 5)]
    with torch.no_grad():
        want = [model(ids).logits for ids in batches]

    def work(i):
        with torch.no_grad():
            return all(torch.equal(model(batches[i]).logits, want[i]) for _ in range(20))

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4)))


def test_no_gradient():
    model = packed()
    qlinear.nn.optimize(model)
    x = torch.randn(1, 3, 64, requires_grad=True)
    layer = model.model.layers[0]
    with pytest.raises(qlinear.Error, match="has no gradients"):
        layer._qlinear.mlp(layer, x, x).sum().backward()


def test_arguments_of_the_op():
    model = packed()
    qlinear.nn.optimize(model)
    layer = model.model.layers[0]
    x = torch.randn(2, 64)
    with torch.no_grad():
        with pytest.raises(qlinear.ArgumentError, match="input 1 of .*block"):
            layer._qlinear.mlp(layer, x, x[:, :32])
        y = layer._qlinear.mlp(layer, x[:0], x[:0])
    assert y.shape == (0, 64)


def test_adapters_on_an_optimized_model():
    """The functions know nothing of them, and say so; the other order works."""
    peft = pytest.importorskip("peft")
    for target in ("o_proj", "up_proj"):
        model = packed()
        qlinear.nn.optimize(model)
        config = peft.LoraConfig(r=8, target_modules=[target])
        adapted = peft.get_peft_model(model, qlinear.nn.lora_config(config, model))
        with pytest.raises(qlinear.Error, match=f"{target} of an optimized layer has become"):
            adapted(IDS)
    model = packed()
    config = peft.LoraConfig(r=8, target_modules=["o_proj"], init_lora_weights=False)
    adapted = peft.get_peft_model(model, qlinear.nn.lora_config(config, model)).eval()
    want = logits(adapted)
    assert reasons(adapted) == [None, None]
    assert off(logits(adapted), want) < 1e-5


def test_offloaded_by_accelerate():
    accelerate = pytest.importorskip("accelerate")
    model = packed()
    want = logits(model)
    offloaded = accelerate.cpu_offload(copy.deepcopy(model), execution_device="cpu")
    assert "q_proj has a hook of accelerate" in reasons(offloaded)[0]
    assert torch.equal(logits(offloaded), want)
    qlinear.nn.optimize(model)
    want = logits(model)
    placed = accelerate.dispatch_model(copy.deepcopy(model), {"": "cpu"}, force_hooks=True)
    assert torch.equal(logits(placed), want)
    accelerate.cpu_offload(model, execution_device="cpu", offload_buffers=True)
    with pytest.raises(qlinear.ArgumentError, match="a tensor on meta; what is offloaded"):
        logits(model)
