#!/usr/bin/env python3
# ===- bench.py - Whole models on one GPU --------------------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Measures whole language models on one GPU: the time of a token at several lengths of context
and sizes of batch, that of a prompt, memory, and what share linears and attention have. Models are
transformers' classes with random weights; only the linears differ from variant to variant, and
with those of QLinear the decoder layers are compiled functions (qlinear.nn.optimize).

    bench.py -o results                         # all; the page: report.py results
    bench.py -o results --models 31b --variants row-u8,bf16 --contexts 512,8192 --batches 1
    bench.py --check                            # tokens of small models are those of generate()
    bench.py --pack cuda:sm_90a                 # only fills the cache of artifacts ($QLINEAR_CACHE)

A run adds to what a folder has of the same model and variant."""

import argparse
import gc
import json
import pathlib
import re
import statistics
import time

import decoding
import models
import qlinear.nn
import torch
import transformers

#: What kernels are: the first whose name fits; the rest is norms (those of ours, "linear0_prepare",
#: leave what the linear after them reads), rotary embeddings, sums and the like.
KINDS = {
    "attention": re.compile(r"attention|flash|fmha|softmax"),
    "linears": re.compile(
        r"^linear\d+_m|^quantize|gemm|gemv|nvjet|cutlass|splitK|sm\d+_xmma|tinygemm"
    ),
}
#: Memory that is left for what is no cache, in bytes.
MARGIN = 3 << 30
START = time.perf_counter()


def log(*words):
    print(f"[{time.perf_counter() - START:6.1f} s]", *words, flush=True)


class Refused(Exception):
    """A cell that cannot be measured, and why."""


def clear(device):
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def made(
    name, variant, device, *, optimized=True, attention=decoding.NAME, filled=True, tokens=None,
    **sizes,
):  # fmt: skip
    """A model whose linears are those of a variant, its head for other `tokens`."""
    is_float = variant == models.FLOAT
    model = models.build(name, device, attention, linears=is_float, **sizes)
    if device == "cuda":
        decoding.fuse_elementwise(model)
    if not is_float:
        models.replace(model, variant, device, filled=filled, tokens=tokens)
    if variant in models.ENCODINGS and optimized:
        # Its check would run the layers' linears by themselves, too: kernels for nothing.
        report = qlinear.nn.optimize(model, check=False)
        if any(entry.reason for entry in report):
            raise SystemExit(f"{name}, {variant}: {report}")
    return model


def kernels_of(model, optimized):
    """What prepare() has to compile, for the sizes of the whole model."""
    if not optimized:
        return qlinear.nn.shapes(model)
    head = qlinear.nn.shapes(model.lm_head)
    # A linear starts with its encoding, and a function of a layer with a name.
    return head + [s for s in qlinear.nn.shapes(model) if "," not in s[0]]


def pack(options):
    """Compiles all that packed variants run."""
    for name in options.models + (list(CHECKED) if options.check else []):
        for variant in options.variants:
            if variant not in models.ENCODINGS:
                continue
            sizes = models.of_each_kind(name)
            tokens = models.MODELS[name][3]["vocab_size"]
            of = made(
                name, variant, "cpu", optimized=options.optimized, filled=False, tokens=tokens,
                **sizes,
            )  # fmt: skip
            qlinear.nn.prepare(kernels_of(of, options.optimized), torch.bfloat16, options.pack)
            log(f"{name}, {variant}: compiled for {options.pack}")


# ===------------------------------------------------------------------------===#
# Measuring
# ===------------------------------------------------------------------------===#


def milliseconds(run, device, rounds=3, least=120.0, most=100):
    """Of one run: the median of rounds of at most `most`, as many as take `least` ms."""

    def timed(count):
        if device == "cpu":
            start = time.perf_counter()
            for _ in range(count):
                run()
            return 1e3 * (time.perf_counter() - start)
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for _ in range(count):
            run()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end)

    timed(2)
    count = max(1, min(most, round(least / timed(1))))
    return statistics.median(timed(count) / count for _ in range(rounds))


def memory(device):
    """Peak of what PyTorch allocated, and of the whole device what is used now, in GB."""
    if device == "cpu":
        return {}
    free, total = torch.cuda.mem_get_info()
    return {
        "peak_gb": torch.cuda.max_memory_allocated() / 1e9,
        "used_gb": (total - free) / 1e9,
    }


def shares(decoder, count=3):
    """Milliseconds of a step by kind of kernel. Where kernels overlap, as launches that depend on
    each other do, the time is that of the one that began first; "gaps" is that of none."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        for _ in range(count):
            decoder.step()
        torch.cuda.synchronize()
    spans = sorted(
        (event.time_range.start, event.time_range.end, event.name)
        for event in profiler.events()
        if event.device_type == torch.autograd.DeviceType.CUDA
    )
    if not spans:
        return None
    found, now = dict.fromkeys((*KINDS, "rest", "gaps"), 0.0), spans[0][0]
    for start, end, name in spans:
        kind = next((kind for kind, known in KINDS.items() if known.search(name)), "rest")
        found["gaps"] += max(0.0, start - now)
        found[kind] += max(0.0, end - max(start, now))
        now = max(now, end)
    return {kind: us / 1e3 / count for kind, us in found.items()}


