#!/usr/bin/env python3
# ===- humming_peer.py - Humming's kernels, as a peer ---------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Humming (PyPI: humming-kernels; it needs PyTorch and NVRTC) beside our kernels: an adapter
(peer.h) in Python. It loads the benchmark as a library, into the process that has PyTorch, and
passes it functions:

    humming_peer.py LIBRARY [options of qlinear-gpu-bench]     # libqlinear-gpu-bench.so
    bench.py -o results --peer benchmarks/gpu/humming_peer.py  # starts it so

Weights are 4 bits with a bf16 scale and a 4-bit zero point per 32 columns, activations bf16
(its W4A16), tiles by its own heuristics. Before a shape is timed, its results for a few
numbers of rows are compared with the product of the dequantized weight.
"""

import ctypes
import os
import sys
import traceback

import torch
from humming.layer import HummingLayer

VERSION, INT4 = 1, 4
GROUP = 32
#: Numbers of rows whose results are checked.
CHECKED = (1, 9, 33, 200)
NAMES = ("weight", "weight_scale", "zero_point")

c_int, c_size, c_i64, c_void = ctypes.c_int, ctypes.c_size_t, ctypes.c_int64, ctypes.c_void_p
Sized = ctypes.CFUNCTYPE(c_size, c_int, c_i64, c_i64)
Scratch = ctypes.CFUNCTYPE(c_size, c_int, c_i64, c_i64, c_i64)
Fill = ctypes.CFUNCTYPE(None, c_int, c_void, c_i64, c_i64, ctypes.c_uint64, c_void)
Run = ctypes.CFUNCTYPE(
    c_int, c_int, c_void, c_void, c_void, c_void, c_void, c_i64, c_i64, c_i64, c_void
)


class Peer(ctypes.Structure):
    """ql_peer of peer.h."""

    _fields_ = [
        ("version", ctypes.c_uint32),
        ("name", ctypes.c_char_p),
        ("weight_bytes", Sized),
        ("scratch_bytes", Scratch),
        ("fill", Fill),
        ("run", Run),
    ]


def fails(function):
    """A callback that ends the program where Python would go on after an exception."""

    def call(*args):
        try:
            return function(*args)
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)

    return call


class Memory:
    """Memory of the benchmark, for torch.as_tensor."""

    def __init__(self, address, count):
        self.__cuda_array_interface__ = {
            "version": 3,
            "data": (address, False),
            "shape": (count,),
            "typestr": "|u1",
        }


def view(address, shape, dtype):
    count = torch.Size(shape).numel() * dtype.itemsize
    return torch.as_tensor(Memory(address, count), device="cuda").view(dtype).view(shape)


def room(part):
    """Bytes of a part of a weight, up to the next part."""
    return -(-part.nbytes // 256) * 256


class Shape:
    """Humming's layer for N x K, whose weights are then replaced by others."""

    def __init__(self, n, k):
        torch.manual_seed(n + k)
        weights = {"dtype": "uint4", "group_size": GROUP, "has_zero_point": True}
        self.layer = HummingLayer(n, k, weight_config=weights, torch_dtype=torch.bfloat16).cuda()
        self.layer.load_from_unquantized(torch.randn(n, k, dtype=torch.bfloat16, device="cuda"))
        exact = self.layer.weight_schema.dequant_tensors(self.layer.state_dict()).double()
        self.layer.transform()
        for rows in CHECKED:
            x = torch.randn(rows, k, dtype=torch.bfloat16, device="cuda")
            want = x.double() @ exact.T
            error = ((self.layer(x).double() - want).norm() / want.norm()).item()
            if not error < 1e-2:
                raise SystemExit(f"humming: results of {rows} x {n} x {k} are off by {error:.2g}")
        self.parts = {name: getattr(self.layer, name).detach().clone() for name in NAMES}
        self.locks = {}

    def bytes(self):
        """Of a weight."""
        return sum(map(room, self.parts.values()))

    def at(self, address):
        """{name: its part of the weight that lies there}."""
        views = {}
        for name, part in self.parts.items():
            views[name] = view(address, part.shape, part.dtype)
            address += room(part)
        return views


SHAPES = {}


def shape_of(n, k):
    if (n, k) not in SHAPES:
        SHAPES[n, k] = Shape(n, k)
    return SHAPES[n, k]


@fails
def weight_bytes(codes, n, k):
    return shape_of(n, k).bytes() if codes == INT4 else 0


@fails
def fill(codes, weight, n, k, seed, stream):
    shape = shape_of(n, k)
    with torch.cuda.stream(torch.cuda.ExternalStream(stream)):
        random = torch.Generator("cuda").manual_seed(seed)
        for name, part in shape.at(weight).items():
            if name == "weight":  # any bits are codes
                part.random_(-(2**31), 2**31 - 1, generator=random)
            else:
                part.copy_(shape.parts[name])
    shape.locks[weight] = torch.zeros(2048, dtype=torch.int32, device="cuda")
    torch.cuda.synchronize()


@fails
def run(codes, weight, x, _, y, scratch, m, n, k, stream):
    if codes != INT4:
        return 1
    shape = shape_of(n, k)
    for name, part in shape.at(weight).items():
        getattr(shape.layer, name).data = part
    shape.layer.locks = shape.locks[weight]
    with torch.cuda.stream(torch.cuda.ExternalStream(stream)):
        shape.layer(view(x, (m, k), torch.bfloat16), outputs=view(y, (m, n), torch.bfloat16))
    return 0


def main():
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    bench = ctypes.CDLL(sys.argv[1]).ql_gpu_bench
    made = Sized(weight_bytes), Scratch(lambda *_: 16), Fill(fill), Run(run)
    peer = Peer(VERSION, b"humming", *made)
    peers = (ctypes.POINTER(Peer) * 1)(ctypes.pointer(peer))
    argv = [b"qlinear-gpu-bench", *(text.encode() for text in sys.argv[2:])]
    with torch.no_grad():
        sys.exit(bench(len(argv), (ctypes.c_char_p * len(argv))(*argv), peers, 1))


if __name__ == "__main__":
    main()
