# ===- _checkpoint.py - Layouts of packed layers in checkpoints ----*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Which layers of a saved model are packed, and how: for making empty ones of their sizes."""

import json
import math
import pathlib

import torch

from ._abi import ArgumentError, Error
from ._layer import _bytes


class Layouts(dict):
    """{name of a layer: (bytes of its layout, size of its packed weight)}; `embeddings` is {name
    of an embedding: name of the layer whose rows it reads}, `sources` {name of a layer: (what
    has its packed weight, of a file mapped, and under which name)}."""

    def __init__(self, *items):
        super().__init__(*items)
        self.embeddings, self.sources = {}, {}

    def add(self, other):
        self.update(other)
        self.embeddings.update(other.embeddings)
        self.sources.update(other.sources)


def layouts_of(source, may_be_none=False):
    """The Layouts of a state_dict, or of a file or folder that has one. Error if there are
    none, unless there may."""
    if isinstance(source, Layouts):
        return source
    texts, sizes, embeddings, sources = {}, {}, {}, {}
    for part in [source] if hasattr(source, "keys") else _parts(pathlib.Path(source)):
        of_file = isinstance(part, _Safetensors)
        for name in part:
            layer, _, key = name.rpartition(".")
            if key == "layout":
                texts[layer] = _bytes(part[name], name)
            elif key == "rows_of":
                embeddings[layer] = _bytes(part[name], name).decode()
            elif key == "packed":
                sizes[layer] = math.prod(part.shape(name) if of_file else part[name].shape)
                sources[layer] = part, name
    found = Layouts((layer, (texts[layer], sizes[layer])) for layer in texts if layer in sizes)
    found.embeddings, found.sources = embeddings, sources
    if not found and not may_be_none:
        raise Error(
            "the checkpoint has no packed layers ('NAME.packed' and 'NAME.layout'); it is not of "
            "a model after swap_linears()"
        )
    return found


class _Safetensors:
    """A file of safetensors; tensors are read as they are asked for."""

    def __init__(self, path):
        try:
            from safetensors import safe_open
        except ImportError:
            raise Error(
                f"'{path}' needs safetensors, which is not installed; pip install safetensors"
            ) from None
        self.file = safe_open(path, framework="pt")

    def __iter__(self):
        return iter(self.file.keys())

    def shape(self, name):
        return self.file.get_slice(name).get_shape()

    def __getitem__(self, name):
        return self.file.get_tensor(name)


def _parts(path):
    """The state_dicts of a file, an index, or a folder."""
    if path.is_dir():
        files = sorted(path.glob("*.safetensors")) or sorted(path.glob("*.bin"))
        if not files:
            raise Error(f"'{path}' has neither .safetensors nor .bin files", "NOT_FOUND")
    elif path.name.endswith(".index.json"):
        index = json.loads(path.read_text())
        files = [path.parent / name for name in sorted(set(index["weight_map"].values()))]
    else:
        files = [path]
    for file in files:
        if not file.is_file():
            raise Error(f"there is no file '{file}'", "NOT_FOUND")
        if file.suffix == ".safetensors":
            yield _Safetensors(file)
        else:
            state = torch.load(file, map_location="cpu", mmap=True, weights_only=True)
            if not hasattr(state, "keys"):
                raise ArgumentError(f"'{file}' holds a {type(state).__name__}, not a state_dict")
            yield state
