/*===- runtime.h - Run compiled quantized linear layers -----------*- C -*-===*\
|*
|* Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
|*
|*===----------------------------------------------------------------------===*|
|*
|* The C ABI of the runtime. It links neither LLVM nor CUDA: the CUDA driver is
|* opened when a CUDA device is asked for, so the same build runs where there is
|* none.
|*
|*   device    where code runs: a CUDA device, this CPU, or the emulated GPU
|*   artifact  what quant-compile wrote: code for one or more targets
|*   module    an artifact loaded on a device, bound to its weights
|*   call      enqueue one function: nothing is allocated and nothing waits in
|*             the steady state, so calls can be captured into a CUDA graph
|*
|* Every function that can fail returns a qlr_status; on failure the message of
|* the calling thread is at qlr_last_error() until its next failing call.
|* Handles are not hidden globals: destroy what you create, in reverse order.
|* A module may be called from several threads at once, each with a workspace
|* of its own.
|*
\*===----------------------------------------------------------------------===*/
#ifndef QLINEAR_RUNTIME_RUNTIME_H
#define QLINEAR_RUNTIME_RUNTIME_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#define QLR_API
#else
#define QLR_API __attribute__((visibility("default")))
#endif

/* The number of this ABI, also that of the library's file: libQLinearRuntime.so.1. It
 * grows by one where a program that was compiled before would go wrong: a function or a
 * value is removed, or means something else. What is only added leaves it. A program that
 * opens the library by itself compares it with qlr_abi_version(); for one that is linked,
 * the loader does. */
#define QLR_ABI_VERSION 1

typedef enum qlr_status {
  QLR_OK = 0,
  QLR_INVALID_ARGUMENT = 1, /* shape, type or handle that does not fit       */
  QLR_NOT_FOUND = 2,        /* file, function, weight or symbol              */
  QLR_BAD_ARTIFACT = 3,     /* not an artifact, or of another version        */
  QLR_BAD_WEIGHTS = 4,      /* archive does not match what was compiled      */
  QLR_NO_DEVICE = 5,        /* no driver, no device, or none that fits       */
  QLR_OUT_OF_MEMORY = 6,
  QLR_DEVICE_ERROR = 7,     /* the driver reported an error                  */
  QLR_DEVICE_LOST = 8       /* sticky: close the device. After a kernel's fault
                             * the driver may refuse all CUDA work of this
                             * process; other processes go on.               */
} qlr_status;

typedef enum qlr_dtype { QLR_F32 = 0, QLR_F16 = 1, QLR_BF16 = 2, QLR_I8 = 3,
                         QLR_I32 = 4 } qlr_dtype;

typedef struct qlr_device qlr_device;
typedef struct qlr_artifact qlr_artifact;
typedef struct qlr_module qlr_module;
typedef struct qlr_workspace qlr_workspace;

/* A dense row-major tensor in the device's memory. */
typedef struct qlr_tensor {
  void *data;
  qlr_dtype dtype;
  int32_t rank;
  int64_t shape[4];
} qlr_tensor;

QLR_API const char *qlr_last_error(void);
QLR_API const char *qlr_version(void);
/* QLR_ABI_VERSION of the library. */
QLR_API int32_t qlr_abi_version(void);
/* The checksum of a packed weight as archives have it: 16 hexadecimal digits and a null
 * character. */
QLR_API qlr_status qlr_checksum(const void *data, size_t bytes, char text[17]);
/* The folder of what was compiled once: QLINEAR_CACHE, else qlinear in XDG_CACHE_HOME or
 * in ~/.cache; "" where nothing says whose home it is. Valid until this thread's next
 * call of it. */
QLR_API const char *qlr_cache_folder(void);

/* `name`: "cpu", "cpu:4" (threads), "emulated", "emulated:7" (a seed: threads
 * and blocks run in a random order), "cuda", "cuda:1" (ordinal). For
 * CUDA the device's primary context is retained. */
