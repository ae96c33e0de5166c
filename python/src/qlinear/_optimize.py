# ===- _optimize.py - Layers of a decoder as compiled functions ----*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""qlinear.nn.optimize: of a decoder layer of transformers, two compiled functions remain beside
the attention:

    norm, q, k, v, rotary embeddings of q and k                     3 launches
    o, residual, norm, gate and up, activation, down, residual      4 launches

The modules stay where they are, and with them the state_dict: what changes is `forward` of the
layer, and of its q, k, v and o. Within the layer's forward, q, k and v have their results
already, and o gives what it gets, which the attention has to return as it is. Where the
attention applies rotary embeddings to q and k as they are, or to norms of their heads, q and k
have these, too, and it leaves them alone (_rotary.py); and where it puts k and v into a static
cache, they are there (_cache.py)."""

import collections
import inspect
import types

import torch
from torch.nn import functional as F

from . import _blocks, _cache, _rotary
from ._abi import Error
from ._layer import Linear
from ._ops import _TYPES, _type_of
from ._parallel import ParallelLinear

#: How the parts of a decoder layer are called, beside those in _PARTS: the norms after the
#: attention, before and after the MLP; the first linears of the attention, some of which may be
#: None; the linears of the MLP, in which the first may be gate and up in one; the MLP's
#: activation; what the layer does with its result (its input there, the layer's own).
_Kind = collections.namedtuple("_Kind", "norms heads mlp activation tail", defaults=(None,))
_PLAIN = (None, "post_attention_layernorm", None)
_SANDWICH = "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm"
_SEPARATE = ("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj", "down_proj"), "act_fn"
_MERGED = ("qkv_proj",), ("gate_up_proj", "down_proj"), "activation_fn"


def _gemma4_tail(layer, x, per_layer_input):
    if layer.hidden_size_per_layer_input:
        gate = layer.act_fn(layer.per_layer_input_gate(x))
        extra = layer.per_layer_projection(gate * per_layer_input)
        x = x + layer.post_per_layer_input_norm(extra)
    return x * layer.layer_scalar


#: What the result of a layer of Gemma 4 is multiplied by.
_SCALAR = "layer_scalar"


def _scalar_of(layer):
    """The type of its layer_scalar, where the tail of the layer is that alone; else None."""
    scalar = layer._buffers.get(_SCALAR)
    if _LAYERS[type(layer).__name__].tail is None or layer.hidden_size_per_layer_input:
        return None
    plain = isinstance(scalar, torch.Tensor) and tuple(scalar.shape) == (1,)
    return _TYPES.get(scalar.dtype) if plain else None


#: By class; `forward` does what _forward() does.
_LAYERS = {
    "Gemma2DecoderLayer": _Kind(_SANDWICH, *_SEPARATE),
    "Gemma3DecoderLayer": _Kind(_SANDWICH, *_SEPARATE),
    "Gemma4TextDecoderLayer": _Kind(_SANDWICH, *_SEPARATE, ("per_layer_input", _gemma4_tail)),
    "GemmaDecoderLayer": _Kind(_PLAIN, *_SEPARATE),
    "LlamaDecoderLayer": _Kind(_PLAIN, *_SEPARATE),
    "MistralDecoderLayer": _Kind(_PLAIN, *_SEPARATE),
    "Phi3DecoderLayer": _Kind(_PLAIN, *_MERGED),
    "Qwen2DecoderLayer": _Kind(_PLAIN, *_SEPARATE),
    "Qwen3DecoderLayer": _Kind(_PLAIN, *_SEPARATE),
}
_PARTS = ("input_layernorm", "self_attn", "mlp")
_OUT = "o_proj"


class Optimized(collections.namedtuple("Optimized", "name reason has stays", defaults=((), ()))):
    """What became of one layer: `reason` is None, or says why it is as it was. `has` is what its
    functions do, `stays` what the attention and the layer go on to do themselves."""

    __slots__ = ()

    def __str__(self):
        if self.reason:
            return f"{self.name}: {self.reason}"
        left = f"; {', '.join(self.stays)}: as before" if self.stays else ""
        return f"{self.name}: compiled functions of {', '.join(self.has)}{left}"


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

    Knows the decoder layers of Llama, Mistral, Qwen 2 and 3, Phi 3, Gemma 1 to 4. Others, and
    layers whose parts are not packed, have hooks or are not what is known, stay as they are, and
    the result, an Optimization, says why. An o_proj that is not packed or has hooks, or whose
    attention has them, stays by itself.

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
            report.append(Optimized(name, None, *layer._qlinear.describe(layer)))
            continue
        reason = _why_not(layer)
        if reason is None:
            layer.__dict__["_qlinear"] = _Fused(layer)
            layer.forward = types.MethodType(_forward, layer)
            for part in layer._qlinear.taken:
                getattr(layer.self_attn, part).__dict__["_of_layer"] = layer._qlinear, part
            if layer._qlinear.rotary:
                _rotary.install(layer.self_attn, layer._qlinear.rotary)
            changed.append(layer)
        done = ((), ()) if reason else layer._qlinear.describe(layer)
        report.append(Optimized(name, reason, *done))
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
    fused = layer.__dict__.pop("_qlinear")
    if fused.rotary:
        _rotary.undo(layer.self_attn, fused.rotary)
    for part in fused.taken:
        getattr(layer.self_attn, part).__dict__.pop("_of_layer", None)


def _logits(model):
    """Of a few tokens, or None of what is no language model."""
    # Layers of some models have a configuration, too.
    config = getattr(model, "config", None) if hasattr(model, "get_input_embeddings") else None
    size = getattr(config.get_text_config(), "vocab_size", 0) if config is not None else 0
    # What accelerate offloads is on the meta device, until it is called.
    devices = [p.device for p in model.parameters() if not p.is_meta]
    offloaded = any("_hf_hook" in module.__dict__ for module in model.modules())
    if not size or not (devices or offloaded):
        return None
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(size, (1, 9), generator=generator).to((*devices, "cpu")[0])
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
    kind = _LAYERS[type(layer).__name__]
    norms = [n for n in kind.norms if n]
    for part in (*_PARTS, *norms):
        if not isinstance(getattr(layer, part, None), torch.nn.Module):
            return f"it has no {part}"
    if "forward" in layer.__dict__ or "forward" in layer.mlp.__dict__:
        return "its forward is replaced in this object"
    if getattr(layer, "enable_moe_block", False):
        return "it has experts beside its MLP"
    groups = (layer.self_attn, _heads(layer)), (layer.mlp, kind.mlp)
    for module, part in [(owner, part) for owner, parts in groups for part in parts]:
        linear = getattr(module, part, None)
        if isinstance(linear, ParallelLinear):
            return f"its {part} is divided among processes"
        if type(linear) is not Linear:
            return f"its {part} is not packed, but a {type(linear).__name__}"
        if linear.packed.numel() == 0:
            return f"its {part} is empty; load the weights first"
    for name, module in layer.named_modules():
        inside = name and not name.startswith(f"self_attn.{_OUT}") and name != "self_attn"
        if inside and _has_hooks(module):
            return f"{name} has hooks, which would not be called"
        if inside and "_hf_hook" in module.__dict__:
            return f"{name} has a hook of accelerate, which would not be called"
    for part in kind.mlp[:-1]:
        if getattr(layer.mlp, part).bias is not None:
            return f"its {part} has a bias"
    for owner, parts in groups:
        if len({getattr(owner, part).activations for part in parts}) > 1:
            return f"{' and '.join(parts)} have different activations"
    for norm in ("input_layernorm", *norms):
        if norm_of(getattr(layer, norm)) is None:
            return f"its {norm} is no RMS norm that is known"
    if activation_of(getattr(layer.mlp, kind.activation, None)) is None:
        return "the activation of its mlp is none of SiLU and GELU"
    return None


def _heads(layer):
    """The first linears of its attention: layers of Gemma 4 may have no v, whose values are the
    keys', and neither k nor v, where they share another layer's."""
    kind = _LAYERS[type(layer).__name__]
    have = [h for h in kind.heads if getattr(layer.self_attn, h, None) is not None]
    return tuple(have) if kind.tail and have[:1] == ["q_proj"] else kind.heads


def _has_hooks(module):
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")
    return any(getattr(module, h) for h in hooks)


def _takes_out(attention):
    """Whether the attention's last linear is part of what follows; else it stays by itself."""
    out = getattr(attention, _OUT, None)
    plain = type(out) is Linear and out.packed.numel() and "forward" not in attention.__dict__
    return plain and not any(_has_hooks(m) or "_hf_hook" in m.__dict__ for m in (attention, out))


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


