# ===- archive.py - Weights as a packed archive ----------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""The weights for quant-pack, which makes the packed archive."""

import json
import os
import shutil
import struct
import subprocess
import tempfile

import numpy as np

from .graph import SAFETENSORS
from .weights import Problem

FLOAT_NAMES = {"f32": "F32", "f16": "F16", "bf16": "BF16"}


def write_plain(path, weights, constants):
    """The weights in quant-pack's form for other tools, and the constants as they are."""
    header, end = {"__metadata__": {}}, 0
    with tempfile.TemporaryFile(dir=os.path.dirname(path) or ".") as body:

        def append(name, dtype, array):
            nonlocal end
            data = np.ascontiguousarray(array).tobytes()
            header[name] = {
                "dtype": dtype,
                "shape": list(array.shape),
                "data_offsets": [end, end + len(data)],
            }
            end += len(data)
            body.write(data)

        for w in weights:
            codes, scales, zeros = w.read()
            if w.codes[1] == "4" and w.k % 2 == 0 and codes.shape[1] == w.k:
                q = codes.astype(np.uint8) & 15
                codes = q[:, ::2] | q[:, 1::2] << 4
            for part, array in (("codes", codes), ("scales", scales), ("zeros", zeros)):
                if array is not None:
                    dtype = {"int8": "I8", "uint8": "U8"}.get(array.dtype.name)
                    append(f"{w.key}.{part}", dtype or FLOAT_NAMES[w.floats], array)
            about = {"codes": w.codes, "k": w.k, "source": f"ONNX {w.source}"}
            header["__metadata__"][w.key] = json.dumps(about)
        for name, graph in constants.items():
            append(name, SAFETENSORS[graph.initializer(name).data_type], graph.constant(name))
        text = json.dumps(header).encode()
        with open(path, "wb") as f:
            f.write(struct.pack("<Q", len(text)) + text)
            body.seek(0)
            shutil.copyfileobj(body, f, 1 << 24)


def pack(weights, constants, path, arguments):
    """A packed archive by quant-pack; {weight's name: its entry in the archive}."""
    plain = path + ".unpacked"
    try:
        write_plain(plain, weights, constants)
        command = [arguments.quant_pack, plain, "-o", path]
        for encoding in arguments.encoding:
            command += ["--encoding", encoding]
        if arguments.quiet:
            command.append("--quiet")
        try:
            done = subprocess.run(command, check=False)
        except OSError as e:
            raise Problem(
                f"cannot run '{arguments.quant_pack}': {e.strerror}; name it with --quant-pack"
            ) from e
        if done.returncode:
            raise Problem(f"quant-pack failed (exit status {done.returncode})")
    finally:
        if os.path.exists(plain):
            os.remove(plain)
    with open(path, "rb") as f:
        (size,) = struct.unpack("<Q", f.read(8))
        return json.loads(json.loads(f.read(size))["__metadata__"]["qlinear"])["weights"]
