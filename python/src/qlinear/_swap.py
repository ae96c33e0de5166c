# ===- _swap.py - Packed layers in the place of a model's linears --*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""qlinear.nn.swap_linears: which linears of a model can be replaced, and doing it."""

import collections
import functools
import re
import sys
import types

import torch

from . import _embedding
from ._abi import ArgumentError, Error
from ._checkpoint import layouts_of
from ._heads import Heads
from ._layer import Linear, bias_of
from ._names import Names
from ._ops import check_activations
from ._parallel import ParallelLinear, Plan, device_of
from ._quantize import SAFETENSORS, Rule, quantize
from ._reads import asked_by, reader_of
from .archive import Archive


class Swap(collections.namedtuple("Swap", "name layer reason bytes note")):
    """What became of one weight of a model: `layer` is the new one, or None with the
    `reason`; `bytes` is the size of the weight as it is now; `note` says what was done
    otherwise than asked for."""

    __slots__ = ()

    def __str__(self):
        if self.layer is None:
            return f"{self.name}: {self.bytes} bytes as they are: {self.reason}"
        bits = f"{self.layer.bits_per_weight:.2f} bits per weight" if self.bytes else "empty"
        if self.layer.activations != "int8":
            bits += f", {self.layer.activations} activations"
        return f"{self.name}: {bits}{f'; {self.note}' if self.note else ''}"


class Report(list):
    """A list of Swap, one for each weight of a model with two or more dimensions. As a text:
    how much of the model is packed, and what is not. `packed_bytes` and `other_bytes` are
    the sizes of both; what is shared counts once."""

    packed_bytes = other_bytes = 0

    def __str__(self):
        packed = [s for s in self if s.layer is not None]
        rest = [s for s in self if s.layer is None]
        lines = [
            f"{len(packed)} linears were packed{_with_floats(packed)}: {self.packed_bytes} bytes "
            f"are packed, and {self.other_bytes} bytes of weights are not"
        ]
        lines += [f"  {s}" for s in packed if s.note]
        # Blocks of a model are alike: one line for what differs in numbers alone.
        groups = collections.defaultdict(list)
        for s in rest:
            groups[re.sub(r"\d+", "*", s.name), s.reason].append(s)
        for (name, reason), swaps in groups.items():
            one = swaps[0].name if len(swaps) == 1 else f"{name} ({len(swaps)})"
            lines.append(f"  {one}: {sum(s.bytes for s in swaps)} bytes: {reason}")
        return "\n".join(lines)


def _with_floats(packed):
    count = sum(s.layer.activations == "float" for s in packed)
    if not count:
        return ""
    return f", {count if count < len(packed) else 'all'} with float activations"


