# ===- test_tied.py - Heads that are their model's embedding ---------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""swap_linears(tied=...) on small random models of transformers."""

import copy
import pickle

import pytest
import qlinear

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
import qlinear.nn  # noqa: E402
import qlinear.transformers  # noqa: E402
from test_models import IDS, SIZES, logits, model_of, swap  # noqa: E402


def packed(name="Llama", tied="packed", **options):
    model = model_of(name, tie_word_embeddings=True, **options)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    return model, swap(model, tied=tied)


@pytest.mark.parametrize("name", ["Llama", "Gemma2"])
def test_one_copy(name, tmp_path):
    model, report = packed(name)
    head, embedding = model.lm_head, model.model.embed_tokens
    assert "6 bits, not 4 (head_bits); model.embed_tokens reads its rows" in str(report)
    assert isinstance(embedding, torch.nn.Embedding) and not list(embedding.parameters())
    assert set(embedding.state_dict()) == {"rows_of"}
    # As the model with one float weight of the same values for both.
    plain = model_of(name, tie_word_embeddings=True)
    with torch.no_grad():
        plain.lm_head.weight.copy_(head.dequantize())
        ids = torch.tensor([[0, 127], [5, 5]])
        want = plain.model.embed_tokens(ids)
        for kind in (torch.int64, torch.int32):
            torch.testing.assert_close(embedding(ids.to(kind)), want)
        assert embedding(ids[:0]).shape == (0, 2, 64)
    assert torch.equal(swap_all_but_head(plain)(IDS).logits, logits(model))
    want = logits(model)
    tokens = model.generate(IDS, max_new_tokens=4, do_sample=False)

    model.save_pretrained(tmp_path / "saved")
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "saved")
    torch.save(model.state_dict(), tmp_path / "state")
    other = model_of(name, seed=1, tie_word_embeddings=True)
    qlinear.nn.swap_linears(other, empty=str(tmp_path / "state"))
    other.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
    for same in (again, other, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert same.model.embed_tokens.__dict__["_head"] is same.lm_head is not model.lm_head
        assert torch.equal(logits(same), want)
        assert torch.equal(same.generate(IDS, max_new_tokens=4, do_sample=False), tokens)
    half = copy.deepcopy(model).to(torch.bfloat16)
    assert half.model.embed_tokens(ids).dtype == torch.bfloat16
    with pytest.raises(qlinear.Error, match="rows of 'lm_head', and the model has no such head"):
        transformers.AutoModel.from_pretrained(tmp_path / "saved")


@torch.no_grad()
@pytest.mark.parametrize("name", ["Llama", "Gemma2"])
def test_on_gpus(name):
    """By a kernel, as on a GPU."""
    model, _ = packed(name)
    embedding = model.model.embed_tokens
    ids = torch.tensor([[0, 127, 5], [5, 64, 1]])
    want = embedding(ids)
    with qlinear.nn.host_device("emulated"):
        for kind in (torch.int64, torch.int32):
            torch.testing.assert_close(embedding(ids.to(kind)), want)
        half = copy.deepcopy(model).to(torch.bfloat16).model.embed_tokens
        torch.testing.assert_close(half(ids), want.to(torch.bfloat16))
        assert embedding(ids[:0]).shape == (0, 3, 64)
        # No row; also none after the numbers are 32 bits.
        lost = embedding(torch.tensor([-1, 128, 1 << 32, -(1 << 32) + 5, 3]))
    assert lost[:4].isnan().all() and torch.equal(lost[4], embedding(torch.tensor([3]))[0])
    with pytest.raises(qlinear.ArgumentError, match="indices are torch.int16"):
        embedding(ids.to(torch.int16))


@torch.no_grad()
def swap_all_but_head(model):
    """Its head multiplies as a packed one does."""
    head = model.lm_head.weight
    model.lm_head.weight = torch.nn.Parameter(head.clone())
    model.config.tie_word_embeddings = False
    swap(model, tied=None)
    return model.eval().requires_grad_(False)


@pytest.mark.parametrize("name", ["Llama", "Gemma2"])
def test_the_head_alone(name, tmp_path):
    model, _ = packed(name, "head")
    assert model.model.embed_tokens.weight.shape == (128, 64)
    want = logits(model)
    model.save_pretrained(tmp_path)
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert type(again.lm_head) is qlinear.nn.Linear and torch.equal(logits(again), want)


def test_compiled():
    model, _ = packed()
    compiled = torch.compile(model.model, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        have = compiled(IDS, use_cache=False).last_hidden_state
        torch.testing.assert_close(have, model.model(IDS, use_cache=False).last_hidden_state)
    qlinear.nn.optimize(model)


def test_what_stays():
    model = model_of(tie_word_embeddings=True)
    report = str(swap(copy.deepcopy(model)))
    assert "its weight is also model.embed_tokens.weight; tied= packs it" in report
    with pytest.raises(qlinear.ArgumentError, match="tied is 'both'; None, 'head' and 'packed'"):
        swap(model, tied="both")
    model.model.embed_tokens.max_norm = 2.0
    assert "model.embed_tokens stays as it is: it has max_norm" in str(swap(model, tied="packed"))

    class Shifted(torch.nn.Embedding):
        def forward(self, input):
            return super().forward(input + 1)[..., :] + 1

    model = model_of(tie_word_embeddings=True)
    model.model.embed_tokens.__class__ = Shifted
    want = model.model.embed_tokens(IDS)
    report = str(swap(model, tied="packed"))
    assert "model.embed_tokens reads its rows" in report  # it is a lookup, with something around
    assert (model.model.embed_tokens(IDS) - want).norm() < 0.3 * want.norm()

    class Summed(torch.nn.Embedding):
        def forward(self, input):
            return torch.nn.functional.embedding(input, 2 * self.weight)

    model = model_of(tie_word_embeddings=True)
    model.model.embed_tokens.__class__ = Summed
    want = model.model.embed_tokens(IDS)
    report = str(swap(model, tied="packed"))
    assert "model.embed_tokens stays as it is: a Summed is more than a lookup" in report
    assert torch.equal(model.model.embed_tokens(IDS), want)
    indices, head = torch.zeros(2), model.lm_head
    with pytest.raises(qlinear.ArgumentError, match="indices are torch.float32; int64 and int32"):
        torch.ops.qlinear.embedding(indices, head.packed, head.encoding, 128, 64, torch.float32)


def test_a_model_with_images(tmp_path):
    """Of Gemma 3 the text is packed; its tensors are called otherwise in files."""
    config = transformers.Gemma3Config(
        text_config={**SIZES, "num_hidden_layers": 2},
        vision_config={
            "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1,
            "num_attention_heads": 2, "image_size": 28, "patch_size": 14,
        },
        mm_tokens_per_image=4, image_token_index=100, boi_token_index=101, eoi_token_index=102,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.Gemma3ForConditionalGeneration(config).eval()
    swap(model, tied="packed", select=lambda name, layer: "vision" not in name)
    want = logits(model)
    model.save_pretrained(tmp_path)
    again = transformers.Gemma3ForConditionalGeneration.from_pretrained(tmp_path)
    assert torch.equal(logits(again), want)
    assert [entry.reason for entry in qlinear.nn.optimize(again)] == [None, None]
    assert (logits(again) - want).norm() < 0.01 * want.norm()


def test_loaded_by_accelerate(tmp_path):
    accelerate = pytest.importorskip("accelerate")
    model, _ = packed()
    model.save_pretrained(tmp_path)
    with accelerate.init_empty_weights():
        again = model_of(tie_word_embeddings=True)
    qlinear.nn.swap_linears(again, empty=tmp_path)
    accelerate.load_checkpoint_and_dispatch(again, tmp_path, device_map={"": "cpu"})
    assert torch.equal(logits(again.eval()), logits(model))
