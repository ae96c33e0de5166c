# ===- shard_run.py - Runs a divided block, process by process -----*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
#
# Divides an MLP with norms and a residual, and a linear after it, among 2 or 4 processes. Each
# process's artifact takes its parts from the archive of the whole. Here is their host, which
# adds up and gathers.

import re
import subprocess
import sys
import tempfile

import numpy as np
import qlinear
from safetensors.numpy import save_file

HIDDEN, INNER, HEAD = 256, 1024, 192
SHAPES = {
    "gate": (INNER, HIDDEN),
    "up": (INNER, HIDDEN),
    "down": (HIDDEN, INNER),
    "head": (HEAD, HIDDEN),
}
BLOCK = """
shard.grid @cpus(shape = $RANKS)
func.func @block(%x: tensor<?x$Hxf32>) -> tensor<?x$HEADxf32> {
  %whole = shard.sharding @cpus split_axes = [[]] : !shard.sharding
  %columns = shard.sharding @cpus split_axes = [[], [0]] : !shard.sharding
  %0 = shard.shard %x to %whole : tensor<?x$Hxf32>
  %n = qlinear.norm rms %0 epsilon = 1.0e-05 : (tensor<?x$Hxf32>) -> tensor<?x$Hxf32>
  %wg = qlinear.load @gate : $gate
  %wu = qlinear.load @up : $up
  %a = qlinear.linear %n, %wg, %wu : (tensor<?x$Hxf32>, $gate, $up) -> tensor<?x$Ixf32> {
  ^bb0(%g: f32, %u: f32):
    %p = arith.mulf %g, %u : f32
    qlinear.yield %p : f32
  }
  %1 = shard.shard %a to %columns : tensor<?x$Ixf32>
  %wd = qlinear.load @down : $down
  %d = qlinear.linear %1, %wd : (tensor<?x$Ixf32>, $down) -> tensor<?x$Hxf32>
  %2 = shard.shard %d to %whole : tensor<?x$Hxf32>
  %h = qlinear.norm rms %2, %0 epsilon = 1.0e-05
      : (tensor<?x$Hxf32>, tensor<?x$Hxf32>) -> tensor<?x$Hxf32>
  %wh = qlinear.load @head : $head
  %y = qlinear.linear %h, %wh : (tensor<?x$Hxf32>, $head) -> tensor<?x$HEADxf32>
  %3 = shard.shard %y to %columns : tensor<?x$HEADxf32>
  %4 = shard.shard %3 to %whole annotate_for_users : tensor<?x$HEADxf32>
  return %4 : tensor<?x$HEADxf32>
}
"""


def module_text(encoding, ranks):
    text, parameters = BLOCK, ""
    for name, (n, k) in SHAPES.items():
        w = f"!qlinear.weight<{n}x{k}, #qlinear.encoding<{encoding}>>"
        text = text.replace(f"${name}", w)
        parameters += f'qlinear.parameter @{name} : {w} from "layer.{name}"\n'
    sizes = {"$RANKS": ranks, "$HEAD": HEAD, "$H": HIDDEN, "$I": INNER}
    for key, size in sizes.items():
        text = text.replace(key, str(size))
    return parameters + text


def divided(text, rank):
    """The module of a process, and of each function its inputs and outputs in words."""
    passes = (
        "builtin.module(func.func(sharding-propagation,shard-partition),"
        f"qlinear-select-process{{process={rank}}})"
    )
    made = subprocess.run(
        [qlinear.find_tool("quant-opt"), "-", f"--pass-pipeline={passes}"],
        input=text, text=True, check=True, capture_output=True,
    ).stdout  # fmt: skip
    functions = []
    for name, attributes in re.findall(r"func\.func @(\w+)\(.*attributes \{(.*?)\} \{", made):
        lists = dict(re.findall(r"qlinear\.(inputs|outputs) = \[(.*?\")\]", attributes))
        words = {key: re.findall(r'"(.*?)"', value) for key, value in lists.items()}
        functions.append((name, words["inputs"], words.get("outputs")))
    return made, functions


class Host:
    """All processes, of which each value has one array."""

    def __init__(self, modules, functions, x):
        self.ranks = range(len(modules))
        self.known = {"argument 0": [x for _ in modules]}
        for name, inputs, _ in functions:
            results = [
                modules[rank][name](*(self.value(text)[rank] for text in inputs))
                for rank in self.ranks
            ]
            for i in range(len(modules[0][name].outputs)):
                of_rank = [r[i] if isinstance(r, tuple) else r for r in results]
                self.known[f"result {i} of {name}"] = of_rank
        self.outputs = [self.value(text) for text in functions[-1][2]]

    def value(self, text):
        exchange = re.fullmatch(r"all_(reduce sum|gather along 1) of (.*) on \[0\]", text)
        if not exchange:
            return self.known[text]
        parts = self.value(exchange[2])
        if exchange[1] == "reduce sum":
            whole = np.sum(parts, axis=0)
        else:
            whole = np.concatenate(parts, axis=1)
        return [whole for _ in self.ranks]


def check(encoding, ranks, rng, folder):
    floats = {f"layer.{name}": rng.standard_normal(shape).astype(np.float32) / 16
              for name, shape in SHAPES.items()}  # fmt: skip
    save_file(floats, f"{folder}/floats")
    codes, group, form = (part.split()[-1] for part in encoding.split(",")[:3])
    qlinear.pack(f"{folder}/floats", f"{folder}/packed", encoding=encoding, include=".",
                 quantize=f"int{codes[1:]}:{group}:{form}")  # fmt: skip
    text = module_text(encoding, ranks)
    modules = []
    for rank in range(ranks):
        made, functions = divided(text, rank)
        artifact = qlinear.compile(made, qlinear.device("cpu").target, activations="float")
        modules.append(qlinear.load(artifact, f"{folder}/packed", "cpu"))
    assert [name for name, _, _ in functions] == ["block_0", "block_1"], functions
    x = rng.standard_normal((3, HIDDEN)).astype(np.float32)
    (have,) = Host(modules, functions, x).outputs

    archive = qlinear.Archive(f"{folder}/packed")
    w = {name: qlinear.rows(archive.find(f"layer.{name}"), range(n)).astype(np.float64)
         for name, (n, _) in SHAPES.items()}  # fmt: skip

    def norm(v):
        return v / np.sqrt(np.mean(v**2, axis=1, keepdims=True) + 1e-5)

    n = norm(x.astype(np.float64))
    down = (n @ w["gate"].T * (n @ w["up"].T)) @ w["down"].T
    want = norm(down + x) @ w["head"].T
    off = max(np.abs(one - want).max() for one in have) / np.abs(want).max()
    print(f"{ranks} processes, {encoding}: {off:.1e}")
    assert off < 1e-5
    return have


def main():
    rng = np.random.default_rng(3)
    row = "u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>"
    block = "u4, group = 32, min, scale = u6 * block<256, f16>, offset = u6 * block<256, f16>"
    for encoding, ranks in [(row, 2), (block, 4)]:
        with tempfile.TemporaryDirectory() as folder:
            check(encoding, ranks, rng, folder)


if __name__ == "__main__":
    sys.exit(main())
