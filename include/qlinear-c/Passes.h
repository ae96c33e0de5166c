/*===-- qlinear-c/Passes.h - C API of the passes and pipelines ----*- C -*-===*\
|*                                                                            *|
|* Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.       *|
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception                    *|
|*                                                                            *|
|*===----------------------------------------------------------------------===*|
|*                                                                            *|
|* After mlirRegisterAllQLinearPasses() every pass and pipeline of QLinear is *|
|* known by its name, options included:                                       *|
|*                                                                            *|
|*   mlirOpPassManagerAddPipeline(                                            *|
|*       mlirPassManagerGetAsOpPassManager(manager),                          *|
|*       mlirStringRefCreateFromCString("qlinear-cpu{target=cpu:avx2}"),      *|
|*       onError, NULL);                                                      *|
|*                                                                            *|
|* The functions generated below create one pass each, with default options.  *|
|*                                                                            *|
\*===----------------------------------------------------------------------===*/
#ifndef QLINEAR_C_PASSES_H
#define QLINEAR_C_PASSES_H

#include "qlinear/Conversion/Passes.capi.h.inc"
#include "qlinear/Transforms/Passes.capi.h.inc"

#ifdef __cplusplus
extern "C" {
#endif

/** Registers all passes and the pipelines `qlinear-cuda` and `qlinear-cpu`. May be
 *  called again. */
MLIR_CAPI_EXPORTED void mlirRegisterAllQLinearPasses(void);

#ifdef __cplusplus
}
#endif
#endif