def swap_linears(
    model,
    encoding="auto",
    *,
    bits=4,
    group=32,
    form=None,
    min_snr=None,
    search=True,
    head_bits=6,
    tied=None,
    activations="int8",
    select=None,
    archive=None,
    names=None,
    empty=False,
    tp_plan=None,
    mesh=None,
):
    """Replaces the nn.Linear layers of a model, in place.

    encoding ... search: as of Linear.from_float().
    head_bits: output heads (what get_output_embeddings() gives, and layers that are called
        lm_head, score and the like) get at least as many bits; the report says which.
    tied: what becomes of a head that shares its weight with the embedding. None: it stays as it
        is. "head": it is packed, and the embedding stays, so that they are tied no more.
        "packed": it is packed, and the embedding reads its rows.
    activations: "int8" or "float", as of Linear.from_float(); of empty layers the checkpoint
        says it.
    select: a function (name, layer) -> bool; by default every layer.
    archive: take the weights from an archive of quant-pack instead of quantizing; `names`
        is a function from a layer's name to the archive's, by default the same (with or
        without ".weight"), or "auto": those of transformers, also in an archive of a GGUF
        file, whose rows are brought into transformers' order. Biases stay the model's.
    empty: make layers without weights, for load_state_dict(). True: of all that can be
        replaced. A state_dict, or the path of a file or folder of safetensors or of
        torch.save: of what is packed there, with its encodings and sizes, so that loaders
        that do not ask the layers (accelerate's) can fill them.
    tp_plan, mesh: with `archive`, divide layers among the processes of a DeviceMesh of one
        dimension: {name: "colwise", "colwise_gather_output" or "rowwise"}, `*` in a name stands
        for a number, as in the tp_plan of a model of transformers. Each process reads its parts
        of the archive alone, and puts them on its device (of a layer on the meta device, too).

    A new layer takes over the bias, forward and backward hooks, accelerate's hooks, the
    training flag and further attributes. Layers are left as they are, with a reason, where
    that would not be right: of a subclass, with a weight that is shared, parametrized or
    not floats, read by a module above, with hooks on the state_dict, adapters of peft, or
    with an in_features that does not fit the group. Returns a Report, which also has the
    weights of other modules. On an error the model is as it was.
    """
    if isinstance(model, torch.nn.Linear):
        raise ArgumentError("the model is itself a Linear; use Linear.from_float(model)")
    check_activations(activations)
    if tied not in _TIED:
        raise ArgumentError(f"tied is {tied!r}; None, 'head' and 'packed' are possible")
    if empty is not False and activations != "int8":
        raise ArgumentError(
            f"activations={activations!r} says nothing of layers that are empty: they take over "
            "what the checkpoint says; set layer.activations of each when it is loaded"
        )
    if tp_plan is not None and archive is None:
        raise ArgumentError(
            "tp_plan divides weights of an archive; pass archive=, or load a packed model of "
            "transformers by from_pretrained(tp_plan=)"
        )
    plan = Plan(model, tp_plan, mesh)
    state = layouts_of(empty) if not isinstance(empty, bool) else None
    # What a checkpoint has packed is not tied in it.
    about = _About(model, "head" if state is not None else tied)
    rules = _Rules(about, (encoding, bits, group, form, min_snr, search), head_bits)
    reasons, chosen = {}, {}
    for name, layer in model.named_modules():
        if not isinstance(layer, torch.nn.Linear):
            continue
        reason = _why_not(about, name, layer)
        if select and not select(name, layer):
            reason = "select() leaves it out"
        elif reason is None and state is not None:
            reason = None if name in state else "the checkpoint has no packed weight of it"
        elif reason is None and archive is None and not empty:
            reason = rules.of(name, layer).declines(layer)
        if reason is None:
            chosen[name] = layer
        reasons[name] = reason
    for name, reason in _last_parameters(model, chosen):
        reasons[name] = reason
        del chosen[name]
    notes = {}
    if state is not None:
        if state and not chosen:
            raise Error(
                f"none of the {len(reasons)} linears of the model is packed in the checkpoint; it "
                f"has {', '.join(list(state)[:3])}, and the model {', '.join(list(reasons)[:3])}"
            )
        made = {name: Linear._empty(layer, *state[name]) for name, layer in chosen.items()}
    elif empty:
        made = {name: Linear._empty(layer) for name, layer in chosen.items()}
    elif archive is not None:
        archive = archive if isinstance(archive, Archive) else Archive(archive)
        weights = Names(model, archive, names)
        made, notes = _from_archive(chosen, weights, rules, reasons, plan)
        plan.check(reasons, made)
    else:
        made = _quantized(chosen, rules)
        notes = {name: rules.note(name, layer) for name, layer in chosen.items()}
    if state is not None:
        _embedding.check(model, state.embeddings, made)
    for name, layer in made.items():
        if not empty:
            layer.activations = activations
        _carry(chosen[name], layer)
    replacements = {id(chosen[name]): layer for name, layer in made.items()}
    for module in list(model.modules()):
        for key, child in module._modules.items():
            if id(child) in replacements:
                module._modules[key] = replacements[id(child)]
        for key, value in vars(module).items():
            if key not in _TORCH_KEEPS:
                vars(module)[key] = _replaced(value, replacements)
    if state is not None:
        _embedding.of_checkpoint(model, state.embeddings, made)
    elif tied == "packed":
        for name in filter(lambda name: about.unties(chosen[name]), made):
            note = _embedding.share(model, about.uses[_key(chosen[name].weight)], made[name], name)
            notes[name] = "; ".join(filter(None, (notes.get(name), note)))
    if made and "transformers.modeling_utils" in sys.modules:
        try:
            from .transformers import mark, untie
        except ImportError:  # transformers before 4.50 has no place for it
            pass
        else:
            mark(model)
            if any(about.unties(chosen[name]) for name in made):
                untie(model)
    return _report(model, reasons, made, notes)


# ===------------------------------------------------------------------------===#
# Which layers
# ===------------------------------------------------------------------------===#


