# ===- test_parts.py - Parts of packed weights --------------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
import layers
import numpy as np
import pytest
import qlinear
import reference
import safetensors.numpy
from qlinear.archive import write_archive

N, K = 104, 800  # the last tile and the last unit are partial


@pytest.fixture(params=["row-u8", "block-u8"])
def packed(request, tmp_path):
    rng = np.random.default_rng(5)
    w = rng.standard_normal((N, K)).astype(np.float32)
    safetensors.numpy.save_file({"w": w}, tmp_path / "w.safetensors")
    qlinear.pack(
        tmp_path / "w.safetensors",
        tmp_path / "packed.safetensors",
        quantize="int4:32",
        encoding=request.param,
        include=".",
    )
    return qlinear.Archive(tmp_path / "packed.safetensors").find("w")


def run(weight, x, tmp_path):
    text = layers.linear("linear", "w", weight.encoding, weight.n, weight.k, x="f32")
    write_archive(tmp_path / "part.safetensors", [weight._replace(name="w")])
    artifact = qlinear.compile(text, "cpu")
    return qlinear.load(artifact, tmp_path / "part.safetensors", "cpu").linear(x)


def test_shards_compute_what_the_whole_does(packed, tmp_path):
    x = np.random.default_rng(6).standard_normal((3, K)).astype(np.float32)
    whole = run(packed, x, tmp_path)
    assert [w.n for w in qlinear.split(packed, 3)] == [32, 32, 40]
    shards = qlinear.split(packed, 2)
    assert [w.n for w in shards] == [48, 56] and {w.k for w in shards} == {K}
    parts = [run(w, x, tmp_path) for w in shards]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)
    # Along K, the results add up.
    shards = qlinear.split(packed, [512, 288], axis="columns")
    parts = [
        run(w, np.ascontiguousarray(part), tmp_path)
        for w, part in zip(shards, np.split(x, [512], axis=1))
    ]
    np.testing.assert_allclose(sum(parts), whole, atol=1e-5 * np.abs(whole).max())


@pytest.mark.parametrize("encoding", layers.ENCODINGS)
def test_parts_of_ranks(encoding, tmp_path):
    """What 2 and 4 processes have of a weight, against the decoder of the tests: rows at tiles,
    columns at units, and inside units where the encoding has no steps of them."""
    n, k = 104, 1152
    weight = qlinear.Archive(layers.pack(tmp_path, {"w": (encoding, n, k)})).find("w")

    def values(w):
        return reference.dequantize(np.array(w.blob), w.encoding, w.n, w.k)

    want = values(weight)
    for axis, sizes in [
        ("rows", [48, 56]),
        ("rows", [16, 32, 16, 40]),
        ("columns", [512, 640]),
        ("columns", [256, 256, 256, 384]),
        ("columns", [128, 384, 128, 512]),
    ]:
        if sizes[0] == 128 and "block" in encoding:
            with pytest.raises(qlinear.ArgumentError, match="columns 0 .. 128 of 1152 cannot be "
                               "cut out: a range begins at a multiple of 256"):  # fmt: skip
                qlinear.split(weight, sizes, axis)
            continue
        parts = qlinear.split(weight, sizes, axis)
        assert [(w.n, w.k) for w in parts] == [
            (s, k) if axis == "rows" else (n, s) for s in sizes
        ]
        together = np.concatenate([values(w) for w in parts], axis=int(axis == "columns"))
        np.testing.assert_array_equal(together, want, err_msg=f"{axis} {sizes}")


