# ===- reference.py - Packed weights and linears in float64 -------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""An independent decoder of packed weights, written from the comment at the head of
Layout.h and the tables of docs/encodings.md; and linears in float64."""

import re

import ml_dtypes
import numpy as np

FLOATS = {"bf16": ml_dtypes.bfloat16, "f16": np.float16, "f32": np.float32}


def align(value, to):
    return -(-value // to) * to


class Meta:
    """One metadata tensor: "u8 * row<bf16>", "f16", "u4", "log8 * row<f32>", ..."""

    def __init__(self, text):
        self.kind, self.bits, self.scope, self.type = "none", 0, None, None
        if not text:
            return
        code, _, step = text.partition("*")
        code = code.strip()
        if code in FLOATS:
            self.kind, self.type = "plain", FLOATS[code]
            self.bits = 8 * np.dtype(self.type).itemsize
            return
        self.kind, bits = re.fullmatch(r"(log|delta|u|i)(\d+)", code).groups()
        self.bits = int(bits)
        if step:
            self.scope = "row" if "row" in step else "block"
            self.type = FLOATS[re.search(r"(bf16|f16|f32)>", step)[1]]

    def step_bytes(self, scope):
        """Bytes of the constants of one row or block."""
        if self.scope != scope:
            return 0
        return np.dtype(self.type).itemsize * (2 if self.kind == "log" else 1)

    def value(self, field, constants):
        """`constants`: step, or base and step."""
        if self.kind == "plain":
            width = np.uint16 if self.bits == 16 else np.uint32
            return float(np.array(field, width).view(self.type))
        if self.kind == "delta":
            base = int(constants[0].view(np.uint16))
            return float(np.array((base + field) & 0xFFFF, np.uint16).view(ml_dtypes.bfloat16))
        if self.kind == "log":
            return float(np.float32(float(constants[0]) * 2.0 ** (field * float(constants[1]))))
        if self.kind == "i" and field >= 1 << (self.bits - 1):
            field -= 1 << self.bits
        return float(np.float32(field * (float(constants[0]) if self.scope else 1.0)))


class Unit:
    """Where things lie in a unit of `chunks` chunks."""

    def __init__(self, e, chunks):
        self.chunks = chunks
        rows = 16
        self.low = rows * chunks * 16 * (2 if e.bits == 8 else 1)
        self.codes = self.low + (0 if e.bits == 8 else rows * chunks * 4 * (e.bits - 4))
        self.halves = 2 if e.group == 16 else 1
        self.columns = 0 if not e.group else chunks if e.group <= 32 else -(-chunks * 32 // e.group)
        bits = 4 * self.halves * (e.scale.bits + e.offset.bits) if e.group else 0
        self.record = -(-bits // 8)
        self.steps = 16 * (e.scale.step_bytes("block") + e.offset.step_bytes("block"))
        self.used = self.codes + 4 * self.columns * self.record

    def record_bytes(self, unit, r0, p):
        """The record of (r0, column p), put together from its pieces."""
        out, rest = b"", self.record
        for size in (16, 8, 4, 2, 1):
            while rest >= size:
                at = self.codes + 4 * self.columns * len(out) + (r0 * self.columns + p) * size
                out += unit[at : at + size].tobytes()
                rest -= size
        return int.from_bytes(out, "little")


class Encoding:
    def __init__(self, text):
        code, group, form, rest = (p.strip() for p in text.split(",", 3))
        self.signed, self.bits = code[0] == "i", int(code[1:])
        group = group.split("=")[1].strip()
        self.group = 0 if group == "row" else int(group)
        self.form = form
        scale, _, offset = rest.partition(", offset =")
        self.scale = Meta(scale.split("=", 1)[1].strip())
        self.offset = Meta(offset.strip())

    def fields(self, unit, u, row):
        """The codes of one row of a unit, as they are stored."""
        j, r0 = row // 4, row % 4
        out = np.zeros((u.chunks, 32), np.int64)
        i = np.arange(16)
        for c in range(u.chunks):
            # In a full unit chunks are at places that differ from row to row.
            mask = 7 if u.chunks == 8 else 0
            at = (row * u.chunks + (c ^ (row & mask))) * 16
            low = unit[at : at + 16].astype(np.int64)
            if self.bits == 8:
                out[c] = np.r_[low, unit[u.low // 2 + at : u.low // 2 + at + 16]]
                continue
            out[c] = np.r_[low & 15, low >> 4]
            if self.bits == 5:
                at = u.low + (row * u.chunks + c) * 4
                word = unit[at : at + 4].astype(np.int64)
                k = np.arange(32)
                out[c] |= (word[k % 4] >> (k // 4) & 1) << 4
            elif self.bits == 6:
                pair = j // 2 * 4 + r0
                at = u.low + (pair * u.chunks + (c ^ (pair & mask))) * 16 + j % 2 * 8
                words = unit[at : at + 8].astype(np.int64)
                for half in range(2):
                    high = words[half * 4 + i % 4] >> (2 * (i // 4)) & 3
                    out[c, half * 16 : half * 16 + 16] |= high << 4
        return out.reshape(-1)

    def weights(self, fields, s, o):
        center = 1 << (self.bits - 1)
        q = fields - (center if self.signed else 0)
        return {
            "symmetric": lambda: s * q,
            "zero": lambda: s * (q - o),
            "min": lambda: s * q - o,
            "centred": lambda: s * (q - center - o),
        }[self.form]()


def dequantize(blob, encoding, n, k):
    """The n x k weights of a packed blob (uint8), in float64."""
    e = Encoding(encoding)
    full, tail = Unit(e, 8), Unit(e, -(-(k % 256) // 32))
    inside = full.steps and full.used % 128
    size = [align(align(u.used, 16) + (u.steps if inside else 0), 32) for u in (full, tail)]
    tiles, units = -(-n // 16), -(-k // 256)
    tile_bytes = align(k // 256 * size[0] + (size[1] if k % 256 else 0), 128)
    steps_at = tiles * tile_bytes
    rows_at = steps_at + (0 if inside else align(tiles * units * full.steps, 128))
    field_bytes = [0 if e.group else -(-m.bits // 8) for m in (e.scale, e.offset)]
    row_bytes = [f + m.step_bytes("row") for f, m in zip(field_bytes, (e.scale, e.offset))]
    offsets_at = rows_at + align(16 * tiles * row_bytes[0], 128)
    blob = np.asarray(blob, np.uint8)
    assert blob.size == align(offsets_at + 16 * tiles * row_bytes[1], 128)
    out = np.zeros((n, k))
    for t in range(tiles):
        for index in range(units):
            u, whole = (full, True) if index < k // 256 else (tail, False)
            at = t * tile_bytes + index * size[0]
            unit = blob[at : at + size[0 if whole else 1]]
            for row in range(min(16, n - 16 * t)):
                j, r0 = row // 4, row % 4
                # Constants of the row, and of the block of 256 weights.
                steps, fields = [], []
                for which, m in enumerate((e.scale, e.offset)):
                    base = (rows_at if which == 0 else offsets_at) + (16 * t + row) * row_bytes[
                        which
                    ]
                    raw = blob[base : base + row_bytes[which]]
                    fields.append(int.from_bytes(raw[: field_bytes[which]].tobytes(), "little"))
                    if m.scope == "block":
                        begin = (
                            align(u.used, 16)
                            if inside
                            else steps_at + (t * units + index) * full.steps
                        )
                        begin += (r0 * 4 + j) * (full.steps // 16)
                        begin += e.scale.step_bytes("block") if which else 0
                        source = unit if inside else blob
                        raw = source[begin : begin + m.step_bytes("block")]
                        steps.append(np.frombuffer(raw.tobytes(), m.type))
                    elif m.scope == "row":
                        steps.append(np.frombuffer(raw[field_bytes[which] :].tobytes(), m.type))
                    else:
                        steps.append(None)
                codes = e.fields(unit, u, row)
                width = e.group or 256
                for g in range(-(-codes.size // width)):
                    if e.group:
                        p, half = (g // 2, g % 2) if e.group == 16 else (g, 0)
                        record = u.record_bytes(unit, r0, p)
                        entry = j * u.halves + half
                        mask = lambda m: (1 << m.bits) - 1
                        fields = [
                            record >> (entry * e.scale.bits) & mask(e.scale),
                            record >> (4 * u.halves * e.scale.bits + entry * e.offset.bits)
                            & mask(e.offset),
                        ]
                    s = e.scale.value(fields[0], steps[0])
                    o = e.offset.value(fields[1], steps[1]) if e.form != "symmetric" else 0.0
                    columns = slice(index * 256 + g * width, min(k, index * 256 + (g + 1) * width))
                    count = max(0, columns.stop - columns.start)
                    got = codes[g * width : g * width + count]
                    out[16 * t + row, columns] = e.weights(got, s, o)
    return out


def quantize_activations(x):
    """What x (M x K) stands for as int8 per 32 columns, in float64."""
    m, k = x.shape
    padded = np.zeros((m, align(k, 32)), np.float32)
    padded[:, :k] = x.astype(np.float32)
    chunks = padded.reshape(m, padded.shape[1] // 32, 32)
    largest = np.abs(chunks).max(axis=2, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = np.where(largest > 0, np.float32(127) / largest, np.float32(0))
    # The product is exact: it is rounded once, to an integer.
    codes = np.rint(chunks.astype(np.float64) * inverse.astype(np.float32))
    d = (largest / np.float32(127)).astype(np.float64)
    return (codes * d).reshape(padded.shape)[:, :k]


#: Largest error of a result's row, relative to its norm: sums in f32, and one rounding.
BOUND = {"f32": 1e-5, "f16": 2.0**-10, "bf16": 2.0**-7}
#: With float activations: half a unit in the last place, and the sums.
FLOAT_BOUND = {"f32": 2e-6, "f16": 2.0**-11 + 2e-6, "bf16": 2.0**-8 + 2e-6}


def errors(y, x, weight, bias=None, activations="int8"):
    """How far each row of y is from x weight^T + bias, x quantized or not, relative to its norm;
    all float64 arrays."""
    x = quantize_activations(x) if activations == "int8" else np.asarray(x, np.float64)
    want = x @ weight.T + (0 if bias is None else bias)
    assert y.shape == want.shape
    norms = np.maximum(np.linalg.norm(want, axis=1), 1e-30)
    return np.linalg.norm(y - want, axis=1) / norms


#: Kernels of GPUs for more than 8 rows: weights and activations rounded to f16. Errors are
#: those of rows of a few results here.
MANY_ROWS, MANY_BOUND = 9, {"f32": 4e-3, "f16": 5e-3, "bf16": 8e-3}


def definition(dtype, activations, rows, device):
    """(bound of errors(), what activations are multiplied as) of a call of so many rows."""
    if not device.startswith("cpu") and rows >= MANY_ROWS:
        return MANY_BOUND[dtype], "float"
    return (BOUND if activations == "int8" else FLOAT_BOUND)[dtype], activations


def assert_linear(y, x, weight, bias=None, dtype="f32", activations="int8", device="cpu"):
    bound, activations = definition(dtype, activations, len(x), device)
    for row, error in enumerate(errors(y, x, weight, bias, activations)):
        assert error <= bound, f"row {row} is off by {error:.3g} of its norm"
