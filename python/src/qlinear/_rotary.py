# ===- _rotary.py - Rotary embeddings in compiled functions --------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""The attentions of transformers call a function of their module, apply_rotary_pos_emb, in some
ten kernels, and some call norms of q and k before it, and of v, in seven each. A compiled function
does it all in one, after the linears. So that the attention does not do it again, it gets a copy of
its forward: the same code, in whose globals that name is apply() below; and the norms return what
they get, that of values which are the keys what the function has made of these."""

import inspect
import threading
import types

import torch

from ._ops import _TYPES

_NAME = "apply_rotary_pos_emb"
#: The norms of q and k, if there are, and that of v, which has no scale.
_NORMS = "q_norm", "k_norm"
_VALUE_NORM = "v_norm"
#: Where normalized values come from: a linear of their own, or that of the keys.
OWN, KEYS = "own", "keys"

#: Of each thread inside of an optimized layer's attention: None where its q and k are not rotated,
#: or else the values where these are made from the keys, or ().
done = {}


def thread():
    """What tells this thread from others; one while torch.compile traces."""
    return 0 if torch.compiler.is_compiling() else threading.get_ident()


def _cell_of(function):
    """The index of the cell of a decorated function that has what is decorated."""
    found = []
    for i, cell in enumerate(function.__closure__ or ()):
        try:
            found += [i] if cell.cell_contents is function.__wrapped__ else []
        except ValueError:  # it is empty
            pass
    return found[0] if len(found) == 1 else None


def _forward_of(attention):
    """The function that calls apply_rotary_pos_emb in the attention's forward, which may be
    decorated; None if that cannot be copied."""
    function = type(attention).forward
    while isinstance(function, types.FunctionType):
        if not hasattr(function, "__wrapped__"):
            named = _NAME in function.__code__.co_names and _NAME in function.__globals__
            return function if named and "forward" not in attention.__dict__ else None
        if _cell_of(function) is None:
            return None
        function = function.__wrapped__
    return None


def _copied(function, names):
    """A copy, with what it decorates, whose innermost function has other globals."""
    closure = function.__closure__
    if hasattr(function, "__wrapped__"):
        cells = list(closure)
        cells[_cell_of(function)] = types.CellType(_copied(function.__wrapped__, names))
        names, closure = function.__globals__, tuple(cells)
    code, defaults = function.__code__, function.__defaults__
    copy = types.FunctionType(code, names, function.__name__, defaults, closure)
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


def norms_of(attention):
    """The norms of q and k, or ()."""
    modules = attention._modules
    return tuple(modules[name] for name in _NORMS if modules.get(name) is not None)


def _value_norm(attention, epsilon):
    """The norm of v, if there is one without a scale and with this epsilon."""
    module = getattr(attention, _VALUE_NORM, None)
    is_plain = isinstance(module, torch.nn.Module) and "forward" not in vars(module)
    if not is_plain or list(module.parameters()):
        return None
    x = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(3))
    # Small ones tell how much is added to the mean of their squares.
    x[1] *= epsilon**0.5
    want = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + epsilon)
    try:
        have = module(x)
    except Exception:
        return None
    return module if have.shape == x.shape and torch.allclose(have, want, rtol=1e-4) else None


def _takes_one(function):
    """Whether it takes one tensor, and is called twice, rather than q and k."""
    return list(inspect.signature(function).parameters)[:3] == ["x", "cos", "sin"]


@torch.no_grad()
def heads_of(attention, norm_of):
    """(columns of a head, its norm or None, and OWN or KEYS where values are normalized, or None)
    where rotary embeddings are known, by what they compute, and come right after the linears or
    norms of heads; else None. `norm_of` says of a module what norm it is, or None."""
    head = getattr(attention, "head_dim", None)
    forward = _forward_of(attention)
    if forward is None or not isinstance(head, int) or head % 2:
        return None
    norm, norms = None, norms_of(attention)
    if any(getattr(attention, n, None) is not None for n in _NORMS) and not norms:
        return None  # no modules
    if norms:
        if not all(isinstance(n, torch.nn.Module) and "forward" not in vars(n) for n in norms):
            return None
        norm, *others = [norm_of(n) for n in norms]
        if norm is None or others != [norm] or any(len(n.weight) != head for n in norms):
            return None
    generator = torch.Generator().manual_seed(2)
    q, k, cos, sin = (
        torch.randn(2, *lead, 3, head, generator=generator) for lead in ((3,), (1,), (), ())
    )
    known = forward.__globals__[_NAME]
    try:
        one = _takes_one(known)
        have = [known(v, cos, sin) for v in (q, k)] if one else known(q, k, cos, sin)
    except Exception:
        return None
    for x, y in zip((q, k), have):
        low, high = x.chunk(2, dim=-1)
        want = x * cos[:, None] + torch.cat([-high, low], dim=-1) * sin[:, None]
        if y.shape != want.shape or not torch.allclose(y, want, rtol=1e-5, atol=1e-6):
            return None
    has_values = getattr(attention, "v_proj", None) is not None
    values = None
    if norm is not None and _value_norm(attention, norm[0]) is not None:
        values = OWN if has_values else KEYS
    return (head, norm, values) if has_values or values else None


def _norm_forward(self, x):
    return type(self).forward(self, x) if done.get(thread()) is None else x


def _value_norm_forward(self, x):
    values = done.get(thread())
    if values is None:
        return type(self).forward(self, x)
    return x if isinstance(values, tuple) else values.view(x.shape)


for _replaced in (_norm_forward, _value_norm_forward):
    _replaced.leaves_rotated = True


def _parts(attention, heads):
    """The modules whose forward is replaced: `heads` is heads_of()."""
    values = (getattr(attention, _VALUE_NORM),) if heads[2] else ()
    return (attention, *norms_of(attention), *values)


def install(attention, heads):
    """Makes the attention leave q, k and v alone where the function has done it."""
    forward = _forward_of(attention)
    known = forward.__globals__[_NAME]

    def apply(q, k, *args, **kwargs):
        return known(q, k, *args, **kwargs) if done.get(thread()) is None else (q, k)

    def apply_to_one(x, *args, **kwargs):
        return known(x, *args, **kwargs) if done.get(thread()) is None else x

    # A snapshot of the module's globals: its other functions are the same objects.
    names = {**forward.__globals__, _NAME: apply_to_one if _takes_one(known) else apply}
    copy = _copied(type(attention).forward, names)
    copy.leaves_rotated = True
    attention.forward = types.MethodType(copy, attention)
    for norm in norms_of(attention):
        norm.forward = types.MethodType(_norm_forward, norm)
    if heads[2]:
        norm = getattr(attention, _VALUE_NORM)
        norm.forward = types.MethodType(_value_norm_forward, norm)


def undo(attention, heads):
    """Takes back what is left of install()."""
    for module in _parts(attention, heads):
        if _is_ours(module):
            del module.forward


def _is_ours(module):
    """Whether its forward is what install() made: nobody has replaced or wrapped it."""
    return hasattr(module.__dict__.get("forward"), "leaves_rotated")


def is_installed(attention, heads):
    return all(map(_is_ours, _parts(attention, heads)))


def tables_of(heads, x, attention, embeddings):
    """The cosines and sines (..., head) for the rows of x (..., K); () if these are none for
    whole heads in the type of x, and the attention applies what there is. `heads` is heads_of()."""
    if not heads or not is_installed(attention, heads):
        return ()
    head = heads[0]
    if not isinstance(embeddings, (tuple, list)) or len(embeddings) != 2:
        return ()
    if x.dtype not in _TYPES:
        return ()
    want, device = (*x.shape[:-1], head), x.device
    found = []
    for table in embeddings:
        fits = isinstance(table, torch.Tensor) and table.dtype == x.dtype
        if not fits or table.device != device:
            return ()
        shape = tuple(table.shape)
        if shape != want:
            if len(shape) != len(want) or shape[-1] != head:
                return ()
            if any(have not in (1, size) for have, size in zip(shape, want)):
                return ()
            table = table.expand(want)
        found.append(table.contiguous())
    return tuple(found)
