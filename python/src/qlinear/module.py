# ===- module.py - Compiled functions as callables ----------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""`load()` an artifact, and call its functions on arrays."""

import collections
import contextlib
import ctypes
import json
import math
import os
import threading

from . import _abi, _arrays
from ._abi import ArgumentError, Error

#: What a function takes or returns: `dtype` ("bf16", ...) and `shape`, in which -1 is
#: M, the number of rows (tokens), the same in all arguments of a call. The first dimension of a
#: cache, an argument that the function writes, is -2: it has rows of its own.
Spec = collections.namedtuple("Spec", "dtype shape")


def _text(shape):
    inside = ", ".join({-1: "M", -2: "R"}.get(d, str(d)) for d in shape)
    return f"({inside},)" if len(shape) == 1 else f"({inside})"


def _matrix(have, want):
    """The shape `have`; where a matrix is wanted, with all dimensions but the last as rows."""
    return (math.prod(have[:-1]), have[-1]) if len(have) > len(want) == 2 else tuple(have)


class Artifact:
    """A shared library that quant-compile wrote. `path`; `manifest`, the parsed JSON
    (docs/artifact.md); `targets`, what it has code for."""

    def __init__(self, path):
        self.path = os.fspath(path)
        if not os.path.exists(self.path):
            raise Error(
                f"there is no artifact '{self.path}'; qlinear.compile() or quant-compile "
                "writes one",
                "NOT_FOUND",
            )
        lib = _abi.library()
        absolute = os.path.abspath(self.path)  # else the loader would search its own path
        self.handle = _abi.make("qlr_artifact_open", "qlr_artifact_close", absolute.encode())
        self.manifest = json.loads(lib.qlr_artifact_manifest(self.handle.value))
        self.targets = [t["target"] for t in self.manifest["targets"]]

    def __fspath__(self):
        return self.path

    def __repr__(self):
        return f"<artifact {self.path}: {', '.join(self.targets)}>"


def load(artifact, weights=None, device="cpu", check_weights=False):
    """Loads an artifact on a device and binds its weights.

    artifact: a path, or what compile() returned.
    weights: a packed archive (path), or {name: uint8 array on the device} with packed
        weights, which are used where they lie; None if the artifact has its own.
    device: "cpu", "cpu:4" (threads), "cuda:0", or "emulated", the GPU's code on the CPU.
    check_weights: read all weights of the archive first, and raise Error where one is
        damaged or another than the artifact was compiled for (quant-compile --params).

    Opening an artifact runs code from it, as loading any library does.

    Returns a Module. Raises Error if the device or the weights do not fit the artifact.
    """
    if not isinstance(artifact, Artifact):
        artifact = Artifact(artifact)
    return Module(artifact, weights, _abi.device(device), check_weights)


class Module:
    """An artifact on a device. Its functions are attributes, and `module["name"]`;
    `functions` lists them. They may be called from several threads at once."""

    def __init__(self, artifact, weights, device, check_weights=False):
        self.artifact, self.device = artifact, device
        is_path = isinstance(weights, (str, os.PathLike))
        archive = os.fspath(weights).encode() if is_path else None
        self.handle = _abi.make(
            "qlr_module_load_checked" if check_weights and is_path else "qlr_module_load",
            "qlr_module_unload",
            device.handle.value,
            artifact.handle.value,
            archive,
            keeps=(device, artifact),
        )
        self._weights, self._workspace_bytes = {}, {}
        for name, blob in ({} if is_path or weights is None else weights).items():
            self.set_weight(name, blob)
        #: The target whose code was loaded: "cpu:avx2", "cuda:sm_90".
        self.target = _abi.library().qlr_module_target(self.handle.value).decode()
        chosen = next(t for t in artifact.manifest["targets"] if t["target"] == self.target)
        self.functions = {f["name"]: Function(self, f) for f in chosen["functions"]}

    def workspace_bytes(self, index, rows):
        """Scratch memory of function `index` for up to `rows` rows."""
        size = self._workspace_bytes.get((index, rows))
        if size is None:
            out = ctypes.c_size_t()
            _abi.library().qlr_workspace_bytes(self.handle.value, index, rows, ctypes.byref(out))
            size = self._workspace_bytes[index, rows] = out.value
        return size

    def set_weight(self, name, blob):
        """Binds a packed weight, a uint8 array on the device, used where it lies."""
        what = f"weight '{name}'"
        view = _arrays.view(blob, what, self.device.name)
        on = self.device.name if self.device.is_cuda else "cpu"
        if view.device != on:
            raise ArgumentError(f"{what} is on {view.device}, but the module is on {on}; move it")
        if view.dtype != "u8" or not view.contiguous:
            raise ArgumentError(
                f"{what} is a {view.dtype} array{'' if view.contiguous else ' with holes'}"
                "; a packed weight is a contiguous uint8 array"
            )
        size = 1
        for d in view.shape:
            size *= d
        _abi.library().qlr_module_set_weight(self.handle.value, name.encode(), view.pointer, size)
        self._weights[name] = view

    def __getattr__(self, name):
        functions = self.__dict__.get("functions", {})
        if name in functions:
            return functions[name]
        raise AttributeError(
            f"the artifact has no function '{name}'; it has {', '.join(functions)}"
        )

    def __getitem__(self, name):
        if name not in self.functions:
            raise KeyError(
                f"the artifact has no function '{name}'; it has {', '.join(self.functions)}"
            )
        return self.functions[name]

    def __dir__(self):
        return [*super().__dir__(), *self.functions]

    def __repr__(self):
        return f"<module on {self.device.name} ({self.target}): {', '.join(self.functions)}>"


