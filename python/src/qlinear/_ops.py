# ===- _ops.py - torch.ops.qlinear ---------------------------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""The custom op behind qlinear.nn:

    qlinear::linear(Tensor x, Tensor packed, Tensor? bias, str encoding, int n,
                    str activations="int8") -> Tensor
    qlinear::linear_backward(Tensor grad, Tensor packed, str encoding, int k) -> Tensor

x (..., K) in f32, f16 or bf16 times an n x K weight W that is packed with `encoding`, plus
bias (n,); the result (..., n) has the type of x. `activations` is what W is multiplied with:
"int8", x quantized per 32 columns, or "float", x as it is. The second op is the derivative by
x, grad (..., n) times W. The ops have no state: their kernel is found by encoding, n, K, types
and activations, and compiled at the first use of these; all layers of one shape share it, since
the weight is an argument.

linear is C++ where that was built (_native.py), and what is below for CPU and CUDA then is not
called; derivatives and fakes are always these."""

import contextlib
import functools
import threading
import warnings

import torch

from . import _abi, _native, compiler
from ._abi import ArgumentError, Error
from .module import Module, TorchWorkspace

_TYPES = {torch.float32: "f32", torch.float16: "f16", torch.bfloat16: "bf16"}
_FROM_NAME = {name: dtype for dtype, name in _TYPES.items()}
#: What a linear multiplies its weight with.
ACTIVATIONS = ("int8", "float")
# What the address of a packed weight has to be a multiple of; the CPU reads it anywhere.
_ALIGNMENT = {"cpu": 1, "emulated": 64, "cuda": 128}
# Of the weights that the derivative has as floats at a time, in bytes.
_FLOATS = 64 << 20
_host = "cpu"
_invariant = False


@contextlib.contextmanager
def host_device(name):
    """While it is entered, tensors on the CPU are computed by this device of the
    runtime: "cpu", "cpu:4" (threads), or "emulated", the GPU's kernels on the CPU."""
    global _host
    before, _host = _host, _abi.device(name).name
    _native.set_host(_host)
    try:
        yield
    finally:
        _host = before
        _native.set_host(_host)


def set_batch_invariant(enabled=True):
    """From now on, calls of Linear layers use kernels with which the bits of a row's results
    depend neither on the number of rows of the call nor on the other rows: a request to a
    server gets the same answer in every batch. It costs time where rows are few. Graphs that
    were captured before stay as they are."""
    global _invariant
    _invariant = bool(enabled)
    _native.set_batch_invariant(_invariant)


def check_activations(activations, what="activations"):
    if activations not in ACTIVATIONS:
        raise ArgumentError(
            f"{what} is {activations!r}; 'int8' (x is quantized per 32 columns) and 'float' (x is "
            "multiplied as it is) are possible"
        )
    return activations


def module_text(encoding, n, k, dtype, bias_dtype, activations="int8"):
    """MLIR of a linear; `dtype` of x and the result, `bias_dtype` None without bias."""
    says = _says(activations)
    w = f"!qlinear.weight<{n}x{k}, #qlinear.encoding<{encoding}>>"
    x, y, b = f"tensor<?x{k}x{dtype}>", f"tensor<?x{n}x{dtype}>", f"tensor<{n}x{bias_dtype}>"
    head = f"qlinear.parameter @weight : {w}\n"
    load = f"  %w = qlinear.load @weight : {w}\n"
    if bias_dtype is None:
        return (
            f"{head}func.func @linear(%x: {x}) -> {y} {{\n{load}"
            f"  %y = qlinear.linear %x, %w{says} : ({x}, {w}) -> {y}\n  return %y : {y}\n}}\n"
        )
    wide = "" if bias_dtype == "f32" else f"    %e = arith.extf %b : {bias_dtype} to f32\n"
    narrow = "" if dtype == "f32" else f"    %r = arith.truncf %s : f32 to {dtype}\n"
    return (
        f"{head}func.func @linear(%x: {x}, %bias: {b}) -> {y} {{\n{load}"
        f"  %y = qlinear.linear %x, %w extras(%bias){says} : ({x}, {w}, {b}) -> {y} {{\n"
        f"  ^bb0(%v: f32, %b: {bias_dtype}):\n{wide}"
        f"    %s = arith.addf %v, {'%e' if wide else '%b'} : f32\n{narrow}"
        f"    qlinear.yield {'%r' if narrow else '%s'} : {dtype}\n  }}\n  return %y : {y}\n}}\n"
    )


