# ===- random_conventions.py - Random checkpoints of each convention -*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""random_conventions.py DIRECTORY SEED COUNT: the checkpoints of random_cases.py. Those that
are as their convention has them must be read exactly; the others must be refused with a
message, carried over, or still read exactly. No weight may be wrong."""

import collections
import os
import sys
from subprocess import run

import numpy as np
from checkpoints import fresh
from random_cases import KINDS, Case
from safetensors.numpy import load_file, save_file


def check(c):
    """'exact', 'refused' or 'carried'; raises if a weight is wrong."""
    for name in list(os.listdir(".")):
        os.remove(name)
    source = "model.safetensors"
    if hasattr(c, "data"):
        source = "model.gguf"
        with open(source, "wb") as f:
            f.write(c.data)
    else:
        save_file(c.tensors, source, c.metadata)
    for name, text in c.files.items():
        with open(name, "w") as f:
            f.write(text)
    out = ["-o", "p.out", "--quiet", "--encoding", "lossless", *c.options]
    done = run(["quant-pack", source, *out], capture_output=True, text=True)
    assert done.returncode in (0, 1), (done.returncode, done.stderr)
    if done.returncode == 1:
        assert done.stderr.startswith("quant-pack: error: ") and not os.path.exists("p.out")
        assert not c.valid, done.stderr
        return "refused"
    dequantize = ["quant-pack", "p.out", "-o", "f.out", "--dequantize", "f32", "--quiet"]
    run(dequantize, check=True)
    floats = load_file("f.out")
    expected = getattr(c, "weights", {f"{c.layer}.weight": c.weight})
    outcome = "exact"
    for name, w in expected.items():
        original, got = c.tensors.get(name), floats.get(name)
        is_same = original is not None and got is not None and got.tobytes() == original.tobytes()
        if got is None or (is_same and (w is None or got.shape != w.shape or (got != w).any())):
            outcome = "carried"
            continue
        assert w is not None, "a weight that nobody knows was packed"
        assert got.shape == w.shape, (name, got.shape, w.shape)
        differing = int((got != w.astype(np.float32)).sum())
        assert differing == 0, f"{name}: {differing} of {w.size} weights are wrong"
    assert outcome == "exact" or not c.valid, "carried over"
    return outcome


directory, seed, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
fresh(directory)
outcomes = collections.Counter()
for i in range(seed, seed + count):
    case = Case(np.random.default_rng(i))
    kind = KINDS[i % len(KINDS)]
    kind(case)
    try:
        outcome = check(case)
    except Exception as problem:
        raise AssertionError(f"seed {i}, {kind.__name__}, {case.what}: {problem}") from problem
    outcomes[f"{kind.__name__} {'valid' if case.valid else 'contradicting'}: {outcome}"] += 1
for line, times in sorted(outcomes.items()):
    print(times, line)
print(f"{count} checkpoints, 0 weights wrong")