class _About:
    """What the whole model says about its layers."""

    def __init__(self, model, tied):
        self.model, self.tied = model, tied
        #: {key of a tensor: names of the parameters that are this tensor}
        self.uses = collections.defaultdict(list)
        self.heads = Heads(model)
        #: (part of a name, class that keeps such layers in float32)
        self.keeps = []
        for name, module in model.named_modules():
            _check_wrapper(name, module)
            for key, parameter in module.named_parameters(recurse=False):
                self.uses[_key(parameter)].append(f"{name}.{key}" if name else key)
            for part in getattr(type(module), "_keep_in_fp32_modules", None) or ():
                self.keeps.append((part, type(module).__name__))


    def unties(self, layer):
        """Whether a head is taken from its embedding."""
        return self.tied is not None and self.heads.is_tied(layer)


_TIED = (None, "head", "packed")


def _check_wrapper(name, module):
    """Refuses wrappers that know the parameters one by one."""
    parallel = torch.nn.parallel
    wrappers = [parallel.DistributedDataParallel, parallel.DataParallel]
    if fsdp := sys.modules.get("torch.distributed.fsdp"):
        wrappers.append(fsdp.FullyShardedDataParallel)
    if isinstance(module, tuple(wrappers)):
        raise ArgumentError(
            f"{f'{name!r}' if name else 'the model'} is a {type(module).__name__}, which holds on "
            "to the parameters of the model; call swap_linears() first, and wrap then"
        )


def _key(tensor):
    """Equal for tensors that are the same memory, where they have some."""
    try:
        where = tensor.data_ptr()
    except RuntimeError:  # a subclass without memory of its own
        where = 0
    return (tensor.device, where, tensor.shape) if where else id(tensor)


_STATE_HOOKS = (
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
)


def _why_not(about, name, layer):
    """Why a layer cannot be replaced, or None."""
    if torch.nn.utils.parametrize.is_parametrized(layer):
        return "it is parametrized; torch.nn.utils.parametrize.remove_parametrizations() first"
    if type(layer) is not torch.nn.Linear:
        own = type(layer).forward is not torch.nn.Linear.forward
        also = ", with a forward of its own" if own else ""
        return f"it is a {type(layer).__name__}, a subclass of nn.Linear{also}"
    extra = {*layer._parameters, *layer._buffers, *layer._modules} - {"weight", "bias"}
    if extra or "weight" not in layer._parameters or "bias" not in layer._parameters:
        return (
            f"it has {', '.join(sorted(extra)) or 'no weight'} beside nn.Linear's parameters "
            "(weight norm, pruning); remove that first"
        )
    for tensor in (layer.weight, layer.bias):
        if tensor is None:
            continue
        if type(tensor) is not torch.nn.Parameter:
            return f"its weight or bias is a {type(tensor).__name__}, not a plain tensor"
        if tensor.dtype not in SAFETENSORS:
            return f"it has {tensor.dtype}; float32, float16 and bfloat16 are possible"
    if layer.weight.numel() == 0:
        return f"its weight is {' x '.join(map(str, layer.weight.shape))}: there is nothing to pack"
    others = [use for use in about.uses[_key(layer.weight)] if use != f"{name}.weight"]
    if others and not about.unties(layer):
        also = "; tied= packs it" if about.heads.is_tied(layer) else ""
        return f"its weight is also {', '.join(others)}{also}"
    return _why_not_here(about, name, layer)


def _why_not_here(about, name, layer):
    """The same, for what is around it."""
    path = name.split(".")
    for depth in range(len(path)):
        above = about.model.get_submodule(".".join(path[:depth]))
        if _is_adapter(above, path[depth]):
            return f"it belongs to an adapter, a {type(above).__name__} of peft"
        if _is_lora(above) and getattr(above, "lora_variant", None):
            return "a variant of LoRA (DoRA) reads its weight"
    if re.search(r"(^|\.)lora_", name):
        return "it belongs to an adapter, by its name"
    if reader := reader_of(about.model, name, _is_lora):
        return f"a {reader} reads its weight"
    for part, above in about.keeps:
        if re.search(rf"(^|\.){re.escape(part)}(\.|$)", name):
            return f"{above} keeps it in float32"
    if about.heads.is_tied(layer) and not about.unties(layer):
        return "the model's configuration ties its weight to the embedding; tied= packs it"
    for hooks in _STATE_HOOKS:
        if getattr(layer, hooks):
            return "it has hooks on its state_dict, which would look for its weight"
    # torch.compile(layer) calls what it was given, not what is in its place later.
    if layer._compiled_call_impl is not None or path[-1] == "_orig_mod":
        return "it is compiled by itself; compile the model after the swap"
    forward = layer.__dict__.get("_old_forward", layer.__dict__.get("forward"))
    if forward is not None and getattr(forward, "__func__", None) is not torch.nn.Linear.forward:
        return "its forward is replaced in this object"
    return None


