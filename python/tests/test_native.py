# ===- test_native.py - torch.ops.qlinear in C++ -------------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""What the operators in C++ have for themselves. All other tests of PyTorch run with them,
and some again with QLINEAR_TORCH_OPS=python (test/Python/torch.test)."""

import concurrent.futures
import os
import subprocess
import sys

import pytest
import qlinear

torch = pytest.importorskip("torch")
import qlinear.nn  # noqa: E402
from qlinear import _blocks, _native, _ops  # noqa: E402

pytestmark = pytest.mark.skipif(
    _native.library is None, reason="libQLinearTorch.so was not built, or is not wanted"
)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def packed(n=40, k=96, bias=True, dtype=torch.float32, **options):
    linear = torch.nn.Linear(k, n, bias=bias, dtype=dtype)
    return qlinear.nn.Linear.from_float(linear, "row-u8", **options)


def arguments(layer, x):
    return x, layer.packed, layer.bias, layer.encoding, layer.out_features, layer.activations


@pytest.mark.parametrize("host", ["cpu", "emulated"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("activations", ["int8", "float"])
def test_bits_are_those_of_python(host, dtype, activations):
    layer = packed(bias=dtype != torch.float16, dtype=dtype, activations=activations)
    with qlinear.nn.host_device(host), torch.no_grad():
        for shape in ((96,), (1, 96), (9, 96), (2, 3, 5, 96), (0, 96), (2, 0, 96)):
            x = torch.randn(shape, dtype=dtype)
            want = _ops._linear(*arguments(layer, x))
            have = torch.ops.qlinear.linear(*arguments(layer, x))
            assert torch.equal(have, want) and have.shape == want.shape
            assert torch.equal(layer(x), want)
        for x in (torch.randn(96, 4).T, torch.randn(4, 192)[:, ::2], torch.randn(97)[1:]):
            call = arguments(layer, x.to(dtype))
            assert torch.equal(torch.ops.qlinear.linear(*call), _ops._linear(*call))
        for bias in (torch.randn(80, dtype=dtype)[::2], torch.randn(41)[1:]):
            call = torch.randn(3, 96, dtype=dtype), layer.packed, bias, *arguments(layer, x)[3:]
            assert torch.equal(torch.ops.qlinear.linear(*call), _ops._linear(*call))


def test_modes_see_the_op_that_they_know():
    """Not the one without derivatives, which is called where nothing looks."""
    layer, x, seen = packed(), torch.randn(2, 96), []

    class Seen(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            seen.append(function)
            return function(*args, **(kwargs or {}))

    with torch.no_grad():
        want = layer(x)
        with Seen():
            assert torch.equal(layer(x), want)
    assert torch.ops.qlinear.linear.default in seen
    x.requires_grad_()
    layer(x).sum().backward()
    assert x.grad is not None


def test_a_block():
    layers = [packed(n=n, bias=False) for n in (64, 32, 32)]
    described = tuple((v.encoding, v.out_features, None) for v in layers)
    text = _blocks.projections_text("f32", 96, (1e-6, 0, "f32"), described, "int8")
    x, gamma, weights = torch.randn(2, 3, 96), torch.randn(96), [v.packed for v in layers]
    want = _blocks._block([x, gamma], weights, text, [64, 32, 32])
    for given in (x, x.transpose(0, 1).contiguous().transpose(0, 1)):
        have = torch.ops.qlinear.block([given, gamma], weights, text, [64, 32, 32])
        assert all(torch.equal(a, b) for a, b in zip(have, want))
    (empty,) = torch.ops.qlinear.block([x[:0], gamma], weights, text, [64])
    assert empty.shape == (0, 3, 64)
    for inputs, blobs, message in [
        ([x], weights, "'block' has 2 inputs, not 1"),
        ([x, gamma[:95]], weights, "input 1 of 'block' has the shape"),
        ([x, gamma.half()], weights, "input 1 of 'block' is f16"),
        ([x, gamma], weights[:2], "with 2 weights, but the artifact has 3"),
        ([x, gamma], [weights[0][:-1], *weights[1:]], "bytes"),
        ([x, x[:1]], weights, r"input 1 of the block has the shape \(1, 3, 96\), and x has \(2"),
        ([gamma, gamma], weights, "has to be rows, with two or more dimensions"),
        ([x, gamma], [w.float() for w in weights], "a packed weight is a vector of uint8"),
    ]:
        with pytest.raises(RuntimeError, match=message):
            torch.ops.qlinear.block(inputs, blobs, text, [64, 32, 32])


def test_errors_keep_their_types():
    """Also those of Python that C++ is between, and none is taken for a later one."""
    layer = packed()
    x = torch.randn(2, 96)
    op = torch.ops.qlinear.linear
    for call, message in [
        (lambda: op(*arguments(layer, x)[:5], "int4"), "activations is 'int4'; 'int8' .*possible"),
        (lambda: op(*arguments(layer, x.double())), "x has a type that is not possible: float32"),
        (lambda: op(*arguments(layer, x.sum())), "x has no dimensions; its last one is K"),
        (lambda: op(x, layer.packed, layer.bias.int(), layer.encoding, 40), "bias has a type"),
    ]:
        with pytest.raises(RuntimeError, match=message):
            call()
    with pytest.raises(qlinear.ArgumentError, match="packed is a tensor of the shape"):
        _ops.linear(x, layer.packed.float(), None, layer.encoding, 40, "int8")
    with pytest.raises(qlinear.CompileError, match="group"):
        _ops.linear(x, layer.packed, None, "u4, group = 31", 40, "int8")
    with pytest.raises(RuntimeError, match="no dimensions"):
        op(*arguments(layer, x.sum()))
    other = RuntimeError("another")
    assert _native.translated(other) is other


def test_the_first_call_of_many_threads():
    layer = packed(n=56)
    x = torch.randn(3, 96)

    def work(_):
        with torch.no_grad():
            return layer(x)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        results = list(pool.map(work, range(32)))
    assert all(torch.equal(y, results[0]) for y in results)


def run(script, *args, **environment):
    """A Python that knows nothing of the package but what it loads."""
    ran = subprocess.run(
        [sys.executable, "-c", script, *map(str, args)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


ALONE = """
import sys, torch
library, saved = sys.argv[1:3]
torch.ops.load_library(library)
given, want = torch.load(saved)
have = torch.ops.qlinear.linear(*given)
assert torch.equal(have, want)
assert not [name for name in sys.modules if name.startswith("qlinear")]
try:
    torch.ops.qlinear.linear(given[0].half(), *given[1:])
