# ===- kernels.py - What a model needs beside its linears ---------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Triton kernels for what serving engines fuse and transformers' modules do in many kernels: the
attention of a decoded token, split along the cache, norms, rotary embeddings and gated products.
All variants of the benchmark use them, so that they differ in their linears alone."""

import torch
import triton
import triton.language as tl


@triton.jit
def _attention_split(
    Q, K, V, POSITION, SUM, MAX, NORM, scale, slots,
    HEADS: tl.constexpr, PADDED: tl.constexpr, D: tl.constexpr, STEP: tl.constexpr,
    SPLITS: tl.constexpr,
):  # fmt: skip
    """One part of the cache for the queries of one head of keys: an online softmax."""
    head, split = tl.program_id(0), tl.program_id(1)
    length = tl.minimum(tl.load(POSITION) + 1, slots)
    chunk = tl.cdiv(tl.cdiv(length, SPLITS), STEP) * STEP
    begin = split * chunk
    end = tl.minimum(begin + chunk, length)
    row, column = tl.arange(0, PADDED), tl.arange(0, D)
    of_query = (head * HEADS + row)[:, None] * D + column[None, :]
    query = tl.load(Q + of_query, mask=(row < HEADS)[:, None], other=0.0)
    largest = tl.full([PADDED], -1e30, tl.float32)
    norm = tl.zeros([PADDED], tl.float32)
    total = tl.zeros([PADDED, D], tl.float32)
    base = head.to(tl.int64) * slots * D
    for start in range(begin, end, STEP):
        slot = start + tl.arange(0, STEP)
        of_slot = base + slot[:, None] * D + column[None, :]
        there = slot < end
        key = tl.load(K + of_slot, mask=there[:, None], other=0.0)
        score = tl.where(there[None, :], tl.dot(query, tl.trans(key)) * scale, -1e30)
        raised = tl.maximum(largest, tl.max(score, 1))
        weight, shrink = tl.exp(score - raised[:, None]), tl.exp(largest - raised)
        value = tl.load(V + of_slot, mask=there[:, None], other=0.0)
        norm = norm * shrink + tl.sum(weight, 1)
        total = total * shrink[:, None] + tl.dot(weight.to(value.dtype), value)
        largest = raised
    out = (head * SPLITS + split) * PADDED + row
    tl.store(MAX + out, largest)
    tl.store(NORM + out, norm)
    tl.store(SUM + out[:, None] * D + column[None, :], total)


@triton.jit
def _attention_join(
    SUM, MAX, NORM, OUT, HEADS: tl.constexpr, PADDED: tl.constexpr, D: tl.constexpr,
    SPLITS: tl.constexpr,
):  # fmt: skip
    head, query = tl.program_id(0), tl.program_id(1)
    column = tl.arange(0, D)
    part = (head * SPLITS + tl.arange(0, SPLITS)) * PADDED + query
    largest, norm = tl.load(MAX + part), tl.load(NORM + part)
    weight = tl.where(norm > 0, tl.exp(largest - tl.max(largest, 0)), 0.0)
    total = tl.sum(tl.load(SUM + part[:, None] * D + column[None, :]) * weight[:, None], 0)
    result = total / tl.sum(norm * weight, 0)
    tl.store(OUT + (head * HEADS + query) * D + column, result.to(OUT.dtype.element_ty))


def attention(query, keys, values, position, scale):
    """query (B, H, 1, D) against the slots up to `position` (a tensor; all, once it is past
    them) of keys and values (B, heads, slots, D). Returns (B, 1, H, D)."""
    batch, all_heads, _, d = query.shape
    kv_heads, slots = keys.shape[1:3]
    heads = all_heads // kv_heads
    padded = max(16, triton.next_power_of_2(heads))  # of a tile of tensor cores
    splits = 8 if slots <= 1024 else 32 if slots <= 16384 else 64
    if batch * kv_heads * splits > 1024:
        splits = max(8, splits // 4)
    step = 64 if d <= 128 else 32 if d <= 256 else 16
    rows = batch * kv_heads
    partial = query.new_empty((rows, splits, padded, d), dtype=torch.float32)
    largest, norm = partial.new_empty((2, rows, splits, padded))
    out = query.new_empty((batch, 1, all_heads, d))
    _attention_split[(rows, splits)](
        query.contiguous(), keys, values, position, partial, largest, norm, scale, slots,
        heads, padded, d, step, splits, num_warps=4,
    )  # fmt: skip
    _attention_join[(rows, heads)](
        partial, largest, norm, out, heads, padded, d, splits, num_warps=4
    )
    return out


@triton.jit
def _store(K, V, KEYS, VALUES, POSITION, slots, D: tl.constexpr):
    head, column = tl.program_id(0).to(tl.int64), tl.arange(0, D)
    slot = head * slots + tl.load(POSITION) % slots
    tl.store(KEYS + slot * D + column, tl.load(K + head * D + column))
    tl.store(VALUES + slot * D + column, tl.load(V + head * D + column))


def store(key, value, keys, values, position):
    """Puts a token's key and value (B, heads, 1, D) into the slot of its position, modulo their
    number, of keys and values (B, heads, slots, D)."""
    batch, heads, slots, d = keys.shape
    _store[(batch * heads,)](
        key.contiguous(), value.contiguous(), keys, values, position, slots, d, num_warps=1
    )


@triton.jit
def _norm(X, WEIGHT, Y, epsilon, K: tl.constexpr, BLOCK: tl.constexpr, SCALED: tl.constexpr):
    row, column = tl.program_id(0).to(tl.int64), tl.arange(0, BLOCK)
    there = column < K
    x = tl.load(X + row * K + column, mask=there, other=0.0).to(tl.float32)
    y = x * tl.rsqrt(tl.sum(x * x, 0) / K + epsilon)
    if SCALED:
        y *= tl.load(WEIGHT + column, mask=there, other=0.0).to(tl.float32)
    tl.store(Y + row * K + column, y.to(Y.dtype.element_ty), mask=there)


def norm(x, weight, epsilon):
    """The RMS norm of rows, times `weight` unless that is None."""
    x, k = x.contiguous(), x.shape[-1]
    y = torch.empty_like(x)
    _norm[(x.numel() // k,)](
        x, x if weight is None else weight, y, epsilon, k, triton.next_power_of_2(k),
        weight is not None, num_warps=8 if k > 1024 else 2,
    )  # fmt: skip
    return y


@triton.jit
def _gated(GATE, UP, Y, size, TANH: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    there = at < size
    gate = tl.load(GATE + at, mask=there, other=0.0).to(tl.float32)
    up = tl.load(UP + at, mask=there, other=0.0).to(tl.float32)
    # GELU's (1 + tanh z) / 2 is 1 / (1 + exp(-2 z)).
    z = 1.5957691216057308 * (gate + 0.044715 * gate * gate * gate) if TANH else gate
    tl.store(Y + at, (gate / (1.0 + tl.exp(-z)) * up).to(Y.dtype.element_ty), mask=there)


def gated(gate, up, tanh):
    """SiLU of gate, or with `tanh` GELU's approximation by it, times up."""
    gate, up = gate.contiguous(), up.contiguous()
    y = torch.empty_like(gate)
    _gated[(triton.cdiv(gate.numel(), 1024),)](gate, up, y, gate.numel(), tanh, 1024)
    return y


