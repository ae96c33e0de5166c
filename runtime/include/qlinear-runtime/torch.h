/*===- torch.h - The operators of PyTorch in C++ ------------------*- C -*-===*\
|*
|* Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
|*
|*===----------------------------------------------------------------------===*|
|*
|* libQLinearTorch.so registers torch.ops.qlinear.linear and .block when it is loaded:
|* for programs with packages of AOTInductor, and for the Python package, whose calls
|* then run without Python. An operator has no state: it looks for a compiled module by
|* what the call says, at the first such call, and keeps it until the program ends.
|* By default it looks into the cache of the Python package ($QLINEAR_CACHE, else
|* ~/.cache/qlinear), which qlinear.nn.prepare() fills.
|*
\*===----------------------------------------------------------------------===*/
#ifndef QLINEAR_RUNTIME_TORCH_H
#define QLINEAR_RUNTIME_TORCH_H

#include "runtime.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A module that a call needs, with one function: a linear, or a block by its text. */
typedef struct qlr_torch_request {
  const char *text;     /* of a block: its MLIR; NULL of a linear */
  const char *encoding; /* and what follows is of a linear */
  int64_t n, k;
  const char *dtype;       /* of x and the result: "f32", "f16", "bf16" */
  const char *bias;        /* its type, or NULL without bias */
  const char *activations; /* "int8" or "float" */
  int32_t batch_invariant;
  const char *device; /* as of qlr_device_open() */
} qlr_torch_request;

/* Gives the module, loaded and kept until the program ends; or NULL, and a message that
 * is valid until the thread's next call. */
typedef qlr_module *(*qlr_torch_finder)(const qlr_torch_request *request,
                                        const char **message);
/* Asks this one from now on, not the cache. */
QLR_API void qlr_torch_set_finder(qlr_torch_finder finder);

/* The device of the runtime that computes tensors on the CPU: "cpu", if not set. */
QLR_API void qlr_torch_set_host(const char *device);
/* As qlinear.nn.set_batch_invariant(). */
QLR_API void qlr_torch_set_batch_invariant(int32_t enabled);

/* What the last failing operator of this thread said, or NULL if none failed since the
 * last time this was asked. Torch itself has the text with places in the source around.
 */
QLR_API const char *qlr_torch_last_error(qlr_status *status);

#ifdef __cplusplus
}
#endif
#endif
