# ===- raise_stored.py - Random weights as they lie in checkpoints -*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
#
# Forms of raise.py that compute the codes first: from bytes of two, words of eight, or
# wider integers than they need; then a zero, a scale and perhaps a slice, as torch-mlir
# and JAX write it. "counted words" are dequantized at once, by shifts of the index of a
# code in its word. Whether the tensors are constants or loads of globals is random.

import raise_writer
import to_reference as ref
from raise_blocks import Blocks, random_x
from raise_writer import tensor


def wrap(v, bits):
    """As a signed integer of that many bits."""
    v &= (1 << bits) - 1
    return v - (1 << bits) if v >> (bits - 1) else v


class Stored(Blocks):
    Writer = raise_writer.Writer

    def __init__(self, rng, name):
        self.rng = rng
        w = self.w = self.Writer(rng, name)
        self.parts = rng.choice([1, 1, 2])  # of the rows, of which one is taken
        part = rng.randrange(self.parts)
        rows, G, B = rng.choice([2, 4, 6]), rng.choice([1, 2, 3]), rng.choice([16, 32])
        self.N, self.K = N, K = rows * self.parts, G * B
        storage = rng.choice(
            ["bytes", "pairs", "halves", "words", "row words", "truncated", "shifted", "turned"]
            + ["counted words"]
        )
        counted = storage == "counted words"
        signed = storage in ("truncated", "shifted") or rng.random() < 0.4
        bits = 8 if storage in ("bytes", "turned") and rng.random() < 0.4 else 4
        offset = 0
        if signed and storage in ("pairs", "halves", "words", "row words", "counted words"):
            offset = 8  # is subtracted before anything else
        low = -(1 << (bits - 1)) if signed else 0
        q = [[rng.randrange(low, low + (1 << bits)) for _ in range(K)] for _ in range(N)]
        stored = [[c + offset for c in row] for row in q]
        codes, element, k_major = self.codes(storage, stored)
        if offset and not counted:
            codes, element = self.subtract(codes, element, offset, k_major), element
        dims = ["k", "n"] if k_major else ["n", "k"]

        per = rng.choice([1, 1, 1, 2])  # rows that share scales
        scale_type = rng.choice(["f32", "f16", "bf16"])
        s = [
            [ref.ROUND[scale_type](rng.uniform(0.01, 1)) for _ in range(G)] for _ in range(N // per)
        ]
        form = rng.choice(["none", "integer", "float", "eight", "min"])
        wide = "i64" if element == "i64" else rng.choice(["i32", "i64"])
        z = [[rng.randrange(low, low + (1 << bits)) for _ in range(G)] for _ in range(N)]
        if form == "min":
            z = [[ref.f32(rng.uniform(-3, 3)) for _ in range(G)] for _ in range(N)]
        if form == "eight":
            z = [[8] * G for _ in range(N)]

        group = "k floordiv %d" % B
        row = "n" if per == 1 else "n floordiv %d" % per
        if counted:
            dims, group = ["n", "j", "i"], "j floordiv %d" % (B // 8)
            words = tensor([N, K // 8], "i32")
            operands = [(codes, words, dims[:2])]
        else:
            operands = [(codes, self.type(k_major, element), dims)]
        operands.append((*self.scales(s, scale_type), [row, group]))
        if form == "integer":
            # In more bits than they need, in either order.
            if rng.random() < 0.5:
                value = w.constant([N, G], wide, lambda n, g: z[n][g])
                operands.append((*value, ["n", group]))
            else:
                value = w.constant([G, 1, N], wide, lambda g, _, n: z[n][g])
                operands.append((*value, [group, "0", "n"]))
        elif form == "float":
            value = w.constant([N, G], "i8", lambda n, g: wrap(z[n][g], 8))
            operands.append((*value, ["n", group]))
        elif form == "min":
            operands.append((*w.constant([N, G], "f32", lambda n, g: z[n][g]), ["n", group]))

        sign = "s" if signed else "u"

        def dequantize(c, s, *rest):
            if counted:
                index = w.emit("linalg.index 2 : index")
                index = w.emit("arith.index_cast %s : index to %s" % (index, element))
                four = w.emit("arith.constant 4 : " + element)
                by = w.emit("arith.muli %s, %s : %s" % (*w.swap(index, four), element))
                c = self.unpack(c, by, element)
                if offset:
                    eight = w.emit("arith.constant 8 : " + element)
                    c = w.emit("arith.subi %s, %s : %s" % (c, eight, element))
            s = raise_writer.convert(w, s, scale_type, "f32")
            if form in ("integer", "eight"):
                if element != wide:
                    c = w.emit("arith.ext%si %s : %s to %s" % (sign, c, element, wide))
                z = rest[0] if form == "integer" else w.emit("arith.constant 8 : " + wide)
                c = w.emit("arith.subi %s, %s : %s" % (c, z, wide))
                c = w.emit("arith.sitofp %s : %s to f32" % (c, wide))
            else:
                c = w.emit("arith.%sitofp %s : %s to f32" % (sign, c, element))
            if form == "float":
                z = w.emit("arith.%sitofp %s : i8 to f32" % (sign, rest[0]))
                c = w.emit("arith.subf %s, %s : f32" % (c, z))
            if form == "min":
                if rng.random() < 0.5:
                    return w.emit("math.fma %s, %s, %s : f32" % (*w.swap(c, s), rest[0]))
                c = w.emit("arith.mulf %s, %s : f32" % w.swap(c, s))
                return w.emit("arith.addf %s, %s : f32" % w.swap(c, rest[0]))
            return w.emit("arith.mulf %s, %s : f32" % w.swap(c, s))

        type = tensor([N, K // 8, 8], "f32") if counted else self.type(k_major, "f32")
        empty = w.emit("tensor.empty() : " + type)
        weight = w.generic(
            dims, [], operands, (empty, type), dims, lambda *a: (dequantize(*a[:-1]), "f32")
        )
        if counted:
            deep, type, dims = type, self.type(False, "f32"), ["n", "k"]
            weight = w.emit(
                "tensor.collapse_shape %s [[0], [1, 2]] : %s into %s" % (weight, deep, type)
            )
        first, count = part * rows, rows
        if self.parts > 1:
            at, size = ([0, first], [K, rows]) if k_major else ([first, 0], [rows, K])
            sliced = tensor(size, "f32")
            weight = w.emit(
                "tensor.extract_slice %s%s %s [1, 1] : %s to %s" % (weight, at, size, type, sliced)
            )
            type = sliced

        def value(n, k):
            scale, c, offset = s[n // per][k // B], q[n][k], z[n][k // B]
            if form == "none":
                offset = 0
            number = scale * c + offset if form == "min" else scale * (c - offset)
            return number, scale * (abs(c) + 16 + 128 * (bits == 8)) + abs(offset)

        values = [[value(first + n, k) for k in range(K)] for n in range(count)]
        what = "%s of %s%d, %s, %s, %d of %d parts, %d rows a scale" % (
            storage,
            "i" if signed else "u",
            bits,
            form,
            scale_type,
            part,
            self.parts,
            per,
        )
        self.contract(weight, type, dims, values, what)

    def contract(self, weight, type, dims, values, what):
        """Multiplies an x with the weight, whose values and magnitudes are `values`."""
        rng, w, K, count = self.rng, self.w, self.K, len(values)
        M = rng.choice([2, 4])
        x_type = rng.choice(["f32", "f16"])
        x = random_x(rng, M, K, x_type)
        batched = rng.random() < 0.3
        if batched:
            xs, x_dims = (
                w.constant([2, M // 2, K], x_type, lambda b, m, k: x[b * (M // 2) + m][k]),
                ["b", "m", "k"],
            )
            out, out_dims = tensor([2, M // 2, count], "f32"), ["b", "m", "n"]
        else:
            x_dims = ["m", "k"]
            if rng.random() < 0.2:
                M, x_type = 5, "f32"
                x, xs = self.integers(M)
            else:
                xs = w.constant([M, K], x_type, lambda m, k: x[m][k])
            out, out_dims = tensor([M, count], "f32"), ["m", "n"]
        start = w.emit("arith.constant dense<0.0> : " + out)
        loops = out_dims + ["k"]
        operands = [(*xs, x_dims), (weight, type, dims)]
        if rng.random() < 0.2:  # rows that have a scale
            scale = [rng.choice([0.5, 1.0, 2.0]) for _ in range(M)]
            first = out_dims[:-1]
            shape = [2, M // 2] if batched else [M]
            at = (lambda b, m: scale[b * (M // 2) + m]) if batched else (lambda m: scale[m])
            operands.append((*w.constant(shape, "f32", at), first))
            x = [[v * f for v in row] for row, f in zip(x, scale, strict=True)]

        def multiply(a, b, *rest):
            *scale, sum = rest
            a = raise_writer.convert(w, a, x_type, "f32")
            if scale:
                at = rng.randrange(3)
                if at == 0:
                    a = w.emit("arith.mulf %s, %s : f32" % w.swap(a, scale[0]))
                elif at == 1:
                    b = w.emit("arith.mulf %s, %s : f32" % w.swap(b, scale[0]))
                else:
                    product = w.emit("arith.mulf %s, %s : f32" % w.swap(a, b))
                    product = w.emit("arith.mulf %s, %s : f32" % w.swap(product, scale[0]))
                    return w.emit("arith.addf %s, %s : f32" % w.swap(sum, product)), "f32"
            if rng.random() < 0.3:
                return w.emit("math.fma %s, %s, %s : f32" % (*w.swap(a, b), sum)), "f32"
            product = w.emit("arith.mulf %s, %s : f32" % w.swap(a, b))
            return w.emit("arith.addf %s, %s : f32" % w.swap(sum, product)), "f32"

        y = w.generic(loops, ["k"], operands, (start, out), out_dims, multiply)
        if batched:
            result = tensor([M, count], "f32")
            y = w.emit("tensor.collapse_shape %s [[0, 1], [2]] : %s into %s" % (y, out, result))
        self.finish(values, x, y, what)

    def integers(self, M):
        """An x that was quantized, and is dequantized before the product; perhaps some rows
        of more."""
        w, rng, K = self.w, self.rng, self.K
        first, last = rng.choice([(0, 0), (0, 0), (2, 1)])
        total = first + M + last
        x = [[rng.randrange(-128, 128) for _ in range(K)] for _ in range(total)]
        codes = (*w.constant([total, K], "i8", lambda m, k: x[m][k]), ["m", "k"])

        def body(c):
            c = w.emit("arith.sitofp %s : i8 to f32" % c)
            return w.emit("arith.mulf %s, %s : f32" % (c, w.emit("arith.constant 0.125 : f32")))

        value = self.elementwise([codes], [total, K], "f32", ["m", "k"], body)
        type, rows = tensor([total, K], "f32"), tensor([M, K], "f32")
        if total != M:
            cut = "tensor.extract_slice %s[%d, 0] [%d, %d] [1, 1] : %s to %s"
            value = w.emit(cut % (value, first, M, K, type, rows))
        x = x[first : first + M]
        return [[v / 8 for v in row] for row in x], (value, rows)

    def type(self, k_major, element):
        return tensor([self.K, self.N] if k_major else [self.N, self.K], element)

    def elementwise(self, inputs, shape, element, dims, body):
        type = tensor(shape, element)
        empty = self.w.emit("tensor.empty() : " + type)
        return self.w.generic(
            dims, [], inputs, (empty, type), dims, lambda *a: (body(*a[:-1]), element)
        )

    def subtract(self, codes, element, offset, k_major):
        dims = ["a", "b"]
        shape = [self.K, self.N] if k_major else [self.N, self.K]

        def body(c):
            by = self.w.emit("arith.constant %d : %s" % (offset, element))
            return self.w.emit("arith.subi %s, %s : %s" % (c, by, element))

        operand = (codes, tensor(shape, element), dims)
        return self.elementwise([operand], shape, element, dims, body)

    def scales(self, s, element):
        """A matrix, or the same behind a dimension more, or rounded from f32."""
        w, shape, dims = self.w, [len(s), len(s[0])], ["n", "g"]
        type = tensor(shape, element)
        kind = self.rng.randrange(3)
        if kind == 0 and element != "f32":
            value = w.constant(shape, "f32", lambda n, g: s[n][g])
            narrow = "arith.truncf %s : f32 to " + element
            return self.elementwise(
                [(*value, dims)], shape, element, dims, lambda v: w.emit(narrow % v)
            ), type
        if kind == 1:
            value, deep = w.constant([*shape, 1], element, lambda n, g, _: s[n][g])
            return w.emit(
                "tensor.collapse_shape %s [[0], [1, 2]] : %s into %s" % (value, deep, type)
            ), type
        return w.constant(shape, element, lambda n, g: s[n][g])

    def codes(self, storage, q):
        """The codes as a tensor, N x K or K x N: its value, its element, which it is."""
        w, N, K, rng = self.w, self.N, self.K, self.rng
        nk = ["n", "k"]
        if storage == "bytes":
            return w.constant([N, K], "i8", lambda n, k: wrap(q[n][k], 8))[0], "i8", False
        if storage == "turned":
            value, type = w.constant([K, N], "i8", lambda k, n: wrap(q[n][k], 8))
            if rng.random() < 0.5:
                return value, "i8", True
            turned = tensor([N, K], "i8")
            empty = w.emit("tensor.empty() : " + turned)
            transpose = "linalg.transpose ins(%s : %s) outs(%s : %s) permutation = [1, 0]"
            return w.emit(transpose % (value, type, empty, turned)), "i8", False
        if storage in ("truncated", "shifted"):
            # What is above the low four bits has no meaning.
            value = w.constant(
                [N, K], "i8", lambda n, k: wrap(q[n][k] & 15 | rng.randrange(16) << 4, 8)
            )

            def body(c):
                if storage == "truncated":
                    return w.emit("arith.trunci %s : i8 to i4" % c)
                four = w.emit("arith.constant 4 : i8")
                c = w.emit("arith.shli %s, %s : i8" % (c, four))
                return w.emit("arith.shrsi %s, %s : i8" % (c, four))

            element = "i4" if storage == "truncated" else "i8"
            return self.elementwise([(*value, nk)], [N, K], element, nk, body), element, False
        if storage in ("pairs", "halves"):
            return self.nibbles(storage, q), "i8", False
        # Eight codes in each word, along k or along n.
        along_k = storage != "row words"
        if not along_k and N % 8:
            along_k = True
        k_major = storage != "counted words" and (not along_k or rng.random() < 0.5)
        element = rng.choice(["i32", "i64"])

        def word(n, k):
            codes = [q[n][k * 8 + i] if along_k else q[n * 8 + i][k] for i in range(8)]
            return wrap(sum(c << (4 * i) for i, c in enumerate(codes)), 32)

        turn = (lambda a, b: [b, a]) if k_major else (lambda a, b: [a, b])
        rows, columns = (N, K // 8) if along_k else (N // 8, K)
        words = w.constant(
            turn(rows, columns), "i32", (lambda k, n: word(n, k)) if k_major else word
        )
        if storage == "counted words":
            return words[0], element, False
        shifts = (*w.constant([8], element, lambda i: 4 * i), ["i"])
        if rng.random() < 0.5:
            empty = w.emit("tensor.empty() : tensor<8x%s>" % element)

            def count(_):
                index = w.emit("linalg.index 0 : index")
                index = w.emit("arith.index_cast %s : index to %s" % (index, element))
                four = w.emit("arith.constant 4 : " + element)
                return w.emit("arith.muli %s, %s : %s" % (index, four, element)), element

            type = "tensor<8x%s>" % element
            shifts = (w.generic(["i"], [], [], (empty, type), ["i"], count), type, ["i"])
        packed = turn(0, 1).index(1 if along_k else 0)
        dims = turn("n", "k")
        dims.insert(packed + 1, "i")
        sizes = turn(rows, columns)
        sizes.insert(packed + 1, 8)

        def unpack(c, by):
            return self.unpack(c, by, element)

        inputs = [(*words, turn("n", "k")), shifts]
        value = self.elementwise(inputs, sizes, element, dims, unpack)
        groups = "[[0, 1], [2]]" if packed == 0 else "[[0], [1, 2]]"
        flat = self.type(k_major, element)
        text = "tensor.collapse_shape %s %s : %s into %s"
        return w.emit(text % (value, groups, tensor(sizes, element), flat)), element, k_major

    def unpack(self, word, by, element):
        """The code of a word that begins at bit `by`."""
        w = self.w
        if element == "i64":
            word = w.emit("arith.extsi %s : i32 to i64" % word)
        shift = self.rng.choice(["shrsi", "shrui"])
        code = w.emit("arith.%s %s, %s : %s" % (shift, word, by, element))
        mask = w.emit("arith.constant 15 : " + element)
        return w.emit("arith.andi %s, %s : %s" % (code, mask, element))

    def nibbles(self, storage, q):
        w, N, K = self.w, self.N, self.K
        half = K // 2
        pair = (
            (lambda n, j: (q[n][2 * j], q[n][2 * j + 1]))
            if storage == "pairs"
            else (lambda n, j: (q[n][j], q[n][j + half]))
        )

        def byte(n, j):
            low, high = pair(n, j)
            return wrap(low | high << 4, 8)

        packed = (*w.constant([N, half], "i8", byte), ["n", "j"])

        def low(c):
            return w.emit("arith.andi %s, %s : i8" % (c, w.emit("arith.constant 15 : i8")))

        def high(c):
            return w.emit("arith.shrui %s, %s : i8" % (c, w.emit("arith.constant 4 : i8")))

        parts = [
            self.elementwise([packed], [N, half], "i8", ["n", "j"], body) for body in (low, high)
        ]
        type, whole = tensor([N, half], "i8"), tensor([N, K], "i8")
        if storage == "halves":
            value = w.emit("tensor.empty() : " + whole)
            for i, p in enumerate(parts):
                value = w.emit(
                    "tensor.insert_slice %s into %s[0, %d] [%d, %d] [1, 1] : %s into %s"
                    % (p, value, i * half, N, half, type, whole)
                )
            return value
        deep, pairs = tensor([N, half, 1], "i8"), tensor([N, half, 2], "i8")
        value = w.emit("tensor.empty() : " + pairs)
        for i, p in enumerate(parts):
            p = w.emit(
                "tensor.expand_shape %s [[0], [1, 2]] output_shape [%d, %d, 1] : %s into %s"
                % (p, N, half, type, deep)
            )
            value = w.emit(
                "tensor.insert_slice %s into %s[0, 0, %d] [%d, %d, 1] [1, 1, 1] : %s into %s"
                % (p, value, i, N, half, deep, pairs)
            )
        return w.emit("tensor.collapse_shape %s [[0], [1, 2]] : %s into %s" % (value, pairs, whole))


FORMS = [Stored]
