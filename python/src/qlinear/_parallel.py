# ===- _parallel.py - Linears of which each process has a part -------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Tensor parallelism: each process of a torch.distributed.DeviceMesh has a part of a packed
weight. Styles have the names that torch and transformers give them:

colwise                 rows of the weight: some of the outputs
colwise_gather_output   the same, and all outputs are gathered
rowwise                 columns of the weight, for the inputs that the process has: the processes'
                        results add up
"""

import collections
import re

import torch
import torch.distributed

from . import parts
from ._abi import ArgumentError, Error
from ._layer import Linear, _describe, tensor_of, weight_and_bias
from .archive import PackedWeight

STYLES = ("colwise", "colwise_gather_output", "rowwise")


class Part(collections.namedtuple("Part", "style mesh sizes")):
    """What a process has of a weight: `sizes` are the rows or columns of all processes of
    `mesh`, a DeviceMesh of one dimension."""

    __slots__ = ()

    @property
    def axis(self):
        return "columns" if self.style == "rowwise" else "rows"

    @property
    def range(self):
        rank = self.mesh.get_local_rank()
        return sum(self.sizes[:rank]), sum(self.sizes[: rank + 1])

    def of(self, weight):
        return parts.cut(weight, *self.range, self.axis)

    def of_bias(self, bias):
        """Of a tensor; columns share the whole of it."""
        return bias if bias is None or self.axis == "columns" else bias[slice(*self.range)]


def part_of(name, style, mesh, n, k, head_dim=None, sizes=None):
    """The Part of an n x k weight, of `sizes` if they are given. Heads of an attention (of
    `head_dim`) stay whole, and all processes have as many. Else cuts are at multiples of 256, as
    even as these are, for outputs too: so the outputs of one layer are the inputs of the next."""
    if style not in STYLES:
        raise ArgumentError(
            f"'{name}' has the style {style!r}; {', '.join(STYLES)} are possible for packed linears"
        )
    if mesh.ndim != 1:
        raise ArgumentError(
            f"the mesh has {mesh.ndim} dimensions; pass the one that layers are divided along, "
            "such as mesh['tp']"
        )
    ranks, axis = mesh.size(), "columns" if style == "rowwise" else "rows"
    size = k if axis == "columns" else n
    if sizes is not None:
        if len(sizes) != ranks or sum(sizes) != size:
            raise ArgumentError(
                f"sizes are {list(sizes)}, and '{name}' has {size} {axis} for {ranks} processes"
            )
        return Part(style, mesh, tuple(sizes))
    if not head_dim:
        sizes = parts.even(size, ranks, "columns", f"{size} {axis} of '{name}'")
        return Part(style, mesh, tuple(sizes))
    heads, rest = divmod(size, head_dim)
    if rest or heads % ranks:
        raise ArgumentError(
            f"'{name}' has {size} {axis}, {size / head_dim:g} heads of {head_dim}, which cannot be "
            f"divided among {ranks} processes; take a number of processes that divides them, or "
            "leave its attention out of the plan"
        )
    return Part(style, mesh, (size // ranks,) * ranks)


def wildcard(name):
    """A name with `*` for its numbers."""
    return re.sub(r"(^|\.)\d+(?=\.|$)", r"\1*", name)


class Plan:
    """Which linears of a model are divided. plan: {name: style}, where `*` stands for a number,
    as the tp_plan of a model of transformers; what is no linear in it is not looked at."""

    def __init__(self, model, plan, mesh):
        if (plan is None) != (mesh is None):
            raise ArgumentError("tp_plan and mesh belong together; pass both, or neither")
        self.model, self.plan, self.mesh = model, plan or {}, mesh
        names = {name for name, _ in model.named_modules()}
        names |= {wildcard(name) for name in names}
        for name in self.plan.keys() - names:
            raise ArgumentError(f"tp_plan names '{name}', which the model has not")

    def style(self, name):
        return self.plan.get(name) or self.plan.get(wildcard(name))

    def part(self, name, n, k):
        """The Part of a layer of n outputs and k inputs, or None."""
        style = self.style(name)
        return style and part_of(name, style, self.mesh, n, k, head_dim(self.model, name))

    def check(self, reasons, made):
        """Refuses plans of which a part cannot be done."""
        for name, reason in reasons.items():
            # A whole head gives all outputs, too.
            if name not in made and self.style(name) in ("colwise", "rowwise"):
                raise Error(
                    f"'{name}' is {self.style(name)} in tp_plan, but is not packed: {reason}; pack "
                    "it, or leave it and those that it works with out of the plan"
                )


def head_dim(model, name):
    """Of a linear of an attention, or None."""
    found = getattr(model.get_submodule(name.rpartition(".")[0]), "head_dim", None)
    return found if isinstance(found, int) else None


class ParallelLinear(Linear):
    """A process's part of a packed linear, with its in_features and out_features.

    "colwise": x (..., K) is whole, and y (..., n) has the process's outputs; with
    "colwise_gather_output" all of them. "rowwise": x (..., k) has the process's inputs, and y
    (..., N) is the sum of all processes, the same bits in each, by an all-reduce in y's type.
    There are no gradients, and a part is not in the state_dict: its archive or checkpoint has it.
    """

    __module__ = "qlinear.nn"
    #: A Part; None of a whole.
    part = None

    @classmethod
    def from_packed(
        cls, archive, name, bias="auto", *, style, mesh, sizes=None, device=None, dtype=None,
        activations="int8",
    ):  # fmt: skip
        """The process's part of a weight of an archive; only that is read and put on the device.

        style: "colwise", "colwise_gather_output" or "rowwise". mesh: a DeviceMesh of one
            dimension. sizes: outputs (rowwise: inputs) of each process, by default as even as
            multiples of 256 are: multiples of 16 outputs, of the encoding's group (of 256, with
            steps per block) inputs.
        archive ... activations: as of Linear.from_packed(); a bias is the whole one. On a mesh of
            GPUs the default device is the current one.
        """
        weight, bias = weight_and_bias(archive, name, bias, dtype)
        part = part_of(weight.name, style, mesh, weight.n, weight.k, sizes=sizes)
        return cls._part_of(weight, bias, part, device or device_of(mesh), activations)

    @classmethod
    def _part_of(cls, weight, bias, part, device, activations="int8"):
        layer = cls._of(part.of(weight), None, device, None, activations)
        if bias is not None:
            bias = part.of_bias(bias).detach().to(device, copy=True)
            layer.bias = torch.nn.Parameter(bias, requires_grad=False)
        layer._be(part)
        return layer

    def _be(self, part):
        self.part = part
        self._non_persistent_buffers_set.update(("packed", "layout"))

    def forward(self, input):
        part = self.part
        if torch.is_grad_enabled() and input.requires_grad:
            raise Error(
                "a linear that is divided among processes has no gradients; call the model under "
                "torch.no_grad()"
            )
        bias = self._parameters["bias"]
        if isinstance(bias, torch.distributed.tensor.DTensor):  # transformers makes it one
            bias = bias.to_local()
        if part.style == "rowwise":
            y = self._product(input, None)
            torch.distributed.all_reduce(y, group=part.mesh.get_group())
            return y if bias is None else y + bias
        y = self._product(input, bias)
        return y if part.style == "colwise" else _gathered(y, part)

    def extra_repr(self):
        rank, ranks = self.part.mesh.get_local_rank(), self.part.mesh.size()
        return f"{super().extra_repr()}, {self.part.style}, part {rank} of {ranks}"


def _gathered(y, part):
    """All processes' outputs, of which each may have another number."""
    most = max(part.sizes)
    mine = torch.nn.functional.pad(y, (0, most - y.shape[-1])).contiguous()
    every = [torch.empty_like(mine) for _ in part.sizes]
    torch.distributed.all_gather(every, mine, group=part.mesh.get_group())
    return torch.cat([one[..., :size] for one, size in zip(every, part.sizes)], dim=-1)


