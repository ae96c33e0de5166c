# ===- jax.py - Compiled functions in JAX ---------------------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Functions of an artifact as functions of JAX, in jax.jit, on its CPUs and CUDA devices.

    import jax, qlinear.jax

    up = qlinear.jax.function("layer.so", "up_proj", weights="model.safetensors")
    y = jax.jit(lambda x: jax.nn.silu(up(x)))(x)

libQLinearJax.so (integrations/jax) is what XLA calls; it lies beside the runtime's library,
if that was built where jaxlib is."""

import ctypes
import functools
import math
import os
import pathlib

import jax
import numpy as np

from . import _abi
from ._abi import ArgumentError, Error
from .module import Artifact, Spec, _matrix, _text

_NAME = "libQLinearJax.so"
_TARGET = "qlinear_call"
_DTYPES = {"f32": "float32", "f16": "float16", "bf16": "bfloat16", "i8": "int8", "i32": "int32"}


@functools.cache
def _register():
    path = pathlib.Path(_abi.library_path()).absolute().parent / _NAME
    try:
        library = ctypes.CDLL(str(path))
    except OSError as problem:
        raise Error(
            f"cannot load {path}: {problem}; build QLinear where jaxlib is "
            "(-DQLINEAR_JAXLIB_DIR=...)",
            "NOT_FOUND",
        ) from None
    for platform, symbol in (("cpu", "qlinear_jax_cpu"), ("CUDA", "qlinear_jax_cuda")):
        capsule = jax.ffi.pycapsule(getattr(library, symbol))
        jax.ffi.register_ffi_target(_TARGET, capsule, platform=platform)


def _stamp(path):
    """What changes when another file takes this one's place; as Modules.cpp writes it."""
    if not path:
        return ""
    s = os.stat(path)
    return f"{s.st_dev} {s.st_ino} {s.st_size} {s.st_mtime_ns}"


def function(artifact, name, weights=None, device="cpu"):
    """A function of an artifact, to be called with arrays of JAX.

    artifact: a path, or what compile() returned. name: the function's.
    weights: a packed archive (path); None if the artifact has its own.
    device: what runs on JAX's CPUs: "cpu" (all cores), "cpu:4" (threads), or "emulated". On a
        CUDA device JAX's own is used, and its stream.

    The function takes arrays of exactly the types that it was compiled for; where it takes a
    matrix, all dimensions but the last are rows, also in its results. It can be part of
    jax.jit, and jax.vmap; it has no derivative. The files are loaded when it first runs, once
    for the process, and have to be those of when it was traced. Raises Error if the artifact
    has no such function, and, when called, ArgumentError, which names the argument.
    """
    _register()
    artifact = artifact if isinstance(artifact, Artifact) else Artifact(artifact)
    entries = [f for t in artifact.manifest["targets"] for f in t["functions"] if f["name"] == name]
    if not entries:
        names = {f["name"] for t in artifact.manifest["targets"] for f in t["functions"]}
        raise Error(
            f"'{artifact.path}' has no function '{name}'; it has {', '.join(sorted(names))}",
            "NOT_FOUND",
        )
    inputs, outputs = (
        [Spec(t["dtype"], tuple(t["shape"])) for t in entries[0][kind]]
        for kind in ("inputs", "outputs")
    )
    if any(s.shape[0] == -2 for s in inputs):
        raise Error(
            f"'{name}' writes caches among its arguments, and arrays of JAX are never written; "
            "call it from PyTorch, numpy or C, or compile a function without caches"
        )
    files = [os.path.abspath(artifact.path), os.path.abspath(weights) if weights else ""]

    def call(*arrays):
        lead = _lead(name, inputs, arrays)
        results = [_result(s, lead, entries[0].get("rows", 1)) for s in outputs]
        # Rows can be added in front; other inputs are the same for all of them.
        by_rows = all(s.shape[0] == -1 for s in inputs)
        foreign = jax.ffi.ffi_call(
            _TARGET, results, vmap_method="broadcast_all" if by_rows else "sequential"
        )
        values = foreign(
            *arrays, artifact=files[0], weights=files[1], stamps=",".join(map(_stamp, files)),
            function=name, device=device,
        )  # fmt: skip
        return values[0] if len(values) == 1 else tuple(values)

    call.__name__ = name
    return call


def _lead(name, specs, arrays):
    """The dimensions before the last of the first input that has rows; checks the inputs."""
    if len(arrays) != len(specs):
        raise ArgumentError(f"'{name}' takes {len(specs)} arrays, not {len(arrays)}")
    lead = None
    for i, (array, spec) in enumerate(zip(arrays, specs)):
        what, have = f"input {i} of '{name}'", np.shape(array)
        dtype = np.dtype(getattr(array, "dtype", type(array))).name
        if dtype != _DTYPES[spec.dtype]:
            raise ArgumentError(
                f"{what} is {dtype}, but the function was compiled for {_DTYPES[spec.dtype]}; "
                "convert it with astype"
            )
        shape = _matrix(have, spec.shape)
        if len(shape) != len(spec.shape) or any(
            w not in (-1, h) for h, w in zip(shape, spec.shape)
        ):
            raise ArgumentError(
                f"{what} has the shape {have}, but the function takes {_text(spec.shape)}"
            )
        if spec.shape[0] == -1:
            lead = have[:-1] if lead is None else lead
            if math.prod(lead) != shape[0]:
                raise ArgumentError(
                    f"{what} has {shape[0]} rows, but the input before it has {math.prod(lead)}; "
                    "all arguments of a call share M"
                )
    return lead


def _result(spec, lead, rows):
    shape = list(spec.shape)
    if shape[0] == -1:
        shape = [*(lead if lead is not None else (rows,)), *shape[1:]]
    return jax.ShapeDtypeStruct(shape, _DTYPES[spec.dtype])
