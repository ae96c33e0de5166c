# ===- _layer.py - A linear with a packed weight -------------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""qlinear.nn.Linear, the module."""

import json
import pathlib
import re
import tempfile

import torch

from . import _ops, compiler
from ._abi import ArgumentError, Error
from ._quantize import SAFETENSORS, Rule, quantize
from .archive import LAYOUT_VERSION, Archive, PackedWeight, write_archive

_FROM_SAFETENSORS = {name: dtype for dtype, name in SAFETENSORS.items()}


class Linear(torch.nn.Module):
    """y = x W^T + b with a packed weight, in the place of torch.nn.Linear.

    x (..., in_features) is float32, float16 or bfloat16, and y has its type. x is quantized
    to int8 per 32 columns on the way, or multiplied as it is (activations="float"); sums are
    in f32. The weight is frozen; x and the bias have gradients: dx = dy W, as if x had not
    been quantized.

    The buffers `packed`, the bytes of the weight, and `layout`, which says how to read
    them and what they are multiplied with (the bytes of a JSON text, so that every format of
    tensors can hold it), move with the module and are in its state_dict. Make a layer with
    from_float() or from_packed(); the constructor gives an empty one, which load_state_dict()
    fills.
    """

    __module__ = "qlinear.nn"
    _activations = "int8"  # of layers that were pickled before there was a choice

    def __init__(
        self,
        in_features,
        out_features,
        bias=True,
        *,
        encoding="",
        activations="int8",
        device=None,
        dtype=None,
    ):
        super().__init__()
        self._activations = _ops.check_activations(activations)
        self.in_features, self.out_features = in_features, out_features
        with torch.inference_mode(False):
            layout = _Pending.on(device)
            if encoding:
                text = _describe(encoding, out_features, in_features, activations)
                layout = torch.tensor(list(text), dtype=torch.uint8, device=device)
            self.register_buffer("packed", _Pending.on(device))
            self.register_buffer("layout", layout)
            self._encoding = encoding
            self._read = layout  # the tensor that `_encoding` and `_activations` are of
            empty = torch.empty(out_features, device=device, dtype=dtype) if bias else None
            empty = torch.nn.Parameter(empty, requires_grad=False) if bias else None
            self.register_parameter("bias", empty)
        #: What quant-pack reported: bits per weight, SNR, ...; None after loading.
        self.report = None

    @classmethod
    def from_float(
        cls,
        linear,
        encoding="auto",
        *,
        bits=4,
        group=32,
        form=None,
        min_snr=None,
        search=True,
        activations="int8",
    ):
        """Quantizes a torch.nn.Linear.

        encoding: how scales and offsets are stored: "auto" (the smallest that keeps min_snr,
            45 dB by default, against the quantized weights), "lossless", "row-u8",
            "block-u8", "bf16", "f16", "f32", or a spelling as in docs/encodings.md, which
            says bits, group and form itself.
        bits, group, form: of the codes: 2 to 6 or 8 bits; 16 to 256 weights or "row" per
            scale; "zero", "symmetric", "min" or "centred" (by default "zero" for 2 to 5
            bits, "symmetric" for 6 and 8).
        search: scales that minimise the squared error; else of each group's extremes.
        activations: what the weight is multiplied with: "int8", x quantized per 32 columns,
            or "float", x as it is (docs/python.md: what it costs).

        The result is on the device of `linear`, with a frozen copy of its bias. Raises Error
        if the weight does not fit, such as an in_features that is no multiple of the group.
        """
        rule = Rule(encoding, bits, group, form, min_snr, search)
        _ops.check_activations(activations)
        ((packed, report),) = quantize({"weight": linear.weight}, rule).values()
        return cls._of(packed, linear.bias, linear.weight.device, report, activations)

    @classmethod
    def from_packed(
        cls, archive, name, bias="auto", *, device=None, dtype=None, activations="int8"
    ):
        """A weight of an archive that quant-pack wrote.

        archive: a path or a qlinear.Archive. name: as in the archive, or without its
            ".weight".
        bias: a tensor, None, or "auto": the archive's tensor `name`.bias, if there is one.
        device, dtype: where the layer is put, by default torch's default device, and the type
            of the bias.
        activations: "int8" or "float", as of from_float().
        """
        if device is None:
            device = torch.get_default_device()
            device = "cpu" if device.type == "meta" else device
        weight, bias = weight_and_bias(archive, name, bias, dtype)
        return cls._of(weight, bias, device, None, activations)

    @classmethod
    @torch.inference_mode(False)  # what is made here may be trained through
    def _of(cls, weight, bias, device, report, activations="int8"):
        """Of a PackedWeight, with a frozen copy of a bias."""
        says = {"encoding": weight.encoding, "activations": activations}
        layer = cls(weight.k, weight.n, bias=False, device=device, **says)
        layer.packed = tensor_of(weight.blob).to(device)
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

    @classmethod
    @torch.inference_mode(False)
    def _empty(cls, linear, layout=None, size=0):
        """Without bytes, for a torch.nn.Linear and with its bias; with the layout and the
        size that a checkpoint says, where they are known."""
        device, (n, k) = linear.weight.device, linear.weight.shape
        layer = cls(k, n, bias=False, device=device)
        if layout is not None:
            about = check_layout(layout, n, k)
            layer._encoding, layer._activations = about["encoding"], about["activations"]
            layer.layout = layer._read = torch.tensor(
                list(layout), dtype=torch.uint8, device=device
            )
            layer.packed = torch.empty(size, dtype=torch.uint8, device=device)
        layer.bias = linear.bias
        return layer

    def forward(self, input):  # its name is nn.Linear's
        x = input
        if (of_layer := self.__dict__.get("_of_layer")) is not None:  # qlinear.nn.optimize()
            fused, index = of_layer
            if (result := fused.take(index, x)) is not None:
                return result
        # Not self.bias: what is no attribute of Python's costs a microsecond to find.
        return self._product(x, self._parameters["bias"])

    def _product(self, x, bias):
        """x W^T + bias."""
        if isinstance(x, torch.fx.Proxy):  # nothing to look at yet
            return torch.ops.qlinear.linear(
                x, self.packed, self.bias, self.encoding, self.out_features, self.activations
            )
        if x.layout is not torch.strided or x.is_nested:
            raise ArgumentError(
                f"x is {'nested' if x.is_nested else x.layout}, but the layer takes dense tensors; "
                "pass x.to_dense(), or the values() of a nested tensor"
            )
        if x.dim() == 0 or x.size(-1) != self.in_features:
            raise ArgumentError(
                f"x has the shape {tuple(x.shape)}, but the layer takes (..., {self.in_features})"
            )
        packed = self._buffers["packed"]
        encoding, activations = self._says()
        if packed.numel() == 0 or not encoding:
            raise Error(
                "the layer is empty; fill it with load_state_dict(), or make it with "
                "Linear.from_float() or Linear.from_packed()"
            )
        _ops._type_of(x, "x")
        # As autocast does with nn.Linear: neither integers nor float64.
        kind = "cuda" if x.is_cuda else "cpu" if x.is_cpu else None
        if kind and torch.is_autocast_enabled(kind):
            x = x.to(torch.get_autocast_dtype(kind))
        return _ops.linear(x, packed, bias, encoding, self.out_features, activations)

    @property
    def encoding(self):
        """The spelling of the weight's encoding (docs/encodings.md), or "" if it is empty."""
        return self._says()[0]

    @property
    def activations(self):
        """What the weight is multiplied with: "int8", x quantized per 32 columns, or "float", x
        as it is. It can be set; load_state_dict() takes over what it loads."""
        return self._says()[1]

    @activations.setter
    def activations(self, activations):
        _ops.check_activations(activations)
        encoding, before = self._says()
        if activations == before:
            return
        self._activations = activations
        if encoding:
            text = _describe(encoding, self.out_features, self.in_features, activations)
            with torch.inference_mode(False):
                self.layout = self._read = torch.tensor(
                    list(text), dtype=torch.uint8, device=self.layout.device
                )

    def _says(self):
        """The encoding and the activations."""
        layout = self._buffers["layout"]
        if layout is self._read:
            return self._encoding, self._activations
        # Loaders set buffers without asking.
        if torch.compiler.is_dynamo_compiling():
            return _said_by(layout, self.out_features, self.in_features)
        if torch.compiler.is_compiling():  # export, with fakes: no bytes to look at
            if layout.numel() != self._read.numel():
                raise Error(
                    "the layer's tensors were put in place by a loader, and it has not looked at "
                    "them since; call the model, or qlinear.nn.prepare(model), before the export"
                )
        elif type(layout) is torch.Tensor and not layout.is_meta and layout.numel():
            if layout.is_cuda and torch.cuda.is_current_stream_capturing():
                raise Error(
                    f"the first call of a {self.out_features} x {self.in_features} linear since it "
                    "was moved is inside a CUDA graph capture, where its layout cannot be read; "
                    "run the model once before, or call qlinear.nn.prepare()"
                )
            about = check_layout(_bytes(layout), self.out_features, self.in_features)
            self._encoding, self._activations = about["encoding"], about["activations"]
            self._read = layout
        return self._encoding, self._activations

    def extra_repr(self):
        bits = f"{self.bits_per_weight:.4g} bits per weight" if self.packed.numel() else "empty"
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}, encoding=<{self.encoding}>, "
            f"activations={self.activations}, {bits}"
        )

    @property
    def qweight(self):
        """`packed`, by the name under which peft looks for the device of a quantized layer."""
        return self.packed

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
                "bytes, dequantize() for floats, and bias or an input for device and dtype; keep "
                "the nn.Linear of a module that reads it (select=), and merge adapters into the "
                "float model, before the swap"
            )
        return super().__getattr__(name)

    def __setattr__(self, name, value):
        if name == "weight":
            self.register_parameter(name, value)
        super().__setattr__(name, value)

    def register_parameter(self, name, param):
        if name == "weight":  # as tying weights does
            raise AttributeError(
                "qlinear.nn.Linear takes no 'weight': its weight is packed, and would stay what it "
                "is; put an nn.Linear in its place, or load another with load_state_dict()"
            )
        super().register_parameter(name, param)

    def _load_from_state_dict(
        self, state_dict, prefix, local_metadata, strict, missing, unexpected, errors
    ):
        packed, layout = (state_dict.get(f"{prefix}{name}") for name in ("packed", "layout"))
        if f"{prefix}weight" in state_dict and packed is None:
            errors.append(
                f"{prefix}weight is a float weight, but the layer is packed; load it into the "
                "float model, and call swap_linears() then"
            )
            return
        if (packed is None) != (layout is None):
            there, gone = ("layout", "packed") if packed is None else ("packed", "layout")
            errors.append(
                f"the state has {prefix}{there} and no {prefix}{gone}: one says how to read the "
                "other"
            )
            return
        if packed is not None:
            try:
                if layout.is_meta:
                    raise Error(f"{prefix}layout is on the meta device, where it says nothing")
                check_type(packed, f"{prefix}packed")
                text = _bytes(layout, f"{prefix}layout")
                about = check_layout(text, self.out_features, self.in_features, f"{prefix}packed")
            except Error as problem:
                errors.append(str(problem))
                return
            # Another encoding than before: it takes that over.
            for name, tensor in (("packed", packed), ("layout", layout)):
                if tensor.shape != self._buffers[name].shape:
                    device = self._buffers[name].device
                    with torch.inference_mode(False):
                        self._buffers[name] = torch.empty(
                            tensor.shape, dtype=torch.uint8, device=device
                        )
            self._encoding, self._activations = about["encoding"], about["activations"]
            self.report = None
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing, unexpected, errors
        )
        if packed is not None:
            self._read = self._buffers["layout"]


