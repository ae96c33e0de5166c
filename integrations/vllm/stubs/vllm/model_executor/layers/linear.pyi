from typing import Any

import torch

from .quantization.base_config import QuantizeMethodBase

class LinearMethodBase(QuantizeMethodBase):
    def create_weights(
        self,
        layer: torch.nn.Module,
        input_size_per_partition: int,
        output_partition_sizes: list[int],
        input_size: int,
        output_size: int,
        params_dtype: torch.dtype,
        **extra_weight_attrs: Any,
    ) -> Any: ...
    def apply(
        self, layer: torch.nn.Module, x: torch.Tensor, bias: torch.Tensor | None = None
    ) -> torch.Tensor: ...

class UnquantizedLinearMethod(LinearMethodBase): ...

class LinearBase(torch.nn.Module): ...