def device_of(mesh):
    """Where the parts of this process lie."""
    if mesh.device_type == "cpu":
        return torch.device("cpu")
    index = torch.get_device_module(mesh.device_type).current_device()
    return torch.device(mesh.device_type, index)


# ===------------------------------------------------------------------------===#
# Layers that another library fills
# ===------------------------------------------------------------------------===#


def divide(layer, name, style, mesh, head_dim):
    """Makes an empty packed layer, of which a checkpoint has said the encoding and sizes, one
    that fill() gives a part. Loaders do not see its tensors."""
    part = part_of(name, style, mesh, layer.out_features, layer.in_features, head_dim)
    if isinstance(layer.bias, torch.distributed.tensor.DTensor) and len(set(part.sizes)) > 1:
        raise ArgumentError(
            f"'{name}' has a bias, and {part.axis} that are divided as {list(part.sizes)}; only "
            "weights without one are divided unevenly"
        )
    layer.__class__ = ParallelLinear
    layer._whole = layer.out_features, layer.in_features
    layer._be(part)
    with torch.inference_mode(False):
        layer.packed = torch.empty(0, dtype=torch.uint8)


def fill(layer, packed):
    """The part of the bytes of the whole weight, a mapped tensor, that a layer of divide() has."""
    n, k = layer.__dict__.pop("_whole")
    weight = PackedWeight("weight", layer._encoding, n, k, "", packed.numpy())
    weight = layer.part.of(weight)
    layer.out_features, layer.in_features = weight.n, weight.k
    text = _describe(layer._encoding, weight.n, weight.k, layer._activations)
    device = device_of(layer.part.mesh)
    with torch.inference_mode(False):
        layer.packed = tensor_of(weight.blob).to(device)
        layer.layout = layer._read = torch.tensor(list(text), dtype=torch.uint8, device=device)
