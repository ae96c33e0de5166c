# ===- test_compiler.py - compile(), pack() and archives ----------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
import os
import pathlib
import pwd
import shutil
import subprocess
import sys

import layers
import numpy as np
import pytest
import qlinear
import reference

TEXT = layers.linear("linear", "w", layers.ENCODINGS[2], 16, 64)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("QLINEAR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_text_path_and_output(tmp_path, cache):
    file = tmp_path / "layer.mlir"
    file.write_text(TEXT)
    artifact = qlinear.compile(file, "cpu:portable", output=tmp_path / "layer.so")
    assert artifact.path == str(tmp_path / "layer.so") and not list(cache.glob("*.so"))
    assert artifact.targets == ["cpu:portable"]
    both = qlinear.compile(TEXT, ["cpu:portable", "cuda:emulated"])
    assert both.targets == ["cpu:portable", "cuda:emulated"]


def test_cache(tmp_path, cache, monkeypatch):
    first = qlinear.compile(TEXT, "cpu:portable")
    made = os.stat(first.path).st_mtime_ns
    assert qlinear.compile(TEXT, "cpu:portable").path == first.path
    assert os.stat(first.path).st_mtime_ns == made
    assert qlinear.compile(TEXT, "cpu:portable", fuse=False).path != first.path
    # Another build of the compiler makes it anew.
    home = tmp_path / "home"
    (home / "bin").mkdir(parents=True)
    shutil.copy2(qlinear.find_tool("quant-compile"), home / "bin")
    library = os.path.realpath(os.path.join(qlinear.find_tool("quant-compile"), "../../lib"))
    (home / "lib").symlink_to(library)
    monkeypatch.setenv("QLINEAR_HOME", str(home))
    assert qlinear.compile(TEXT, "cpu:portable").path == first.path
    assert os.stat(first.path).st_mtime_ns != made
    # Without a compiler, the cache still serves; what is not in it is an error.
    monkeypatch.setenv("QLINEAR_HOME", str(tmp_path / "empty"))
    monkeypatch.setenv("PATH", "/nonexistent")
    assert qlinear.compile(TEXT, "cpu:portable").path == first.path
    with pytest.raises(
        qlinear.Error, match="quant-compile was not found in QLINEAR_HOME.*set QLINEA"
    ):
        qlinear.compile(TEXT + "\n", "cpu:portable")


def test_compile_errors(cache, tmp_path):
    with pytest.raises(qlinear.CompileError, match="3:10: error: "):
        qlinear.compile("module {\n  func.func @f() -> () {\n    %0 = qlinear.nothing\n  }\n}")
    with pytest.raises(qlinear.CompileError, match="unknown target|known|target"):
        qlinear.compile(TEXT, "cuda:sm_1")
    with pytest.raises(qlinear.CompileError, match="cannot read 'nowhere.mlir': No such file"):
        qlinear.compile("nowhere.mlir")
    assert not list(tmp_path.glob("cache/*.so"))


def test_version():
    """The package, its metadata and the runtime are of one version."""
    root = pathlib.Path(__file__).resolve().parents[2]
    assert qlinear.__version__ == (root / "VERSION").read_text().strip()
    assert qlinear.runtime_version() == qlinear.__version__


def test_no_library(tmp_path):
    """A message that says what to do, in a process that has not loaded it."""
    package = tmp_path / "qlinear"
    shutil.copytree(os.path.dirname(qlinear.__file__), package)
    shutil.rmtree(package / "lib", ignore_errors=True)
    environment = {
        **os.environ,
        "QLINEAR_HOME": str(tmp_path / "empty"),
        "PYTHONPATH": str(tmp_path),
        "PATH": "/nonexistent",
    }
    ran = subprocess.run(
        [sys.executable, "-c", "import qlinear; qlinear.load('x.so')"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "there is no artifact 'x.so'" in ran.stderr
    ran = subprocess.run(
        [sys.executable, "-c", "import qlinear; qlinear.runtime_version()"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "cannot load libQLinearRuntime.so" in ran.stderr and "QLINEAR_HOME" in ran.stderr


def test_pack_and_archive(tmp_path):
    encoding = layers.ENCODINGS[0]
    path = layers.pack(tmp_path, {"a": (encoding, 16, 64), "b": (layers.ENCODINGS[5], 5, 96)})
    archive = qlinear.Archive(path)
    assert sorted(archive.weights) == ["a", "b"]
    a = archive.find("a")
    assert (a.n, a.k, a.encoding) == (16, 64, encoding)
    # Our own decoder against quant-pack's.
    qlinear.pack(
        path, tmp_path / "floats.safetensors", encoding={}, options=["--dequantize", "f32"]
    )
    from safetensors.numpy import load_file

    floats = load_file(tmp_path / "floats.safetensors")
    for name, w in archive.weights.items():
        mine = reference.dequantize(w.blob, w.encoding, w.n, w.k)
        np.testing.assert_array_equal(mine.astype(np.float32), floats[name])
    with pytest.raises(qlinear.Error, match="has no weight 'c'; it has 2: a, b"):
        archive.find("c")
    with pytest.raises(qlinear.Error, match="is not an archive of quant-pack"):
        qlinear.Archive(tmp_path / "floats.safetensors")
    with pytest.raises(qlinear.Error, match="cannot read"):
        qlinear.Archive(tmp_path / "nowhere")
    with pytest.raises(qlinear.Error, match="nowhere"):
        qlinear.pack(tmp_path / "nowhere", tmp_path / "out")


def test_cache_folder(monkeypatch):
    monkeypatch.setenv("QLINEAR_CACHE", "/a")
    assert qlinear.cache_folder() == pathlib.Path("/a")
    monkeypatch.delenv("QLINEAR_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/b")
    monkeypatch.setenv("HOME", "/c")
    assert qlinear.cache_folder() == pathlib.Path("/b/qlinear")
    for none in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", none)
        assert qlinear.cache_folder() == pathlib.Path("/c/.cache/qlinear")
    monkeypatch.delenv("HOME")
    home = pathlib.Path(pwd.getpwuid(os.getuid()).pw_dir)
    assert qlinear.cache_folder() == home / ".cache/qlinear"
