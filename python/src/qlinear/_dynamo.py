# ===- _dynamo.py - torch.compile(backend="qlinear") ----------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""A backend of torch.compile: linears of a graph whose weights are parameters are computed by
compiled kernels with packed copies of these, the rest of the graph by another backend. The model is
not changed."""

import copy
import logging
import warnings

import torch

from ._abi import ArgumentError
from ._ops import check_activations
from ._quantize import SAFETENSORS, Rule, quantize
from ._weights import packed

_log = logging.getLogger("qlinear")
_LINEARS = {torch.nn.functional.linear, torch._C._nn.linear, torch.ops.aten.linear.default}
_DEFAULTS = {
    "encoding": "auto",
    "bits": 4,
    "group": 32,
    "form": None,
    "min_snr": None,
    "search": True,
    "activations": "int8",
    "select": None,
    "inner": "inductor",
}


def backend(graph_module, example_inputs, *, options=None, mode=None):
    """torch.compile(model, backend="qlinear", options={...}).

    options: encoding, bits, group, form, min_snr, search, activations: as of
            qlinear.nn.Linear.from_float(); of all linears.
        select: a function of a weight (a Parameter) -> bool; by default every one.
        inner: the backend of the rest of the graph, a name or a function.

    A linear stays as it is where its weight would be trained (gradients are on, and it requires
    them), is used by something else too, does not fit the group, or where autocast is on; a
    warning says which, and why. A weight that changes is packed again, but for changes by
    `weight.data` in place, which nobody sees.
    """
    if mode not in (None, "default"):
        raise ArgumentError(
            f"mode={mode!r} is inductor's; pass options={{'inner': backend}} with a backend "
            "that has that mode"
        )
    unknown = sorted((options or {}).keys() - _DEFAULTS.keys())
    if unknown:
        raise ArgumentError(f"unknown options {unknown}; there are {', '.join(_DEFAULTS)}")
    chosen = {**_DEFAULTS, **(options or {})}
    check_activations(chosen["activations"])
    rule = Rule(*(chosen[o] for o in ("encoding", "bits", "group", "form", "min_snr", "search")))
    how = tuple(chosen[o] for o in ("encoding", "bits", "group", "form", "min_snr", "search"))
    inner = torch._dynamo.lookup_backend(chosen["inner"])

    def make(weights):
        return {name: weight for name, (weight, _) in quantize(weights, rule).items()}

    places, reasons = _linears(graph_module, example_inputs, rule, chosen["select"])
    if reasons:
        few = "; ".join(sorted({f"{n}: {why}" for n, why in reasons.items()})[:3])
        warnings.warn(f"qlinear: {len(reasons)} linears stay as they are: {few}", stacklevel=2)
    if not places:
        return inner(graph_module, example_inputs)
    made = packed([example_inputs[i] for i in places], how, make)
    encodings = tuple(p.encoding for p in made)
    replaced = _replaced(graph_module, places, made, chosen["activations"])
    inputs = list(example_inputs)
    for i, p in zip(places, made):
        inputs[i] = p.data
    compiled = {encodings: inner(replaced, inputs)}
    _log.info("%d weights of a graph are packed", len(places))

    def run(*arguments):
        made = packed([arguments[i] for i in places], how, make)
        encodings = tuple(p.encoding for p in made)
        if encodings not in compiled:
            # Other weights in the same graph, which chose others: without the inner backend.
            compiled[encodings] = _replaced(graph_module, places, made, chosen["activations"])
        arguments = list(arguments)
        for i, p in zip(places, made):
            arguments[i] = p.data
        return compiled[encodings](*arguments)

    return run


def _calls(graph):
    """Linears of a graph: [(node, x, weight, bias)]."""
    for node in graph.nodes:
        if node.op == "call_function" and node.target in _LINEARS:
            named = dict(zip(("input", "weight", "bias"), node.args), **node.kwargs)
            yield node, named["input"], named["weight"], named.get("bias")


def _linears(graph_module, example_inputs, rule, select):
    """(places of weights among the inputs, {weight's name: why it stays})."""
    graph = graph_module.graph
    placeholders = [n for n in graph.nodes if n.op == "placeholder"]
    index = {node: i for i, node in enumerate(placeholders)}
    casts = any(
        n.op == "call_function" and n.target is torch.amp.autocast_mode._enter_autocast
        for n in graph.nodes
    )
    places, reasons = [], {}
    calls = list(_calls(graph))
    for weight in dict.fromkeys(w for _, _, w, _ in calls):
        if weight not in index or not isinstance(
            example_inputs[index[weight]], torch.nn.Parameter
        ):
            continue  # not a weight, but a value
        value = example_inputs[index[weight]]
        if select and not select(value):
            continue
        users = {node for node, _, w, _ in calls if w is weight}
        others = set(weight.users) - users
        if type(value) is not torch.nn.Parameter or value.dtype not in SAFETENSORS:
            why = f"it is a {type(value).__name__} of {value.dtype}"
        elif others or any(weight in (x, b) for _, x, w, b in calls if w is weight):
            why = "something else uses its weight, too"
        elif casts or torch.is_autocast_enabled(value.device.type):
            why = "autocast is on"
        elif torch.is_grad_enabled() and value.requires_grad:
            why = "its weight is trained; use torch.no_grad(), or requires_grad_(False)"
        else:
            why = "it is empty" if value.numel() == 0 else None
            why = why or rule.declines(_Weight(value))
        if why:
            reasons[weight.name] = why
        else:
            places.append(index[weight])
    return places, reasons


class _Weight:
    """What Rule.declines() looks at of a layer."""

    def __init__(self, weight):
        self.weight = weight


def _replaced(graph_module, places, made, activations):
    """A copy of the graph with calls of torch.ops.qlinear.linear."""
    graph_module = torch.fx.GraphModule(graph_module, copy.deepcopy(graph_module.graph))
    placeholders = [n for n in graph_module.graph.nodes if n.op == "placeholder"]
    packs = {placeholders[i]: p for i, p in zip(places, made)}
    for node, x, weight, bias in list(_calls(graph_module.graph)):
        if weight not in packs:
            continue
        p = packs[weight]
        node.target = torch.ops.qlinear.linear.default
        node.args, node.kwargs = (x, weight, bias, p.encoding, p.n, activations), {}
    for placeholder in packs:
        placeholder.meta = {}  # it was of the weight
    graph_module.recompile()
    return graph_module
