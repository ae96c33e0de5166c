#!/usr/bin/env python3
# ===- mgpu.py - Modules with host code of upstream's pipeline -----*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Builds shared libraries whose host code is made by upstream MLIR's own
gpu-lower-to-nvvm-pipeline and calls the runtime's mgpu* functions:

  mgpu-add.so     vector_add(memref<?xf32> a, b, c): a gpu.launch, all of it upstream's
  mgpu-linear.so  linear(memref<?xi8> weight, x, y): the kernel of one linear, compiled by
                  quant-compile; upstream's host code loads and launches it

usage: mgpu.py DIRECTORY --bin DIR --target cuda:sm_90 --linear MODULE.mlir [--format isa]

MODULE is a module whose first function is a linear. --format bin (default) embeds a
cubin in mgpu-add.so; isa embeds PTX, which the driver compiles. mgpu-linear.so has PTX.
"""

import argparse
import glob
import os
import re
import shutil
import subprocess
import sys

VECTOR_ADD = """
func.func @vector_add(%a: memref<?xf32>, %b: memref<?xf32>, %c: memref<?xf32>)
    attributes {llvm.emit_c_interface} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c128 = arith.constant 128 : index
  %n = memref.dim %a, %c0 : memref<?xf32>
  %blocks = arith.ceildivui %n, %c128 : index
  %t0 = gpu.wait async
  %da, %t1 = gpu.alloc async [%t0] (%n) : memref<?xf32>
  %db, %t2 = gpu.alloc async [%t1] (%n) : memref<?xf32>
  %dc, %t3 = gpu.alloc async [%t2] (%n) : memref<?xf32>
  %t4 = gpu.memcpy async [%t3] %da, %a : memref<?xf32>, memref<?xf32>
  %t5 = gpu.memcpy async [%t4] %db, %b : memref<?xf32>, memref<?xf32>
  %t6 = gpu.launch async [%t5] blocks(%bx, %by, %bz) in (%gx = %blocks, %gy = %c1, %gz = %c1)
      threads(%tx, %ty, %tz) in (%sx = %c128, %sy = %c1, %sz = %c1) {
    %first = arith.muli %bx, %c128 : index
    %i = arith.addi %first, %tx : index
    %inside = arith.cmpi ult, %i, %n : index
    scf.if %inside {
      %x = memref.load %da[%i] : memref<?xf32>
      %y = memref.load %db[%i] : memref<?xf32>
      %sum = arith.addf %x, %y : f32
      memref.store %sum, %dc[%i] : memref<?xf32>
    }
    gpu.terminator
  }
  %t7 = gpu.memcpy async [%t6] %c, %dc : memref<?xf32>, memref<?xf32>
  %t8 = gpu.dealloc async [%t7] %da : memref<?xf32>
  %t9 = gpu.dealloc async [%t8] %db : memref<?xf32>
  %t10 = gpu.dealloc async [%t9] %dc : memref<?xf32>
  gpu.wait [%t10]
  return
}
"""


def llvm_tool(name):
    """A tool of LLVM 22, on PATH or where distributions put it."""
    for found in [shutil.which(f"{name}-22"), *glob.glob(f"/usr/lib/llvm-22/bin/{name}"),
                  shutil.which(name)]:
        if found:
            return found
    sys.exit(f"mgpu.py: error: {name} of LLVM 22 is not on PATH; install mlir-22-tools")


def escaped(data):
    """Bytes as an MLIR string."""
    return "".join(chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\{b:02X}" for b in data)


def linear_module(module, chip, options, work):
    """Host code around the kernel for one row of the first function's linear; any memory
    will do as the temporary, which only kernels for many rows use."""
    def compiled(emit):
        path = f"{work}/linear.{emit}"
        subprocess.run([f"{options.bin}/quant-compile", module, f"--target={options.target}",
                        f"--emit={emit}", "-o", path], check=True)
        with open(path, "rb") as f:
            return f.read()

    lowered = compiled("mlir").decode()
    variant = re.search(r"#qlinear\.variant<rows = 1, kernel = @(\w+)::@(\w+), grid = (\d+), "
                        r"block = (\d+), smem = (\d+)>", lowered)
    binary, kernel, grid, block, smem = variant.groups()
    pointers = "".join(
        f"""  %i{v} = memref.extract_aligned_pointer_as_index %d{v} : memref<?xi8> -> index
  %j{v} = arith.index_cast %i{v} : index to i64
  %p{v} = llvm.inttoptr %j{v} : i64 to !llvm.ptr
