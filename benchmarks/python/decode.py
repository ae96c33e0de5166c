#!/usr/bin/env python3
# ===- decode.py - Decoding in PyTorch with packed linears ---------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Times the linears and elementwise operations of decoder blocks on a GPU, in a CUDA graph
and eagerly: bfloat16 nn.Linear against the same model after swap_linears(). Each block has
weights of its own, so that they come from memory and not from a cache. Results are compared
with the same model of dequantized weights in float32, and have the same bits in each replay.

    decode.py                      # hidden 4096, inner 14336, kv 1024: an 8-billion model
    decode.py --pack cuda:sm_90a   # only fills the cache of artifacts ($QLINEAR_CACHE)
"""

import argparse
import copy
import statistics
import time

import qlinear.nn
import torch
from torch.nn import functional as F


class Block(torch.nn.Module):
    """A decoder block whose attention sees one token."""

    def __init__(self, hidden, kv, inner):
        super().__init__()
        self.norm1, self.norm2 = torch.nn.RMSNorm(hidden), torch.nn.RMSNorm(hidden)
        self.q = torch.nn.Linear(hidden, hidden, bias=False)
        self.k = torch.nn.Linear(hidden, kv, bias=False)
        self.v = torch.nn.Linear(hidden, kv, bias=False)
        self.o = torch.nn.Linear(hidden, hidden, bias=False)
        self.gate = torch.nn.Linear(hidden, inner, bias=False)
        self.up = torch.nn.Linear(hidden, inner, bias=False)
        self.down = torch.nn.Linear(inner, hidden, bias=False)
        self.heads = hidden // kv

    def forward(self, x):
        h = self.norm1(x)
        key, value = self.k(h), self.v(h)
        x = x + self.o(self.q(h) + (key * value).repeat(1, self.heads))
        h = self.norm2(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


def clones(block, count):
    return torch.nn.Sequential(*(copy.deepcopy(block) for _ in range(count)))


def microseconds(run, blocks, repeats=21):
    """Median time per block."""
    times = []
    for _ in range(repeats):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run()
        end.record()
        end.synchronize()
        times.append(1000 * start.elapsed_time(end) / blocks)
    return statistics.median(times)


def dequantized(model):
    """The same model with plain linears in float32."""
    floats = copy.deepcopy(model).float()
    for module in list(floats.modules()):
        for name, layer in list(module.named_children()):
            if isinstance(layer, qlinear.nn.Linear):
                plain = torch.nn.Linear(layer.in_features, layer.out_features, bias=False)
                plain.weight = torch.nn.Parameter(layer.dequantize().float())
                setattr(module, name, plain.cuda())
    return floats


def measure(model, x, blocks, want=None):
    """(in a graph, eagerly), us per block. Fails where results are not near `want`, or
    change from replay to replay."""
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        model(x)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = model(x)
    graph.replay()
    first = y.clone()
    captured = microseconds(graph.replay, blocks)
    if not torch.equal(y, first):
        raise SystemExit(f"results of {len(x)} rows change from replay to replay")
    error = 0 if want is None else float((y - want).norm() / want.norm())
    if not error < 0.03:  # bf16 between layers
        raise SystemExit(f"results of {len(x)} rows differ by {error:.2g} from float32's")
    start = time.perf_counter()
    for _ in range(5):
        model(x)
    torch.cuda.synchronize()
    return captured, (time.perf_counter() - start) / 5 / blocks * 1e6


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--hidden", type=int, default=4096)
    parser.add_argument("--inner", type=int, default=14336)
    parser.add_argument("--kv", type=int, default=1024)
    parser.add_argument("--blocks", type=int, default=8)
    parser.add_argument("--rows", default="1,2,4,8,16,32,64,128,512,2048")
    parser.add_argument("--encoding", default="row-u8")
    parser.add_argument("--pack", metavar="TARGET", help="compile for it, and run nothing")
    options = parser.parse_args()
    torch.manual_seed(0)
    with torch.no_grad():
        block = Block(options.hidden, options.kv, options.inner).bfloat16()
        packed = copy.deepcopy(block)
        qlinear.nn.swap_linears(packed, options.encoding, search=False)
        if options.pack:
            qlinear.nn.prepare(packed, torch.bfloat16, options.pack)
            return
        floats = clones(block.cuda(), options.blocks)
        swapped = clones(packed.cuda(), options.blocks)
        del block, packed
        print(
            f"{torch.cuda.get_device_name()}, us per block, {options.blocks} blocks of "
            f"{options.hidden} x {options.inner}, {options.encoding}"
        )
        print("| M | bf16, graph | packed, graph | faster | bf16, eager | packed, eager |")
        print("| --- | --- | --- | --- | --- | --- |")
        exact = dequantized(swapped)
        for rows in map(int, options.rows.split(",")):
            x = torch.randn(rows, options.hidden, device="cuda", dtype=torch.bfloat16)
            graph, eager = measure(floats, x, options.blocks)
            want = exact(x.float())
            own_graph, own_eager = measure(swapped, x, options.blocks, want)
            print(
                f"| {rows} | {graph:.1f} | {own_graph:.1f} | {graph / own_graph:.2f} x | "
                f"{eager:.0f} | {own_eager:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
