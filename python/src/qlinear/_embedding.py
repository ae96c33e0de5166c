# ===- _embedding.py - Embeddings whose weight is a packed head's ---*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""An embedding that is tied to its model's head reads rows of the head's packed weight, so that
both are there once:

    qlinear::embedding(Tensor indices, Tensor packed, str encoding, int n, int k,
                       ScalarType dtype) -> Tensor

On the CPU rows are decoded one by one, each value rounded once; on GPUs by a kernel, in f32
before they are rounded to the type of the result."""

import ctypes
import functools

import torch

from . import _abi, _blocks, _ops
from ._abi import ArgumentError, Error


def kernel_of(encoding, n, k):
    """The kernel, as prepare() takes it."""
    return "rows", encoding, n, k


def _check(indices):
    if indices.dtype not in (torch.int64, torch.int32):
        raise ArgumentError(f"indices are {indices.dtype}; int64 and int32 are possible")


def _embedding(indices, packed, encoding, n, k, dtype):
    if _ops._host.startswith("emulated"):
        return _by_kernel(indices, packed, encoding, n, k, dtype)
    _check(indices)
    rows = indices.reshape(-1).to(torch.int64).contiguous()
    packed = packed.contiguous()
    values = torch.empty(len(rows), k, dtype=torch.float32, device="cpu")
    _abi.library().qlr_packed_rows(
        encoding.encode(), n, k, _abi.Blob(packed.data_ptr(), packed.numel()),
        ctypes.cast(rows.data_ptr(), ctypes.POINTER(ctypes.c_int64)), len(rows), values.data_ptr(),
    )  # fmt: skip
    return values.to(dtype).reshape(*indices.shape, k)


def _by_kernel(indices, packed, encoding, n, k, dtype):
    """An index that is no row, which the device alone knows, gives NaNs."""
    _check(indices)
    rows = indices.reshape(-1, 1)
    if rows.dtype == torch.int64:
        rows = rows.clamp(-1, n).to(torch.int32)
    made = torch.empty(len(rows), k, dtype=dtype, device=packed.device)
    if len(rows):
        text = _blocks.text_of(_ops._TYPES[dtype], kernel_of(encoding, n, k))
        block, stream = _blocks.block_on(packed, text)
        packed = _ops.at_alignment(packed, block.device_name)
        block.run([rows.contiguous()], (), [packed], [made], len(rows), stream)
    return made.reshape(*indices.shape, k)


def _fake(indices, packed, encoding, n, k, dtype):
    return indices.new_empty((*indices.shape, k), dtype=dtype)


_ops._library.define(
    "embedding(Tensor indices, Tensor packed, str encoding, int n, int k, ScalarType dtype) "
    "-> Tensor"
)
_ops._library.impl("embedding", _embedding, "CPU")
_ops._library.impl("embedding", _by_kernel, "CUDA")
torch.library.register_fake("qlinear::embedding", _fake, lib=_ops._library)


class Rows:
    """What is in front of torch.nn.Embedding in the classes of packed ones. The head, a Linear,
    is no module of it: it is the model's. `weight` has no rows; its type is the results'."""

    def forward(self, input):  # its name is nn.Embedding's
        head = self.__dict__["_head"]
        return torch.ops.qlinear.embedding(
            input,
            head._buffers["packed"],
            head.encoding,
            head.out_features,
            self.embedding_dim,
            self.weight.dtype,
        )

    def kernel(self):
        head = self.__dict__["_head"]
        return kernel_of(head.encoding, head.out_features, self.embedding_dim)

    def __reduce_ex__(self, protocol):
        return _of_class, (type(self).packed_of,), dict(self.__dict__)


@functools.cache
def _packed_class(cls):
    """A subclass of an embedding's class. A forward of its own (that scales, say) stays, and
    calls Rows's as torch.nn.Embedding's."""
    body = {"packed_of": cls, "__module__": cls.__module__}
    if cls is torch.nn.Embedding:
        return type("PackedEmbedding", (Rows, cls), body)
    return type(f"Packed{cls.__name__}", (cls, _packed_class(torch.nn.Embedding)), body)


def _of_class(cls):
    packed = _packed_class(cls)
    return packed.__new__(packed)


def _why_not(module, head):
    """Why an embedding's rows cannot be a head's, or None."""
    if not isinstance(module, torch.nn.Embedding):
        return f"a {type(module).__name__} is no embedding that is known"
    if module.max_norm is not None or module.sparse:
        return "it has max_norm or sparse gradients"
    if "forward" in module.__dict__ or "_hf_hook" in module.__dict__:
        return "its forward is replaced in this object"
    return None


@torch.no_grad()
def _pack(module, head, name, compare):
    """Makes an embedding, in place, one of rows of a head, whose name is `name`; or says why it
    is as it was, if it has values to `compare`."""
    weight, before, cls = module.weight, dict(module.__dict__), module.__class__
    ids = torch.arange(min(3, module.num_embeddings), device=weight.device)
    want = module(ids).float() if compare else None
    module.__class__ = _packed_class(cls)
    module.__dict__.update(
        _parameters={},
        _buffers=dict(module._buffers),
        _non_persistent_buffers_set=set(module._non_persistent_buffers_set),
        _head=head,
        padding_idx=None,  # of gradients; transformers would write its row
    )
    # No loader fills it: it is somewhere from the beginning.
    device = "cpu" if weight.is_meta else weight.device
    empty = torch.empty(0, module.embedding_dim, dtype=weight.dtype, device=device)
    module.register_buffer("weight", empty, persistent=False)
    # It says in checkpoints what it is.
    text = torch.tensor(list(name.encode()), dtype=torch.uint8, device=weight.device)
    module.register_buffer("rows_of", text)
    if not compare:
        return None
    try:
        if (module(ids).float() - want).norm() <= 0.3 * want.norm():
            return None
    except (RuntimeError, IndexError):  # it reads the weight itself, which has no rows
        pass
    module.__class__ = cls
    module.__dict__.clear()
    module.__dict__.update(before)
    return f"a {cls.__name__} is more than a lookup"


def share(model, uses, head, name):
    """Has the embeddings read rows of a head; `uses` are the parameters that were its weight.
    Returns a note."""
    notes = []
    for use in uses:
        path = use.rpartition(".")[0]
        if path == name:
            continue
        module = model.get_submodule(path)
        reason = _why_not(module, head) or _pack(module, head, name, compare=True)
        notes.append(f"{path} stays as it is: {reason}" if reason else f"{path} reads its rows")
    return "; ".join(notes)


def _there(model, embeddings):
    for path, head in embeddings.items():
        try:
            yield model.get_submodule(path), path, head
        except AttributeError:  # of a model around this one
            pass


def check(model, embeddings, made):
    """Error if the embeddings of a checkpoint cannot be made for a model."""
    for module, path, head in _there(model, embeddings):
        if head not in made or not isinstance(module, torch.nn.Embedding):
            raise Error(
                f"the checkpoint has no weight of '{path}', which reads rows of '{head}', and the "
                "model has no such head; load the model with its head"
            )


def of_checkpoint(model, embeddings, made):
    for module, _, head in _there(model, embeddings):
        _pack(module, made[head], head, compare=False)