QLR_API qlr_status qlr_device_open(const char *name, qlr_device **out);
QLR_API void qlr_device_close(qlr_device *device);
/* "cpu:avx512vnni", "cuda:sm_90a", "cuda:emulated": what code for it is best made for. */
QLR_API const char *qlr_device_target(const qlr_device *device);

/* Memory of the device; plain host memory on cpu and emulated. */
QLR_API qlr_status qlr_alloc(qlr_device *device, size_t bytes, void **out);
QLR_API void qlr_free(qlr_device *device, void *ptr);
QLR_API qlr_status qlr_upload(qlr_device *device, void *dst, const void *src,
                              size_t bytes, void *stream);
QLR_API qlr_status qlr_download(qlr_device *device, void *dst, const void *src,
                                size_t bytes, void *stream);
QLR_API qlr_status qlr_stream_create(qlr_device *device, void **stream);
QLR_API qlr_status qlr_stream_destroy(qlr_device *device, void *stream);
QLR_API qlr_status qlr_synchronize(qlr_device *device, void *stream);

/* Opens the shared library that quant-compile wrote. That runs code from it, as loading
 * any library does: open only what you trust. */
QLR_API qlr_status qlr_artifact_open(const char *path, qlr_artifact **out);
/* The same for an artifact linked into the program: its `qlinear_artifact`. */
QLR_API qlr_status qlr_artifact_from_descriptor(const void *descriptor,
                                                qlr_artifact **out);
QLR_API void qlr_artifact_close(qlr_artifact *artifact);
/* The manifest, JSON; docs/artifact.md describes it. */
QLR_API const char *qlr_artifact_manifest(const qlr_artifact *artifact);
/* A blob that the manifest names as an "image": code, a weight or a constant of the
 * artifact, with its size in bytes; NULL if there is none. It lives as long as the
 * artifact. */
QLR_API const void *qlr_artifact_image(const qlr_artifact *artifact, const char *name,
                                       size_t *bytes);

/* Loads the best code for the device (cubin, else PTX) and the weights: from a
 * packed archive, uploaded in pieces of bounded host memory. `weights` may be
 * NULL if the artifact has none or they are set one by one below. */
QLR_API qlr_status qlr_module_load(qlr_device *device,
                                   const qlr_artifact *artifact,
                                   const char *weights, qlr_module **out);
/* The same, after reading all weights that the artifact takes from the archive: fails
 * with QLR_BAD_WEIGHTS where one is not what its checksum in the archive says (or has
 * none), or is another than the artifact was compiled for (quant-compile --params).
 * With QLINEAR_CHECK_WEIGHTS=1 in the environment, every load of an archive does so. */
QLR_API qlr_status qlr_module_load_checked(qlr_device *device,
                                           const qlr_artifact *artifact,
                                           const char *weights, qlr_module **out);
QLR_API void qlr_module_unload(qlr_module *module);
/* What was loaded: a target of the artifact, "cpu:avx2", or on CUDA the image,
 * "cuda:sm_90/cubin" or "cuda:sm_90/ptx" (which the driver compiled). */
QLR_API const char *qlr_module_code(const qlr_module *module);
/* Binds a packed blob that the caller keeps in device memory. */
QLR_API qlr_status qlr_module_set_weight(qlr_module *module, const char *name,
                                         const void *blob, size_t bytes);

/* A weight that the code was compiled for. The texts live as long as the artifact. */
typedef struct qlr_weight {
  const char *name;     /* in the archive */
  const char *encoding; /* its spelling, "u4, group = 32, ..." (docs/encodings.md) */
  int64_t n, k;         /* rows and columns */
  size_t bytes;         /* of its packed blob */
  const void *data;     /* the blob that is bound, in the device's memory; or NULL */
} qlr_weight;
/* The weights of the manifest, in its order, which is that of qlr_call_with_weights. */
QLR_API int32_t qlr_module_weight_count(const qlr_module *module);
/* Index of a weight, or -1. */
QLR_API int32_t qlr_module_weight_index(const qlr_module *module, const char *name);
QLR_API qlr_status qlr_module_weight(const qlr_module *module, int32_t index,
                                     qlr_weight *out);

