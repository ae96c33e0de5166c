# ===- _names.py - Names of an archive's weights -------------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Which weight of an archive is a layer's. Archives of GGUF files have llama.cpp's names, and
for the models of some architectures its order of the rows of the query and key projections:
quant-pack has the tables of both, and brings them to those of transformers."""

import collections
import re
import tempfile

import torch

from . import compiler
from ._abi import ArgumentError, Error
from .archive import Archive

# Rows of these are in llama.cpp's order, if its converter changes it for the architecture.
_ROTATED = re.compile(r"blk\.\d+\.attn_[qk](\.weight)?")


class Names:
    """The weights of an archive for the layers of a model. `names` is a function, None, or
    "auto", as of swap_linears()."""

    def __init__(self, model, archive, names):
        if names is not None and names != "auto" and not callable(names):
            raise ArgumentError(
                f"names is {names!r}; it is a function from a layer's name to the archive's, "
                'None, or "auto"'
            )
        self.is_auto = names == "auto"
        self.of_transformers = any(
            type(module).__module__.startswith("transformers") for module in model.modules()
        )
        if self.is_auto:
            _check_heads(model, archive)
            archive = _renamed(archive)
            self.names = {n.removesuffix(".weight"): n for n in archive.tensors}
            self.names.update({n.removesuffix(".weight"): n for n in archive.weights})
            linears = [
                _own(name)
                for name, module in model.named_modules()
                if isinstance(module, torch.nn.Linear)
            ]
            self.prefixes = _prefixes(linears, self.names)
        self.archive, self.name_of = archive, str if names in (None, "auto") else names

    def find(self, name):
        """The PackedWeight of a layer. With "auto", a reason instead where there is none."""
        if not self.is_auto:
            weight = self.archive.find(self.name_of(name))
            if self.of_transformers and self._is_rotated(weight):
                raise Error(
                    f"the rows of '{weight.name}' of '{self.archive.path}' are in the order of "
                    "llama.cpp, whose converter permutes those of attn_q and attn_k for Llama and "
                    f"its kin, and not in that of transformers' '{name}'; use names=\"auto\", or "
                    "pack the GGUF file with quant-pack --names=hf",
                    "BAD_WEIGHTS",
                )
            return weight
        before, behind = self.prefixes
        own = _own(name)
        own = behind + own[len(before) :] if own.startswith(before) else None
        if own not in self.names:
            return f"the archive has no weight {own or _own(name)!r}"
        return self.archive.weights.get(self.names[own], "the archive has it in floats")

    def note(self, weight):
        """What a user has to know of a weight, or nothing."""
        if self.is_auto or not self._is_rotated(weight):
            return ""
        return "its rows are in the order of llama.cpp, for rotary embeddings of neighbours"

    def _is_rotated(self, weight):
        if not _ROTATED.fullmatch(weight.name) or self.archive.model.get("names") == "hf":
            return False
        return self.archive.model.get("permuted", True)


def _own(name):
    """Without what wrappers put into names: torch.compile, peft."""
    return ".".join(p for p in name.split(".") if p not in ("_orig_mod", "base_layer"))


def _prefixes(layers, weights):
    """What all names of layers, and of weights, have in front: for a model inside another, or
    for the part of one. That of most layers, so that no layer takes another's weight."""
    votes = collections.Counter({("", ""): 0})
    for layer in layers:
        for weight in weights:
            if f".{layer}".endswith(f".{weight}"):
                votes[layer[: len(layer) - len(weight)], ""] += 1
            elif weight.endswith(f".{layer}"):
                votes["", weight[: len(weight) - len(layer)]] += 1
    return votes.most_common(1)[0][0]


def _check_heads(model, archive):
    """Refuses an archive of a model with other heads."""
    config = getattr(model, "config", None)
    config = config.get_text_config() if hasattr(config, "get_text_config") else config
    for key, name in (("heads", "num_attention_heads"), ("kv_heads", "num_key_value_heads")):
        have, want = archive.model.get(key), getattr(config, name, None)
        if have is not None and want is not None and have != want:
            raise Error(
                f"'{archive.path}' is of a model with {key} = {have}, but the model has {name} = "
                f"{want}; it is another model's",
                "BAD_WEIGHTS",
            )


def _renamed(archive):
    """The archive with the names and rows of transformers."""
    is_gguf = any(name.startswith("blk.") for name in (*archive.weights, *archive.tensors))
    if not is_gguf or archive.model.get("names") == "hf":
        return archive
    with tempfile.TemporaryDirectory() as work:
        options = ["--names=hf"]
        compiler.pack(archive.path, f"{work}/renamed", encoding={}, options=options)
        renamed = Archive(f"{work}/renamed")  # mapped: it may go
    renamed.path = archive.path
    return renamed
