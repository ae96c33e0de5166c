# ===- nn.py - A drop-in for torch.nn.Linear -----------------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Quantized linear layers for PyTorch models.

layer = qlinear.nn.Linear.from_float(linear, encoding="row-u8", bits=4, group=32)
report = qlinear.nn.swap_linears(model)      # every nn.Linear of a model
"""

import collections
import json
import pathlib
import re
import tempfile

try:
    import torch
except ImportError:
    raise ImportError(
        "qlinear.nn needs PyTorch, which is not installed; pip install torch"
    ) from None

from . import _abi, _ops, compiler
from ._abi import ArgumentError, Error
from ._ops import host_device
from .archive import LAYOUT_VERSION, Archive, PackedWeight, write_archive, write_tensors

__all__ = ["Linear", "Swap", "host_device", "prepare", "swap_linears"]

_SAFETENSORS = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}
_FROM_SAFETENSORS = {name: dtype for dtype, name in _SAFETENSORS.items()}
_NAMES = ("auto", "lossless", "row-u8", "block-u8", "bf16", "f16", "f32")
# Weights that are quantized in one run of quant-pack: bounds the temporary files.
_BATCH_BYTES = 2 << 30


class Linear(torch.nn.Module):
    """y = x W^T + b with a packed weight, in the place of torch.nn.Linear.

    x (..., in_features) is float32, float16 or bfloat16, and y has its type. Activations
    are quantized to int8 per 32 columns on the way, sums are in f32. `packed` (uint8) and
    `bias` move with the module and are in its state_dict, together with the encoding.
    There is no gradient. Make one with from_float() or from_packed(); the constructor
    gives an empty one, which load_state_dict() fills.
    """

    def __init__(
        self, in_features, out_features, bias=True, *, encoding="", device=None, dtype=None
    ):
        super().__init__()
        self.in_features, self.out_features, self.encoding = in_features, out_features, encoding
        self.register_buffer("packed", torch.empty(0, dtype=torch.uint8, device=device))
        empty = torch.empty(out_features, device=device, dtype=dtype) if bias else None
        self.bias = torch.nn.Parameter(empty, requires_grad=False) if bias else None
        #: What quant-pack reported: bits per weight, SNR, ...; None after loading.
        self.report = None

    @classmethod
    def from_float(
        cls, linear, encoding="auto", *, bits=4, group=32, form=None, min_snr=None, search=True
    ):
        """Quantizes a torch.nn.Linear.

        encoding: how scales and offsets are stored: "auto" (the smallest that keeps min_snr,
            45 dB by default, against the quantized weights), "lossless", "row-u8",
            "block-u8", "bf16", "f16", "f32", or a spelling as in docs/encodings.md, which
            says bits, group and form itself.
        bits, group, form: of the codes: 4, 5, 6 or 8 bits; 16 to 256 weights or "row" per
            scale; "zero", "symmetric", "min" or "centred" (by default "zero" for 4 and 5
            bits, "symmetric" for 6 and 8).
        search: scales that minimise the squared error; else of each group's extremes.

        The result is on the device of `linear`, with its bias. Raises Error if the weight
        does not fit, such as an in_features that is no multiple of the group.
        """
        rule = _Rule(encoding, bits, group, form, min_snr, search)
        ((packed, report),) = _quantize({"weight": linear.weight}, rule).values()
        return cls._of(packed, linear.bias, linear.weight.device, report)

    @classmethod
    def from_packed(cls, archive, name, bias="auto", *, device=None, dtype=None):
        """A weight of an archive that quant-pack wrote.

        archive: a path or a qlinear.Archive. name: as in the archive, or without its
            ".weight".
        bias: a tensor, None, or "auto": the archive's tensor `name`.bias, if there is one.
        device, dtype: where the layer is put, and the type of the bias.
        """
        archive = archive if isinstance(archive, Archive) else Archive(archive)
        weight = archive.find(name)
        if isinstance(bias, str):
            bias = _bias_of(archive, weight.name)
        if bias is not None and dtype is not None:
            bias = bias.to(dtype)
        return cls._of(weight, bias, device, None)

    @classmethod
    def _of(cls, weight, bias, device, report):
        layer = cls(weight.k, weight.n, bias=False, encoding=weight.encoding)
        # A copy, aligned as torch's memory is: the archive is only mapped.
        packed = torch.empty(len(weight.blob), dtype=torch.uint8)
        packed.numpy()[:] = weight.blob
        layer.packed = packed.to(device)
        if bias is not None:
            if tuple(bias.shape) != (weight.n,):
                raise ArgumentError(
                    f"bias has the shape {tuple(bias.shape)}, but weight '{weight.name}' has "
                    f"{weight.n} outputs"
                )
            bias = bias.detach().to(device, copy=True)
            layer.bias = torch.nn.Parameter(bias, requires_grad=False)
        layer.report = report
        return layer

    def forward(self, x):
        if x.shape[-1] != self.in_features:
            raise ArgumentError(
                f"x has the shape {tuple(x.shape)}, but the layer takes (..., {self.in_features})"
            )
        if self.packed.numel() == 0:
            raise Error(
                "the layer is empty; fill it with load_state_dict(), or make it with "
                "Linear.from_float() or Linear.from_packed()"
            )
        kind = x.device.type
        if kind in ("cpu", "cuda") and torch.is_autocast_enabled(kind):
            x = x.to(torch.get_autocast_dtype(kind))
        return torch.ops.qlinear.linear(x, self.packed, self.bias, self.encoding, self.out_features)

    def extra_repr(self):
        bits = f"{self.bits_per_weight:.4g} bits per weight" if self.packed.numel() else "empty"
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}, encoding=<{self.encoding}>, {bits}"
        )

    @property
    def bits_per_weight(self):
        """Codes, metadata and padding, per weight."""
        return 8 * self.packed.numel() / (self.in_features * self.out_features)

    def dequantize(self):
        """The weights, out_features x in_features in float32, on the CPU."""
        weight = PackedWeight(
            "weight",
            self.encoding,
            self.out_features,
            self.in_features,
            "",
            self.packed.cpu().contiguous().numpy(),
        )
        with tempfile.TemporaryDirectory() as work:
            write_archive(f"{work}/packed", [weight])
            compiler.pack(
                f"{work}/packed", f"{work}/floats", encoding={}, options=["--dequantize", "f32"]
            )
            data = pathlib.Path(f"{work}/floats").read_bytes()
        size = 4 * self.out_features * self.in_features
        floats = torch.frombuffer(bytearray(data[-size:]), dtype=torch.float32)
        return floats.reshape(self.out_features, self.in_features)

    def __getattr__(self, name):
        if name == "weight":
            raise AttributeError(
                "qlinear.nn.Linear has no 'weight': its weight is packed; use 'packed' for the "
                "bytes, dequantize() for floats, and bias or an input for device and dtype"
            )
        return super().__getattr__(name)

    # The encoding is in the state_dict as the bytes of a JSON text: a tensor, so that
    # safetensors can hold it too.

    def get_extra_state(self):
        about = {
            "version": LAYOUT_VERSION,
            "encoding": self.encoding,
            "n": self.out_features,
            "k": self.in_features,
        }
        return torch.frombuffer(bytearray(json.dumps(about).encode()), dtype=torch.uint8)

    def set_extra_state(self, state):
        self.encoding = json.loads(bytes(state.cpu().numpy()))["encoding"]

    def _load_from_state_dict(
        self, state_dict, prefix, local_metadata, strict, missing, unexpected, errors
    ):
        if f"{prefix}weight" in state_dict and f"{prefix}packed" not in state_dict:
            errors.append(
                f"{prefix}weight is a float weight, but the layer is packed; load it into the "
                "float model, and call swap_linears() then"
            )
        if f"{prefix}_extra_state" in state_dict:
            about = json.loads(bytes(state_dict[f"{prefix}_extra_state"].cpu().numpy()))
            if about.get("version") != LAYOUT_VERSION:
                errors.append(
                    f"{prefix}packed has version {about.get('version')} of the layout of packed "
                    f"weights, and this qlinear reads {LAYOUT_VERSION}; pack the layer again"
                )
                return
            if (about["n"], about["k"]) != (self.out_features, self.in_features):
                errors.append(
                    f"{prefix}packed is a {about['n']} x {about['k']} weight, but the layer is "
                    f"{self.out_features} x {self.in_features} (outputs x inputs)"
                )
                return
        packed = state_dict.get(f"{prefix}packed")
        if packed is not None and packed.shape != self.packed.shape:
            # Another encoding, which set_extra_state() takes over.
            self.packed = torch.empty(packed.shape, dtype=torch.uint8, device=self.packed.device)
            self.report = None
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing, unexpected, errors
        )
        if self.packed.device.type == "cpu" and self.packed.data_ptr() % 64:
            self.packed = self.packed.clone()  # assigned from a mapped file


class _Rule:
    """How float weights are quantized and their metadata stored."""

    def __init__(self, encoding, bits, group, form, min_snr, search):
        self.encoding, self.min_snr, self.search = encoding, min_snr, search
        if encoding in _NAMES:
            self.group = group
            self.codes = f"int{bits}:{group}" + (f":{form}" if form else "")
            return
        spelled = re.match(r"\s*[ui](\d+)\s*,\s*group\s*=\s*(\w+)\s*,\s*(\w+)", encoding)
        if not spelled:
            raise ArgumentError(
                f"encoding '{encoding}' is neither {', '.join(_NAMES)}, nor a spelling such as "
                "'u4, group = 32, zero, scale = bf16, offset = u4'"
            )
        self.group = spelled[2] if spelled[2] == "row" else int(spelled[2])
        self.codes = f"int{spelled[1]}:{spelled[2]}:{spelled[3]}"

    def declines(self, linear):
        """Why a layer cannot have it, or nothing."""
        k = linear.in_features
        if self.group != "row" and k % int(self.group):
            return f"in_features = {k} is not a multiple of the group size {self.group}"
        return None


def _quantize(weights, rule):
    """{name: tensor} by quant-pack: {name: (PackedWeight, report of it)}."""
    results, batch, size = {}, {}, 0
    for name, weight in weights.items():
        if weight.dtype not in _SAFETENSORS or weight.dim() != 2:
            raise ArgumentError(
                f"weight '{name}' is a {weight.dtype} tensor of {weight.dim()} dimensions; "
                "matrices of float32, float16 and bfloat16 can be quantized"
            )
        batch[name], size = weight, size + weight.numel() * weight.element_size()
        if size >= _BATCH_BYTES:
            results.update(_quantize_batch(batch, rule))
            batch, size = {}, 0
    if batch:
        results.update(_quantize_batch(batch, rule))
    return results


def _quantize_batch(weights, rule):
    tensors = {}
    for name, weight in weights.items():
        data = weight.detach().cpu().contiguous().view(torch.uint8).numpy()
        tensors[name] = _SAFETENSORS[weight.dtype], tuple(weight.shape), data
    with tempfile.TemporaryDirectory() as work:
        write_tensors(f"{work}/floats", tensors)
        report = compiler.pack(
            f"{work}/floats",
            f"{work}/packed",
            encoding=rule.encoding,
            quantize=rule.codes,
            include=".",
            min_snr=rule.min_snr,
            minmax=not rule.search,
        )
        archive = Archive(f"{work}/packed")
    reports = {entry["name"]: entry for entry in report["tensors"]}
    return {name: (archive.weights[name], reports[name]) for name in weights}


def _bias_of(archive, name):
    """The archive's tensor beside the weight `name`, or None."""
    bias = archive.tensors.get(re.sub(r"(\.weight)?$", ".bias", name, count=1))
    if bias is None:
        return None
    dtype, shape, data = bias
    if dtype not in _FROM_SAFETENSORS:
        raise Error(f"the bias of '{name}' in '{archive.path}' is {dtype}; pass bias=")
    return torch.frombuffer(bytearray(data), dtype=_FROM_SAFETENSORS[dtype]).reshape(shape)


