# ===- qlinear_vllm.py - Packed weights in vLLM ----------------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""A plugin of vLLM: linears of a model run on compiled kernels with weights of an archive of
quant-pack. It is checked against vLLM's interfaces by mypy, and has not been run.

vLLM puts weights that share an input into one layer (qkv_proj, gate_up_proj), and cuts layers into
parts of ranks; here both is done with the packed weights (qlinear.merge, qlinear.parts.cut)."""

from __future__ import annotations

import os
from typing import Any

import qlinear
import qlinear.nn
import torch
from qlinear.parts import cut
from vllm.distributed import (
    get_tensor_model_parallel_rank,
    get_tensor_model_parallel_world_size,
)
from vllm.model_executor.layers.linear import (
    LinearBase,
    LinearMethodBase,
    UnquantizedLinearMethod,
)
from vllm.model_executor.layers.quantization import register_quantization_config
from vllm.model_executor.layers.quantization.base_config import (
    QuantizationConfig,
    QuantizeMethodBase,
)

METHOD = "qlinear"


@register_quantization_config(METHOD)
class QLinearConfig(QuantizationConfig):
    """`"quantization_config"` of a model's config.json:

    {"quant_method": "qlinear", "archive": "model.packed.safetensors", "activations": "int8"}

    archive: what `quant-pack --names=hf` wrote, in the model's folder or an absolute path.
    """

    def __init__(self, archive: str, activations: str = "int8") -> None:
        super().__init__()
        self.path, self.activations = archive, activations
        self._archive: qlinear.Archive | None = None

    @property
    def archive(self) -> qlinear.Archive:
        if self._archive is None:
            self._archive = qlinear.Archive(self.path)
        return self._archive

    def get_name(self) -> str:
        return METHOD

    def get_supported_act_dtypes(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16, torch.float32]

    @classmethod
    def get_min_capability(cls) -> int:
        return 80

    @staticmethod
    def get_config_filenames() -> list[str]:
        return []

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> QLinearConfig:
        return cls(
            cls.get_from_keys(config, ["archive"]),
            cls.get_from_keys_or(config, ["activations"], "int8"),
        )

    def maybe_update_config(
        self, model_name: str, hf_config: Any = None, revision: str | None = None
    ) -> None:
        """vLLM says here which model it is: the archive lies in its folder."""
        self.path = os.path.join(model_name, self.path)  # an absolute path stays

    def weights_of(self, prefix: str) -> list[qlinear.PackedWeight]:
        """The packed weights of a layer, in the order of its parts; none if it is not packed."""
        folder, _, last = prefix.rpartition(".")
        parts = self.packed_modules_mapping.get(last, [last])
        names = [f"{folder}.{part}" if folder else part for part in parts]
        found = [self.archive.weights.get(f"{name}.weight") for name in names]
        packed = [weight for weight in found if weight is not None]
        if packed and len(packed) < len(found):
            missing = [name for name, weight in zip(names, found) if weight is None]
            raise ValueError(
                f"'{prefix}' is one layer here, but {', '.join(missing)} is not packed in "
                f"'{self.path}', and its other parts are; pack all of them, or none"
            )
        return packed

    def get_quant_method(
        self, layer: torch.nn.Module, prefix: str
    ) -> QuantizeMethodBase | None:
        if not isinstance(layer, LinearBase):
            return None
        weights = self.weights_of(prefix)
        if not weights:
            return UnquantizedLinearMethod()
        return QLinearMethod(weights, self.activations)


class QLinearMethod(LinearMethodBase):
    """A layer's linears with the packed weights of its parts."""

    def __init__(self, weights: list[qlinear.PackedWeight], activations: str) -> None:
        self.weights, self.activations = weights, activations

    def create_weights(
        self,
        layer: torch.nn.Module,
        input_size_per_partition: int,
        output_partition_sizes: list[int],
        input_size: int,
        output_size: int,
        params_dtype: torch.dtype,
        **extra_weight_attrs: Any,
    ) -> None:
        """Cuts what this rank computes out of the archive. The loader of vLLM, which brings the
        whole tensors later, has nothing to do."""
        rank, size = get_tensor_model_parallel_rank(), get_tensor_model_parallel_world_size()
        if len(self.weights) != len(output_partition_sizes):
            raise ValueError(
                f"the layer has {len(output_partition_sizes)} parts, and {len(self.weights)} "
                "packed weights"
            )
        parts = [
            part_of(weight, n, input_size_per_partition, rank, size)
            for weight, n in zip(self.weights, output_partition_sizes)
        ]
        # Parts of one encoding are one weight and one kernel.
        if len({part.encoding for part in parts}) == 1:
            parts = [qlinear.merge(parts)]
        layer.qlinear_parts = [(part.encoding, part.n) for part in parts]
        for i, part in enumerate(parts):
            blob = torch.from_numpy(part.blob.copy()).to(torch.get_default_device())
            layer.register_buffer(f"qlinear_packed_{i}", blob, persistent=False)
        weight = torch.nn.Parameter(torch.empty(0, dtype=params_dtype), requires_grad=False)
        weight.weight_loader = lambda *_, **__: None
        layer.register_parameter("weight", weight)
        self.weights = []

    def apply(
        self, layer: torch.nn.Module, x: torch.Tensor, bias: torch.Tensor | None = None
    ) -> torch.Tensor:
        parts = layer.qlinear_parts
        biases = [bias] if bias is None or len(parts) == 1 else bias.split([n for _, n in parts])
        results = [
            torch.ops.qlinear.linear(
                x, getattr(layer, f"qlinear_packed_{i}"),
                None if bias is None else biases[i], encoding, n, self.activations,
            )
            for i, (encoding, n) in enumerate(parts)
        ]  # fmt: skip
        return results[0] if len(results) == 1 else torch.cat(results, -1)


def part_of(
    weight: qlinear.PackedWeight, n: int, k: int, rank: int, ranks: int
) -> qlinear.PackedWeight:
    """The rows and columns of a weight that a rank has: n of its rows, k of its columns. Where
    fewer ranks than there are would have all rows (heads of keys), neighbours have the same."""
    if weight.n % n or weight.k % k or (weight.n // n) * (weight.k // k) > ranks:
        raise ValueError(
            f"'{weight.name}' is {weight.n} x {weight.k}; {ranks} ranks cannot have {n} x {k} each"
        )
    if k < weight.k:
        return cut(weight, rank * k, (rank + 1) * k, "columns")
    index = rank // (ranks // (weight.n // n))
    return weight if n == weight.n else cut(weight, index * n, (index + 1) * n, "rows")


def register() -> None:
    """The entry point `vllm.general_plugins`; importing has registered the configuration."""
