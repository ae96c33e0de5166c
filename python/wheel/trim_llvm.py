#!/usr/bin/env python3
# ===- trim_llvm.py - The part of LLVM and MLIR that programs use --*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Links a libLLVM.so with what the given programs take from the distribution's libLLVM.so and
libMLIR.so, and nothing else: of 257 MB 118 are left, and neither Z3, libxml2 nor ICU has to come
along.

    trim_llvm.py --llvm /usr/lib/llvm-22 --cxx clang++-22 -o FOLDER PROGRAM ...

The programs are those that are built against the distribution's libraries, and stay as they are:
the library has the name and the symbol version of the distribution's libLLVM.so, which it takes
the place of. It also has what is in libMLIR.so, which the programs must not ask for any more
(patchelf --remove-needed). It is made of the archives that the distribution's libraries are made
of. Back ends of other machines than TARGETS are left out: LLVM's "initialize all targets" finds
functions that do nothing in their place.
"""

import argparse
import pathlib
import re
import subprocess
import sys

TARGETS = {"X86", "AArch64", "NVPTX"}
# Kinds of LLVMInitialize<target><kind>.
KINDS = ("TargetInfo", "TargetMC", "Target", "AsmPrinter", "AsmParser", "Disassembler")


def symbols(path):
    """(name, is it defined) of the dynamic symbols of an ELF file, without their versions."""
    command = ["llvm-nm-22", "--dynamic", "--format=posix", path]
    table = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    for line in table.splitlines():
        name, _, rest = line.partition(" ")
        if name:
            yield name.partition("@")[0], not rest.startswith(("U", "w", "v"))


def stubs(archives):
    """(C code of functions in place of what is left out, the targets that are)."""
    found = {m[1] for p in archives if (m := re.fullmatch(r"libLLVM(\w+?)CodeGen\.a", p.name))}
    left_out = sorted(found - TARGETS)
    lines = [f"void LLVMInitialize{t}{kind}(void) {{}}" for t in left_out for kind in KINDS]
    # Of link-time optimization, which nothing here is linked with.
    lines.append("void _Z18getPollyPluginInfov(void) { __builtin_trap(); }")
    return "\n".join(lines) + "\n", left_out


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--llvm", type=pathlib.Path, required=True, help="prefix of LLVM and MLIR")
    parser.add_argument("--cxx", default="clang++-22")
    parser.add_argument("-o", dest="folder", type=pathlib.Path, required=True)
    parser.add_argument("programs", nargs="+")
    options = parser.parse_args()

    lib = options.llvm / "lib"
    llvm, mlir = (lib / name for name in ("libLLVM.so", "libMLIR.so"))
    has = {name for path in (llvm, mlir) for name, defined in symbols(path) if defined}
    # What programs define themselves, too, such as variables of inline functions, must be one.
    used = {pair for path in options.programs for pair in symbols(path) if pair[0] in has}
    shared = sorted({name for name, _ in used})
    wanted = sorted({name for name, defined in used if not defined})

    archives = [*lib.glob("libLLVM*.a"), *lib.glob("libMLIR*.a")]
    code, left_out = stubs(archives)
    archives = [
        path
        for path in archives
        if not path.name.startswith("libMLIRCAPI")
        and not any(path.name.startswith(f"libLLVM{target}") for target in left_out)
    ]
    folder = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "stubs.c").write_text(code)
    (folder / "exports.map").write_text(
        "LLVM_22.1 { global:\n" + "".join(f'  "{name}";\n' for name in shared) + "local: *; };\n"
    )
    (folder / "link.rsp").write_text(
        "".join(f"-Wl,-u,{name}\n" for name in wanted)
        + "".join(f"{path}\n" for path in archives)
    )
    command = [
        options.cxx, "-shared", "-fuse-ld=lld-22", "-o", folder / "libLLVM.so.22.1",
        "-x", "c", folder / "stubs.c", "-x", "none", f"@{folder / 'link.rsp'}",
        "-lz", "-lzstd", "-Wl,-soname,libLLVM.so.22.1", "-Wl,--gc-sections", "-Wl,--as-needed",
        "-Wl,-s", "-Wl,-z,nodelete", "-Wl,--no-undefined",
        f"-Wl,--version-script={folder / 'exports.map'}",
    ]  # fmt: skip
    subprocess.run(command, check=True)
    size = (folder / "libLLVM.so.22.1").stat().st_size
    print(f"{folder}/libLLVM.so.22.1: {size / 1e6:.0f} MB, {len(shared)} of {len(has)} symbols")


if __name__ == "__main__":
    sys.exit(main())
