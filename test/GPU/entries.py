# ===- entries.py - The GPU suite's layers --------------------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""What the GPU suite compiles: a module of linears per entry, of a kind that says how its
results are judged.

`random`: results are compared with float64 by quant-run, and with those of the emulated
device. `exact`: weights and activations are integers with scales of 1, so that results are
integers that suite.py computes by itself, and no bit may differ. `generated`: weights too
large to carry are made where they are used. `runtime`: what the program gpu-runtime-tests
needs; its tests are the entry's functions. `extremes`: inputs with NaNs, infinities,
denormals and tiny numbers come with the suite; results are compared with float64. `stress`:
layers that gpu-stress calls over and over, with weights that it makes. `invariant`: rows of
results may not differ in a bit from those of the call with the most rows.
"""

import experts
import joined
import matrix
from layers import INT4, INT6, SHAPES

ROWS = list(range(1, 9))
# The encodings that get every type and odd shape; the rest of the list is in matrix.py.
MAIN = {
    "rowu8": "u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>",
    "blocku8": "u4, group = 32, zero, scale = u8 * block<256, f16>, offset = u8 * block<256, f16>",
    "q4k": "u4, group = 32, min, scale = u6 * block<256, f16>, offset = u6 * block<256, f16>",
    "q6k": "i6, group = 16, symmetric, scale = i8 * block<256, f16>",
}
COLUMNS = [384, 7392, 21504]
FLOATS = [f"float_{t}" for t in matrix.INPUTS]


def schedule_of(name):
    """Left to the cost model for some, which compiles every row variant; the others get
    one that compiles faster."""
    return "" if name in ("rowu8", "q6k") else matrix.SCHEDULES[1]


class Entry:
    """One artifact: a module and the weights that it reads."""

    def __init__(self, name, kind="random"):
        self.name, self.kind = name, kind
        self.module, self.weights, self.functions = [], [], []
        self.rows = None  # else those of all entries
        self.options = []  # of quant-compile

    def weight(self, encoding, n, k):
        """Declares a parameter; its name and type."""
        name = f"w{len(self.weights)}"
        kind = f"!qlinear.weight<{n}x{k}, #qlinear.encoding<{encoding}>>"
        self.module.append(f"qlinear.parameter @{name} : {kind}\n")
        self.weights.append((name, encoding, n, k))
        return name, kind

    def function(self, name, arguments, results, body):
        self.functions.append(name)
        inputs = ", ".join(f"%{n}: {t}" for n, t in arguments)
        self.module.append(f"func.func @{name}({inputs}) -> ({', '.join(results)}) {{\n{body}}}\n")

    def linear(self, name, encoding, n, k, x="bf16", y="f32", schedule=""):
        """A linear by itself. x is a float type, with "float_" before it if it is to be
        multiplied as it is, or i8 for quantized activations."""
        weight, kind = self.weight(encoding, n, k)
        if x.startswith("float_"):
            x, schedule = x.removeprefix("float_"), matrix.with_floats(schedule)
        source = f"!qlinear.activations<?x{k}>" if x == "i8" else f"tensor<?x{k}x{x}>"
        self.function(
            name,
            [("x", source)],
            [f"tensor<?x{n}x{y}>"],
            f"  %w = qlinear.load @{weight} : {kind}\n"
            f"  %y = qlinear.linear %x, %w{schedule} : ({source}, {kind}) -> tensor<?x{n}x{y}>\n"
            f"  return %y : tensor<?x{n}x{y}>\n",
        )

    def pack_arguments(self):
        """quant-pack's options for the weights' codes and encodings."""
        arguments = []
        for name, encoding, _, _ in self.weights:
            arguments += matrix.pack_arguments(name, encoding)
        return arguments


def matrix_entries():
    """Every kind of encoding, in turn with each row variant and type."""
    types = [*matrix.INPUTS, "i8", *FLOATS]
    cases = [(e, n, k) for e, shapes in matrix.CASES for n, k in shapes]
    for codes in ["4", "5", "6", "8", "2", "tables"]:
        entry = Entry(f"matrix-{codes}" + ("" if codes == "tables" else "bit"))
        for i, (encoding, n, k) in enumerate(cases):
            width = encoding.split(",")[0]
            if codes == matrix.kind_of(width):
                schedule = matrix.SCHEDULES[i % len(matrix.SCHEDULES)]
                for f, j in ("f", i), ("g", i + 4):
                    x, y = types[j % 7], matrix.RESULTS[j // 4 % 3]
                    entry.linear(f"{f}{i}", encoding, n, k, x, y, schedule)
        yield entry


def types_entry(name):
    """One encoding with every type of activations and of results."""
    entry = Entry(f"types-{name}")
    for x in [*matrix.INPUTS, "i8", *FLOATS]:
        for y in matrix.RESULTS:
            entry.linear(f"{x}_{y}", MAIN[name], 33, 384, x, y, matrix.SCHEDULES[1])
    return entry


def shapes_entry(name):
    """One encoding with N and K that fill no tile, schedules by the cost model."""
    entry = Entry(f"shapes-{name}")
    for i, k in enumerate(COLUMNS):
        for j, n in enumerate([1, 7]):
            entry.linear(f"n{n}k{k}", MAIN[name], n, k, matrix.INPUTS[(i + j) % 3], "f32",
                         schedule_of(name))
    return entry


def large_entries(name):
    """One encoding with N = 8191. An entry each, as the weights are large."""
    for i, k in enumerate(COLUMNS):
        entry = Entry(f"large-{name}-k{k}", "generated")
        entry.linear(f"n8191k{k}", MAIN[name], 8191, k, matrix.INPUTS[i], matrix.RESULTS[i],
                     schedule_of(name))
        yield entry


def add_fused(entry, qkv, gate_up, schedule_of):
    """Several weights in one launch: q/k/v, and gate/up with bias and residual. `qkv` and
    `gate_up` are the columns of the weights."""
    for name, encoding in MAIN.items():
        schedule = schedule_of(name)
        for x in ["bf16", "i8"]:
            source = f"!qlinear.activations<?x{qkv}>" if x == "i8" else f"tensor<?x{qkv}x{x}>"
            sizes = [(64, encoding), (17, encoding), (17, MAIN["q6k"])]
            weights = [entry.weight(e, n, qkv) for n, e in sizes]
            loads = "".join(f"  %{w} = qlinear.load @{w} : {t}\n" for w, t in weights)
            results = [f"tensor<?x{n}xbf16>" for n, _ in sizes]
            entry.function(
                f"qkv_{name}_{x}",
                [("x", source)],
                results,
                f"{loads}  %y:3 = qlinear.linear %x, {', '.join('%' + w for w, _ in weights)}"
                f"{schedule} : ({source}, {', '.join(t for _, t in weights)})"
                f" -> ({', '.join(results)})\n"
                f"  return %y#0, %y#1, %y#2 : {', '.join(results)}\n",
            )
        weights = [entry.weight(encoding, 100, gate_up) for _ in range(2)]
        loads = "".join(f"  %{w} = qlinear.load @{w} : {t}\n" for w, t in weights)
        (g, kind), (u, _) = weights
        x, b = f"tensor<?x{gate_up}xf16>", "tensor<100xf32>"
        r, y = "tensor<?x100xbf16>", "tensor<?x100xf32>"
        entry.function(
            f"gate_up_{name}",
            [("x", x), ("b", b), ("r", r)],
            [y],
            f"{loads}  %y = qlinear.linear %x, %{g}, %{u} extras(%b, %r){schedule}"
            f" : ({x}, {kind}, {kind}, {b}, {r}) -> {y} {{\n"
            "  ^bb0(%gate: f32, %up: f32, %bias: f32, %residual: bf16):\n"
            "    %one = arith.constant 1.0 : f32\n"
            "    %0 = arith.addf %gate, %bias : f32\n"
            "    %1 = arith.negf %0 : f32\n"
            "    %2 = math.exp %1 : f32\n"
            "    %3 = arith.addf %one, %2 : f32\n"
            "    %4 = arith.divf %0, %3 : f32\n"
            "    %5 = arith.mulf %4, %up : f32\n"
            "    %6 = arith.extf %residual : bf16 to f32\n"
            "    %7 = arith.addf %5, %6 : f32\n"
            "    qlinear.yield %7 : f32\n"
            f"  }}\n  return %y : {y}\n",
        )


def fused_entry():
    entry = Entry("fused")
    add_fused(entry, 416, 384, schedule_of)
    return entry


def clusters_entry():
    """Blocks that share K: with one weight, several, and an epilogue."""
    entry = Entry("clusters")

    def schedule(split):
        fields = f"grid = 8, warps = 3, stages = 3, copy = bulk, split_k = {split}"
        return matrix.schedule([2, 4, 8], fields, ", pdl = true")

    for name, encoding in MAIN.items():
        for x in ["f32", "i8", "float_bf16", "float_f32"]:
            entry.linear(f"{name}_{x}", encoding, 150, 1024, x, "f32", schedule(4))
    add_fused(entry, 1024, 1536, lambda name: schedule(2))
    return entry


def ring_entry():
    """Warps with many units: the ring's last stage follows the loads of x."""
    entry = Entry("ring")
    schedule = matrix.schedule([1, 2, 4, 8], "grid = 3, warps = 2, stages = 3, copy = bulk",
                               ", pdl = true")
    for name, encoding in MAIN.items():
        for x in ["bf16", "i8", "float_f16", "float_f32"]:
            for k in [768, 5088]:
                entry.linear(f"{name}_{x}_k{k}", encoding, 50, k, x, "f32", schedule)
    add_fused(entry, 1056, 160, lambda name: schedule)
    return entry