def decode_cell(model, device, context, batch, room=320):
    needs = decoding.cache_bytes(model, batch, context + room)
    if device == "cuda":
        free = torch.cuda.mem_get_info()[0] - MARGIN
        if needs > free:
            raise Refused(f"the cache has {needs / 1e9:.0f} GB, and {free / 1e9:.0f} GB are free")
    decoder = decoding.Decoder(model, batch, context, room)
    if device == "cuda":
        decoder.capture()

    # The same token at the same place.
    first, again = decoder.again(), decoder.again()
    if not torch.equal(first, again):
        raise SystemExit(f"logits at {context} x {batch} change from run to run")
    decoder.restart()
    ms = milliseconds(decoder.step, device, most=room // 4)
    cell = {"ms": ms, "tokens_per_s": 1e3 * batch / ms, **memory(device)}
    if device == "cuda":
        decoder.restart()
        cell["kinds_ms"] = shares(decoder)
    return cell


def prompt_cell(model, device, length):
    ids = torch.arange(length, device=device)[None] % model.config.vocab_size
    cache = decoding.Cache(model, 1, length + 1)

    def run():
        cache.position.zero_()
        decoding.run(model, ids, cache)

    ms = milliseconds(run, device, least=50.0)
    return {"ms": ms, "tokens_per_s": 1e3 * length / ms, **memory(device)}


CELLS = {"decode": decode_cell, "prompt": prompt_cell}


def record_of(options, name, variant, model):
    """What the folder has of a model and variant, or a new record, and its file."""
    path = options.output / f"{name}-{variant}{'' if options.optimized else '-linears'}.json"
    if path.exists():
        return path, json.loads(path.read_text())
    return path, {
        "model": name,
        "variant": variant,
        "optimized": options.optimized and variant in models.ENCODINGS,
        "device": torch.cuda.get_device_name() if options.device == "cuda" else "cpu",
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "weights_gb": models.bytes_of(model) / 1e9,
        "decode": {},
        "prompt": {},
    }


def measure(options, name, variant):
    clear(options.device)
    model = made(name, variant, options.device, optimized=options.optimized)
    path, record = record_of(options, name, variant, model)
    log(f"{name}, {variant}: {record['weights_gb']:.2f} GB of weights")
    cells = [("decode", f"{c}x{b}", (c, b)) for c in options.contexts for b in options.batches]
    cells += [("prompt", str(length), (length,)) for length in options.prompts]
    for group, cell, sizes in cells:
        clear(options.device)
        try:
            record[group][cell] = CELLS[group](model, options.device, *sizes)
        except (Refused, torch.cuda.OutOfMemoryError) as problem:
            record[group][cell] = {"skipped": str(problem).split("\n")[0]}
        path.write_text(json.dumps(record, indent=1))
        log(f"  {group} {cell}: {describe(record[group][cell])}")


def describe(cell):
    if "skipped" in cell:
        return cell["skipped"]
    words = f"{cell['ms']:.3f} ms, {cell['tokens_per_s']:.1f} tokens/s"
    if "peak_gb" in cell:
        words += f", peak {cell['peak_gb']:.2f} GB"
    kinds = cell.get("kinds_ms") or {}
    return ", ".join([words, *(f"{kind} {ms:.2f}" for kind, ms in kinds.items())])


# ===------------------------------------------------------------------------===#
# Whether what is measured is the model
# ===------------------------------------------------------------------------===#

#: Prompts of these lengths: within and beyond the window of the layers that have one.
CHECKED = {"tiny-llama": (7, 40), "tiny-gemma": (5, 40)}


def check(options):
    """Compares greedy tokens with those of transformers' generate() of the same model: its own
    attention, cache and masks. Each token is decided after generate()'s tokens, so that one near
    tie is one difference; a difference has to be such a tie."""
    count, device = options.tokens, options.device
    for name, lengths in CHECKED.items():
        for variant in options.variants:
            if variant == models.TINYGEMM and device == "cpu":
                continue  # its weights are packed for GPUs
            model = made(name, variant, device, optimized=options.optimized)
            for length in lengths:
                seeded = torch.Generator().manual_seed(1)
                ids = torch.randint(5, 500, (2, length), generator=seeded)
                equal = compare(model, ids.to(device), count)
                log(f"{name}, {variant}, a prompt of {length}: {equal} of {2 * count} tokens are "
                    "those of generate()")


def compare(model, ids, count):
    model.set_attn_implementation("sdpa")
    with_scores = {"return_dict_in_generate": True, "output_logits": True, "pad_token_id": 0}
    made = model.generate(
        ids, max_new_tokens=count, min_new_tokens=count, do_sample=False, **with_scores
    )
    want, logits = made.sequences[:, ids.shape[1] :], torch.stack(made.logits, 1).float()
    model.set_attn_implementation(decoding.NAME)
    decoder = decoding.Decoder(model, len(ids), ids.shape[1], count + 1)
    if ids.is_cuda:
        decoder.capture()
    have = [decoder.prompt(ids)]
    for i in range(count - 1):
        decoder.ids.copy_(want[:, i : i + 1])
        decoder.step()
        have.append(decoder.ids.clone())
    have = torch.cat(have, 1)
    best = logits.gather(2, want[..., None])[..., 0]
    behind = best - logits.gather(2, have[..., None])[..., 0]
    # Roundings of bfloat16, which int8 activations turn into steps.
    allowed = 0.1 * logits.std(-1)
    if (behind > allowed).any():
        where = (behind > allowed).nonzero()[0].tolist()
        raise SystemExit(
            f"token {where[1]} of sequence {where[0]} is not that of generate(): its logit is "
            f"{behind[tuple(where)].item():.3g} below, of a standard deviation of "
            f"{logits.std(-1)[tuple(where)].item():.3g}"
        )
    return (have == want).sum().item()


def main():
    names = lambda text: text.split(",")  # noqa: E731
    numbers = lambda text: [int(n) for n in text.split(",") if n]  # noqa: E731
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--output", type=pathlib.Path, default="results", metavar="FOLDER")
    parser.add_argument("--models", type=names, default="8b,31b", help="of 8b, 31b, tiny-...")
    parser.add_argument(
        "--variants", type=names, default=",".join(models.VARIANTS), help="some of the default"
    )
    parser.add_argument("--contexts", type=numbers, default="512,2048,8192,32768,130048")
    parser.add_argument("--batches", type=numbers, default="1,4,16,32")
    parser.add_argument("--prompts", type=numbers, default="512,2048")
    parser.add_argument(
        "--unoptimized", dest="optimized", action="store_false",
        help="packed linears in layers that stay as they are",
    )  # fmt: skip
    parser.add_argument("--check", action="store_true", help="compare tokens, measure nothing")
    parser.add_argument("--tokens", type=int, default=48, help="of --check")
    parser.add_argument("--pack", metavar="TARGET", help="compile for it, and run nothing")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    options = parser.parse_args()
    for kind, known in (("models", models.MODELS), ("variants", models.VARIANTS)):
        for name in getattr(options, kind):
            if name not in known:
                parser.error(f"--{kind} has '{name}'; known are {', '.join(known)}")
    torch.set_grad_enabled(False)
    if options.pack:
        return pack(options)
    if options.check:
        return check(options)
    options.output.mkdir(parents=True, exist_ok=True)
    for name in options.models:
        for variant in options.variants:
            measure(options, name, variant)


if __name__ == "__main__":
    main()
