# ===- _rotary.py - Rotary embeddings in compiled functions --------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""The attentions of transformers call a function of their module, apply_rotary_pos_emb, in some
ten kernels. A compiled function does it in one, with the linears before. So that the attention
does not do it again, it gets a copy of its forward: the same code, in whose globals that name is
apply() below."""

import threading
import types

import torch

from ._ops import _TYPES

_NAME = "apply_rotary_pos_emb"

#: Of each thread inside of an optimized layer's attention: whether its q and k are rotated.
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


@torch.no_grad()
def head_of(attention):
    """Columns of a head whose rotary embeddings are known, by what they compute, and come right
    after the linears; else None."""
    head = getattr(attention, "head_dim", None)
    forward = _forward_of(attention)
    between = any(hasattr(attention, name) for name in ("q_norm", "k_norm"))
    if forward is None or between or not isinstance(head, int) or head % 2:
        return None
    generator = torch.Generator().manual_seed(2)
    q, k, cos, sin = (
        torch.randn(2, *lead, 3, head, generator=generator) for lead in ((3,), (1,), (), ())
    )
    try:
        have = forward.__globals__[_NAME](q, k, cos, sin)
    except Exception:
        return None
    for x, y in zip((q, k), have):
        low, high = x.chunk(2, dim=-1)
        want = x * cos[:, None] + torch.cat([-high, low], dim=-1) * sin[:, None]
        if y.shape != want.shape or not torch.allclose(y, want, rtol=1e-5, atol=1e-6):
            return None
    return head


def install(attention):
    """Makes the attention leave q and k alone where they are rotated."""
    forward = _forward_of(attention)
    known = forward.__globals__[_NAME]

    def apply(q, k, *args, **kwargs):
        return (q, k) if done.get(thread()) else known(q, k, *args, **kwargs)

    # A snapshot of the module's globals: its other functions are the same objects.
    names = {**forward.__globals__, _NAME: apply}
    copy = _copied(type(attention).forward, names)
    copy.leaves_rotated = True
    attention.forward = types.MethodType(copy, attention)


def is_installed(attention):
    """Whether its forward is still what install() made: nobody has replaced or wrapped it."""
    return hasattr(attention.__dict__.get("forward"), "leaves_rotated")


def tables_of(head, x, attention, embeddings):
    """The cosines and sines (..., head) for the rows of x (..., K); () if these are none for
    whole heads in the type of x, and the attention applies what there is."""
    if not head or not is_installed(attention):
        return ()
    if not isinstance(embeddings, (tuple, list)) or len(embeddings) != 2:
        return ()
    lead = x.shape[:-1]
    for table in embeddings:
        fits = isinstance(table, torch.Tensor) and table.dim() == x.dim()
        fits = fits and table.dtype == x.dtype and table.dtype in _TYPES
        if not fits or table.shape[-1] != head or table.device != x.device:
            return ()
        if any(have not in (1, want) for have, want in zip(table.shape, lead)):
            return ()
    return tuple(table.expand(*lead, head).contiguous() for table in embeddings)