#: What became of one nn.Linear: `layer` is the new one, or None with the `reason`.
Swap = collections.namedtuple("Swap", "name layer reason")

# Modules that read the weights of their linears themselves.
_READS_WEIGHTS = (torch.nn.MultiheadAttention, torch.nn.TransformerEncoderLayer)


def swap_linears(
    model,
    encoding="auto",
    *,
    bits=4,
    group=32,
    form=None,
    min_snr=None,
    search=True,
    select=None,
    archive=None,
    names=None,
    empty=False,
):
    """Replaces the nn.Linear layers of a model, in place.

    encoding ... search: as of Linear.from_float().
    select: a function (name, layer) -> bool; by default every layer.
    archive: take the weights from an archive of quant-pack instead of quantizing; `names`
        is a function from a layer's name to the archive's, by default the same (with or
        without ".weight"). Biases stay the model's.
    empty: make layers without weights, for load_state_dict().

    Layers are left as they are, with a reason, if they are of a subclass, share their
    weight with another module, are read by their parent (nn.MultiheadAttention,
    nn.TransformerEncoderLayer), or do not fit the group. Returns a list of Swap, one per
    nn.Linear.
    """
    if isinstance(model, torch.nn.Linear):
        raise ArgumentError("the model is itself a Linear; use Linear.from_float(model)")
    rule = _Rule(encoding, bits, group, form, min_snr, search)
    uses = collections.defaultdict(list)
    for name, module in model.named_modules():
        for key, parameter in module.named_parameters(recurse=False):
            uses[id(parameter)].append(f"{name}.{key}" if name else key)
    swaps, chosen = [], {}
    for name, layer in model.named_modules():
        if not isinstance(layer, torch.nn.Linear) or (select and not select(name, layer)):
            continue
        reason = _why_not(model, name, layer, uses)
        if reason is None and archive is None and not empty:
            reason = rule.declines(layer)
        if reason:
            swaps.append(Swap(name, None, reason))
        else:
            chosen[name] = layer
    if empty:
        made = {name: _empty_like(layer) for name, layer in chosen.items()}
    elif archive is not None:
        archive = archive if isinstance(archive, Archive) else Archive(archive)
        made = {
            name: _from_archive(archive, (names or str)(name), layer)
            for name, layer in chosen.items()
        }
    else:
        packed = _quantize({name: layer.weight for name, layer in chosen.items()}, rule)
        made = {
            name: Linear._of(packed[name][0], layer.bias, layer.weight.device, packed[name][1])
            for name, layer in chosen.items()
        }
    replacements = {id(chosen[name]): layer for name, layer in made.items()}
    for module in list(model.modules()):
        for key, child in module._modules.items():
            if id(child) in replacements:
                module._modules[key] = replacements[id(child)].train(child.training)
    return swaps + [Swap(name, layer, "") for name, layer in made.items()]


