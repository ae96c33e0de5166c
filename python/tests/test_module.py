# ===- test_module.py - Compiled functions on numpy arrays --------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
import concurrent.futures
import itertools
import pathlib
import subprocess

import layers
import numpy as np
import pytest
import qlinear
import reference
from qlinear.archive import write_archive

DEVICES = ["cpu", "emulated"]


@pytest.fixture(scope="module")
def encodings(tmp_path_factory):
    """One function per encoding: (module text, archive, [(encoding, n, k, x, y)])."""
    shapes, types = [(33, 384), (7, 288)], list(itertools.product(layers.NUMPY, repeat=2))
    cases = [(e, *shapes[i % 2], *types[(4 * i) % 9]) for i, e in enumerate(layers.ENCODINGS)]
    text = "".join(
        layers.linear(f"f{i}", f"w{i}", e, n, k, x, y) for i, (e, n, k, x, y) in enumerate(cases)
    )
    weights = {f"w{i}": case[:3] for i, case in enumerate(cases)}
    return text, layers.pack(tmp_path_factory.mktemp("encodings"), weights), cases


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    return layers.pack(tmp_path_factory.mktemp("mixed"), layers.MIXED_WEIGHTS)


def decoded(archive):
    return {
        name: reference.dequantize(w.blob, w.encoding, w.n, w.k)
        for name, w in qlinear.Archive(archive).weights.items()
    }


@pytest.mark.parametrize("device", DEVICES)
def test_every_encoding(encodings, device):
    text, archive, cases = encodings
    module = qlinear.load(layers.compiled(text, device), archive, device)
    weights = decoded(archive)
    rng = np.random.default_rng(1)
    for i, (_, _, k, xtype, ytype) in enumerate(cases):
        for rows in (1, 3, 11):
            x = layers.random(rng, (rows, k), xtype)
            y = module[f"f{i}"](x)
            assert y.dtype == layers.NUMPY[ytype]
            reference.assert_linear(y.astype(np.float64), x, weights[f"w{i}"], dtype=ytype,
                                    device=device)


@pytest.mark.parametrize("device", DEVICES)
def test_functions_of_all_kinds(mixed, device):
    module = qlinear.load(layers.compiled(layers.MIXED, device), mixed, device)
    assert set(module.functions) == {"qkv", "gated", "one", "codes", "of_codes"}
    w, rng = decoded(mixed), np.random.default_rng(2)
    for rows in (0, 1, 5, 19):
        x = layers.random(rng, (rows, 96), "f16")
        for y, name, dtype in zip(module.qkv(x), "qkv", ("f16", "f32", "bf16")):
            reference.assert_linear(y.astype(np.float64), x, w[name], dtype=dtype, device=device)
        x = layers.random(rng, (rows, 96), "bf16")
        bias, res = layers.random(rng, 40), layers.random(rng, (rows, 40), "bf16")
        y = module.gated(x, bias, res)
        many = device != "cpu" and rows >= reference.MANY_ROWS
        q = x.astype(np.float64) if many else reference.quantize_activations(x)
        want = (q @ w["gate"].T + bias) * (q @ w["up"].T) + res.astype(np.float64)
        assert np.linalg.norm(y - want) <= (2e-3 if many else 1e-5) * np.linalg.norm(want)
        # Quantized activations from one function into another.
        x = layers.random(rng, (rows, 96))
        codes = module.codes(x)
        assert codes.dtype == np.int8
        y = module.of_codes(codes).astype(np.float64)
        if many:
            q = reference.quantize_activations(x)
            reference.assert_linear(y, q, w["q"], device=device)
        else:
            reference.assert_linear(y, x, w["q"])
    x = layers.random(rng, (1, 96))
    reference.assert_linear(module.one(x).astype(np.float64), x, w["q"])
    assert repr(module.one) == "<function one(f32(1, 96)) -> f32(1, 48)>"


