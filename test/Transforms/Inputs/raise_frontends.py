# ===- raise_frontends.py - Random linears of other dialects ------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
#
# Operations of torch, torchao, ONNX, Brevitas, IREE and the quant dialect, for raise.py.
# Nothing here can run them: what is expected is computed as their documentation
# defines them.

import raise_writer
import to_reference as ref
from raise_blocks import Blocks, random_x
from raise_writer import nested, tensor


class Foreign(Blocks):
    """A linear whose tensors are !torch.vtensor (`torch`) or builtin."""

    runs_unraised = False

    def __init__(self, rng, name, torch):
        self.rng, self.torch = rng, torch
        self.w = raise_writer.Writer(rng, name)

    def type(self, shape, element):
        if not self.torch:
            return tensor(shape, element)
        return "!torch.vtensor<[%s],%s>" % (",".join(map(str, shape)), element)

    def constant(self, shape, element, at):
        """A value and its type."""
        elements = "dense<%s> : %s" % (nested(shape, at), tensor(shape, element))
        type = self.type(shape, element)
        if self.torch:
            text = '"torch.vtensor.literal"() <{value = %s}> : () -> %s' % (elements, type)
        elif element[0] in "us":
            text = '"onnx.Constant"() {value = %s} : () -> %s' % (elements, type)
        else:
            text = "arith.constant " + elements
        return self.w.emit(text), type

    def scalar(self, value):
        if value is None:
            none = "!torch.none"
            return self.w.emit('"torch.constant.none"() : () -> ' + none), none
        type = "!torch.int"
        text = '"torch.constant.int"() <{value = %d : i64}> : () -> %s'
        return self.w.emit(text % (value, type)), type

    def list(self, values):
        items = [self.scalar(v) for v in values]
        type = "!torch.list<int>"
        text = '"torch.prim.ListConstruct"(%s) : (%s) -> %s'
        values, types = zip(*items, strict=True)
        return self.w.emit(text % (", ".join(values), ", ".join(types), type)), type

    def op(self, name, operands, type, attributes=""):
        """`name` itself, or as a torch.operator; a value and its type."""
        values, types = (", ".join(column) for column in zip(*operands, strict=True))
        if self.torch and self.rng.random() < 0.5 or not name.startswith(("torch.", "onnx.")):
            attributes = 'name = "%s"%s' % (name, ", " + attributes if attributes else "")
            name = "torch.operator"
        text = '"%s"(%s) {%s} : (%s) -> %s' % (name, values, attributes, types, type)
        return self.w.emit(text), type

    def activations(self, x, element, rank):
        """x with its rows in `rank` - 1 dimensions."""
        M, K = len(x), len(x[0])
        self.rows = [M] if rank == 2 else [1, M] if rank == 3 else []
        return self.constant(
            self.rows + [K], element, lambda *i: x[i[-2] if rank > 1 else 0][i[-1]]
        )

    def end(self, y, w, x, element, what, bias=None):
        """From the result y to an M x N tensor of f32."""
        M, N = len(x), len(w)
        value, _ = y
        shape = self.rows + [N]
        if self.torch:
            text = '"torch_c.to_builtin_tensor"(%s) : (%s) -> %s'
            value = self.w.emit(text % (value, y[1], tensor(shape, element)))
        matrix = tensor([M, N], element)
        if len(shape) == 1:
            text = "tensor.expand_shape %s [[0, 1]] output_shape [1, %d] : %s into %s"
            value = self.w.emit(text % (value, N, tensor(shape, element), matrix))
        elif len(shape) == 3:
            text = "tensor.collapse_shape %s [[0, 1], [2]] : %s into %s"
            value = self.w.emit(text % (value, tensor(shape, element), matrix))
        if element != "f32":
            text = "arith.extf %s : %s to %s" % (value, matrix, tensor([M, N], "f32"))
            value = self.w.emit(text)
        self.finish(w, x, value, what + (", torch" if self.torch else "") + ", " + element)
        if bias:
            self.expected = [
                [v + b for v, b in zip(row, bias, strict=True)] for row in self.expected
            ]
        # The result is rounded, and again after the bias.
        rounding = {"f32": 2.0**-22, "f16": 2.0**-9, "bf16": 2.0**-6}[element]
        self.tolerance = [
            [t + rounding * (abs(e) + 4) for t, e in zip(ts, es, strict=True)]
            for ts, es in zip(self.tolerance, self.expected, strict=True)
        ]

    def linear(self, weight, w, x, element, k_major, what):
        """A contraction of torch with the dequantized weight."""
        rng, N, K = self.rng, len(w), len(w[0])
        rank = rng.choice([2, 2, 3]) if len(x) > 1 or rng.random() < 0.5 else 1
        xs = self.activations(x, element, rank)
        kinds = ["linear", "linear", "matmul"] + (["mm", "addmm"] if rank == 2 else [])
        kind = rng.choice(kinds)
        bias = None
        if kind == "addmm" or (kind == "linear" and rng.random() < 0.5):
            bias = [ref.ROUND[element](rng.uniform(-1, 1)) for _ in range(N)]
        if k_major == (kind == "linear"):
            order = rng.choice(["t", "transpose.int", "permute"])
            operands = [weight]
            if order == "transpose.int":
                operands += [self.scalar(rng.choice([0, -2])), self.scalar(rng.choice([1, -1]))]
            elif order == "permute":
                operands.append(self.list([1, 0]))
            shape = [N, K] if k_major else [K, N]
            weight = self.op("torch.aten." + order, operands, self.type(shape, element))
        operands = [xs, weight]
        if bias:
            bias_value = self.constant([N], element, lambda n: bias[n])
        if kind == "linear":
            operands.append(bias_value if bias else self.scalar(None))
        elif kind == "addmm":
            operands = [bias_value, *operands, self.scalar(1), self.scalar(1)]
        y = self.op("torch.aten." + kind, operands, self.type(self.rows + [N], element))
        self.end(y, w, x, element, "%s, aten.%s" % (what, kind), bias)


