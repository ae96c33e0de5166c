# ===- raise_writer.py - Writes operations on tensors -------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#

import to_reference as ref


def tensor(shape, element):
    return "tensor<" + "".join("%sx" % n for n in shape) + element + ">"


def nested(shape, at, index=()):
    if len(index) == len(shape):
        v = at(*index)
        return str(v) if isinstance(v, int) else ref.literal(v)
    size = shape[len(index)]
    return "[" + ", ".join(nested(shape, at, (*index, i)) for i in range(size)) + "]"


class Writer:
    def __init__(self, rng, name):
        self.rng, self.name, self.lines, self.globals, self.count = rng, name, [], [], 0

    def new(self):
        self.count += 1
        return "%%%s_%d" % (self.name, self.count)

    def emit(self, text):
        name = self.new()
        self.lines.append("    %s = %s" % (name, text))
        return name

    def constant(self, shape, element, at):
        """A constant, or a global that holds it: its value and type."""
        type = tensor(shape, element)
        elements = "dense<%s> : %s" % (nested(shape, at), type)
        if self.rng.random() < 0.8:
            return self.emit("arith.constant " + elements), type
        symbol = self.new()[1:]
        self.globals.append(
            "ml_program.global private mutable @%s(%s) : %s" % (symbol, elements, type)
        )
        return self.emit("ml_program.global_load @%s : %s" % (symbol, type)), type

    def swap(self, a, b):
        return (a, b) if self.rng.random() < 0.5 else (b, a)

    def generic(self, loops, reductions, inputs, output, out_map, body):
        """`inputs`: (value, type, indices); `body` writes lines from argument names."""
        maps = [i for _, _, i in inputs] + [out_map]
        text = ", ".join(
            "affine_map<(%s) -> (%s)>" % (", ".join(loops), ", ".join(m)) for m in maps
        )
        kinds = ", ".join('"reduction"' if i in reductions else '"parallel"' for i in loops)
        name, saved, self.lines = self.new(), self.lines, []
        arguments = [self.new() for _ in maps]
        value, type = body(*arguments)
        types = [t for _, t, _ in inputs] + [output[1]]
        block = ", ".join(
            "%s: %s" % (a, t[7:-1].rsplit("x", 1)[-1])
            for a, t in zip(arguments, types, strict=True)
        )
        inner, self.lines = self.lines, saved
        reads = "ins(%s : %s) " % (", ".join(v for v, _, _ in inputs), ", ".join(types[:-1]))
        reads = reads if inputs else ""
        self.lines += [
            "    %s = linalg.generic {indexing_maps = [%s]," % (name, text),
            "        iterator_types = [%s]}" % kinds,
            "        %souts(%s : %s) {" % (reads, *output),
            "    ^bb0(%s):" % block,
            *inner,
            "      linalg.yield %s : %s" % (value, type),
            "    } -> %s" % output[1],
        ]
        return name


def convert(w, value, source, target):
    if source == target:
        return value
    return w.emit("arith.extf %s : %s to %s" % (value, source, target))