def test_out_and_set_weight(mixed):
    artifact = layers.compiled(layers.MIXED, "cpu")
    module, bare = qlinear.load(artifact, mixed), qlinear.load(artifact)
    x = layers.random(np.random.default_rng(3), (1, 96))
    out = np.full((1, 48), np.nan, np.float32)
    assert module.one(x, out=out) is out
    np.testing.assert_array_equal(out, module.one(x))
    with pytest.raises(qlinear.Error, match="weight 'q' of 'one' is not bound"):
        bare.one(x)
    blob = qlinear.Archive(mixed).weights["q"].blob.copy()
    aligned = np.zeros(blob.size + 64, np.uint8)
    aligned = aligned[-aligned.ctypes.data % 64 :][: blob.size]
    aligned[:] = blob
    bare.set_weight("q", aligned)
    np.testing.assert_array_equal(bare.one(x), out)
    aligned[:] = 0  # used where it lies, not copied
    assert not bare.one(x).any()
    with pytest.raises(qlinear.Error, match=r"the blob has 100 bytes, but 48x96 as <u4.*> has \d+"):
        bare.set_weight("q", aligned[:100])
    with pytest.raises(
        qlinear.ArgumentError, match="is a f32 array; a packed weight is a contiguous"
    ):
        bare.set_weight("q", x)


def test_another_file_of_the_same_name(mixed, tmp_path):
    """What was loaded goes on; the loader of libraries, which goes by names, gives no old code."""
    path, modules = tmp_path / "layer.so", []
    w, x = decoded(mixed)["q"], layers.random(np.random.default_rng(9), (1, 96))
    encoding, n, k = layers.MIXED_WEIGHTS["q"]
    for factor in (1.0, -2.0, 3.0):
        text = layers.linear("scaled", "q", encoding, n, k, "f32").replace(
            f") -> tensor<?x{n}xf32>\n",
            f") -> tensor<?x{n}xf32> {{\n^bb0(%p: f32):\n %c = arith.constant {factor} : f32\n"
            " %s = arith.mulf %p, %c : f32\n qlinear.yield %s : f32\n}\n",
        )
        new = tmp_path / "new.so"
        new.write_bytes(pathlib.Path(layers.compiled(text, "cpu")).read_bytes())
        new.replace(path)
        modules.append((factor, qlinear.load(path, mixed)))
        for scale, module in modules:
            reference.assert_linear(module.scaled(x) / scale, x, w)


def test_rows_beyond_every_variant(mixed):
    """Variants are compiled for at most 8 rows; more are done in chunks."""
    module = qlinear.load(layers.compiled(layers.MIXED, "cpu"), mixed)
    x = layers.random(np.random.default_rng(4), (1000, 96), "f16")
    y = module.qkv(x)[1]
    assert y.shape == (1000, 16)
    for row in (0, 7, 8, 500, 999):
        np.testing.assert_allclose(y[row], module.qkv(x[row : row + 1])[1][0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("device", DEVICES)
def test_threads(mixed, device):
    module = qlinear.load(layers.compiled(layers.MIXED, device), mixed, device)
    weights = decoded(mixed)

    def work(seed):
        rng = np.random.default_rng(seed)
        for _i in range(6):
            rows = int(rng.integers(1, 12))
            x = layers.random(rng, (rows, 96), "f16")
            for y, name, dtype in zip(module.qkv(x), "qkv", ("f16", "f32", "bf16")):
                reference.assert_linear(y.astype(np.float64), x, weights[name], dtype=dtype,
                                        device=device)
        return True

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(8)))


class Foreign:
    """An array of another library: DLPack only."""

    def __init__(self, array):
        self.array = array

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)


def test_dlpack(mixed):
    module = qlinear.load(layers.compiled(layers.MIXED, "cpu"), mixed)
    x = layers.random(np.random.default_rng(5), (4, 96), "f16")
    want, out = module.qkv(x), np.zeros((1, 48), np.float32)
    for have, expected in zip(module.qkv(Foreign(x)), want):
        np.testing.assert_array_equal(have, expected)
    one = x[:1].astype(np.float32)
    module.one(Foreign(one), out=Foreign(out))
    np.testing.assert_array_equal(out, module.one(one))
    with pytest.raises(qlinear.ArgumentError, match="not contiguous"):
        module.one(Foreign(np.zeros((1, 192), np.float32)[:, ::2]))
    with pytest.raises(qlinear.ArgumentError, match="DLPack type 2 of 64 bits"):
        module.one(Foreign(np.zeros((1, 96))))


