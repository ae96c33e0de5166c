from collections.abc import Callable
from typing import TypeVar

from .base_config import QuantizationConfig

_C = TypeVar("_C", bound=type[QuantizationConfig])

def register_quantization_config(quantization: str) -> Callable[[_C], _C]: ...
