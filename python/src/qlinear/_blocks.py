# ===- _blocks.py - torch.ops.qlinear.block ------------------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""The custom ops behind qlinear.nn.optimize(), a compiled function of several layers:

    qlinear::block(Tensor[] inputs, Tensor[] packed, str text, int[] columns) -> Tensor[]
    qlinear::block_into(Tensor[] inputs, Tensor(a!)[] caches, Tensor[] packed, str text,
                        int columns) -> Tensor

`text` is MLIR with one function, @block, of the inputs, whose weights are the parameters in
their order: `packed`, their bytes. Inputs with as many dimensions as the first are rows (...,
K); others are vectors. Results are (..., columns[i]) of the type of the first input. As of
qlinear::linear, the ops have no state, and their kernels are compiled at the first use of a text.
They have no derivative. The caches of the second are the function's last inputs, of which it writes
some rows: (..., head), dense, with all dimensions but the last as rows; an input before may be
int32, the rows that are written. It has one result, since torch.compile knows no ops that write
arguments and return lists.

Below are the texts."""

import threading

import torch

from . import _abi, _native, _ops, compiler
from ._abi import ArgumentError, Error
from ._ops import _TYPES, _aligned, _library, _says, _type_of
from .module import Module

#: Of the inputs of a block.
_KINDS = {**_TYPES, torch.int32: "i32"}


def compiled(text, *, target, batch_invariant):
    """The artifact of a text."""
    return compiler.compile(text, target, batch_invariant=batch_invariant, kernel={"text": text})


class _Block:
    """A compiled text on a device."""

    def __init__(self, text, invariant, device_name):
        device = _abi.device(device_name)
        artifact = compiled(text, target=device.target, batch_invariant=invariant)
        self.module = Module(artifact, None, device)
        self.function = self.module.functions["block"]
        self.bytes = [weight["bytes"] for weight in artifact.manifest["weights"]]
        self.device_name = device_name
        self.local = threading.local()

    def structs(self):
        """Structs that this thread fills for each call."""
        if not hasattr(self.local, "structs"):
            made = []
            for specs in (self.function.inputs, self.function.outputs):
                tensors = (_abi.Tensor * len(specs))()
                for tensor, spec in zip(tensors, specs):
                    tensor.dtype = _abi.DTYPES[spec.dtype][0]
                    tensor.rank = len(spec.shape)
                    tensor.shape[tensor.rank - 1] = spec.shape[-1]
                made.append(tensors)
            self.local.structs = *made, (_abi.Blob * len(self.bytes))()
        return self.local.structs

    def run(self, inputs, caches, packed, outputs, rows, stream):
        tensors, results, blobs = self.structs()
        for struct, tensor in zip(tensors, inputs):
            struct.data = tensor.data_ptr()
            if struct.rank == 2:
                struct.shape[0] = rows
        for struct, cache in zip(tensors[len(inputs) :], caches):
            struct.data, struct.shape[0] = cache.data_ptr(), cache.numel() // cache.shape[-1]
        for struct, tensor in zip(results, outputs):
            struct.data, struct.shape[0] = tensor.data_ptr(), rows
        for blob, tensor in zip(blobs, packed):
            blob.data, blob.bytes = tensor.data_ptr(), tensor.numel()
        arguments = tensors, len(tensors), results, len(results), blobs, len(blobs), stream
        _ops.call_with_weights(self.module, self.function, rows, arguments)


_blocks = {}
_building = threading.Lock()


def block_for(text, device):
    """The compiled text on a device, for the present set_batch_invariant()."""
    key = text, _ops._invariant, device
    found = _blocks.get(key)
    if found is None:
        with _building:
            found = _blocks.get(key)
            if found is None:
                found = _blocks[key] = _Block(*key)
    return found


def block_of_call(text, device):
    """As block_for(), of a call."""
    if (text, _ops._invariant, device) not in _blocks and _ops.is_capturing(device):
        raise Error(
            "the first call of a block of layers is inside a CUDA graph capture, where its "
            "kernels cannot be loaded; run the model once before"
        )
    return block_for(text, device)


def block_on(x, text):
    """The compiled text on the device of x, and torch's current stream there."""
    index = x.device.index if x.device.type == "cuda" else None
    name = _ops._host if index is None else f"cuda:{index}"
    found = _blocks.get((text, _ops._invariant, name)) or block_of_call(text, name)
    stream = None if index is None else torch._C._cuda_getCurrentRawStream(index)
    return found, stream


