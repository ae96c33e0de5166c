# ===- conftest.py - What the tests share -------------------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
import importlib.util
import os
import pathlib
import sys
import tempfile

# From a checkout without further ado: the sources, and the build of the release preset.
ROOT = pathlib.Path(__file__).resolve().parents[2]
if importlib.util.find_spec("qlinear") is None:
    sys.path.insert(0, str(ROOT / "python" / "src"))
    os.environ.setdefault("QLINEAR_HOME", str(ROOT / "build" / "release"))

# One cache of artifacts for the run: compiling takes a second or more each.
os.environ.setdefault("QLINEAR_CACHE", tempfile.mkdtemp(prefix="qlinear-test-"))