def quantize_entry():
    """The quantization of activations by itself: int8 codes, their sums and scales."""
    entry = Entry("quantize")
    entry.weight(MAIN["rowu8"], 1, 32)  # an archive has a weight
    for x in matrix.INPUTS:
        for k in [100, *COLUMNS]:
            source, result = f"tensor<?x{k}x{x}>", f"!qlinear.activations<?x{k}>"
            entry.function(
                f"{x}_k{k}",
                [("x", source)],
                [result],
                f"  %a = qlinear.quantize_activations %x : {source} -> {result}\n"
                f"  return %a : {result}\n",
            )
    return entry


NORM_COLUMNS = {"bf16": [5376, 33280], "f16": [100, 9001], "f32": [100, 5376]}


def norm_entry():
    """Norms of one input and of the sum of two, whose epilogues read extras of other types;
    rows in registers, and such as are loaded again."""
    entry = Entry("norm")
    entry.rows = [1, 3, 9, 70]
    entry.weight(MAIN["rowu8"], 1, 32)  # an archive has a weight
    for x, other in zip(matrix.INPUTS, [*matrix.INPUTS[1:], matrix.INPUTS[0]]):
        for i, k in enumerate(NORM_COLUMNS[x]):
            rows, column = f"tensor<?x{k}x{x}>", f"tensor<{k}x{other}>"
            entry.function(
                f"{x}_k{k}",
                [("x", rows)],
                [rows],
                f"  %y = qlinear.norm rms %x epsilon = 1.0e-05 : ({rows}) -> {rows}\n"
                f"  return %y : {rows}\n",
            )
            widen = "" if other == "f32" else f"    %w = arith.extf %g : {other} to f32\n"
            scale = "%w" if widen else "%g"
            values, narrow = ["%sum", "%p"], ""
            if x != "f32":
                narrow = "".join(f"    {v}_{x} = arith.truncf {v} : f32 to {x}\n" for v in values)
                values = [f"{v}_{x}" for v in values]
            entry.function(
                f"{x}_sum_k{k}",
                [("x", rows), ("r", rows), ("scale", column)],
                [rows, rows],
                f"  %t, %y = qlinear.norm {['rms', 'layer'][i % 2]} %x, %r extras(%scale) "
                f"epsilon = 1.0e-06\n"
                f"      : ({rows}, {rows}, {column}) -> ({rows}, {rows}) {{\n"
                f"  ^bb0(%n: f32, %sum: f32, %g: {other}):\n{widen}"
                f"    %p = arith.mulf %n, {scale} : f32\n{narrow}"
                f"    qlinear.yield {', '.join(values)} : {x}, {x}\n  }}\n"
                f"  return %t, %y : {rows}, {rows}\n",
            )
    return entry


