# ===- test_tensor_parallel.py - A layer over two processes ----------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Shards of packed weights, of qlinear.split, in two processes that gloo connects: columnwise and
rowwise, as the tp_plan of a model of transformers has them."""

import pytest
import qlinear

torch = pytest.importorskip("torch")
import qlinear.nn  # noqa: E402
from qlinear.archive import PackedWeight, write_archive  # noqa: E402

RANKS, HIDDEN, INNER = 2, 256, 512


class Mlp(torch.nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.gate = torch.nn.Linear(HIDDEN, inner, bias=False)
        self.up = torch.nn.Linear(HIDDEN, inner, bias=False)
        self.down = torch.nn.Linear(inner, HIDDEN, bias=False)

    def forward(self, x):
        return self.down(torch.nn.functional.silu(self.gate(x)) * self.up(x))


def shard(rank, folder):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=RANKS
    )
    mlp = Mlp(INNER // RANKS)
    qlinear.nn.swap_linears(mlp, archive=f"{folder}/{rank}", activations="float")
    with torch.no_grad():
        y = mlp(torch.load(f"{folder}/x"))
    torch.distributed.all_reduce(y)
    torch.save(y, f"{folder}/y{rank}")
    torch.distributed.destroy_process_group()


def test_mlp(tmp_path):
    torch.manual_seed(0)
    mlp = Mlp(INNER)
    qlinear.nn.swap_linears(mlp, "row-u8", activations="float")
    archives = [[] for _ in range(RANKS)]
    for name, layer in mlp.named_children():
        n, k = layer.out_features, layer.in_features
        blob = layer.packed.numpy()
        whole = PackedWeight(f"{name}.weight", layer.encoding, n, k, "", blob)
        axis = "columns" if name == "down" else "rows"
        for archive, part in zip(archives, qlinear.split(whole, RANKS, axis)):
            archive.append(part)
    for rank, archive in enumerate(archives):
        write_archive(tmp_path / str(rank), archive)
    x = torch.randn(5, HIDDEN)
    torch.save(x, tmp_path / "x")
    torch.multiprocessing.spawn(shard, (str(tmp_path),), nprocs=RANKS)
    with torch.no_grad():
        want = mlp(x)
    for rank in range(RANKS):
        y = torch.load(tmp_path / f"y{rank}")
        assert (y - want).norm() < 1e-6 * want.norm()