def test_leading_dimensions_are_rows(mixed):
    module = qlinear.load(layers.compiled(layers.MIXED, "cpu"), mixed)
    x = layers.random(np.random.default_rng(6), (6, 96), "f16")
    want = module.qkv(x)
    for shape in [(2, 3), (1, 6), (3, 1, 2), (1, 2, 1, 3)]:
        for have, expected in zip(module.qkv(x.reshape(*shape, 96)), want, strict=True):
            assert have.shape == (*shape, expected.shape[1])
            np.testing.assert_array_equal(have.reshape(expected.shape), expected)
    # Results that are given may have dimensions of their own; so has a function of one row.
    out = [np.zeros((6, 1, w.shape[1]), w.dtype) for w in want]
    module.qkv(x.reshape(2, 3, 96), out=out)
    for have, expected in zip(out, want, strict=True):
        np.testing.assert_array_equal(have.reshape(expected.shape), expected)
    assert [y.shape for y in module.qkv(x[:0].reshape(2, 0, 96))] == [
        (2, 0, w.shape[1]) for w in want
    ]
    one = x[:1].astype(np.float32)
    np.testing.assert_array_equal(module.one(one[None])[0], module.one(one))


def test_argument_errors(mixed):
    module = qlinear.load(layers.compiled(layers.MIXED, "cpu"), mixed)
    x = np.zeros((3, 96), np.float16)
    bf16 = x.astype(layers.NUMPY["bf16"])
    bias, res = np.zeros(40, np.float32), bf16[:, :40].copy()
    one, fixed = module.one, np.zeros((1, 96), np.float32)

    class OnGpu:
        __cuda_array_interface__ = {
            "data": (4096, False),
            "shape": (3, 96),
            "typestr": "<f2",
            "strides": None,
            "version": 3,
        }

    cases = [
        (lambda: module.qkv(), "'qkv' takes 1 arrays, not 0"),
        (
            lambda: module.qkv(x.astype(np.float64)),
            "input 0 of 'qkv' is float64, but the function was compiled for f16",
        ),
        (
            lambda: module.qkv(x[:, :95]),
            r"input 0 of 'qkv' has the shape \(3, 95\), but the function takes \(M, 96\)",
        ),
        (
            lambda: module.qkv(x.reshape(2, 3, 48)),
            r"input 0 of 'qkv' has the shape \(2, 3, 48\), but the function takes \(M, 96\)",
        ),
        (
            lambda: module.gated(bf16.reshape(3, 1, 96), bias, res[:2].reshape(2, 1, 40)),
            "input 2 of 'gated' has 2 rows, but input 0 has 3",
        ),
        (
            lambda: one(np.zeros((2, 1, 96), np.float32)),
            r"input 0 of 'one' has the shape \(2, 1, 96\), but the function takes \(1, 96\)",
        ),
        (lambda: module.qkv(x[0]), r"takes \(M, 96\); one row is x.reshape\(1, -1\)"),
        (lambda: module.qkv(x.T), "is it transposed"),
        (lambda: module.qkv(np.asfortranarray(x)), "input 0 of 'qkv' is not contiguous"),
        (
            lambda: module.gated(bf16, bias, res[:2]),
            "input 2 of 'gated' has 2 rows, but input 0 has 3",
        ),
        (
            lambda: one(fixed, out=np.zeros((1, 47), np.float32)),
            r"output 0 of 'one' has the shape \(1, 47\), but the function takes \(1, 48\)",
        ),
        (lambda: module.qkv(x, out=x), "out= has 1 arrays, but 'qkv' has 3 results"),
        (
            lambda: one(fixed, out=np.broadcast_to(np.float32(0), (1, 48))),
            "output 0 of 'one' is not contiguous",
        ),
        (lambda: one([1, 2, 3]), "input 0 of 'one' is of type list; pass a numpy array"),
        (lambda: module.qkv(OnGpu()), "input 0 of 'qkv' is on cuda:0, but the module is on cpu"),
    ]
    for call, message in cases:
        with pytest.raises(qlinear.ArgumentError, match=message):
            call()
    readonly = np.zeros((1, 48), np.float32)
    readonly.flags.writeable = False
    with pytest.raises(qlinear.ArgumentError, match="output 0 of 'one' is read-only"):
        one(fixed, out=readonly)
    odd = np.zeros(97, np.float32)
    odd = odd[1:] if odd.ctypes.data % 16 == 0 else odd[:96]
    with pytest.raises(qlinear.ArgumentError, match="not at a multiple of 16 bytes; pass a copy"):
        one(odd.reshape(1, 96))
    with pytest.raises(AttributeError, match="no function 'kvq'; it has qkv, gated"):
        _ = module.kvq
    with pytest.raises(KeyError, match="no function 'kvq'"):
        _ = module["kvq"]