def _says(activations):
    """The attribute of a linear; int8 is what is meant where nothing is said."""
    if activations == "int8":
        return ""
    return f" {{activations = #qlinear.activation_format<{activations}>}}"


def compiled(encoding, n, k, dtype, bias_dtype, activations, *, target, batch_invariant):
    """The artifact of a linear."""
    text = module_text(encoding, n, k, dtype, bias_dtype, activations)
    about = {"encoding": encoding, "n": n, "k": k, "dtype": dtype, "bias": bias_dtype}
    about["activations"] = activations
    return compiler.compile(text, target, batch_invariant=batch_invariant, kernel=about)


def call_with_weights(module, function, rows, arguments):
    """qlr_call_with_weights of a Function, with scratch memory where it needs some; the last of
    `arguments`, those after the workspace, is the stream."""
    call, handle, stream = _abi.library().qlr_call_with_weights, module.handle.value, arguments[-1]
    if not function.has_temps:
        call(handle, function.index, None, *arguments)
    elif stream is None:
        with function.workspace(rows, 0, torch_stream=False) as workspace:
            call(handle, function.index, workspace, *arguments)
    else:
        workspace = TorchWorkspace(module, function.index, rows, stream)
        try:
            call(handle, function.index, workspace.value, *arguments)
        finally:
            workspace.close()


class Kernel:
    """A compiled linear on a device, without a weight of its own."""

    def __init__(self, key):
        *what, invariant, device_name = key
        encoding, n, k, dtype, bias_dtype, activations = what
        device = _abi.device(device_name)
        try:
            artifact = compiled(*what, target=device.target, batch_invariant=invariant)
        except Error as problem:
            if problem.status != "NOT_FOUND":  # of the compiler: the cache has no such kernel
                raise
            types = dtype if bias_dtype is None else f"{dtype} and a bias in {bias_dtype}"
            if activations != "int8":
                types += f", multiplied as {activations}s,"
            shape = encoding, n, k, bias_dtype, activations
            call = (
                f"{'qlinear.nn.set_batch_invariant(); ' if invariant else ''}"
                f"qlinear.nn.prepare([{shape!r}], "
                f"dtype={_FROM_NAME[dtype]}, targets=['{device.target}'])"
            )
            raise Error(
                f"there is no kernel for a {n} x {k} linear <{encoding}> with activations in "
                f"{types} on {device.target}: {compiler.cache_folder()} has none, and {problem}; "
                f"or compile it where the compiler is, {call}, and copy qlinear.cache_folder() "
                "from there to here",
                "NOT_FOUND",
            ) from None
        self.module = Module(artifact, None, device)
        self.function = self.module.functions["linear"]
        self.bytes = artifact.manifest["weights"][0]["bytes"]
        self.encoding, self.n, self.k = encoding, n, k
        self.code = _abi.DTYPES[dtype][0]
        self.inputs = 1 + (bias_dtype is not None)
        self.bias_code = _abi.DTYPES[bias_dtype or dtype][0]
        self.local = threading.local()

    def arguments(self):
        """Structs that this thread fills for each call."""
        if not hasattr(self.local, "structs"):
            inputs, output = (_abi.Tensor * self.inputs)(), (_abi.Tensor * 1)()
            inputs[0].dtype = output[0].dtype = self.code
            inputs[0].rank = output[0].rank = 2
            inputs[0].shape[1], output[0].shape[1] = self.k, self.n
            if self.inputs > 1:
                inputs[1].dtype, inputs[1].rank = self.bias_code, 1
                inputs[1].shape[0] = self.n
            self.local.structs = inputs, output, (_abi.Blob * 1)()
        return self.local.structs

    def run(self, x, packed, bias, y, rows, stream):
        inputs, output, blob = self.arguments()
        inputs[0].data, output[0].data = x.data_ptr(), y.data_ptr()
        inputs[0].shape[0] = output[0].shape[0] = rows
        if bias is not None:
            inputs[1].data = bias.data_ptr()
        blob[0].data, blob[0].bytes = packed.data_ptr(), packed.numel()
        arguments = inputs, self.inputs, output, 1, blob, 1, stream
        call_with_weights(self.module, self.function, rows, arguments)


