# ===- raise_rotary.py - Runs rotary embeddings before and after raising -*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
#
# Writes rotary embeddings in linalg as frontends do, with random dimensions, order and steps: run
# by upstream's lowering as they are, and after qlinear-raise, and compared with Python's floats.
# All have to be raised.
#
# Usage: raise_rotary.py COUNT [SEED]

import itertools
import math
import random
import sys

from raise_norms import NormWriter, run_both
from raise_writer import tensor

#: Dimensions before the columns: of transformers' attentions, and of tokens by themselves.
ORDERS = ["bhtd", "bthd", "thd", "htd", "td"]


class Rotary:
    """One random rotary embedding: its IR, and its result in Python."""

    def __init__(self, rng, name):
        self.w = w = NormWriter(rng, name)
        order = rng.choice(ORDERS)
        sizes = {"b": rng.choice([1, 2]), "h": rng.choice([1, 3]), "t": rng.choice([1, 2, 5]),
                 "d": rng.choice([2, 8, 16])}  # fmt: skip
        shape, half = [sizes[d] for d in order], sizes["d"] // 2
        batched = "b" in order and rng.random() < 0.5
        keep = rng.random() < 0.6  # dimensions of size 1 where a table has none
        has = "".join(d for d in order if d in "td" or (d == "b" and batched))
        dims = [d if d in has else "0" for d in order if d in has or keep]
        table_shape = [sizes[d] if d != "0" else 1 for d in dims]
        x = {i: rng.gauss(0, 1) for i in itertools.product(*map(range, shape))}
        tables = [{}, {}]
        for i in itertools.product(*(range(sizes[d]) for d in has)):
            angle = rng.uniform(-4, 4)
            for table, f in zip(tables, (math.cos, math.sin)):
                table[i] = f(angle) * rng.uniform(0.5, 1.5)

        def key(index):
            return tuple(i for i, d in zip(index, order) if d in has)

        def table_at(table):
            return lambda *i: table[tuple(v for v, d in zip(i, dims) if d != "0")]

        value, kind = w.constant(shape, "f32", lambda *i: x[i])
        cos, sin = (w.constant(table_shape, "f32", table_at(table)) for table in tables)
        part = tensor([*shape[:-1], half], "f32")
        lead = ", ".join(["0"] * (len(shape) - 1)), ", ".join(map(str, shape[:-1]))
        ones = ", ".join(["1"] * len(shape))

        def half_from(start):
            return w.emit(
                f"tensor.extract_slice {value}[{lead[0]}, {start}] [{lead[1]}, {half}] [{ones}] "
                f": {kind} to {part}"
            ), part  # fmt: skip

        low, high = half_from(0), half_from(half)
        empty = w.new_tensor([*shape[:-1], half], "f32")
        minus = w.elementwise(
            order, [(*high, order)], empty, lambda a, _: w.emit(f"arith.negf {a} : f32")
        )
        if rng.random() < 0.5:
            turned = w.emit(
                f"tensor.concat dim({len(shape) - 1}) {minus[0]}, {low[0]} "
                f": ({part}, {part}) -> {kind}"
            )
        else:
            turned = w.new_tensor(shape, "f32")[0]
            both = [(minus[0], 0), (low[0], half)]
            for source, start in both if rng.random() < 0.5 else both[::-1]:
                turned = w.emit(
                    f"tensor.insert_slice {source} into {turned}[{lead[0]}, {start}] "
                    f"[{lead[1]}, {half}] [{ones}] : {part} into {kind}"
                )
        to = w.new_tensor(shape, "f32")

        def product(a, b):
            return w.emit("arith.mulf %s, %s : f32" % w.swap(a, b))

        def sum_of(a, b):
            return w.emit("arith.addf %s, %s : f32" % w.swap(a, b))

        if rng.random() < 0.5:
            made = [
                w.elementwise(order, [(v, kind, order), (*t, dims)], to,
                              lambda a, b, _: product(a, b))
                for v, t in ((value, cos), (turned, sin))
            ]  # fmt: skip
            y = w.elementwise(
                order, [(*m, order) for m in made], to, lambda a, b, _: sum_of(a, b)
            )
        else:
            inputs = [(value, kind, order), (*cos, dims), (turned, kind, order), (*sin, dims)]
            y = w.elementwise(
                order, inputs, to, lambda a, c, r, s, _: sum_of(product(a, c), product(r, s))
            )
        M, D = math.prod(shape[:-1]), sizes["d"]
        if len(shape) > 2:
            flat = tensor([M, D], "f32")
            groups = "[[%s], [%d]]" % (
                ", ".join(map(str, range(len(shape) - 1))), len(shape) - 1
            )  # fmt: skip
            y = w.emit(f"tensor.collapse_shape {y[0]} {groups} : {y[1]} into {flat}"), flat
        self.result = (*y, (M, D))
        self.what = f"{order} {shape} with tables {dims}"
        self.expected = []
        for index in itertools.product(*map(range, shape[:-1])):
            row = []
            for d in range(D):
                other = x[(*index, (d + half) % D)]
                at = key((*index, d))
                row.append(
                    x[(*index, d)] * tables[0][at]
                    + (-other if d < half else other) * tables[1][at]
                )
            self.expected.append(row)
        self.tolerance = [[2.0**-20 * (abs(v) + 3) for v in row] for row in self.expected]


def main():
    count = int(sys.argv[1])
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 30)
    print(f"seed {seed}")
    rng = random.Random(seed)
    made = [Rotary(rng, f"r{i}") for i in range(count)]
    passes = ["--qlinear-raise", "--canonicalize"]
    run_both(made, passes, lambda text: text.count("qlinear.rotary ") == count, rng, seed)


if __name__ == "__main__":
    main()
