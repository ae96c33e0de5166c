/*===- artifact.h - The descriptor of a compiled artifact ---------*- C -*-===*\
|*
|* Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
|*
|*===----------------------------------------------------------------------===*|
|*
|* What a compiled artifact exports as `qlinear_artifact`, and the signatures of
|* the host functions in it. docs/artifact.md describes the manifest.
|*
\*===----------------------------------------------------------------------===*/
#ifndef QLINEAR_RUNTIME_ARTIFACT_H
#define QLINEAR_RUNTIME_ARTIFACT_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The bytes "QLINEAR1", read as a little-endian integer. */
#define QLINEAR_ARTIFACT_MAGIC UINT64_C(0x315241454E494C51)

/* A cubin, a zero-terminated PTX text, or (size 0) a host function. */
typedef struct qlinear_image {
  const char *name;
  const void *data;
  uint64_t size;
} qlinear_image;

typedef struct qlinear_artifact_v1 {
  uint64_t magic;
  const char *manifest; /* JSON */
  uint64_t manifest_size;
  const qlinear_image *images;
  uint64_t n_images;
} qlinear_artifact_v1;

/* Kernel of a cpu target: work items [begin, end). */
typedef void (*qlinear_cpu_kernel)(void *const *args, int32_t rows,
                                   int64_t begin, int64_t end);
/* Kernel of the emulated device: one thread of the grid. params[i] is the address of
 * argument i, as for cuLaunchKernel; the last argument is the int32_t rows. */
typedef void (*qlinear_emulated_kernel)(void *const *params);

#ifdef __cplusplus
}
#endif
#endif
