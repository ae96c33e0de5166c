# ===- _heads.py - The output heads of a model ----------------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Which linears of a model are its output heads, and which of these are its embedding."""

# Last parts of names, outside of numbered blocks.
_HEADS = frozenset(
    "lm_head output output_layer output_projection out_head embed_out unembed head heads score "
    "classifier classification_head logits lm_logits vocab_proj proj_vocab fc_out decoder_head "
    "prediction_head generator".split()
)


class Heads:
    """The output heads of a model."""

    def __init__(self, model):
        #: Those that the model names, by id: whether its configuration ties them.
        self.named = {}
        for module in model.modules():
            head = _output_of(module)
            if head is not None:
                self.named[id(getattr(head, "base_layer", head))] = _is_tied(module)

    def has(self, name, layer):
        path = [p for p in name.split(".") if p not in ("base_layer", "default")]
        by_name = path[-1] in _HEADS and not any(p.isdigit() for p in path)
        return by_name or id(layer) in self.named

    def is_tied(self, layer):
        return self.named.get(id(layer), False)


def _output_of(module):
    """What a model of transformers says is its output head, or None."""
    if not callable(getattr(type(module), "get_output_embeddings", None)):
        return None
    try:
        return module.get_output_embeddings()
    except (AttributeError, NotImplementedError):
        return None


def _is_tied(module):
    config = getattr(module, "config", None)
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    return bool(getattr(text, "tie_word_embeddings", False))