class _AnySize(tuple):
    """Equal to every size."""

    def __eq__(self, other):
        return True

    def __ne__(self, other):
        return False

    __hash__ = None


class _Pending(torch.Tensor):
    """An empty buffer whose size the checkpoint decides. Loaders that compare sizes before they
    put a tensor in its place (accelerate's) find that it fits."""

    @classmethod
    def on(cls, device):
        return torch.empty(0, dtype=torch.uint8, device=device).as_subclass(cls)

    @property
    def shape(self):
        return _AnySize(super().shape)

    def __deepcopy__(self, memo):
        return _Pending.on(self.device)

    def __reduce_ex__(self, protocol):
        return torch.empty(0, dtype=torch.uint8).__reduce_ex__(protocol)


def _describe(encoding, n, k, activations):
    about = {"version": LAYOUT_VERSION, "encoding": encoding, "n": n, "k": k}
    if activations != "int8":  # what is meant where nothing is said
        about["activations"] = activations
    return json.dumps(about).encode()


def check_type(tensor, what):
    """Error if a tensor of a packed layer is not what it was saved as."""
    if tensor.dtype != torch.uint8:
        raise Error(
            f"{what} is {tensor.dtype}, and a packed layer's tensors are torch.uint8; cast only "
            "those of a checkpoint that are is_floating_point()"
        )


