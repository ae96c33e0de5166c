# ===- _reads.py - Which modules read their children's weights -----*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""A module may read `self.out_proj.weight` instead of calling out_proj: to hand it to a fused
function (torch.nn.MultiheadAttention) or to look at its type (T5). Such a linear has to keep
its weight. Or it looks at the type of `next(self.parameters())`, of which there has to be one.
What a forward reads is in its bytecode."""

import dis
import functools
import inspect

import torch

_MODULE = torch.nn.Module.to.__code__.co_filename


def reader_of(model, name, known=lambda module: False):
    """The class of the module above `name` whose forward reads the weight of `name`, or None;
    modules that are `known` do not."""
    parts = name.split(".")
    for depth in range(len(parts)):
        parent = model.get_submodule(".".join(parts[:depth]))
        if known(parent):
            continue
        below = tuple(parts[depth:])
        for of_self, chain in _chains(type(parent))[0]:
            if below == chain if of_self else below[-len(chain) :] == chain:
                return type(parent).__name__
    return None


def asked_by(module):
    """The modules whose parameters() the forward of `module` asks for: itself, or some in it."""
    for of_self, chain in _chains(type(module))[1]:
        if of_self:
            try:
                yield module.get_submodule(".".join(chain))
            except AttributeError:
                pass


@functools.cache
def _chains(cls):
    """What the forward of a class, and the methods it calls, read a `.weight` of: {(whether
    it is of self, attributes)}, such as (True, ("attention", "out")); (False, (name,)) is of
    a local variable, which may be called as its attribute is. And the same of what they read
    `.parameters` of; self alone is (True, ())."""
    found, asked, seen, methods = set(), set(), set(), ["forward"]
    while methods:
        function = inspect.getattr_static(cls, methods.pop(), None)
        function = getattr(function, "fget", None) or getattr(function, "__func__", function)
        function = inspect.unwrap(function) if callable(function) else None
        codes = [getattr(function, "__code__", None)]
        while codes:
            code = codes.pop()
            # What torch.nn.Module itself does with a name that a tensor has too is not meant.
            if not inspect.iscode(code) or code in seen or code.co_filename == _MODULE:
                continue
            seen.add(code)
            codes += code.co_consts
            methods += code.co_names
            for attribute, *read in _read_in(code):
                (found if attribute == "weight" else asked).add(tuple(read))
    return frozenset(found), frozenset(asked)


def _read_in(code):
    chain, of_self, local = [], False, None
    for instruction in dis.get_instructions(code):
        operation, value = instruction.opname, instruction.argval
        if operation in ("LOAD_ATTR", "LOAD_METHOD"):
            if value == "weight" and (chain or local):
                yield value, of_self, tuple(chain) or (local,)
            elif value in ("parameters", "named_parameters") and of_self:
                yield value, of_self, tuple(chain)
            chain.append(value)
        elif operation != "EXTENDED_ARG":
            last = value[-1] if isinstance(value, tuple) and value else value
            is_local = operation.startswith("LOAD_FAST")
            chain, of_self = [], is_local and last == "self"
            local = last if is_local and last != "self" else None