def rotary_entry():
    """Rotary embeddings of queries and keys, normalized or not, and keys that are values, too;
    tables and scales of another type than theirs."""
    entry = Entry("rotary")
    entry.rows = [1, 3, 9, 40]
    entry.weight(MAIN["rowu8"], 1, 32)  # an archive has a weight
    shapes = [(128, 128, 32, 8), (80, 32, 5, 2), (33, 22, 3, 1), (256, 64, 4, 1)]
    for x, other in zip(matrix.INPUTS, [*matrix.INPUTS[1:], matrix.INPUTS[0]]):
        for head, rotated, queries, keys in shapes:
            q, k = (f"tensor<?x{heads * head}x{x}>" for heads in (queries, keys))
            table, norm = f"tensor<?x{rotated}x{other}>", f"tensor<{head}x{other}>"
            for name, says, types in [
                ("", "", ""),
                ("_norm", "norms(%m, %n) epsilon = 1.0e-06 ", f"{norm}, {norm}, "),
            ]:
                norms = [("m", norm), ("n", norm)] if name else []
                entry.function(
                    f"{x}_{head}_{rotated}{name}",
                    [("q", q), ("k", k), *norms, ("c", table), ("s", table)],
                    [q, k],
                    f"  %a, %b = qlinear.rotary %q, %k {says}by %c, %s head = {head}\n"
                    f"      : ({q}, {k}, {types}{table}, {table}) -> ({q}, {k})\n"
                    f"  return %a, %b : {q}, {k}\n",
                )
            entry.function(
                f"{x}_{head}_{rotated}_values",
                [("q", q), ("k", k), ("m", norm), ("n", norm), ("c", table), ("s", table)],
                [q, k, k],
                f"  %o = arith.constant dense<1.0> : {norm}\n"
                "  %a, %b, %v = qlinear.rotary %q, %k, %k norms(%m, %n, %o) epsilon = 1.0e-06\n"
                f"      by %c, %s head = {head} unrotated = 1\n"
                f"      : ({q}, {k}, {k}, {norm}, {norm}, {norm}, {table}, {table})"
                f" -> ({q}, {k}, {k})\n"
                f"  return %a, %b, %v : {q}, {k}, {k}\n",
            )
            # Keys, normalized, and values as they are, into caches of heads and of tokens.
            for width in (head, head * keys):
                cache, at = f"tensor<?x{width}x{x}>", f"tensor<?x{head * keys // width}xi32>"
                entry.function(
                    f"{x}_{head}_{rotated}_cache_{width}",
                    [("q", q), ("k", k), ("v", k), ("m", norm), ("n", norm), ("c", table),
                     ("s", table), ("at", at), ("keys", cache), ("values", cache)],
                    [q, cache, cache],
                    "  %a, %b, %d = qlinear.rotary %q, %k, %v norms(%m, %n) epsilon = 1.0e-06\n"
                    f"      by %c, %s head = {head} unrotated = 1 into(%keys, %values at %at)\n"
                    f"      : ({q}, {k}, {k}, {norm}, {norm}, {table}, {table}, {cache}, {cache},"
                    f" {at})\n        -> ({q}, {cache}, {cache})\n"
                    f"  return %a, %b, %d : {q}, {cache}, {cache}\n",
                )
                if keys == 1:
                    break  # they are the same
    return entry