def _bytes(layout, what="layout"):
    check_type(layout, what)
    if torch._C._functorch.is_batchedtensor(layout):
        raise Error(
            f"{what} is batched by vmap, and an encoding is of one layer; call packed layers that "
            "were stacked one by one"
        )
    return layout.detach().cpu().numpy().tobytes()


@torch.compiler.assume_constant_result
def _said_by(layout, n, k):
    if not layout.numel():
        return "", ""
    about = check_layout(_bytes(layout), n, k)
    return about["encoding"], about["activations"]


def check_layout(text, n, k, what="the packed weight"):
    """What the layout of an n x k weight says, parsed, with its activations; Error about `what`
    if it is not."""
    try:
        about = json.loads(text)
        version, have = about["version"], (about["n"], about["k"])
        encoding = about["encoding"]
    except (ValueError, KeyError, TypeError):
        raise Error(f"{what} has a layout that is no text of qlinear.nn.Linear's") from None
    if version != LAYOUT_VERSION:
        raise Error(
            f"{what} has version {version} of the layout of packed weights, and this qlinear reads "
            f"{LAYOUT_VERSION}; pack the layer again"
        )
    if have != (n, k) or not isinstance(encoding, str):
        raise Error(
            f"{what} is a {have[0]} x {have[1]} weight, but the layer is {n} x {k} "
            "(outputs x inputs)"
        )
    # A layout without it is of before there was a choice.
    _ops.check_activations(about.setdefault("activations", "int8"), f"the activations of {what}")
    return about


