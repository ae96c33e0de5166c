# ===- _native.py - torch.ops.qlinear in C++ ------------------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""libQLinearTorch.so (runtime/torch), whose operators run without Python. It lies beside the
runtime's library, if that was built where PyTorch is. Without it, or with QLINEAR_TORCH_OPS=python,
the operators are those of _ops.py and _blocks.py, which do the same.

Here is what it asks Python for: the kernels that calls need, and what the error was."""

import ctypes
import os
import pathlib
import threading

import torch

from . import _abi
from ._abi import Error

_NAME = "libQLinearTorch.so"


class _Request(ctypes.Structure):
    """qlr_torch_request."""

    _fields_ = [
        ("text", ctypes.c_char_p),
        ("encoding", ctypes.c_char_p),
        ("n", ctypes.c_int64),
        ("k", ctypes.c_int64),
        ("dtype", ctypes.c_char_p),
        ("bias", ctypes.c_char_p),
        ("activations", ctypes.c_char_p),
        ("batch_invariant", ctypes.c_int32),
        ("device", ctypes.c_char_p),
    ]


_FINDER = ctypes.CFUNCTYPE(
    ctypes.c_void_p, ctypes.POINTER(_Request), ctypes.POINTER(ctypes.c_char_p)
)


def _load():
    wanted = os.environ.get("QLINEAR_TORCH_OPS", "")
    if wanted not in ("", "python", "native"):
        raise Error(f"QLINEAR_TORCH_OPS is {wanted!r}; it is python, native or not set")
    # One that a program has loaded by itself has registered them already.
    loaded = [path for path in torch.ops.loaded_libraries if path.endswith(_NAME)]
    if wanted == "python" and not loaded:
        return None
    path = loaded[0] if loaded else str(pathlib.Path(_abi.library_path()).absolute().parent / _NAME)
    try:
        torch.ops.load_library(path)
        found = ctypes.CDLL(path)
    except OSError as problem:
        if wanted == "native":
            raise Error(
                f"QLINEAR_TORCH_OPS is native, but {path} cannot be loaded: "
                f"{problem.__cause__ or problem}; build QLinear where PyTorch 2.10 or later is",
                "NOT_FOUND",
            ) from None
        return None
    found.qlr_torch_last_error.restype = ctypes.c_char_p
    return found


#: The library, or None.
library = _load()
_thread = threading.local()
_kept = []  # what the library calls


def use(linear_for, block_for):
    """The functions that give a Kernel by its key and a block by text and device."""

    def find(request, message):
        try:
            r = request.contents
            device = r.device.decode()
            if r.text is not None:
                return block_for(r.text.decode(), device).module.handle.value
            bias = None if r.bias is None else r.bias.decode()
            key = r.encoding.decode(), r.n, r.k, r.dtype.decode(), bias, r.activations.decode()
            return linear_for(*key, device).module.handle.value
        except BaseException as problem:  # C++ is in between: translated() raises it
            _thread.problem, _thread.text = problem, str(problem).encode()
            message[0] = _thread.text
            return None

    _kept.append(_FINDER(find))
    library.qlr_torch_set_finder(_kept[-1])


def set_host(name):
    if library is not None:
        library.qlr_torch_set_host(name.encode())


def set_batch_invariant(enabled):
    if library is not None:
        library.qlr_torch_set_batch_invariant(int(enabled))


def translated(problem):
    """What an operator ended with, for the RuntimeError that torch has made of it."""
    if library is None:
        return problem
    status = ctypes.c_int()
    text = (library.qlr_torch_last_error(ctypes.byref(status)) or b"").decode()
    found, _thread.problem = getattr(_thread, "problem", None), None
    if not text or text not in str(problem):  # another error
        return problem
    return _abi.error_of(status.value, text) if found is None else found
