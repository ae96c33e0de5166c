#!/usr/bin/env python3
# ===- parallel.py - A packed model over several GPUs --------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Times a token of a packed model of transformers, of which each process has a part, and checks
that all processes have the same logits in each step. Decodes eagerly with a static cache.

    torchrun --nproc-per-node=2 parallel.py                 # Llama-3 8B's sizes, random weights
    torchrun --nproc-per-node=1 parallel.py                 # the same on one, to compare
    torchrun --nproc-per-node=2 parallel.py --model FOLDER  # of save_pretrained()
    torchrun --nproc-per-node=2 parallel.py --tiny          # as a trial, also on a CPU

The first process packs random weights, which takes minutes, into a folder below --work.
"""

import argparse
import os
import pathlib
import statistics
import time

import qlinear.nn
import qlinear.transformers
import torch
import transformers

EIGHT = {"hidden_size": 4096, "intermediate_size": 14336, "num_attention_heads": 32,
         "num_key_value_heads": 8, "vocab_size": 128256}  # fmt: skip
TINY = {"hidden_size": 256, "intermediate_size": 1280, "num_attention_heads": 8,
        "num_key_value_heads": 4, "vocab_size": 1030}  # fmt: skip


def make(folder, sizes, layers):
    config = transformers.LlamaConfig(
        **sizes, num_hidden_layers=layers, max_position_embeddings=8192, tie_word_embeddings=False
    )
    with torch.device("meta"):
        model = transformers.LlamaForCausalLM(config).to(torch.bfloat16)
    model.to_empty(device="cpu")
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    qlinear.nn.swap_linears(model, "row-u8", search=False)
    model.save_pretrained(folder)


def synchronize(device):
    if device.type != "cpu":
        torch.accelerator.synchronize()


@torch.no_grad()
def milliseconds(model, tokens, steps):
    """The median time of a step, and whether all processes agreed in all of them."""
    cache = transformers.StaticCache(config=model.config, max_cache_len=tokens.shape[1] + steps)
    logits = model(tokens, past_key_values=cache).logits[:, -1:]
    times, equal = [], True
    for _ in range(steps):
        torch.distributed.barrier()
        synchronize(model.device)
        start = time.perf_counter()
        logits = model(logits.argmax(-1), past_key_values=cache).logits
        synchronize(model.device)
        times.append(1000 * (time.perf_counter() - start))
        every = [torch.empty_like(logits) for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather(every, logits.contiguous())
        equal &= all(torch.equal(one, logits) for one in every)
    return statistics.median(times[1:]), equal


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--model", type=pathlib.Path, help="a folder of save_pretrained()")
    parser.add_argument("--work", type=pathlib.Path, default="build/parallel")
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--steps", type=int, default=32)
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    gpus = torch.cuda.is_available()
    if gpus:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    torch.distributed.init_process_group("nccl" if gpus else "gloo")
    rank, ranks = torch.distributed.get_rank(), torch.distributed.get_world_size()
    folder = options.model or options.work / ("tiny" if options.tiny else f"8b-{options.layers}")
    if rank == 0 and not folder.exists():
        make(folder, TINY if options.tiny else EIGHT, 2 if options.tiny else options.layers)
    torch.distributed.barrier()
    where = {"tp_plan": "auto"} if ranks > 1 else {"device_map": "cuda" if gpus else "cpu"}
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.bfloat16, **where
    ).eval()
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(3, 1000, (1, options.context), generator=generator)
    ms, equal = milliseconds(model, tokens.to(model.device), options.steps)
    here = sum(m.packed.numel() for m in model.modules() if isinstance(m, qlinear.nn.Linear))
    if rank == 0:
        agreed = "all had the same logits" if equal else "LOGITS DIFFER"
        print(
            f"{ranks} processes: {ms:.2f} ms a token, {here / 2**20:.1f} MiB of packed weights in "
            f"the first; {agreed}"
        )
    torch.distributed.destroy_process_group()
    if not equal:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
