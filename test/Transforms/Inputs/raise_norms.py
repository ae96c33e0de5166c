# ===- raise_norms.py - Runs random norms before and after raising -*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
#
# Writes RMS and layer norms in linalg as frontends do, with random types, dimensions, order and
# steps: run by upstream's lowering as they are, and after qlinear-raise and qlinear-fuse, and
# compared with Python's floats. All have to be raised, and nothing of them may be left but the
# norm.
#
# Usage: raise_norms.py COUNT [SEED]

import math
import random
import subprocess
import sys

import to_reference as ref
from raise_writer import Writer, convert, tensor


class NormWriter(Writer):
    def new_tensor(self, shape, element):
        type = tensor(shape, element)
        return self.emit("tensor.empty() : " + type), type

    def elementwise(self, loops, inputs, output, body, element="f32"):
        """The result, and its type."""
        value = self.generic(loops, [], inputs, output, loops, lambda *a: (body(*a), element))
        return value, output[1]


class Norm:
    """One random norm in linalg: its IR, and its result in Python."""

    def __init__(self, rng, name):
        self.rng, self.w = rng, NormWriter(rng, name)
        w = self.w
        M, K = rng.choice([1, 2, 4]), rng.choice([8, 24, 64])
        element = rng.choice(["f32", "f16", "bf16"])
        epsilon = ref.f32(rng.choice([0.0, 1e-5, 1e-2]))
        x = [[ref.ROUND[element](rng.gauss(0, 1)) for _ in range(K)] for _ in range(M)]
        scale = [ref.ROUND[element](rng.uniform(-2, 2)) for _ in range(K)]
        self.rows = ["m"] if rng.random() < 0.6 else ["b", "m"]
        self.sizes = {"b": 1, "m": M, "k": K}
        if len(self.rows) == 2 and M == 4:
            self.sizes.update(b=2, m=2)
        loops = [*self.rows, "k"]
        shape = [self.sizes[d] for d in loops]

        def row(index):
            return index[0] if len(index) == 1 else index[0] * self.sizes["m"] + index[1]

        value, type = w.constant(shape, element, lambda *i: x[row(i[:-1])][i[-1]])
        factors = w.constant([K], element, lambda k: scale[k])
        if rng.random() < 0.3:  # keep dims of size 1, or not
            kept = self.rows
        else:
            kept = [*self.rows, "0"]
        wide = w.new_tensor(shape, "f32")
        narrow = w.new_tensor([1 if d == "0" else self.sizes[d] for d in kept], "f32")

        def extended(a):
            return convert(w, a, element, "f32")

        reads, kind = [(value, type, loops)], element
        if rng.random() < 0.5:
            reads = [(*w.elementwise(loops, reads, wide, lambda a, _: extended(a)), loops)]
            kind = "f32"

        def x32(a):
            return a if kind == "f32" else extended(a)

        zero = w.emit("arith.constant 0.0 : f32")
        start = w.emit("linalg.fill ins(%s : f32) outs(%s : %s) -> %s" % (zero, *narrow, narrow[1]))
        # The rows' own loops, where a sum has a dimension of size 1 that is a loop, too.
        own = [d if d != "0" else "o" for d in kept]

        def sum_of(inputs, term):
            """And its type and indices; `term` is made of an element of each input."""
            value = w.generic(
                loops, ["k"], inputs, (start, narrow[1]), kept,
                lambda *a: (w.emit("arith.addf %s, %s : f32" % w.swap(term(*a[:-1]), a[-1])),
                            "f32"),
            )  # fmt: skip
            return value, narrow[1], kept

        def mean_of(a):
            if rng.random() < 0.5:
                count = w.emit("arith.constant %s : f32" % ref.literal(float(K)))
                return w.emit("arith.divf %s, %s : f32" % (a, count))
            part = w.emit("arith.constant %s : f32" % ref.literal(ref.f32(1 / K)))
            return w.emit("arith.mulf %s, %s : f32" % w.swap(a, part))

        self.layer = rng.random() < 0.5
        centre = x32  # what is squared, of the elements that are read
        if self.layer:
            total, of_mean = sum_of(reads, x32), mean_of
            if rng.random() < 0.7:
                mean = w.elementwise(
                    own, [(*total[:2], own)], narrow, lambda a, _: mean_of(a)
                )
                total, of_mean = (*mean, kept), lambda a: a

            def less_mean(a, m):
                return w.emit("arith.subf %s, %s : f32" % (x32(a), of_mean(m)))

            reads, centre = [*reads, total], less_mean
            if rng.random() < 0.6:
                made = w.elementwise(loops, reads, wide, lambda a, m, _: less_mean(a, m))
                reads, centre = [(*made, loops)], lambda a: a

        def square(a):
            if rng.random() < 0.5:
                return w.emit("arith.mulf %s, %s : f32" % (a, a))
            two = w.emit("arith.constant 2.0 : f32")
            return w.emit("math.powf %s, %s : f32" % (a, two))

        squares, term = reads, lambda *a: square(centre(*a))
        if rng.random() < 0.5:
            made = w.elementwise(loops, reads, wide, lambda *a: square(centre(*a[:-1])))
            squares, term = [(*made, loops)], lambda a: a
        total = sum_of(squares, term)
        invert = rng.choice(["rsqrt", "sqrt", "one over sqrt"])

        def root(a, *_):
            mean = mean_of(a)
            if epsilon:
                constant = w.emit("arith.constant %s : f32" % ref.literal(epsilon))
                mean = w.emit("arith.addf %s, %s : f32" % w.swap(mean, constant))
            if invert == "rsqrt":
                return w.emit("math.rsqrt %s : f32" % mean)
            squared = w.emit("math.sqrt %s : f32" % mean)
            if invert == "sqrt":
                return squared
            one = w.emit("arith.constant 1.0 : f32")
            return w.emit("arith.divf %s, %s : f32" % (one, squared))

        roots, of_root = total, root
        if rng.random() < 0.7:
            made = w.elementwise(own, [(*total[:2], own)], narrow, root)
            roots, of_root = (*made, kept), lambda a: a
        to = w.new_tensor(shape, element)
        one_plus, fused = rng.random() < 0.3, rng.random() < 0.5

        def normalized(*elements):
            a, r = centre(*elements[:-1]), of_root(elements[-1])
            if invert == "sqrt":
                return w.emit("arith.divf %s, %s : f32" % (a, r))
            return w.emit("arith.mulf %s, %s : f32" % w.swap(a, r))

        def scaled(n, s):
            s = extended(s)
            if one_plus:
                one = w.emit("arith.constant 1.0 : f32")
                s = w.emit("arith.addf %s, %s : f32" % (s, one))
            product = w.emit("arith.mulf %s, %s : f32" % w.swap(n, s))
            if element == "f32":
                return product
            return w.emit("arith.truncf %s : f32 to %s" % (product, element))

        inputs = [*reads, roots]
        if fused:
            y = w.elementwise(
                loops, [*inputs, (*factors, ["k"])], to,
                lambda *a: scaled(normalized(*a[:-2]), a[-2]), element,
            )  # fmt: skip
        else:
            n = w.elementwise(loops, inputs, wide, lambda *a: normalized(*a[:-1]))
            y = w.elementwise(
                loops, [(*n, loops), (*factors, ["k"])], to,
                lambda n, s, _: scaled(n, s), element,
            )  # fmt: skip
        if len(shape) == 3:
            flat = tensor([M, K], element)
            text = "tensor.collapse_shape %s [[0, 1], [2]] : %s into %s"
            y = w.emit(text % (*y, flat)), flat
        self.result = (*y, (M, K))
        kind = "layer" if self.layer else "rms"
        self.what = "%s %s, %s, %s%s" % (
            kind, " x ".join(map(str, shape)), element, invert, ", fused" if fused else ""
        )  # fmt: skip
        self.expected, self.tolerance = [], []
        bits = {"f32": 18, "f16": 10, "bf16": 7}[element]
        factor = [s + 1 if one_plus else s for s in scale]
        for values in x:
            less = sum(values) / K if self.layer else 0.0
            centred = [v - less for v in values]
            root = math.sqrt(sum(v * v for v in centred) / K + epsilon)
            normed = [v / root * f for v, f in zip(centred, factor)]
            # The mean is rounded in f32, as its sum is; what is left of x has that error.
            rounding = 2.0**-22 * max(map(abs, values)) / root if self.layer else 0.0
            self.expected.append(normed)
            self.tolerance.append(
                [2.0**-bits * (abs(v) + 0.01) + rounding * abs(f) for v, f in zip(normed, factor)]
            )


