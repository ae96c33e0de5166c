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

import collections
import functools
import re

import torch
from transformers.quantizers.auto import register_quantization_config, register_quantizer
from transformers.quantizers.base import HfQuantizer
from transformers.utils.quantization_config import QuantizationConfigMixin

from ._abi import Error
from ._checkpoint import Layouts, layouts_of
from ._layer import Linear
from ._parallel import STYLES, ParallelLinear, divide, fill, head_dim, wildcard
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
        for names in (state, state.embeddings, state.sources):
            for name in list(names):
                names.setdefault(_renamed(name, renamings), names[name])
            for name in list(names):
                names.setdefault(name.removeprefix(prefix), names[name])
                names.setdefault(prefix + name, names[name])
        swap_linears(model, empty=state)
        self._sources, self._plan = state.sources, None
        self._name_styles(model)

    def _name_styles(self, model):
        """Gives the packed layers of the model's tp_plan styles of their own, until they are
        loaded: whether it is followed is not known yet."""
        plan = getattr(model, "tp_plan", None)
        if not plan or not _styles():
            return
        names = collections.defaultdict(list)
        for name, module in model.named_modules():
            if isinstance(module, Linear):
                names[wildcard(name)].append((name, module))
        self._plan = dict(plan)
        for key in plan.keys() & names.keys():
            if plan[key] not in STYLES:
                continue
            plan[key] = f"qlinear_{plan[key]}"
            for name, module in names[key]:
                module._in_plan = name, head_dim(model, name)
            # The loader does not fill those that are divided.
            tensors = re.escape(key).replace(r"\*", r"\d+") + r"\.(packed|layout)$"
            known = model._keys_to_ignore_on_load_unexpected
            model._keys_to_ignore_on_load_unexpected = {*(known or ()), tensors}

    def _process_model_after_weight_loading(self, model, **kwargs):
        if self.pre_quantized:
            self._divide(model)
        elif (getattr(model, "_tp_size", None) or 1) > 1:
            raise Error(
                "a float model is not packed while it is divided among processes (tp_plan); pack "
                "it first: from_pretrained(quantization_config=) and save_pretrained() in one "
                "process"
            )
        else:
            options = dict(self.quantization_config)
            options.pop("quant_method")
            swap_linears(model, **options)

    def _divide(self, model):
        """Reads the parts of this process. Undoes _name_styles()."""
        if self._plan is not None:
            model.tp_plan = self._plan
        divided = (getattr(model, "_tp_size", None) or 1) > 1
        for name, module in model.named_modules():
            module.__dict__.pop("_in_plan", None)
            if isinstance(module, ParallelLinear):
                part, key = self._sources[name]
                fill(module, part[key])
                self._is_divided = True
            elif isinstance(module.__dict__.get("_head"), ParallelLinear):
                raise Error(
                    f"'{name}' reads rows of its head's packed weight, of which each process has a "
                    "part; pack with tied='head'"
                )
            elif isinstance(module, Linear) and divided and "forward" in module.__dict__:
                raise Error(
                    f"'{name}' is packed, and tp_plan= has a style for it; only the model's own "
                    'plan, tp_plan="auto", of transformers 5.17 or later divides packed layers'
                )
        self._sources = None

    def is_serializable(self):
        if getattr(self, "_is_divided", False):
            raise Error(
                "each process has a part of the model, and no process can save it; the folder that "
                "it was loaded from has the whole"
            )
        return True

    @property
    def is_trainable(self):
        return True  # adapters around it

    @property
    def is_compileable(self):
        return True


@functools.cache
def _styles():
    """Registers the styles of packed layers; None where transformers has no place for them."""
    try:
        from transformers.distributed.tensor_parallel import (
            ALL_PARALLEL_STYLES,
            TensorParallelLayer,
        )
    except ImportError:  # an earlier version
        return None

    class Style(TensorParallelLayer):
        """Of one style: packed layers get a part, others what transformers does."""

        def __init__(self, style):
            self.style = style

        def validate_param(self, module, param, mesh, parameter_name=None):
            others = ALL_PARALLEL_STYLES[self.style]
            others.validate_param(module, param, mesh, parameter_name=parameter_name)

        def shard_param(self, module, param, mesh):
            ALL_PARALLEL_STYLES[self.style].shard_param(module, param, mesh)

        def install_forward(self, module, mesh):
            if not isinstance(module, Linear):
                return ALL_PARALLEL_STYLES[self.style].install_forward(module, mesh)
            name, head_dim = module._in_plan
            divide(module, name, self.style, mesh, head_dim)
            return module

    for style in STYLES:
        ALL_PARALLEL_STYLES.register(f"qlinear_{style}", Style(style))
    return STYLES


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
