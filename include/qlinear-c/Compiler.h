/*===-- qlinear-c/Compiler.h - C API of the compiler --------------*- C -*-===*\
|*                                                                            *|
|* Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.       *|
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception                    *|
|*                                                                            *|
|*===----------------------------------------------------------------------===*|
|*                                                                            *|
|* What the tool quant-compile does, in the process: a module whose public    *|
|* functions consist of linears becomes an artifact for the runtime. What     *|
|* goes wrong is a diagnostic of the module's context.                        *|
|*                                                                            *|
\*===----------------------------------------------------------------------===*/
#ifndef QLINEAR_C_COMPILER_H
#define QLINEAR_C_COMPILER_H

#include "mlir-c/IR.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Start from mlirQLinearCompileOptionsGetDefault(). Strings may be empty. */
typedef struct MlirQLinearCompileOptions {
  MlirStringRef targets;  /**< "cpu", "cuda:sm_90,cpu", "cuda:emulated", ... */
  bool raise;             /**< find dequantized weights in linalg first */
  MlirStringRef encoding; /**< re-encode first: "auto", "row-u8", ... */
  double minSnr;          /**< dB that "auto" keeps */
  MlirStringRef params;   /**< archive that all parameters have to fit */
  MlirStringRef scheduleTable;
  bool batchInvariant; /**< a row's results have the same bits beside any rows */
  MlirStringRef activations; /**< "int8" or "float"; empty: int8 */
  bool fuse, quantizeActivations;
  MlirStringRef ptxVersion; /**< empty: the oldest that has the chip */
  MlirStringRef ptxas;      /**< path; empty: found on PATH */
  /** Where libQLinearRuntime.so is; empty: beside this library. */
  MlirStringRef runtimeDir;
} MlirQLinearCompileOptions;

MLIR_CAPI_EXPORTED MlirQLinearCompileOptions mlirQLinearCompileOptionsGetDefault(void);

/** Dialects, passes and translations that compiling needs: for the registry of the
 *  module's context, before that is made. */
MLIR_CAPI_EXPORTED void mlirRegisterQLinearCompiler(MlirDialectRegistry registry);

/** Writes the artifact to the shared library `path`, and, unless it is empty, a C
 * header of its functions to `header`. The module is canonicalised and re-encoded. */
MLIR_CAPI_EXPORTED MlirLogicalResult
mlirQLinearCompile(MlirModule module, const MlirQLinearCompileOptions *options,
                   MlirStringRef path, MlirStringRef header);

/** Calls `callback` with the PTX of the module for the one CUDA target in `options`. */
MLIR_CAPI_EXPORTED MlirLogicalResult
mlirQLinearCompileToPTX(MlirModule module, const MlirQLinearCompileOptions *options,
                        MlirStringCallback callback, void *userData);

#ifdef __cplusplus
}
#endif
#endif