""" for v in "wxy")
    return f"""module attributes {{gpu.container_module}} {{
func.func @linear(%w: memref<?xi8>, %x: memref<?xi8>, %y: memref<?xi8>)
    attributes {{llvm.emit_c_interface}} {{
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %grid = arith.constant {grid} : index
  %block = arith.constant {block} : index
  %smem = arith.constant {smem} : i32
  %rows = arith.constant 1 : i32
  %nw = memref.dim %w, %c0 : memref<?xi8>
  %nx = memref.dim %x, %c0 : memref<?xi8>
  %ny = memref.dim %y, %c0 : memref<?xi8>
  %t0 = gpu.wait async
  %dw, %t1 = gpu.alloc async [%t0] (%nw) : memref<?xi8>
  %dx, %t2 = gpu.alloc async [%t1] (%nx) : memref<?xi8>
  %dy, %t3 = gpu.alloc async [%t2] (%ny) : memref<?xi8>
  %t4 = gpu.memcpy async [%t3] %dw, %w : memref<?xi8>, memref<?xi8>
  %t5 = gpu.memcpy async [%t4] %dx, %x : memref<?xi8>, memref<?xi8>
{pointers}  %t6 = gpu.launch_func async [%t5] @{binary}::@{kernel}
      blocks in (%grid, %c1, %c1) threads in (%block, %c1, %c1) dynamic_shared_memory_size %smem
      args(%pw : !llvm.ptr, %px : !llvm.ptr, %py : !llvm.ptr, %py : !llvm.ptr, %rows : i32)
  %t7 = gpu.memcpy async [%t6] %y, %dy : memref<?xi8>, memref<?xi8>
  %t8 = gpu.dealloc async [%t7] %dw : memref<?xi8>
  %t9 = gpu.dealloc async [%t8] %dx : memref<?xi8>
  %t10 = gpu.dealloc async [%t9] %dy : memref<?xi8>
  gpu.wait [%t10]
  return
}}
gpu.binary @{binary} [#gpu.object<#nvvm.target<chip = "{chip}">,
    assembly = "{escaped(compiled("ptx"))}\\00">]
}}
"""


def build(source, path, chip, form, options, work):
    """A shared library from a module, by upstream's tools."""
    with open(f"{work}/host.mlir", "w") as f:
        f.write(source)
    pipeline = f"cubin-chip={chip} cubin-features=+ptx80 cubin-format={form}"
    subprocess.run([llvm_tool("mlir-opt"), f"{work}/host.mlir",
                    f"--gpu-lower-to-nvvm-pipeline={pipeline}", "-o", f"{work}/host.lowered.mlir"],
                   check=True)
    subprocess.run([llvm_tool("mlir-translate"), "--mlir-to-llvmir", f"{work}/host.lowered.mlir",
                    "-o", f"{work}/host.ll"], check=True)
    subprocess.run([llvm_tool("llc"), "-relocation-model=pic", "-filetype=obj",
                    f"{work}/host.ll", "-o", f"{work}/host.o"], check=True)
    # Every symbol that upstream's code calls has to be there.
    lib = f"{options.bin}/../lib"
    subprocess.run([llvm_tool("ld.lld"), "-shared", "--no-undefined", f"{work}/host.o", "-o", path,
                    f"-L{lib}", "-lQLinearRuntime"], check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("directory")
    parser.add_argument("--bin", required=True, help="where quant-compile lies")
    parser.add_argument("--target", required=True, help="cuda:sm_90")
    parser.add_argument("--linear", required=True, help="module with a linear")
    parser.add_argument("--format", default="bin", choices=["bin", "isa"])
    options = parser.parse_args()
    chip = options.target.removeprefix("cuda:")
    work = f"{options.directory}/mgpu-work"
    os.makedirs(work, exist_ok=True)
    build(VECTOR_ADD, f"{options.directory}/mgpu-add.so", chip, options.format, options, work)
    build(linear_module(options.linear, chip, options, work),
          f"{options.directory}/mgpu-linear.so", chip, "isa", options, work)
    shutil.rmtree(work)


if __name__ == "__main__":
    main()
