//===- Passes.td - From launches to code -------------------*- tablegen -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_TARGET_PASSES_TD
#define QLINEAR_TARGET_PASSES_TD

include "mlir/Pass/PassBase.td"

def QLinearToRuntime : Pass<"qlinear-to-runtime", "::mlir::ModuleOp"> {
  let summary = "make launches calls of the runtime, and kernels machine code";
  let description = [{
    For modules in which linears are only a part: after `qlinear-cpu` or
    `qlinear-cuda` and one-shot bufferization, each `qlinear.launch` becomes a call
    of the runtime, and the kernels become LLVM code (or, for CUDA, PTX and a cubin)
    in constants of the module. Constant weights lie there, too; weights of
    `qlinear.parameter` are read from an archive when the program runs. All else stays,
    for upstream's passes to lower; the module needs nothing but `libQLinearRuntime`.

    The pipeline `qlinear-finish` runs it among upstream's passes, from tensors to the
    LLVM dialect.

    ```
    qlinear-cpu, one-shot-bufferize{bufferize-function-boundaries},
    buffer-deallocation-pipeline, qlinear-to-runtime, ...-to-llvm
    ```

    A launch reads and writes its buffers where they lie, or a copy without gaps if
    their layout is not known to have none. On a CUDA target they have to be device
    memory, and the work is enqueued on the program's stream.

    The module gets three functions. None has to be called: the first launch opens
    the program by itself, with the device and the archive of the environment's
    `QLINEAR_DEVICE` and `QLINEAR_WEIGHTS` (`qlinear-runtime/program.h`).

    ```c
    int qlinear_open(const char *device, const char *weights);  // a qlr_status
    int qlinear_set_stream(void *stream);
    void qlinear_close(void);
    ```

    A launch that fails (a device or an archive that is not there) calls
    `qlr_program_fail`: the functions around it have no way to return an error. It says
    why, and what to do, and ends the process, unless `qlr_program_set_fail_hook` has
    set something else.

    ```mlir
    qlinear.launch [#qlinear.variant<rows = 1, kernel = @linear0_m1, items = 1344>, ...]
        weights(%w) ins(%a) outs(%y)
        : (!qlinear.weight<21504x5376, #q4>, memref<?x6720xi8>, memref<?x21504xbf16>) -> ()
    // becomes
    %p = memref.extract_aligned_pointer_as_index %a : memref<?x6720xi8> -> index
    ...
    llvm.call @qlinear.launch0(%0, %1, ...) : (i64, i64, ...) -> ()
    ```
  }];
  let options = [
    Option<"target", "target", "std::string", "\"\"",
           "What to compile for: cpu (all instruction sets of this architecture), "
           "cpu:ISA, cuda:sm_NN, cuda:emulated; default: what the kernels were made "
           "for, the module's qlinear.target, else cpu">,
    Option<"prefix", "prefix", "std::string", "\"qlinear\"",
           "Of the names of what the module gets; modules that are linked together "
           "need different ones">];
  let statistics = [
    Statistic<"numLaunches", "launches", "Number of launches lowered">,
    Statistic<"numFunctions", "functions", "Number of different ones">];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::func::FuncDialect",
    "::mlir::LLVM::LLVMDialect", "::mlir::memref::MemRefDialect"];
}

#endif
