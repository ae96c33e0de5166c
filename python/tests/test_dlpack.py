# ===- test_dlpack.py - DLPack through the C ABI ------------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Tensors as numpy and PyTorch export them, passed to qlr_call_dlpack as they are: their
writers, not ours, say where each field of the struct lies."""

import ctypes

import layers
import numpy as np
import pytest
import qlinear
from qlinear import _abi

capsule_pointer = ctypes.pythonapi.PyCapsule_GetPointer
capsule_pointer.restype = ctypes.c_void_p
capsule_pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]


def makers():
    yield "numpy", lambda array: array
    try:
        import torch
    except ImportError:
        return
    yield "torch", torch.from_numpy


MAKERS = dict(makers())


@pytest.fixture(scope="module")
def module(tmp_path_factory):
    archive = layers.pack(tmp_path_factory.mktemp("mixed"), layers.MIXED_WEIGHTS)
    return qlinear.load(layers.compiled(layers.MIXED, "cpu"), archive)


def call(module, name, inputs, outputs):
    """qlr_call_dlpack; a capsule named "dltensor" holds a DLManagedTensor, whose first field is
    the DLTensor."""
    lib = ctypes.CDLL(_abi.library_path())  # with types of its own
    pointers, keep = [], []
    for tensors in (inputs, outputs):
        capsules = [t.__dlpack__() for t in tensors]
        keep += capsules
        addresses = [capsule_pointer(c, b"dltensor") for c in capsules]
        pointers.append((ctypes.c_void_p * len(addresses))(*addresses))
    function = module[name]
    with function.workspace(32, 0, False) as workspace:
        status = lib.qlr_call_dlpack(
            ctypes.c_void_p(module.handle.value), ctypes.c_int32(function.index),
            ctypes.c_void_p(workspace), pointers[0], ctypes.c_int32(len(inputs)), pointers[1],
            ctypes.c_int32(len(outputs)), None, ctypes.c_int32(0), None,
        )  # fmt: skip
    if status:
        lib.qlr_last_error.restype = ctypes.c_char_p
        return lib.qlr_last_error().decode()
    return None


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())
def test_equals_the_other_entry(module, make):
    rng = np.random.default_rng(5)
    x = layers.random(rng, (1, 96))
    y = np.full((1, 48), np.nan, np.float32)
    assert call(module, "one", [make(x)], [make(y)]) is None
    np.testing.assert_array_equal(y, module.one(x))
    # int8 codes, rows in the middle of a larger array, and other rows left alone.
    x = layers.random(rng, (7, 96))
    codes = np.zeros((9, module.codes(x).shape[1]), np.int8)
    assert call(module, "codes", [make(x)], [make(codes[1:8])]) is None
    np.testing.assert_array_equal(codes[1:8], module.codes(x))
    assert not codes[[0, 8]].any()
    # 16-bit inputs, several results; numpy has no bf16 of its own.
    x = layers.random(rng, (5, 96), "f16")
    results = [np.full((5, n), np.nan, np.float32) for n in (48, 16, 16)]
    want = "output 0 of 'qkv' is f32, but it was compiled for f16"
    assert call(module, "qkv", [make(x)], [make(r) for r in results]) == want
    if make is not MAKERS["numpy"]:
        import torch

        outputs = [torch.zeros(r.shape, dtype=t) for r, t in zip(results, (
            torch.float16, torch.float32, torch.bfloat16))]  # fmt: skip
        assert call(module, "qkv", [make(x)], outputs) is None
        for have, want in zip(outputs, module.qkv(make(x))):
            assert torch.equal(have, want) and have.any()


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())
def test_what_does_not_fit(module, make):
    rng = np.random.default_rng(6)
    x = layers.random(rng, (5, 96))
    codes = np.zeros((5, module.codes(x).shape[1]), np.int8)
    wide = np.zeros((5, 200), np.float32)
    for message, bad in {
        "input 0 of 'codes' is not row-major without holes": wide[:, :96],
        "input 0 of 'codes' is float64, but functions take": x.astype(np.float64),
        "input 0 of 'codes' is i32, but it was compiled for f32": x.astype(np.int32),
        "input 0 of 'codes' has the shape [96, 5], but": np.ascontiguousarray(x.T),
    }.items():
        assert message in call(module, "codes", [make(bad)], [make(codes)])
    assert "output 0 of 'codes' is uint8" in call(
        module, "codes", [make(x)], [make(codes.view(np.uint8))]
    )
    assert not codes.any()
