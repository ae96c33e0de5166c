# ===- __init__.py - Compiled quantized linear layers in Python ---*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Compiled quantized linear layers.

    artifact = qlinear.compile("layer.mlir", target="cpu")
    module = qlinear.load(artifact, weights="model.safetensors", device="cpu")
    y = module.linear(x)                       # numpy, torch, DLPack, ...

`qlinear.nn` has a drop-in for torch.nn.Linear; docs/python.md is the guide.
"""

from . import _abi
from ._abi import ArgumentError, Error, device, find_tool
from .archive import Archive, PackedWeight
from .compiler import CompileError, cache_folder, compile, pack
from .module import Artifact, Function, Module, Spec, load
from .parts import merge, packed_bytes, rows, split

__version__ = (_abi.PACKAGE / "VERSION").read_text().strip()
__all__ = [
    "Archive",
    "ArgumentError",
    "Artifact",
    "CompileError",
    "Error",
    "Function",
    "Module",
    "PackedWeight",
    "Spec",
    "cache_folder",
    "compile",
    "device",
    "find_tool",
    "load",
    "merge",
    "nn",
    "pack",
    "packed_bytes",
    "rows",
    "split",
]


def runtime_version():
    """The version of the runtime's library that is in use."""
    return _abi.library().qlr_version().decode()


def __getattr__(name):
    # qlinear.nn needs torch; qlinear alone does not.
    if name == "nn":
        import importlib

        return importlib.import_module("qlinear.nn")
    raise AttributeError(f"module 'qlinear' has no attribute '{name}'")