@triton.jit
def _rotary(X, COS, SIN, Y, HEADS, TOKENS, D: tl.constexpr):
    row, column = tl.program_id(0).to(tl.int64), tl.arange(0, D // 2)
    table = (row // HEADS) % TOKENS * D + column
    low = tl.load(X + row * D + column).to(tl.float32)
    high = tl.load(X + row * D + D // 2 + column).to(tl.float32)
    kind = Y.dtype.element_ty
    cos = tl.load(COS + table).to(tl.float32)
    sin = tl.load(SIN + table).to(tl.float32)
    tl.store(Y + row * D + column, (low * cos - high * sin).to(kind))
    cos = tl.load(COS + table + D // 2).to(tl.float32)
    sin = tl.load(SIN + table + D // 2).to(tl.float32)
    tl.store(Y + row * D + D // 2 + column, (high * cos + low * sin).to(kind))


def rotary(x, cos, sin):
    """x (B, T, H, D) by tables (1 or B, T, D)."""
    x = x.contiguous()
    batch, length, heads, d = x.shape
    tokens = length if cos.shape[0] == 1 else batch * length
    y = torch.empty_like(x)
    _rotary[(x.numel() // d,)](
        x, cos.contiguous(), sin.contiguous(), y, heads, tokens, d, num_warps=1
    )
    return y