def tensor_of(blob):
    """A copy of a weight's bytes, aligned as torch's memory is: its archive is only mapped."""
    packed = torch.empty(len(blob), dtype=torch.uint8, device="cpu")
    packed.numpy()[:] = blob
    return packed


def weight_and_bias(archive, name, bias, dtype):
    """What from_packed() is called with: the weight `name` of an archive, or of the file that is
    one, and its bias (a tensor, None, or "auto": the archive's), as `dtype` if that is not None."""
    archive = archive if isinstance(archive, Archive) else Archive(archive)
    weight = archive.find(name)
    if isinstance(bias, str):
        bias = bias_of(archive, weight.name)
    if bias is not None and dtype is not None:
        bias = bias.to(dtype)
    return weight, bias


def bias_of(archive, name):
    """The archive's tensor beside the weight `name`, or None."""
    bias = archive.tensors.get(re.sub(r"(\.weight)?$", ".bias", name, count=1))
    if bias is None:
        return None
    dtype, shape, data = bias
    if dtype not in _FROM_SAFETENSORS:
        raise Error(f"the bias of '{name}' in '{archive.path}' is {dtype}; pass bias=")
    return torch.frombuffer(bytearray(data), dtype=_FROM_SAFETENSORS[dtype]).reshape(shape)
