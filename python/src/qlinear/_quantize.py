# ===- _quantize.py - Float weights through quant-pack ----------- -*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Float weights of PyTorch, quantized by quant-pack."""

import concurrent.futures
import contextlib
import re
import tempfile

import torch

from . import compiler
from ._abi import ArgumentError
from .archive import Archive, write_tensors

SAFETENSORS = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}
# Weights that are quantized in one run of quant-pack: bounds the temporary files.
_BATCH_BYTES = 2 << 30


class Rule:
    """How float weights are quantized and their metadata stored."""

    def __init__(self, encoding, bits, group, form, min_snr, search):
        self.encoding, self.min_snr, self.search = encoding, min_snr, search
        spelled = re.match(r"\s*[ui](\d+)\s*,\s*group\s*=\s*(\w+)\s*,\s*(\w+)", encoding)
        self.is_spelled = bool(spelled)
        if not spelled:  # a name, or what quant-pack refuses
            self.bits, self.group = bits, group
            self.codes = f"int{bits}:{group}" + (f":{form}" if form else "")
            return
        self.group = spelled[2] if spelled[2] == "row" else int(spelled[2])
        self.bits = int(spelled[1])
        self.codes = f"int{spelled[1]}:{spelled[2]}:{spelled[3]}"

    def declines(self, linear):
        """Why a layer cannot have it, or nothing."""
        k = linear.weight.shape[1]
        if self.group != "row" and k % int(self.group):
            return f"in_features = {k} is not a multiple of the group size {self.group}"
        return None


def quantize(weights, rule):
    """{name: tensor} by quant-pack: {name: (PackedWeight, report of it)}. While it packs one part
    of them, the next is brought to the host."""
    parts, size = [{}], 0
    for name, weight in weights.items():
        if weight.dtype not in SAFETENSORS or weight.dim() != 2:
            raise ArgumentError(
                f"weight '{name}' is a {weight.dtype} tensor of {weight.dim()} dimensions; "
                "matrices of float32, float16 and bfloat16 can be quantized"
            )
        if size >= _BATCH_BYTES:
            parts.append({})
            size = 0
        parts[-1][name] = weight
        size += weight.numel() * weight.element_size()
    results = {}
    with contextlib.ExitStack() as folders, concurrent.futures.ThreadPoolExecutor(1) as writer:
        written = None
        for part in [*parts, {}]:
            before, written = written, writer.submit(_write, part, folders) if part else None
            if before is not None:
                results.update(_pack(*before.result(), rule))
    return results


def _write(weights, folders):
    """A folder, which `folders` or _pack() removes, with the floats, and their names."""
    work = tempfile.TemporaryDirectory()
    folders.callback(work.cleanup)
    tensors = {
        name: (SAFETENSORS[weight.dtype], tuple(weight.shape), _bytes_of(weight))
        for name, weight in weights.items()
    }
    write_tensors(f"{work.name}/floats", tensors)
    return work, list(weights)


def _bytes_of(weight):
    return weight.detach().cpu().contiguous().view(torch.uint8).numpy()


def _pack(work, names, rule):
    report = compiler.pack(
        f"{work.name}/floats",
        f"{work.name}/packed",
        encoding=rule.encoding,
        quantize=rule.codes,
        include=".",
        min_snr=rule.min_snr,
        minmax=not rule.search,
    )
    archive = Archive(f"{work.name}/packed")  # is mapped, and stays when the folder is gone
    work.cleanup()
    reports = {entry["name"]: entry for entry in report["tensors"]}
    return {name: (archive.weights[name], reports[name]) for name in names}