def test_write_archive(mixed, tmp_path):
    weights = list(qlinear.Archive(mixed).weights.values())
    path = tmp_path / "again.safetensors"
    write_archive(path, weights)
    # The packer computes them by itself, and the runtime on loading.
    again = qlinear.Archive(path).weights
    assert {n: w.checksum for n, w in again.items()} == {w.name: w.checksum for w in weights}
    assert len({w.checksum for w in weights}) == len(weights) > 1
    command = [qlinear.find_tool("quant-pack"), "--check", path]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.startswith(
        f"{len(weights)} weights, "
    )
    artifact = layers.compiled(layers.MIXED, "cpu")
    x = layers.random(np.random.default_rng(7), (1, 96))
    checked = qlinear.load(artifact, path, check_weights=True)
    np.testing.assert_array_equal(checked.one(x), qlinear.load(artifact, mixed).one(x))
    # Without what the archive says: the same.
    write_archive(path, [w._replace(checksum="") for w in weights])
    assert {n: w.checksum for n, w in qlinear.Archive(path).weights.items()} == {
        w.name: w.checksum for w in weights
    }
    # Damage on the way does not get a checksum of its own.
    damaged = weights[0].blob.copy()
    damaged[-1] ^= 1
    before = path.read_bytes()
    with pytest.raises(qlinear.Error, match=f"weight '{weights[0].name}' is damaged") as caught:
        write_archive(path, [weights[0]._replace(blob=damaged), *weights[1:]])
    assert caught.value.status == "BAD_WEIGHTS" and path.read_bytes() == before
    # Bytes that are wrong in the file are found.
    write_archive(path, weights)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert subprocess.run(command, check=False, capture_output=True).returncode == 1


def test_load_errors(mixed, tmp_path):
    artifact = layers.compiled(layers.MIXED, "cpu")
    with pytest.raises(qlinear.Error, match="there is no artifact 'nowhere.so'"):
        qlinear.load("nowhere.so")
    with pytest.raises(qlinear.Error, match="is none of cpu, cpu:THREADS, emulated"):
        qlinear.load(artifact, mixed, "tpu")
    with pytest.raises(qlinear.Error, match="compile it with --target=cuda:emulated") as caught:
        qlinear.load(artifact, mixed, "emulated")
    assert caught.value.status == "NO_DEVICE"
    other = layers.pack(tmp_path, {"q": (layers.MIXED_ENCODING, 48, 64)})
    with pytest.raises(
        qlinear.Error, match="'q'.*is 48x64, but the artifact was compiled for 48x96"
    ):
        qlinear.load(artifact, other)
    (tmp_path / "text.so").write_text("no library")
    with pytest.raises(qlinear.Error, match="text.so"):
        qlinear.load(tmp_path / "text.so")
