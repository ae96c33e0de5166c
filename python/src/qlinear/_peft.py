# ===- _peft.py - LoRA of peft around packed layers -----------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""peft takes a class for a layer that it does not know from the configuration of LoRA."""

import copy

import peft
import torch

from ._abi import ArgumentError, Error
from ._heads import Heads
from ._layer import Linear


class LoraLinear(peft.tuners.lora.Linear):
    """LoRA around a packed layer."""

    def _get_base_layer_device_and_dtype(self, base_layer):
        return base_layer.packed.device, None

    def merge(self, safe_merge=False, adapter_names=None):
        raise Error(
            "an adapter cannot be merged into a packed weight; load it on the float model, merge "
            "there, and call swap_linears() on the result"
        )


def adapted(config, model):
    if not isinstance(config, peft.LoraConfig) or not hasattr(config, "_register_custom_module"):
        raise ArgumentError(
            f"config is a {type(config).__name__}; peft's LoraConfig is possible, of peft 0.14 or "
            "later: other adapters go on the float model, before swap_linears()"
        )
    if config.use_dora:
        raise ArgumentError(
            "DoRA reads the weight, which is packed; use_dora=False, or get_peft_model() on the "
            "float model and swap_linears() then, which leaves those layers as they are"
        )
    for name, module in model.named_modules():
        whole = any(f".{name}".endswith(f".{kept}") for kept in config.modules_to_save or ())
        if whole and any(isinstance(layer, Linear) for layer in module.modules()):
            raise ArgumentError(
                f"modules_to_save has '{name}', which is packed, and a packed weight is not "
                "trained; leave it as it is in swap_linears(select=), or have LoRA on it "
                "(target_modules)"
            )
    config = copy.deepcopy(config)
    if str(config.target_modules).lower() == "all-linear":
        heads = Heads(model)
        config.target_modules = {
            name
            for name, layer in model.named_modules()
            if isinstance(layer, (Linear, torch.nn.Linear)) and not heads.has(name, layer)
        }
    config._register_custom_module({Linear: LoraLinear})
    return config