def embedding_entry():
    """Rows of weights of every kind of encoding."""
    entry = Entry("embedding")
    entry.rows = [1, 3, 70]
    for i, (encoding, shapes) in enumerate(matrix.CASES):
        for n, k in shapes:
            w, weight = entry.weight(encoding, n, k)
            rows = f"tensor<?x{k}x{matrix.RESULTS[i % 3]}>"
            entry.function(
                f"rows_{w}", [("i", "tensor<?x1xi32>")], [rows],
                f"  %w = qlinear.load @{w} : {weight}\n"
                f"  %y = qlinear.embedding %i of %w : (tensor<?x1xi32>, {weight}) -> {rows}\n"
                f"  return %y : {rows}\n",
            )  # fmt: skip
    return entry


def experts_entry():
    """Products with the experts that rows choose, pieces and whole rows, with every kind of
    extra, and sums of choices."""
    entry = Entry("experts")
    entry.rows = [1, 3, 9, 70]
    for case in experts.CASES:
        name, encoding, count, n, k = case[:5]
        for w in "gu":
            weight = f"{name}_{w}"
            entry.module.append(f"qlinear.parameter @{weight} : {experts.types_of(case)['w']}\n")
            entry.weights.append((weight, encoding, count * n, k))
        for function in experts.functions(case):
            entry.function(*function)
    for x, module in experts.combines():
        entry.functions.append(f"combine_{x}")
        entry.module.append(module)
    return entry