/* The target of the artifact whose code was loaded: "cpu:avx2", "cuda:sm_80". */
QLR_API const char *qlr_module_target(const qlr_module *module);

QLR_API int32_t qlr_function_count(const qlr_module *module);
QLR_API const char *qlr_function_name(const qlr_module *module, int32_t index);
/* Index of a function, or -1. */
QLR_API int32_t qlr_function_index(const qlr_module *module, const char *name);

/* Scratch memory for calls with up to max_rows rows (tokens) of `function`. */
QLR_API qlr_status qlr_workspace_create(qlr_module *module, int32_t function,
                                        int64_t max_rows, qlr_workspace **out);
QLR_API void qlr_workspace_destroy(qlr_workspace *workspace);
/* The same in memory of the caller, for programs with an allocator of their own: at
 * least qlr_workspace_bytes() bytes of the device, 256-byte aligned, which the caller
 * keeps until the work of the last call is done. Allocates nothing on the device; temps
 * that begin as zero are cleared on `stream`, so it can be part of a CUDA graph. */
QLR_API qlr_status qlr_workspace_bytes(qlr_module *module, int32_t function,
                                       int64_t max_rows, size_t *bytes);
QLR_API qlr_status qlr_workspace_create_in(qlr_module *module, int32_t function,
                                           int64_t max_rows, void *memory,
                                           size_t bytes, void *stream,
                                           qlr_workspace **out);

/* Enqueues one function on the caller's stream (a CUstream; NULL: the default
 * stream; ignored on cpu and emulated, which run before returning). Shapes and
 * types are checked against the compiled signature. Where that has a matrix, a tensor of
 * three or four dimensions is taken as one: all but the last are rows. */
QLR_API qlr_status qlr_call(qlr_module *module, int32_t function,
                            qlr_workspace *workspace, const qlr_tensor *inputs,
                            int32_t n_inputs, const qlr_tensor *outputs,
                            int32_t n_outputs, void *stream);

/* A packed weight in device memory: 128-byte aligned on CUDA, 64 on emulated,
 * anywhere on cpu (a multiple of 64 is read fastest). */
typedef struct qlr_blob {
  const void *data;
  size_t bytes;
} qlr_blob;

/* qlr_call with weights of the call's own, so that one module serves all layers of one
 * shape: `weights` has one entry per weight of the manifest, in its order; where
 * `data` is NULL, the weight that is bound to the module is used. */
QLR_API qlr_status qlr_call_with_weights(
    qlr_module *module, int32_t function, qlr_workspace *workspace,
    const qlr_tensor *inputs, int32_t n_inputs, const qlr_tensor *outputs,
    int32_t n_outputs, const qlr_blob *weights, int32_t n_weights, void *stream);

/* DLPack's DLTensor, field for field (https://dmlc.github.io/dlpack/latest/c_api.html):
 * where its header is used, cast a `const DLTensor *`. */
typedef struct qlr_dltensor {
  void *data;
  int32_t device_type, device_id; /* its DLDevice                       */
  int32_t ndim;
  uint8_t type_code, type_bits; /* its DLDataType                     */
  uint16_t type_lanes;
  int64_t *shape;
  int64_t *strides; /* in elements; NULL: row-major       */
  uint64_t byte_offset;
} qlr_dltensor;

/* qlr_call_with_weights with tensors of DLPack, which say where they are and what they
 * hold: a tensor on another device than the module's, of another type, or with holes or
 * columns first is an error that names it. On CUDA, managed memory is taken, too, and on
 * cpu and emulated pinned host memory. Nothing is owned or freed: a managed tensor that
 * they are part of stays the caller's, who also sees to it that work on other streams is
 * done, and that an output is not read-only. */
QLR_API qlr_status qlr_call_dlpack(
    qlr_module *module, int32_t function, qlr_workspace *workspace,
    const qlr_dltensor *const *inputs, int32_t n_inputs,
    const qlr_dltensor *const *outputs, int32_t n_outputs, const qlr_blob *weights,
    int32_t n_weights, void *stream);

#ifdef __cplusplus
}
#endif
#endif