_kernels = {}
_building = threading.Lock()


def kernel_for(*key):
    """The kernel of (encoding, n, k, dtype, bias dtype or None, activations, device), for
    the present set_batch_invariant()."""
    key = (*key[:-1], _invariant, key[-1])
    found = _kernels.get(key)
    if found is None:
        with _building:
            found = _kernels.get(key)
            if found is None:
                found = _kernels[key] = Kernel(key)
    return found


def _type_of(tensor, what):
    if tensor.dtype not in _TYPES:
        raise ArgumentError(f"{what} is {tensor.dtype}; float32, float16 and bfloat16 are possible")
    return _TYPES[tensor.dtype]


def _check(x, packed, bias, n):
    if x.dim() == 0:
        raise ArgumentError("x has no dimensions; its last one is K, the input features")
    if packed.dtype != torch.uint8 or packed.dim() != 1:
        raise ArgumentError(
            f"packed is a {packed.dtype} tensor of {packed.dim()} dimensions; a packed weight is "
            "a vector of uint8"
        )
    if bias is not None and tuple(bias.shape) != (n,):
        raise ArgumentError(f"bias has the shape {tuple(bias.shape)}, not ({n},), one per output")
    for name, tensor in (("packed", packed), ("bias", bias)):
        if tensor is not None and tensor.device != x.device:
            raise ArgumentError(
                f"x is on {x.device}, but {name} is on {tensor.device}; move one of them with "
                f".to('{x.device}')"
            )


def _aligned(tensor):
    """Dense and at a multiple of 16 bytes, as kernels read it."""
    tensor = tensor.contiguous()
    return tensor.clone() if tensor.data_ptr() % 16 else tensor


def kernel_of_call(*key):
    """As kernel_for(), of a call."""
    if (*key[:-1], _invariant, key[-1]) not in _kernels and is_capturing(key[-1]):
        raise Error(
            f"the first call of a {key[1]} x {key[2]} linear is inside a CUDA graph capture, "
            "where its kernel cannot be loaded; run the model once before, or call "
            "qlinear.nn.prepare()"
        )
    return kernel_for(*key)


def is_capturing(device_name):
    return device_name.startswith("cuda") and torch.cuda.is_current_stream_capturing()


def _kernel_on(x, key):
    """The kernel of (encoding, n, k, dtype, bias dtype or None, activations) on the device of
    x, the device's name, and torch's current stream there."""
    index = x.device.index if x.device.type == "cuda" else None
    name = _host if index is None else f"cuda:{index}"
    kernel = _kernels.get((*key, _invariant, name)) or kernel_of_call(*key, name)
    # What current_stream(index).cuda_stream is, in a tenth of the time.
    stream = None if index is None else torch._C._cuda_getCurrentRawStream(index)
    return kernel, name, stream


def _placed(packed, kernel, device_name):
    """The packed weight as the kernel reads it."""
    if packed.numel() != kernel.bytes:
        raise ArgumentError(
            f"packed has {packed.numel()} bytes, but a {kernel.n} x {kernel.k} weight as "
            f"<{kernel.encoding}> has {kernel.bytes}; is x, with {kernel.k} columns, the input of "
            "another layer?"
        )
    return at_alignment(packed, device_name)


def at_alignment(packed, device_name):
    """Dense and where the device reads it."""
    packed = packed.contiguous()
    alignment = _ALIGNMENT[device_name.partition(":")[0]]
    if packed.data_ptr() % alignment == 0:
        return packed
    warnings.warn(
        f"packed is at {packed.data_ptr():#x}, but {device_name} reads it at a multiple of "
        f"{alignment} bytes: it is copied in every call; packed.clone() is there once",
        stacklevel=2,
    )
    return packed.clone()


# Torch leaves arguments out that have the default of the schema, so these functions have it too.