def test_parts_by_name(packed, tmp_path):
    """A program asks an archive for a part by its name, and gets it of the whole."""
    x = np.random.default_rng(7).standard_normal((3, K)).astype(np.float32)
    archive = tmp_path / "packed.safetensors"
    for axis, begin, end, size in [("rows", 48, N, N), ("columns", 256, 512, K)]:
        source = f"w[{axis} {begin}:{end} of {size}]"
        n, k = (end - begin, K) if axis == "rows" else (N, end - begin)
        text = layers.linear("linear", "w", packed.encoding, n, k, x="f32")
        text = text.replace(">>\nfunc", f'>> from "{source}"\nfunc')
        module = qlinear.load(qlinear.compile(text, "cpu"), archive, "cpu", check_weights=True)
        columns = np.ascontiguousarray(x[:, begin:end] if axis == "columns" else x)
        sizes = [b - a for a, b in zip([0, begin, end], [begin, end, size]) if b > a]
        part = qlinear.split(packed, sizes, axis)[1]
        np.testing.assert_array_equal(module.linear(columns), run(part, columns, tmp_path))
        for wrong in (source.replace(f" {size}]", " 96]"), source.replace(f"{begin}:", "8:")):
            artifact = qlinear.compile(text.replace(source, wrong), "cpu")
            with pytest.raises(qlinear.Error, match="does not have"):
                qlinear.load(artifact, archive, "cpu")


def test_merge_is_the_inverse(packed):
    assert len(packed.blob) == qlinear.packed_bytes(packed.encoding, N, K)
    for axis, parts in [("rows", 7), ("rows", [16, 88]), ("columns", 4), ("columns", 1)]:
        merged = qlinear.merge(qlinear.split(packed, parts, axis), axis)
        assert merged[:5] == packed[:5], axis
        np.testing.assert_array_equal(merged.blob, packed.blob)
    assert qlinear.merge([packed], name="x").name == "x"


def test_damage_is_not_cut_up(packed):
    damaged = packed.blob.copy()
    damaged[7] ^= 4
    damaged = packed._replace(blob=damaged)
    for call in (lambda: qlinear.split(damaged, 1), lambda: qlinear.merge([damaged])):
        with pytest.raises(qlinear.Error, match="weight 'w' is damaged"):
            call()


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda w: qlinear.split(w, 8), "104 rows of 'w' cannot be cut into 8 parts"),
        (lambda w: qlinear.split(w, [100, 4]), "rows 0 .. 100 of 104 cannot be cut out"),
        (lambda w: qlinear.split(w, [16, 16]), "are 32, and 'w' has 104"),
        (lambda w: qlinear.split(w, [120, -16]), "rows 0 .. 120 of 104 cannot be cut out"),
        (lambda w: qlinear.split(w, 2, "n"), "axis is 'n'; it is 'rows' or 'columns'"),
        (lambda w: qlinear.merge([]), "no weights to merge"),
        (lambda w: qlinear.merge([w, w]), "part 0 of 2 has 104 rows"),
        (lambda w: qlinear.merge([w, w._replace(k=32)]), "the same columns"),
        (lambda w: qlinear.packed_bytes("u4", 16, 32), "encoding 'u4'"),
        (lambda w: qlinear.packed_bytes(w.encoding, -16, 32), "is -16; they count from 0"),
        (lambda w: qlinear.packed_bytes(w.encoding, 16, 33), "K = 33 is not a multiple"),
        (lambda w: qlinear.split(w._replace(blob=w.blob[1:], checksum=""), 1), "the weight has"),
    ],
)
def test_what_cannot_be(packed, call, message):
    with pytest.raises(qlinear.ArgumentError, match=message):
        call(packed)


@pytest.mark.parametrize("encoding", layers.ENCODINGS)
def test_rows(encoding, tmp_path):
    """Against the decoder of the tests, at the ends of tiles and of the weight."""
    n, k = 51, 2 * 256 + 128
    weight = qlinear.Archive(layers.pack(tmp_path, {"w": (encoding, n, k)})).find("w")
    want = reference.dequantize(np.array(weight.blob), weight.encoding, n, k)
    rows = [0, 50, 15, 16, 16, 47, 48, 1]
    np.testing.assert_array_equal(qlinear.rows(weight, rows), want[rows].astype(np.float32))
    assert qlinear.rows(weight, []).shape == (0, k)
    for wrong in (-1, 51):
        with pytest.raises(qlinear.ArgumentError, match=f"row {wrong} is asked for, and the wei"):
            qlinear.rows(weight, [0, wrong])
    with pytest.raises(qlinear.ArgumentError, match="bytes"):
        qlinear.rows(weight._replace(blob=weight.blob[:-1]), [0])