def joined_entry():
    """Norms that are launched with a linear, in their kernels for few rows and for many."""
    entry = Entry("joined")
    entry.rows = [1, 2, 5, 8, 9, 16, 40, 130]
    for i, (name, encoding) in enumerate(MAIN.items()):
        x, k = matrix.INPUTS[i % 3], [5376, 1056, 4096, 288][i]
        (w, weight), (u, _) = (entry.weight(encoding, 72, k) for _ in range(2))
        for suffix, *function in joined.functions(x, k, 72, ["rms", "layer"][i % 2], [w, u],
                                                  weight):
            entry.function(f"{name}_{suffix}", *function)
    return entry


def exact_entry():
    """Every code width with scales of 1."""
    entry = Entry("exact", "exact")
    for bits in [2, 3, 4, 5, 6, 8]:
        for group in ["32", "row"]:
            for i, schedule in enumerate(matrix.SCHEDULES[:4]):
                encoding = f"u{bits}, group = {group}, zero, scale = f32, offset = f32"
                name = f"u{bits}_{group}_{i}"
                entry.linear(name, encoding, 33, 384, "f32", "f32", schedule)
                entry.linear(f"{name}_float", encoding, 33, 384, FLOATS[i % 3], "f32", schedule)
    return entry


EXTREMES_K = 1056


def extremes_entry():
    """NaNs, infinities and chunks so small that they count as zero, in some tokens."""
    entry = Entry("extremes", "extremes")
    schedules = ["", " {schedule = #qlinear.schedule<quantize = separate>}",
                 matrix.schedule([2, 4, 8], "grid = 8, warps = 3, stages = 3, copy = bulk",
                                 ", pdl = true")]
    for e, (name, encoding) in enumerate(MAIN.items()):
        for i, (x, y) in enumerate(zip(matrix.INPUTS, ["f32", "bf16", "f32"])):
            entry.linear(f"{name}_{x}", encoding, 150, EXTREMES_K, x, y, schedules[(e + i) % 3])
            entry.linear(f"{name}_float_{x}", encoding, 150, EXTREMES_K, f"float_{x}", y,
                         schedules[(e + i) % 3])
    return entry


# Every shape of the benchmark (N, K), and few rows with many columns; and types of
# activations and of results.
STRESS_SHAPES = sorted({(n, k) for n, k, bits in SHAPES.values() if bits == 4})
STRESS_SHORT = [(256, 21504), (528, 21504), (1056, 21504)]
STRESS_TYPES = [("f32", "f32"), ("bf16", "bf16"), ("f16", "f16"), ("i8", "f32")]