def _linear(x, packed, bias, encoding, n, activations="int8"):
    _check(x, packed, bias, n)
    check_activations(activations)
    k, dtype = x.shape[-1], _type_of(x, "x")
    bias_dtype = None if bias is None else _type_of(bias, "bias")
    y = torch.empty((*x.shape[:-1], n), dtype=x.dtype, device=x.device)
    if x.numel() == 0:
        return y
    kernel, name, stream = _kernel_on(x, (encoding, n, k, dtype, bias_dtype, activations))
    packed = _placed(packed, kernel, name)
    x = _aligned(x)
    if bias is not None:
        bias = _aligned(bias)
    kernel.run(x, packed, bias, y, x.numel() // k, stream)
    return y


def _fake(x, packed, bias, encoding, n, activations="int8"):
    if torch.autograd.forward_ad._current_level >= 0:  # compiled: see _apply()
        _no_forward_mode(None)
    _check(x, packed, bias, n)
    check_activations(activations)
    _type_of(x, "x")
    return x.new_empty((*x.shape[:-1], n))


def _linear_backward(grad, packed, encoding, k):
    n = grad.shape[-1]
    rows = grad.reshape(-1, n).float()
    f32 = {"dtype": torch.float32, "device": grad.device}  # not torch's default type
    dx = torch.empty(rows.shape[0], k, **f32)
    kernel, name, stream = _kernel_on(grad, (encoding, n, k, "f32", None, "int8"))
    packed = _placed(packed, kernel, name)
    # Columns of W are what the kernel gives for columns of the identity. 127 is a code of
    # its own: such a row is not changed when it becomes int8.
    step = min(k, max(8, _FLOATS // (4 * max(n, k)) // 8 * 8))
    with torch.autocast(grad.device.type, enabled=False):
        for begin in range(0, k if rows.numel() else 0, step):
            count = min(step, k - begin)
            unit = torch.zeros(count, k, **f32)
            unit[:, begin : begin + count].fill_diagonal_(127)
            columns = torch.empty(count, n, **f32)
            kernel.run(unit, packed, None, columns, count, stream)
            torch.mm(rows, columns.t(), out=dx[:, begin : begin + count])
    return dx.div_(127).to(grad.dtype).reshape(*grad.shape[:-1], k)


def _fake_backward(grad, packed, encoding, k):
    return grad.new_empty((*grad.shape[:-1], k))


def _setup(ctx, inputs, output):  # torch passes them by name
    x, packed, bias, ctx.encoding, ctx.n = inputs[:5]
    # One that was moved or loaded in inference mode cannot be saved, and never changes.
    ctx.inference = packed if packed.is_inference() else None
    ctx.save_for_backward(*(() if packed.is_inference() else (packed,)))
    ctx.k, ctx.bias_dtype = x.shape[-1], None if bias is None else bias.dtype


def _backward(ctx, grad):
    dx = dbias = None
    if ctx.needs_input_grad[0]:
        (packed,) = ctx.saved_tensors or (ctx.inference,)
        dx = _apply(_TransformedBackward, grad, packed, ctx.encoding, ctx.k)
    if ctx.needs_input_grad[2]:
        dbias = grad.reshape(-1, ctx.n).sum(0, dtype=torch.float32).to(ctx.bias_dtype)
    return dx, None, dbias, None, None, None


def _no_forward_mode(ctx, *tangents):
    raise Error(
        "qlinear.nn.Linear has no derivative in forward mode (jvp, jacfwd); use reverse mode: vjp, "
        "jacrev, grad"
    )


def _no_backward(ctx, grad):
    raise Error(
        "qlinear.nn.Linear has no second derivative; call backward() without create_graph=True"
    )


# ===------------------------------------------------------------------------===#
# torch.func's transforms and forward mode: they go by what an autograd.Function says, and
# pass over what register_autograd() does, which would be a derivative of zero.
# ===------------------------------------------------------------------------===#


def _mapped(call):
    """The rule of vmap for what has any leading dimensions in its first argument; what else is
    batched is taken one by one."""

    def rule(info, in_dims, first, *others):
        if all(d is None for d in in_dims[1:]):
            return call(first.movedim(in_dims[0], 0), *others), 0
        arguments = list(zip((first, *others), in_dims))
        each = [
            call(*(a if d is None else a.select(d, i) for a, d in arguments))
            for i in range(info.batch_size)
        ]
        return torch.stack(each), 0

    return rule


class _Transformed(torch.autograd.Function):
    @staticmethod
    def forward(*arguments):
        return torch.ops.qlinear.linear(*arguments)

    setup_context = staticmethod(_setup)
    backward = staticmethod(_backward)
    jvp = staticmethod(_no_forward_mode)


class _TransformedBackward(torch.autograd.Function):
    @staticmethod
    def forward(*arguments):
        return torch.ops.qlinear.linear_backward(*arguments)

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    backward = staticmethod(_no_backward)
    jvp = staticmethod(_no_forward_mode)


_FUNCTIONS = {"linear": _Transformed, "linear_backward": _TransformedBackward}


def _apply(function, *arguments):
    """Calls the op of a Function, through the Function where a transform asks for it."""
    if not torch.compiler.is_compiling() and _is_transformed():
        return function.apply(*arguments)
    return function.forward(*arguments)


def _is_transformed():
    return (
        torch._C._are_functorch_transforms_active() or torch.autograd.forward_ad._current_level >= 0
    )


def linear(x, packed, bias, encoding, n, activations):
    """torch.ops.qlinear.linear, which transforms of torch.func know too."""
    arguments = x, packed, bias, encoding, n, activations
    if torch.compiler.is_compiling():
        return torch.ops.qlinear.linear(*arguments)
    if _is_transformed():
        return _Transformed.apply(*arguments)
    wanted = torch.is_grad_enabled() and (
        x.requires_grad or (bias is not None and bias.requires_grad)
    )
    return called(_linear_op, _linear_plain, x, arguments, wanted)


def called(op, plain, x, arguments, has_gradient):
    """Calls an op of a tensor x, past what registers a derivative if there is none to register:
    that is Python, and takes longer than the op. `plain` is the op of C++ that has no derivative,
    which modes of dispatching and subclasses of tensors know nothing of, or None."""
    try:
        if has_gradient:
            return op(*arguments)
        is_plain = type(x) is torch.Tensor and not torch._C._len_torch_dispatch_stack()
        if plain is not None and is_plain:
            return plain(*arguments)
        with torch._C._AutoDispatchBelowAutograd():
            return op(*arguments)
    except RuntimeError as problem:
        translated = _native.translated(problem)
        if translated is problem:
            raise
        raise translated from None


_library = torch.library.Library("qlinear", "FRAGMENT")


def define(schema, function):
    """Registers an op, unless it is C++."""
    name = schema.partition("(")[0]
    if _native.library is None or not torch._C._dispatch_has_kernel(f"qlinear::{name}"):
        _library.define(schema)
        for device in ("CPU", "CUDA"):
            _library.impl(name, function, device)


def plain_op(name, fake):
    """The op of C++ without derivatives, as a function; None where ops are Python's."""
    if _native.library is None or not torch._C._dispatch_has_kernel(f"qlinear::{name}"):
        return None
    _library.impl(name, torch.library.fallthrough_kernel, "Autograd")
    torch.library.register_fake(f"qlinear::{name}", fake, lib=_library)  # of meta tensors
    return getattr(torch.ops.qlinear, name).default._op


define(
    "linear(Tensor x, Tensor packed, Tensor? bias, str encoding, int n, "
    'str activations="int8") -> Tensor',
    _linear,
)
define(
    "linear_backward(Tensor grad, Tensor packed, str encoding, int k) -> Tensor", _linear_backward
)
_linear_op = torch.ops.qlinear.linear.default
_linear_plain = plain_op("_linear", _fake)
torch.library.register_fake("qlinear::linear", _fake, lib=_library)
torch.library.register_fake("qlinear::linear_backward", _fake_backward, lib=_library)
torch.library.register_autograd(
    "qlinear::linear", _backward, setup_context=_setup, lib=_library
)
torch.library.register_autograd("qlinear::linear_backward", _no_backward, lib=_library)
for _name, _function in _FUNCTIONS.items():
    _function.vmap = staticmethod(_mapped(functools.partial(_apply, _function)))
    if hasattr(torch.library, "register_vmap"):  # since PyTorch 2.5
        torch.library.register_vmap(f"qlinear::{_name}", _mapped(_function.forward), lib=_library)
