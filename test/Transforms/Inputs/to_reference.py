# ===- to_reference.py - Runs qlinear-to-reference against Python -*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
#
# Random weights of every kind of encoding, lowered by the pass and upstream's
# passes, run by mlir-runner, and compared with the same arithmetic written here
# from the definitions, in Python's floats (IEEE double). Only the sums of a
# contraction have a tolerance: 1e-12 of the sum of magnitudes.
#
# Usage: to_reference.py [SEED]

import math
import os
import random
import re
import shutil
import struct
import subprocess
import sys
from fractions import Fraction

RUNNER = shutil.which("mlir-runner")
LIBS = os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(RUNNER))), "lib")
PIPELINE = [
    "--convert-elementwise-to-linalg",
    "--one-shot-bufferize=bufferize-function-boundaries",
    "--convert-linalg-to-loops",
    "--lower-affine",
    "--convert-scf-to-cf",
    "--expand-strided-metadata",
    "--arith-expand=include-bf16",
    "--lower-affine",
    "--convert-math-to-llvm",
    "--convert-math-to-libm",
    "--finalize-memref-to-llvm",
    "--convert-arith-to-llvm",
    "--convert-func-to-llvm",
    "--convert-cf-to-llvm",
    "--reconcile-unrealized-casts",
]


# ===-- Floats -----------------------------------------------------------------===#


def f32(v):
    return struct.unpack("<f", struct.pack("<f", v))[0]


def f16(v):
    return struct.unpack("<e", struct.pack("<e", v))[0]


def bf16_bits(v):
    """Round to nearest even of a double, through no other format."""
    if v == 0:
        return 0x8000 if math.copysign(1, v) < 0 else 0
    mantissa, exponent = math.frexp(abs(v))
    scaled = round(mantissa * 256)  # 8 significant bits; Python rounds half to even
    bits = ((exponent + 126) << 7) + scaled
    bits -= 1 << 7  # the leading bit is implicit
    return bits | (0x8000 if v < 0 else 0)


def bf16_value(bits):
    return struct.unpack("<f", struct.pack("<I", bits << 16))[0]


def bf16(v):
    return bf16_value(bf16_bits(v))


def byte_float(kind, bits):
    """A power of two, or the float with 4 bits of exponent and 3 of mantissa."""
    if kind == "e8m0":
        return math.nan if bits == 255 else 2.0 ** (bits - 127)
    sign, exponent, mantissa = -1 if bits >> 7 else 1, bits >> 3 & 15, bits & 7
    if bits & 127 == 127:
        return math.nan
    return sign * ((mantissa + 8) * 2.0 ** (exponent - 10) if exponent else mantissa * 2.0**-9)


ROUND = {"f64": float, "f32": f32, "f16": f16, "bf16": bf16}


def literal(v):
    if not math.isfinite(v):
        return "0x%08X" % struct.unpack("<I", struct.pack("<f", v))
    return repr(float(v)) if "e" not in repr(float(v)) else "%.25e" % v


def dense(rows, convert=literal):
    return "dense<[" + ", ".join("[" + ", ".join(map(convert, r)) + "]" for r in rows) + "]>"


# ===-- Weights ----------------------------------------------------------------===#


