# ===- _abi.py - The runtime's C ABI through ctypes ---------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Declarations of qlinear-runtime/runtime.h, handles that close themselves, and where
the runtime's library and the compiler's tools are found. ctypes releases the GIL
during every call."""

import ctypes
import functools
import importlib.machinery
import importlib.util
import os
import pathlib
import shutil
import threading
import weakref

PACKAGE = pathlib.Path(__file__).resolve().parent
ABI = 1  # QLR_ABI_VERSION of what is declared below
LIBRARY = f"libQLinearRuntime.so.{ABI}"


class Error(RuntimeError):
    """What the runtime, the packer or the compiler reports; `status` is the runtime's
    name of it ("NO_DEVICE", "BAD_WEIGHTS", ...) or None."""

    def __init__(self, message, status=None):
        super().__init__(message)
        self.status = status


class ArgumentError(Error, ValueError):
    """An argument that does not fit: its shape, type, device or memory layout."""


STATUS = [
    "OK",
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "BAD_ARTIFACT",
    "BAD_WEIGHTS",
    "NO_DEVICE",
    "OUT_OF_MEMORY",
    "DEVICE_ERROR",
    "DEVICE_LOST",
]
# Element types under the manifest's names: the ABI's number, and bytes.
DTYPES = {"f32": (0, 4), "f16": (1, 2), "bf16": (2, 2), "i8": (3, 1), "i32": (4, 4)}


class Tensor(ctypes.Structure):
    """qlr_tensor."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("dtype", ctypes.c_int),
        ("rank", ctypes.c_int32),
        ("shape", ctypes.c_int64 * 4),
    ]


class Blob(ctypes.Structure):
    """qlr_blob."""

    _fields_ = [("data", ctypes.c_void_p), ("bytes", ctypes.c_size_t)]


def _prefixes():
    """Where an installation may lie: (how to name it in messages, path), best first."""
    home = os.environ.get("QLINEAR_HOME")
    if home:
        yield f"QLINEAR_HOME ({home})", pathlib.Path(home)
    yield "this package", PACKAGE
    # <prefix>/lib/python/qlinear, as `cmake --install` puts it.
    if PACKAGE.parent.name == "python":
        yield "the installation of this package", PACKAGE.parents[2]


def find_tool(name):
    """Path of a tool of the compiler (quant-compile, quant-pack). Looks below
    QLINEAR_HOME, in this package and its installation, then on PATH."""
    looked = []
    for label, prefix in _prefixes():
        if os.access(path := prefix / "bin" / name, os.X_OK):
            return str(path)
        looked.append(label)
    if found := shutil.which(name):
        return found
    raise Error(
        f"{name} was not found in {', '.join(looked)}, nor on PATH; install QLinear's compiler "
        "(cmake --install) and set QLINEAR_HOME to its prefix, or put its bin/ on PATH",
        "NOT_FOUND",
    )


def library_path():
    """Where the runtime's library lies, or its name, which the loader looks for."""
    return _find_library()[0]


def _find_library():
    """(path of the runtime's library, where else it was looked for)."""
    looked = []
    for label, prefix in _prefixes():
        for folder in ("lib", "lib64", f"lib/{os.uname().machine}-linux-gnu"):
            if (path := prefix / folder / LIBRARY).exists():
                return str(path), looked
        looked.append(label)
    if tool := shutil.which("quant-compile"):
        prefix = pathlib.Path(tool).resolve().parents[1]
        if (path := prefix / "lib" / LIBRARY).exists():
            return str(path), looked
    return LIBRARY, looked  # the loader's own search


_SIGNATURES = {
    "qlr_device_open": ("status", ["char*", "out"]),
    "qlr_device_close": (None, ["ptr"]),
    "qlr_device_target": ("char*", ["ptr"]),
    "qlr_alloc": ("status", ["ptr", "size", "out"]),
    "qlr_free": (None, ["ptr", "ptr"]),
    "qlr_upload": ("status", ["ptr", "ptr", "ptr", "size", "ptr"]),
    "qlr_synchronize": ("status", ["ptr", "ptr"]),
    "qlr_artifact_open": ("status", ["char*", "out"]),
    "qlr_artifact_close": (None, ["ptr"]),
    "qlr_artifact_manifest": ("char*", ["ptr"]),
    "qlr_module_load": ("status", ["ptr", "ptr", "char*", "out"]),
    "qlr_module_load_checked": ("status", ["ptr", "ptr", "char*", "out"]),
    "qlr_module_unload": (None, ["ptr"]),
    "qlr_module_set_weight": ("status", ["ptr", "char*", "ptr", "size"]),
    "qlr_module_target": ("char*", ["ptr"]),
    "qlr_function_index": ("int", ["ptr", "char*"]),
    "qlr_workspace_create": ("status", ["ptr", "int", "int64", "out"]),
    "qlr_workspace_destroy": (None, ["ptr"]),
    "qlr_workspace_bytes": ("status", ["ptr", "int", "int64", "size*"]),
    "qlr_workspace_create_in": ("status", ["ptr", "int", "int64", "ptr", "size", "ptr", "out"]),
    "qlr_call": ("status", ["ptr", "int", "ptr", "tensor*", "int", "tensor*", "int", "ptr"]),
    "qlr_call_with_weights": (
        "status",
        ["ptr", "int", "ptr", "tensor*", "int", "tensor*", "int", "blob*", "int", "ptr"],
    ),
    "qlr_packed_bytes": ("status", ["char*", "int64", "int64", "size*"]),
    "qlr_packed_slice": (
        "status",
        ["char*", "int64", "int64", "blob", "int64", "int64", "int64", "int64", "ptr", "size"],
    ),
    "qlr_packed_concat": (
        "status",
        ["char*", "int", "int64", "int64*", "blob*", "int", "ptr", "size"],
    ),
    "qlr_packed_rows": ("status", ["char*", "int64", "int64", "blob", "int64*", "int64", "ptr"]),
    "qlr_last_error": ("char*", []),
    "qlr_version": ("char*", []),
    "qlr_abi_version": ("int", []),
    "qlr_cache_folder": ("char*", []),
    "qlr_checksum": ("status", ["ptr", "size", "char*"]),
}
_TYPES = {
    None: None,
    "status": ctypes.c_int,
    "int": ctypes.c_int32,
    "int64": ctypes.c_int64,
    "size": ctypes.c_size_t,
    "ptr": ctypes.c_void_p,
    "char*": ctypes.c_char_p,
    "out": ctypes.POINTER(ctypes.c_void_p),
    "size*": ctypes.POINTER(ctypes.c_size_t),
    "int64*": ctypes.POINTER(ctypes.c_int64),
    "tensor*": ctypes.POINTER(Tensor),
    "blob": Blob,
    "blob*": ctypes.POINTER(Blob),
}


