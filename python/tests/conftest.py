# ===- conftest.py - What the tests share -------------------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
import os
import tempfile

# One cache of artifacts for the run: compiling takes a second or more each.
os.environ.setdefault("QLINEAR_CACHE", tempfile.mkdtemp(prefix="qlinear-test-"))