def _why_not(model, name, layer, uses):
    if type(layer) is not torch.nn.Linear:
        return f"it is a {type(layer).__name__}, a subclass of nn.Linear"
    own = f"{name}.weight"
    shared = [use for use in uses[id(layer.weight)] if use != own]
    if shared:
        return f"its weight is also {', '.join(shared)}"
    parts = name.split(".")
    for depth in range(len(parts)):
        parent = model.get_submodule(".".join(parts[:depth]))
        if isinstance(parent, _READS_WEIGHTS):
            return f"a {type(parent).__name__} reads its weight"
    return None


def _empty_like(layer):
    return Linear(
        layer.in_features,
        layer.out_features,
        layer.bias is not None,
        device=layer.weight.device,
        dtype=layer.weight.dtype,
    )


def _from_archive(archive, name, layer):
    weight = archive.find(name)
    if (weight.n, weight.k) != (layer.out_features, layer.in_features):
        raise ArgumentError(
            f"weight '{weight.name}' of '{archive.path}' is {weight.n} x {weight.k}, but the layer "
            f"is {layer.out_features} x {layer.in_features} (outputs x inputs)"
        )
    return Linear._of(weight, layer.bias, layer.weight.device, None)


def prepare(model, dtype=None, targets=None):
    """Compiles the kernels of a model's Linear layers, which the first call would do.

    dtype: of the activations; by default that of the model's first float parameter.
    targets: compile for these ("cuda:sm_90") into the cache, without a device: copy the
        cache (qlinear.cache_folder()) to the machine that runs. By default: for the
        devices the layers are on, and load them there.
    """
    if dtype is None:
        floats = [p.dtype for p in model.parameters() if p.is_floating_point()]
        dtype = floats[0] if floats else torch.float32
    name = _ops._type_of(torch.empty(0, dtype=dtype), "dtype")
    for layer in model.modules():
        if not isinstance(layer, Linear) or layer.packed.numel() == 0:
            continue
        bias = None if layer.bias is None else _ops._type_of(layer.bias, "bias")
        shape = layer.encoding, layer.out_features, layer.in_features, name, bias
        if targets is None:
            device = layer.packed.device
            kind = _ops._host if device.type == "cpu" else f"cuda:{device.index or 0}"
            _ops.kernel_for(*shape, kind)
        else:
            for target in [targets] if isinstance(targets, str) else targets:
                compiler.compile(_ops.module_text(*shape), target)
