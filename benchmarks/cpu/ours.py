# ===- ours.py - A compiled linear for bench.py -------------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Packs a GGUF weight by quant-pack, compiles a linear, and calls it by the C ABI, as a
program would: what is timed has the quantization of x and the thread pool in it."""

import ctypes
import os
import pathlib
import subprocess
import sys
import tempfile

import gguf
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "python" / "src"))
from qlinear import _abi
from qlinear.archive import Archive

MODULE = """
!weight = !qlinear.weight<{n}x{k}, #qlinear.encoding<{encoding}>>
qlinear.parameter @w : !weight from "{name}"
func.func @f(%x: tensor<?x{k}xf32>) -> tensor<?x{n}xf32> {{
  %w = qlinear.load @w : !weight
  %y = qlinear.linear %x, %w : (tensor<?x{k}xf32>, !weight) -> tensor<?x{n}xf32>
  return %y : tensor<?x{n}xf32>
}}
"""


class Ours:
    """One linear, with copies of its weight in the device's memory."""

    def __init__(self, prefix, target, threads, blocks, gguf_type, encoding, n, k):
        os.environ["QLINEAR_HOME"] = str(prefix.resolve())
        name = "blk.0.ffn_up.weight"
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            writer = gguf.GGUFWriter(folder / "model.gguf", "llama")
            kind = gguf.GGMLQuantizationType[gguf_type]
            writer.add_tensor(name, blocks.reshape(n, -1), raw_dtype=kind)
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
            writer.close()
            options = ["--encoding", encoding] if encoding else []
            packed = folder / "packed.safetensors"
            run("quant-pack", folder / "model.gguf", "-o", packed, *options)
            weight = next(iter(Archive(packed).weights.values()))
            text = MODULE.format(n=n, k=k, encoding=weight.encoding, name=weight.name)
            (folder / "layer.mlir").write_text(text)
            artifact = folder / "layer.so"
            run("quant-compile", folder / "layer.mlir", f"--target={target}", "-o", artifact)
            self.lib = _abi.library()
            self.device = _abi.Device(f"cpu:{threads}")
            opened = _abi.make("qlr_artifact_open", "qlr_artifact_close", str(artifact).encode())
            self.module = _abi.make(
                "qlr_module_load", "qlr_module_unload", self.device.handle.value, opened.value,
                None, keeps=(self.device, opened),
            )
            self.blob = np.array(weight.blob)
        self.n, self.k = n, k
        self.weight_bytes = self.blob.nbytes
        self.target = self.lib.qlr_module_target(self.module.value).decode()
        self.copies = []

    def calls(self, x, copies):
        """call(copy) -> y"""
        while len(self.copies) < copies:
            at = ctypes.c_void_p()
            self.lib.qlr_alloc(self.device.handle.value, self.weight_bytes, ctypes.byref(at))
            self.lib.qlr_upload(
                self.device.handle.value, at, self.blob.ctypes.data, self.weight_bytes, None
            )
            self.copies.append(_abi.Blob(at.value, self.weight_bytes))
        rows = len(x)
        y = np.zeros((rows, self.n), np.float32)
        workspace = _abi.make(
            "qlr_workspace_create", "qlr_workspace_destroy", self.module.value, 0, rows,
            keeps=(self.module,),
        )
        inputs = _abi.Tensor(x.ctypes.data, 0, 2, (ctypes.c_int64 * 4)(rows, self.k))
        outputs = _abi.Tensor(y.ctypes.data, 0, 2, (ctypes.c_int64 * 4)(rows, self.n))

        def call(copy):
            self.lib.qlr_call_with_weights(
                self.module.value, 0, workspace.value, inputs, 1, outputs, 1,
                self.copies[copy], 1, None,
            )
            return y

        call.keeps = x
        return call

    def __del__(self):
        for blob in self.copies:
            self.lib.qlr_free(self.device.handle.value, blob.data)


def run(tool, *arguments):
    done = subprocess.run(
        [_abi.find_tool(tool), *map(str, arguments)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{tool}: {done.stderr}")