class Storage:
    """How one metadata tensor is stored, and its value per field."""

    def __init__(self, text):
        self.text = text
        coded = r"(u|i|log|delta)(\d+)(?: \* (row|block)<(?:256, )?(\w+)>)?"
        m = re.fullmatch(rf"(?:{coded}|(\w+)(?: \* row<(\w+)>)?)", text)
        self.kind, bits, self.scope, self.type, plain, scaled = m.groups()
        self.bits = int(bits) if bits else 0
        if plain:
            self.kind, self.type = "plain", plain
        self.bytes = self.type if self.type in ("e8m0", "e4m3") else None
        if scaled:
            self.kind, self.type, self.bytes = "scaled", scaled, plain
            self.bits, self.scope = 8, "row"

    def element(self):
        if self.bytes:
            return "i8"
        return self.type if self.kind == "plain" else "i%d" % self.bits

    def random(self, rng, small):
        """A field; `small` keeps values positive and moderate."""
        if self.bytes == "e8m0":
            return rng.choice([rng.randrange(100, 130), 254, 0, 255] if not small else [120, 125])
        if self.bytes:
            return rng.randrange(16, 127) if small else rng.randrange(256)
        if self.kind == "plain":
            return ROUND[self.type](rng.uniform(0.01, 2) if small else rng.uniform(0, 14))
        if self.kind == "i":
            return rng.randrange(-(1 << (self.bits - 1)), 1 << (self.bits - 1))
        return rng.randrange(0, 1 << self.bits)

    def steps_per_row(self, K):
        if self.scope is None:
            return 0
        return -(-K // 256) if self.scope == "block" else 2 if self.kind == "log" else 1

    def random_step(self, rng, index):
        if self.kind == "log":
            low, high = (0.001, 0.1) if index == 0 else (0.01, 0.03)
            return ROUND[self.type](rng.uniform(low, high))
        if self.kind == "delta":
            return bf16_value(bf16_bits(0.02))
        return ROUND[self.type](rng.uniform(0.001, 0.05))

    def value(self, field, steps, k):
        if self.bytes:
            value = byte_float(self.bytes, field)
            return f32(value * steps[0]) if steps else f32(value)
        if self.kind == "plain":
            return f32(field)
        if self.kind in ("u", "i"):
            if not steps:
                return float(field)
            return f32(f32(field) * steps[k // 256 if self.scope == "block" else 0])
        if self.kind == "log":
            return f32(steps[0] * 2.0 ** (field * steps[1]))
        return bf16_value((bf16_bits(steps[0]) + field) & 0xFFFF)


# Kinds of codes that index a table: their values.
TABLES = {
    "example2": [-77, -20, 31, 109],
    "example3": [-111, -63, -28, -9, 6, 24, 55, 101],
    "example4": [-120, -95, -74, -57, -42, -29, -18, -8, 1, 11, 22, 34, 48, 65, 86, 113],
    "example8": [round(m * m / 127) for m in range(128)]
    + [-1 - round(m * m / 127) for m in range(128)],
    "e2m1": [0, 0.5, 1, 1.5, 2, 3, 4, 6, 0, -0.5, -1, -1.5, -2, -3, -4, -6],
    "nf4": [f32(v) for v in (
        -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
        -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
        0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
        0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0)],
    "iq4nl": [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113],
}


class Weight:
    def __init__(self, rng, name, spelling, N, K, container=None):
        self.name, self.N, self.K = name, N, K
        self.encoding = "#qlinear.encoding<%s>" % spelling
        code, group, self.form, scale, offset = re.fullmatch(
            r"(\w+), group = (\w+), (\w+), scale = ([^=]*?)(?:, offset = (.*))?", spelling
        ).groups()
        self.table = TABLES.get(code)
        self.signed = code[0] == "i" and not self.table
        self.bits = len(self.table).bit_length() - 1 if self.table else int(code[1:])
        self.group = K if group == "row" else int(group)
        self.G = K // self.group
        self.scale, self.offset = Storage(scale), Storage(offset) if offset else None
        low = -(1 << (self.bits - 1)) if self.signed else 0
        high = low + (1 << self.bits)
        self.codes = [[rng.randrange(low, high) for _ in range(K)] for _ in range(N)]
        self.element = "i%d" % (container or self.bits)
        self.scales = self._fields(rng, self.scale, True)
        self.scale_steps = self._steps(rng, self.scale)
        self.offsets, self.offset_steps = None, None
        self.block_steps = {
            "scale_steps": self.scale.scope == "block",
            "offset_steps": self.offset and self.offset.scope == "block",
        }
        if self.offset:
            self.offsets = self._fields(rng, self.offset, False)
            self.offset_steps = self._steps(rng, self.offset)

    def _fields(self, rng, storage, small):
        """Random ones; where there are as many groups as fields of unsigned codes, each once."""
        if storage.kind in ("u", "log", "delta") and self.G == 1 << storage.bits:
            return [rng.sample(range(self.G), self.G) for _ in range(self.N)]
        return [[storage.random(rng, small) for _ in range(self.G)] for _ in range(self.N)]

    def _steps(self, rng, storage):
        count = storage.steps_per_row(self.K)
        if not count:
            return None
        return [[storage.random_step(rng, i) for i in range(count)] for _ in range(self.N)]

    def type(self):
        return "!qlinear.weight<%dx%d, %s>" % (self.N, self.K, self.encoding)

    def value(self, n, k):
        g = k // self.group
        steps = self.scale_steps[n] if self.scale_steps else None
        s = self.scale.value(self.scales[n][g], steps, k)
        q = float(self.table[self.codes[n][k]] if self.table else self.codes[n][k])
        if self.form == "symmetric":
            return s * q
        steps = self.offset_steps[n] if self.offset_steps else None
        o = self.offset.value(self.offsets[n][g], steps, k)
        if self.form == "min":
            return s * q - o
        return s * (q - o) if self.form == "zero" else s * (q - (1 << (self.bits - 1)) - o)

    def ir(self):
        """Lines that define %NAME."""
        lines, operands = [], []

        def constant(suffix, rows, element, convert=literal):
            name, text = f"%{self.name}_{suffix}", dense(rows, convert)
            type = f"tensor<{len(rows)}x{len(rows[0])}x{element}>"
            if suffix.endswith("steps") and len(rows[0]) == 1 and not self.block_steps[suffix]:
                text = "dense<[" + ", ".join(convert(r[0]) for r in rows) + "]>"
                type = f"tensor<{len(rows)}x{element}>"
            lines.append(f"    {name} = arith.constant {text} : {type}")
            operands.append((name, type))

        def meta(suffix, rows, storage):
            is_float = storage.kind == "plain" and not storage.bytes
            constant(suffix, rows, storage.element(), literal if is_float else str)

        constant("codes", self.codes, self.element, str)
        meta("scales", self.scales, self.scale)
        text = ", ".join(o for o, _ in operands)
        if self.offset:
            meta("offsets", self.offsets, self.offset)
            text += " offsets(%s)" % operands[-1][0]
        steps = []
        for suffix, rows, storage in (
            ("scale_steps", self.scale_steps, self.scale),
            ("offset_steps", self.offset_steps, self.offset),
        ):
            if rows:
                constant(suffix, rows, storage.type)
                steps.append(operands[-1][0])
        if steps:
            text += " steps(%s)" % ", ".join(steps)
        types = ", ".join(t for _, t in operands)
        lines.append(f"    %{self.name} = qlinear.pack {text} : ({types}) -> {self.type()}")
        return "\n".join(lines)


# ===-- Activations ------------------------------------------------------------===#


def quantize(row):
    """int8 per 32 columns: d = max|x| / 127, q = rint(x * (127 / max|x|)), products exact."""
    values = []
    for begin in range(0, len(row), 32):
        chunk = row[begin : begin + 32]
        if not all(map(math.isfinite, chunk)):
            values += [math.nan] * len(chunk)
            continue
        largest = max(abs(v) for v in chunk)
        if largest < 2**-119:
            values += [0.0] * len(chunk)
            continue
        d, inverse = f32(largest / 127), f32(127 / largest)
        values += [d * round(Fraction(v) * Fraction(inverse)) for v in chunk]
    return values


# ===-- Running ----------------------------------------------------------------===#


def run(body, results, options="", module="", passes=()):
    """Results (name, type, shape) of a function body, as lists of rows.

    `module` is what stands before the function; `passes` run first.
    """
    lines = [module]
    lines += ["func.func private @printMemrefI64(tensor<*xi64>) attributes {llvm.emit_c_interface}"]
    lines += ["func.func @main() {", body]
    for i, (name, type, _) in enumerate(results):
        wide, bits = (type[: type.rindex("x") + 1] + element for element in ("f64>", "i64>"))
        if type != wide:
            lines.append("    %%wide%d = arith.extf %s : %s to %s" % (i, name, type, wide))
            name = "%%wide%d" % i
        lines += [
            "    %%bits%d = arith.bitcast %s : %s to %s" % (i, name, wide, bits),
            "    %%any%d = tensor.cast %%bits%d : %s to tensor<*xi64>" % (i, i, bits),
            "    call @printMemrefI64(%%any%d) : (tensor<*xi64>) -> ()" % i,
        ]
    lines += ["    return", "}"]
    reference = "--qlinear-to-reference" + ("=" + options if options else "")
    command = ["quant-opt", "-", *passes, reference] + PIPELINE
    opt = subprocess.run(command, input="\n".join(lines), capture_output=True, text=True)
    if opt.returncode:
        sys.exit("quant-opt failed:\n" + opt.stderr[:4000])
    libraries = ",".join(
        os.path.join(LIBS, "lib%s.so" % n)
        for n in ("mlir_runner_utils", "mlir_c_runner_utils", "mlir_float16_utils")
    )
    runner = [RUNNER, "-", "-e", "main", "--entry-point-result=void"]
    ran = subprocess.run(
        runner + ["--shared-libs=" + libraries], input=opt.stdout, capture_output=True, text=True
    )
    if ran.returncode:
        sys.exit("mlir-runner failed:\n" + ran.stderr[:4000])
    tensors = []
    for text in re.split(r"Unranked Memref.*?data =", ran.stdout)[1:]:
        bits = [int(v) for v in re.findall(r"-?\d+", text)]
        numbers = [struct.unpack("<d", struct.pack("<q", v))[0] for v in bits]
        _, _, (rows, columns) = results[len(tensors)]
        assert len(numbers) == rows * columns, (len(numbers), rows, columns)
        tensors.append([numbers[r * columns : (r + 1) * columns] for r in range(rows)])
    assert len(tensors) == len(results)
    return tensors


failures = 0


def check(what, actual, expected, tolerance=None):
    """Equal, or within `tolerance` per element."""
    global failures
    for r, (a, e) in enumerate(zip(actual, expected, strict=True)):
        for c, (x, y) in enumerate(zip(a, e, strict=True)):
            same = x == y or (x != x and y != y)
            if not (same or (tolerance and abs(x - y) <= tolerance[r][c])):
                print("FAIL %s: [%d, %d] is %r, expected %r" % (what, r, c, x, y))
                failures += 1
                return
    print("ok   %s" % what)


ENCODINGS = [
    # torchao, AWQ, the mission's per-row steps, ExecuTorch's per-block ones.
    ("u4, group = 32, zero, scale = bf16, offset = bf16", 5, 96),
    ("u4, group = 128, zero, scale = f16, offset = u4", 3, 256),
    ("u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>", 4, 96),
    ("u4, group = 32, zero, scale = u8 * block<256, f16>, offset = u8 * block<256, f16>", 2, 544),
    ("u4, group = 32, zero, scale = u8 * block<256, f16>, offset = u8 * row<bf16>", 2, 192),
    # K-quants; K is not a multiple of 256.
    ("u4, group = 32, min, scale = u6 * block<256, f16>, offset = u6 * block<256, f16>", 2, 288),
    ("u5, group = 32, min, scale = u6 * block<256, f16>, offset = u6 * block<256, f16>", 2, 512),
    ("i6, group = 16, symmetric, scale = i8 * block<256, f16>", 3, 272),
    # The other groups, forms and codings.
    ("i4, group = 16, symmetric, scale = f32", 1, 48),
    ("i8, group = row, symmetric, scale = f32", 7, 37),
    ("i8, group = 32, symmetric, scale = i8 * row<f32>", 2, 64),
    ("i8, group = 64, zero, scale = f16, offset = i8", 2, 128),
    ("u8, group = 256, min, scale = f32, offset = f32", 2, 256),
    ("u6, group = 64, centred, scale = log8 * row<f32>, offset = i8 * row<f32>", 3, 192),
    ("u4, group = 32, centred, scale = log8 * row<f16>, offset = i4", 2, 64),
    ("u4, group = 32, zero, scale = delta10 * row<bf16>, offset = u4", 3, 64),
    ("u4, group = 32, zero, scale = delta12 * row<bf16>, offset = u4", 2, 64),
    ("u5, group = row, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>", 2, 51),
    ("i5, group = 32, zero, scale = bf16, offset = i8 * row<f16>", 2, 64),
    ("u2, group = 16, min, scale = u4 * block<256, f16>, offset = u4 * block<256, f16>", 2, 288),
    ("i3, group = 16, symmetric, scale = i6 * block<256, f16>", 3, 272),
    ("u2, group = row, centred, scale = f16, offset = i4", 2, 33),
    ("u3, group = 32, zero, scale = bf16, offset = u4", 2, 64),
    # Every field of log and delta codes.
    ("i4, group = 16, symmetric, scale = log8 * row<f32>", 1, 4096),
    ("u4, group = 16, zero, scale = delta8 * row<bf16>, offset = delta8 * row<bf16>", 1, 4096),
    # Codes of a table.
    ("example4, group = 32, symmetric, scale = f16", 3, 96),
    ("iq4nl, group = 32, symmetric, scale = i6 * block<256, f16>", 2, 288),
    ("e2m1, group = 32, symmetric, scale = e8m0", 3, 96),
    ("e2m1, group = 16, symmetric, scale = e4m3", 3, 80),
    ("nf4, group = 64, symmetric, scale = f32", 3, 128),
    ("e2m1, group = 16, symmetric, scale = e4m3 * row<f32>", 2, 80),
    ("e2m1, group = 32, zero, scale = e4m3 * row<bf16>, offset = e4m3", 2, 64),
    ("example4, group = 16, zero, scale = u8 * row<f32>, offset = i8", 2, 80),
    ("example4, group = row, min, scale = bf16, offset = f32", 2, 50),
    ("example2, group = 32, symmetric, scale = f16", 2, 64),
    ("example3, group = 16, min, scale = bf16, offset = bf16", 3, 48),
    ("example8, group = 128, symmetric, scale = f32", 3, 512),
    ("example8, group = 32, zero, scale = u8 * row<f32>, offset = i8", 2, 96),
]


def main():
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else random.randrange(1 << 30)
    print("seed %d" % seed)
    rng = random.Random(seed)

    for spelling, N, K in ENCODINGS:
        container = 8 if rng.random() < 0.5 else None
        w = Weight(rng, "w", spelling, N, K, container)
        M = rng.choice([1, 2, 3, 5])
        x = [[f32(rng.gauss(0, 1)) for _ in range(K)] for _ in range(M)]
        if M > 1:
            x[1][:32] = [0.0] * min(32, K)
        xs, ws, ds = f"tensor<{M}x{K}xf32>", w.type(), f"tensor<{N}x{K}x"
        qs, ys = f"!qlinear.activations<{M}x{K}>", f"tensor<{M}x{N}xf32>"
        body = f"""{w.ir()}
            %x = arith.constant {dense(x)} : {xs}
            %d = qlinear.dequantize %w : {ws} -> {ds}f64>
            %h = qlinear.dequantize %w : {ws} -> {ds}bf16>
            %a = qlinear.quantize_activations %x : {xs} -> {qs}
            %e = qlinear.dequantize %a : {qs} -> tensor<{M}x{K}xf64>
            %y = qlinear.linear %x, %w : ({xs}, {ws}) -> {ys}
            %z = qlinear.linear %a, %w : ({qs}, {ws}) -> {ys}"""
        results = [("%d", ds + "f64>", (N, K)), ("%h", ds + "bf16>", (N, K))]
        results += [("%e", f"tensor<{M}x{K}xf64>", (M, K)), ("%y", ys, (M, N)), ("%z", ys, (M, N))]
        d, h, e, y, z = run(body, results)
        values = [[w.value(n, k) for k in range(K)] for n in range(N)]
        quantized = [quantize(row) for row in x]
        check(spelling + ": dequantize", d, values)
        check(spelling + ": dequantize to bf16", h, [[bf16(v) for v in row] for row in values])
        check(spelling + ": activations", e, quantized)
        for what, rows, actual in (("float", x, y), ("int8", quantized, z)):
            terms = [[[a * b for a, b in zip(row, v)] for v in values] for row in rows]
            products = [[math.fsum(t) for t in row] for row in terms]
            bounds = [
                [1e-12 * math.fsum(map(abs, t)) + 2**-24 * abs(math.fsum(t)) for t in row]
                for row in terms
            ]
            check(spelling + ": linear of " + what, actual, products, bounds)

    # Chunks that are zero, tiny, barely not tiny, huge, or not finite.
    K = 7 * 32 + 5
    magnitudes = [0.0, 2**-120, 2**-119, 2**-149, 3e38, math.inf, math.nan, 1.0]
    x = [[f32(rng.uniform(-1, 1) * magnitudes[k // 32]) for k in range(K)]]
    for k in (64, 65):
        x[0][k] = 2**-119
    body = f"""%x = arith.constant {dense(x)} : tensor<1x{K}xf32>
        %a = qlinear.quantize_activations %x : tensor<1x{K}xf32> -> !qlinear.activations<1x{K}>
        %e = qlinear.dequantize %a : !qlinear.activations<1x{K}> -> tensor<1x{K}xf64>"""
    check(
        "extreme activations", *run(body, [("%e", f"tensor<1x{K}xf64>", (1, K))]), [quantize(x[0])]
    )

    # Two weights, a bias, a residual and two results; dynamic M; bf16 and f16;
    # int8 inside the linear.
    N, K, M = 6, 80, 3
    gate = Weight(rng, "g", "u4, group = 16, zero, scale = bf16, offset = bf16", N, K)
    up = Weight(rng, "u", "i8, group = row, symmetric, scale = f32", N, K)
    x = [[bf16(rng.gauss(0, 1)) for _ in range(K)] for _ in range(M)]
    bias = [f32(rng.gauss(0, 1)) for _ in range(N)]
    residual = [[f16(rng.gauss(0, 1)) for _ in range(N)] for _ in range(M)]
    bias_text = ", ".join(map(literal, bias))
    ys, zs = f"tensor<?x{N}xf32>", f"tensor<?x{N}xbf16>"
    body = f"""{gate.ir()}
        {up.ir()}
        %x0 = arith.constant {dense(x)} : tensor<{M}x{K}xbf16>
        %x = tensor.cast %x0 : tensor<{M}x{K}xbf16> to tensor<?x{K}xbf16>
        %b = arith.constant dense<[{bias_text}]> : tensor<{N}xf32>
        %r0 = arith.constant {dense(residual)} : tensor<{M}x{N}xf16>
        %r = tensor.cast %r0 : tensor<{M}x{N}xf16> to tensor<?x{N}xf16>
        %y, %z = qlinear.linear %x, %g, %u extras(%b, %r)
            : (tensor<?x{K}xbf16>, {gate.type()}, {up.type()}, tensor<{N}xf32>,
               tensor<?x{N}xf16>) -> ({ys}, {zs}) {{
        ^bb0(%p: f32, %q: f32, %e: f32, %f: f16):
          %1 = arith.addf %p, %e : f32
          %2 = arith.mulf %1, %q : f32
          %3 = arith.extf %f : f16 to f32
          %4 = arith.addf %2, %3 : f32
          %5 = arith.truncf %q : f32 to bf16
          qlinear.yield %4, %5 : f32, bf16
        }}"""
    for options, rows in (("", x), ("int8=true", [quantize(row) for row in x])):
        y, z = run(body, [("%y", ys, (M, N)), ("%z", zs, (M, N))], options)
        p, q = (
            [
                [f32(sum(a * w.value(n, k) for k, a in enumerate(row))) for n in range(N)]
                for row in rows
            ]
            for w in (gate, up)
        )
        first = [
            [f32(f32(f32(p[m][n] + bias[n]) * q[m][n]) + residual[m][n]) for n in range(N)]
            for m in range(M)
        ]
        check(f"epilogue {options}: first", y, first)
        check(f"epilogue {options}: second", z, [[bf16(v) for v in row] for row in q])

    if failures:
        sys.exit("%d failures with seed %d" % (failures, seed))


if __name__ == "__main__":
    main()
