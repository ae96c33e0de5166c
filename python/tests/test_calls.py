# ===- test_calls.py - Calls in C++ and in Python agree ------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Where there is python/native, calls on numpy arrays that fit go through it, and none other."""

import concurrent.futures
import gc
import subprocess
import sys
import weakref

import layers
import ml_dtypes
import numpy as np
import pytest
import qlinear
from qlinear import _abi

pytestmark = pytest.mark.skipif(
    _abi.extension("_call", "QLINEAR_CALLS") is None, reason="no extension"
)


@pytest.fixture(scope="module")
def module(tmp_path_factory):
    archive = layers.pack(tmp_path_factory.mktemp("mixed"), layers.MIXED_WEIGHTS)
    return qlinear.load(layers.compiled(layers.MIXED, "cpu"), archive)


def in_python(function, *inputs, out=None):
    """The same call, without the extension."""
    fast, function._fast = function._fast, None
    try:
        return function(*inputs, out=out)
    finally:
        function._fast = fast


def test_results_are_the_same(module):
    rng = np.random.default_rng(0)
    for shape in [(1,), (3,), (40,), (2, 5), (1, 1), (2, 1, 3)]:
        x = layers.random(rng, (*shape, 96), "f16")
        have = module.qkv._fast((x,), None)
        want = in_python(module.qkv, x)
        assert type(have) is type(want) is tuple
        for h, w in zip(have, want, strict=True):
            assert (h.dtype, h.shape, h.strides) == (w.dtype, w.shape, w.strides)
            assert h.flags.c_contiguous and h.flags.writeable and h.ctypes.data % 64 == 0
            np.testing.assert_array_equal(h, w)
        out = [np.empty_like(w) for w in want]
        for given in (out, tuple(out)):
            for h, o, w in zip(module.qkv._fast((x,), given), out, want, strict=True):
                assert h is o
                np.testing.assert_array_equal(h, w)
                o[:] = 0
    x = layers.random(rng, (4, 96), "bf16")
    bias, res = layers.random(rng, 40), layers.random(rng, (4, 40), "bf16")
    have = module.gated._fast((x, bias, res), None)
    np.testing.assert_array_equal(have, in_python(module.gated, x, bias, res))


def test_what_does_not_fit_is_declined(module):
    x = np.zeros((3, 96), np.float16)
    outs = [np.zeros((3, n), t) for n, t in ((48, "f2"), (16, "f4"), (16, ml_dtypes.bfloat16))]
    assert module.qkv._fast((x,), outs) is not None
    shifted = np.zeros(x.size + 1, np.float16)[1:].reshape(x.shape)
    frozen = [outs[0], outs[1], outs[2].copy()]
    frozen[2].flags.writeable = False
    swapped = x.astype(">f2")
    for inputs, out in [
        ((), None),
        ((x, x), None),
        ((x.astype(np.float32),), None),
        ((x.view(np.int16),), None),
        ((swapped,), None),
        ((x[:, :95],), None),
        ((x[:, ::2],), None),
        ((np.asfortranarray(x),), None),
        ((x[::2],), None if x[::2].flags.c_contiguous else outs),
        ((x[0],), None),
        ((x[:0],), None),
        ((shifted,), None),
        ((x.tolist(),), None),
        ((None,), None),
        ((x.view(np.matrix),), None),
        ((x,), outs[:2]),
        ((x,), outs[0]),
        ((x,), [*outs, outs[0]]),
        ((x,), outs[::-1]),
        ((x,), [o[:2] for o in outs]),
        ((x,), frozen),
        ((x,), {}),
        ((x,), [None] * 3),
        ((x,), ()),
    ]:
        assert module.qkv._fast(inputs, out) is None, (inputs, out)
    rows = layers.random(np.random.default_rng(1), (4, 96), "bf16"), np.zeros(40, np.float32)
    assert module.gated._fast((*rows, np.zeros((5, 40), ml_dtypes.bfloat16)), None) is None
    assert module.gated._fast((rows[0], rows[1][:39], rows[0][:, :40].copy()), None) is None
    assert module.one._fast((np.zeros((2, 96), np.float32),), None) is None
    for wrong in [(), (1,), ((x,), None, 1)]:
        with pytest.raises(TypeError):
            module.qkv._fast(*wrong)


def test_errors_are_the_runtimes(module):
    bare = qlinear.load(module.artifact)
    x = np.zeros((1, 96), np.float32)
    with pytest.raises(qlinear.Error, match="weight 'q' of 'one' is not bound") as said:
        bare.one._fast((x,), None)
    assert said.value.status == "BAD_WEIGHTS"


def test_nothing_is_kept_nor_lost(module):
    x = layers.random(np.random.default_rng(2), (2, 96), "f16")
    count, of_type = sys.getrefcount(x), sys.getrefcount(x.dtype)
    y = module.qkv(x)
    alive = weakref.ref(y[0])
    views = [v[:1] for v in y]  # what an array is a view of stays
    want = [v.copy() for v in views]
    del y
    gc.collect()
    for _ in range(2000):
        module.qkv(x)
        module.qkv._fast((x[:, :95],), None)
        module.qkv._fast((x,), [None] * 3)
    assert sys.getrefcount(x) == count
    assert abs(sys.getrefcount(x.dtype) - of_type) < 100
    for view, w in zip(views, want, strict=True):
        np.testing.assert_array_equal(view, w)
    del views, view
    gc.collect()
    assert alive() is None
    # A module is gone with its last user, though its functions and it refer to each other.
    other = qlinear.load(module.artifact)
    gone = weakref.ref(other)
    del other
    gc.collect()
    assert gone() is None


def test_threads_share_a_function(module):
    rng = np.random.default_rng(3)
    inputs = [layers.random(rng, (int(rng.integers(1, 70)), 96), "f16") for _ in range(24)]
    want = [in_python(module.qkv, x) for x in inputs]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for have, w in zip(pool.map(module.qkv, inputs * 10), want * 10, strict=True):
            for h, expected in zip(have, w, strict=True):
                np.testing.assert_array_equal(h, expected)


def test_the_environment_chooses():
    ask = "from qlinear import _abi; print(_abi.extension('_call', 'QLINEAR_CALLS') is not None)"
    for mode, said in [("python", "False\n"), ("native", "True\n"), ("", "True\n")]:
        ran = subprocess.run(
            [sys.executable, "-c", f"import os; os.environ['QLINEAR_CALLS'] = {mode!r}; {ask}"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert ran.stdout == said
    ran = subprocess.run(
        [sys.executable, "-c", f"import os; os.environ['QLINEAR_CALLS'] = 'C'; {ask}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "QLINEAR_CALLS is 'C'; it is python, native or not set" in ran.stderr
