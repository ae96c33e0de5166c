# ===- _weights.py - Packed copies of tensors -----------------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Packed copies of weights that stay where they are: each is made once, lives as long as its
tensor, and is made again when that was changed."""

import collections
import threading

import torch
from torch.utils.weak import WeakIdKeyDictionary

#: `data`, uint8 on the device of the weight; its encoding; N.
Packed = collections.namedtuple("Packed", "data encoding n")

_copies = WeakIdKeyDictionary()  # tensor -> {how: (stamp, Packed)}
_lock = threading.RLock()


def _stamp(weight):
    """What changes when the weight does. A change in place by `weight.data` is not seen, as
    autograd does not see it."""
    names = weight.__tensor_flatten__()[0] if hasattr(weight, "__tensor_flatten__") else ()
    parts = [getattr(weight, name) for name in names] or [weight]
    return tuple((p.data_ptr(), 0 if p.is_inference() else p._version) for p in parts)


def packed(weights, how, make):
    """A list of Packed of `weights`. make({name: tensor}) gives {name: PackedWeight} of those that
    are new or were changed; `how` tells apart what different calls of it give."""
    with _lock:
        stamps = [_stamp(w) for w in weights]
        found = [_copies.get(w, {}).get(how) for w in weights]
        new = {
            str(i): w
            for i, (w, stamp, have) in enumerate(zip(weights, stamps, found))
            if have is None or have[0] != stamp
        }
        for name, made in (make(new) if new else {}).items():
            weight, stamp = new[name], stamps[int(name)]
            data = torch.empty(len(made.blob), dtype=torch.uint8, device="cpu")
            data.numpy()[:] = made.blob
            entry = stamp, Packed(data.to(weight.device), made.encoding, made.n)
            _copies.setdefault(weight, {})[how] = found[int(name)] = entry
        return [entry[1] for entry in found]
