# ===- test_models.py - Models of transformers, peft and accelerate -*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Small random models of the classes that people have, each optional: where transformers, peft
or accelerate is missing, its tests are skipped."""

import copy

import pytest
import qlinear

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
import qlinear.nn  # noqa: E402

IDS = torch.randint(3, 120, (2, 5), generator=torch.Generator().manual_seed(1))
SIZES = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 128,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def model_of(name="Llama", seed=0, dtype=torch.float32, **options):
    torch.manual_seed(seed)
    config = getattr(transformers, f"{name}Config")(**{**SIZES, **options})
    return getattr(transformers, f"{name}ForCausalLM")(config).eval().to(dtype)


def swap(model, **options):
    return qlinear.nn.swap_linears(model, "row-u8", search=False, **options)


def logits(model):
    with torch.no_grad():
        return model(IDS).logits


def dequantized(model):
    """The model with nn.Linear of what its packed layers stand for."""
    model = copy.deepcopy(model)
    for module in list(model.modules()):
        for key, child in module._modules.items():
            if isinstance(child, qlinear.nn.Linear):
                linear = torch.nn.Linear(child.in_features, child.out_features)
                linear.weight = torch.nn.Parameter(child.dequantize())
                linear.bias = child.bias
                module._modules[key] = linear
    return model


PROJECTIONS = {
    "self_attn": ("q_proj", "k_proj", "v_proj", "o_proj"),
    "mlp": ("gate_proj", "up_proj", "down_proj"),
}
BLOCK = {f"model.layers.0.{a}.{n}" for a, names in PROJECTIONS.items() for n in names}


@pytest.mark.parametrize(
    "name, options, packed",
    [
        ("Llama", {"tie_word_embeddings": False}, {*BLOCK, "lm_head"}),
        ("Llama", {"tie_word_embeddings": True}, BLOCK),
        ("Qwen2", {}, {*BLOCK, "lm_head"}),
        ("Gemma", {}, BLOCK),
        (
            "Mixtral",
            {"num_local_experts": 4},
            {*(n for n in BLOCK if "attn" in n), "lm_head"},
        ),
    ],
)
def test_decoders(name, options, packed):
    model = model_of(name, **options)
    report = swap(model)
    assert {s.name for s in report if s.layer is not None} == packed
    bits = {s.name: s.layer.encoding[:2] for s in report if s.layer is not None}
    assert bits.pop("lm_head", "i6") == "i6" and set(bits.values()) == {"u4"}
    have, want = logits(model), logits(dequantized(model))
    assert (have - want).norm() < 0.05 * want.norm()  # int8 activations
    if name == "Mixtral":
        experts = {s.name: s.bytes for s in report if ".experts." in s.name}
        assert sum(experts.values()) == 4 * 4 * 3 * 64 * 96
        assert report.other_bytes > 10 * report.packed_bytes


def test_weights_that_are_not_linears_or_are_read():
    config = transformers.GPT2Config(n_embd=64, n_layer=1, n_head=4, vocab_size=128)
    report = swap(transformers.GPT2LMHeadModel(config))
    assert not any(s.layer for s in report)
    assert sum("Conv1D, which is no nn.Linear" in s.reason for s in report) == 4
    config = transformers.T5Config(
        d_model=64, d_ff=96, d_kv=16, num_layers=1, num_heads=4, vocab_size=128
    )
    model = transformers.T5ForConditionalGeneration(config).eval()
    reasons = {s.name: s.reason for s in swap(model)}
    name = "decoder.block.0.layer.2.DenseReluDense"
    assert reasons[f"{name}.wo"] == "a T5DenseActDense reads its weight"
    assert reasons[f"{name}.wi"] == "" and "its weight is also" in reasons["lm_head"]
    with torch.no_grad():
        model(input_ids=IDS, decoder_input_ids=IDS)


def test_export_saves_and_loads(tmp_path):
    model = model_of()
    swap(model)

    class Logits(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, ids):
            return self.model(ids, use_cache=False).logits

    with torch.no_grad():
        program = torch.export.export(Logits().eval(), (IDS,), strict=False)
        torch.export.save(program, tmp_path / "model.pt2")
        again = torch.export.load(tmp_path / "model.pt2")
        assert torch.equal(again.module()(IDS), logits(model))


def test_swap_of_a_compiled_model():
    """Compiled before, called before and after: no stale code."""
    for compiled in (
        lambda m: torch.compile(m, backend="aot_eager"),
        lambda m: m.compile(backend="aot_eager") or m,
    ):
        model = model_of()
        call = compiled(model)
        before = logits(call)
        report = swap(call)
        assert sum(s.layer is not None for s in report) == 8
        torch.testing.assert_close(logits(call), logits(copy.deepcopy(model)))
        assert not torch.equal(logits(call), before)


def test_save_and_from_pretrained(tmp_path):
    import qlinear.transformers

    model = model_of(attention_bias=True, num_hidden_layers=2)
    swap(model, select=lambda name, layer: name != "model.layers.1.mlp.up_proj")
    model.save_pretrained(tmp_path / "one")
    model.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 2
    for folder in ("one", "shards"):
        again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / folder)
        assert torch.equal(logits(again), logits(model))
        assert type(again.model.layers[1].mlp.up_proj) is torch.nn.Linear
        assert type(again.lm_head) is qlinear.nn.Linear
    again.save_pretrained(tmp_path / "again")
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "again")
    assert torch.equal(logits(again), logits(model))
    # Without the head, under names of its own.
    body = transformers.AutoModel.from_pretrained(tmp_path / "one")
    with torch.no_grad():
        have, want = (m(IDS).last_hidden_state for m in (body, model.model))
    assert torch.equal(have, want)
    half = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "one", dtype="bfloat16")
    error = (logits(half).float() - logits(model)).norm() / logits(model).norm()
    assert half.model.embed_tokens.weight.dtype == torch.bfloat16 and error < 0.05

    # Of a float model: quantized as it is loaded.
    model = model_of()
    model.save_pretrained(tmp_path / "floats")
    options = qlinear.transformers.QLinearConfig(encoding="row-u8", search=False)
    packed = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "floats", quantization_config=options
    )
    swap(model)
    assert torch.equal(logits(packed), logits(model))


# ===------------------------------------------------------------------------===#
# peft
# ===------------------------------------------------------------------------===#


def trained(model):
    """One step; all that requires a gradient has one, and the loss goes down."""
    model.train()
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=0.5)
    losses = []
    for _ in range(2):
        optimizer.zero_grad()
        loss = model(IDS, labels=IDS).loss
        loss.backward()
        assert all(p.grad is not None for p in parameters)
        optimizer.step()
        losses.append(loss.item())
    assert losses[1] < losses[0]
    return model.eval()


@pytest.mark.parametrize("targets", [["q_proj", "v_proj"], "all-linear"])
@pytest.mark.parametrize("before", [True, False])
def test_lora(before, targets, tmp_path):
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=32, target_modules=targets)
    model = model_of()
    if before:
        # lora_A and lora_B would fit the group.
        model = peft.get_peft_model(model, config)
        report = swap(model)
        adapters = [s for s in report if ".lora_" in s.name]
        assert adapters and all("belongs to an adapter" in s.reason for s in adapters)
        assert sum(s.layer is not None for s in report) == 8
    else:
        swap(model)
        plain, asked = logits(model), copy.deepcopy(config.target_modules)
        model = peft.get_peft_model(model, qlinear.nn.lora_config(config, model))
        assert torch.equal(logits(model), plain)
        assert config.target_modules == asked  # it gave a copy
    count = 2 if targets != "all-linear" else 7  # not the head
    wrapped = [m for m in model.modules() if isinstance(m, peft.tuners.lora.Linear)]
    assert len(wrapped) == count
    assert all(isinstance(m.base_layer, qlinear.nn.Linear) for m in wrapped)
    trained(model)
    for merge in (model.merge_adapter, model.merge_and_unload):
        with pytest.raises((qlinear.Error, AttributeError), match="float model.*swap"):
            merge()
    # Saved alone, and loaded on the swapped model or on a float one that is swapped then.
    model.save_pretrained(tmp_path)
    base = model_of()
    if not before:
        swap(base)
        config = qlinear.nn.lora_config(peft.LoraConfig.from_pretrained(tmp_path), base)
    loaded = peft.PeftModel.from_pretrained(base, tmp_path, config=None if before else config)
    if before:
        swap(loaded)
    assert torch.equal(logits(loaded.eval()), logits(model))
    # All of it.
    torch.save(model.state_dict(), tmp_path / "all.pt")
    loaded.load_state_dict(torch.load(tmp_path / "all.pt", weights_only=True))
    assert torch.equal(logits(loaded), logits(model))
    assert isinstance(model.unload().model.layers[0].self_attn.q_proj, qlinear.nn.Linear)


def test_adapters_that_read_the_weight():
    peft = pytest.importorskip("peft")
    for config in (
        peft.LoraConfig(r=8, target_modules=["down_proj"], use_dora=True),
        peft.LoHaConfig(r=8, target_modules=["down_proj"]),
    ):
        model = peft.get_peft_model(model_of(), config)
        reasons = {s.name: s.reason for s in swap(model)}
        name = "base_model.model.model.layers.0.mlp.down_proj.base_layer"
        assert reasons[name].endswith("reads its weight")
        trained(model)
    model = model_of()
    with pytest.raises(qlinear.ArgumentError, match="DoRA reads the weight, which is packed"):
        qlinear.nn.lora_config(peft.LoraConfig(use_dora=True), model)
    with pytest.raises(qlinear.ArgumentError, match="config is a LoHaConfig; peft's LoraConfig"):
        qlinear.nn.lora_config(peft.LoHaConfig(), model)
    # What would be said to be trained, and is not.
    swap(model)
    for kept, name in ((["lm_head"], "lm_head"), (["mlp"], "model.layers.0.mlp")):
        config = peft.LoraConfig(target_modules=["q_proj"], modules_to_save=kept)
        with pytest.raises(qlinear.ArgumentError, match=f"modules_to_save has '{name}', which is"):
            qlinear.nn.lora_config(config, model)
    config = peft.LoraConfig(target_modules=["q_proj"], modules_to_save=["embed_tokens"])
    trained(peft.get_peft_model(model, qlinear.nn.lora_config(config, model)))


def test_prompts_and_saved_modules_stay():
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=8, target_modules=["q_proj"], modules_to_save=["lm_head"])
    model = peft.get_peft_model(model_of(), config)
    reasons = {s.name: s.reason for s in swap(model) if "lm_head" in s.name}
    assert len(reasons) == 2 and all("ModulesToSaveWrapper of peft" in r for r in reasons.values())
    trained(model)
    config = peft.PromptEncoderConfig(
        num_virtual_tokens=4, task_type="CAUSAL_LM", encoder_hidden_size=64
    )
    model = peft.get_peft_model(model_of(), config)
    reasons = {s.name: s.reason for s in swap(model) if "prompt_encoder" in s.name}
    assert any("an adapter, a PeftModelForCausalLM" in r for r in reasons.values())
    trained(model)


# ===------------------------------------------------------------------------===#
# accelerate
# ===------------------------------------------------------------------------===#


def test_hooks_of_accelerate_move():
    hooks = pytest.importorskip("accelerate.hooks")
    calls = []

    class Counts(hooks.ModelHook):
        def pre_forward(self, module, *args, **kwargs):
            calls.append(module)
            return args, kwargs

    model = model_of()
    align = hooks.AlignDevicesHook(execution_device="cpu", io_same_device=True)
    hooks.add_hook_to_module(model.lm_head, align)
    hooks.add_hook_to_module(model.lm_head, Counts(), append=True)
    swap(model)
    logits(model)
    assert calls == [model.lm_head] and isinstance(model.lm_head, qlinear.nn.Linear)
    assert model.lm_head._hf_hook.hooks[0] is align
    hooks.remove_hook_from_module(model, recurse=True)
    logits(model)
    assert len(calls) == 1


def test_offloaded_before_and_after(tmp_path):
    accelerate = pytest.importorskip("accelerate")
    offloads = (
        lambda m: accelerate.cpu_offload(m, execution_device="cpu"),
        lambda m: accelerate.disk_offload(m, tmp_path, execution_device="cpu"),
    )
    for offload in offloads:
        model = offload(model_of())
        with pytest.raises(qlinear.Error, match="q_proj' is offloaded by accelerate: there is no"):
            swap(model)
        assert type(model.lm_head) is torch.nn.Linear
        model = model_of()
        swap(model)
        want = logits(model)
        assert torch.equal(logits(offload(model)), want)


def test_load_checkpoint_and_dispatch(tmp_path):
    accelerate = pytest.importorskip("accelerate")
    safetensors = pytest.importorskip("safetensors.torch")
    model = model_of(attention_bias=True)
    swap(model, select=lambda name, layer: "k_proj" not in name)
    state = model.state_dict()
    safetensors.save_file(state, tmp_path / "model.safetensors")
    torch.save(state, tmp_path / "model.bin")
    for source, known in (
        (tmp_path, True),
        (tmp_path / "model.bin", True),
        (state, True),
        (tmp_path / "model.safetensors", False),
    ):
        with accelerate.init_empty_weights():
            empty = model_of(attention_bias=True)
        if known:
            report = qlinear.nn.swap_linears(empty, empty=source)
            reasons = {s.name: s.reason for s in report if s.layer is None}
            assert reasons["model.layers.0.self_attn.k_proj"] == (
                "the checkpoint has no packed weight of it"
            )
        else:  # sizes and encodings are not known before
            swap(empty, empty=True, select=lambda name, layer: "k_proj" not in name)
            empty = copy.deepcopy(empty)
            assert all(v.numel() == 0 for k, v in empty.state_dict().items() if "packed" in k)
        if source is state:
            empty.load_state_dict(state, assign=True)
        else:
            accelerate.load_checkpoint_and_dispatch(
                empty, str(source), device_map={"": "cpu"}, force_hooks=True
            )
        # A buffer that no state_dict has.
        empty.model.rotary_emb = type(empty.model.rotary_emb)(empty.config)
        assert torch.equal(logits(empty), logits(model))
    with pytest.raises(qlinear.Error, match="has no packed layers.*not of a model after swap"):
        qlinear.nn.swap_linears(model_of(), empty=model_of().state_dict())
    with pytest.raises(qlinear.Error, match="none of the 8 linears .* it has x.model.layers"):
        qlinear.nn.swap_linears(model_of(), empty={f"x.{k}": v for k, v in state.items()})