def stress_entries():
    """All types with the seed's encoding, two with each of the others: between them every
    type has every shape. The head, which is large, with two of its encodings."""
    for e, (name, encoding) in enumerate(INT4.items()):
        entry = Entry(f"stress-{name}", "stress")
        for i, (n, k) in enumerate(STRESS_SHAPES + STRESS_SHORT):
            types = STRESS_TYPES
            if name != "row-u8":
                types = [types[(i + e) % 4], types[(i + e + 1) % 4]]
            for x, y in types:
                entry.linear(f"n{n}k{k}_{x}", encoding, n, k, x, y)
        yield entry
    entry = Entry("stress-float", "stress")
    for i, (n, k) in enumerate(STRESS_SHAPES + STRESS_SHORT):
        for j, name in enumerate(["row-u8", "k-quant"]):
            x, y = FLOATS[(i + j) % 3], matrix.RESULTS[i % 3]
            entry.linear(f"{name}_n{n}k{k}_{x}".replace("-", "_"), INT4[name], n, k, x, y)
    yield entry
    entry = Entry("stress-head", "stress")
    n, k, _ = SHAPES["lm_head"]
    for name in ["row-u8", "k-quant"]:
        for x in ["bf16", "i8"]:
            entry.linear(f"{name}_n{n}k{k}_{x}".replace("-", "_"), INT6[name], n, k, x, "bf16")
    yield entry
    entry = Entry("stress-kinds", "stress")
    kinds = dict.fromkeys([encoding for encoding, _ in matrix.CASES] + list(INT6.values()))
    for i, encoding in enumerate(kinds):
        x, y = STRESS_TYPES[i % 4]
        entry.linear(f"kind{i}_{x}", encoding, 1056, 21504, x, y)
    yield entry
    # Numbers of tokens that meet every kernel for many, one block of them or several.
    entry = Entry("stress-many", "stress")
    entry.rows = [9, 16, 17, 40, 64, 90, 100, 150, 190, 220, 256, 300, 520]
    for i, encoding in enumerate(dict.fromkeys(encoding for encoding, _ in matrix.CASES)):
        if matrix.is_table(encoding.split(",")[0]):
            continue  # gpu-stress makes no such weights
        x, y = STRESS_TYPES[i % 4]
        n, k = [(1056, 1504), (5376, 8192), (4000, 2080), (16384, 1056)][i // 4 % 4]
        group = encoding.split(",")[1].split()[-1]
        k -= k % int(group) if group != "row" else 0
        entry.linear(f"kind{i}_n{n}k{k}_{x}", encoding, n, k, x, y)
    yield entry
    entry = Entry("stress-small", "stress")  # for the emulated device
    for i, (x, y) in enumerate([*STRESS_TYPES, ("float_bf16", "f32"), ("float_f32", "f32")]):
        name = ["row-u8", "k-quant"][i % 2]
        entry.linear(f"{name}_{x}".replace("-", "_"), INT4[name], 40, 1056, x, y,
                     matrix.SCHEDULES[1])
    yield entry


def invariant_entry():
    """Kernels with which a row's results do not depend on the rows beside it."""
    entry = Entry("invariant", "invariant")
    entry.options = ["--batch-invariant"]
    # Every kernel, with as many rows as it takes and with less.
    entry.rows = [1, 2, 8, 9, 16, 17, 32, 50, 64, 100, 128, 190, 200, 256, 300, 520]
    for i, (name, encoding) in enumerate(MAIN.items()):
        for j, (n, k) in enumerate([(528, 2912), (2100, 800), (5376, 288)]):
            x, y = STRESS_TYPES[(i + j) % 4]
            entry.linear(f"{name}_n{n}k{k}_{x}", encoding, n, k, x, y)
    add_fused(entry, 1056, 1504, lambda name: "")
    return entry


def runtime_entry():
    """A linear, and a chain of two: temps, several launches, dependent ones."""
    entry = Entry("runtime", "runtime")
    entry.linear("linear", MAIN["rowu8"], 96, 512)
    (g, up), (u, _) = (entry.weight(MAIN["q4k"], 384, 512) for _ in range(2))
    d, down = entry.weight(MAIN["rowu8"], 512, 384)
    x, h, y = "tensor<?x512xf16>", "tensor<?x384xbf16>", "tensor<?x512xbf16>"
    entry.function(
        "chain",
        [("x", x)],
        [y],
        f"  %g = qlinear.load @{g} : {up}\n  %u = qlinear.load @{u} : {up}\n"
        f"  %d = qlinear.load @{d} : {down}\n"
        f"  %h = qlinear.linear %x, %g, %u : ({x}, {up}, {up}) -> {h} {{\n"
        "  ^bb0(%gate: f32, %up: f32):\n"
        "    %0 = math.tanh %gate : f32\n"
        "    %1 = arith.mulf %0, %up : f32\n"
        "    %2 = arith.truncf %1 : f32 to bf16\n"
        f"    qlinear.yield %2 : bf16\n  }}\n"
        f"  %y = qlinear.linear %h, %d : ({h}, {down}) -> {y}\n  return %y : {y}\n",
    )
    return entry


def entries():
    yield runtime_entry()
    yield from matrix_entries()
    for name in MAIN:
        yield types_entry(name)
        yield shapes_entry(name)
    yield fused_entry()
    yield clusters_entry()
    yield ring_entry()
    yield quantize_entry()
    yield experts_entry()
    yield norm_entry()
    yield rotary_entry()
    yield embedding_entry()
    yield joined_entry()
    yield extremes_entry()
    yield exact_entry()
    yield invariant_entry()
    for name in MAIN:
        yield from large_entries(name)
    yield from stress_entries()
