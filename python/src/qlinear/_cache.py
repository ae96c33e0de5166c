# ===- _cache.py - Static caches of keys and values ----------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""The caches that transformers' cache_implementation="static" makes have tensors (batch, heads,
tokens, columns of a head) for each layer, which stay where they are: a compiled function writes the
keys and values of its tokens there itself, where the layer's update() would, and the attention gets
a cache whose update() only says where they are. A cache of another kind takes part by a method

    qlinear_places(layer, x) -> (keys, values, places) or None

for the keys and values of x (batch, tokens, K) in layer number `layer`: the tensors (..., columns
of a head), dense, that they are written into and that the attention gets, and for each token and
head which of the rows of these it is, (batch, tokens, heads) of int32, or below 0 for none. No two
are the same. update() is not called then. With None it is, as before."""

import functools

import torch

from . import _ops
from ._abi import Error

try:
    from transformers import cache_utils as _known
except ImportError:  # then there is no model of it, either
    _known = None


def _layer_of(past, index):
    """The layer of a static cache, if it is one whose update() is known; else None."""
    if _known is None or not hasattr(_known, "StaticSlidingWindowLayer"):
        return None
    layers = getattr(past, "layers", None)
    if not isinstance(past, _known.Cache) or type(past).update is not _known.Cache.update:
        return None
    if past.offloading or not isinstance(index, int) or index >= len(layers):
        return None
    layer = layers[index]
    plain = type(layer) in (_known.StaticLayer, _known.StaticSlidingWindowLayer)
    return layer if plain else None


def _first_places(batch, tokens, heads, length, device):
    """The rows (batch, tokens, heads) of a cache that is empty, as a matrix of heads."""
    first = torch.arange(batch * heads, dtype=torch.int32, device=device) * length
    token = torch.arange(tokens, dtype=torch.int32, device=device)
    return first.view(batch, 1, heads) + token.view(1, tokens, 1)


_kept_places = functools.lru_cache(maxsize=64)(_first_places)


def _places(layer, batch, tokens, heads, device):
    # What is made while a graph is, is not there later.
    fresh = torch.compiler.is_compiling() or _ops.is_capturing(str(device))
    make = _first_places if fresh else _kept_places
    return make(batch, tokens, heads, layer.max_cache_len, device) + layer.cumulative_length


class Written:
    """Stands for a cache in an attention whose keys and values are in it already."""

    def __init__(self, cache, tensors):
        self.cache, self.tensors = cache, tensors

    def update(self, keys, values, layer_idx, *args, **kwargs):
        return self.tensors

    def __getattr__(self, name):
        return getattr(self.cache, name)


class Target:
    """Where a call's keys and values go: `caches`, and `places` in these. `layer` is that of a
    static cache, else None."""

    def __init__(self, past, caches, places, layer=None):
        self.layer, self.caches, self.places = layer, list(caches), places
        self.seen = Written(past, tuple(caches))

    def advance(self, tokens):
        """What update() does besides writing."""
        if self.layer is None:
            return
        self.layer.cumulative_length.add_(tokens)
        if hasattr(self.layer, "cumulative_length_int"):
            self.layer.cumulative_length_int += tokens


def _check_room(past, index, layer, tokens):
    """What is past a layer's end would not be written. On a GPU, and where a graph is made, only
    the device knows how many tokens there are: it stops there, as it does in update(). One layer
    speaks for all that count alike."""
    if layer.keys.device.type == "cpu" and not torch.compiler.is_compiling():
        have = int(layer.cumulative_length)
        if have + tokens > layer.max_cache_len:
            raise Error(
                f"a static cache of {layer.max_cache_len} tokens has {have}, and gets {tokens} "
                "more; make its max_cache_len larger"
            )
        return
    alike = (i for i, other in enumerate(past.layers) if type(other) is type(layer))
    if index == next(alike):
        fits = layer.cumulative_length <= layer.max_cache_len - tokens
        says = "a static cache gets more tokens than it has room for; make its max_cache_len larger"
        torch._assert_async(fits, says)


def target_of(past, index, x, heads, head):
    """The Target for `heads` heads of `head` columns of keys and of values, for the rows of x
    (batch, tokens, K); None where the attention has to update the cache."""
    # What is written in place has no derivative.
    if torch.is_grad_enabled() or x.dim() != 3:
        return None
    if hasattr(past, "qlinear_places"):
        found = past.qlinear_places(index, x)
        return None if found is None else Target(past, found[:2], found[2])
    layer = _layer_of(past, index)
    if layer is None:
        return None
    batch, tokens, _ = x.shape
    if getattr(layer, "cumulative_length_int", 0) + tokens > layer.max_cache_len:
        return None  # a window that moves on, or what update() refuses
    if batch * heads * layer.max_cache_len >= 1 << 31 or tokens == 0:
        return None
    if not layer.is_initialized:
        like = x[..., :1].expand(batch, tokens, heads * head)
        like = like.view(batch, tokens, heads, head).transpose(1, 2)
        layer.lazy_initialization(like, like)
    want = batch, heads, layer.max_cache_len, head
    for cache in (layer.keys, layer.values):
        fits = tuple(cache.shape) == want and cache.dtype == x.dtype and cache.device == x.device
        if not fits or not cache.is_contiguous():
            return None
    if layer.cumulative_length.device != x.device:
        return None
    _check_room(past, index, layer, tokens)
    places = _places(layer, batch, tokens, heads, x.device)
    return Target(past, (layer.keys, layer.values), places, layer)