def random_weight(rng, low, high, groups, block, zeros, element, N=None):
    """Codes N x K, scales N x G, zeros, and s * (q - z) with its magnitude."""
    N = N or rng.choice([1, 2, 5, 8])
    K = groups * block
    q = [[rng.randint(low, high) for _ in range(K)] for _ in range(N)]
    s = [[ref.ROUND[element](rng.uniform(0.05, 1)) for _ in range(groups)] for _ in range(N)]
    z = [[zeros() for _ in range(groups)] for _ in range(N)]
    w = [
        [
            (
                s[n][k // block] * (q[n][k] - z[n][k // block]),
                s[n][k // block] * (abs(q[n][k]) + abs(z[n][k // block])),
            )
            for k in range(K)
        ]
        for n in range(N)
    ]
    return q, s, z, w


class DequantizeAffine(Foreign):
    """torchao: codes, block_size, scales, zeros."""

    def __init__(self, rng, name):
        super().__init__(rng, name, rng.random() < 0.5)
        element = rng.choice(["f32", "f16", "bf16"])
        low, high = rng.choice([(-8, 7), (0, 15), (-128, 127), (-16, 15), (0, 255), (-1, 2)])
        G, B = rng.choice([1, 2, 3]), rng.choice([16, 32])
        domain = rng.choice(["int", "int", "none", "float"])
        if low < 0 and domain == "float":
            domain = "int"
        middle = (low + high + 1) // 2
        zeros = {"int": lambda: rng.randint(low, high), "none": lambda: 0, "float": lambda: 0}[
            domain
        ]
        q, s, z, w = random_weight(rng, low, high, G, B, zeros, element)
        N, K = len(q), G * B
        if domain == "float":
            add = [[ref.ROUND[element](rng.uniform(-2, 2)) for _ in range(G)] for _ in range(N)]
            w = [
                [
                    (s[n][k // B] * (q[n][k] - middle) + add[n][k // B], s[n][k // B] * 256 + 2)
                    for k in range(K)
                ]
                for n in range(N)
            ]
        code = ("ui8" if low >= 0 and high > 127 else "si8") if self.torch else "i8"
        if code == "i8" and high > 127:

            def as_signed(n, k):
                return q[n][k] - 256 if q[n][k] > 127 else q[n][k]
        else:

            def as_signed(n, k):
                return q[n][k]

        codes = self.constant([N, K], code, as_signed)
        scales = self.constant([N, G], element, lambda n, g: s[n][g])
        zero = None
        if domain == "int":
            kind = rng.choice(["si32", "si64"] if high > 127 else ["si8", "si32", "si64"])
            kind = kind if self.torch else kind[1:]
            zero = self.constant([N, G], kind, lambda n, g: z[n][g])
        elif domain == "float":
            zero = self.constant([N, G], element, lambda n, g: add[n][g])
        type, attributes = self.type([N, K], element), ""
        if rng.random() < 0.5:
            operands = [
                codes,
                self.list([1, B]),
                scales,
                zero or self.scalar(None),
                self.scalar(1),
                self.scalar(low),
                self.scalar(high),
            ]
            if domain == "float":
                attributes = 'zero_point_domain = "FLOAT"'
        else:
            operands = [codes, scales] + ([] if domain == "none" else [zero])
            attributes = "quant_min = %d : i64, quant_max = %d : i64" % (low, high)
            if rng.random() < 0.5:
                attributes += ", block_size = [1, %d]" % B
            if domain == "float":
                attributes += ', zero_point_domain = "FLOAT"'
        weight = self.op("torch.torchao.dequantize_affine", operands, type, attributes)
        x = random_x(rng, rng.choice([1, 3]), K, element)
        what = "dequantize_affine %d..%d, zero %s" % (low, high, domain)
        self.linear(weight, w, x, element, False, what)


class Decomposed(Foreign):
    """torch.quantized_decomposed: per group, channel, or tensor."""

    def __init__(self, rng, name):
        super().__init__(rng, name, rng.random() < 0.7)
        element = rng.choice(["f32", "f16"])
        form = rng.choice(["per_channel_group", "per_channel", "per_tensor.tensor"])
        low, high = rng.choice([(-8, 7), (0, 15), (-128, 127)])
        G, B = (rng.choice([1, 2, 3]), rng.choice([16, 32])) if form.endswith("group") else (1, 48)
        symmetric = rng.random() < 0.4

        def zeros():
            return 0 if symmetric else rng.randint(low, high)

        q, s, z, w = random_weight(rng, low, high, G, B, zeros, "f32")
        N, K = len(q), G * B
        if form == "per_tensor.tensor":
            w = [
                [(s[0][0] * (q[n][k] - z[0][0]), s[0][0] * 256) for k in range(K)] for n in range(N)
            ]
        k_major = form == "per_channel" and rng.random() < 0.5
        code, wide = ("si8", "si64") if self.torch else ("i8", "i64")
        if k_major:
            codes = self.constant([K, N], code, lambda k, n: q[n][k])
        else:
            codes = self.constant([N, K], code, lambda n, k: q[n][k])
        shape = {"per_channel_group": [N, G], "per_channel": [N], "per_tensor.tensor": []}[form]

        def at(v):
            return lambda *i: v[i[0] if i else 0][i[1] if len(i) > 1 else 0]

        operands = [codes, self.constant(shape, "f32", at(s)), self.constant(shape, wide, at(z))]
        if form == "per_channel":
            operands.append(self.scalar(rng.choice([1, -1]) if k_major else 0))
        operands += [self.scalar(low), self.scalar(high), self.scalar(1)]
        if form.endswith("group"):
            operands.append(self.scalar(B))
        operands.append(self.scalar(None))
        type = self.type([K, N] if k_major else [N, K], element)
        weight = self.op("torch.quantized_decomposed.dequantize_" + form, operands, type)
        x = random_x(rng, rng.choice([1, 3]), K, element)
        self.linear(weight, w, x, element, k_major, form)


def pack(fields, bits):
    """A row of fields as bytes, the first in the lowest bits."""
    per_byte = 8 // bits
    return [
        sum(f << (bits * i) for i, f in enumerate(fields[at : at + per_byte]))
        for at in range(0, len(fields), per_byte)
    ]


class MatMulNBits(Foreign):
    """onnx.MatMulNBits of com.microsoft."""

    def __init__(self, rng, name):
        super().__init__(rng, name, rng.random() < 0.5)
        bits, element = rng.choice([2, 4, 4, 8]), rng.choice(["f32", "f16"])
        G, B, form = rng.choice([1, 2, 3]), rng.choice([16, 32]), rng.randrange(3)
        high = (1 << bits) - 1
        zeros = [
            lambda: 1 << (bits - 1),
            lambda: rng.randint(0, high),
            lambda: ref.ROUND[element](rng.uniform(0, high)),
        ][form]
        q, s, z, w = random_weight(rng, 0, high, G, B, zeros, element)
        N, K = len(q), G * B
        x = random_x(rng, rng.choice([1, 2]), K, element)
        rank = rng.choice([2, 3])
        blob = B * bits // 8
        rows = [pack(row, bits) for row in q]
        byte = rng.choice(["ui8", "i8"]) if not self.torch else "ui8"
        signed = (lambda v: v - 256 if v > 127 else v) if byte == "i8" else (lambda v: v)
        operands = [
            self.activations(x, element, rank),
            self.constant([N, G, blob], byte, lambda n, g, b: signed(rows[n][g * blob + b])),
        ]
        flat = rng.random() < 0.5
        shape = [N * G] if flat else [N, G]

        def at(v):
            return (lambda i: v[i // G][i % G]) if flat else (lambda n, g: v[n][g])

        operands.append(self.constant(shape, element, at(s)))
        if form == 1:
            packed = [b for row in z for b in pack(row, bits)]
            operands.append(self.constant([len(packed)], byte, lambda i: signed(packed[i])))
        elif form == 2:
            operands.append(self.constant(shape, element, at(z)))
        bias = None
        if rng.random() < 0.4:
            bias = [ref.ROUND[element](rng.uniform(-1, 1)) for _ in range(N)]
            operands += [self.scalar(None)] * (5 - len(operands))
            operands.append(self.constant([N], element, lambda n: bias[n]))
        prefix = "torch.onnx." if self.torch else ""
        integers = {"K": K, "N": N, "bits": bits, "block_size": B}
        attributes = ", ".join("%s%s = %d : si64" % (prefix, k, v) for k, v in integers.items())
        y = self.op("onnx.MatMulNBits", operands, self.type(self.rows + [N], element), attributes)
        what = "MatMulNBits, %d bits, %s" % (bits, ["no zero", "packed zero", "float zero"][form])
        self.end(y, w, x, element, what, bias)


class DequantizeLinear(Foreign):
    """onnx.DequantizeLinear, Transpose, MatMul or Gemm."""

    def __init__(self, rng, name):
        super().__init__(rng, name, rng.random() < 0.5)
        element = rng.choice(["f32", "f16"])
        code = rng.choice(["si8", "ui8", "si4", "ui4"] if self.torch else ["i8", "ui8", "i4"])
        bits, signed = int(code[-1]), code[0] != "u"
        low = -(1 << (bits - 1)) if signed else 0
        high = low + (1 << bits) - 1
        form = rng.choice(["blocks", "blocks", "axis", "one"])
        G, B = (rng.choice([1, 2, 3]), rng.choice([16, 32])) if form == "blocks" else (1, 32)
        has_zero = rng.random() < 0.7

        def zeros():
            return rng.randint(low, high) if has_zero else 0

        q, s, z, w = random_weight(rng, low, high, G, B, zeros, element)
        N, K = len(q), G * B
        if form == "one":
            w = [
                [(s[0][0] * (q[n][k] - z[0][0]), s[0][0] * 256) for k in range(K)] for n in range(N)
            ]
        k_major = rng.random() < 0.5
        turn = (lambda f: lambda a, b: f(b, a)) if k_major else (lambda f: f)
        order = (lambda n, k: [k, n]) if k_major else (lambda n, k: [n, k])
        operands = [self.constant(order(N, K), code, turn(lambda n, k: q[n][k]))]
        for values, type in ((s, element), (z, code))[: 2 if has_zero else 1]:
            if form == "blocks":
                at = turn(lambda n, g, v=values: v[n][g])
                operands.append(self.constant(order(N, G), type, at))
            elif form == "axis":
                operands.append(self.constant([N], type, lambda n, v=values: v[n][0]))
            else:
                operands.append(self.constant([], type, lambda v=values: v[0][0]))
        axis = (0 if k_major else 1) if form == "blocks" else (1 if k_major else 0)
        prefix = "torch.onnx." if self.torch else ""
        integers = {
            "axis": rng.choice([axis, axis - 2]),
            "block_size": B if form == "blocks" else 0,
        }
        attributes = ", ".join("%s%s = %d : si64" % (prefix, k, v) for k, v in integers.items())
        type = self.type(order(N, K), element)
        weight = self.op("onnx.DequantizeLinear", operands, type, attributes)
        x = random_x(rng, rng.choice([1, 2]), K, element)
        gemm = rng.random() < 0.3
        rank = 2 if gemm else rng.choice([2, 3])
        xs = self.activations(x, element, rank)
        trans_b = gemm and not k_major
        if not k_major and not trans_b:
            attributes = "%sperm = [1 : si64, 0 : si64]" % prefix
            weight = self.op("onnx.Transpose", [weight], self.type([K, N], element), attributes)
        attributes = "%stransB = %d : si64" % (prefix, trans_b) if gemm else ""
        type = self.type(self.rows + [N], element)
        y = self.op("onnx.Gemm" if gemm else "onnx.MatMul", [xs, weight], type, attributes)
        self.end(y, w, x, element, "DequantizeLinear, %s, %s" % (code, form))


class GroupQuant(Foreign):
    """quant.matmul_rhs_group_quant of Brevitas."""

    def __init__(self, rng, name):
        super().__init__(rng, name, True)
        bits, element = rng.choice([4, 8]), rng.choice(["f32", "f16"])
        G, B, high = rng.choice([1, 2, 3]), rng.choice([16, 32]), (1 << bits) - 1

        def zeros():
            return ref.ROUND[element](rng.uniform(0, high))

        q, s, z, w = random_weight(rng, 0, high, G, B, zeros, element)
        N, K = len(q), G * B
        x = random_x(rng, rng.choice([1, 2]), K, element)
        rows = [pack(row, bits) for row in q]
        operands = [
            self.activations(x, element, rng.choice([2, 3])),
            self.constant([N, K * bits // 8], "ui8", lambda n, b: rows[n][b]),
            self.constant([N, G, 1], element, lambda n, g, _: s[n][g]),
            self.constant([N, G, 1], element, lambda n, g, _: z[n][g]),
            self.scalar(bits),
            self.scalar(B),
        ]
        type = self.type(self.rows + [N], element)
        y = self.op("quant.matmul_rhs_group_quant", operands, type)
        self.end(y, w, x, element, "matmul_rhs_group_quant, %d bits" % bits)


class InLinalg(Foreign):
    """Dequantized by quant.dcast or IREE's operation, contracted by linalg."""

    def __init__(self, rng, name):
        super().__init__(rng, name, False)
        element, bits = rng.choice(["f32", "f16"]), rng.choice([4, 8])
        form = rng.choice(["iree", "blocks", "axis", "one"])
        signed = rng.random() < 0.5
        low = -(1 << (bits - 1)) if signed else 0
        high = low + (1 << bits) - 1
        G, B = (rng.choice([2, 3]), rng.choice([16, 32])) if form in ("iree", "blocks") else (1, 32)
        q, s, z, w = random_weight(rng, low, high, G, B, lambda: rng.randint(low, high), element)
        N, K = len(q), G * B
        if form == "one":
            w = [
                [(s[0][0] * (q[n][k] - z[0][0]), s[0][0] * 512) for k in range(K)] for n in range(N)
            ]

        def signless(v):
            return v - (1 << bits) if v >= 1 << (bits - 1) else v

        codes, type = self.constant([N, K], "i%d" % bits, lambda n, k: signless(q[n][k]))
        dequantized = tensor([N, K], element)
        if form == "iree":
            scales = self.constant([N, G], element, lambda n, g: s[n][g])
            zeros = self.constant([N, G], "i%d" % bits, lambda n, g: signless(z[n][g]))
            init = (self.w.emit("tensor.empty() : " + dequantized), dequantized)
            values, types = zip((codes, type), scales, zeros, init, strict=True)
            maps = ["(n, k) -> (n, k)"] + ["(n, k) -> (n, k floordiv %d)" % B] * 2
            maps = ", ".join("affine_map<%s>" % m for m in maps + maps[:1])
            flags = "" if signed else ", input_unsigned, zp_unsigned"
            weight = self.w.emit(
                '"iree_linalg_ext.dequantize_affine"(%s) {indexing_maps = [%s]%s} : (%s) -> %s'
                % (", ".join(values), maps, flags, ", ".join(types), dequantized)
            )
        else:
            pairs = [["%r:%d" % (s[n][g], z[n][g]) for g in range(G)] for n in range(N)]
            storage = "%s%d:%s" % ("i" if signed else "u", bits, element)
            if form == "blocks":
                groups = ", ".join("{%s}" % ", ".join(row) for row in pairs)
                quantized = "!quant.uniform<%s:{0:1, 1:%d}, {%s}>" % (storage, B, groups)
            elif form == "axis":
                channels = ", ".join(row[0] for row in pairs)
                quantized = "!quant.uniform<%s:0, {%s}>" % (storage, channels)
            else:
                quantized = "!quant.uniform<%s, %s>" % (storage, pairs[0][0])
            quantized = tensor([N, K], quantized)
            cast = self.w.emit("quant.scast %s : %s to %s" % (codes, type, quantized))
            weight = self.w.emit("quant.dcast %s : %s to %s" % (cast, quantized, dequantized))
        M = rng.choice([1, 2])
        x = random_x(rng, M, K, element)
        self.rows = [M]
        xs, x_type = self.constant([M, K], element, lambda m, k: x[m][k])
        transposed, out = tensor([K, N], element), tensor([M, N], element)
        empty = self.w.emit("tensor.empty() : " + transposed)
        weight = self.w.emit(
            "linalg.transpose ins(%s : %s) outs(%s : %s) permutation = [1, 0]"
            % (weight, dequantized, empty, transposed)
        )
        start = self.w.emit("arith.constant dense<0.0> : " + out)
        y = self.w.emit(
            "linalg.matmul ins(%s, %s : %s, %s) outs(%s : %s) -> %s"
            % (xs, weight, x_type, transposed, start, out, out)
        )
        self.end((y, out), w, x, element, "%s, %d bits" % (form, bits))


FORMS = [DequantizeAffine, Decomposed, MatMulNBits, DequantizeLinear, GroupQuant, InLinalg]