def main():
    count = int(sys.argv[1])
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 30)
    print(f"seed {seed}")
    rng = random.Random(seed)
    norms = [Norm(rng, f"n{i}") for i in range(count)]

    def is_raised(text):
        layers = text.count("qlinear.norm layer ")
        of_each = text.count("qlinear.norm ") == count and layers == sum(n.layer for n in norms)
        return of_each and "linalg.generic" not in text

    passes = ["--qlinear-raise", "--qlinear-flatten-rows", "--canonicalize", "--qlinear-fuse"]
    run_both(norms, passes, is_raised, rng, seed)


def run_both(made, passes, is_raised, rng, seed):
    """Runs all that was made as it is and after `passes`, whose text `is_raised` has to take."""
    body = "\n".join(line for each in made for line in each.w.lines)
    globals = "\n".join(line for each in made for line in each.w.globals)
    if rng.random() < 0.3:
        passes = ["--linalg-fuse-elementwise-ops", *passes]
    uses = "\n".join('"test.use"(%s) : (%s) -> ()' % each.result[:2] for each in made)
    module = f"{globals}\nfunc.func @main() {{\n{body}\n{uses}\n    return\n}}\n"
    opt = subprocess.run(
        ["quant-opt", "-", "--allow-unregistered-dialect", *passes],
        input=module, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if opt.returncode or not is_raised(opt.stdout):
        print("\n".join(each.what for each in made))
        sys.exit(f"not all {len(made)} were raised, seed {seed}:\n{opt.stderr}\n{opt.stdout}")
    results = [each.result for each in made]
    before = ref.run(body, results, module=globals)
    after = ref.run(body, results, module=globals, passes=passes)
    for each, plain, other in zip(made, before, after, strict=True):
        ref.check(each.what + ": as it is", plain, each.expected, each.tolerance)
        ref.check(each.what + ": raised", other, each.expected, each.tolerance)
    if ref.failures:
        sys.exit(f"{ref.failures} failures with seed {seed}")


if __name__ == "__main__":
    main()