def _last_parameters(model, chosen):
    """(name, reason) of layers that stay because a module above asks for its parameters(), of
    whichever type and device, and would have none."""
    stay = {}
    for _name, module in model.named_modules():
        for owner in asked_by(module):
            below = {
                path: layer
                for path, layer in chosen.items()
                if any(layer is child for child in owner.modules())
            }
            packed = {id(layer.weight) for layer in below.values()}
            if below and all(id(p) in packed for p in owner.parameters()):
                least = min(below, key=lambda path: below[path].weight.numel())
                if not any(path in stay for path in below):
                    asks = type(module).__name__
                    stay[least] = f"a {asks} asks for a parameter, and has no other"
    return stay.items()


def _is_adapter(module, child):
    """Whether `child` of `module` belongs to an adapter of peft, not to the model."""
    peft = sys.modules.get("peft")
    if peft is None:
        return False
    if isinstance(module, peft.tuners.tuners_utils.BaseTunerLayer):
        return child != "base_layer"
    if isinstance(module, peft.PeftModel):
        return child != "base_model"  # encoders of prompts
    return isinstance(module, peft.utils.other.AuxiliaryTrainingWrapper)


def _is_lora(module):
    """Whether it is LoRA of peft, which reads the weight in some variants, and to merge."""
    peft = sys.modules.get("peft")
    return peft is not None and isinstance(module, peft.tuners.lora.LoraLayer)


# ===------------------------------------------------------------------------===#
# How they are quantized
# ===------------------------------------------------------------------------===#

class _Rules:
    """The rule of each layer: output heads have one of their own."""

    def __init__(self, about, options, head_bits):
        encoding, _, group, _, min_snr, search = options
        self.body = self.heads = Rule(*options)
        self.head_bits = head_bits
        if self.body.bits < head_bits:
            if self.body.is_spelled:
                options = "auto", head_bits, self.body.group, None, min_snr, search
            else:
                options = encoding, head_bits, group, None, min_snr, search
            self.heads = Rule(*options)
        self.is_head = about.heads.has

    def of(self, name, layer):
        return self.heads if self.is_head(name, layer) else self.body

    def note(self, name, layer):
        if self.of(name, layer) is self.body:
            return ""
        return f"an output head: {self.heads.bits} bits, not {self.body.bits} (head_bits)"

    def warning(self, name, layer, made):
        """Of a layer that is `made` from an archive, as it is there."""
        integer = re.match(r"[ui](\d+)", made.encoding)
        bits = int(integer[1]) if integer else 4  # a table of 16, as all that formats have
        if bits >= self.head_bits or not self.is_head(name, layer):
            return ""
        return f"an output head, with {bits} bits in the archive"


def _quantized(chosen, rules):
    made = {}
    for name, layer in chosen.items():
        if layer.weight.is_meta:
            hook = getattr(layer, "_hf_hook", None)
            where = "offloaded by accelerate" if hook is not None else "on the meta device"
            raise Error(
                f"the weight of '{name}' is {where}: there is nothing to quantize; load the model "
                "with its weights, take them from an archive (archive=), or make empty layers for "
                "load_state_dict() (empty=True)"
            )
    for rule in (rules.body, rules.heads):
        weights = {
            name: layer.weight
            for name, layer in chosen.items()
            if name not in made and rules.of(name, layer) is rule
        }
        for name, (packed, report) in quantize(weights, rule).items():
            layer = chosen[name]
            made[name] = Linear._of(packed, None, layer.weight.device, report)
            made[name].bias = layer.bias
    return {name: made[name] for name in chosen}


def _from_archive(chosen, weights, rules, reasons, plan):
    """The layers that the archive has, and notes; `reasons` gets why others stay."""
    made, notes = {}, {}
    for name, layer in chosen.items():
        weight = weights.find(name)
        if isinstance(weight, str):
            reasons[name] = weight
            continue
        part = plan.part(name, weight.n, weight.k)
        made[name] = _of_archive(weights.archive, weight, name, layer, part)
        remarks = rules.warning(name, layer, made[name]), weights.note(weight)
        notes[name] = "; ".join(filter(None, remarks))
    if chosen and not made:
        raise Error(
            f"'{weights.archive.path}' has no weight of the model's {len(chosen)} linears; it has "
            f"{', '.join(list(weights.archive.weights)[:3])}, and the model "
            f"{', '.join(list(chosen)[:3])}"
        )
    return made, notes


