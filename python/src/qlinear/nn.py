# ===- nn.py - A drop-in for torch.nn.Linear -----------------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Quantized linear layers for PyTorch models.

layer = qlinear.nn.Linear.from_float(linear, encoding="row-u8", bits=4, group=32)
exact = qlinear.nn.Linear.from_float(linear, activations="float")   # x is not quantized
report = qlinear.nn.swap_linears(model)      # every nn.Linear of a model
"""

import platform

try:
    import torch
except ImportError:
    raise ImportError(
        "qlinear.nn needs PyTorch, which is not installed; pip install torch"
    ) from None

from . import _blocks, _dynamo, _embedding, _ops
from ._layer import Linear
from ._ops import host_device, set_batch_invariant
from ._optimize import Optimization, optimize
from ._parallel import ParallelLinear
from ._swap import Report, Swap, swap_linears

if "qlinear" not in torch._dynamo.list_backends():
    torch._dynamo.register_backend(_dynamo.backend, name="qlinear")

__all__ = [
    "Linear",
    "Optimization",
    "ParallelLinear",
    "Report",
    "Swap",
    "host_device",
    "lora_config",
    "optimize",
    "prepare",
    "set_batch_invariant",
    "shapes",
    "swap_linears",
]


def lora_config(config, model):
    """A LoraConfig of peft, for a model that has packed layers already: peft alone knows
    only its own list of quantized layers.

    model = peft.get_peft_model(model, qlinear.nn.lora_config(config, model))

    Returns a copy. target_modules = "all-linear" becomes the names of the packed and of the
    float linears but the output head's. Needs peft 0.14 or later.
    """
    from ._peft import adapted  # peft takes seconds to import

    return adapted(config, model)


def shapes(model):
    """The kernels that a model's Linear layers need: a list of (encoding, out_features,
    in_features, type of the bias or None, activations), for prepare(), after optimize()
    what its functions are made of, and what embeddings read. Its entries are plain, so that it can
    be kept as JSON."""
    found = {}
    for layer in model.modules():
        if (fused := layer.__dict__.get("_qlinear")) is not None:
            found.update(dict.fromkeys(fused.shapes(layer), True))
        if isinstance(layer, _embedding.Rows):
            found[layer.kernel()] = True
        if isinstance(layer, Linear) and layer.encoding:
            bias = None if layer.bias is None else _ops._type_of(layer.bias, "bias")
            n, k = layer.out_features, layer.in_features
            found[layer.encoding, n, k, bias, layer.activations] = True
    return list(found)


def prepare(model, dtype=None, targets=None, *, backward=False):
    """Compiles the kernels of Linear layers, which the first call would do.

    model: a model, or what shapes() gave for one: its weights need not be here. What
        activations are multiplied as, its layers or the shapes say.
    dtype: of the activations; by default that of the model's first float parameter, or
        float32.
    targets: compile for these ("cuda:sm_90", "cpu": each instruction set) into the cache,
        without a device: copy the cache (qlinear.cache_folder()) to the machine that runs.
        By default: for the devices the layers are on (of a list: the CPU), and load them
        there.
    backward: also the kernels of gradients.

    The kernels are those for the present set_batch_invariant().
    """
    is_model = isinstance(model, torch.nn.Module)
    if dtype is None:
        floats = [p.dtype for p in model.parameters() if p.is_floating_point()] if is_model else []
        dtype = floats[0] if floats else torch.float32
    name = _ops._type_of(torch.empty(0, dtype=dtype), "dtype")
    if targets is not None:
        wanted = [targets] if isinstance(targets, str) else list(targets)
        # The cache has an entry for what a device looks for: one instruction set.
        wanted = [t for w in wanted for t in _instruction_sets(w)]
        for shape in shapes(model) if is_model else model:
            for target in wanted:
                if _is_none(shape, target):
                    continue
                where = {"target": target, "batch_invariant": _ops._invariant}
                if _is_block(shape):
                    _blocks.compiled(_blocks.text_of(name, _tuples(shape)), **where)
                    continue
                for key in _kernels(shape, name, backward):
                    _ops.compiled(*key, **where)
        return
    if not is_model:
        pairs = [(shape, _ops._host) for shape in model]
    else:
        pairs = []
        for layer in model.modules():
            if isinstance(layer, Linear) and layer.packed.numel():
                pairs.append((shapes(layer)[0], _device_of(layer.packed)))
            elif "_qlinear" in layer.__dict__:
                device = _device_of(layer._qlinear.linears(layer)[0][0].packed)
                pairs += [(shape, device) for shape in layer._qlinear.shapes(layer)]
            elif isinstance(layer, _embedding.Rows):
                pairs.append((layer.kernel(), _device_of(layer._head.packed)))
    for shape, device in pairs:
        if _is_none(shape, device):
            continue
        if _is_block(shape):
            _blocks.block_for(_blocks.text_of(name, _tuples(shape)), device)
            continue
        for key in _kernels(shape, name, backward):
            _ops.kernel_for(*key, device)


def _is_block(shape):
    return shape[0] in _blocks.TEXTS  # a linear starts with its encoding


def _is_none(shape, device):
    """CPUs have no kernel for rows of an embedding: qlr_packed_rows reads them."""
    return shape[0] == "rows" and device.startswith("cpu")


def _tuples(value):
    """Of the lists that JSON makes of tuples."""
    return tuple(map(_tuples, value)) if isinstance(value, (list, tuple)) else value


_CPU = {
    "cpu:x86-64": ("cpu:amx", "cpu:avx512vnni", "cpu:avxvnni", "cpu:avx2"),
    "cpu:arm64": ("cpu:neon-i8mm", "cpu:neon-dotprod", "cpu:neon"),
}


def _instruction_sets(target):
    """The targets that a target stands for, of "cpu" all of this machine's architecture."""
    here = {"x86_64": "cpu:x86-64", "aarch64": "cpu:arm64"}.get(platform.machine())
    own = ("cpu:portable",) if target in ("cpu", here) else ()
    return _CPU.get(here if target == "cpu" else target, () if own else (target,)) + own


def _device_of(tensor):
    return _ops._host if tensor.device.type == "cpu" else f"cuda:{tensor.device.index or 0}"


def _kernels(shape, name, backward):
    encoding, n, k, bias, *activations = shape  # a list of an earlier version has none: int8
    yield encoding, n, k, name, bias, _ops.check_activations(*activations or ("int8",))
    if backward:
        yield encoding, n, k, "f32", None, "int8"