# In each call of each layer, so not layer.mlp and linear.packed: what is no attribute of Python's
# takes a microsecond to find.


def _weight(norm):
    weight = norm._parameters.get("weight")
    return norm.weight if weight is None else weight


def _linears(owner, names):
    linears = [owner._modules.get(name) for name in names]
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
    described = []
    for linear in linears:
        bias = linear._parameters["bias"]
        kind = None if bias is None else _TYPES[bias.dtype]
        described.append((linear.encoding, linear.out_features, kind))
    return tuple(described)


class _Fused:
    """The functions of a layer. It has no tensors, and refers to no module."""

    def __init__(self, layer):
        self.kind = kind = _LAYERS[type(layer).__name__]
        self.norms_used = [name for name in kind.norms if name]
        self.norm_in = norm_of(layer.input_layernorm)
        self.norms = tuple(name and norm_of(getattr(layer, name)) for name in kind.norms)
        self.act = activation_of(getattr(layer.mlp, kind.activation))
        #: The type of what the result is multiplied by, where that is all there is after the MLP.
        self.times = _scalar_of(layer) if self.norms[2] else None
        self.takes_out = _takes_out(layer.self_attn)
        self.heads = _heads(layer)
        #: Linears of the attention that do not compute what they are asked for.
        self.taken = (*self.heads, _OUT) if self.takes_out else self.heads
        #: Where q and k get their rotary embeddings here, their heads: _rotary.heads_of().
        self.rotary = None
        if len(self.heads) > 1:
            self.rotary = _rotary.heads_of(layer.self_attn, norm_of)
        signature = inspect.signature(inspect.unwrap(type(layer).forward))
        self.parameters = list(signature.parameters)[2:]
        self.texts = {}
        #: Of each thread in the layer's forward: x, before the norm, that q, k and v are asked
        #: for next, their results, and what o was asked for, in a list.
        self.pending = {}

    def describe(self, layer):
        """What the functions do, and what is left of what they could."""
        has = {", ".join(("norm", *self.heads)): True}
        heads = bool(self.rotary and self.rotary[1])
        has["norms of heads"] = heads
        has["rotary embeddings"] = bool(self.rotary)
        has["writing static caches"] = bool(self.rotary) and self.writes_caches(layer)
        has[_OUT] = self.takes_out
        has[f"norms, residuals, {', '.join(self.kind.mlp)}"] = True
        if self.kind.tail:
            has[_SCALAR] = bool(self.times)
        if not heads:
            del has["norms of heads"]
            if _rotary.norms_of(layer.self_attn):
                has["norms of heads"] = False
        return [tuple(k for k, v in has.items() if v is want) for want in (True, False)]

    def take(self, part, x):
        """The result of a linear inside of the layer's forward; None outside of it."""
        pending = self.pending.get(_rotary.thread())
        if pending is None:
            return None
        of, results, out = pending
        if part == _OUT:
            out.append(x)
            return x
        if x is not of:
            raise Error(
                "the attention of an optimized layer gives its q, k and v another tensor than it "
                "got; use this model without qlinear.nn.optimize(), and report it"
            )
        return results[self.heads.index(part)]

    def check(self, layer, attention, out):
        """Error if the attention did more with the result of o than to return it."""
        if self.takes_out and not (len(out) == 1 and attention is out[0]):
            self.after(layer)  # if o is another now, that is the error
            raise Error(
                "the attention of an optimized layer returns another tensor than its o_proj gave; "
                "use this model without qlinear.nn.optimize(), and report it"
            )

    def linears(self, layer):
        """The linears that the functions are made of: those before the attention, after it, and
        of the MLP."""
        return [self.before(layer), *self.after(layer)]

    def before(self, layer):
        return _linears(layer._modules["self_attn"], self.heads)

    def after(self, layer):
        outs = _linears(layer._modules["self_attn"], (_OUT,)) if self.takes_out else []
        return outs, _linears(layer._modules["mlp"], self.kind.mlp)

    def shapes(self, layer):
        """What the layer's functions are made of, but for the type of their rows."""
        heads, outs, parts = self.linears(layer)
        shapes = [self.projections_shape(heads, self.rotary)]
        if self.rotary and self.writes_caches(layer):
            shapes.append(self.projections_shape(heads, self.rotary, True))
        if len(parts) == 3:
            return *shapes, self.mlp_shape(outs, parts)
        return *shapes, *self.wide_shapes(outs, parts)

    def projections_shape(self, heads, rotary, cached=False):
        first = heads[0]
        described = _describe(heads), first.activations, rotary, cached
        return "projections", first.in_features, self.norm_in, *described

    def out_shape(self, outs):
        return tuple((v.in_features, *_describe([v]), v.activations) for v in outs) or (None,)

    def mlp_shape(self, outs, parts):
        first = parts[0]
        head = "mlp", first.in_features, *self.out_shape(outs), self.norms
        return *head, _describe(parts), self.act, first.activations, self.times

    def wide_shapes(self, outs, parts):
        (both, down), activations = _describe(parts), parts[0].activations
        k = parts[0].in_features
        wide = "wide", k, *self.out_shape(outs), self.norms, both, activations
        return wide, ("down", k, parts[1].in_features, down, self.norms[2], activations)

    def run(self, shape, inputs, linears, columns, caches=()):
        key = inputs[0].dtype, shape
        text = self.texts.get(key)
        if text is None:
            text = self.texts[key] = _blocks.text_of(_type_of(inputs[0], "x"), shape)
        packed = [linear._buffers["packed"] for linear in linears]
        if caches:
            return [_blocks.block_into(inputs, caches, packed, text, *columns)]
        return _blocks.block(inputs, packed, text, columns)

    def writes_caches(self, layer):
        """Whether there are keys and values to write, of one size, where it has rotary
        embeddings."""
        if len(self.heads) + (self.rotary[2] == _rotary.KEYS) != 3:
            return False
        modules = layer._modules["self_attn"]._modules
        return len({modules[name].out_features for name in self.heads[1:]}) == 1

    def target(self, layer, x, past):
        """Where k and v go, once they have rotary embeddings, or None: to the attention."""
        if past is None or not self.writes_caches(layer):
            return None
        attention, head = layer._modules["self_attn"], self.rotary[0]
        keys = attention._modules["k_proj"].out_features
        index = getattr(attention, "layer_idx", None)
        return _cache.target_of(past, index, x, keys // head, head)

    def projections(self, layer, x, tables, target):
        """The results of q, k and v, also where v is made from k; `tables` are the cosines and
        sines of q and k, or (). With a `target` these are there, and what looks like k and v is
        nothing that is read."""
        linears = self.before(layer)
        inputs = [x, _weight(layer._modules["input_layernorm"]), *_biases(linears)]
        if tables:
            norms = _rotary.norms_of(layer._modules["self_attn"])
            inputs += [*map(_weight, norms), *tables]
        columns = [linear.out_features for linear in linears]
        if tables and self.rotary[2] == _rotary.KEYS:
            columns.append(columns[1])
        if target is None:
            shape = self.projections_shape(linears, self.rotary if tables else None)
            return self.run(shape, inputs, linears, columns)
        shape = self.projections_shape(linears, self.rotary, True)
        inputs.append(target.places)
        queries = self.run(shape, inputs, linears, columns[:1], target.caches)
        target.advance(x.shape[1])
        return queries + [x[..., :1].expand(*x.shape[:-1], n) for n in columns[1:]]

    def mlp(self, layer, x, residual):
        """From x, the attention's result or, if it is taken, what o gets of it."""
        outs, parts = self.after(layer)
        scales = [_weight(layer._modules[name]) for name in self.norms_used]
        before, after = [x, residual, *_biases(outs), *scales[:2]], scales[2:]
        k, down = residual.shape[-1], parts[-1]
        if len(parts) == 3:
            # In the order in which the text takes them.
            inputs = [*before, *_biases([down]), *after]
            if self.times:
                inputs.append(layer._buffers[_SCALAR])
            return self.run(self.mlp_shape(outs, parts), inputs, [*outs, *parts], [k])[0]
        wide, rest = self.wide_shapes(outs, parts)
        columns = [k, parts[0].out_features]
        residual, both = self.run(wide, before, [*outs, parts[0]], columns)
        gate, up = both.chunk(2, dim=-1)
        h = up * getattr(layer.mlp, self.kind.activation)(gate)
        return self.run(rest, [h, residual, *_biases([down]), *after], [down], [k])[0]


def _biases(linears):
    biases = [linear._parameters["bias"] for linear in linears]
    return [bias for bias in biases if bias is not None]


def _forward(layer, hidden_states, *args, **kwargs):
    fused = layer._qlinear
    kwargs.update(zip(fused.parameters, args))
    own, tail = fused.kind.tail or (None, None)
    own = kwargs.pop(own, None)
    if "shared_kv_states" in fused.parameters:
        kwargs.setdefault("shared_kv_states", None)
    out, thread = [], _rotary.thread()
    embeddings = kwargs.get("position_embeddings")
    tables = _rotary.tables_of(fused.rotary, hidden_states, layer.self_attn, embeddings)
    past = kwargs.get("past_key_values")
    target = fused.target(layer, hidden_states, past) if tables else None
    results = fused.projections(layer, hidden_states, tables, target)
    fused.pending[thread] = hidden_states, results, out
    if tables:
        _rotary.done[thread] = results[2] if fused.rotary[2] == _rotary.KEYS else ()
    if target is not None:
        kwargs["past_key_values"] = target.seen
    try:
        # It gets x without the norm, which its q, k and v have applied: take().
        attention = layer.self_attn(hidden_states=hidden_states, **kwargs)[0]
    finally:
        del fused.pending[thread]
        _rotary.done.pop(thread, None)
    fused.check(layer, attention, out)
    result = fused.mlp(layer, attention, hidden_states)
    return tail(layer, result, own) if tail and not fused.times else result
