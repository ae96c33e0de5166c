# ===- _optimize.py - Layers of a decoder as compiled functions ----*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""qlinear.nn.optimize: of a decoder layer of transformers, two compiled functions remain beside
the attention:

    norm, q, k, v                                            2 launches
    (o), residual, norm, gate and up, activation, down, residual    3 launches

The modules stay where they are, and with them the state_dict: what changes is `forward` of the
layer, and of its q, k and v."""

import collections
import inspect
import threading
import types

import torch
from torch.nn import functional as F

from . import _blocks
from ._abi import Error
from ._layer import Linear
from ._ops import _TYPES, _type_of

#: Of each kind of decoder layer, by its class: the norms after the attention, before and after
#: the MLP. Its parts are called as in _PARTS, and `forward` does what _forward() does.
_LAYERS = {
    **dict.fromkeys(
        ["LlamaDecoderLayer", "MistralDecoderLayer", "Qwen2DecoderLayer", "Qwen3DecoderLayer"],
        (None, "post_attention_layernorm", None),
    ),
    **dict.fromkeys(
        ["Gemma2DecoderLayer", "Gemma3DecoderLayer"],
        ("post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm"),
    ),
}
_PARTS = ("input_layernorm", "self_attn", "mlp")
_HEADS = ("q_proj", "k_proj", "v_proj")
_MLP = ("gate_proj", "up_proj", "down_proj")


class Optimized(collections.namedtuple("Optimized", "name reason")):
    """What became of one layer: `reason` is None, or says why it is as it was."""

    __slots__ = ()

    def __str__(self):
        return f"{self.name}: {self.reason or 'two compiled functions'}"


class Optimization(list):
    """A list of Optimized, one for each decoder layer."""

    def __str__(self):
        done = sum(v.reason is None for v in self)
        lines = [f"{done} of {len(self)} decoder layers have compiled functions"]
        if not self:
            lines = [f"no decoder layer is of a kind that is known ({', '.join(sorted(_LAYERS))})"]
        groups = collections.Counter(v.reason for v in self if v.reason)
        return "\n".join(lines + [f"  {count}: {reason}" for reason, count in groups.items()])


def optimize(model, *, check=True):
    """Compiles what lies between the attentions of a model of transformers into functions, in
    place: its norms, packed linears, activations and residuals. For inference; call it after
    swap_linears() or from_pretrained() of a packed model.

    Knows the decoder layers of Llama, Mistral, Qwen 2 and 3, Gemma 2 and 3. Others, and layers
    whose parts are not packed, have hooks or are not what is known, stay as they are, and the
    result, an Optimization, says why.

    check: compares the logits of a few tokens before and after, and undoes all, with an Error,
        where they differ by more than rounding.

    Modules, parameters and the state_dict stay the same; generate() and torch.compile work as
    before. A second call does nothing new. Results differ from those before in the last bits:
    intermediate values are not rounded to the model's type. Hooks that are put on parts of a
    layer later are not called.
    """
    report, changed = Optimization(), []
    want = _logits(model) if check else None
    for name, layer in model.named_modules():
        if type(layer).__name__ not in _LAYERS:
            continue
        if "_qlinear" in layer.__dict__:
            report.append(Optimized(name, None))
            continue
        reason = _why_not(layer)
        if reason is None:
            layer.__dict__["_qlinear"] = _Fused(layer)
            layer.forward = types.MethodType(_forward, layer)
            for i, head in enumerate(_HEADS):
                getattr(layer.self_attn, head).__dict__["_of_layer"] = layer._qlinear, i
            changed.append(layer)
        report.append(Optimized(name, reason))
    if want is not None and changed:
        try:
            _compare(want, _logits(model))
        except Exception:
            for layer in changed:
                undo(layer)
            raise
    return report


def undo(layer):
    """Makes a layer what it was."""
    layer.__dict__.pop("forward", None)
    layer.__dict__.pop("_qlinear", None)
    for head in _HEADS:
        getattr(layer.self_attn, head).__dict__.pop("_of_layer", None)


def _logits(model):
    """Of a few tokens, or None of what is no language model."""
    config = getattr(model, "config", None)
    size = getattr(config.get_text_config(), "vocab_size", 0) if config is not None else 0
    first = next(model.parameters(), None)
    if not size or first is None:
        return None
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(size, (1, 9), generator=generator).to(first.device)
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            output = model(input_ids=tokens, use_cache=False)
    finally:
        for module, training in modes:
            module.training = training
    found = getattr(output, "logits", None)
    return (output[0] if found is None else found).float()


def _compare(want, have):
    error = ((have - want).norm() / want.norm()).item()
    if not error < 0.05:  # int8 activations turn roundings into steps
        raise Error(
            f"the logits of 9 tokens differ by {error:.2g} of their norm from those before "
            "optimize(): a decoder layer is not what its class was when this was written; the "
            "model is as it was. Report it with the version of transformers"
        )


# ===------------------------------------------------------------------------===#
# Whether a layer is what is known
# ===------------------------------------------------------------------------===#


def _why_not(layer):
    """Why a layer stays as it is, or None."""
    norms = [n for n in _LAYERS[type(layer).__name__] if n]
    for part in (*_PARTS, *norms):
        if not isinstance(getattr(layer, part, None), torch.nn.Module):
            return f"it has no {part}"
    if "forward" in layer.__dict__ or "forward" in layer.mlp.__dict__:
        return "its forward is replaced in this object"
    linears = [(layer.self_attn, head) for head in _HEADS] + [(layer.mlp, part) for part in _MLP]
    for module, part in linears:
        linear = getattr(module, part, None)
        if type(linear) is not Linear:
            return f"its {part} is not packed, but a {type(linear).__name__}"
        if linear.packed.numel() == 0:
            return f"its {part} is empty; load the weights first"
    for name, module in layer.named_modules():
        hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")
        inside = name and not name.startswith("self_attn.o_proj") and name != "self_attn"
        if inside and any(getattr(module, h) for h in hooks):
            return f"{name} has hooks, which would not be called"
        if inside and "_hf_hook" in module.__dict__:
            return f"{name} has a hook of accelerate, which would not be called"
    for part in _MLP[:2]:
        if getattr(layer.mlp, part).bias is not None:
            return f"its {part} has a bias"
    for group in (_HEADS, _MLP):
        owner = layer.self_attn if group is _HEADS else layer.mlp
        if len({getattr(owner, part).activations for part in group}) > 1:
            return f"{' and '.join(group)} have different activations"
    for norm in ("input_layernorm", *norms):
        if norm_of(getattr(layer, norm)) is None:
            return f"its {norm} is no RMS norm that is known"
    if activation_of(getattr(layer.mlp, "act_fn", None)) is None:
        return "the activation of its mlp is none of SiLU and GELU"
    return None


@torch.no_grad()
def norm_of(module):
    """(epsilon, 1 if the scale is less one, type of the scale) of an RMS norm, else None: by
    what it computes."""
    weight = getattr(module, "weight", None)
    epsilon = getattr(module, "variance_epsilon", getattr(module, "eps", None))
    if type(weight) is not torch.nn.Parameter or weight.dim() != 1 or weight.is_meta:
        return None
    if weight.dtype not in _TYPES or not isinstance(epsilon, float):
        return None
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, len(weight), generator=generator).to(weight.device, weight.dtype)
    have, wide = module(x).float(), x.float()
    n = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + epsilon)
    for plus_one in (0, 1):
        want = n * (weight.float() + plus_one)
        if (have - want).norm() <= 0.01 * want.norm() and have.dtype == want.dtype:
            return epsilon, plus_one, _TYPES[weight.dtype]
    return None


_FUNCTIONS = {
    "silu": F.silu,
    "gelu_tanh": lambda v: F.gelu(v, approximate="tanh"),
    "gelu": F.gelu,
}


@torch.no_grad()
def activation_of(function):
    """The name of an activation, by what it computes."""
    if function is None:
        return None
    x = torch.linspace(-9, 9, 181)
    try:
        have = function(x)
    except Exception:
        return None
    for name, known in _FUNCTIONS.items():
        if torch.allclose(have, known(x), rtol=1e-5, atol=1e-6):
            return name
    return None


# ===------------------------------------------------------------------------===#
# What takes its place
# ===------------------------------------------------------------------------===#


def _linears(owner, names):
    linears = [getattr(owner, name) for name in names]
    for name, linear in zip(names, linears):
        if type(linear) is not Linear:
            raise Error(
                f"{name} of an optimized layer has become a "
                f"{type(linear).__name__}, which its functions know nothing of; change a model "
                "(adapters, other quantizers) first, and optimize() it then"
            )
    return linears


def _describe(linears):
    """As texts have them."""
    return tuple(
        (v.encoding, v.out_features, None if v.bias is None else _TYPES[v.bias.dtype])
        for v in linears
    )


class _Fused:
    """The functions of a layer. It has no tensors, and refers to no module."""

    def __init__(self, layer):
        names = _LAYERS[type(layer).__name__]
        self.names = [name for name in names if name]
        self.norm_in = norm_of(layer.input_layernorm)
        self.norms = tuple(name and norm_of(getattr(layer, name)) for name in names)
        self.act = activation_of(layer.mlp.act_fn)
        signature = inspect.signature(inspect.unwrap(type(layer).forward))
        self.parameters = list(signature.parameters)[2:]
        self.texts = {}
        #: Of each thread in the layer's forward: x, before the norm, that q, k and v are asked
        #: for next, and their results.
        self.pending = {}

    def take(self, i, x):
        """The result of q, k or v inside of the layer's forward; None outside of it."""
        pending = self.pending.get(_thread())
        if pending is None:
            return None
        if x is not pending[0]:
            raise Error(
                "the attention of an optimized layer gives its q, k and v another tensor than it "
                "got; use this model without qlinear.nn.optimize(), and report it"
            )
        return pending[1][i]

    def shapes(self, layer):
        """What the layer's two functions are made of, but for the type of their rows."""
        return (
            self.projections_shape(_linears(layer.self_attn, _HEADS)),
            self.mlp_shape(_linears(layer.mlp, _MLP)),
        )

    def projections_shape(self, heads):
        first = heads[0]
        return "projections", first.in_features, self.norm_in, _describe(heads), first.activations

    def mlp_shape(self, parts):
        first = parts[0]
        described = _describe(parts)
        return "mlp", first.in_features, self.norms, described, self.act, first.activations

    def run(self, shape, inputs, linears, columns):
        key = inputs[0].dtype, shape
        text = self.texts.get(key)
        if text is None:
            text = self.texts[key] = _blocks.text_of(_type_of(inputs[0], "x"), shape)
        packed = [linear.packed for linear in linears]
        return _blocks.block(inputs, packed, text, columns)

    def projections(self, layer, x):
        linears = _linears(layer.self_attn, _HEADS)
        inputs = [x, layer.input_layernorm.weight]
        inputs += [linear.bias for linear in linears if linear.bias is not None]
        columns = [linear.out_features for linear in linears]
        return self.run(self.projections_shape(linears), inputs, linears, columns)

    def mlp(self, layer, x, residual):
        linears = _linears(layer.mlp, _MLP)
        scales = [getattr(layer, name).weight for name in self.names]
        bias = [] if linears[2].bias is None else [linears[2].bias]
        # In the order in which the text takes them.
        inputs = [x, residual, *scales[:2], *bias, *scales[2:]]
        return self.run(self.mlp_shape(linears), inputs, linears, [x.shape[-1]])[0]


def _thread():
    return 0 if torch.compiler.is_compiling() else threading.get_ident()


def _forward(layer, hidden_states, *args, **kwargs):
    fused = layer._qlinear
    kwargs.update(zip(fused.parameters, args))
    fused.pending[_thread()] = hidden_states, fused.projections(layer, hidden_states)
    try:
        # It gets x without the norm, which its q, k and v have applied: take().
        attention = layer.self_attn(hidden_states=hidden_states, **kwargs)[0]
    finally:
        del fused.pending[_thread()]
    return fused.mlp(layer, attention, hidden_states)