class _Workspaces:
    """Scratch memory of a function where the caller has no allocator of ours to use.
    On host devices a call takes one and puts it back; on CUDA each stream has one,
    since its calls run in order."""

    def __init__(self, module, index):
        self.module, self.index = module, index
        self.free, self.by_stream = [], {}
        self.lock = threading.Lock()

    def create(self, rows):
        rows = max(1, 1 << (rows - 1).bit_length()) if rows > 1 else 1
        handle = _abi.make(
            "qlr_workspace_create",
            "qlr_workspace_destroy",
            self.module.handle.value,
            self.index,
            rows,
            keeps=(self.module.handle,),
        )
        return rows, handle, threading.Lock()

    @contextlib.contextmanager
    def on_host(self, rows):
        with self.lock:
            at = next((i for i, w in enumerate(self.free) if w[0] >= rows), None)
            workspace = self.free.pop(at) if at is not None else None
            if workspace is None and self.free:
                self.free.pop()  # a smaller one: it is replaced
        workspace = workspace or self.create(rows)
        try:
            yield workspace[1].value
        finally:
            with self.lock:
                self.free.append(workspace)

    @contextlib.contextmanager
    def on_stream(self, rows, stream):
        with self.lock:
            workspace = self.by_stream.get(stream)
            if workspace is None or workspace[0] < rows:
                if workspace:  # its last call has to end before it can go
                    device = self.module.device.handle.value
                    _abi.library().qlr_synchronize(device, stream)
                workspace = self.by_stream[stream] = self.create(rows)
        with workspace[2]:  # one call's launches are not mixed with another's
            yield workspace[1].value


