#!/usr/bin/env python3
# ===- quant-import-onnx.py - ONNX models to qlinear -----*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""The program; what it does is in onnx_import/, which lies in share/qlinear beside bin."""

import os
import sys

here = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(here), "share", "qlinear"))
from onnx_import.cli import main  # noqa: E402

sys.exit(main())
