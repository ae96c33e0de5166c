#!/usr/bin/env python3
# ===- decoder_layers.py - Layers of transformers, packed and compiled -*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Times decoder layers of transformers on a GPU, in a CUDA graph and eagerly: bfloat16, after
swap_linears(), and after optimize(). A batch of B decodes a token each (B x 1), a prompt
is 1 x M. Each layer has weights of its own, so that they come from memory and not from a cache.
What the layers after optimize() give is compared with what they gave before, and has the same
bits in each replay.

    decoder_layers.py                      # of Llama-3 8B; --model qwen3, gemma3
    decoder_layers.py --generate 64        # generate() of as many tokens, eagerly
    decoder_layers.py --pack cuda:sm_90a   # only fills the cache of artifacts ($QLINEAR_CACHE)
"""

import argparse
import copy
import time

import qlinear.nn
import torch
from decode import microseconds
from transformers import AutoModelForCausalLM, Gemma3TextConfig, LlamaConfig, Qwen3Config

VARIANTS = ("bf16", "packed", "optimized")
#: Configuration; what rotary embeddings are asked for besides positions; K, the MLP's inner
#: columns, heads, those of keys, columns of a head: of Llama-3 8B, Qwen 3 8B, Gemma 3 27B.
MODELS = {
    "llama": (LlamaConfig, (), 4096, 14336, 32, 8, 128),
    "qwen3": (Qwen3Config, (), 4096, 12288, 32, 8, 128),
    "gemma3": (Gemma3TextConfig, ("full_attention",), 5376, 21504, 32, 16, 128),
}


class Layers(torch.nn.Module):
    def __init__(self, layers, rotary):
        super().__init__()
        self.layers, self.rotary = torch.nn.ModuleList(layers), rotary

    def forward(self, x, embeddings):
        for layer in self.layers:
            x = layer(x, attention_mask=None, position_embeddings=embeddings)
        return x


def config_of(options):
    kind, _, hidden, inner, heads, kv_heads, head = MODELS[options.model]
    return kind(
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=options.layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=head,
        attn_implementation="sdpa",
    )


def generate(options):
    """Prints what a token of generate() takes, with transformers' defaults: no graph."""
    with torch.device("cuda"):
        model = AutoModelForCausalLM.from_config(config_of(options)).bfloat16().eval()
    prompt = torch.arange(5, 21, device="cuda")[None]
    count = {"max_new_tokens": options.generate, "min_new_tokens": options.generate}
    head = "lm_head"
    for name in VARIANTS:
        if name == "packed":
            qlinear.nn.swap_linears(
                model, options.encoding, search=False, select=lambda path, _: path != head
            )
        elif name == "optimized":
            print(qlinear.nn.optimize(model))
        for _ in range(3):  # the last counts
            torch.cuda.synchronize()
            start = time.perf_counter()
            model.generate(prompt, do_sample=False, pad_token_id=0, **count)
            torch.cuda.synchronize()
            took = time.perf_counter() - start
        print(f"{name}: {1e3 * took / options.generate:.2f} ms a token", flush=True)


def models(options):
    """{variant: a layer} on the CPU, with one set of weights, and the rotary embedding."""
    config = config_of(options)
    config.num_hidden_layers, config.vocab_size = 1, 8
    model = AutoModelForCausalLM.from_config(config).bfloat16().eval().model
    layer, rotary = model.layers[0], model.rotary_emb
    packed = copy.deepcopy(layer)
    qlinear.nn.swap_linears(packed, options.encoding, search=False)
    optimized = copy.deepcopy(packed)
    report = qlinear.nn.optimize(optimized)
    if any(entry.reason for entry in report):
        raise SystemExit(report)
    return dict(zip(VARIANTS, (layer, packed, optimized))), rotary


def measure(model, x, embeddings, layers):
    """(us in a graph, us eagerly, results) per layer."""
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        model(x, embeddings)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = model(x, embeddings)
    graph.replay()
    first = y.clone()
    captured = microseconds(graph.replay, layers)
    if not torch.equal(y, first):
        raise SystemExit(f"results of {tuple(x.shape)} change from replay to replay")
    return captured, microseconds(lambda: model(x, embeddings), layers, repeats=5), first


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", choices=MODELS, default="llama")
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--batches", default="1,4,8,16,32,64")
    parser.add_argument("--prompts", default="128,512,2048")
    parser.add_argument("--encoding", default="row-u8")
    parser.add_argument("--generate", type=int, metavar="TOKENS")
    parser.add_argument("--pack", metavar="TARGET", help="compile for it, and run nothing")
    options = parser.parse_args()
    torch.manual_seed(0)
    with torch.no_grad():
        if options.generate:
            return generate(options)
        one, rotary = models(options)
        if options.pack:
            qlinear.nn.prepare(one["optimized"], torch.bfloat16, options.pack)
            return
        rotary = rotary.cuda()
        made = {
            name: Layers((copy.deepcopy(layer).cuda() for _ in range(options.layers)), rotary)
            for name, layer in one.items()
        }
        print(
            f"{torch.cuda.get_device_name()}, us per layer, {options.layers} layers of "
            f"{options.model}, {options.encoding}"
        )
        print("| rows | bf16, graph | packed | optimized | faster | bf16, eager | packed | "
              "optimized |\n| --- | --- | --- | --- | --- | --- | --- | --- |")
        asked, hidden = MODELS[options.model][1:3]
        shapes = [(int(b), 1) for b in options.batches.split(",") if b]
        shapes += [(1, int(m)) for m in options.prompts.split(",") if m]
        for batch, length in shapes:
            x = torch.randn(batch, length, hidden, device="cuda", dtype=torch.bfloat16)
            positions = torch.arange(length, device="cuda").expand(batch, length)
            embeddings = rotary(x, positions, *asked)
            graph, eager, results = zip(
                *(measure(made[name], x, embeddings, options.layers) for name in VARIANTS)
            )
            error = ((results[2] - results[1]).norm() / results[1].norm()).item()
            if not error < 0.03:  # bf16 between the operations of one, and not of the other
                raise SystemExit(f"results of {batch} x {length} differ by {error:.2g}")
            print(
                f"| {batch} x {length} | {' | '.join(f'{t:.1f}' for t in graph)} | "
                f"{graph[0] / graph[2]:.2f} x | {' | '.join(f'{t:.0f}' for t in eager)} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
