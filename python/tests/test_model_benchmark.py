# ===- test_model_benchmark.py - benchmarks/model on the CPU --------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""The benchmark of whole models with its small ones: its tokens are those of generate(), and
what would be wrong is found."""

import json
import pathlib
import sys

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "benchmarks" / "model"
ONE = ["--contexts", "20", "--batches", "2", "--prompts", "12", "--device", "cpu"]


@pytest.fixture(scope="module")
def bench():
    ours = sys.modules.pop("layers", None)  # of these tests; the benchmark has another
    sys.path.insert(0, str(FOLDER))
    yield pytest.importorskip("bench")
    sys.path.remove(str(FOLDER))
    if ours:
        sys.modules["layers"] = ours


@pytest.fixture
def run(bench, monkeypatch, capsys):
    def called(*words):
        monkeypatch.setattr(sys, "argv", ["bench.py", *map(str, words)])
        with torch.no_grad():
            bench.main()
        torch.set_grad_enabled(True)
        return capsys.readouterr().out

    return called


def test_tokens_are_those_of_generate(run):
    said = run("--check", "--variants", "bf16,row-u8", "--tokens", "16", "--device", "cpu")
    assert said.count("of 32 tokens are those of generate()") == 8


@pytest.mark.parametrize("wrong", ["slot", "length"])
def test_wrong_tokens_are_found(run, bench, monkeypatch, wrong):
    decoding = bench.decoding
    if wrong == "slot":
        update = decoding.Cache.update

        def moved(self, *rest, **named):
            self.position += 1
            try:
                return update(self, *rest, **named)
            finally:
                self.position -= 1

        monkeypatch.setattr(decoding.Cache, "update", moved)
    else:
        ring = decoding.shapes_of
        # Rings that are one too short.
        shorter = lambda *of: ((h, n - (n < 9), d) for h, n, d in ring(*of))  # noqa: E731
        monkeypatch.setattr(decoding, "shapes_of", shorter)
    with pytest.raises(SystemExit, match="is not that of generate"):
        run("--check", "--variants", "bf16", "--tokens", "16", "--device", "cpu")


def test_a_run_adds_to_a_folder(run, tmp_path):
    options = "-o", tmp_path, "--models", "tiny-llama", "--variants"
    said = run(*options, "bf16,row-u8", *ONE)
    assert "decode 20x2" in said and "prompt 12" in said
    run(*options, "row-u8", *ONE, "--contexts", "30", "--prompts", "")
    record = json.loads((tmp_path / "tiny-llama-row-u8.json").read_text())
    assert list(record["decode"]) == ["20x2", "30x2"] and list(record["prompt"]) == ["12"]
    assert record["optimized"] and record["decode"]["30x2"]["ms"] > 0
    floats = json.loads((tmp_path / "tiny-llama-bf16.json").read_text())
    # 4.5 bits of 16, the head in 6.5; of 0.8 MB the embedding and norms stay.
    assert record["weights_gb"] < 0.45 * floats["weights_gb"]
    import report

    models = report.load([tmp_path])
    assert [len(records) for records in models.values()] == [2]
    report.tables(models)


@pytest.mark.parametrize("name", ["tiny-llama", "tiny-gemma"])
def test_optimize_knows_what_the_benchmark_replaces(bench, monkeypatch, name):
    """The Triton kernels in the place of transformers' functions: on the CPU they are these."""
    pytest.importorskip("triton")
    import inspect

    make = lambda: bench.models.build(name, "cpu", "sdpa", linears=False)  # noqa: E731
    layer = make().model.layers[0]
    names = inspect.unwrap(type(layer.self_attn).forward).__globals__
    monkeypatch.setitem(names, "apply_rotary_pos_emb", names["apply_rotary_pos_emb"])
    for kind in (type(layer.input_layernorm), type(layer.mlp)):  # to be what they were, then
        monkeypatch.setattr(kind, "forward", kind.forward)
    found = []
    for fused in (False, True):
        model = make()
        if fused:
            bench.decoding.fuse_elementwise(model)
        bench.models.replace(model, "row-u8", "cpu", filled=False)
        report = bench.qlinear.nn.optimize(model, check=False)
        assert not any(entry.reason for entry in report)
        found.append(bench.qlinear.nn.shapes(model))
    assert found[0] == found[1]
    assert any(shape[0] == "projections" and shape[-1] for shape in found[0])  # rotary
