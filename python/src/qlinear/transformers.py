# ===- transformers.py - from_pretrained() of packed models ---------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Makes transformers know models after qlinear.nn.swap_linears(): save_pretrained() says in
config.json that they are packed, and once this module is imported, from_pretrained() makes
packed layers for them.

import qlinear.transformers
model = AutoModelForCausalLM.from_pretrained(folder)
"""

import torch
from transformers.quantizers.auto import register_quantization_config, register_quantizer
from transformers.quantizers.base import HfQuantizer
from transformers.utils.quantization_config import QuantizationConfigMixin

from ._abi import Error
from ._checkpoint import Layouts, layouts_of
from ._swap import swap_linears

METHOD = "qlinear"


@register_quantization_config(METHOD)
class QLinearConfig(QuantizationConfigMixin):
    """Options of swap_linears(), for from_pretrained(quantization_config=QLinearConfig(...))
    of a float model. In a saved one they say nothing: its tensors do."""

    def __init__(self, **options):
        options.pop("quant_method", None)
        self.quant_method = METHOD
        self.__dict__.update(options)


@register_quantizer(METHOD)
class QLinearQuantizer(HfQuantizer):
    requires_calibration = False

    def _process_model_before_weight_loading(self, model, checkpoint_files=None, **kwargs):
        if not self.pre_quantized:
            return
        if not checkpoint_files:
            raise Error("from_pretrained() names no files; load a state_dict by load_state_dict()")
        state = Layouts()
        with torch.device("cpu"):  # the model is made on the meta device
            for file in checkpoint_files:
                state.add(layouts_of(file, may_be_none=True))
        # A model without its head, or the head around it, has the same names less the prefix.
        prefix, renamings = f"{model.base_model_prefix}.", _renamings(model)
        for names in (state, state.embeddings):
            for name in list(names):
                names.setdefault(_renamed(name, renamings), names[name])
            for name in list(names):
                names.setdefault(name.removeprefix(prefix), names[name])
                names.setdefault(prefix + name, names[name])
        swap_linears(model, empty=state)

    def _process_model_after_weight_loading(self, model, **kwargs):
        if not self.pre_quantized:
            options = dict(self.quantization_config)
            options.pop("quant_method")
            swap_linears(model, **options)

    def is_serializable(self):
        return True

    @property
    def is_trainable(self):
        return True  # adapters around it

    @property
    def is_compileable(self):
        return True


def _renamings(model):
    """How a model's tensors are called in files, if not as in the model: since transformers 5."""
    try:
        from transformers.conversion_mapping import get_model_conversion_mapping
        from transformers.core_model_loading import WeightRenaming
    except ImportError:
        return []
    return [t for t in get_model_conversion_mapping(model) if isinstance(t, WeightRenaming)]


def _renamed(layer, renamings):
    key = f"{layer}.packed"
    for renaming in renamings:
        key = renaming.rename_source_key(key)[0]
    return key.removesuffix(".packed")


def untie(model):
    """Notes in the configurations of the models of transformers in `model` that the head is no
    more the embedding."""
    from transformers import PreTrainedModel

    for module in model.modules():
        if isinstance(module, PreTrainedModel):
            module.config.tie_word_embeddings = False
            module.config.get_text_config().tie_word_embeddings = False
    for module in model.modules():
        if hasattr(module, "all_tied_weights_keys"):  # since transformers 5
            module.all_tied_weights_keys = module.get_expanded_tied_weights_keys(all_submodels=True)


def mark(model):
    """Notes in the configurations of the models of transformers in `model` that they are packed,
    so that save_pretrained() says so."""
    from transformers import PreTrainedModel

    if isinstance(model, PreTrainedModel):
        model.config.quantization_config = QLinearConfig()
        return
    for child in model.children():
        mark(child)
