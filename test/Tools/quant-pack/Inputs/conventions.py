# ===- conventions.py - Checkpoints that the tests write -------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""What the tests of importers share: packing codes by hand, and comparing what quant-pack
reads with the weights that a format's formula gives."""

import json
import os

import numpy as np
from checkpoints import quant_pack, report_of
from safetensors.numpy import load_file, save_file

NORM = {"norm.weight": np.ones(8, np.float16)}


def pack(values, axis, bits, order=None):
    """Integers into uint32 words along an axis as one stream of bits, lowest first.
    `order`: which of the integers of a word comes first, second, ..."""
    values = np.moveaxis(np.asarray(values, np.uint64), axis, -1)
    if order:
        values = values.reshape(*values.shape[:-1], -1, len(order))[..., order]
        values = values.reshape(*values.shape[:-2], -1)
    stream = (values[..., None] >> np.arange(bits, dtype=np.uint64)) & np.uint64(1)
    stream = stream.reshape(*values.shape[:-1], -1).astype(np.uint8)
    pad = -stream.shape[-1] % 32
    stream = np.concatenate([stream, np.zeros((*stream.shape[:-1], pad), np.uint8)], -1)
    words = np.packbits(stream, axis=-1, bitorder="little").view("<u4")
    return np.moveaxis(words, -1, axis).copy()


def affine(n, k, group, bits, rng):
    """Codes [n, k], and scales and integer zeros [n, groups]."""
    q = rng.integers(0, 2**bits, (n, k))
    s = (np.exp(rng.normal(size=(n, k // group)) * 0.3) * 0.01).astype(np.float16)
    z = rng.integers(1, 2**bits, (n, k // group))
    return q, s, z


def each(x, group):
    return np.repeat(np.asarray(x, np.float64), group, axis=1)


def write(tensors, config=None, metadata=None):
    save_file(tensors, "model.safetensors", metadata)
    if config is None and os.path.exists("config.json"):
        os.remove("config.json")
    if config is not None:
        with open("config.json", "w") as f:
            json.dump(config, f)


def check(tensors, expected, source, config=None, metadata=None, form=None):
    """Packs the checkpoint, reads it back and compares every weight."""
    write(tensors, config, metadata)
    return check_file(".", expected, source, form)


def check_file(path, expected, source, form=None):
    for encoding in ("lossless", "auto"):
        quant_pack(
            path, "-o", "out/p.safetensors", "--encoding", encoding, "--report", "out/r.json"
        )
        quant_pack("out/p.safetensors", "-o", "out/f.safetensors", "--dequantize", "f32")
        floats, (_, report) = load_file("out/f.safetensors"), report_of("out/r.json")
        for name, w in expected.items():
            entry = report[name]
            assert entry["source"] == source, entry
            assert form is None or f", {form}, " in entry["encoding"], entry
            assert floats[name].shape == w.shape
            differing = int((floats[name] != w.astype(np.float32)).sum())
            if encoding == "lossless":
                assert differing == 0, f"{source} {name}: {differing} of {w.size} differ"
            assert (differing == 0) == entry["quality"]["exact"], entry
            if not entry["quality"]["exact"]:
                noise = ((floats[name].astype(np.float64) - w) ** 2).sum()
                snr = 10 * np.log10((w**2).sum() / noise)
                assert snr >= 45 and abs(snr - entry["quality"]["tensor_snr_db"]) < 0.1, (
                    snr,
                    entry,
                )
        others = {n for n, t in report.items() if t["action"] == "carried"}
        assert set(floats) == set(expected) | others, set(floats)
    return floats


def fails(tensors, part, config=None, metadata=None):
    """Packing fails with `part` in its message, leaves nothing, and --exclude helps."""
    write(tensors, config or {}, metadata)
    _, message = quant_pack(".", "-o", "out/x.safetensors", status=1)
    assert part in message, f"wanted {part!r}, got {message!r}"
    assert not os.path.exists("out/x.safetensors")
    listed, _ = quant_pack("--list", ".")
    assert part in listed, f"--list lacks {part!r}: {listed}"
    if "--exclude" in message:
        quant_pack(".", "-o", "out/x.safetensors", "--exclude", ".")
        kept = load_file("out/x.safetensors")
        assert {n: t.tobytes() for n, t in kept.items()} == {
            n: np.ascontiguousarray(t).tobytes() for n, t in tensors.items()
        }
        os.remove("out/x.safetensors")