def _check(block, inputs, caches, packed):
    """Everything has the shape and the type that the text says."""
    x = inputs[0]
    specs, into = block.function.inputs, block.function.caches
    if len(inputs) != len(specs) - len(into) or len(packed) != len(block.bytes):
        raise ArgumentError(
            f"the block takes {len(specs) - len(into)} inputs and {len(block.bytes)} weights, not "
            f"{len(inputs)} and {len(packed)}"
        )
    if len(caches) != len(into):
        raise ArgumentError(f"the block writes {len(into)} caches, not {len(caches)}")
    for i, (tensor, spec) in enumerate(zip(inputs, specs)):
        lead = x.shape[:-1] if len(spec.shape) == 2 else ()
        if tuple(tensor.shape) != (*lead, spec.shape[-1]) or _KINDS.get(tensor.dtype) != spec.dtype:
            raise ArgumentError(
                f"input {i} of the block is {tensor.dtype} with the shape {tuple(tensor.shape)}, "
                f"but it takes {spec.dtype} with {(*lead, spec.shape[-1])}"
            )
    for i, (cache, spec) in enumerate(zip(caches, specs[len(inputs) :])):
        fits = cache.dim() >= 2 and cache.shape[-1] == spec.shape[-1]
        if not fits or _KINDS.get(cache.dtype) != spec.dtype:
            raise ArgumentError(
                f"cache {i} of the block is {cache.dtype} with the shape {tuple(cache.shape)}, "
                f"but it takes {spec.dtype} with {(..., spec.shape[-1])}"
            )
        if not cache.is_contiguous() or cache.data_ptr() % 16:
            raise ArgumentError(
                f"cache {i} of the block has gaps, or is not at a multiple of 16 bytes; it is "
                "written where it lies: pass a contiguous tensor"
            )
    for i, (tensor, size) in enumerate(zip(packed, block.bytes)):
        if tensor.dtype != torch.uint8 or tensor.numel() != size:
            raise ArgumentError(
                f"weight {i} of the block has {tensor.numel()} elements of {tensor.dtype}, but it "
                f"takes {size} bytes"
            )
    _check_devices([*inputs, *caches], packed)


def _check_devices(inputs, packed):
    on = inputs[0].device
    for tensor in (*inputs, *packed):
        if tensor.device != on:
            hint = "; what is offloaded has no compiled functions: offload it before optimize()"
            raise ArgumentError(
                f"the block has x on {on}, and a tensor on {tensor.device}{hint * tensor.is_meta}"
            )