@functools.cache
def library():
    """The runtime's library; its functions raise Error where they fail."""
    path, looked = _find_library()
    try:
        lib = ctypes.CDLL(path)
    except OSError as problem:
        where = f"; it is not in {', '.join(looked)}" if path == LIBRARY else ""
        raise Error(
            f"cannot load {path}: {problem}{where}; install QLinear and set QLINEAR_HOME to its "
            "prefix, or install this package with its libraries (pip install ./python)",
            "NOT_FOUND",
        ) from None
    for name, (result, arguments) in _SIGNATURES.items():
        try:
            function = getattr(lib, name)
        except AttributeError:
            raise Error(
                f"{path} has no {name}: it is older than this package; install both from one "
                "version of QLinear",
                "NOT_FOUND",
            ) from None
        function.argtypes = [_TYPES[a] for a in arguments]
        function.restype = _TYPES[result]
        if result == "status":
            function.errcheck = check
    if (has := lib.qlr_abi_version()) != ABI:
        raise Error(
            f"{path} has version {has} of the runtime's ABI, and this package is for {ABI}; "
            "install both from one version of QLinear",
            "NOT_FOUND",
        )
    return lib


@functools.cache
def extension(name, variable):
    """The module `name` in C++ (python/native), which does what Python would do; or None. It
    lies beside the runtime's library, if that was built with it. Where the environment's
    `variable` is "python", it is left alone; with "native" it has to be there."""
    wanted = os.environ.get(variable, "")
    if wanted not in ("", "python", "native"):
        raise Error(f"{variable} is {wanted!r}; it is python, native or not set")
    if wanted == "python":
        return None
    path = pathlib.Path(library_path()).absolute().parent / f"qlinear{name}.abi3.so"
    loader = importlib.machinery.ExtensionFileLoader(f"qlinear.{name}", str(path))
    try:
        module = importlib.util.module_from_spec(
            importlib.util.spec_from_file_location(loader.name, path, loader=loader)
        )
        loader.exec_module(module)
    except (ImportError, RuntimeError) as problem:  # the latter of an older numpy
        if wanted == "native":
            raise Error(f"{variable}=native, and {path} cannot be loaded: {problem}") from None
        return None
    return module


def check(status, function, arguments):
    """Raises what the failing call of this thread left."""
    if status:
        raise error_of(status, library().qlr_last_error().decode())
    return status


def error_of(status, message):
    name = STATUS[status] if status < len(STATUS) else str(status)
    return (ArgumentError if name == "INVALID_ARGUMENT" else Error)(message, name)


class Handle:
    """A pointer that is closed when nothing refers to it any more, or at the end of
    the program; `keeps` are what it needs until then."""

    def __init__(self, value, close, *keeps):
        self.value = value
        self._keeps = keeps
        self._close = weakref.finalize(self, close, value, *keeps)

    def close(self):
        self._close()


def _closer(name):
    return lambda value, *keeps: getattr(library(), name)(value)


def make(name, close, *arguments, keeps=()):
    """Calls a function whose last parameter gets a handle."""
    out = ctypes.c_void_p()
    getattr(library(), name)(*arguments, ctypes.byref(out))
    return Handle(out.value, _closer(close), *keeps)


class Device:
    """A device of the runtime, opened once per name: see `device()`."""

    def __init__(self, name):
        self.name = name
        self.handle = make("qlr_device_open", "qlr_device_close", name.encode())
        self.target = library().qlr_device_target(self.handle.value).decode()
        self.is_cuda = name.startswith("cuda")
        self.ordinal = int(name.partition(":")[2] or 0) if self.is_cuda else None

    def __repr__(self):
        return f"<device {self.name} ({self.target})>"


_devices = {}
_devices_lock = threading.Lock()


def device(name):
    """The device "cpu", "cpu:4" (threads), "emulated" or "cuda:1". Opened once."""
    name = "cuda:0" if name == "cuda" else str(name)
    with _devices_lock:
        if name not in _devices:
            _devices[name] = Device(name)
        return _devices[name]
