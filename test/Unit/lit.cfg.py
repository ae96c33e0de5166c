# ===- lit.cfg.py - QLinear's unit tests --------------------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#

import os

import lit.formats

config.name = "QLinear-Unit"
config.suffixes = []
config.test_source_root = os.path.join(config.qlinear_obj_root, "unittests")
config.test_exec_root = config.test_source_root
config.test_format = lit.formats.GoogleTest("", "Tests")
# As in the other suite; of no effect in builds without AddressSanitizer.
config.environment["ASAN_OPTIONS"] = "allow_user_poisoning=0"
leaks = os.path.join(os.path.dirname(__file__), "leaks.supp")
config.environment["LSAN_OPTIONS"] = f"suppressions={leaks}:print_suppressions=0"
config.environment["TMPDIR"] = os.environ.get("TMPDIR", "/tmp")