class Function:
    """A compiled function: call it with its inputs, arrays on the module's device.
    `inputs` and `outputs` are lists of Spec, `name` its name."""

    def __init__(self, module, entry):
        self.module, self.name = module, entry["name"]
        self.inputs = [Spec(t["dtype"], tuple(t["shape"])) for t in entry["inputs"]]
        self.outputs = [Spec(t["dtype"], tuple(t["shape"])) for t in entry["outputs"]]
        #: Of the inputs, those that a call writes.
        self.caches = [i for i, s in enumerate(self.inputs) if s.shape[0] == -2]
        self._rows = entry.get("rows", 1)
        lib = _abi.library()
        self.index = lib.qlr_function_index(module.handle.value, self.name.encode())
        self.has_temps = bool(entry.get("temps"))
        self._workspaces = _Workspaces(module, self.index)
        device = module.device
        self._on = device.name if device.is_cuda else "cpu"
        self._align = [t.get("align", 16) for t in entry["inputs"] + entry["outputs"]]
        self._fast = None if device.is_cuda else self._make_fast()

    def _make_fast(self):
        """Calls on numpy arrays without ctypes; None where there is no such extension, numpy
        lacks a type of the function, or there are caches."""
        native = _abi.extension("_call", "QLINEAR_CALLS")
        if native is None or self.caches:
            return None

        def spec(index, of):
            dtype = _arrays.numpy_dtype(of.dtype, f"an argument of '{self.name}'")
            return (dtype, _abi.DTYPES[of.dtype][0], self._align[index], of.shape)

        try:
            specs = [spec(i, s) for i, s in enumerate(self.inputs + self.outputs)]
        except Error:  # bf16 without ml_dtypes
            return None
        count = len(self.inputs)
        call = ctypes.cast(_abi.library().qlr_call, ctypes.c_void_p).value
        return native.Call(
            call,
            self.module.handle.value,
            self.index,
            self._rows,
            self.has_temps,
            tuple(specs[:count]),
            tuple(specs[count:]),
            self._workspaces.create,
            _abi.check,
        )

    def __repr__(self):
        def specs(many):
            return ", ".join(f"{s.dtype}{_text(s.shape)}" for s in many)

        return f"<function {self.name}({specs(self.inputs)}) -> {specs(self.outputs)}>"

    def __call__(self, *inputs, out=None, stream=None):
        """Runs the function, and returns its result, or a tuple if it has several.

        inputs: arrays of numpy or torch (on the module's device), or with DLPack or
            `__cuda_array_interface__`; row-major, of exactly the function's types. Where it
            takes a matrix, all dimensions but the last are rows, also in the results.
            Caches (`caches` lists which inputs are) are written where they are.
        out: arrays for the results (one, or a sequence); else they are made, by
            the library of the first input.
        stream: on CUDA, a torch.cuda.Stream or the number of a CUstream; else torch's
            current stream if an input is a torch tensor, or the default stream.

        On CUDA the work is enqueued, and nothing waits. Raises ArgumentError, which
        names the argument and what is wrong with it.
        """
        if self._fast is not None:
            result = self._fast(inputs, out)
            if result is not None:
                return result
        if len(inputs) != len(self.inputs):
            raise ArgumentError(
                f"'{self.name}' takes {len(self.inputs)} arrays, not {len(inputs)}: {self!r}"
            )
        with self._stream(inputs, stream) as (handle, torch_stream):
            device = self.module.device.name
            views = [
                self._checked(
                    i, _arrays.view(x, f"input {i} of '{self.name}'", device, handle), "input"
                )
                for i, x in enumerate(inputs)
            ]
            rows = self._count_rows(views, "input", self.inputs, None)
            results = self._outputs(out, rows, views)
            targets = [
                self._checked(
                    i, _arrays.view(y, f"output {i} of '{self.name}'", device, handle), "output"
                )
                for i, y in enumerate(results)
            ]
            rows = self._count_rows(targets, "output", self.outputs, rows)
            if any(rows):
                self._run(views, targets, rows[0], handle, torch_stream)
        return results[0] if len(results) == 1 else tuple(results)

    @contextlib.contextmanager
    def _stream(self, inputs, stream):
        """(the stream's number, whether torch's allocator knows it)."""
        if not self.module.device.is_cuda:
            yield 0, False
            return
        if any(_arrays.is_torch(x) for x in inputs):
            import torch

            if isinstance(stream, int):
                stream = torch.cuda.ExternalStream(stream, self.module.device.ordinal)
            with torch.cuda.stream(stream):
                current = torch.cuda.current_stream(self.module.device.ordinal)
                yield current.cuda_stream, True
            return
        number = getattr(stream, "cuda_stream", getattr(stream, "ptr", stream))
        yield int(number or 0), False

    def _checked(self, index, view, kind):
        spec = (self.inputs if kind == "input" else self.outputs)[index]
        what = f"{kind} {index} of '{self.name}'"
        if view.dtype != spec.dtype:
            raise ArgumentError(
                f"{what} is {view.dtype}, but the function was compiled for "
                f"{spec.dtype}; convert it, or compile for {view.dtype}"
            )
        shape = _matrix(view.shape, spec.shape)
        if len(shape) != len(spec.shape) or any(
            want not in (-1, -2, have) for have, want in zip(shape, spec.shape)
        ):
            raise ArgumentError(
                f"{what} has the shape {tuple(view.shape)}, but the function takes "
                f"{_text(spec.shape)}{self._shape_hint(view.shape, spec.shape)}"
            )
        if view.device != self._on:
            raise ArgumentError(
                f"{what} is on {view.device}, but the module is on {self._on}; move "
                f'it, or load the artifact with device="{view.device}"'
            )
        if not view.contiguous:
            raise ArgumentError(
                f"{what} is not contiguous: rows have to follow each other without "
                "holes; pass a contiguous copy"
            )
        written = kind == "output" or index in self.caches
        if written and not view.writable:
            raise ArgumentError(f"{what} is read-only; pass an array that can be written")
        align = self._align[index + (len(self.inputs) if kind == "output" else 0)]
        if view.pointer % align:
            raise ArgumentError(
                f"{what} is at address {view.pointer:#x}, not at a multiple of "
                f"{align} bytes; pass a copy"
            )
        return view

    @staticmethod
    def _shape_hint(have, want):
        if len(have) == 1 and len(want) == 2:
            return "; one row is x.reshape(1, -1)"
        if len(have) == 2 and have[::-1] == tuple(
            h if w < 0 else w for h, w in zip(have[::-1], want)
        ):
            return "; is it transposed?"
        return ""

    def _count_rows(self, views, kind, specs, rows):
        """(M, argument that says so), in all dynamic arguments the same."""
        for i, (view, spec) in enumerate(zip(views, specs)):
            if -1 not in spec.shape:
                continue
            have = _matrix(view.shape, spec.shape)[0]
            rows = rows or (have, f"{kind} {i}")
            if have != rows[0]:
                raise ArgumentError(
                    f"{kind} {i} of '{self.name}' has {have} rows, but {rows[1]} "
                    f"has {rows[0]}; all arguments of a call share M"
                )
        return rows or ((self._rows, "the function") if kind == "output" else None)

    def _outputs(self, out, rows, views):
        if out is not None:
            out = list(out) if isinstance(out, (list, tuple)) else [out]
            if len(out) != len(self.outputs):
                raise ArgumentError(
                    f"out= has {len(out)} arrays, but '{self.name}' has {len(self.outputs)} results"
                )
            return out
        kind = "torch" if any(v.kind == "torch" for v in views) else "numpy"
        # The dimensions before the last of the first input that has rows.
        specs = enumerate(self.inputs)
        of_rows = (i for i, s in specs if len(s.shape) == 2 and i not in self.caches)
        lead = next((views[i].shape[:-1] for i in of_rows), ())

        def shape(spec):
            sizes = [rows[0] if d == -1 else d for d in spec.shape]
            if len(sizes) == 2 and lead and math.prod(lead) == sizes[0]:
                return [*lead, sizes[1]]
            return sizes

        return [
            _arrays.empty(shape(spec), spec.dtype, kind, self._on, f"output {i} of '{self.name}'")
            for i, spec in enumerate(self.outputs)
        ]

    def _run(self, views, targets, rows, stream, torch_stream):
        lib, module = _abi.library(), self.module.handle.value
        tensors = (_abi.Tensor * len(views))(
            *(v.tensor(_matrix(v.shape, s.shape)) for v, s in zip(views, self.inputs))
        )
        results = (_abi.Tensor * len(targets))(
            *(v.tensor(_matrix(v.shape, s.shape)) for v, s in zip(targets, self.outputs))
        )
        with self.workspace(rows, stream, torch_stream) as workspace:
            lib.qlr_call(
                module, self.index, workspace, tensors, len(views), results, len(targets), stream
            )

    def workspace(self, rows, stream, torch_stream):
        """A context with scratch memory for one call of at most `rows` rows."""
        if not self.has_temps:
            return contextlib.nullcontext()
        if not self.module.device.is_cuda:
            return self._workspaces.on_host(rows)
        if torch_stream:
            return TorchWorkspace(self.module, self.index, rows, stream)
        return self._workspaces.on_stream(rows, stream)


class TorchWorkspace:
    """Scratch memory of torch's allocator, which knows the stream and graph captures:
    it is free for later work on the stream as soon as the call is enqueued. `value` is
    the runtime's handle."""

    def __init__(self, module, index, rows, stream):
        import torch

        lib, out = _abi.library(), ctypes.c_void_p()
        size = module.workspace_bytes(index, rows)
        self.memory = torch.empty(size, dtype=torch.uint8, device=module.device.name)
        lib.qlr_workspace_create_in(
            module.handle.value, index, rows, self.memory.data_ptr(), size, stream,
            ctypes.byref(out),
        )  # fmt: skip
        self.value = out.value

    def close(self):
        _abi.library().qlr_workspace_destroy(self.value)

    def __enter__(self):
        return self.value

    def __exit__(self, *exception):
        self.close()
