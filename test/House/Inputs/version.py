# ===- version.py - Who says which version it is --------------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""usage: version.py SOURCES BUILD

The version that tools, libraries, packages and texts give is the one of the file VERSION; the
number of the ABI that Python and the runtime's file have is the header's."""

import ctypes
import pathlib
import re
import subprocess
import sys

sources, build = map(pathlib.Path, sys.argv[1:])
version = (sources / "VERSION").read_text().strip()
assert re.fullmatch(r"\d+\.\d+\.\d+", version), version

for tool in ("quant-pack", "quant-compile", "quant-opt", "quant-inspect", "quant-run"):
    said = subprocess.run([build / "bin" / tool, "--version"], capture_output=True, text=True,
                          check=True).stdout
    assert f"(QLinear {version}" in said, said

header = (sources / "runtime/include/qlinear-runtime/runtime.h").read_text()
abi = int(re.search(r"^#define QLR_ABI_VERSION (\d+)$", header, re.M)[1])
library = ctypes.CDLL(build / f"lib/libQLinearRuntime.so.{abi}")
library.qlr_version.restype = ctypes.c_char_p
assert library.qlr_version().decode() == version
assert library.qlr_abi_version() == abi
python = (sources / "python/src/qlinear/_abi.py").read_text()
assert re.search(rf"^ABI = {abi} ", python, re.M)

for name in ("qlinear-runtime", "qlinear-c"):
    assert f"\nVersion: {version}\n" in (build / f"pkgconfig/{name}.pc").read_text()
assert f'CPACK_PACKAGE_VERSION "{version}"' in (build / "CPackConfig.cmake").read_text()
assert f"\nversion: {version}\n" in (sources / "CITATION.cff").read_text()
changes = re.findall(r"^## (\S+)", (sources / "CHANGELOG.md").read_text(), re.M)
assert version in changes, f"CHANGELOG.md has no section '## {version}'"
