# ===- archive.py - Packed archives in Python ---------------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Packed archives are safetensors files (docs/quant-pack.md): reading their weights, and
writing small ones. What the bytes of a weight mean is the runtime's business."""

import collections
import ctypes
import json
import math
import mmap
import os

import numpy

from ._abi import Error, library

#: A weight of an archive: `blob` has its bytes (a read-only uint8 array of the mapped
#: file), `encoding` its spelling, `n` x `k` its shape, `source` what it was packed from,
#: `checksum` what the archive says is that of its bytes, or "".
PackedWeight = collections.namedtuple(
    "PackedWeight", "name encoding n k source blob checksum", defaults=[""]
)

#: Of the layout of packed weights (kVersion in include/qlinear/Encoding/Layout.h).
LAYOUT_VERSION = 2

_BYTES = {"F32": 4, "F16": 2, "BF16": 2, "U8": 1}


class Archive:
    """A packed archive, mapped. `weights`: {name: PackedWeight}; tensors that are not
    quantized are in `tensors`: {name: (safetensors dtype, shape, uint8 array)}. `model` is
    what it says of its model: whose names it has, and numbers of heads; may be empty."""

    def __init__(self, path):
        self.path = os.fspath(path)
        try:
            with open(self.path, "rb") as f:
                data = numpy.frombuffer(
                    mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ), numpy.uint8
                )
        except (OSError, ValueError) as problem:
            raise Error(f"cannot read '{self.path}': {problem}", "NOT_FOUND") from None
        try:
            start = 8 + int.from_bytes(data[:8].tobytes(), "little")
            header = json.loads(data[8:start].tobytes())
            about = json.loads(header.pop("__metadata__", {})["qlinear"])
            self.weights, self.tensors = {}, {}
            self.model = about.get("model", {})
            for name, entry in header.items():
                begin, end = entry["data_offsets"]
                part = data[start + begin : start + end]
                if len(part) != end - begin:
                    raise ValueError(f"tensor '{name}' reaches beyond the end")
                self.tensors[name] = entry["dtype"], tuple(entry["shape"]), part
            if about.get("version") != LAYOUT_VERSION:
                raise ValueError(
                    f"its layout of packed weights is version {about.get('version')}, and this "
                    f"is version {LAYOUT_VERSION}'s"
                )
            for name, w in about["weights"].items():
                blob = self.tensors.pop(name)[2]
                self.weights[name] = PackedWeight(
                    name,
                    w["encoding"],
                    w["n"],
                    w["k"],
                    w.get("source", ""),
                    blob,
                    w.get("xxh3", ""),
                )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as problem:
            raise Error(
                f"'{self.path}' is not an archive of quant-pack ({problem}); pack the "
                "checkpoint first: quant-pack IN -o OUT",
                "BAD_WEIGHTS",
            ) from None

    def find(self, name):
        """The weight `name`, or `name`.weight."""
        for candidate in (name, f"{name}.weight"):
            if candidate in self.weights:
                return self.weights[candidate]
        if {name, f"{name}.weight"} & self.tensors.keys():
            raise Error(
                f"'{name}' is in '{self.path}', but it is not quantized; pack it with "
                f"quant-pack --quantize",
                "BAD_WEIGHTS",
            )
        some = ", ".join(list(self.weights)[:5])
        raise Error(
            f"'{self.path}' has no weight '{name}'; it has {len(self.weights)}: {some}"
            f"{', ...' if len(self.weights) > 5 else ''}",
            "NOT_FOUND",
        )


def write_tensors(path, tensors, metadata=None):
    """Writes a safetensors file. tensors: {name: (dtype, shape, bytes-like)}."""
    header, at = {}, 0
    for name, (dtype, shape, data) in tensors.items():
        size = math.prod(shape) * _BYTES[dtype]
        assert memoryview(data).nbytes == size
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    if metadata:
        header["__metadata__"] = metadata
    text = json.dumps(header).encode()
    text += b" " * (-(len(text) + 8) % 128)  # blobs are aligned in the file
    with open(path, "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text)
        for _, _, data in tensors.values():
            f.write(data)


def checksum(blob):
    """The checksum of a packed weight's bytes, as archives have it."""
    data = numpy.frombuffer(blob, numpy.uint8)
    text = ctypes.create_string_buffer(17)
    library().qlr_checksum(data.ctypes.data, data.nbytes, text)
    return text.value.decode()


def verify(weight):
    """The checksum of a PackedWeight. Error where it is not what its archive says: what is
    damaged must not get a checksum that says it is not."""
    found = checksum(weight.blob)
    if weight.checksum not in ("", found):
        raise Error(
            f"weight '{weight.name}' is damaged: its {len(weight.blob)} bytes have the checksum "
            f"{found}, and its archive says {weight.checksum}; fetch or pack that archive again",
            "BAD_WEIGHTS",
        )
    return found


def write_archive(path, weights):
    """Writes an archive of these PackedWeights, with their checksums. Error where one is
    damaged."""
    about = {
        w.name: {
            "encoding": w.encoding,
            "n": w.n,
            "k": w.k,
            "source": w.source,
            "xxh3": verify(w),
        }
        for w in weights
    }
    write_tensors(
        path,
        {w.name: ("U8", [len(w.blob)], w.blob) for w in weights},
        {"qlinear": json.dumps({"version": LAYOUT_VERSION, "weights": about})},
    )