def _of_archive(archive, weight, name, layer, part):
    if (weight.n, weight.k) != tuple(layer.weight.shape):
        raise ArgumentError(
            f"weight '{weight.name}' of '{archive.path}' is {weight.n} x {weight.k}, but the layer "
            f"is {' x '.join(map(str, layer.weight.shape))} (outputs x inputs)"
        )
    device = torch.device("cpu") if layer.weight.is_meta else layer.weight.device
    if part is not None and layer.weight.is_meta:
        device = device_of(part.mesh)
    bias = layer.bias
    if bias is not None and bias.is_meta:
        bias = bias_of(archive, weight.name)
        if bias is None:
            raise Error(
                f"the bias of '{name}' is on the meta device, and '{archive.path}' has none beside "
                f"'{weight.name}'; load the model's biases first"
            )
        bias = bias.to(layer.bias.dtype)
        if part is None:
            return Linear._of(weight, bias, device, None)
    if part is not None:
        return ParallelLinear._part_of(weight, bias, part, device)
    made = Linear._of(weight, None, device, None)
    made.bias = bias
    return made


# ===------------------------------------------------------------------------===#
# Taking their place
# ===------------------------------------------------------------------------===#

# The dictionaries themselves move: handles of hooks refer to them.
_HOOKS = (
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_is_full_backward_hook",
)


# Of a module's dictionary: these have no layers, or are the modules themselves.
_TORCH_KEEPS = frozenset(vars(torch.nn.Module()))


def _replaced(value, replacements, within=()):
    """A value with the new layers for the old ones that it refers to, also by their methods and in
    lists, dictionaries and tuples: no module goes on calling a layer that the model has no more."""
    if isinstance(value, torch.nn.Module):
        return replacements.get(id(value), value)
    if isinstance(value, types.MethodType) and id(value.__self__) in replacements:
        return getattr(replacements[id(value.__self__)], value.__name__, value)
    if type(value) is functools.partial:
        parts = value.func, value.args, value.keywords
        new = _replaced(parts, replacements, within)
        return value if new is parts else functools.partial(new[0], *new[1], **new[2])
    is_named = isinstance(value, tuple) and hasattr(value, "_make")
    plain = is_named or type(value) in (list, tuple, dict, collections.OrderedDict)
    if not plain or id(value) in within:
        return value
    items = list(value.items() if isinstance(value, dict) else enumerate(value))
    new = {key: _replaced(v, replacements, (*within, id(value))) for key, v in items}
    if all(new[key] is v for key, v in items):
        return value
    if isinstance(value, tuple):
        return value._make(new.values()) if is_named else tuple(new.values())
    for key, v in new.items():
        value[key] = v
    return value


def _carry(old, new):
    """Hooks, the training flag and attributes of `old` to `new`."""
    hook = old.__dict__.get("_hf_hook")
    if hook is not None:
        from accelerate.hooks import add_hook_to_module, remove_hook_from_module

        remove_hook_from_module(old)
    for name in _HOOKS:
        new.__dict__[name] = old.__dict__[name]
    for name, value in old.__dict__.items():
        if name != "forward":
            new.__dict__.setdefault(name, value)
    new.train(old.training)
    if hook is not None:
        add_hook_to_module(new, hook)


# ===------------------------------------------------------------------------===#
# The report
# ===------------------------------------------------------------------------===#


def _report(model, reasons, made, notes):
    """Of all weights, in the model's order."""
    report, others = Report(), {}
    for name, module in model.named_modules():
        if isinstance(module, Linear):
            size, layer = module.packed.numel(), made.get(name)
            reason = "" if layer else "it is packed already"
            report.append(Swap(name, layer, reason, size, notes.get(name, "")))
            report.packed_bytes += size
            continue
        if name in reasons:
            report.append(Swap(name, None, reasons[name], _size(module.parameters()), ""))
        for key, tensor in module.named_parameters(recurse=False):
            others[_key(tensor)] = _size([tensor])
            if name not in reasons:
                report += _other(name, module, key, tensor)
    report.other_bytes = sum(others.values())
    return report


def _size(tensors):
    return sum(t.numel() * t.element_size() for t in tensors)


def _other(name, module, key, tensor):
    """The entry of a parameter that is not a linear's; none for vectors, if they are small."""
    if tensor.dim() < 2 and tensor.numel() < 1 << 16:
        return []
    shape = " x ".join(map(str, tensor.shape))
    reason = f"a {shape} parameter of {type(module).__name__}, which is no nn.Linear"
    if type(module).__name__ == "Conv1D":
        reason += ": its weight is [in, out]"
    full = f"{name}.{key}" if name else key
    return [Swap(full if key != "weight" else name or key, None, reason, _size([tensor]), "")]
