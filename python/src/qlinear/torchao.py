# ===- torchao.py - Tensors of torchao on compiled kernels ----------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Linears whose weights are quantized tensors of torchao run on compiled kernels, without a
change of the model:

    import qlinear.torchao
    from torchao.quantization import IntxWeightOnlyConfig, quantize_

    quantize_(model, IntxWeightOnlyConfig(...))
    qlinear.torchao.enable()
    model(x)

The weights keep their values exactly: quant-pack reads them as it reads a checkpoint of torchao
(docs/quant-pack.md says which classes)."""

import tempfile
import warnings

import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch.fx.experimental.proxy_tensor import get_proxy_mode
from torchao.prototype.safetensors.safetensors_support import flatten_tensor_state_dict
from torchao.quantization import (
    Int4PlainInt32Tensor,
    Int4Tensor,
    Int8Tensor,
    IntxUnpackedToInt8Tensor,
)

from . import _ops, compiler
from ._abi import Error
from ._weights import packed
from .archive import Archive

CLASSES = (Int4Tensor, Int4PlainInt32Tensor, Int8Tensor, IntxUnpackedToInt8Tensor)
_FUNCTIONS = (torch.nn.functional.linear, torch.ops.aten.linear.default)
_theirs = {}  # (class, function) -> torchao's implementation


def enable(activations="int8", encoding="lossless"):
    """From now on, torch.nn.functional.linear with a weight of CLASSES is ours.

    activations: "int8" (x is quantized per 32 columns) or "float", whatever torchao would do.
    encoding: how scales and zero points are stored, as quant-pack takes it; "lossless" changes no
        weight, "auto" may round.

    A weight is packed when it is first used, and once more if it changes; the packed copy lives
    beside it. One that cannot be packed is computed by torchao, and a warning says why. So is a
    call that is traced to the operations below it, as torch.compile's inductor does; backends that
    run the calls of a graph (eager, cudagraphs) run ours.
    """
    _ops.check_activations(activations)
    disable()
    for cls in CLASSES:
        for function in _FUNCTIONS:
            table = _table(cls, function)
            _theirs[cls, function] = table[function]
            _register(cls, function)(_linear_of(table[function], activations, encoding))


def disable():
    """Takes enable() back."""
    for (cls, function), theirs in _theirs.items():
        _table(cls, function)[function] = theirs
    _theirs.clear()


def _is_aten(function):
    return isinstance(function, torch._ops.OpOverload)


def _table(cls, function):
    return (cls._ATEN_OP_TABLE if _is_aten(function) else cls._TORCH_FN_TABLE)[cls]


def _register(cls, function):
    return (cls.implements if _is_aten(function) else cls.implements_torch_function)([function])


def _parts(weight):
    return [getattr(weight, name) for name in weight.__tensor_flatten__()[0]]


def _is_traced(weight):
    """Whether it has no data, because a graph is made."""
    return any(type(part) not in (torch.Tensor, torch.nn.Parameter) for part in _parts(weight))


def _is_shape_only(weight):
    """Whether just the shape of a result is asked for, and nothing recorded."""
    return get_proxy_mode() is None and all(type(part) is FakeTensor for part in _parts(weight))


def _linear_of(theirs, activations, encoding):
    refused = torch.utils.weak.WeakIdKeyDictionary()

    def pack(weights):
        # The inner tensors of a wrapper; flattening takes no Parameter.
        tensors, metadata = flatten_tensor_state_dict(
            {f"{name}.weight": w.detach() for name, w in weights.items()}
        )
        from safetensors.torch import save_file

        with tempfile.TemporaryDirectory() as work:
            save_file({k: t.cpu().contiguous() for k, t in tensors.items()}, f"{work}/ao", metadata)
            compiler.pack(f"{work}/ao", f"{work}/packed", encoding=encoding)
            found = Archive(f"{work}/packed").weights
        if missing := [name for name in weights if f"{name}.weight" not in found]:
            raise Error(f"quant-pack takes no {type(weights[missing[0]]).__name__} of this form")
        return {name: found[f"{name}.weight"] for name in weights}

    def linear(function, types, args, kwargs):
        named = dict(zip(("input", "weight", "bias"), args), **(kwargs or {}))
        x, weight, bias = named["input"], named["weight"], named.get("bias")
        if _is_traced(weight):
            if _is_shape_only(weight):
                return x.new_empty((*x.shape[:-1], weight.shape[0]))
            return theirs(function, types, args, kwargs)
        if weight in refused:
            return theirs(function, types, args, kwargs)
        try:
            if getattr(weight, "act_pre_scale", None) is not None:
                raise Error("it has an act_pre_scale")
            (p,) = packed([weight], ("torchao", encoding), pack)
        except Error as why:
            refused[weight] = True
            warnings.warn(
                f"qlinear: a {type(weight).__name__} of {tuple(weight.shape)} is computed by "
                f"torchao: {why}",
                stacklevel=2,
            )
            return theirs(function, types, args, kwargs)
        return _ops.linear(x, p.data, bias, p.encoding, p.n, activations)

    return linear