def _run(inputs, caches, packed, text, columns):
    x = inputs[0]
    outputs = [x.new_empty((*x.shape[:-1], n)) for n in columns]
    if x.numel() == 0:
        return outputs
    block, stream = block_on(x, text)
    _check(block, inputs, caches, packed)
    inputs = [_aligned(tensor) for tensor in inputs]
    packed = [_ops.at_alignment(tensor, block.device_name) for tensor in packed]
    block.run(inputs, caches, packed, outputs, x.numel() // x.shape[-1], stream)
    return outputs


def _block(inputs, packed, text, columns):
    return _run(inputs, (), packed, text, columns)


def _block_into(inputs, caches, packed, text, columns):
    return _run(inputs, caches, packed, text, [columns])[0]


def _fake(inputs, packed, text, columns):
    x = inputs[0]
    _type_of(x, "x")
    _check_devices(inputs, packed)
    return [x.new_empty((*x.shape[:-1], n)) for n in columns]


def _fake_into(inputs, caches, packed, text, columns):
    return _fake([*inputs, *caches], packed, text, [columns])[0]


def _no_backward(ctx, *grads):
    raise Error(
        "a model after qlinear.nn.optimize() has no gradients; train the model that "
        "swap_linears() gives, and optimize it then"
    )


_ops.define("block(Tensor[] inputs, Tensor[] packed, str text, int[] columns) -> Tensor[]", _block)
_ops.define(
    "block_into(Tensor[] inputs, Tensor(a!)[] caches, Tensor[] packed, str text, int columns)"
    " -> Tensor",
    _block_into,
)
torch.library.register_fake("qlinear::block", _fake, lib=_library)
torch.library.register_fake("qlinear::block_into", _fake_into, lib=_library)
torch.library.register_autograd("qlinear::block", _no_backward, lib=_library)
_block_op = torch.ops.qlinear.block.default
_block_plain = _ops.plain_op("_block", _fake)
_into_op = torch.ops.qlinear.block_into.default
_into_plain = _ops.plain_op("_block_into", _fake_into)
if _native.library is not None:
    _native.use(_ops.kernel_of_call, block_of_call)


def block(inputs, packed, text, columns):
    """torch.ops.qlinear.block."""
    if torch.compiler.is_compiling():
        return torch.ops.qlinear.block(inputs, packed, text, columns)
    wanted = torch.is_grad_enabled() and any(x.requires_grad for x in inputs)
    return _ops.called(_block_op, _block_plain, inputs[0], (inputs, packed, text, columns), wanted)


def block_into(inputs, caches, packed, text, columns):
    """torch.ops.qlinear.block_into, where gradients are off."""
    arguments = inputs, caches, packed, text, columns
    if torch.compiler.is_compiling():
        return torch.ops.qlinear.block_into(*arguments)
    return _ops.called(_into_op, _into_plain, inputs[0], arguments, False)


# ===------------------------------------------------------------------------===#
# Texts
# ===------------------------------------------------------------------------===#

#: f(g) of the gate, as operations on %g; the result is %a.
ACTIVATIONS = {
    "silu": """    %one = arith.constant 1.0 : f32
    %neg = arith.negf %g : f32
    %exp = math.exp %neg : f32
    %den = arith.addf %exp, %one : f32
    %a = arith.divf %g, %den : f32
""",
    "gelu_tanh": """    %half = arith.constant 0.5 : f32
    %one = arith.constant 1.0 : f32
    %c = arith.constant 0.044715 : f32
    %root = arith.constant 0.7978845608 : f32
    %g2 = arith.mulf %g, %g : f32
    %g3 = arith.mulf %g2, %g : f32
    %cube = arith.mulf %g3, %c : f32
    %in = arith.addf %g, %cube : f32
    %arg = arith.mulf %in, %root : f32
    %tanh = math.tanh %arg : f32
    %plus = arith.addf %tanh, %one : f32
    %gh = arith.mulf %g, %half : f32
    %a = arith.mulf %gh, %plus : f32
""",
    "gelu": """    %half = arith.constant 0.5 : f32
    %one = arith.constant 1.0 : f32
    %root = arith.constant 0.7071067812 : f32
    %arg = arith.mulf %g, %root : f32
    %erf = math.erf %arg : f32
    %plus = arith.addf %erf, %one : f32
    %gh = arith.mulf %g, %half : f32
    %a = arith.mulf %gh, %plus : f32
""",
}


class Text:
    """Writes a function on rows of `dtype`: arguments are added as they are used."""

    def __init__(self, dtype):
        self.dtype = dtype
        self.parameters, self.arguments, self.body, self.count = [], [], [], 0
        self.updated = []  # what caches become, and their types

    def name(self):
        self.count += 1
        return f"%v{self.count}"

    def rows(self, k, dtype=None):
        return f"tensor<?x{k}x{dtype or self.dtype}>"

    def argument(self, kind):
        self.arguments.append((f"%x{len(self.arguments)}", kind))
        return self.arguments[-1][0]

    def weight(self, encoding, n, k):
        kind = f"!qlinear.weight<{n}x{k}, #qlinear.encoding<{encoding}>>"
        symbol = f"@w{len(self.parameters)}"
        self.parameters.append(f"qlinear.parameter {symbol} : {kind}\n")
        value = self.name()
        self.body.append(f"  {value} = qlinear.load {symbol} : {kind}\n")
        return value, kind

    def widened(self, value, dtype, to):
        """The line that gives `to` the f32 of a value, and what to use for it."""
        if dtype == "f32":
            return "", value
        return f"    {to} = arith.extf {value} : {dtype} to f32\n", to

    def narrowed(self, value, to):
        if self.dtype == "f32":
            return "", value
        return f"    {to} = arith.truncf {value} : f32 to {self.dtype}\n", to

    def norm(self, norm, x, k, add=None, after=None, times=None):
        """(sum or None, norm) of x, or of the sum of x and `add`; `after` is added to the
        norm, and `times`, the type of another argument of one element, multiplies both.
        `norm` is (epsilon, 1 if the scale is less one, type of the scale)."""
        epsilon, plus_one, kind = norm
        gamma = self.argument(f"tensor<{k}x{kind}>")
        extras, types = [gamma], [f"tensor<{k}x{kind}>"]
        if after:
            extras.append(after)
            types.append(self.rows(k))
        inputs = [x] + ([add] if add else [])
        region, w = self.widened("%w", kind, "%wf")
        if plus_one:
            region += "    %one = arith.constant 1.0 : f32\n"
            region += f"    %w1 = arith.addf {w}, %one : f32\n"
            w = "%w1"
        region += f"    %p = arith.mulf %n, {w} : f32\n"
        value = "%p"
        if after:
            line, r = self.widened("%r", self.dtype, "%rf")
            region += line + f"    %t = arith.addf %p, {r} : f32\n"
            value = "%t"
        arguments = f"%n: f32, %s: f32, %w: {kind}" + (f", %r: {self.dtype}" if after else "")
        if times:
            extras.append(self.argument(f"tensor<1x{times}>"))
            types.append(f"tensor<1x{times}>")
            arguments += f", %c: {times}"
            line, c = self.widened("%c", times, "%cf")
            region += line + f"    %m = arith.mulf {value}, {c} : f32\n"
            value = "%m"
        line, value = self.narrowed(value, "%y")
        region += line
        values = [value]
        if add:
            line, s = self.narrowed("%s", "%sn")
            region += line
            values.insert(0, s)
        results = [self.name() for _ in values]
        row = self.rows(k)
        self.body.append(
            f"  {', '.join(results)} = qlinear.norm rms {', '.join(inputs)} "
            f"extras({', '.join(extras)}) epsilon = {epsilon:.9e}\n"
            f"      : ({', '.join([row] * len(inputs) + types)}) -> "
            f"({', '.join([row] * len(values))}) {{\n  ^bb0({arguments}):\n{region}"
            f"    qlinear.yield {', '.join(values)} : {', '.join([self.dtype] * len(values))}\n"
            "  }\n"
        )
        return (results[0] if add else None), results[-1]

    def linears(self, x, k, layers, activations):
        """The products of x with several weights, (encoding, n, type of the bias or None)
        each: one operation where they have no biases."""
        says = _says(activations)
        if any(bias for _, _, bias in layers):
            return [self.linear(x, k, layer, says) for layer in layers]
        weights = [self.weight(encoding, n, k) for encoding, n, _ in layers]
        results = [self.name() for _ in layers]
        self.body.append(
            f"  {', '.join(results)} = qlinear.linear {x}, {', '.join(w for w, _ in weights)}"
            f"{says}\n      : ({self.rows(k)}, {', '.join(t for _, t in weights)}) -> "
            f"({', '.join(self.rows(n) for _, n, _ in layers)})\n"
        )
        return results

    def linear(self, x, k, layer, says, add=None):
        """The product of x with a weight, plus its bias and plus `add`, if there are."""
        encoding, n, bias = layer
        w, kind = self.weight(encoding, n, k)
        result, region, value = self.name(), "", "%v"
        extras, types, arguments = [], [], ["%v: f32"]
        for i, (extra, dtype, shape) in enumerate(
            [(bias and self.argument(f"tensor<{n}x{bias}>"), bias, f"tensor<{n}x{bias}>"),
             (add, self.dtype, self.rows(n))]
        ):
            if extra:
                extras.append(extra)
                types.append(shape)
                arguments.append(f"%e{i}: {dtype}")
                line, e = self.widened(f"%e{i}", dtype, f"%f{i}")
                region += line + f"    %s{i} = arith.addf {value}, {e} : f32\n"
                value = f"%s{i}"
        line, value = self.narrowed(value, "%y")
        region += line
        self.body.append(
            f"  {result} = qlinear.linear {x}, {w} extras({', '.join(extras)}){says}\n"
            f"      : ({', '.join([self.rows(k), kind, *types])}) -> {self.rows(n)} {{\n"
            f"  ^bb0({', '.join(arguments)}):\n{region}"
            f"    qlinear.yield {value} : {self.dtype}\n  }}\n"
            if extras
            else f"  {result} = qlinear.linear {x}, {w}{says}\n"
            f"      : ({self.rows(k)}, {kind}) -> {self.rows(n)}\n"
        )
        return result

    def rotary(self, values, columns, head, norm, unrotated=0, normalized=0, cached=0):
        """Rotary embeddings of whole heads, of their norms if there is a `norm` (as in norm()).
        The last `unrotated` ones are not rotated; as many of these as are `normalized` get a norm
        without a scale. The last `cached` ones go into caches, which are the function's results,
        too; the others are returned."""
        says, end, types = "", "", [self.rows(n) for n in columns]
        if unrotated:
            end = f" unrotated = {unrotated}"
        if norm:
            epsilon, plus_one, kind = norm
            scale = f"tensor<{head}x{kind}>"
            scales = [self.argument(scale) for _ in values[: len(values) - unrotated]]
            if normalized:
                one = self.name()
                value = "0.0" if plus_one else "1.0"
                self.body.append(f"  {one} = arith.constant dense<{value}> : {scale}\n")
                scales += [one] * normalized
            says = f"norms({', '.join(scales)}) {'zero_centered ' if plus_one else ''}"
            says += f"epsilon = {epsilon:.9e} "
            types += [scale] * len(scales)
        table = self.rows(head)
        tables = [self.argument(table), self.argument(table)]
        types += [table, table]
        results = [self.name() for _ in values]
        made = [self.rows(n) for n in columns]
        if cached:
            at = f"tensor<?x{columns[-1] // head}xi32>"
            places, cache = self.argument(at), self.rows(head)
            caches = [self.argument(cache) for _ in range(cached)]
            end += f" into({', '.join(caches)} at {places})"
            types += [cache] * cached + [at]
            made[-cached:] = [cache] * cached
            self.updated = list(zip(results[-cached:], made[-cached:]))
        self.body.append(
            f"  {', '.join(results)} = qlinear.rotary {', '.join(values)} {says}"
            f"by {', '.join(tables)} head = {head}{end}\n"
            f"      : ({', '.join(types)}) -> ({', '.join(made)})\n"
        )
        return results[: len(results) - cached]

    def glu(self, x, k, gate, up, act, activations):
        """act(x * gate) * (x * up), for two weights with as many outputs and no biases."""
        says = _says(activations)
        (wg, tg), (wu, tu) = self.weight(gate[0], gate[1], k), self.weight(up[0], up[1], k)
        line, value = self.narrowed("%p", "%y")
        result = self.name()
        self.body.append(
            f"  {result} = qlinear.linear {x}, {wg}, {wu}{says}\n"
            f"      : ({self.rows(k)}, {tg}, {tu}) -> {self.rows(gate[1])} {{\n"
            f"  ^bb0(%g: f32, %u: f32):\n{ACTIVATIONS[act]}    %p = arith.mulf %a, %u : f32\n"
            f"{line}    qlinear.yield {value} : {self.dtype}\n  }}\n"
        )
        return result

    def finish(self, results):
        results = [*results, *self.updated]
        arguments = ", ".join(f"{name}: {kind}" for name, kind in self.arguments)
        types = ", ".join(kind for _, kind in results)
        return (
            "".join(self.parameters)
            + f"func.func @block({arguments}) -> ({types}) {{\n"
            + "".join(self.body)
            + f"  return {', '.join(v for v, _ in results)} : {types}\n}}\n"
        )


def projections_text(dtype, k, norm, layers, activations, rotary=None, cached=False):
    """Inputs x, the scale of the norm, biases; results: the linears of the norm of x. `rotary`
    is (columns of a head, norm of a head or None, whether the third is normalized): then the first
    two results have rotary embeddings, and the last inputs are the scales of the norms of heads, if
    there are, and the cosines and sines of each row. What is normalized, without a scale, is "own",
    the third linear, or "keys", the second again, which is one more result. `cached`: keys and
    values are no results, but written into the last inputs, after their places in these."""
    text = Text(dtype)
    x = text.argument(text.rows(k))
    _, n = text.norm(norm, x, k)
    values, columns = text.linears(n, k, layers, activations), [layer[1] for layer in layers]
    if rotary:
        head, norm_of_heads, normalized = rotary
        if normalized == "keys":
            values, columns = [*values, values[1]], [*columns, columns[1]]
        some = slice(3 if normalized or cached else 2)
        values[some] = text.rotary(
            values[some],
            columns[some],
            head,
            norm_of_heads,
            unrotated=int(bool(normalized or cached)),
            normalized=int(bool(normalized)),
            cached=2 if cached else 0,
        )
    return text.finish([(v, text.rows(n)) for v, n in zip(values, columns)])


def _to_mlp(text, k, out, norms):
    """(residual, what the MLP multiplies), after the attention. `out` is the attention's last
    linear, (K, layer, activations), or None: then x is its result."""
    after_attention, before, _ = norms
    x = text.argument(text.rows(out[0] if out else k))
    residual = text.argument(text.rows(k))
    if out:
        inner, layer, activations = out
        add = None if after_attention else residual
        x = text.linear(x, inner, layer, _says(activations), add=add)
    if after_attention:
        _, x = text.norm(after_attention, x, k, after=residual)
    elif not out:
        return text.norm(before, x, k, add=residual)
    _, n = text.norm(before, x, k)
    return x, n


def _from_mlp(text, k, h, inner, down, activations, residual, after, times=None):
    """The residual after the MLP's last linear, of h; with a norm after that it may be multiplied
    by a last argument of one element and the type `times`."""
    y = text.linear(h, inner, down, _says(activations), add=None if after else residual)
    if after:
        _, y = text.norm(after, y, k, after=residual, times=times)
    return text.finish([(y, text.rows(k))])


def mlp_text(dtype, k, out, norms, layers, act, activations, times=None):
    """From the attention to the next layer. Inputs x and the residual, then biases and scales of
    norms in the order of their use; result: the residual after the MLP. norms: (None, before,
    None), or with norms after the attention and after the MLP, whose results are added to the
    residual. `times` is as in _from_mlp()."""
    gate, up, down = layers
    text = Text(dtype)
    residual, n = _to_mlp(text, k, out, norms)
    h = text.glu(n, k, gate, up, act, activations)
    return _from_mlp(text, k, h, gate[1], down, activations, residual, norms[2], times)


def wide_text(dtype, k, out, norms, layer, activations):
    """As mlp_text, up to gate and up, which are one layer here; results: the residual, and
    these."""
    text = Text(dtype)
    residual, n = _to_mlp(text, k, out, norms)
    (both,) = text.linears(n, k, [layer], activations)
    return text.finish([(residual, text.rows(k)), (both, text.rows(layer[1]))])


def down_text(dtype, k, inner, down, after, activations):
    """The rest of it. Inputs: the activated product, and the residual."""
    text = Text(dtype)
    h, residual = text.argument(text.rows(inner)), text.argument(text.rows(k))
    return _from_mlp(text, k, h, inner, down, activations, residual, after)


def rows_text(dtype, encoding, n, k):
    """Input indices (M, 1) of int32; result: rows of a weight."""
    text = Text(dtype)
    indices = text.argument("tensor<?x1xi32>")
    weight, kind = text.weight(encoding, n, k)
    result, rows = text.name(), text.rows(k)
    text.body.append(
        f"  {result} = qlinear.embedding {indices} of {weight} : (tensor<?x1xi32>, {kind})"
        f" -> {rows}\n"
    )
    return text.finish([(result, rows)])


TEXTS = {
    "projections": projections_text,
    "mlp": mlp_text,
    "wide": wide_text,
    "down": down_text,
    "rows": rows_text,
}


def text_of(dtype, shape):
    """Of (name, K, ...), as Fused.shapes() has it, for rows of `dtype`."""
    name, *rest = shape
    return TEXTS[name](dtype, *rest)
