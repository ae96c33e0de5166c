# ===- _arrays.py - Arrays of other libraries as tensors of the ABI -*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""numpy arrays, PyTorch tensors, and whatever speaks DLPack or has a
`__cuda_array_interface__`, looked at without a copy."""

import ctypes
import math
import sys

import numpy

from . import _abi


class View:
    """Memory of an array: `pointer`, `dtype` under the manifest's name (or the library's
    own name, if the runtime has no such type), `shape`, `device` ("cpu", "cuda:0"), and
    whether it is `contiguous` (row-major, no holes) and `writable`. `kind` is "numpy",
    "torch" or "other"; `keep` is what owns the memory."""

    __slots__ = ("pointer", "dtype", "shape", "device", "contiguous", "writable", "kind", "keep")

    def __init__(self, pointer, dtype, shape, device, contiguous, writable, kind, keep):
        self.pointer, self.dtype, self.shape, self.device = pointer, dtype, shape, device
        self.contiguous, self.writable, self.kind, self.keep = contiguous, writable, kind, keep

    def tensor(self, shape):
        """As a qlr_tensor of that shape."""
        sizes = (ctypes.c_int64 * 4)(*shape[:4])
        return _abi.Tensor(self.pointer, _abi.DTYPES[self.dtype][0], len(shape), sizes)


_NUMPY = {
    "float32": "f32",
    "float16": "f16",
    "bfloat16": "bf16",
    "int8": "i8",
    "int32": "i32",
    "uint8": "u8",
}
# DLPack: (type code, bits).
_DLPACK = {
    (2, 32): "f32",
    (2, 16): "f16",
    (4, 16): "bf16",
    (0, 8): "i8",
    (0, 32): "i32",
    (1, 8): "u8",
}
_INTERFACE = {"<f4": "f32", "<f2": "f16", "|i1": "i8", "<i1": "i8", "<i4": "i32", "|u1": "u8"}
_torch_types = {}


def torch_types():
    """{torch dtype: name}, and {name: torch dtype}."""
    if not _torch_types:
        import torch

        for name, dtype in {
            "f32": torch.float32,
            "f16": torch.float16,
            "bf16": torch.bfloat16,
            "i8": torch.int8,
            "i32": torch.int32,
            "u8": torch.uint8,
        }.items():
            _torch_types[dtype] = name
            _torch_types[name] = dtype
    return _torch_types


def is_torch(value):
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _is_contiguous(shape, strides):
    """`strides` in elements."""
    expected = 1
    for size, stride in zip(reversed(shape), reversed(strides)):
        if size != 1 and stride != expected:
            return False
        expected *= size
    return True


def _of_torch(x, what):
    import torch

    if x.requires_grad and torch.is_grad_enabled():
        raise _abi.ArgumentError(
            f"{what} requires a gradient, which compiled functions do not have; call them under "
            "torch.no_grad(), or pass x.detach()"
        )
    device = x.device
    if x.layout is not torch.strided or device.type not in ("cpu", "cuda"):
        raise _abi.ArgumentError(
            f"{what} is a {x.layout} tensor on {device}; dense tensors on cpu and cuda are possible"
        )
    name = "cpu" if device.type == "cpu" else f"cuda:{device.index}"
    dtype = torch_types().get(x.dtype, str(x.dtype))
    return View(x.data_ptr(), dtype, tuple(x.shape), name, x.is_contiguous(), True, "torch", x)


def _of_numpy(x):
    native = x.dtype.isnative
    dtype = _NUMPY.get(x.dtype.name, x.dtype.name) if native else str(x.dtype)
    return View(
        x.ctypes.data, dtype, x.shape, "cpu", x.flags.c_contiguous, x.flags.writeable, "numpy", x
    )


class _DLTensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


_get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_get_pointer.restype, _get_pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
_DL_CPU, _DL_CUDA, _DL_CUDA_HOST, _DL_CUDA_MANAGED = 1, 2, 3, 13


def _of_dlpack(x, what, stream):
    kind, index = (int(v) for v in x.__dlpack_device__())
    if kind in (_DL_CUDA, _DL_CUDA_MANAGED):
        # The producer makes its work so far visible to our stream; 1 is the default one.
        capsule = x.__dlpack__(stream=stream or 1)
        device = f"cuda:{index}"
    elif kind in (_DL_CPU, _DL_CUDA_HOST):
        capsule, device = x.__dlpack__(), "cpu"
    else:
        raise _abi.ArgumentError(
            f"{what} is on DLPack device {kind}; cpu (1) and CUDA (2) are possible"
        )
    # The capsule is not consumed: it frees the tensor when `keep` drops it.
    tensor = _DLTensor.from_address(_get_pointer(capsule, b"dltensor"))
    shape = tuple(tensor.shape[: tensor.ndim])
    strides = tensor.strides[: tensor.ndim] if tensor.strides else None
    dtype = _DLPACK.get((tensor.code, tensor.bits)) if tensor.lanes == 1 else None
    return View(
        (tensor.data or 0) + tensor.byte_offset,
        dtype or f"DLPack type {tensor.code} of {tensor.bits} bits",
        shape,
        device,
        strides is None or _is_contiguous(shape, strides),
        True,
        "other",
        (x, capsule),
    )


def _of_cuda_interface(x, what, device):
    interface = x.__cuda_array_interface__
    pointer, readonly = interface["data"]
    shape = tuple(interface["shape"])
    if interface.get("mask") is not None:
        raise _abi.ArgumentError(f"{what} is masked; pass a dense array")
    dtype = _INTERFACE.get(interface["typestr"], interface["typestr"])
    strides = interface.get("strides")
    size = _abi.DTYPES.get(dtype, (0, 1))[1]
    dense = strides is None or _is_contiguous(shape, [s / size for s in strides])
    # The interface does not name the device: the caller's, if that is a CUDA device.
    device = device if device.startswith("cuda") else "cuda:0"
    return View(pointer, dtype, shape, device, dense, not readonly, "other", x)


def view(x, what, device="cuda:0", stream=0):
    """Memory of `x`; `what` names it in errors. `device` is where an array with a
    `__cuda_array_interface__` lies, `stream` the CUDA stream that will read it."""
    if is_torch(x):
        return _of_torch(x, what)
    if isinstance(x, numpy.ndarray):
        return _of_numpy(x)
    if hasattr(x, "__dlpack__"):
        return _of_dlpack(x, what, stream)
    if hasattr(x, "__cuda_array_interface__"):
        return _of_cuda_interface(x, what, device)
    raise _abi.ArgumentError(
        f"{what} is of type {type(x).__name__}; pass a numpy array, a torch tensor, or an array "
        "with DLPack or __cuda_array_interface__"
    )


def numpy_dtype(name, what):
    """numpy's type; bf16 is that of ml_dtypes."""
    if name != "bf16":
        return numpy.dtype({v: k for k, v in _NUMPY.items()}[name])
    try:
        import ml_dtypes
    except ImportError:
        raise _abi.Error(
            f"{what} is bf16, which numpy gets from ml_dtypes; pip install ml_dtypes, or use "
            "torch tensors"
        ) from None
    return numpy.dtype(ml_dtypes.bfloat16)


def empty(shape, dtype, kind, device, what):
    """An array to write: "numpy" or "torch". Aligned to 64 bytes."""
    if kind == "torch":
        import torch

        return torch.empty(shape, dtype=torch_types()[dtype], device=device)
    if device != "cpu":
        raise _abi.ArgumentError(
            f"{what} has to be given: the inputs are neither numpy nor torch arrays, so pass an "
            f"array on {device} as out="
        )
    return aligned(shape, numpy_dtype(dtype, what))


def aligned(shape, dtype, alignment=64):
    """An uninitialised numpy array whose address is a multiple of `alignment` bytes."""
    size = math.prod(shape) * numpy.dtype(dtype).itemsize
    memory = numpy.empty(size + alignment, numpy.uint8)
    start = -memory.ctypes.data % alignment
    return memory[start : start + size].view(dtype).reshape(shape)