except RuntimeError as error:
    print(error)
# The package takes over what was loaded before it.
import qlinear.nn
assert qlinear._native.library is not None
assert torch.equal(qlinear._ops.linear(*given), want)
"""

PYTHON_FIRST = """
import sys, torch, qlinear.nn
assert qlinear._native.library is None
torch.ops.load_library(sys.argv[1])
given, want = torch.load(sys.argv[2])
assert torch.equal(torch.ops.qlinear.linear(*given), want)
"""


def test_without_the_package(tmp_path):
    layer = packed(n=72)
    x = torch.randn(3, 96)
    cache = str(tmp_path / "cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QLINEAR_CACHE", cache)
        qlinear.nn.prepare(layer, torch.float32, targets=[qlinear.device("cpu").target])
    with torch.no_grad():
        torch.save((arguments(layer, x), layer(x)), tmp_path / "saved")
    library = _native.library._name
    said = run(ALONE, library, tmp_path / "saved", QLINEAR_CACHE=cache)
    assert "there is no kernel for a 72 x 96 linear <u4" in said and "in f16" in said
    assert f"'{cache}' has none; make it where the compiler is" in said
    run(PYTHON_FIRST, library, tmp_path / "saved", QLINEAR_TORCH_OPS="python")


def test_the_choice():
    say = "import qlinear.nn"
    with pytest.raises(AssertionError, match="QLINEAR_TORCH_OPS is 'x'; it is python, native or"):
        run(say, QLINEAR_TORCH_OPS="x")
    with pytest.raises(AssertionError, match="is native, but .* cannot be loaded"):
        run(say, QLINEAR_TORCH_OPS="native", QLINEAR_HOME="/nonexistent", PATH="/nonexistent")
