//===- Passes.td - From qlinear to kernels -----------------*- tablegen -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_CONVERSION_PASSES_TD
#define QLINEAR_CONVERSION_PASSES_TD

include "mlir/Pass/PassBase.td"

def QLinearToCPU : Pass<"qlinear-to-cpu"> {
  let summary = "make CPU kernels of linears";
  let description = [{
    Replaces each `qlinear.linear` by a `qlinear.launch` of kernels, one kernel per
    number of rows in the linear's schedule, and each
    `qlinear.quantize_activations` by a launch as well. A linear whose activations
    are floats first gets a launch that quantizes them, shared by the linears of
    its block. Linears of the same types, schedule and epilogue share their
    kernels. Other operations stay.

    A kernel is an `llvm.func` with the attribute `qlinear.kernel`: a loop over the
    tiles of 16 rows of the weights and over the units of a tile, which calls the
    micro-kernels of `kernels/cpu`, and the epilogue on vectors of 16 columns. It
    is the same for every instruction set; the micro-kernels, which are linked and
    inlined when machine code is made, are not. Weights that are too many for one
    kernel are shared among several. The module's attribute `qlinear.target` becomes
    the target of the kernels.

    ```mlir
    %y = qlinear.linear %x, %w : (tensor<?x5376xbf16>, !qlinear.weight<21504x5376, #q4>)
                                 -> tensor<?x21504xbf16>
    // becomes
    %a = qlinear.launch [#qlinear.variant<rows = 1, kernel = @quantize0, items = 1>, ...]
        ins(%x) : (tensor<?x5376xbf16>) -> !qlinear.activations<?x5376>
    %y = qlinear.launch [#qlinear.variant<rows = 1, kernel = @linear0_m1, items = 1344>, ...]
        weights(%w) ins(%a) : ...
    ```
  }];
  let options = [
    Option<"target", "target", "std::string", "\"\"",
           "cpu, or cpu:ISA, that the schedules are for; default: the module's "
           "qlinear.target, else cpu">];
  let statistics = [
    Statistic<"numKernels", "kernels", "Number of kernels made">,
    Statistic<"numShared", "shared", "Number of launches of a kernel made before">];
  let dependentDialects = [
    "::mlir::qlinear::QLinearDialect", "::mlir::arith::ArithDialect",
    "::mlir::LLVM::LLVMDialect", "::mlir::math::MathDialect",
    "::mlir::scf::SCFDialect", "::mlir::vector::VectorDialect"];
}

def QLinearToGPU : Pass<"qlinear-to-gpu", "::mlir::ModuleOp"> {
  let summary = "make GPU kernels of linears";
  let description = [{
    Replaces each `qlinear.linear` by a `qlinear.launch` of the kernels in the linear's
    schedule, and each `qlinear.quantize_activations` by a launch as well. All kernels
    are in one `gpu.module`. An incomplete schedule is completed as `qlinear-schedule`
    does it. Linears of the same encoding, shape,
    schedule, types and epilogue share their kernels. Other operations stay.

    The module's attribute `qlinear.target` becomes the target of the kernels.

    A kernel is a skeleton around the micro-kernels of `kernels/cuda`: its blocks
    take contiguous ranges of tiles over all weights, its warps contiguous ranges
    of units; the activations are quantized into shared memory (or copied, if they
    come quantized); the epilogue runs on the finished rows.

    ```mlir
    %y = qlinear.linear %x, %w : (tensor<?x5376xbf16>, !qlinear.weight<21504x5376, #q4>)
                                 -> tensor<?x21504xbf16>
    // becomes
    %y = qlinear.launch [#qlinear.variant<rows = 1, kernel = @qlinear_kernels::@linear0_m1,
        grid = 132, block = 384, smem = 91392>, ...] weights(%w) ins(%x) pdl : ...
    ```
  }];
  let options = [
    Option<"target", "target", "std::string", "\"\"",
           "cuda:sm_NN, or cuda:emulated; default: the module's qlinear.target, else "
           "cuda:sm_90">];
  let statistics = [
    Statistic<"numKernels", "kernels", "Number of kernels made">,
    Statistic<"numShared", "shared", "Number of launches of a kernel made before">];
  let dependentDialects = [
    "::mlir::qlinear::QLinearDialect", "::mlir::arith::ArithDialect",
    "::mlir::gpu::GPUDialect", "::mlir::LLVM::LLVMDialect",
    "::mlir::NVVM::NVVMDialect", "::mlir::math::MathDialect",
    "::mlir::scf::SCFDialect"];
}

#endif
